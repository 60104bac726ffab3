//! The file: how it is created, inspected and opened.

use std::error::Error;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use crate::store::sqlite::tables::{self, Schema};
use crate::store::sqlite::{Synchronous, rows};

/// A connection needs no lock of its own: each is behind a `Mutex`.
const READ_WRITE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// How long a transaction waits for another process that writes.
const BUSY: Duration = Duration::from_secs(2);

/// How long the start waits for one, which may be taking over a large file.
const BUSY_AT_START: Duration = Duration::from_secs(60);

/// How much of the file a reader keeps in memory, in KiB: what it does not keep, the operating
/// system does.
const READER_CACHE: i32 = 512;

/// Creates the file if there is none; a new one is for its owner alone, as are those that `SQLite`
/// puts beside it.
///
/// A file that exists is not opened: to close it would give up the locks that this process may hold
/// on it by way of another store.
pub(super) fn create(path: &Path) -> Result<(), Box<dyn Error>> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.write(true).create_new(true).open(path) {
        Err(error) if !path.exists() => Err(error.into()),
        _ if !path.is_file() => Err("it is no file".into()),
        _ => Ok(()),
    }
}

/// Refuses what is not ours, without touching it. Returns what the file has, but for its WAL.
pub(super) fn inspect(path: &Path) -> Result<Schema, Box<dyn Error>> {
    let path = path.to_str().ok_or("its name is not UTF-8")?;
    let escaped = path.replace('%', "%25");
    let escaped = escaped.replace('?', "%3f").replace('#', "%23");
    // Immutable: nothing is locked, recovered or left beside it, whatever it is.
    let uri = format!("file:///{}?immutable=1", escaped.trim_start_matches('/'));
    let flags = READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Only the header counts. Another process may be writing the first pages now, or have been
    // killed meanwhile; with this SQLite accepts that some are missing.
    connection.pragma_update(None, "writable_schema", true)?;
    Schema::of(&connection)
}

/// Refuses what has no documents, without touching it.
pub(super) fn check_existing(path: &Path) -> Result<(), Box<dyn Error>> {
    if !path.is_file() {
        return Err("there is no such file".into());
    }
    let path = std::path::absolute(path)?;
    let mut schema = inspect(&path)?;
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    // The latest header may still be in there.
    if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) {
        schema = Schema::of(&Connection::open_with_flags(path, READ_ONLY)?)?;
    }
    match schema {
        Schema::Documents => Ok(()),
        Schema::Empty => Err("it is empty".into()),
        Schema::Persons => Err(
            "ifmatch 0.1.0 made it; a server of this version takes it over when it starts".into(),
        ),
        Schema::WithoutKeys => Err(
            "an earlier ifmatch made it; a server of this version takes it over when it starts"
                .into(),
        ),
    }
}

/// The connection that writes, to a database that has our tables from now on.
pub(super) fn writer(path: &Path, synchronous: Synchronous) -> Result<Connection, Box<dyn Error>> {
    let mut writer = Connection::open_with_flags(path, READ_WRITE)?;
    if writer.is_readonly(MAIN_DB)? {
        return Err("it can only be read".into());
    }
    writer.busy_timeout(BUSY_AT_START)?;
    // A file that is refused only now, because its latest header is still in its WAL, stays as it
    // is, too.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables::prepare(&transaction)?;
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
    writer.busy_timeout(BUSY)?;
    Ok(writer)
}

/// A connection that reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open_with_flags(path, READ_ONLY)?;
    reader.busy_timeout(BUSY)?;
    reader.pragma_update(None, "cache_size", -READER_CACHE)?;
    // From the first read on it has all the descriptors it ever needs.
    rows::version(&reader, "")?;
    Ok(reader)
}
