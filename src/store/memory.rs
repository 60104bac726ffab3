//! The store in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::{
    List, Observer, Observers, Portion, Store, StoreError, Swap, SwapError, lock, refuse_repeated,
};
use crate::version::{Version, VersionClock};

mod keys;

use keys::Keys;

/// A store in memory, which ends with the process.
#[derive(Debug, Default)]
pub struct MemoryStore {
    collections: Mutex<BTreeMap<String, Contents>>,
    observers: Observers,
}

/// The documents of one collection.
#[derive(Debug)]
struct Contents {
    records: BTreeMap<Id, Record>,
    /// Makes a version for every change. Its latest version is that of the collection.
    clock: VersionClock,
    keys: Keys,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            clock: VersionClock::after(Version::FIRST),
            keys: Keys::default(),
        }
    }
}

impl Contents {
    fn swap(&mut self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let id = swap.id();
        let current = self.records.get(id).map(|record| record.version);
        let latest = self.clock.latest();
        if current != swap.expected() || swap.expected_collection().is_some_and(|it| it != latest) {
            return Err(SwapError::Conflict);
        }
        if let Some(write) = swap.keyed_write() {
            self.keys.purge(now);
            if self.keys.is_taken(&write.key, id) {
                return Err(SwapError::KeyTaken);
            }
        }
        let version = self.clock.next(now).ok_or_else(StoreError::exhausted)?;
        let keyed_write = swap.keyed_write();
        let previous = match swap.new_document().cloned() {
            Some(document) => {
                let mut record = Record::new(id.clone(), document, version);
                record.keyed_write = keyed_write.cloned().map(Arc::new);
                self.records.insert(id.clone(), record)
            }
            None => self.records.remove(id),
        };
        let previous_write = previous.as_ref().and_then(|it| it.keyed_write.as_deref());
        self.keys.forget(id, previous_write);
        match (keyed_write, swap.new_document()) {
            (Some(write), Some(_)) => self.keys.keep(id, write),
            (Some(write), None) => self.keys.keep_removal(id, write, version),
            (None, _) => {}
        }
        Ok(version)
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        let guard = lock(&self.collections);
        let record = guard
            .get(collection)
            .and_then(|contents| contents.records.get(id));
        Ok(record.cloned())
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        let guard = lock(&self.collections);
        let latest = guard
            .get(collection)
            .map(|contents| contents.clock.latest());
        Ok(Some(latest.unwrap_or(Version::FIRST)))
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        let guard = lock(&self.collections);
        let Some(contents) = guard.get(collection) else {
            return Ok(List {
                version: Some(Version::FIRST),
                records: Vec::new(),
                more: false,
            });
        };
        let start = portion.after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = contents.records.range::<str, _>((start, Bound::Unbounded));
        let fitting = portion.fitting(range.clone().map(|(_, record)| record.size()));
        let mut rest = range.map(|(_, record)| record);
        Ok(List {
            version: Some(contents.clock.latest()),
            records: rest.by_ref().take(fitting).cloned().collect(),
            more: rest.next().is_some(),
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let mut guard = lock(&self.collections);
        // The name is copied only for the first write to a collection.
        let contents = match guard.get_mut(swap.collection()) {
            Some(contents) => contents,
            None => guard.entry(swap.collection().to_owned()).or_default(),
        };
        let version = contents.swap(swap, now)?;
        drop(guard);
        self.observers.notify(swap.collection(), Some(swap.id()));
        Ok(version)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        let guard = lock(&self.collections);
        let contents = guard.get(collection);
        Ok(contents.and_then(|contents| contents.keys.removal(id, now)))
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        refuse_repeated(documents)?;
        let mut guard = lock(&self.collections);
        let contents = guard.entry(collection.to_owned()).or_default();
        if !contents.records.is_empty() {
            return Err(SwapError::Conflict);
        }
        let mut clock = contents.clock.clone();
        let mut records = BTreeMap::new();
        for (id, document) in documents {
            let version = clock.next(now).ok_or_else(StoreError::exhausted)?;
            let record = Record::new(id.clone(), document.clone(), version);
            records.insert(id.clone(), record);
        }
        for id in records.keys() {
            contents.keys.forget(id, None);
        }
        contents.records = records;
        contents.clock = clock;
        drop(guard);
        self.observers.notify(collection, None);
        Ok(())
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        let guard = lock(&self.collections);
        let filled = guard
            .iter()
            .filter(|(_, contents)| !contents.records.is_empty());
        Ok(filled.map(|(name, _)| name.clone()).collect())
    }

    /// All changes are made through this value, so that no polling is needed.
    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        self.observers.add(observer);
        None
    }

    fn reads_block(&self) -> bool {
        false
    }

    fn writes_block(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_under_the_lock_does_not_poison_it() {
        let store = MemoryStore::new();
        std::thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _guard = lock(&store.collections);
                panic!("this panic is part of the test");
            });
            assert!(panicking.join().is_err());
        });
        assert!(store.collections.is_poisoned());
        assert_eq!(store.collection_version("notes"), Ok(Some(Version::FIRST)));
    }
}
