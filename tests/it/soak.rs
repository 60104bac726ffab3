//! Load and faults at the same time, for any duration. At the end no acknowledged update may be
//! missing.

use std::collections::{HashMap, HashSet};
use std::env;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::faults::{footprint, reset};
use crate::support::client::{Client, RawResponse, request};
use crate::support::dice::Dice;
use crate::support::serving::Program;

const PERSONS: usize = 100;
const WRITERS: usize = 32;
const READERS: usize = 32;

/// `make soak`
#[test]
#[ignore = "takes minutes"]
fn soak_for_minutes() {
    let minutes = env::var("IFMATCH_SOAK_MINUTES").map_or(10, |minutes| minutes.parse().unwrap());
    soak(Duration::from_secs(60 * minutes));
}

#[test]
fn a_short_soak() {
    soak(Duration::from_secs(2));
}

/// The figures of the report.
#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    updates: AtomicU64,
    conflicts: AtomicU64,
    unmodified: AtomicU64,
    /// Clients that disconnected during a request.
    disconnected: AtomicU64,
    faults: AtomicU64,
    over: AtomicBool,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The observations of one client: the states that the server has acknowledged and, for every state
/// that the client has seen, the state before it. The name of a person is the tag of the state
/// before.
#[derive(Default)]
struct Notes {
    acknowledged: Vec<(usize, String)>,
    replaced: HashMap<String, String>,
}

impl Notes {
    /// Notes the state that a response encloses, and returns its tag.
    fn state(&mut self, response: &RawResponse) -> String {
        let tag = response.field("ETag").unwrap().to_owned();
        let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
        let name = value["person_name"].as_str().unwrap().to_owned();
        let before = self.replaced.insert(tag.clone(), name.clone());
        assert!(
            before.is_none_or(|before| before == name),
            "{tag} names two states"
        );
        tag
    }
}

struct Caller<'a> {
    address: SocketAddr,
    client: Client,
    dice: Dice,
    counts: &'a Counts,
    tags: HashMap<usize, String>,
    notes: Notes,
}

impl<'a> Caller<'a> {
    fn new(address: SocketAddr, seed: u64, counts: &'a Counts) -> Self {
        Self {
            address,
            client: Client::connect(address),
            dice: Dice::new(seed),
            counts,
            tags: HashMap::new(),
            notes: Notes::default(),
        }
    }

    /// The response. `None` if the client disconnects on purpose, or the server has closed the
    /// connection.
    fn ask(&mut self, request: &str) -> Option<RawResponse> {
        count(&self.counts.requests);
        let asked = if self.dice.roll(200) == 0 {
            // Disconnects within the request, or before the response.
            let cut = request.len() * (1 + self.dice.roll(10)) / 10;
            let _ = self.client.try_send(&request[..cut]);
            count(&self.counts.disconnected);
            Err(ErrorKind::ConnectionAborted.into())
        } else {
            self.client.try_ask(request)
        };
        if let Err(error) = &asked {
            assert!(!is_starved(error), "no response to {request}");
            self.client = Client::connect(self.address);
        }
        asked.ok()
    }

    fn read(&mut self, person: usize) {
        let guard = match self.tags.get(&person) {
            Some(tag) => format!("If-None-Match: {tag}\r\n"),
            None => String::new(),
        };
        let get = request(&format!("GET /persons/{person}"), &guard, "");
        match self.ask(&get) {
            Some(response) if response.status == 304 => count(&self.counts.unmodified),
            Some(response) => {
                assert_eq!(response.status, 200, "{response:?}");
                let tag = self.notes.state(&response);
                self.tags.insert(person, tag);
            }
            None => {}
        }
    }

    fn write(&mut self, person: usize) {
        let Some(tag) = self.tags.get(&person).cloned() else {
            return self.read(person);
        };
        let content = serde_json::json!({ "person_name": tag, "padding": self.padding() });
        let fields = format!("If-Match: {tag}\r\nPrefer: return=representation\r\n");
        let put = request(
            &format!("PUT /persons/{person}"),
            &fields,
            &content.to_string(),
        );
        let Some(response) = self.ask(&put) else {
            return;
        };
        let now = self.notes.state(&response);
        match response.status {
            200 => {
                assert_eq!(self.notes.replaced[&now], tag);
                self.notes.acknowledged.push((person, now.clone()));
                count(&self.counts.updates);
            }
            status => {
                assert_eq!(status, 412, "{response:?}");
                count(&self.counts.conflicts);
            }
        }
        self.tags.insert(person, now);
    }

    /// One in ten contents is so long that the server has to wait for it.
    fn padding(&mut self) -> String {
        "x".repeat(if self.dice.roll(10) == 0 { 3000 } else { 0 })
    }

    fn work(mut self, writes: bool) -> Notes {
        while !self.counts.over.load(Ordering::Relaxed) {
            let person = self.dice.roll(PERSONS);
            if writes {
                self.write(person);
            } else {
                self.read(person);
            }
        }
        self.notes
    }
}

/// Whether the client has waited longer than a working server takes.
fn is_starved(error: &io::Error) -> bool {
    [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind())
}

/// Causes the faults 1 to 5 in random order.
fn disturb(address: SocketAddr, mut dice: Dice, counts: &Counts) {
    let connect = |most: usize| (0..most).filter_map(|_| TcpStream::connect(address).ok());
    while !counts.over.load(Ordering::Relaxed) {
        count(&counts.faults);
        let pause = Duration::from_millis(dice.roll(300) as u64);
        match dice.roll(5) {
            0 => {
                let stall = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{";
                let mut stalled: Vec<_> = (0..64).map(|_| Client::connect(address)).collect();
                for client in &mut stalled {
                    let _ = client.try_send(stall);
                }
                thread::sleep(pause);
            }
            1 => {
                let mut burst: Vec<_> = (0..32).map(|_| Client::connect(address)).collect();
                for client in &mut burst {
                    let _ = client.try_send(request("GET /persons/1", "", ""));
                }
                for client in &mut burst {
                    match client.try_receive() {
                        Ok(response) => assert_eq!(response.status, 200),
                        Err(error) => assert!(!is_starved(&error), "one of a burst"),
                    }
                }
            }
            2 => {
                // More connections than the server has descriptors. The kernel may queue some of
                // them.
                let idle: Vec<_> = connect(250).collect();
                thread::sleep(pause);
                drop(idle);
            }
            3 => {
                let mut blocked = Client::connect(address);
                let _ = blocked.try_send(request("GET /persons", "", "").repeat(50));
                thread::sleep(pause);
            }
            _ => connect(50).for_each(reset),
        }
        thread::sleep(pause);
    }
}

fn soak(duration: Duration) {
    let program = Program::limited(512, &[]);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = since.as_secs() << 8 | 1;
    let first: Vec<String> = (0..PERSONS)
        .map(|id| {
            let content = serde_json::json!({"person_id": id.to_string(), "person_name": "first"});
            let post = request("POST /persons", "", &content.to_string());
            let created = Client::connect(program.address).ask(post);
            created.field("ETag").unwrap().to_owned()
        })
        .collect();
    let before = footprint(&program);
    let counts = Counts::default();
    let notes: Vec<Notes> = thread::scope(|scope| {
        let counts = &counts;
        let callers: Vec<_> = (0..WRITERS + READERS)
            .map(|number| {
                let caller = Caller::new(program.address, seed + 2 * number as u64, counts);
                scope.spawn(move || caller.work(number < WRITERS))
            })
            .collect();
        let address = program.address;
        scope.spawn(move || disturb(address, Dice::new(seed), counts));
        thread::sleep(duration);
        counts.over.store(true, Ordering::Relaxed);
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    let line = account(&program, &first, notes);
    // tiny_http keeps a thread for some seconds after its connection has ended.
    thread::sleep(duration.min(Duration::from_secs(10)));
    let after = footprint(&program);
    report(duration, seed, &counts, line, [before, after]);
}

/// Follows the states of every person from the last one back to the first one. All acknowledged
/// updates must be among these states. Returns the number of updates.
fn account(program: &Program, first: &[String], notes: Vec<Notes>) -> usize {
    let mut all = Notes::default();
    for notes in notes {
        all.acknowledged.extend(notes.acknowledged);
        for (tag, replaced) in notes.replaced {
            let before = all.replaced.insert(tag, replaced.clone());
            assert!(before.is_none_or(|before| before == replaced));
        }
    }
    let mut updates = 0;
    for (person, first) in first.iter().enumerate() {
        let get = request(&format!("GET /persons/{person}"), "", "");
        let mut tag = all.state(&Client::connect(program.address).ask(get));
        let mut line = HashSet::new();
        while tag != *first {
            assert!(line.insert(tag.clone()), "the state {tag} occurs twice");
            tag.clone_from(&all.replaced[&tag]);
        }
        for (_, made) in all
            .acknowledged
            .iter()
            .filter(|(whose, _)| *whose == person)
        {
            assert!(line.contains(made), "the update {made} of {person} is lost");
        }
        updates += line.len();
    }
    updates
}

#[expect(clippy::print_stdout, reason = "the report is the purpose of the test")]
fn report(
    duration: Duration,
    seed: u64,
    counts: &Counts,
    line: usize,
    [before, after]: [(u64, u64, usize); 2],
) {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("seconds        {}", duration.as_secs());
    println!("seed           {seed}");
    println!("requests       {}", read(&counts.requests));
    println!("304            {}", read(&counts.unmodified));
    println!("412            {}", read(&counts.conflicts));
    println!("updates        {} acknowledged", read(&counts.updates));
    println!("               {line} performed, in one line for each person");
    println!("clients gone   {}", read(&counts.disconnected));
    println!("faults         {}", read(&counts.faults));
    for (when, (memory, threads, descriptors)) in [("start", before), ("end", after)] {
        let kibibytes = memory / 1024;
        println!("at the {when:5}   {kibibytes} KiB, {threads} threads, {descriptors} descriptors");
    }
}
