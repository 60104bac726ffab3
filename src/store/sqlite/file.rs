//! Creating, inspecting and opening the file.

use std::error::Error;
use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, MAIN_DB, OpenFlags, TransactionBehavior};

use crate::store::sqlite::tables::{self, Schema};
use crate::store::sqlite::{Synchronous, rows};

/// The connections need no locks of `SQLite`, because each is behind a `Mutex`.
const READ_WRITE: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

const READ_ONLY: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// How long a transaction waits for the writes of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a read waits for another process that is recovering the WAL. It is short, because a read
/// may be on a thread that serves other connections, too.
const READ_BUSY_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the start waits for another process, which may be migrating a large file.
const START_BUSY_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of the file a reader keeps in memory, in KiB. The operating system caches the rest.
const READER_CACHE: i32 = 512;

/// Creates the file if it does not exist. Only its owner can read it, and the files that `SQLite`
/// creates beside it.
///
/// A file that exists is not opened: closing it would release the POSIX locks that this process may
/// hold on it through another store.
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

/// Refuses a file of another program, without changing it. Returns the schema that the file has without
/// its WAL.
pub(super) fn inspect(path: &Path) -> Result<Schema, Box<dyn Error>> {
    let path = path.to_str().ok_or("its name is not UTF-8")?;
    let escaped = path.replace('%', "%25");
    let escaped = escaped.replace('?', "%3f").replace('#', "%23");
    // With `immutable` SQLite does not lock or recover the file, and creates no file beside it.
    let uri = format!("file:///{}?immutable=1", escaped.trim_start_matches('/'));
    let flags = READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(uri, flags)?;
    // Only the header is needed. Another process may be writing the first pages now, or may have been
    // killed while it did; with this setting SQLite accepts that pages are missing.
    connection.pragma_update(None, "writable_schema", true)?;
    Schema::of(&connection)
}

/// Refuses a file without the tables of this version, without changing it.
pub(super) fn check_existing(path: &Path) -> Result<(), Box<dyn Error>> {
    if !path.is_file() {
        return Err("there is no such file".into());
    }
    let path = std::path::absolute(path)?;
    let mut schema = inspect(&path)?;
    let mut wal = path.clone().into_os_string();
    wal.push("-wal");
    // The latest header may still be in the WAL.
    if std::fs::metadata(wal).is_ok_and(|wal| wal.len() > 0) {
        schema = Schema::of(&Connection::open_with_flags(path, READ_ONLY)?)?;
    }
    match schema {
        Schema::Documents => Ok(()),
        Schema::Empty => Err("it is empty".into()),
        Schema::Persons => {
            Err("ifmatch 0.1.0 made it; a server of this version migrates it when it starts".into())
        }
        Schema::WithoutKeys => Err(
            "an earlier ifmatch made it; a server of this version migrates it when it starts"
                .into(),
        ),
    }
}

/// Opens the connection that writes, and creates or migrates the tables.
pub(super) fn writer(path: &Path, synchronous: Synchronous) -> Result<Connection, Box<dyn Error>> {
    let mut writer = Connection::open_with_flags(path, READ_WRITE)?;
    if writer.is_readonly(MAIN_DB)? {
        return Err("it can only be read".into());
    }
    writer.busy_timeout(START_BUSY_TIMEOUT)?;
    // The WAL may have a later header than the file, which `inspect` has read. So `prepare` may refuse
    // the file, too. It is not changed then either, because there is no checkpoint.
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tables::prepare(&transaction)?;
    transaction.commit()?;
    writer.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let to_wal = || writer.pragma_update(None, "journal_mode", "wal");
    if to_wal().is_err() {
        // SQLite does not wait here for another process that does the same, but it waits when it
        // begins a transaction.
        writer.execute_batch("BEGIN IMMEDIATE; COMMIT")?;
        to_wal()?;
    }
    let level = match synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    writer.pragma_update(None, "synchronous", level)?;
    // Without this, macOS writes only to the cache of the disk.
    writer.pragma_update(None, "fullfsync", synchronous == Synchronous::Full)?;
    writer.busy_timeout(BUSY_TIMEOUT)?;
    Ok(writer)
}

/// Opens a connection that reads.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let reader = Connection::open_with_flags(path, READ_ONLY)?;
    reader.busy_timeout(BUSY_TIMEOUT)?;
    reader.pragma_update(None, "cache_size", -READER_CACHE)?;
    // The first read opens all file descriptors that the connection needs. It may wait longer than
    // the others, because another process may be closing the file.
    rows::version(&reader, "")?;
    reader.busy_timeout(READ_BUSY_TIMEOUT)?;
    Ok(reader)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::{env, fs, process};

    use super::*;

    #[test]
    fn a_read_waits_for_other_processes_less_long_than_a_write() {
        let directory = env::temp_dir().join(format!("ifmatch-busy-timeout-{}", process::id()));
        fs::create_dir(&directory).unwrap();
        let path = directory.join("it.db");
        create(&path).unwrap();
        let writer = writer(&path, Synchronous::Full).unwrap();
        let reader = reader(&path).unwrap();
        let [of_writer, of_reader] = [&writer, &reader].map(|connection| {
            let timeout = |row: &rusqlite::Row<'_>| row.get::<_, u32>(0);
            connection.pragma_query_value(None, "busy_timeout", timeout)
        });
        drop((reader, writer));
        fs::remove_dir_all(directory).unwrap();
        assert_eq!((of_writer, of_reader), (Ok(2000), Ok(100)));
    }
}
