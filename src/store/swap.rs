//! The compare-and-swap: one conditional change of one document.

use std::error::Error;
use std::fmt;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use std::time::SystemTime;

use crate::document::{Document, Id};
use crate::idempotency::KeyedWrite;
use crate::store::StoreError;
use crate::version::Version;

/// One change of one document, and its condition.
///
/// The condition is the version that the document must have, or that no document of this id exists.
/// The change is a new document, or the removal.
#[derive(Clone, Copy, Debug)]
pub struct Swap<'a> {
    collection: &'a str,
    id: &'a Id,
    expected: Option<Version>,
    new: Option<&'a Document>,
    expected_collection: Option<Version>,
    keyed_write: Option<&'a KeyedWrite>,
}

impl<'a> Swap<'a> {
    /// Creates `document` if there is no document of this id.
    #[must_use]
    pub fn create(collection: &'a str, id: &'a Id, document: &'a Document) -> Self {
        Self {
            collection,
            id,
            expected: None,
            new: Some(document),
            expected_collection: None,
            keyed_write: None,
        }
    }

    /// Replaces the state at version `expected` by `document`.
    #[must_use]
    pub fn replace(
        collection: &'a str,
        id: &'a Id,
        expected: Version,
        document: &'a Document,
    ) -> Self {
        Self {
            expected: Some(expected),
            ..Self::create(collection, id, document)
        }
    }

    /// Removes the document whose state is at version `expected`.
    #[must_use]
    pub fn remove(collection: &'a str, id: &'a Id, expected: Version) -> Self {
        Self {
            collection,
            id,
            expected: Some(expected),
            new: None,
            expected_collection: None,
            keyed_write: None,
        }
    }

    /// Also requires that the collection is at this version.
    #[must_use]
    pub fn while_collection_at(self, version: Version) -> Self {
        Self {
            expected_collection: Some(version),
            ..self
        }
    }

    /// Keeps this write with the result of the swap, so that its repetition is recognised.
    #[must_use]
    pub fn with_keyed_write(self, write: &'a KeyedWrite) -> Self {
        Self {
            keyed_write: Some(write),
            ..self
        }
    }

    /// The name of the collection.
    #[must_use]
    pub fn collection(&self) -> &'a str {
        self.collection
    }

    /// The id of the document.
    #[must_use]
    pub fn id(&self) -> &'a Id {
        self.id
    }

    /// The version that the document must have; `None` if it must not exist.
    #[must_use]
    pub fn expected(&self) -> Option<Version> {
        self.expected
    }

    /// The new document; `None` for a removal. If [`expected`](Self::expected) is `None`, there is
    /// always a new document.
    #[must_use]
    pub fn new_document(&self) -> Option<&'a Document> {
        self.new
    }

    /// The version that the collection must have, if that is a condition.
    #[must_use]
    pub fn expected_collection(&self) -> Option<Version> {
        self.expected_collection
    }

    /// The write to keep with the result of the swap. `None` removes the write that is kept for the
    /// document.
    #[must_use]
    pub fn keyed_write(&self) -> Option<&'a KeyedWrite> {
        self.keyed_write
    }
}

/// The result of a swap.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) type Outcome = Result<Version, SwapError>;

/// The columns in which the SQL stores keep a write with a key: the key, the digest as 32 hexadecimal
/// digits, and whether the write created the document.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) type KeyColumns<'a> = (Option<&'a str>, Option<String>, Option<bool>);

/// The values of these columns; `None` in each if there is no such write.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn key_columns(write: Option<&KeyedWrite>) -> KeyColumns<'_> {
    (
        write.map(|it| it.key.as_str()),
        write.map(|it| format!("{:032x}", it.digest)),
        write.map(|it| it.created),
    )
}

/// The most swaps of one batch, so that later swaps do not wait for long.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
const MAX_BATCH: usize = 64;

/// A swap that another thread can perform, and the time of its request. It shares the id and the
/// document with the original, and copies the name of the collection.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[derive(Debug)]
pub(crate) struct OwnedSwap {
    /// The store in `PostgreSQL` does not need this name, because it is the partition in its queue.
    #[cfg(feature = "sqlite")]
    pub(crate) collection: String,
    pub(crate) id: Id,
    pub(crate) expected: Option<Version>,
    pub(crate) document: Option<Document>,
    pub(crate) expected_collection: Option<Version>,
    pub(crate) keyed_write: Option<KeyedWrite>,
    pub(crate) now: SystemTime,
}

#[cfg(any(feature = "sqlite", feature = "postgres"))]
impl OwnedSwap {
    pub(crate) fn new(swap: &Swap<'_>, now: SystemTime) -> Self {
        Self {
            #[cfg(feature = "sqlite")]
            collection: swap.collection().to_owned(),
            id: swap.id().clone(),
            expected: swap.expected(),
            document: swap.new_document().cloned(),
            expected_collection: swap.expected_collection(),
            keyed_write: swap.keyed_write().cloned(),
            now,
        }
    }

    /// Whether a batch with this swap has no more than [`MAX_BATCH`] swaps, and no more than
    /// `max_bytes` of ids and documents.
    pub(crate) fn fits(&self, batch: &[Self], max_bytes: usize) -> bool {
        let bytes = || batch.iter().chain([self]).map(Self::bytes).sum::<usize>();
        batch.len() < MAX_BATCH && bytes() <= max_bytes
    }

    fn bytes(&self) -> usize {
        let document = self.document.as_ref().map_or(0, |it| it.as_str().len());
        self.id.as_str().len() + document
    }
}

/// Why a swap was not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SwapError {
    /// The document, or the collection, is not at the expected version.
    Conflict,
    /// The store keeps the key of the swap for another document of the collection.
    KeyTaken,
    /// The store failed.
    Store(StoreError),
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict => f.write_str("the state has changed"),
            Self::KeyTaken => f.write_str("the key belongs to another write"),
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
