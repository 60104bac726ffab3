//! Faults. Each test injects a fault, and then checks that the server still serves and has lost
//! nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use ifmatch::{Id, List, Portion, Record, Store, StoreError, Swap, SwapError, Version};

use crate::support::client::{Client, RawResponse, request};
use crate::support::serving::{Program, Serving, is_hyper, options, store};
use crate::support::watched::{Call, Watched};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";
const LIST: &str = "GET /persons?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n";

/// A test that waits longer than this has failed.
const STUCK: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
#[track_caller]
fn wait_until(condition: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + STUCK;
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "this never happened: {condition}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}

fn ask(address: SocketAddr, line: &str, fields: &str, content: &str) -> RawResponse {
    Client::connect(address).ask(request(line, fields, content))
}

fn person(id: &str, name: &str) -> String {
    serde_json::json!({"person_id": id, "person_name": name}).to_string()
}

fn name(name: &str) -> String {
    serde_json::json!({ "person_name": name }).to_string()
}

/// The state before the fault.
pub struct Witness {
    address: SocketAddr,
    list: RawResponse,
}

impl Witness {
    /// Creates three persons and records the state.
    pub fn of(address: SocketAddr) -> Self {
        for id in ["1", "2", "3"] {
            let created = ask(address, "POST /persons", "", &person(id, "Wim"));
            assert_eq!(created.status, 201, "{created:?}");
        }
        Self::again(address)
    }

    /// Records the state.
    pub fn again(address: SocketAddr) -> Self {
        let list = Client::connect(address).ask(LIST);
        assert_eq!(list.status, 200);
        Self { address, list }
    }

    /// Checks that the server serves, and that its state is the recorded one.
    #[track_caller]
    pub fn assert_unchanged(&self) {
        let list = Client::connect(self.address).ask(LIST);
        assert_eq!(list.content, self.list.content, "something has changed");
        assert_eq!(list.field("ETag"), self.list.field("ETag"));
        self.assert_serving();
    }

    /// Checks that the server serves. Its state may have changed.
    #[track_caller]
    fn assert_serving(&self) {
        let mut client = Client::connect(self.address);
        let deadline = Instant::now() + STUCK;
        loop {
            let fetched = client.ask(GET);
            let guard = format!("If-Match: {}\r\n", fetched.field("ETag").unwrap());
            let put = request("PUT /persons/1", &guard, &name("afterwards"));
            if client.ask(&put).status == 200 {
                assert_eq!(
                    client.ask(&put).status,
                    412,
                    "a second write with the same tag"
                );
                break;
            }
            // The server may have performed an earlier request in between.
            assert!(Instant::now() < deadline, "no write was performed");
        }
    }
}

/// The memory of a process in bytes, the number of its threads, and of its descriptors.
#[cfg(target_os = "linux")]
pub fn footprint(program: &Program) -> (u64, u64, usize) {
    let id = program.child.id();
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let number = |name: &str| -> u64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).unwrap().count();
    (number("VmRSS:") * 1024, number("Threads:"), descriptors)
}

/// The paths of a process's threads of this name.
#[cfg(target_os = "linux")]
pub fn threads(program: &Program, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", program.child.id())).unwrap();
    let paths = tasks.map(|task| task.unwrap().path());
    let named = paths
        .filter(|path| fs::read_to_string(path.join("comm")).is_ok_and(|it| it.trim_end() == name));
    named.map(|path| path.display().to_string()).collect()
}

#[test]
fn fault_01_clients_that_stall_delay_no_other_client() {
    stall(Program::limited(256, &[]).address);
}

/// Stalls in the middle of content in several ways, while other clients read and write.
pub fn stall(address: SocketAddr) {
    let witness = Witness::of(address);
    let stalls = [
        "Content-Length: 900\r\n\r\n{",
        "Content-Length: 2000\r\n\r\n{",
        "Content-Length: 60000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        "Content-Length: 20\r\nExpect: 100-continue\r\n\r\n",
    ];
    let stalled: Vec<Client> = (0..64)
        .map(|number| {
            let mut client = Client::connect(address);
            let rest = stalls[number % stalls.len()];
            client.send(format!(
                "PUT /persons/2 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n{rest}"
            ));
            client
        })
        .collect();
    thread::scope(|scope| {
        for writer in 0..8 {
            let mut client = Client::connect(address);
            scope.spawn(move || {
                let mine = format!("writer {writer}");
                let created = client.ask(request("POST /persons", "", &person(&mine, "0")));
                let mut tag = created.field("ETag").unwrap().to_owned();
                let target = format!("/persons/writer%20{writer}");
                for round in 0..50 {
                    let guard = format!("If-Match: {tag}\r\n");
                    let put = request(&format!("PUT {target}"), &guard, &name(&format!("{round}")));
                    let replaced = client.ask(put);
                    assert_eq!(replaced.status, 200);
                    replaced.field("ETag").unwrap().clone_into(&mut tag);
                    let fetched = client.ask(request(&format!("GET {target}"), "", ""));
                    assert_eq!(fetched.field("ETag"), Some(&*tag));
                }
                let guard = format!("If-Match: {tag}\r\n");
                let removed = client.ask(request(&format!("DELETE {target}"), &guard, ""));
                assert_eq!(removed.status, 204);
            });
        }
    });
    drop(stalled);
    let list = ask(witness.address, "GET /persons", "", "");
    assert_eq!(
        list.content, witness.list.content,
        "no stalled PUT was performed"
    );
    witness.assert_serving();
}

/// `tiny_http` gives several connections of a burst to one thread.
#[test]
fn fault_02_every_connection_of_a_burst_is_answered() {
    let program = Program::limited(256, &[]);
    let witness = Witness::of(program.address);
    for burst in [8, 16, 32] {
        for _ in 0..50 {
            for mut client in (0..4)
                .map(|_| Client::connect(program.address))
                .collect::<Vec<_>>()
            {
                assert_eq!(client.ask(GET).status, 200);
            }
            let mut clients: Vec<_> = (0..burst)
                .map(|_| Client::connect(program.address))
                .collect();
            for client in &mut clients {
                client.send(GET);
            }
            for client in &mut clients {
                assert_eq!(client.receive().status, 200);
            }
        }
    }
    witness.assert_unchanged();
}

/// Without descriptors no connection is accepted. Open connections are served; when some of them end,
/// new ones are accepted.
#[test]
fn fault_03_running_out_of_descriptors_is_temporary() {
    let program = Program::limited(256, &[]);
    let witness = Witness::of(program.address);
    let mut early = Client::connect(program.address);
    // tiny_http needs two descriptors for each connection. Further connections wait in the kernel.
    let more_than_fit = if is_hyper() { 300 } else { 200 };
    for _ in 0..2 {
        let idle: Vec<_> = (0..more_than_fit)
            .map(|_| TcpStream::connect(program.address).unwrap())
            .collect();
        // In the meantime an open connection is served.
        for _ in 0..20 {
            assert_eq!(early.ask(GET).status, 200);
            thread::sleep(Duration::from_millis(20));
        }
        drop(idle);
        connect_when_served(program.address);
    }
    witness.assert_unchanged();
}

/// A new client with a response. It may need several connections, because an acceptor that ends closes
/// the connections that it has accepted.
#[track_caller]
fn connect_when_served(address: SocketAddr) -> Client {
    let deadline = Instant::now() + STUCK;
    loop {
        let mut client = Client::connect(address);
        if let Ok(response) = client.try_ask(GET) {
            assert_eq!(response.status, 200);
            return client;
        }
        assert!(Instant::now() < deadline, "no connection was served");
        thread::sleep(Duration::from_millis(10));
    }
}

/// The threads of replaced acceptors end, and connections that stayed open are still served.
#[cfg(target_os = "linux")]
#[test]
fn fault_03_running_out_of_descriptors_leaves_no_threads() {
    let program = Program::limited(64, &[]);
    let witness = Witness::of(program.address);
    let mut early = vec![Client::connect(program.address)];
    assert_eq!(early[0].ask(GET).status, 200);
    for _ in 0..5 {
        let idle: Vec<_> = (0..80)
            .map(|_| TcpStream::connect(program.address).unwrap())
            .collect();
        assert_eq!(early[0].ask(GET).status, 200);
        drop(idle);
        early.push(connect_when_served(program.address));
    }
    // All receivers end except the one for new connections.
    wait_until("receivers end", || {
        threads(&program, "ifmatch-receive").len() <= 1
    });
    for client in &mut early {
        // A connection that was silent for the timeout has been closed.
        if let Ok(response) = client.try_ask(GET) {
            assert_eq!(response.status, 200);
        }
    }
    witness.assert_unchanged();
}

/// `accept` fails at once while no descriptor is free. The server pauses before it tries again.
#[cfg(target_os = "linux")]
#[test]
fn fault_03_running_out_of_descriptors_uses_no_processor() {
    let program = Program::limited(64, &["--store", "memory"]);
    let idle: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(program.address).unwrap())
        .collect();
    // The processor time is in hundredths of a second.
    let processor_time = || -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", program.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let times = fields.split(' ').skip(11).take(2);
        times.map(|it| it.parse::<u64>().unwrap()).sum()
    };
    wait_until("no descriptor is left", || footprint(&program).2 >= 60);
    let before = processor_time();
    thread::sleep(Duration::from_secs(2));
    let used = processor_time() - before;
    assert!(used < 40, "{used} of 200");
    drop(idle);
}

/// While descriptors are free only for moments, the server starts no acceptor that would end at once.
#[cfg(target_os = "linux")]
#[test]
fn fault_03_few_free_descriptors_start_no_acceptor() {
    let program = Program::limited(64, &["--store", "memory"]);
    let idle = (0..80).map(|_| TcpStream::connect(program.address).unwrap());
    let mut idle: std::collections::VecDeque<_> = idle.collect();
    wait_until("no descriptor is left", || footprint(&program).2 >= 60);
    for _ in 0..12 {
        drop(idle.pop_front());
        thread::sleep(Duration::from_millis(200));
    }
    let receivers = threads(&program, "ifmatch-receive").len();
    assert!(receivers <= 2, "{receivers} acceptors");
}

#[test]
fn fault_04_a_client_that_reads_nothing_delays_no_other_client() {
    let program = Program::limited(256, &[]);
    let mut blocked = do_not_read(program.address);
    // When it reads, it gets every response, complete and in order.
    for _ in 0..50 {
        let list = blocked.receive();
        assert_eq!(list.content.matches("person_id").count(), 1000);
    }
}

/// Asks for more lists than fit into the buffers of a socket, while another client is served.
/// Returns the client that has read nothing.
pub fn do_not_read(address: SocketAddr) -> Client {
    for hundred in 0..10 {
        let mut client = Client::connect(address);
        let ids = (0..100).map(|id| format!("{hundred:02}{id:02}"));
        let posts = ids.map(|id| request("POST /persons", "", &person(&id, "Wim")));
        client.send(posts.collect::<String>());
        for _ in 0..100 {
            assert_eq!(client.receive().status, 201);
        }
    }
    Witness::of(address);
    let witness = Witness::again(address);
    let (mut client, mut blocked) = (Client::connect(address), Client::connect(address));
    // The server may stop reading requests, because the client reads no responses.
    thread::scope(|scope| {
        let sender = scope.spawn(|| blocked.try_send(LIST.repeat(50)));
        for _ in 0..100 {
            assert_eq!(client.ask(GET).status, 200);
        }
        witness.assert_serving();
        let _ = sender.join().unwrap();
    });
    blocked
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    let socket = socket2::Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// A PUT that is cut off is performed as a whole or not at all.
#[test]
fn fault_05_resets_leave_no_partial_write() {
    // Many resets can end the threads of tiny_http faster than it starts new ones. Connections that
    // wait for a thread keep their descriptors until others end.
    let program = Program::limited(4096, &[]);
    let witness = Witness::of(program.address);
    for _ in 0..500 {
        reset(TcpStream::connect(program.address).unwrap());
    }
    witness.assert_unchanged();
    let mut client = Client::connect(program.address);
    let mut sent = HashSet::from(["afterwards".to_owned()]);
    let mut performed = 0;
    for round in 0..500 {
        let before = client.ask(GET);
        // The server reads short content with the head, and long content when it needs it.
        let long = if round % 2 == 0 { 20 } else { 3000 };
        let new = format!("{round} {} end", "x".repeat(long));
        let guard = format!("If-Match: {}\r\n", before.field("ETag").unwrap());
        let put = request("PUT /persons/1", &guard, &name(&new));
        // The request is cut in the head, in the content, and after its end.
        let cut = put.len() * (1 + round % 10) / 10;
        let mut stream = TcpStream::connect(program.address).unwrap();
        std::io::Write::write_all(&mut stream, &put.as_bytes()[..cut]).unwrap();
        reset(stream);
        if cut == put.len() {
            sent.insert(new);
        }
        let after = client.ask(GET);
        let value: serde_json::Value = serde_json::from_str(&after.content).unwrap();
        let found = value["person_name"].as_str().unwrap();
        assert!(sent.contains(found), "never sent as a whole: {found}");
        let (old, new) = (before.field("ETag"), after.field("ETag"));
        assert_eq!(old == new, before.content == after.content);
        performed += usize::from(old != new);
    }
    assert!(performed <= sent.len(), "{performed}");
    witness.assert_serving();
}

/// Serves from a store that fails on every tenth call.
fn serve_flaky(store: Arc<dyn Store>, fail: fn() -> StoreError) -> Serving {
    let calls = AtomicUsize::new(0);
    let before = move |_: Call<'_>| match calls.fetch_add(1, Ordering::SeqCst) % 10 {
        9 => Err(fail()),
        _ => Ok(()),
    };
    Serving::with(Watched::new(store, before), options())
}

/// Performs writes, and compares the state with the responses. A failed request has this status and
/// this message, and has changed nothing.
#[track_caller]
fn assert_only_failures_fail(serving: &Serving, status: u16, message: &str) {
    let mut client = serving.client();
    let mut expected: BTreeMap<String, String> = BTreeMap::new();
    let mut failed = 0;
    for round in 0..300 {
        let id = (round * 7 % 20).to_string();
        let target = format!("/persons/{id}");
        // Short names, and names so long that the response is not made on the event loop.
        let new = format!(
            "{round}{}",
            "x".repeat(if round % 3 == 0 { 2000 } else { 1 })
        );
        let (line, fields, content) = match (expected.contains_key(&id), round % 5) {
            (false, _) => ("POST /persons".to_owned(), "", person(&id, &new)),
            (true, 0) => (format!("DELETE {target}"), "If-Match: *\r\n", String::new()),
            (true, _) => (format!("PUT {target}"), "If-Match: *\r\n", name(&new)),
        };
        let response = client.ask(request(&line, fields, &content));
        match response.status {
            200 | 201 => {
                expected.insert(id, new);
            }
            204 => {
                expected.remove(&id);
            }
            _ => {
                assert_eq!((response.status, &*response.message()), (status, message));
                let retry = (status == 503).then_some("1");
                assert_eq!(response.field("Retry-After"), retry);
                failed += 1;
            }
        }
    }
    assert!((10..200).contains(&failed), "{failed}");
    let list = loop {
        let list = client.ask(LIST);
        if list.status == 200 {
            break list;
        }
    };
    let list: Vec<serde_json::Value> = serde_json::from_str(&list.content).unwrap();
    let text = |member: &serde_json::Value| member.as_str().unwrap().to_owned();
    let found = list
        .iter()
        .map(|person| (text(&person["person_id"]), text(&person["person_name"])));
    assert_eq!(found.collect::<BTreeMap<_, _>>(), expected);
}

/// The tests of the stores cover a panic under a lock.
#[test]
fn fault_06_a_panic_fails_its_request_alone() {
    let (store, _directory) = store();
    let serving = serve_flaky(store, || panic!("this panic is part of the test"));
    assert_only_failures_fail(&serving, 500, "The server failed on this request");
}

#[test]
fn fault_07_a_store_that_fails_fails_its_request_alone() {
    let (store, _directory) = store();
    let serving = serve_flaky(store, || StoreError::new("the disk is full"));
    let message = "The store failed; try again in a second";
    assert_only_failures_fail(&serving, 503, message);
}

/// A store whose clock jumps ten years back and forth between writes.
struct Jumping(Arc<dyn Store>, AtomicUsize);

impl Store for Jumping {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.0.get(collection, id)
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        self.0.collection_version(collection)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        self.0.list(collection, portion)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let decade = Duration::from_secs(10 * 365 * 86_400);
        let now = match self.1.fetch_add(1, Ordering::SeqCst) % 4 {
            1 => now - decade,
            3 => now + decade,
            _ => now,
        };
        self.0.swap(swap, now)
    }
}

/// Validators of an old state never match the current one, even if the clock jumps.
#[test]
fn fault_08_a_clock_that_jumps_makes_no_response_wrong() {
    let (store, _directory) = store();
    let serving = Serving::with(Jumping(store, AtomicUsize::new(0)), options());
    let mut client = serving.client();
    let mut tags = HashSet::from([serving.create("1")]);
    let (mut dates, mut last) = (BTreeSet::new(), String::new());
    for round in 0..200 {
        let fetched = client.ask(GET);
        let value: serde_json::Value = serde_json::from_str(&fetched.content).unwrap();
        let changed = value["change_date"].as_str().unwrap().to_owned();
        assert!(changed > last, "{changed} after {last}");
        last = changed;
        dates.insert(fetched.field("Last-Modified").unwrap().to_owned());
        let guard = format!("If-Match: {}\r\n", fetched.field("ETag").unwrap());
        let put = request("PUT /persons/1", &guard, &name(&round.to_string()));
        let replaced = client.ask(put);
        assert_eq!(replaced.status, 200);
        let tag = replaced.field("ETag").unwrap().to_owned();
        assert!(tags.insert(tag), "a tag came back");
        // Dates cannot distinguish two writes within one second.
        if round % 2 == 0 {
            for date in &dates {
                let since = format!("If-Modified-Since: {date}\r\n");
                let response = client.ask(request("GET /persons/1", &since, ""));
                assert_eq!(response.status, 200, "{date} passes for {last}");
            }
        }
    }
}

/// Each announcement costs little memory. At the hyper door no thread and no descriptor stays in use.
#[cfg(target_os = "linux")]
#[test]
fn fault_09_announcing_terabytes_costs_little() {
    let program = Program::limited(1024, &[]);
    let witness = Witness::of(program.address);
    let before = footprint(&program);
    let held = announce_terabytes(program.address);
    let (memory, threads, descriptors) = footprint(&program);
    // The limit is for the growth, because an unoptimised program starts with about 12 MB.
    let grown = memory.saturating_sub(before.0);
    assert!(grown < 8 * 1024 * 1024, "{grown} bytes");
    drop(held);
    if is_hyper() {
        wait_until("threads and descriptors are released", || {
            let (_, threads, descriptors) = footprint(&program);
            threads <= before.1 && descriptors <= before.2
        });
    } else {
        // Each connection keeps one thread and two descriptors. A probe may need some more.
        assert!(threads <= before.1 + 200 + 8, "{threads}");
        assert!(descriptors <= before.2 + 400 + 8, "{descriptors}");
    }
    witness.assert_unchanged();
}

/// Announces content of terabytes. Returns the clients, each of which has received a 413.
pub fn announce_terabytes(address: SocketAddr) -> Vec<Client> {
    let announce = |_| {
        let mut client = Client::connect(address);
        let head = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000000\r\n\r\n";
        assert_eq!(client.ask(head).status, 413);
        client
    };
    (0..200).map(announce).collect()
}

/// Every response is complete, and every acknowledged write is in a persistent store afterwards.
#[cfg(unix)]
#[test]
fn fault_10_a_signal_loses_no_acknowledged_write() {
    for signal in ["TERM", "INT"] {
        let mut program = Program::limited(256, &[]);
        let address = program.address;
        let ended = AtomicBool::new(false);
        let acknowledged = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for writer in 0..8 {
                let (ended, acknowledged) = (&ended, &acknowledged);
                let mut client = Client::connect(address);
                scope.spawn(move || {
                    for round in 0.. {
                        let id = format!("{writer}-{round}");
                        let post = request("POST /persons", "", &person(&id, "Wim"));
                        match client.try_ask(&post) {
                            Ok(response) => assert_eq!(response.status, 201),
                            Err(_) => break,
                        }
                        acknowledged.lock().unwrap().push(id);
                    }
                    assert!(
                        ended.load(Ordering::SeqCst),
                        "no response before the signal"
                    );
                });
            }
            wait_until("load", || acknowledged.lock().unwrap().len() > 200);
            ended.store(true, Ordering::SeqCst);
            let id = program.child.id().to_string();
            let kill = Command::new("kill").args(["-s", signal, &id]).status();
            assert!(kill.unwrap().success());
        });
        let status = program.child.wait().unwrap();
        // In a build without signal handling, the signal ends the process.
        let orderly = cfg!(feature = "hyper").then_some(0);
        assert_eq!(status.code(), orderly, "{signal}");
        if let Some(again) = program.start_again() {
            let mut client = Client::connect(again.address);
            for id in acknowledged.into_inner().unwrap() {
                let get = request(&format!("GET /persons/{id}"), "", "");
                assert_eq!(client.ask(get).status, 200, "{id} is lost");
            }
        }
    }
}

/// The last client stalls in its content, and the door sends a 408.
#[cfg(feature = "hyper")]
#[test]
fn fault_11_slow_and_endless_heads_are_ended() {
    if !is_hyper() {
        return;
    }
    let program = Program::limited(512, &["--timeout", "2"]);
    let witness = Witness::of(program.address);
    drip(program.address);
    send_without_end(program.address);
    let mut late = Client::connect(program.address);
    late.send("PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
    let response = late.receive();
    assert_eq!(response.status, 408);
    assert_eq!(response.message(), "The content did not arrive in time");
    assert!(late.is_closed());
    witness.assert_unchanged();
}

/// Sends 200 heads byte by byte until each connection is closed, while another client is served.
pub fn drip(address: SocketAddr) {
    let mut drips: Vec<_> = (0..200).map(|_| Client::connect(address)).collect();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let dripping = scope.spawn(|| {
            let started = Instant::now();
            let mut text = "GET /persons HTTP/1.1\r\nHost: x\r\nX: ".chars();
            while !drips.is_empty() {
                assert!(started.elapsed() < STUCK, "{} are left", drips.len());
                thread::sleep(Duration::from_millis(100));
                let byte = text.next().unwrap_or('y').to_string();
                drips.retain_mut(|client| client.try_send(&byte).is_ok());
            }
            over.store(true, Ordering::SeqCst);
        });
        let mut client = Client::connect(address);
        while !over.load(Ordering::SeqCst) && !dripping.is_finished() {
            assert_eq!(client.ask(GET).status, 200);
            thread::sleep(Duration::from_millis(5));
        }
    });
}

/// Sends endless and malformed heads. Each is refused, or its connection is closed.
pub fn send_without_end(address: SocketAddr) {
    let long = "x".repeat(100_000);
    let lines = "X: y\r\n".repeat(10_000);
    for head in [
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}"),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{lines}"),
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
    ] {
        let mut client = Client::connect(address);
        // The server may close the connection before it has read all of it.
        let _ = client.try_send(&head);
        if let Ok(response) = client.try_receive() {
            assert!([400, 414, 431].contains(&response.status), "{response:?}");
            assert!(client.is_closed());
        }
    }
    let mut idle = Client::connect(address);
    assert_eq!(idle.ask(GET).status, 200);
    assert!(idle.is_closed(), "an idle connection times out");
}
