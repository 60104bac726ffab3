use std::error::Error;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime};

use rusqlite::config::DbConfig;
use rusqlite::types::Type;
use rusqlite::{
    Connection, MAIN_DB, OpenFlags, OptionalExtension, Row, Transaction, TransactionBehavior,
    params,
};

use crate::person::{Person, PersonId};
use crate::store::{Change, Collection, OpenError, Record, Store, StoreError, Swap, SwapError};
use crate::version::{Version, VersionClock};

/// The persons in a `SQLite` file, which several processes on one machine may serve at once.
///
/// Whoever has the shell `sqlite3` can read it:
///
/// ```text
/// sqlite> SELECT * FROM person;
/// 1|Wim|2026-11-23T04:50:08.177130|1
/// ```
///
/// A write is one short transaction: it compares and swaps in one statement, and sets the version
/// of the collection, which is the latest there ever was. So a version does not come back after a
/// restart, a removal, or both and a clock that was set back.
///
/// ```no_run
/// use ifmatch::{Options, Server, SqliteStore, Synchronous};
///
/// let store = SqliteStore::open("persons.db", Synchronous::Full)?;
/// Server::bind("127.0.0.1:5000".parse()?, store, Options::default())?.serve()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    /// Connections of their own for reads, which see what was last written and do not wait while
    /// somebody writes, or the disk takes its time to confirm it. They are few, since a read keeps
    /// a core busy, not a disk; and open from the beginning, so that they need no descriptors when
    /// there are none left. They are closed before the writer, because who closes last moves what
    /// is in the WAL to where it belongs, and they may not write.
    readers: [Mutex<Connection>; 4],
    writer: Mutex<Connection>,
}

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

/// What marks a file as ours: the letters `ifma`.
const APPLICATION_ID: i32 = 0x6966_6d61;

/// The version of the tables below.
const SCHEMA_VERSION: i32 = 1;

/// The remarks are for those who look at it with the shell.
const SCHEMA: &str = "
CREATE TABLE person (
    person_id TEXT NOT NULL PRIMARY KEY,
    person_name TEXT NOT NULL,
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1 -- 0: the clock was behind, nothing happened at that date
) STRICT, WITHOUT ROWID;
CREATE TABLE collection ( -- the latest change of any person, the removed ones included
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1
) STRICT;
";

/// A connection needs no lock of its own: each is behind a `Mutex`.
const READ_WRITE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(2);

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

    fn open_or_create(path: &Path, synchronous: Synchronous) -> Result<Self, Box<dyn Error>> {
        // SQLite gives a meaning of their own to `:memory:` and `file:...`, and none to `/...`.
        let path = std::path::absolute(path)?;
        create(&path)?;
        inspect(&path)?;
        let writer = writer(&path, synchronous)?;
        let reader = || reader(&path).map(Mutex::new);
        Ok(Self {
            readers: [reader()?, reader()?, reader()?, reader()?],
            writer: Mutex::new(writer),
            path,
        })
    }

    fn read<R>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> Result<R, StoreError> {
        // Who finds none of the others idle waits for the first.
        let [first, others @ ..] = &self.readers;
        let idle = others.iter().find_map(|reader| match reader.try_lock() {
            Ok(reader) => Some(reader),
            Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        });
        let reader = idle.unwrap_or_else(|| lock(first));
        query(&reader).map_err(|error| self.failed(&error))
    }

    fn write(
        &self,
        swap: &Swap<'_>,
        now: SystemTime,
    ) -> rusqlite::Result<Result<Version, SwapError>> {
        let mut writer = lock(&self.writer);
        // Immediate: from here on nobody else writes. Whatever ends it before the commit, it is
        // rolled back.
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let latest = collection_version(&transaction)?;
        if swap.expected_collection().is_some_and(|it| it != latest) {
            return Ok(Err(SwapError::Conflict));
        }
        let Some(version) = VersionClock::after(latest).next(now) else {
            return Ok(Err(StoreError::exhausted().into()));
        };
        if !compare_and_swap(&transaction, swap, version)? {
            return Ok(Err(SwapError::Conflict));
        }
        transaction
            .prepare_cached("UPDATE collection SET change_date = ?1, dated = ?2")?
            .execute(params![version.to_string(), version.is_dated()])?;
        transaction.commit()?;
        Ok(Ok(version))
    }

    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        StoreError::new(format!("the store {} failed: {error}", self.path.display()))
    }
}

impl Store for SqliteStore {
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        self.read(|reader| {
            reader
                .prepare_cached("SELECT * FROM person WHERE person_id = ?1")?
                .query_row([id.as_str()], record)
                .optional()
        })
    }

    fn version(&self) -> Result<Option<Version>, StoreError> {
        self.read(collection_version).map(Some)
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        self.read(|reader| {
            // Both are of one moment.
            let snapshot = reader.unchecked_transaction()?;
            let version = Some(collection_version(&snapshot)?);
            // No id is empty: all of them sort after that.
            let (after, most) = (after.unwrap_or(""), i64::try_from(most).unwrap_or(i64::MAX));
            let records = snapshot
                .prepare_cached(
                    "SELECT * FROM person WHERE person_id > ?1 ORDER BY person_id LIMIT ?2",
                )?
                .query_map(params![after, most], record)?
                .collect::<Result<_, _>>()?;
            Ok(Collection { version, records })
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.write(swap, now)
            .unwrap_or_else(|error| Err(self.failed(&error).into()))
    }

    /// Microseconds, as a rule: nobody is waited for, and the pages are in memory.
    fn reads_wait(&self) -> bool {
        false
    }
}

fn lock(connection: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    // A panic has left no transaction open: it was rolled back on the way out.
    connection.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sees to it that there is a file; a new one is for its owner alone, as are those that `SQLite`
/// puts beside it.
///
/// One that is there is not opened: to close a file gives up the locks that this process may hold
/// on it by way of another store.
fn create(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.write(true).create_new(true).open(path) {
        Err(error) if !path.exists() => Err(error.into()),
        _ if !path.is_file() => Err("it is no file".into()),
        _ => Ok(()),
    }
}

/// Refuses what is not ours, without touching it.
fn inspect(path: &Path) -> Result<(), Box<dyn Error>> {
    let path = path.to_str().ok_or("its name is not UTF-8")?;
    let escaped = path.replace('%', "%25");
    let escaped = escaped.replace('?', "%3f").replace('#', "%23");
    // Immutable: whatever there is, nothing is locked, recovered or left beside it.
    let uri = format!("file:///{}?immutable=1", escaped.trim_start_matches('/'));
    let flags = READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    // The header is all that counts. Another process may just be writing the first pages, or have
    // been killed meanwhile; this keeps SQLite from minding that some are missing.
    connection.pragma_update(None, "writable_schema", true)?;
    has_schema(&connection)?;
    Ok(())
}

/// Whether a database has our tables; an empty one has not.
fn has_schema(connection: &Connection) -> Result<bool, Box<dyn Error>> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
    let application = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    match (application, version) {
        (APPLICATION_ID, SCHEMA_VERSION) => Ok(true),
        (APPLICATION_ID, newer) if newer > SCHEMA_VERSION => Err(format!(
            "a newer ifmatch made it; its schema version is {newer}, and this one knows {SCHEMA_VERSION}"
        )
        .into()),
        (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(false),
        _ => Err("it belongs to another program".into()),
    }
}

/// The connection that writes, to a database that has our tables from now on.
fn writer(path: &Path, synchronous: Synchronous) -> Result<Connection, Box<dyn Error>> {
    let mut writer = Connection::open_with_flags(path, READ_WRITE)?;
    if writer.is_readonly(MAIN_DB)? {
        return Err("it can only be read".into());
    }
    writer.busy_timeout(BUSY)?;
    // What is refused only now, because what tells is still in its WAL, stays as it is, too.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if !has_schema(&transaction)? {
        transaction.execute_batch(SCHEMA)?;
        transaction.execute(
            "INSERT INTO collection (only_row, change_date) VALUES (1, ?1)",
            [Version::FIRST.to_string()],
        )?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    }
    transaction.commit()?;
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let to_wal = || writer.pragma_update(None, "journal_mode", "wal");
    if to_wal().is_err() {
        // Here SQLite does not wait for another process that is about to do the same. To begin a
        // transaction it does.
        writer.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
        to_wal()?;
    }
    let level = match synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    writer.pragma_update(None, "synchronous", level)?;
    // Without it macOS stops at the cache of the disk.
    writer.pragma_update(None, "fullfsync", synchronous == Synchronous::Full)?;
    Ok(writer)
}

fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open_with_flags(path, READ_ONLY)?;
    reader.busy_timeout(BUSY)?;
    // From the first read on it has all the descriptors it ever needs.
    collection_version(&reader)?;
    Ok(reader)
}

fn collection_version(connection: &Connection) -> rusqlite::Result<Version> {
    connection
        .prepare_cached("SELECT change_date, dated FROM collection")?
        .query_row([], version)
}

/// Changes the person to what is wanted if it is what is expected; whether it was.
fn compare_and_swap(
    transaction: &Transaction<'_>,
    swap: &Swap<'_>,
    version: Version,
) -> rusqlite::Result<bool> {
    let id = swap.id().as_str();
    let (new, dated) = (version.to_string(), version.is_dated());
    let changed = match swap.change() {
        Change::Create(person) => transaction
            .prepare_cached("INSERT INTO person VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?
            .execute(params![id, person.name(), new, dated])?,
        Change::Replace(person, old) => transaction
            .prepare_cached(
                "UPDATE person SET person_name = ?2, change_date = ?3, dated = ?4 \
                 WHERE person_id = ?1 AND change_date = ?5",
            )?
            .execute(params![id, person.name(), new, dated, old.to_string()])?,
        Change::Remove(_, old) => transaction
            .prepare_cached("DELETE FROM person WHERE person_id = ?1 AND change_date = ?2")?
            .execute(params![id, old.to_string()])?,
    };
    Ok(changed == 1)
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let id = PersonId::new(row.get::<_, String>("person_id")?).map_err(unreadable)?;
    let name = row.get::<_, String>("person_name")?;
    Ok(Record {
        person: Person::new(id, name).map_err(unreadable)?,
        version: version(row)?,
    })
}

fn version(row: &Row<'_>) -> rusqlite::Result<Version> {
    let change_date = row.get::<_, String>("change_date")?;
    let version: Version = change_date.parse().map_err(unreadable)?;
    Ok(if row.get("dated")? {
        version
    } else {
        version.undated()
    })
}

/// Somebody else has changed the file.
fn unreadable(error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(error))
}
