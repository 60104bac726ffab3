//! Where persons are kept: the compare-and-swap, and the stores.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::person::{Person, PersonId};
use crate::version::{Version, VersionClock};

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "postgres")]
pub use postgres::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, Synchronous};

/// Where the persons are kept.
///
/// There is one way to write: [`swap`](Self::swap), a compare-and-swap on a version. A check
/// followed by a separate write, the way updates get lost, cannot be expressed.
///
/// Every call may fail, takes as long as it takes and returns values of its own, so that a
/// database can stand behind it.
pub trait Store: Send + Sync {
    /// The person of this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError>;

    /// The version of the whole collection: that of its last change, whichever person it concerned;
    /// none where the store keeps none, because it would cost too much. Lists have no tag then.
    ///
    /// Costs no walk over the persons.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn version(&self) -> Result<Option<Version>, StoreError>;

    /// The first `most` persons whose ids sort after `after`, or the first of all, ordered by id
    /// byte for byte, with the version of the collection they are of.
    ///
    /// Costs the same wherever it starts. `after` need not be anybody's id.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError>;

    /// Performs `swap` in one step, or nothing of it, and returns the version it made.
    ///
    /// That version is later than every version this person has ever had, under whatever
    /// circumstances it was removed; and, where the store keeps a version of the collection, later
    /// than all there ever were, and the collection's from now on.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] when what the swap expects is not what there is: look again. No
    /// version is what there is of a collection that has none.
    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError>;

    /// Whether [`get`](Self::get), [`version`](Self::version) and [`list`](Self::list) may wait,
    /// for a disk or a network: then a door makes such calls on another thread than that which
    /// serves everybody else. Yes, unless a store knows better.
    fn reads_wait(&self) -> bool {
        true
    }

    /// Whether [`swap`](Self::swap) may wait; as above.
    fn writes_wait(&self) -> bool {
        true
    }
}

/// A person as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The person.
    pub person: Person,
    /// The version of this state.
    pub version: Version,
}

/// Persons of the collection, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The version of the whole collection, as [`Store::version`] has it.
    pub version: Option<Version>,
    /// The persons, ordered by id.
    pub records: Vec<Record>,
}

/// One change of one person: from the state that is expected to the one that is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    id: &'a PersonId,
    expected: Option<Version>,
    new: Option<&'a Person>,
    collection: Option<Version>,
}

impl<'a> Swap<'a> {
    /// None becomes `person`.
    #[must_use]
    pub fn create(person: &'a Person) -> Self {
        Self {
            id: person.id(),
            expected: None,
            new: Some(person),
            collection: None,
        }
    }

    /// The state at version `expected` becomes `person`.
    #[must_use]
    pub fn replace(person: &'a Person, expected: Version) -> Self {
        Self {
            expected: Some(expected),
            ..Self::create(person)
        }
    }

    /// The state at version `expected` becomes none.
    #[must_use]
    pub fn remove(id: &'a PersonId, expected: Version) -> Self {
        Self {
            id,
            expected: Some(expected),
            new: None,
            collection: None,
        }
    }

    /// Expects the collection to be at this version, too.
    #[must_use]
    pub fn while_collection_at(self, version: Version) -> Self {
        Self {
            collection: Some(version),
            ..self
        }
    }

    /// Whose state changes.
    #[must_use]
    pub fn id(&self) -> &'a PersonId {
        self.id
    }

    /// The version that must be there, or none where there must be no person.
    #[must_use]
    pub fn expected(&self) -> Option<Version> {
        self.expected
    }

    /// The version that the collection must be at, where that matters.
    #[must_use]
    pub fn expected_collection(&self) -> Option<Version> {
        self.collection
    }

    /// The state that is to be there, or none.
    #[must_use]
    pub fn new_state(&self) -> Option<&'a Person> {
        self.new
    }
}

/// Why a swap was not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// What the swap expects is not what there is.
    Conflict,
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the state has changed"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for SwapError {}

impl From<StoreError> for SwapError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The store cannot do just now what it was asked.
///
/// Nothing has changed; or, if a connection was lost while a write was being confirmed, all of it
/// has, and the next read tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    reason: String,
}

impl StoreError {
    /// A failure, with the sentence that explains it to whoever runs the server.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// There is no version after the latest.
    fn exhausted() -> Self {
        Self::new("no change date is left before the end of the calendar")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for StoreError {}

/// The store cannot be used at all. What there is has been left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    store: String,
    reason: String,
}

impl OpenError {
    /// The store that was asked for, as whoever runs the server knows it, and why it is not opened.
    pub fn new(store: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            store: store.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the store {}: {}", self.store, self.reason)
    }
}

impl Error for OpenError {}

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
        match swap.new_state().cloned() {
            Some(person) => state
                .persons
                .insert(swap.id().clone(), Record { person, version }),
            None => state.persons.remove(swap.id()),
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

impl<S: Store + ?Sized> Store for std::sync::Arc<S> {
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        (**self).get(id)
    }

    fn version(&self) -> Result<Option<Version>, StoreError> {
        (**self).version()
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        (**self).list(after, most)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (**self).swap(swap, now)
    }

    fn reads_wait(&self) -> bool {
        (**self).reads_wait()
    }

    fn writes_wait(&self) -> bool {
        (**self).writes_wait()
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
