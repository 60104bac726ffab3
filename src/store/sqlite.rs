//! The store in a `SQLite` file.

use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, TryLockError, Weak};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::{
    List, Observer, Observers, OpenError, OwnedSwap, Portion, Store, StoreError, Swap, SwapError,
    lock, refuse_repeated,
};
use crate::version::Version;

mod batch;
mod file;
mod keys;
mod row;
mod rows;
mod tables;
mod writer;

use writer::Writer;

/// A store in a `SQLite` file, which several processes on one machine can serve at the same time.
///
/// The shell `sqlite3` can read the file while it is served:
///
/// ```text
/// sqlite> SELECT collection, id, content, change_date, dated FROM document;
/// persons|1|{"person_name":"Wim"}|2026-11-23T04:50:08.177130|1
/// notes|milk|{"litres":1.0,"title":"Milk"}|2026-11-23T04:50:09.001482|1
/// sqlite> SELECT id, content->>'title' FROM document WHERE collection = 'notes';
/// milk|Milk
/// ```
///
/// A write compares and swaps in one statement, and its version becomes the version of the collection.
/// So no version is used twice, even after a restart, a removal, or a clock that was set back. Writes
/// that wait for the disk or for another process are performed together, in one short transaction,
/// each on the result of the earlier ones. All of them are acknowledged after the commit, or none is.
///
/// A file of version 0.1.0, which had only persons, is migrated when it is opened: in one transaction,
/// with all entity tags unchanged. It grows to twice its size; `SQLite` uses the free half again, and
/// `VACUUM` removes it. From then on servers of version 0.1.0 can neither read nor write the persons.
/// A file without the columns for idempotency keys gets them in the same way.
///
/// ```no_run
/// use ifmatch::{Options, Server, SqliteStore, Synchronous};
///
/// let store = SqliteStore::open("documents.db", Synchronous::Full)?;
/// Server::bind("127.0.0.1:5000".parse()?, store, Options::default())?.serve()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Connections that only read. They see the latest commit, and do not wait for writes. Four are
    /// enough, because a read uses a core, and mostly not the disk. They are opened at the start, so
    /// that a read needs no file descriptor later. They are dropped before `writer`, because the last
    /// connection that is closed moves the WAL into the file, and a reader cannot do that.
    readers: [Mutex<Connection>; 4],
    writer: Writer,
    observers: Observers,
}

/// The interval of polling for the changes of other processes while a request waits for one. A poll
/// takes some ten microseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Which writes a power failure may lose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// None: a write is on the disk before it is acknowledged.
    #[default]
    Full,
    /// The latest writes, although they were acknowledged; their versions can be used again. A crash of
    /// the process alone loses nothing.
    Normal,
}

impl SqliteStore {
    /// Opens a file, or creates it, readable by its owner only.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, is not a database, belongs to another program, or was
    /// made by a newer version of this one. Then it is not changed.
    pub fn open(path: impl AsRef<Path>, synchronous: Synchronous) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let to_open_error = |error: Box<dyn Error>| OpenError::new(path.display(), error);
        Self::open_or_create(path, synchronous).map_err(to_open_error)
    }

    /// Opens a file only if it has the tables of this version.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when the file does not exist, is empty, or has the tables of an
    /// earlier version. Then it is not changed.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        file::check_existing(path).map_err(|error| OpenError::new(path.display(), error))?;
        Self::open(path, Synchronous::Full)
    }

    fn open_or_create(path: &Path, synchronous: Synchronous) -> Result<Self, Box<dyn Error>> {
        // SQLite has special meanings for `:memory:` and `file:...`, but not for an absolute path.
        let path = std::path::absolute(path)?;
        file::create(&path)?;
        file::inspect(&path)?;
        let writer = file::writer(&path, synchronous)?;
        let reader = || file::reader(&path).map(Mutex::new);
        Ok(Self {
            readers: [reader()?, reader()?, reader()?, reader()?],
            writer: Writer::new(writer),
            observers: Observers::default(),
            path,
        })
    }

    fn read<R>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        // If no other reader is idle, this call waits for the first. A reader is used also after a
        // panic: then no transaction is open, because it was rolled back when it was dropped.
        let [first, others @ ..] = &self.readers;
        let idle = others.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let reader = idle.unwrap_or_else(|| lock(first));
        query(&reader).map_err(|error| self.to_store_error(&error))
    }

    fn to_store_error(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::new(format!("the store {} failed: {error}", self.path.display()))
    }
}

impl Store for SqliteStore {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.read(|reader| rows::record(reader, collection, id))
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        self.read(|reader| rows::version(reader, collection))
            .map(Some)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        self.read(|reader| {
            // The documents and the version are of one snapshot.
            let snapshot = reader.unchecked_transaction()?;
            rows::list(&snapshot, collection, portion)
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let owned = OwnedSwap::new(swap, now);
        let version = self
            .writer
            .swap(owned, |error| self.to_store_error(error))?;
        self.observers.notify(swap.collection(), Some(swap.id()));
        Ok(version)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        self.read(|reader| keys::removal(reader, collection, id, now))
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        refuse_repeated(documents)?;
        self.writer
            .fill(collection, documents, now)
            .map_err(|error| self.to_store_error(&error))??;
        self.observers.notify(collection, None);
        Ok(())
    }

    /// Reads through a new connection, because the time depends on `visit`.
    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        file::reader(&self.path)
            .and_then(|reader| rows::visit(&reader, collection, visit))
            .map_err(|error| self.to_store_error(&error))
    }

    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        self.read(|reader| rows::id_member(reader, collection))
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        if let Some(recorded) = self.id_member(collection)? {
            return Ok(recorded);
        }
        rows::record_id_member(&self.writer.lock(), collection, name)
            .map_err(|error| self.to_store_error(&error))
    }

    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        self.observers.add(observer);
        Some(POLL_INTERVAL)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.read(|reader| {
            let snapshot = reader.unchecked_transaction()?;
            rows::collections(&snapshot)
        })
    }

    /// A read takes microseconds, because it does not wait for a write, and the pages are mostly in
    /// memory.
    fn reads_block(&self) -> bool {
        false
    }
}
