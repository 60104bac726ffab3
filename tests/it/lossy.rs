//! Clients that lose the connection before the response to one in ten requests, and repeat the
//! request.

use std::thread;

use crate::support::client::{Client, RawResponse, request};
use crate::support::dice::Dice;
use crate::support::serving::Serving;

const CLIENTS: usize = 8;

const STEPS: usize = 60;

/// A client on a bad network.
struct Caller<'a> {
    serving: &'a Serving,
    client: Client,
    dice: Dice,
    /// Whether the writes have keys.
    keys: bool,
    name: usize,
    writes: usize,
    repeated: usize,
}

impl<'a> Caller<'a> {
    fn new(serving: &'a Serving, name: usize, keys: bool) -> Self {
        Self {
            serving,
            client: serving.client(),
            dice: Dice::new(name as u64),
            keys,
            name,
            writes: 0,
            repeated: 0,
        }
    }

    /// Sends one write, and repeats it until a response arrives.
    fn write(&mut self, line: &str, fields: &str, content: &str) -> RawResponse {
        self.writes += 1;
        let key = if self.keys {
            format!("Idempotency-Key: \"{} {}\"\r\n", self.name, self.writes)
        } else {
            String::new()
        };
        let write = request(line, &format!("{fields}{key}"), content);
        loop {
            if self.dice.roll(10) != 0 {
                return self.client.ask(&write);
            }
            self.client.send(&write);
            // Close the connection when the response has arrived, or earlier.
            if self.dice.roll(2) == 0 {
                self.client.wait();
            }
            self.client = self.serving.client();
            self.repeated += 1;
        }
    }
}

/// The number of repeated writes of a run, and the number of conflicts. Every client writes its own
/// documents, so a client can only be in conflict with itself.
#[derive(Default)]
struct Run {
    repeated: usize,
    conflicts: usize,
}

/// Each client creates a counter and increments it. Then it creates some documents, and removes
/// others.
///
/// A client does not remove a document that it has created with repetitions. The server may still have
/// to perform an earlier try, which would create the document again.
fn run(serving: &Serving, name: usize, keys: bool) -> Run {
    let mut caller = Caller::new(serving, name, keys);
    let mut conflicts = 0;
    let created = caller.write("POST /notes", "", r#"{"n": 0}"#);
    assert_eq!(created.status, 201);
    let path = created.field("Location").unwrap().to_owned();
    let mut tag = created.field("ETag").unwrap().to_owned();
    for step in 1..=STEPS {
        let content = format!(r#"{{"n": {step}}}"#);
        let fields = format!("If-Match: {tag}\r\nContent-Type: application/merge-patch+json\r\n");
        let method = ["PUT", "PATCH"][step % 2];
        let response = caller.write(&format!("{method} {path}"), &fields, &content);
        if response.status != 200 {
            assert_eq!(response.status, 412, "{response:?}");
            conflicts += 1;
        }
        response.field("ETag").unwrap().clone_into(&mut tag);
    }
    for step in 0..STEPS / 4 {
        let (kept, removed) = (
            format!("/notes/{name}-{step}"),
            format!("/notes/x{name}-{step}"),
        );
        let create = "If-None-Match: *\r\n";
        let put = caller.write(&format!("PUT {kept}"), create, r#"{"n": 0}"#);
        conflicts += usize::from(put.status != 201);
        let put = serving.ask(&format!("PUT {removed}"), create, r#"{"n": 1}"#);
        assert_eq!(put.status, 201);
        let delete = caller.write(&format!("DELETE {removed}"), "If-Match: *\r\n", "");
        conflicts += usize::from(delete.status != 204);
    }
    Run {
        repeated: caller.repeated,
        conflicts,
    }
}

fn run_all(keys: bool) -> (Serving, Run) {
    let serving = Serving::configured(|options| {
        let notes = "notes".parse().unwrap();
        options.policy.collections = ifmatch::Collections::new([notes]).unwrap();
    });
    let runs: Vec<Run> = thread::scope(|scope| {
        let serving = &serving;
        let start = |name| scope.spawn(move || run(serving, name, keys));
        let runs: Vec<_> = (0..CLIENTS).map(start).collect();
        runs.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let sum = |part: fn(&Run) -> usize| runs.iter().map(part).sum();
    let run = Run {
        repeated: sum(|it| it.repeated),
        conflicts: sum(|it| it.conflicts),
    };
    assert!(run.repeated > 20, "{}", run.repeated);
    (serving, run)
}

/// The numbers in all documents, in order.
fn numbers(serving: &Serving) -> Vec<usize> {
    let list = serving.ask("GET /notes", "", "");
    let notes: Vec<serde_json::Value> = serde_json::from_str(&list.content).unwrap();
    let number = |note: &serde_json::Value| usize::try_from(note["n"].as_u64().unwrap()).unwrap();
    let mut numbers: Vec<_> = notes.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn with_keys_every_write_is_performed_once_without_conflicts() {
    let (serving, run) = run_all(true);
    assert_eq!(run.conflicts, 0);
    let created = [0; CLIENTS * (STEPS / 4)];
    assert_eq!(
        numbers(&serving),
        [&created[..], &[STEPS; CLIENTS]].concat()
    );
}

/// Without keys, clients are in conflict with their own writes.
#[test]
fn without_keys_repetitions_are_conflicts() {
    let (_, run) = run_all(false);
    assert!(run.conflicts > 0);
}
