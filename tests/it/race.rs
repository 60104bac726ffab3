//! Writers that write at the same time.

use std::sync::{Barrier, Mutex};
use std::thread;

use ifmatch::Response;

use crate::support::api::{Api, tag, text};
use crate::support::client::request;
use crate::support::serving::Serving;

pub const WRITERS: usize = 16;

/// Calls `write` on a thread for each writer, on all of them at the same moment.
pub fn race<A: Send>(write: impl Fn(usize) -> A + Sync) -> Vec<A> {
    let barrier = Barrier::new(WRITERS);
    thread::scope(|scope| {
        let (write, barrier) = (&write, &barrier);
        let start = |writer| {
            scope.spawn(move || {
                barrier.wait();
                write(writer)
            })
        };
        let writers: Vec<_> = (0..WRITERS).map(start).collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    })
}

#[test]
fn s13_2_2_of_writers_with_one_tag_exactly_one_wins() {
    let api = Api::compatible();
    let mut current = api.create("1", "Wim");
    for round in 0..200 {
        let responses = race(|writer| {
            let content = format!(r#"{{"person_name": "{round}/{writer}"}}"#);
            api.ask("PUT /persons/1", &[("If-Match", &current)], &content)
        });
        let (won, lost): (Vec<_>, Vec<_>) = responses
            .iter()
            .partition(|response| response.status() == 200);
        assert_eq!((won.len(), lost.len()), (1, WRITERS - 1));
        let fetched = api.ask("GET /persons/1", &[], "");
        assert_eq!(text(&fetched), text(won[0]), "the state is the winner's");
        for loser in lost {
            assert_eq!(loser.status(), 412);
            assert_eq!(tag(loser), tag(won[0]), "the loser gets the winner's tag");
        }
        current = tag(won[0]);
    }
}

#[test]
fn s13_1_2_of_creators_exactly_one_creates() {
    let api = Api::compatible();
    for round in 0..100 {
        let target = format!("PUT /persons/{round}");
        let content = r#"{"person_name": "Wim"}"#;
        let responses = race(|_| api.ask(&target, &[("If-None-Match", "*")], content));
        exactly_one_creates(&responses);
    }
}

/// Of several POSTs with the tag of the list in If-Match, exactly one succeeds.
#[test]
fn s13_1_1_of_creators_with_one_tag_of_the_list_exactly_one_creates() {
    let api = Api::compatible();
    for round in 0..100 {
        let current = api.state().0;
        let responses = race(|writer| {
            let content = format!(r#"{{"person_id": "{round}/{writer}", "person_name": "Wim"}}"#);
            api.ask("POST /persons", &[("If-Match", &current)], &content)
        });
        exactly_one_creates(&responses);
    }
}

/// Panics unless one response is 201 and all others are 412.
#[track_caller]
fn exactly_one_creates(responses: &[Response]) {
    let count = |status| {
        responses
            .iter()
            .filter(|response| response.status() == status)
            .count()
    };
    assert_eq!((count(201), count(412)), (1, WRITERS - 1));
}

/// Over sockets, with contents so long that each is read and performed on a thread of its own.
#[test]
fn s13_2_2_of_clients_with_one_tag_exactly_one_wins() {
    let serving = Serving::start();
    let mut current = serving.create("1");
    let clients: Vec<_> = (0..WRITERS).map(|_| Mutex::new(serving.client())).collect();
    for round in 0..200 {
        let responses = race(|writer| {
            let name = format!("{round}/{writer}/{}", "x".repeat(2000));
            let content = format!(r#"{{"person_name": "{name}"}}"#);
            let fields = format!("If-Match: {current}\r\n");
            clients[writer]
                .lock()
                .unwrap()
                .ask(request("PUT /persons/1", &fields, &content))
        });
        let (won, lost): (Vec<_>, Vec<_>) = responses
            .iter()
            .partition(|response| response.status == 200);
        assert_eq!((won.len(), lost.len()), (1, WRITERS - 1));
        assert!(lost.iter().all(|loser| loser.status == 412));
        assert_eq!(
            serving.ask("GET /persons/1", "", "").content,
            won[0].content
        );
        current = won[0].field("ETag").unwrap().to_owned();
    }
}

/// Each writer increments a number: it reads the number, writes the next one, and starts again if
/// the response is 412.
#[test]
fn no_update_is_lost() {
    let api = Api::compatible();
    api.create("1", "0");
    let each = 100;
    race(|_| {
        let mut done = 0;
        loop {
            let read = api.ask("GET /persons/1", &[], "");
            if done == each {
                return read;
            }
            let value: serde_json::Value = serde_json::from_slice(read.content()).unwrap();
            let number: u32 = value["person_name"].as_str().unwrap().parse().unwrap();
            let content = format!(r#"{{"person_name": "{}"}}"#, number + 1);
            match api
                .ask("PUT /persons/1", &[("If-Match", &tag(&read))], &content)
                .status()
            {
                200 => done += 1,
                412 => {}
                status => panic!("{status}"),
            }
        }
    });
    let last = text(&api.ask("GET /persons/1", &[], ""));
    assert!(
        last.contains(&format!("\"person_name\": \"{}\"", WRITERS * each)),
        "{last}"
    );
}
