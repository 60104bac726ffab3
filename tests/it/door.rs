//! Both doors: no request waits for another client, and a server can be stopped.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ifmatch::{MemoryStore, Portion, Server, Store, Swap};

use crate::conformance::{PERSONS, id};
use crate::support::client::{Client, request};
use crate::support::serving::{Program, Serving, is_hyper, options};
use crate::support::watched::{Call, Watched};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";

#[test]
fn clients_that_do_not_read_delay_no_other_client() {
    let serving = Serving::configured(|options| {
        if !is_hyper() {
            // On a busy machine these clients may begin to read late, but within this timeout.
            options.timeout = Duration::from_secs(600);
        }
    });
    serving.create("1");
    for id in 2..400 {
        serving.create(&id.to_string());
    }
    // More short responses, and more lists of about 30 kB, than the buffers of a socket hold.
    let mut short = serving.client();
    short.send(GET.repeat(20_000));
    let mut long = serving.client();
    long.send(request("GET /persons", "", "").repeat(250));
    let mut client = serving.client();
    for _ in 0..100 {
        assert_eq!(client.ask(GET).status, 200);
    }
    if is_hyper() {
        // The hyper door closes these connections at the timeout.
        return;
    }
    // When the clients read, they get every response, complete and in order.
    for _ in 0..20_000 {
        assert_eq!(short.receive().status, 200);
    }
    let lists: HashSet<String> = (0..250).map(|_| long.receive().content).collect();
    assert_eq!(lists.len(), 1);
    assert_eq!(short.ask(GET).status, 200);
    assert_eq!(long.ask(GET).status, 200);
}

/// A connection that was made before the server serves has the same timeouts as others.
#[test]
fn a_client_that_connected_before_the_server_served_delays_no_other_client() {
    let store = Arc::new(MemoryStore::new());
    crate::conformance::create(&*store, "1");
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, options()).unwrap();
    let mut address = server.local_addr().to_socket_addrs().unwrap();
    let address = address.next().unwrap();
    let mut early = Client::connect(address);
    let running = server.spawn().unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| early.try_send(GET.repeat(40_000)));
        let mut client = Client::connect(address);
        for _ in 0..100 {
            assert_eq!(client.ask(GET).status, 200);
        }
        let _ = sender.join().unwrap();
    });
    assert_eq!(Client::connect(address).ask(GET).status, 200);
    drop(early);
    running.stop();
}

/// The watchdog's probes end no other connection.
#[test]
fn an_idle_connection_stays_open() {
    let serving = Serving::start();
    serving.create("1");
    let mut client = serving.client();
    assert_eq!(client.ask(GET).status, 200);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.ask(GET).status, 200);
}

#[test]
fn a_call_that_blocks_in_the_store_delays_no_other_request() {
    let ((entered, has_entered), (go, go_on)) = (channel(), channel());
    let go_on = Mutex::new(go_on);
    let wait = move |call: Call<'_>| {
        if let Call::Get(id) = call
            && id.as_str() == "slow"
        {
            entered.send(()).unwrap();
            let go_on = go_on.lock().unwrap_or_else(PoisonError::into_inner);
            go_on.recv().unwrap();
        }
        Ok(())
    };
    let serving = Serving::with(Watched::new(MemoryStore::new(), wait), options());
    serving.create("1");
    let slow = |_| {
        let mut client = serving.client();
        client.send(request("GET /persons/slow", "", ""));
        client
    };
    let mut waiting: Vec<_> = (0..10).map(slow).collect();
    for _ in 0..10 {
        has_entered.recv_timeout(Duration::from_secs(20)).unwrap();
    }
    for _ in 0..100 {
        assert_eq!(serving.ask("GET /persons/1", "", "").status, 200);
    }
    for _ in &waiting {
        go.send(()).unwrap();
    }
    for client in &mut waiting {
        assert_eq!(client.receive().status, 404);
    }
}

#[test]
fn a_stopped_server_frees_its_address() {
    for _ in 0..20 {
        let serving = Serving::start();
        let address = serving.address;
        serving.create("1");
        let mut client = serving.client();
        assert_eq!(client.ask(GET).status, 200);
        drop(serving);
        // For a moment, a client of another test may have this port as its local port.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = TcpListener::bind(address) {
            assert!(Instant::now() < deadline, "{address}: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A server with a person that is longer than the buffers of a socket.
fn serving_long_person(store: impl Store + 'static) -> Serving {
    let mut options = options();
    options.policy.max_content = 20_000_000;
    options.metrics = true;
    let serving = Serving::with(store, options);
    let content = format!(
        r#"{{"person_id": "1", "person_name": "{}"}}"#,
        "x".repeat(12_000_000)
    );
    assert_eq!(serving.ask("POST /persons", "", &content).status, 201);
    serving
}

/// Each write of its response makes some progress, so that no timeout of a write ends it.
#[test]
fn a_client_that_reads_slowly_delays_no_other_client() {
    let serving = serving_long_person(MemoryStore::new());
    let mut slow = TcpStream::connect(serving.address).unwrap();
    slow.write_all(GET.as_bytes()).unwrap();
    slow.read_exact(&mut [0]).unwrap();
    let other_has_response = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut read, mut piece) = (0, vec![0; 64 * 1024]);
            while read < 6_000_000 && !other_has_response.load(Ordering::SeqCst) {
                read += slow.read(&mut piece).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
            read
        });
        assert_eq!(serving.ask("GET /persons/2", "", "").status, 404);
        other_has_response.store(true, Ordering::SeqCst);
        reader.join().unwrap()
    });
    assert!(read < 6_000_000, "{read}");
}

/// The server stops while it sends a response to a slow client. The client gets all of it.
#[test]
fn stopping_truncates_no_response() {
    let serving = serving_long_person(MemoryStore::new());
    let mut client = serving.client();
    client.send(GET.repeat(2));
    client.wait();
    let reader = std::thread::spawn(move || {
        let person = client.receive();
        (
            person.status,
            person.content.contains(&"x".repeat(12_000_000)),
        )
    });
    drop(serving);
    assert_eq!(reader.join().unwrap(), (200, true));
}

/// The response to a request with `Prefer: wait` is complete, too, even if no other connection is open.
#[test]
fn stopping_truncates_no_response_that_was_waited_for() {
    let store = Arc::new(MemoryStore::new());
    let serving = serving_long_person(Arc::clone(&store));
    serving.create("2");
    let tag = serving.ask("HEAD /persons", "", "");
    let mut client = serving.client();
    let fields = format!(
        "If-None-Match: {}\r\nPrefer: wait=60\r\n",
        tag.field("ETag").unwrap()
    );
    client.send(request("GET /persons?limit=1000", &fields, ""));
    let waits = "\nifmatch_waiting_requests 1\n";
    while !serving.ask("GET /metrics", "", "").content.contains(waits) {}
    let id = id("2");
    let version = store.get(PERSONS, &id).unwrap().unwrap().version;
    let removal = Swap::remove(PERSONS, &id, version);
    Store::swap(&store, &removal, SystemTime::now()).unwrap();
    let reader = std::thread::spawn(move || {
        client.wait();
        let list = client.receive();
        (list.status, list.content.contains(&"x".repeat(12_000_000)))
    });
    drop(serving);
    assert_eq!(reader.join().unwrap(), (200, true));
}

#[test]
fn a_server_can_be_stopped_before_and_while_it_serves() {
    let bind = || {
        let address = "127.0.0.1:0".parse().unwrap();
        Server::bind(address, MemoryStore::new(), options()).unwrap()
    };
    let server = bind();
    server.stopper().stop();
    server.serve().unwrap();

    let server = bind();
    let (address, stopper) = (server.local_addr().clone(), server.stopper());
    let serving = std::thread::spawn(move || server.serve());
    assert_eq!(
        Client::connect(address)
            .ask(request("GET /", "", ""))
            .status,
        200
    );
    stopper.clone().stop();
    stopper.stop();
    serving.join().unwrap().unwrap();
}

/// An embedding program may use the store while it is served.
#[test]
fn a_store_can_be_shared_with_the_embedding_program() {
    let store = Arc::new(MemoryStore::new());
    let serving = Serving::with(Arc::clone(&store), options());
    let tag = serving.create("1");
    let id = id("1");
    let record = store.get(PERSONS, &id).unwrap().unwrap();
    assert_eq!(record.version.entity_tag().to_string(), tag);
    assert_eq!(
        Store::collection_version(&store, PERSONS),
        Ok(Some(record.version))
    );
    let some = Portion {
        count: 9,
        ..Portion::ALL
    };
    assert_eq!(
        Store::list(&store, PERSONS, some).unwrap().records,
        std::slice::from_ref(&record)
    );
    Store::swap(
        &store,
        &Swap::remove(PERSONS, &id, record.version),
        SystemTime::now(),
    )
    .unwrap();
    assert_eq!(Store::get(&store, PERSONS, &id), Ok(None));
    assert_eq!(serving.ask("GET /persons/1", "", "").status, 404);
}

#[test]
fn an_address_in_use() {
    let serving = Serving::start();
    let error = Server::bind(serving.address.into(), MemoryStore::new(), options()).unwrap_err();
    let expected = format!(
        "another program is already listening on {}; stop it, or use another address",
        serving.address
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn the_first_response_follows_the_start() {
    let started = Instant::now();
    let program = Program::start(&[]);
    assert_eq!(
        Client::connect(program.address)
            .ask(request("GET /", "", ""))
            .status,
        200
    );
    // This limit is no measure of speed: it shows that the start waits for no timeout.
    assert!(started.elapsed() < Duration::from_secs(5));
}
