//! Three servers of `ifmatch` while the primary of `PostgreSQL` stops and its synchronous standby takes
//! over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::Swap;

use crate::conformance::{PERSONS, create, id, now, person};
use crate::support::client::{Client, RawResponse, request};
use crate::support::cluster::{Cluster, Schema};
use crate::support::serving::Program;

const SERVERS: usize = 3;
const WRITERS: usize = 16;
const COUNTERS: usize = 4;

fn start(schema: &Schema) -> Program {
    let door = if cfg!(feature = "hyper") {
        "hyper"
    } else {
        "tiny_http"
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    command.args(["--door", door, "--listen", "127.0.0.1:0"]);
    command.args(schema.arguments());
    // Without this, each failed write would print a line.
    Program::spawn(command.stderr(Stdio::null()))
}

/// A client of one server, which connects again when its connection is closed.
struct Caller {
    address: SocketAddr,
    client: Option<Client>,
}

impl Caller {
    /// A client of each server.
    fn of(addresses: [SocketAddr; SERVERS]) -> [Self; SERVERS] {
        addresses.map(|address| Self {
            address,
            client: None,
        })
    }

    /// The response, or `None` if the store or the connection failed.
    fn ask(&mut self, request: &str) -> Option<RawResponse> {
        let address = self.address;
        let client = self.client.get_or_insert_with(|| Client::connect(address));
        match client.try_ask(request) {
            Ok(response) if response.status != 503 => return Some(response),
            Ok(_) => {}
            Err(_) => self.client = None,
        }
        thread::sleep(Duration::from_millis(10));
        None
    }
}

/// The number in the name of a person.
fn number(person: &serde_json::Value) -> usize {
    person["person_name"].as_str().unwrap().parse().unwrap()
}

/// The content for each tag.
#[derive(Default)]
struct Tags(Mutex<HashMap<String, String>>);

impl Tags {
    /// Records the content of a response. Panics if its tag has had another content.
    fn note(&self, response: &RawResponse) {
        let tag = response.field("ETag").unwrap().to_owned();
        let mut contents = self.0.lock().unwrap();
        let content = contents.entry(tag).or_insert(response.content.clone());
        assert_eq!(*content, response.content, "one tag has two contents");
    }
}

/// Counters that many clients increment, and the results that the clients have seen.
#[derive(Default)]
struct Race {
    acknowledged: [AtomicUsize; COUNTERS],
    /// The number of writes without a response: each may have been performed.
    unanswered: [AtomicUsize; COUNTERS],
    /// The highest number that a client has seen of each counter.
    highest: [AtomicUsize; COUNTERS],
    documents: Tags,
    lists: Tags,
    ended: AtomicBool,
}

impl Race {
    /// Reads a counter. Panics if it is lower than a client has seen it before.
    fn read(&self, caller: &mut Caller, counter: usize) -> Option<(RawResponse, usize)> {
        let before = self.highest[counter].load(SeqCst);
        let response = caller.ask(&request(&format!("GET /persons/{counter}"), "", ""))?;
        assert_eq!(response.status, 200, "{response:?}");
        let number = number(&serde_json::from_str(&response.content).unwrap());
        assert!(number >= before, "{counter} went from {before} to {number}");
        self.highest[counter].fetch_max(number, SeqCst);
        self.documents.note(&response);
        Some((response, number))
    }

    fn write(&self, caller: &mut Caller, counter: usize) {
        let Some((read, number)) = self.read(caller, counter) else {
            return;
        };
        let guard = format!("If-Match: {}\r\n", read.field("ETag").unwrap());
        let content = format!(r#"{{"person_name": "{}"}}"#, number + 1);
        let put = request(&format!("PUT /persons/{counter}"), &guard, &content);
        match caller.ask(&put) {
            None => _ = self.unanswered[counter].fetch_add(1, SeqCst),
            Some(response) if response.status == 412 => {}
            Some(response) => {
                assert_eq!(response.status, 200, "{response:?}");
                self.acknowledged[counter].fetch_add(1, SeqCst);
                self.highest[counter].fetch_max(number + 1, SeqCst);
                self.documents.note(&response);
            }
        }
    }

    fn list(&self, caller: &mut Caller) {
        let before = self.highest.each_ref().map(|it| it.load(SeqCst));
        let Some(response) = caller.ask(&request("GET /persons", "", "")) else {
            return;
        };
        self.lists.note(&response);
        let list: serde_json::Value = serde_json::from_str(&response.content).unwrap();
        for (counter, before) in before.into_iter().enumerate() {
            assert!(number(&list[counter]) >= before, "{before} in {list}");
        }
    }

    /// Calls `act` again and again, for one server after the other, until the race ends.
    fn repeat(&self, addresses: [SocketAddr; SERVERS], act: impl Fn(&mut Caller, usize)) {
        let mut callers = Caller::of(addresses);
        for turn in 0.. {
            if self.ended.load(SeqCst) {
                return;
            }
            act(&mut callers[turn % SERVERS], turn);
        }
    }

    /// Waits until `more` further writes of each counter are acknowledged.
    fn wait_for(&self, more: usize, deadline: Duration) {
        let counts = || self.acknowledged.each_ref().map(|it| it.load(SeqCst));
        let (since, before) = (Instant::now(), counts());
        while counts().iter().zip(before).any(|(it, at)| *it < at + more) {
            assert!(since.elapsed() < deadline, "{before:?} {:?}", counts());
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Ends a race when dropped, so that all threads end after a failure.
struct End<'a>(&'a Race);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, SeqCst);
    }
}

/// Waits until a query of the primary has this result.
fn wait_until(schema: &Schema, sql: &str, found: &str) {
    let since = Instant::now();
    while schema.rows(sql) != found {
        assert!(since.elapsed() < Duration::from_secs(20), "{sql}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn begin(addresses: [SocketAddr; SERVERS]) {
    for counter in 0..COUNTERS {
        let content = format!(r#"{{"person_id": "{counter}", "person_name": "0"}}"#);
        let [mut caller, ..] = Caller::of(addresses);
        let created = caller.ask(&request("POST /persons", "", &content));
        assert_eq!(created.unwrap().status, 201);
    }
}

/// Checks that no update is lost while `change` makes the standby the primary and clients go on.
fn nothing_is_lost(change: impl FnOnce(&Race, &Schema, [&Cluster; 2])) {
    let Some(primary) = Cluster::start() else {
        return;
    };
    let standby = primary.standby();
    let schema = Schema::on(&primary).or_on(&primary, &standby);
    // From now on a commit is confirmed only after the standby has it.
    schema.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    schema.sql("SELECT pg_reload_conf()");
    let standbys = "SELECT sync_state FROM pg_stat_replication";
    wait_until(&schema, standbys, "sync");
    let programs = [0; SERVERS].map(|_| start(&schema));
    let addresses = programs.each_ref().map(|it| it.address);
    begin(addresses);
    let race = Race::default();
    thread::scope(|scope| {
        let (race, _end) = (&race, End(&race));
        for writer in 0..WRITERS {
            let write = move |caller: &mut Caller, _| race.write(caller, writer % COUNTERS);
            scope.spawn(move || race.repeat(addresses, write));
        }
        let read = |caller: &mut Caller, turn| _ = race.read(caller, turn % COUNTERS);
        scope.spawn(move || race.repeat(addresses, read));
        scope.spawn(|| race.repeat(addresses, |caller, _| race.list(caller)));
        race.wait_for(20, Duration::from_secs(60));
        change(race, &schema, [&primary, &standby]);
    });
    for counter in 0..COUNTERS {
        let [mut caller, ..] = Caller::of(addresses);
        let (_, last) = race.read(&mut caller, counter).unwrap();
        let done = race.acknowledged[counter].load(SeqCst);
        let most = done + race.unanswered[counter].load(SeqCst);
        assert!((done..=most).contains(&last), "{done} {most} {last}");
    }
}

/// The limit for the time of the first write after the promotion of the standby.
const TAKEN_OVER: Duration = Duration::from_secs(10);

/// The last commits of the primary have not reached the standby, so they are not confirmed.
#[test]
fn nothing_is_lost_when_the_primary_fails() {
    nothing_is_lost(|race, schema, [primary, standby]| {
        standby.sql("ALTER SYSTEM SET primary_conninfo = ''");
        standby.sql("SELECT pg_reload_conf()");
        let unconfirmed =
            "SELECT DISTINCT wait_event FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_until(schema, unconfirmed, "SyncRep");
        primary.crash();
        standby.promote();
        race.wait_for(1, TAKEN_OVER);
        race.wait_for(20, Duration::from_secs(60));
    });
}

/// The former primary becomes a standby, and no connection reads from it.
#[test]
fn nothing_is_lost_when_the_primary_and_its_standby_change_places() {
    nothing_is_lost(|race, schema, [primary, standby]| {
        primary.stop("fast");
        standby.promote();
        race.wait_for(1, TAKEN_OVER);
        primary.follow(standby);
        let standbys = "SELECT state FROM pg_stat_replication";
        wait_until(schema, standbys, "streaming");
        race.wait_for(20, Duration::from_secs(60));
    });
}

/// Through a pooler, a connection can lead to a server that has become a standby and is read-only. This
/// setting makes a connection without a pooler read-only.
#[test]
fn a_connection_that_no_longer_takes_writes_is_made_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    let (one, wim) = (id("1"), person("Wim"));
    let version = create(&*store, "1");
    let mut shell = schema.shell();
    // All open connections become read-only. New connections do not, because of the role.
    cluster.sql("ALTER ROLE postgres SET default_transaction_read_only = off");
    cluster.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    cluster.sql("SELECT pg_reload_conf()");
    let mut setting = || shell.query_one("SHOW default_transaction_read_only", &[]);
    while setting().unwrap().get::<_, &str>(0) == "off" {
        thread::sleep(Duration::from_millis(10));
    }
    let swap = Swap::replace(PERSONS, &one, version, &wim);
    let version = store.swap(&swap, now()).unwrap();
    assert_eq!(store.collection_version(PERSONS), Ok(Some(version)));
    // Now new connections are read-only, too, so the write fails.
    cluster.sql("ALTER ROLE postgres RESET default_transaction_read_only");
    drop(store);
    let store = schema.store();
    let swap = Swap::replace(PERSONS, &one, version, &wim);
    let error = store.swap(&swap, now()).unwrap_err().to_string();
    let reason = "cannot execute UPDATE in a read-only transaction";
    assert!(error.ends_with(reason), "{error}");
    assert_eq!(store.collection_version(PERSONS), Ok(Some(version)));
}
