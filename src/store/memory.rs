use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::person::PersonId;
use crate::store::{Change, Collection, Record, Store, StoreError, Swap, SwapError};
use crate::version::{Version, VersionClock};

/// The persons in memory, for as long as the process lives.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    persons: BTreeMap<PersonId, Record>,
    /// Ticks with every change and nothing else: its latest version is the collection's.
    clock: VersionClock,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        let clock = VersionClock::after(Version::FIRST);
        Self {
            state: Mutex::new(State {
                persons: BTreeMap::new(),
                clock,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot have left the state half-written: a swap changes the map in one call,
        // after everything that could fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl Store for MemoryStore {
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        Ok(self.lock().persons.get(id).cloned())
    }

    fn version(&self) -> Result<Option<Version>, StoreError> {
        Ok(Some(self.lock().clock.latest()))
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        let state = self.lock();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let members = state.persons.range::<str, _>((start, Bound::Unbounded));
        let records = members
            .take(most)
            .map(|(_, record)| record.clone())
            .collect();
        Ok(Collection {
            version: Some(state.clock.latest()),
            records,
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let mut state = self.lock();
        let current = state.persons.get(swap.id()).map(|record| record.version);
        let collection = state.clock.latest();
        if current != swap.expected() || swap.expected_collection().is_some_and(|v| v != collection)
        {
            return Err(SwapError::Conflict);
        }
        let version = state.clock.next(now).ok_or_else(StoreError::exhausted)?;
        match swap.change() {
            Change::Create(person) | Change::Replace(person, _) => {
                let person = person.clone();
                state
                    .persons
                    .insert(person.id().clone(), Record { person, version })
            }
            Change::Remove(id, _) => state.persons.remove(id),
        };
        Ok(version)
    }

    fn reads_wait(&self) -> bool {
        false
    }

    fn writes_wait(&self) -> bool {
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
                let _state = store.lock();
                panic!("this panic is part of the test");
            });
            assert!(panicking.join().is_err());
        });
        assert!(store.state.is_poisoned());
        assert_eq!(store.version(), Ok(Some(Version::FIRST)));
    }
}
