//! What keeps the door open: nobody waits for somebody else's client.

use std::collections::HashSet;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use ifmatch::{
    Collection, MemoryStore, PersonId, Record, Server, Store, StoreError, Swap, SwapError, Version,
};

use crate::client::{Client, request};
use crate::serving::{Program, Serving, options};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";

/// Stalled in every way there is to stall in the middle of content.
#[test]
fn clients_that_stall_hold_up_nobody() {
    let serving = Serving::start();
    let mut tag = serving.create("1");
    let stalls = [
        "Content-Length: 900\r\n\r\n{",
        "Content-Length: 2000\r\n\r\n{",
        "Content-Length: 60000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "Content-Length: 20\r\nExpect: 100-continue\r\n\r\n",
    ];
    let stalled: Vec<Client> = (0..60)
        .map(|number| {
            let mut client = serving.client();
            let rest = stalls[number % stalls.len()];
            client.send(format!(
                "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n{rest}"
            ));
            client
        })
        .collect();
    let mut client = serving.client();
    for round in 0..100 {
        let content = format!(r#"{{"person_name": "{round}"}}"#);
        let put = request("PUT /persons/1", &format!("If-Match: {tag}\r\n"), &content);
        let replaced = client.ask(put);
        assert_eq!(replaced.status, 200);
        tag = replaced.field("ETag").unwrap().to_owned();
        assert_eq!(client.ask(GET).field("ETag"), Some(&*tag));
    }
    drop(stalled);
    assert_eq!(client.ask(GET).field("ETag"), Some(&*tag));
}

/// `tiny_http` gives several connections of a burst to one thread.
#[test]
fn every_connection_of_a_burst_is_answered() {
    let serving = Serving::start();
    serving.create("1");
    for burst in [8, 16, 32] {
        for _ in 0..50 {
            for mut client in (0..4).map(|_| serving.client()).collect::<Vec<_>>() {
                assert_eq!(client.ask(GET).status, 200);
            }
            let mut clients: Vec<_> = (0..burst).map(|_| serving.client()).collect();
            for client in &mut clients {
                client.send(GET);
            }
            for client in &mut clients {
                assert_eq!(client.receive().status, 200);
            }
        }
    }
}

#[test]
fn clients_that_do_not_read_hold_up_nobody() {
    let serving = Serving::start();
    serving.create("1");
    for id in 2..400 {
        serving.create(&id.to_string());
    }
    // More short answers than fit into the buffers of a socket, and lists of some thirty kilobytes.
    let mut short = serving.client();
    short.send(GET.repeat(40_000));
    let mut long = serving.client();
    long.send(request("GET /persons", "", "").repeat(500));
    let mut client = serving.client();
    for _ in 0..100 {
        assert_eq!(client.ask(GET).status, 200);
    }
    // Once they read, they get every answer, whole and in order.
    for _ in 0..40_000 {
        assert_eq!(short.receive().status, 200);
    }
    let lists: HashSet<String> = (0..500).map(|_| long.receive().content).collect();
    assert_eq!(lists.len(), 1);
    assert_eq!(short.ask(GET).status, 200);
    assert_eq!(long.ask(GET).status, 200);
}

/// The caretaker's visits must not be seen by anybody.
#[test]
fn an_idle_connection_stays_open() {
    let serving = Serving::start();
    serving.create("1");
    let mut client = serving.client();
    assert_eq!(client.ask(GET).status, 200);
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(client.ask(GET).status, 200);
}

/// A store that panics, and one that fails, every third time.
struct Flaky {
    store: MemoryStore,
    calls: AtomicUsize,
    fail: fn() -> StoreError,
}

impl Flaky {
    fn check(&self) -> Result<(), StoreError> {
        match self.calls.fetch_add(1, Ordering::SeqCst) % 3 {
            2 => Err((self.fail)()),
            _ => Ok(()),
        }
    }
}

impl Store for Flaky {
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        self.check()?;
        self.store.get(id)
    }

    fn version(&self) -> Result<Version, StoreError> {
        self.check()?;
        self.store.version()
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        self.check()?;
        self.store.list(after, most)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.check()?;
        self.store.swap(swap, now)
    }
}

#[test]
fn a_store_that_fails_or_panics_fails_its_request_alone() {
    type Fail = fn() -> StoreError;
    let failures: [(Fail, u16, &str); 2] = [
        (
            || StoreError::new("the disk is full"),
            503,
            "The store cannot be reached; try again in a second",
        ),
        (
            || panic!("this panic is part of the test"),
            500,
            "The server failed on this request",
        ),
    ];
    for (fail, status, message) in failures {
        let store = Flaky {
            store: MemoryStore::new(),
            calls: AtomicUsize::new(0),
            fail,
        };
        let serving = Serving::with(store, options());
        let mut client = serving.client();
        let mut created = 0;
        for id in 0..30 {
            // Short, and long enough to be answered beside the loop.
            let name = "x".repeat(if id % 2 == 0 { 1 } else { 2000 });
            let content = format!(r#"{{"person_id": "{id}", "person_name": "{name}"}}"#);
            let answer = client.ask(request("POST /persons", "", &content));
            if answer.status == 201 {
                created += 1;
            } else {
                assert_eq!((answer.status, &*answer.message()), (status, message));
                let retry = (status == 503).then_some("1");
                assert_eq!(answer.field("Retry-After"), retry);
            }
        }
        assert!((1..30).contains(&created));
        let list = (0..3).map(|_| client.ask(request("GET /persons", "", "")));
        let list = list.filter(|list| list.status == 200).last().unwrap();
        assert_eq!(
            list.content.matches("person_id").count(),
            created,
            "nothing half done"
        );
    }
}

#[test]
fn a_stopped_server_lets_go_of_its_address() {
    for _ in 0..20 {
        let serving = Serving::start();
        let address = serving.address;
        serving.create("1");
        let mut client = serving.client();
        assert_eq!(client.ask(GET).status, 200);
        drop(serving);
        // For a moment it may be the port from which another test's client calls.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = TcpListener::bind(address) {
            assert!(Instant::now() < deadline, "{address}: {error}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Who reads slowly gets the answer under way whole, or nothing behind its beginning.
#[test]
fn stopping_cuts_no_answer_short() {
    let serving = Serving::start();
    let name = "x".repeat(60_000);
    for id in 0..200 {
        let content = format!(r#"{{"person_id": "{id}", "person_name": "{name}"}}"#);
        assert_eq!(serving.ask("POST /persons", "", &content).status, 201);
    }
    let mut client = serving.client();
    client.send(request("GET /persons", "", "").repeat(2));
    client.wait();
    let reader = std::thread::spawn(move || {
        let list = client.receive();
        (list.status, list.content.matches("person_id").count())
    });
    drop(serving);
    assert_eq!(reader.join().unwrap(), (200, 200));
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

/// A program may keep its store, and look into it while it is served.
#[test]
fn a_store_can_be_shared_with_the_program_around_it() {
    let store = Arc::new(MemoryStore::new());
    let serving = Serving::with(Arc::clone(&store), options());
    let tag = serving.create("1");
    let id = PersonId::new("1").unwrap();
    let record = store.get(&id).unwrap().unwrap();
    assert_eq!(record.version.entity_tag().to_string(), tag);
    assert_eq!(Store::version(&store), Ok(record.version));
    assert_eq!(
        Store::list(&store, None, 9).unwrap().records,
        std::slice::from_ref(&record)
    );
    Store::swap(
        &store,
        &Swap::remove(&id, record.version),
        SystemTime::now(),
    )
    .unwrap();
    assert_eq!(Store::get(&store, &id), Ok(None));
    assert_eq!(serving.ask("GET /persons/1", "", "").status, 404);
}

#[test]
fn an_address_that_is_taken() {
    let serving = Serving::start();
    let error = Server::bind(serving.address.into(), MemoryStore::new(), options()).unwrap_err();
    let expected = format!(
        "another program is already listening on {}; stop it, or use another address",
        serving.address
    );
    assert_eq!(error.to_string(), expected);
}

/// Without descriptors nobody new can come; those who are there stay, and when others leave, new
/// ones are taken again.
#[test]
fn running_out_of_descriptors_is_survived() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" --listen 127.0.0.1:0"]);
    command.arg(env!("CARGO_BIN_EXE_ifmatch"));
    // What tiny_http prints when its accept thread ends is of no interest here.
    command.stderr(std::process::Stdio::null());
    let program = Program::spawn(&mut command);
    let mut early = Client::connect(program.address);
    let created = early.ask(request(
        "POST /persons",
        "",
        r#"{"person_id": "1", "person_name": "x"}"#,
    ));
    assert_eq!(created.status, 201);
    for _ in 0..3 {
        let idle: Vec<_> = (0..100)
            .map(|_| TcpStream::connect(program.address).unwrap())
            .collect();
        // However long they stay, who is there is served.
        for _ in 0..20 {
            assert_eq!(early.ask(GET).status, 200);
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(idle);
        let mut late = Client::connect(program.address);
        let answer = late.ask(GET);
        assert_eq!(answer.content, created.content, "nothing is lost");
    }
}

#[test]
fn the_first_answer_comes_soon_after_the_start() {
    let started = Instant::now();
    let program = Program::start(&[]);
    assert_eq!(
        Client::connect(program.address)
            .ask(request("GET /", "", ""))
            .status,
        200
    );
    // Not how fast, which is for a benchmark to say, but that nothing is waited for.
    assert!(started.elapsed() < Duration::from_secs(5));
}
