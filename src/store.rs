//! Where documents are kept: the compare-and-swap, and the stores.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::version::Version;

mod error;
mod listeners;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;
mod swap;

pub use error::{OpenError, StoreError};
pub use listeners::{Listener, Listeners};
pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, Synchronous};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use swap::{Outcome, OwnedSwap};
pub use swap::{Swap, SwapError};

/// Where the documents are kept, by collection and id.
///
/// There are two ways to write: [`swap`](Self::swap) compares a version, and [`fill`](Self::fill)
/// requires that the collection has no documents. A check followed by a separate write, the way
/// updates get lost, cannot be expressed.
///
/// A collection needs no preparation: one that nothing was written to has no documents, and the
/// version [`Version::FIRST`].
///
/// Every call may fail, takes as long as it takes and returns values of its own, so that a
/// database can stand behind it.
///
/// # Keys
///
/// A swap may have a [`KeyedWrite`]. In the same step the store keeps it with the document, and
/// [`get`](Self::get) returns it, until the next swap of this document. In each collection it keeps
/// a key for one document at most. A removal with a key leaves the id and the keyed write behind,
/// which [`removal`](Self::removal) returns for 24 hours; a removal without a key leaves nothing.
///
/// A store that ignores keyed writes serves requests without `Idempotency-Key` correctly. It
/// recognises no repetition: each is a new request, which mostly gets 412, 409 or 404.
///
/// The tests that every store has to pass are in `tests/it/conformance.rs`: copy that file into the
/// tests of a store of your own.
pub trait Store: Send + Sync {
    /// The document of this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError>;

    /// The version of a whole collection: that of its last change, whichever document it concerned;
    /// none where the store keeps none, because it would cost too much. Lists have no tag then.
    ///
    /// Costs no walk over the documents.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn version(&self, collection: &str) -> Result<Option<Version>, StoreError>;

    /// A portion of a collection, ordered by id byte for byte, with the version of the collection:
    /// all of it of one moment.
    ///
    /// Costs the same wherever it begins, and reads hardly more than it returns.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError>;

    /// Performs `swap` in one step, or nothing of it, and returns the version it made.
    ///
    /// That version is later than every version this document has ever had, under whatever
    /// circumstances it was removed; and, where the store keeps a version of the collection, later
    /// than all there ever were in it, and the collection's from now on.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] when the stored version is not the expected one; the caller reads
    /// again. Where the store keeps no version of a collection, a swap that expects one always
    /// conflicts. [`SwapError::KeyTaken`] when the swap has a key that the store keeps for another
    /// document of the collection, removed or not.
    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError>;

    /// The keyed write that removed the document of this id; none where the removal had no key, is
    /// [24 hours](KeyedWrite::REMOVAL_KEPT) old, or was followed by the creation of a document of
    /// this id.
    ///
    /// A store need not keep it: the repetition of a removal gets 404 then.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        let _ = (collection, id, now);
        Ok(None)
    }

    /// Creates documents in a collection that has none, in one step, or none of them. Each has a
    /// version of its own, in their order.
    ///
    /// A store need not be able to.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] when the collection has documents, or an id comes twice.
    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        let _ = (collection, documents, now);
        Err(StoreError::new("this store cannot be filled at once").into())
    }

    /// Shows `visit` every document of a collection, ordered by id and all of one moment, until it
    /// breaks off.
    ///
    /// # Errors
    ///
    /// When the store fails on the way.
    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let _ = self
            .list(collection, Portion::ALL)?
            .records
            .iter()
            .try_for_each(visit);
        Ok(())
    }

    /// The name of the member that holds the ids of a collection: as it was given first, or as it
    /// is `given` now. With another one the same tag would name another representation.
    ///
    /// A store that does not outlive its server need not keep it.
    ///
    /// # Errors
    ///
    /// When the store cannot tell, or keep it, just now.
    fn id_member(
        &self,
        collection: &str,
        given: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let _ = collection;
        Ok(given.map(str::to_owned))
    }

    /// The names of the collections that have documents, in order.
    ///
    /// A store need not be able to tell.
    ///
    /// # Errors
    ///
    /// When the store cannot tell.
    fn collections(&self) -> Result<Vec<String>, StoreError> {
        Err(StoreError::new("this store cannot tell its collections"))
    }

    /// The versions of documents, in the order of their ids; none for a document that is not there.
    ///
    /// # Errors
    ///
    /// When the store cannot tell just now.
    fn versions(&self, collection: &str, ids: &[Id]) -> Result<Vec<Option<Version>>, StoreError> {
        let version = |id| Ok(self.get(collection, id)?.map(|record| record.version));
        ids.iter().map(version).collect()
    }

    /// Has `listener` called after each change that is made through this value, as long as it
    /// exists. Returns after what time changes must be looked for that are made in another way, or
    /// none if there are no such changes.
    ///
    /// Changes are looked for only while a request waits for one. The default is a store that calls
    /// no listener, and is asked twice a second. [`Listeners`] keeps them for a store that does.
    fn listen(&self, listener: Weak<dyn Listener>) -> Option<Duration> {
        drop(listener);
        Some(Duration::from_millis(500))
    }

    /// Whether [`get`](Self::get), [`version`](Self::version) and [`list`](Self::list) may wait,
    /// for a disk or a network: then a door makes such calls on another thread than the one that
    /// serves all others. The default is `true`.
    fn reads_wait(&self) -> bool {
        true
    }

    /// Whether [`swap`](Self::swap) may wait; as above.
    fn writes_wait(&self) -> bool {
        true
    }
}

/// Which documents of a collection are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion<'a> {
    /// Only those whose ids sort after this text, byte for byte. No document need have this id.
    pub after: Option<&'a str>,
    /// How many, at most.
    pub count: usize,
    /// Their size, at most: the bytes of their ids and texts. The first document is returned
    /// whatever its size.
    pub bytes: usize,
}

impl Portion<'_> {
    /// All documents.
    pub const ALL: Self = Self {
        after: None,
        count: usize::MAX,
        bytes: usize::MAX,
    };

    /// How many of these documents belong to the portion: sizes in the order of the list.
    #[must_use]
    pub fn fitting(&self, sizes: impl IntoIterator<Item = usize>) -> usize {
        let mut total: usize = 0;
        let fits = |(index, size): &(usize, usize)| {
            total = total.saturating_add(*size);
            *index == 0 || total <= self.bytes
        };
        sizes
            .into_iter()
            .take(self.count)
            .enumerate()
            .take_while(fits)
            .count()
    }
}

/// A portion of a collection, as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// The version of the whole collection, as [`Store::version`] has it.
    pub version: Option<Version>,
    /// The documents, ordered by id.
    pub records: Vec<Record>,
    /// Whether there are documents after these.
    pub more: bool,
}

impl List {
    /// These documents of a collection at this version, and whether more follow.
    #[must_use]
    pub fn new(version: Option<Version>, records: Vec<Record>, more: bool) -> Self {
        Self {
            version,
            records,
            more,
        }
    }
}

/// Refuses documents of which two have one id.
fn refuse_repeated(documents: &[(Id, Document)]) -> Result<(), SwapError> {
    let mut ids = HashSet::with_capacity(documents.len());
    if documents.iter().all(|(id, _)| ids.insert(id)) {
        Ok(())
    } else {
        Err(SwapError::Conflict)
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        (**self).get(collection, id)
    }

    fn version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        (**self).version(collection)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        (**self).list(collection, portion)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (**self).swap(swap, now)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        (**self).removal(collection, id, now)
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        (**self).fill(collection, documents, now)
    }

    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (**self).visit(collection, visit)
    }

    fn id_member(
        &self,
        collection: &str,
        given: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        (**self).id_member(collection, given)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        (**self).collections()
    }

    fn versions(&self, collection: &str, ids: &[Id]) -> Result<Vec<Option<Version>>, StoreError> {
        (**self).versions(collection, ids)
    }

    fn listen(&self, listener: Weak<dyn Listener>) -> Option<Duration> {
        (**self).listen(listener)
    }

    fn reads_wait(&self) -> bool {
        (**self).reads_wait()
    }

    fn writes_wait(&self) -> bool {
        (**self).writes_wait()
    }
}
