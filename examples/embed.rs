//! A program that embeds the server: notes of its own type, in a store of its own. It serves on a
//! free port, sends requests to itself, and stops.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Bound;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use ifmatch::{
    Collection, Collections, Id, List, Options, Portion, Record, Server, Store, StoreError, Swap,
    SwapError, Version, VersionClock,
};
use serde::Deserialize;

/// A note. Clients send notes as JSON, which may have more members.
#[derive(Deserialize)]
struct Note {
    title: String,
    body: String,
    #[serde(default)]
    tags: Vec<String>,
}

impl Note {
    /// Checks a note. The client gets the text of the error.
    fn check(self) -> Result<(), String> {
        if self.title.is_empty() || self.body.len() > 10_000 {
            return Err("A note needs a title, and a body of at most 10,000 bytes".to_owned());
        }
        match self.tags.iter().find(|tag| tag.contains(' ')) {
            Some(tag) => Err(format!("A tag is one word, not `{tag}`")),
            None => Ok(()),
        }
    }
}

/// A store of one collection, in memory. It implements only the required methods.
struct Notes(Mutex<(BTreeMap<Id, Record>, VersionClock)>);

impl Store for Notes {
    fn get(&self, _: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(state.0.get(id).cloned())
    }

    fn collection_version(&self, _: &str) -> Result<Option<Version>, StoreError> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(state.1.latest()))
    }

    fn list(&self, _: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = portion.after.map_or(Bound::Unbounded, Bound::Excluded);
        let notes = state.0.range::<str, _>((start, Bound::Unbounded));
        let mut notes = notes.map(|(_, record)| record);
        let fitting = portion.fitting(notes.clone().map(Record::size));
        let records = notes.by_ref().take(fitting).cloned().collect();
        let more = notes.next().is_some();
        Ok(List::new(Some(state.1.latest()), records, more))
    }

    /// Compares and swaps under one lock, so that no other write comes between.
    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, clock) = &mut *state;
        let current = records.get(swap.id()).map(|record| record.version);
        let collection = swap.expected_collection();
        if current != swap.expected() || collection.is_some_and(|it| it != clock.latest()) {
            return Err(SwapError::Conflict);
        }
        let full = || StoreError::new("the calendar is at its end");
        let version = clock.next(now).ok_or_else(full)?;
        let id = swap.id().clone();
        match swap.new_document().cloned() {
            Some(document) => records.insert(id.clone(), Record::new(id, document, version)),
            None => records.remove(&id),
        };
        Ok(version)
    }
}

/// Runs the program, and prints the responses of the server.
pub fn main() -> Result<(), Box<dyn Error>> {
    let notes = Collection::new("notes")?.admitting(Note::check);
    let mut options = Options::default();
    options.policy.collections = Collections::new([notes])?.under("/api")?;
    let store = Notes(Mutex::new((
        BTreeMap::new(),
        VersionClock::after(Version::FIRST),
    )));
    let running = Server::bind("127.0.0.1:0".parse()?, store, options)?.spawn()?;

    for (content, status) in [
        (r#"{"id": "1", "title": "Milk", "body": "Two litres"}"#, 201),
        (r#"{"id": "2", "title": "", "body": "What is this?"}"#, 400),
    ] {
        let mut stream = TcpStream::connect(running.local_addr())?;
        let length = content.len();
        let head = format!("POST /api/notes HTTP/1.0\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all((head + content).as_bytes())?;
        let mut response = String::new();
        stream.read_to_string(&mut response)?;
        println!("{response}");
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")));
    }

    running.stop();
    Ok(())
}
