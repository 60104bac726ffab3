//! Where persons are kept: the compare-and-swap, and the stores.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::person::{Person, PersonId};
use crate::version::Version;

mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::MemoryStore;
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

/// What is to become of one person.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Nobody becomes this person.
    Create(&'a Person),
    /// The state at this version becomes this person.
    Replace(&'a Person, Version),
    /// The state at this version becomes nobody.
    Remove(&'a PersonId, Version),
}

/// One change of one person, and on what condition.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    change: Change<'a>,
    collection: Option<Version>,
}

impl<'a> From<Change<'a>> for Swap<'a> {
    fn from(change: Change<'a>) -> Self {
        Self {
            change,
            collection: None,
        }
    }
}

impl<'a> Swap<'a> {
    /// Nobody becomes `person`.
    #[must_use]
    pub fn create(person: &'a Person) -> Self {
        Change::Create(person).into()
    }

    /// The state at version `expected` becomes `person`.
    #[must_use]
    pub fn replace(person: &'a Person, expected: Version) -> Self {
        Change::Replace(person, expected).into()
    }

    /// The state at version `expected` becomes nobody.
    #[must_use]
    pub fn remove(id: &'a PersonId, expected: Version) -> Self {
        Change::Remove(id, expected).into()
    }

    /// Expects the collection to be at this version, too.
    #[must_use]
    pub fn while_collection_at(self, version: Version) -> Self {
        Self {
            collection: Some(version),
            ..self
        }
    }

    /// What is to become of whom.
    #[must_use]
    pub fn change(&self) -> Change<'a> {
        self.change
    }

    /// Whose state changes.
    #[must_use]
    pub fn id(&self) -> &'a PersonId {
        match self.change {
            Change::Create(person) | Change::Replace(person, _) => person.id(),
            Change::Remove(id, _) => id,
        }
    }

    /// The version that must be there, or none where there must be nobody.
    #[must_use]
    pub fn expected(&self) -> Option<Version> {
        match self.change {
            Change::Create(_) => None,
            Change::Replace(_, version) | Change::Remove(_, version) => Some(version),
        }
    }

    /// The version that the collection must be at, where that matters.
    #[must_use]
    pub fn expected_collection(&self) -> Option<Version> {
        self.collection
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

impl<S: Store + ?Sized> Store for Arc<S> {
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
