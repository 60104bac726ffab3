//! Three programs that share one database. Programs and database are killed while clients write.

use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::client::{Client, RawResponse, request};
use crate::support::cluster::{Cluster, Schema};
use crate::support::serving::{Program, program};

const CLIENTS: usize = 32;

fn get() -> String {
    request("GET /persons/1", "", "")
}

fn put(tag: &str, name: &str) -> String {
    let content = format!(r#"{{"person_name": "{name}"}}"#);
    request("PUT /persons/1", &format!("If-Match: {tag}\r\n"), &content)
}

fn tag(response: &RawResponse) -> String {
    response.field("ETag").unwrap().to_owned()
}

fn name(response: &RawResponse) -> String {
    let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
    value["person_name"].as_str().unwrap().to_owned()
}

/// A program that can be killed and started again, at another address.
pub struct Server<'a> {
    schema: &'a Schema,
    program: Mutex<Option<Program>>,
}

impl<'a> Server<'a> {
    fn start(schema: &'a Schema) -> Self {
        let server = Self {
            schema,
            program: Mutex::new(None),
        };
        server.go_on();
        server
    }

    fn go_on(&self) {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]);
        command.args(self.schema.arguments());
        // While the database is down, the program prints errors, which do not matter here.
        command.stderr(Stdio::null());
        *self.program.lock().unwrap() = Some(Program::spawn(&mut command));
    }

    fn connect(&self) -> io::Result<Client> {
        match &*self.program.lock().unwrap() {
            Some(program) => Client::try_connect(program.address),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    /// Ends the program with SIGKILL.
    fn kill(&self) {
        drop(self.program.lock().unwrap().take());
    }
}

/// A client of one of the servers. It connects again after its connection was closed.
struct Caller<'a> {
    server: &'a Server<'a>,
    client: Option<Client>,
}

impl<'a> Caller<'a> {
    fn new(server: &'a Server<'_>) -> Self {
        Self {
            server,
            client: None,
        }
    }

    fn ask(&mut self, request: &str) -> io::Result<RawResponse> {
        let client = match self.client.take() {
            Some(client) => client,
            None => self.server.connect()?,
        };
        let response = self.client.insert(client).try_ask(request);
        if response.is_err() {
            self.client = None;
        }
        response
    }

    /// Repeats the request until the response is not a 503.
    fn ask_until_available(&mut self, request: &str) -> RawResponse {
        for _ in 0..2000 {
            match self.ask(request) {
                Ok(response) if response.status != 503 => return response,
                Ok(response) => assert_eq!(response.field("Retry-After"), Some("1")),
                Err(_) => {}
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("no server is available");
    }
}

/// The outcomes of one round.
#[derive(Default)]
struct Round {
    won: Vec<String>,
    lost: usize,
    unavailable: usize,
    cut_off: usize,
}

/// All clients write to one person with the same tag, while `disturb` kills servers. At most one write
/// succeeds in each round, and no acknowledged write is lost. Returns the sums of the outcomes.
pub fn race(
    servers: &[Server<'_>; 3],
    rounds: usize,
    disturb: impl Fn(usize) + Sync,
) -> [usize; 4] {
    let created = request(
        "POST /persons",
        "",
        r#"{"person_id": "1", "person_name": "0"}"#,
    );
    let mut first = Caller::new(&servers[0]);
    let mut current = first.ask_until_available(&created);
    assert_eq!(current.status, 201);
    let mut callers: Vec<_> = (0..CLIENTS)
        .map(|client| Caller::new(&servers[client % 3]))
        .collect();
    let barrier = Barrier::new(CLIENTS);
    let mut counts = [0; 4];
    for round in 0..rounds {
        let seen = Mutex::new(Round::default());
        let tag_seen = tag(&current);
        thread::scope(|scope| {
            for (client, caller) in callers.iter_mut().enumerate() {
                let (seen, barrier, tag_seen) = (&seen, &barrier, &tag_seen);
                scope.spawn(move || {
                    let name = format!("{round}/{client}");
                    let request = put(tag_seen, &name);
                    barrier.wait();
                    let response = caller.ask(&request);
                    let mut seen = seen.lock().unwrap();
                    match response {
                        Ok(response) if response.status == 200 => seen.won.push(name),
                        Ok(response) if response.status == 412 => seen.lost += 1,
                        Ok(response) => {
                            assert_eq!(response.status, 503, "{response:?}");
                            assert_eq!(response.field("Retry-After"), Some("1"));
                            seen.unavailable += 1;
                        }
                        Err(_) => seen.cut_off += 1,
                    }
                });
            }
            disturb(round);
        });
        let seen = seen.into_inner().unwrap();
        let asked: Vec<_> = servers
            .iter()
            .map(|server| Caller::new(server).ask_until_available(&get()))
            .collect();
        let after = &asked[0];
        for other in &asked {
            assert_eq!((tag(other), &other.content), (tag(after), &after.content));
        }
        match seen.won.as_slice() {
            [winner] => assert_eq!(&name(after), winner, "an acknowledged write is lost"),
            [] if tag(after) == tag_seen => {
                assert_eq!(seen.lost, 0, "412 though nothing has changed");
            }
            // A write was performed, and its response was lost.
            [] => assert!(name(after).starts_with(&format!("{round}/"))),
            several => panic!("{several:?} have all won"),
        }
        for (count, here) in
            counts
                .iter_mut()
                .zip([seen.won.len(), seen.lost, seen.unavailable, seen.cut_off])
        {
            *count += here;
        }
        current = asked.into_iter().next().unwrap();
    }
    counts
}

pub fn start(schema: &Schema) -> [Server<'_>; 3] {
    [0; 3].map(|_| Server::start(schema))
}

/// One in twenty rounds kills one of the servers and starts it again, and another one in twenty the
/// database.
fn of_clients_of_three_servers_exactly_one_wins(tagged: bool) {
    const ROUNDS: usize = 500;
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster).tagged(tagged);
    let servers = start(&schema);
    let counts = race(&servers, ROUNDS, |round| {
        // The moment differs from round to round.
        thread::sleep(Duration::from_millis(round as u64 % 17));
        match round % 20 {
            9 => {
                servers[1].kill();
                thread::sleep(Duration::from_millis(100));
                servers[1].go_on();
            }
            19 => {
                cluster.crash();
                thread::sleep(Duration::from_millis(100));
                cluster.go_on();
            }
            _ => {}
        }
    });
    let [won, lost, unavailable, cut_off] = counts;
    assert_eq!(won + lost + unavailable + cut_off, ROUNDS * CLIENTS);
    // One client wins in every round without a crash, and in some of the others.
    assert!(won >= ROUNDS * 9 / 10, "{counts:?}");
    assert!(unavailable > 0 && cut_off > 0, "{counts:?}");
}

#[test]
fn of_clients_of_three_servers_exactly_one_wins_where_lists_have_a_tag() {
    of_clients_of_three_servers_exactly_one_wins(true);
}

#[test]
fn of_clients_of_three_servers_exactly_one_wins_where_lists_have_none() {
    of_clients_of_three_servers_exactly_one_wins(false);
}

/// Eight writers increment one number through all servers, while a server and the database crash.
/// Each acknowledged write counts once, and each write without a response at most once.
#[test]
fn no_update_is_lost_between_three_servers() {
    const EACH: usize = 40;
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let servers = start(&schema);
    let created = request(
        "POST /persons",
        "",
        r#"{"person_id": "1", "person_name": "0"}"#,
    );
    assert_eq!(
        Caller::new(&servers[0])
            .ask_until_available(&created)
            .status,
        201
    );
    let (done, unknown) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let (servers, done, unknown) = (&servers, &done, &unknown);
                scope.spawn(move || {
                    let mut callers = servers.each_ref().map(Caller::new);
                    let mut mine = 0;
                    for turn in writer.. {
                        let caller = &mut callers[turn % 3];
                        let read = caller.ask_until_available(&get());
                        let next = name(&read).parse::<usize>().unwrap() + 1;
                        match caller.ask(&put(&tag(&read), &next.to_string())) {
                            Ok(response) if response.status == 200 => mine += 1,
                            Ok(response) if response.status == 412 => {}
                            Ok(response) if response.status != 503 => panic!("{response:?}"),
                            _ => _ = unknown.fetch_add(1, Ordering::SeqCst),
                        }
                        if mine == EACH {
                            break;
                        }
                    }
                    done.fetch_add(mine, Ordering::SeqCst);
                })
            })
            .collect();
        while !writers.iter().all(thread::ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(150));
            servers[2].kill();
            servers[2].go_on();
            thread::sleep(Duration::from_millis(150));
            cluster.crash();
            cluster.go_on();
        }
    });
    let last = name(&Caller::new(&servers[0]).ask_until_available(&get()));
    let last: usize = last.parse().unwrap();
    let (done, unknown) = (done.into_inner(), unknown.into_inner());
    assert_eq!(done, 8 * EACH);
    assert!(
        (done..=done + unknown).contains(&last),
        "{done} {unknown} {last}"
    );
}

/// All clients send the same write with the same key to different servers, and all get the same
/// response.
fn a_write_to_several_servers_is_performed_once(tagged: bool) {
    const ROUNDS: usize = 30;
    let Some(schema) = Schema::new() else { return };
    let schema = schema.tagged(tagged);
    let servers = start(&schema);
    let created = request(
        "POST /persons",
        "Idempotency-Key: \"create\"\r\n",
        r#"{"person_id": "1", "person_name": "0"}"#,
    );
    let mut tag_seen = String::new();
    for server in &servers {
        let response = Caller::new(server).ask_until_available(&created);
        assert_eq!(response.status, 201);
        tag_seen = tag(&response);
    }
    let mut callers: Vec<_> = (0..CLIENTS)
        .map(|client| Caller::new(&servers[client % 3]))
        .collect();
    let barrier = Barrier::new(CLIENTS);
    for round in 0..ROUNDS {
        let key = format!("Idempotency-Key: \"{round}\"\r\n");
        let put = put(&tag_seen, &round.to_string()).replace("If-Match", &format!("{key}If-Match"));
        let responses: Vec<RawResponse> = thread::scope(|scope| {
            let asked: Vec<_> = callers
                .iter_mut()
                .map(|caller| {
                    let (barrier, put) = (&barrier, &put);
                    scope.spawn(move || {
                        barrier.wait();
                        caller.ask_until_available(put)
                    })
                })
                .collect();
            asked.into_iter().map(|it| it.join().unwrap()).collect()
        });
        for response in &responses {
            assert_eq!(response.status, 200, "{response:?}");
            assert_eq!(response.content, responses[0].content);
        }
        let current = Caller::new(&servers[round % 3]).ask_until_available(&get());
        assert_eq!(
            tag(&current),
            tag(&responses[0]),
            "the write was performed once"
        );
        tag_seen = tag(&current);
        // A server that has just started knows the key, too.
        if round % 10 == 9 {
            servers[0].kill();
            servers[0].go_on();
            callers = (0..CLIENTS)
                .map(|client| Caller::new(&servers[client % 3]))
                .collect();
            let again = Caller::new(&servers[0]).ask_until_available(&put);
            assert_eq!((again.status, tag(&again)), (200, tag_seen.clone()));
        }
    }
    let delete = request(
        "DELETE /persons/1",
        &format!("If-Match: {tag_seen}\r\nIdempotency-Key: \"delete\"\r\n"),
        "",
    );
    for _ in 0..2 {
        for server in &servers {
            assert_eq!(Caller::new(server).ask_until_available(&delete).status, 204);
        }
        servers[1].kill();
        servers[1].go_on();
    }
}

#[test]
fn a_write_to_several_servers_is_performed_once_where_lists_have_a_tag() {
    a_write_to_several_servers_is_performed_once(true);
}

#[test]
fn a_write_to_several_servers_is_performed_once_where_lists_have_none() {
    a_write_to_several_servers_is_performed_once(false);
}
