//! Stores: the compare-and-swap, and the databases behind it.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::version::Version;

mod error;
mod lock;
mod memory;
mod observers;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod queue;
#[cfg(feature = "sqlite")]
mod sqlite;
mod swap;

pub use error::{OpenError, StoreError};
pub(crate) use lock::lock;
pub use memory::MemoryStore;
pub use observers::{Observer, Observers};
#[cfg(feature = "postgres")]
pub use postgres::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, Synchronous};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use swap::{Outcome, OwnedSwap, key_columns};
pub use swap::{Swap, SwapError};

/// A store keeps documents, by collection and id.
///
/// There are two ways to write: [`swap`](Self::swap) compares a version, and [`fill`](Self::fill)
/// requires that the collection has no documents. A check followed by a separate write, which loses
/// updates, cannot be expressed.
///
/// A collection needs no preparation: before the first write it has no documents, and the version
/// [`Version::FIRST`].
///
/// Every call may fail, may take any time, and returns owned values, so that a store can use a
/// database.
///
/// # Keys
///
/// A swap may have a [`KeyedWrite`]. In the same step the store keeps it with the document, and
/// [`get`](Self::get) returns it, until the next swap of this document. In each collection it keeps
/// a key for one document at most. After a removal with a key, [`removal`](Self::removal) returns the
/// keyed write for 24 hours. After a removal without a key, the store keeps nothing of the document.
///
/// A store that ignores keyed writes serves requests without `Idempotency-Key` correctly. It does not
/// recognise repetitions: each is a new request, which mostly gets 412, 409 or 404.
///
/// The tests that every store has to pass are in `tests/it/conformance.rs`: copy that file into the
/// tests of a store of your own.
pub trait Store: Send + Sync {
    /// The document of this id, if there is one.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError>;

    /// The version of a collection: that of the last change of any of its documents. `None` if the
    /// store does not keep it, because that would slow its writes down; then lists have no tag.
    ///
    /// The time does not grow with the number of documents.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError>;

    /// A portion of a collection, in the byte order of the ids, and the version of the collection.
    /// Both are of one snapshot.
    ///
    /// The time depends on the size of the portion, and not on the documents before it or after it.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError>;

    /// Performs `swap` atomically, and returns the version that it made.
    ///
    /// The version is later than every earlier version of the document, also if the document was
    /// removed in between. If the store keeps a version of the collection, the new version is later
    /// than that, and replaces it.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] when the stored version is not the expected one; then the caller reads
    /// the document again. If the store keeps no version of the collection, a swap that expects one
    /// always conflicts. [`SwapError::KeyTaken`] when the swap has a key that the store keeps for
    /// another document of the collection, removed or not. [`SwapError::Store`] when the store fails, or
    /// no version is left before the end of the year 9999.
    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError>;

    /// The keyed write that removed the document of this id. `None` if the removal had no key, is
    /// [24 hours](KeyedWrite::REMOVAL_KEPT) old, or was followed by the creation of a document of
    /// this id.
    ///
    /// A store need not keep it: then the repetition of a removal gets 404. The default is `None`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        let _ = (collection, id, now);
        Ok(None)
    }

    /// Creates documents in a collection that has none, atomically. Each document has a version of its
    /// own, in the order of `documents`.
    ///
    /// A store need not implement it. The default fails.
    ///
    /// # Errors
    ///
    /// [`SwapError::Conflict`] when the collection has documents, or an id is repeated.
    /// [`SwapError::Store`] when the store fails, or no version is left before the end of the year 9999.
    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        let _ = (collection, documents, now);
        Err(StoreError::new("this store cannot be filled at once").into())
    }

    /// Calls `visit` with every document of a collection, in the order of the ids and of one snapshot,
    /// until it returns `Break`.
    ///
    /// # Errors
    ///
    /// When the store fails, before the first document or after some.
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

    /// The recorded name of the member that holds the ids of a collection, if there is one. The default
    /// is `None`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        let _ = collection;
        Ok(None)
    }

    /// Records `name` as the name of the member that holds the ids, if no name is recorded for the
    /// collection. Returns the recorded name. It never changes: otherwise one entity tag would stand
    /// for two representations.
    ///
    /// A store that ends with its server need not record it. The default returns `name`.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        let _ = collection;
        Ok(name.to_owned())
    }

    /// The names of the collections that have documents, in order.
    ///
    /// A store need not implement it. The default fails.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn collections(&self) -> Result<Vec<String>, StoreError> {
        Err(StoreError::new("this store cannot tell its collections"))
    }

    /// The versions of these documents, in the order of `ids`; `None` for a document that does not
    /// exist.
    ///
    /// # Errors
    ///
    /// When the store fails.
    fn document_versions(
        &self,
        collection: &str,
        ids: &[Id],
    ) -> Result<Vec<Option<Version>>, StoreError> {
        let version = |id| Ok(self.get(collection, id)?.map(|record| record.version));
        ids.iter().map(version).collect()
    }

    /// Registers an observer, which is called after each change that is made through this value, as long
    /// as the observer exists. Returns the interval for polling, which finds the changes that others
    /// make; `None` if there are no such changes.
    ///
    /// The server polls only while a request waits for a change. The default calls no observer, and
    /// returns half a second. A store can keep its observers in [`Observers`].
    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        drop(observer);
        Some(Duration::from_millis(500))
    }

    /// Whether reads block, on a disk or a network: [`get`](Self::get),
    /// [`collection_version`](Self::collection_version) and [`list`](Self::list). Then a door calls
    /// them on a thread that neither reads nor writes connections. The default is `true`.
    fn reads_block(&self) -> bool {
        true
    }

    /// Whether [`swap`](Self::swap) blocks, on a disk or a network. The default is `true`.
    fn writes_block(&self) -> bool {
        true
    }
}

/// The part of a collection that [`Store::list`] is to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion<'a> {
    /// Only documents whose ids sort after this text, in byte order. It need not be the id of a
    /// document.
    pub after: Option<&'a str>,
    /// The most documents.
    pub count: usize,
    /// The most bytes: the sum of [`Record::size`]. The first document is returned even if it is
    /// larger.
    pub bytes: usize,
}

impl Portion<'_> {
    /// All documents.
    pub const ALL: Self = Self {
        after: None,
        count: usize::MAX,
        bytes: usize::MAX,
    };

    /// How many documents of these sizes, in the order of the list, belong to the portion.
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

/// A portion of a collection, as [`Store::list`] returns it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct List {
    /// The version of the whole collection, as from [`Store::collection_version`].
    pub version: Option<Version>,
    /// The documents, ordered by id.
    pub records: Vec<Record>,
    /// Whether the collection has documents after these.
    pub more: bool,
}

impl List {
    /// A list of these documents, with the version of the collection.
    #[must_use]
    pub fn new(version: Option<Version>, records: Vec<Record>, more: bool) -> Self {
        Self {
            version,
            records,
            more,
        }
    }
}

/// Refuses documents if two have the same id.
fn refuse_repeated(documents: &[(Id, Document)]) -> Result<(), SwapError> {
    let mut ids = HashSet::with_capacity(documents.len());
    if documents.iter().all(|(id, _)| ids.insert(id)) {
        Ok(())
    } else {
        Err(SwapError::Conflict)
    }
}

/// Writes methods that call the same method of the store in the `Arc`.
macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) -> $return:ty;)*) => {$(
        fn $method(&self, $($name: $type),*) -> $return {
            (**self).$method($($name),*)
        }
    )*};
}

/// Every method, also one with a default, calls that of the store in the `Arc`.
#[deny(clippy::missing_trait_methods)]
impl<S: Store + ?Sized> Store for Arc<S> {
    forward! {
        get(collection: &str, id: &Id) -> Result<Option<Record>, StoreError>;
        collection_version(collection: &str) -> Result<Option<Version>, StoreError>;
        list(collection: &str, portion: Portion<'_>) -> Result<List, StoreError>;
        swap(swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError>;
        removal(collection: &str, id: &Id, now: SystemTime)
            -> Result<Option<KeyedWrite>, StoreError>;
        fill(collection: &str, documents: &[(Id, Document)], now: SystemTime)
            -> Result<(), SwapError>;
        visit(collection: &str, visit: &mut dyn FnMut(&Record) -> ControlFlow<()>)
            -> Result<(), StoreError>;
        id_member(collection: &str) -> Result<Option<String>, StoreError>;
        record_id_member(collection: &str, name: &str) -> Result<String, StoreError>;
        collections() -> Result<Vec<String>, StoreError>;
        document_versions(collection: &str, ids: &[Id]) -> Result<Vec<Option<Version>>, StoreError>;
        observe(observer: Weak<dyn Observer>) -> Option<Duration>;
        reads_block() -> bool;
        writes_block() -> bool;
    }
}
