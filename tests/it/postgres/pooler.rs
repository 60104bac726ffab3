//! A pooler between the store and the database that loses its connection to the database during a
//! commit.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ifmatch::{Swap, SwapError};

use crate::conformance::{PERSONS, create, id, now, person};
use crate::support::cluster::{Cluster, Schema};

/// The error in the form of pgbouncer 1.18: it has a severity (`S`), and not the field `V` in which
/// `PostgreSQL` repeats it for programs.
const LOST_SERVER: &[u8] = b"SFATAL\0C08P01\0Mquery timeout\0\0";

/// Forwards all messages between the store and the database. While `armed` is set, it replaces the
/// next confirmation of a commit by the error, and clears `armed`.
struct Pooler {
    address: SocketAddr,
    armed: Arc<AtomicBool>,
}

impl Pooler {
    fn start(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let armed = Arc::new(AtomicBool::new(false));
        let socket = format!("{}/.s.PGSQL.5432", cluster.socket_directory());
        let is_armed = Arc::clone(&armed);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, armed) = (client.unwrap(), Arc::clone(&is_armed));
                let server = UnixStream::connect(&socket).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Both);
                });
                thread::spawn(move || forward(server, client, &armed));
            }
        });
        Self { address, armed }
    }
}

/// Forwards the messages of the database until the database closes the connection or the error is
/// sent.
///
/// [Message formats](https://www.postgresql.org/docs/current/protocol-message-formats.html)
fn forward(mut server: UnixStream, mut client: TcpStream, armed: &AtomicBool) {
    let mut head = [0; 5];
    while server.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let mut content = vec![0; length as usize - 4];
        server.read_exact(&mut content).unwrap();
        let commits = head[0] == b'C' && content == b"COMMIT\0";
        if commits && armed.swap(false, Ordering::SeqCst) {
            let length = u32::try_from(LOST_SERVER.len()).unwrap() + 4;
            let error = [b"E", &length.to_be_bytes()[..], LOST_SERVER].concat();
            // The connection stays open until the client has read the error.
            return client.write_all(&error).unwrap();
        }
        let _ = client
            .write_all(&head)
            .and_then(|()| client.write_all(&content));
    }
    let _ = client.shutdown(Shutdown::Both);
}

#[test]
fn a_write_that_a_pooler_did_not_confirm_is_not_repeated() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let schema = Schema::on(cluster);
    let pooler = Pooler::start(cluster);
    let url = schema
        .url
        .replace(&cluster.host(), &pooler.address.to_string());
    let through = Schema::at(format!("{url}&sslmode=disable"));
    let (store, direct) = (through.store(), schema.store());
    let version = create(&*store, "1");
    pooler.armed.store(true, Ordering::SeqCst);
    let (one, tim) = (id("1"), person("Tim"));
    let swap = store.swap(&Swap::replace(PERSONS, &one, version, &tim), now());
    let Err(SwapError::Store(error)) = swap else {
        panic!("{swap:?}");
    };
    let expected = "query timeout, while a write was being confirmed";
    assert!(error.to_string().ends_with(expected), "{error}");
    assert!(!pooler.armed.load(Ordering::SeqCst));
    // The write was performed once, and the store still works.
    let performed = direct.get(PERSONS, &one).unwrap().unwrap();
    assert_eq!(performed.document, tim);
    let wim = person("Wim");
    let next = store.swap(
        &Swap::replace(PERSONS, &one, performed.version, &wim),
        now(),
    );
    assert_eq!(
        direct.get(PERSONS, &one).unwrap().unwrap().version,
        next.unwrap()
    );
}
