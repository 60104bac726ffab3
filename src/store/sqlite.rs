use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::{
    List, Listener, Listeners, OpenError, OwnedSwap, Portion, Store, StoreError, Swap, SwapError,
    refuse_repeated,
};
use crate::version::Version;

mod batch;
mod file;
mod keys;
mod queue;
mod rows;
mod tables;
mod writer;

use writer::Writer;

/// The documents in a `SQLite` file, which several processes on one machine may serve at once.
///
/// The shell `sqlite3` can read it, while it is served:
///
/// ```text
/// sqlite> SELECT collection, id, content, change_date, dated FROM document;
/// persons|1|{"person_name":"Wim"}|2026-11-23T04:50:08.177130|1
/// notes|milk|{"litres":1.0,"title":"Milk"}|2026-11-23T04:50:09.001482|1
/// sqlite> SELECT id, content->>'title' FROM document WHERE collection = 'notes';
/// milk|Milk
/// ```
///
/// A write compares and swaps in one statement, and sets the version of the collection, which is the
/// latest there ever was. So a version does not come back after a restart, a removal, or both and a
/// clock that was set back. Writes that wait for the disk or for another process are performed
/// together, in one short transaction: each on what the earlier ones made. All of them are
/// acknowledged after the commit, or none.
///
/// A file of version 0.1.0, which had persons only, is taken over when it is opened: in one
/// transaction, with all entity tags unchanged. It grows to twice its size; the old half is used
/// again, or given back by `VACUUM`. Servers of version 0.1.0 can neither read nor write the persons
/// from then on. A file that was made before there were keys gets the columns for them in the same
/// way.
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
    /// Connections of their own for reads: they see what was written last, and wait neither for a
    /// write nor for the disk that confirms it. Four are enough, since a read keeps a core busy and
    /// not a disk. They are opened at the beginning, so that they need no descriptors when there
    /// are none left. They may not write, and they are closed before the writer: the connection
    /// that is closed last moves the content of the WAL into the file.
    readers: [Mutex<Connection>; 4],
    writer: Writer,
    listeners: Listeners,
}

/// After what time changes of other processes are looked for while a request waits for one. To
/// look takes some ten microseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// What a power failure may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Nothing: a write is on the disk before it is acknowledged.
    #[default]
    Full,
    /// The latest writes, although they were acknowledged, and their versions with them. A crash of
    /// the process alone costs nothing.
    Normal,
}

impl SqliteStore {
    /// Opens a file, or creates it, for its owner alone to read.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, is no database, belongs to another program or was made by
    /// a newer version of this one. Then it stays as it is.
    pub fn open(path: impl AsRef<Path>, synchronous: Synchronous) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let refused = |error: Box<dyn Error>| OpenError::new(path.display(), error);
        Self::open_or_create(path, synchronous).map_err(refused)
    }

    /// Opens a file that has documents, and leaves any other as it is.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and when there is no such file, it is empty, or has the tables of
    /// an earlier version.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        file::check_existing(path).map_err(|error| OpenError::new(path.display(), error))?;
        Self::open(path, Synchronous::Full)
    }

    fn open_or_create(path: &Path, synchronous: Synchronous) -> Result<Self, Box<dyn Error>> {
        // SQLite gives a meaning of their own to `:memory:` and `file:...`, and none to `/...`.
        let path = std::path::absolute(path)?;
        file::create(&path)?;
        file::inspect(&path)?;
        let writer = file::writer(&path, synchronous)?;
        let reader = || file::reader(&path).map(Mutex::new);
        Ok(Self {
            readers: [reader()?, reader()?, reader()?, reader()?],
            writer: Writer::new(writer),
            listeners: Listeners::default(),
            path,
        })
    }

    fn read<R>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        // If none of the others is idle, this call waits for the first.
        let [first, others @ ..] = &self.readers;
        let idle = others.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let reader = idle.unwrap_or_else(|| lock(first));
        query(&reader).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::new(format!("the store {} failed: {error}", self.path.display()))
    }
}

impl Store for SqliteStore {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.read(|reader| rows::record(reader, collection, id))
    }

    fn version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        self.read(|reader| rows::version(reader, collection))
            .map(Some)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        self.read(|reader| {
            // The documents and the version are of one moment.
            let snapshot = reader.unchecked_transaction()?;
            rows::list(&snapshot, collection, portion)
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let owned = OwnedSwap::new(swap, now);
        let version = self.writer.swap(owned, |error| self.failed(error))?;
        self.listeners.tell(swap.collection(), Some(swap.id()));
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
            .map_err(|error| self.failed(&error))??;
        self.listeners.tell(collection, None);
        Ok(())
    }

    /// Reads by a connection of its own, since this takes as long as `visit` does.
    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        file::reader(&self.path)
            .and_then(|reader| rows::visit(&reader, collection, visit))
            .map_err(|error| self.failed(&error))
    }

    fn id_member(
        &self,
        collection: &str,
        given: Option<&str>,
    ) -> Result<Option<String>, StoreError> {
        let kept = self.read(|reader| rows::id_member(reader, collection))?;
        let (None, Some(given)) = (&kept, given) else {
            return Ok(kept);
        };
        let writer = self.writer.lock();
        rows::keep_id_member(&writer, collection, given)
            .and_then(|()| rows::id_member(&writer, collection))
            .map_err(|error| self.failed(&error))
    }

    fn listen(&self, listener: Weak<dyn Listener>) -> Option<Duration> {
        self.listeners.add(listener);
        Some(POLL_INTERVAL)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.read(|reader| {
            let snapshot = reader.unchecked_transaction()?;
            rows::collections(&snapshot)
        })
    }

    /// No, as a rule: a read takes microseconds, because it waits for no write, and the pages are in
    /// memory.
    fn reads_wait(&self) -> bool {
        false
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic has left no transaction open: it was rolled back on the way out.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}
