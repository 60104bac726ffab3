//! The tables, and the migration from those of earlier versions.

use std::error::Error;

use rusqlite::{Connection, Transaction, params};

use crate::collection::document_of_name;

/// The number that marks a file of this program: the letters `ifma`.
const APPLICATION_ID: i32 = 0x6966_6d61;

/// The version of the tables below.
const SCHEMA_VERSION: i32 = 3;

/// The version of the tables without idempotency keys, which [`KEYS`] adds.
const WITHOUT_KEYS_VERSION: i32 = 2;

/// The version of the tables of ifmatch 0.1.0: `person`, and `collection` with the version of the
/// persons in its only row.
const PERSONS_VERSION: i32 = 1;

/// The SQL comments are for people who open the file with `sqlite3`. `SQLite` stores them in the file,
/// so they stay as they are: otherwise new files would differ from migrated ones.
///
/// `dated` is 0 if the clock showed an earlier second than `change_date` when the version was made.
/// `id_member` is the name of the member that holds the ids. The version in `collection` is that of the
/// latest change of any document, also of a removed one.
///
/// The table `document` has rowids, so that a search by id reads only the index. Without rowids `SQLite`
/// compares whole rows: to find one of a thousand documents of 60 KB, it reads ten documents.
const TABLES: &str = "
CREATE TABLE document (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL, -- a JSON object, without the members that the server adds
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1, -- 0: the clock was behind, nothing happened at that date
    PRIMARY KEY (collection, id)
) STRICT;
CREATE TABLE collection ( -- the latest change of any document, the removed ones included
    name TEXT NOT NULL PRIMARY KEY,
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1,
    id_member TEXT -- what holds the ids in a representation
) STRICT, WITHOUT ROWID;
";

/// Adds idempotency keys to the tables above.
///
/// A document has the key of the request that made its last state. A removal keeps the key of its
/// request for 24 hours.
const KEYS: &str = "
ALTER TABLE document ADD COLUMN idempotency_key TEXT;
ALTER TABLE document ADD COLUMN request_digest TEXT; -- MD5 of method, target and content
ALTER TABLE document ADD COLUMN created INTEGER; -- 1: the request with the key created the document
CREATE INDEX keyed_document ON document (collection, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE TABLE removal (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    change_date TEXT NOT NULL,
    PRIMARY KEY (collection, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX removal_by_key ON removal (collection, idempotency_key);
CREATE INDEX removal_by_date ON removal (collection, change_date);
";

/// The tables of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// No tables.
    Empty,
    /// The tables of ifmatch 0.1.0.
    Persons,
    /// The tables of this version, without what [`KEYS`] adds.
    WithoutKeys,
    /// The tables of this version.
    Documents,
}

impl Schema {
    /// The tables of this database. Refuses the database of another program, or of a newer version.
    pub(super) fn of(connection: &Connection) -> Result<Self, Box<dyn Error>> {
        let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i32>(0));
        let application = number("PRAGMA application_id")?;
        let version = number("PRAGMA user_version")?;
        match (application, version) {
            (APPLICATION_ID, SCHEMA_VERSION) => Ok(Self::Documents),
            (APPLICATION_ID, WITHOUT_KEYS_VERSION) => Ok(Self::WithoutKeys),
            (APPLICATION_ID, PERSONS_VERSION) => Ok(Self::Persons),
            (APPLICATION_ID, newer) if newer > SCHEMA_VERSION => Err(format!(
                "a newer ifmatch made it; its schema version is {newer}, and this one knows \
                 {SCHEMA_VERSION}"
            )
            .into()),
            (0, 0) if number("SELECT count(*) FROM sqlite_schema")? == 0 => Ok(Self::Empty),
            _ => Err("it belongs to another program".into()),
        }
    }
}

/// Creates the tables, or migrates those of an earlier version.
pub(super) fn prepare(transaction: &Transaction<'_>) -> Result<(), Box<dyn Error>> {
    match Schema::of(transaction)? {
        Schema::Documents => return Ok(()),
        Schema::Persons => migrate_persons(transaction)?,
        Schema::WithoutKeys => {}
        Schema::Empty => transaction.execute_batch(TABLES)?,
    }
    transaction.execute_batch(KEYS)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    Ok(())
}

/// Makes a document of each person. The change dates are kept, and so are the entity tags.
fn migrate_persons(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    // The new table `collection` has other columns than the old one. So this drops the old one first.
    let (change_date, dated) =
        transaction.query_row("SELECT change_date, dated FROM collection", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })?;
    transaction.execute_batch("DROP TABLE collection")?;
    transaction.execute_batch(TABLES)?;
    transaction.execute(
        "INSERT INTO collection (name, change_date, dated) VALUES ('persons', ?1, ?2)",
        params![change_date, dated],
    )?;
    copy_persons(transaction)?;
    transaction.execute_batch("DROP TABLE person")
}

/// Copies the persons one by one, so that memory need not hold all of them.
fn copy_persons(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut persons = transaction.prepare("SELECT * FROM person ORDER BY person_id")?;
    let mut insert = transaction.prepare(
        "INSERT INTO document (collection, id, content, change_date, dated) \
         VALUES ('persons', ?1, ?2, ?3, ?4)",
    )?;
    let mut rows = persons.query([])?;
    while let Some(row) = rows.next()? {
        let document = document_of_name(row.get_ref("person_name")?.as_str()?);
        let id: String = row.get("person_id")?;
        let (change_date, dated): (String, i64) = (row.get("change_date")?, row.get("dated")?);
        insert.execute(params![id, document, change_date, dated])?;
    }
    Ok(())
}
