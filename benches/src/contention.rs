//! The memory store without a server: how much throughput several threads lose because they wait
//! for its lock. The row with a store for each thread shows the limit of what a lock for each
//! collection could gain.

use std::hint::black_box;
use std::time::{Instant, SystemTime};

use ifmatch::{Document, Id, MemoryStore, Store, Swap};

use crate::duel::run;
use crate::figure::in_turn;
use crate::table::Row;
use crate::{Bench, Result};

const THREADS: [usize; 4] = [1, 2, 4, 8];

const COLLECTIONS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// What the threads share, the number of collections, and the number of stores.
const SHARED: [(&str, usize, usize); 3] = [
    ("one collection", 1, 1),
    ("a collection for each", 8, 1),
    ("a store for each", 1, 8),
];

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("contention") {
        return Ok(());
    }
    let stores = [(); 8].map(|()| MemoryStore::new());
    for store in &stores {
        for collection in COLLECTIONS {
            store.fill(collection, &documents()?, SystemTime::now())?;
        }
    }
    for (operations, swaps) in [("get", false), ("nine gets to one swap", true)] {
        for (shared, collections, many) in SHARED {
            let collections = COLLECTIONS.iter().take(collections).cycle();
            let places = stores.iter().take(many).cycle().zip(collections);
            let places = places.enumerate();
            let slice = bench.pace.slice;
            let rates = in_turn(&mut THREADS.clone(), bench.pace.pairs, |threads| {
                let places = places.clone().take(*threads);
                let work = |(own, (store, collection)): (_, (&_, &&str)), end| {
                    work(store, collection, own, swaps, end)
                };
                Ok(run(places, slice, work)?.1)
            })?;
            let (one, more) = rates.split_first().ok_or("nothing was measured")?;
            for (threads, rates) in THREADS.iter().skip(1).zip(more) {
                let what = format!("memory store, {operations}: {threads} threads to 1, {shared}");
                bench.add(Row::ratio(what, rates, one))?;
            }
        }
    }
    Ok(())
}

/// A thousand documents, which share no memory with others, so not even a reference count.
fn documents() -> Result<Vec<(Id, Document)>> {
    let content = br#"{"person_name": "Wim"}"#;
    let document = |id| Ok((Id::new(format!("{id:07}"))?, Document::from_json(content)?));
    (0..1000).map(document).collect()
}

/// Gets one document after the other, and swaps one that no other thread writes to.
fn work(
    store: &MemoryStore,
    collection: &str,
    own: usize,
    swaps: bool,
    end: Instant,
) -> Result<u64> {
    let documents = documents()?;
    let (own, document) = documents.get(own).ok_or("there are too many threads")?;
    let record = store
        .get(collection, own)?
        .ok_or("the document is missing")?;
    let mut version = record.version;
    let mut operations = 0;
    while Instant::now() < end {
        for (id, _) in &documents {
            operations += 1;
            if swaps && operations % 10 == 0 {
                let swap = Swap::replace(collection, own, version, document);
                version = store.swap(&swap, SystemTime::now())?;
            } else {
                black_box(store.get(collection, id)?);
            }
        }
    }
    Ok(operations)
}
