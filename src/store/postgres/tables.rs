//! Creating, migrating and checking the tables.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;

use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::connections::{Failure, reason};
use crate::store::postgres::keys::add_keys;
use crate::store::postgres::migration::migrate_persons;
use crate::store::postgres::page::begin_snapshot;
use crate::store::postgres::row::unreadable;
use crate::store::postgres::swap::{begin, commit};

/// The version of the tables below. Version 1, of ifmatch 0.1.0, is what `migration` reads.
pub(super) const SCHEMA_VERSION: i32 = 3;

/// The version of the tables before there were keys: without what [`KEYS`] adds.
pub(super) const WITHOUT_KEYS_VERSION: i32 = 2;

/// All are created in one transaction, and `ifmatch` marks them as ours.
///
/// `collection` has the latest change of any document, the removed ones included, if lists have a
/// tag, and the name of the member that holds the ids in a representation; what is not dated did not
/// happen at that moment. Where lists have no tag, a document that was
/// removed stays, without its content. The content is `TEXT` because `JSONB` would put the members
/// in another order and convert the numbers.
const TABLES: &str = r#"
CREATE TABLE ifmatch (
    only_row BOOLEAN NOT NULL PRIMARY KEY CHECK (only_row),
    schema_version INTEGER NOT NULL,
    tagged BOOLEAN NOT NULL
);
CREATE TABLE collection (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL,
    id_member TEXT
);
CREATE TABLE document (
    collection TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    content TEXT NOT NULL,
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL,
    removed BOOLEAN NOT NULL,
    PRIMARY KEY (collection, id)
);
CREATE INDEX present_document ON document (collection, id) WHERE NOT removed;
"#;

/// What the tables above get for the keys of requests.
///
/// A document has the key of the request that made its last state. One that was removed with a key
/// stays for 24 hours, without its content; `removed_at` is its change date then, in a column that
/// other writes do not change, so that they need no new entry in an index.
pub(super) const KEYS: &str = r#"
ALTER TABLE document
    ADD COLUMN idempotency_key TEXT COLLATE "C",
    ADD COLUMN request_digest TEXT,
    ADD COLUMN created BOOLEAN,
    ADD COLUMN removed_at TEXT COLLATE "C";
CREATE UNIQUE INDEX keyed_document ON document (collection, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX keyed_removal ON document (collection, removed_at) WHERE removed_at IS NOT NULL;
"#;

/// The first columns of `ifmatch`, the same in every version.
const MARK: &str = "only_row bool, schema_version int4";

/// The columns of our tables, as the database tells them, but for those of keys.
const OURS: [(&str, &str); 3] = [
    ("ifmatch", "only_row bool, schema_version int4, tagged bool"),
    (
        "collection",
        "name text, change_date text, dated bool, id_member text",
    ),
    (
        "document",
        "collection text, id text, content text, change_date text, dated bool, removed bool",
    ),
];

/// The columns that [`KEYS`] adds to `document`.
const KEY_COLUMNS: &str =
    ", idempotency_key text, request_digest text, created bool, removed_at text";

/// The columns of the tables of ifmatch 0.1.0, in the order in which it creates the tables.
const OLD: [(&str, &str); 2] = [
    (
        "collection",
        "only_row bool, change_date text, dated bool, tagged bool",
    ),
    (
        "person",
        "person_id text, person_name text, change_date text, dated bool, removed bool",
    ),
];

/// What there is in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// None of the tables.
    Empty,
    /// The tables of ifmatch 0.1.0; without those of persons if it did not create them any more.
    Old { persons: bool },
    /// Tables that `ifmatch` marks as ours, of whatever version.
    Marked,
}

/// Creates the tables, whose lists have a tag or not, or migrates those of an earlier version. Refuses
/// tables of the same names that are not ours.
pub(super) fn prepare(client: &mut Client, tagged: bool) -> Result<(), Failure> {
    let encoding = client.query_typed_one("SHOW server_encoding", &[])?;
    let encoding: String = encoding.try_get(0).map_err(unreadable)?;
    // To another one not every document can be converted, and it may order the ids in another way.
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        return Err(Failure::Refused(format!(
            "its encoding is {encoding}, not UTF8"
        )));
    }
    match shape(client)? {
        Shape::Empty => {
            let mut transaction = begin(client)?;
            create(&mut transaction, tagged)?;
            commit(transaction)
        }
        Shape::Old { persons } => migrate_persons(client, persons, tagged),
        Shape::Marked => {
            let mark = check_mark(client)?;
            check_tagged(tagged, mark.tagged)?;
            if mark.has_keys {
                Ok(())
            } else {
                add_keys(client)
            }
        }
    }
}

/// Refuses a database without our tables, and leaves it as it is. Returns whether lists have a tag.
pub(super) fn check_existing(client: &mut Client) -> Result<bool, Failure> {
    let refused = |reason: &str| Err(Failure::Refused(reason.into()));
    match shape(client)? {
        Shape::Empty => refused("it is empty"),
        Shape::Old { .. } => {
            refused("ifmatch 0.1.0 made it; a server of this version migrates it when it starts")
        }
        Shape::Marked => match check_mark(client)? {
            mark if mark.has_keys => Ok(mark.tagged),
            _ => refused(
                "an earlier ifmatch made it; a server of this version migrates it when it starts",
            ),
        },
    }
}

/// What there is in the database. Another program's tables of these names are refused.
pub(super) fn shape(client: &mut Client) -> Result<Shape, Failure> {
    let columns = columns(client)?;
    let is = |table: &str, ours: &str| match columns.get(table) {
        Some(columns) if columns == ours => Ok(true),
        Some(_) => Err(foreign(table)),
        None => Ok(false),
    };
    match columns.get("ifmatch") {
        Some(columns) if columns.starts_with(MARK) => return Ok(Shape::Marked),
        Some(_) => return Err(foreign("ifmatch")),
        None => {}
    }
    if columns.contains_key("document") {
        return Err(foreign("document"));
    }
    let [collection, person] = OLD.map(|(table, columns)| is(table, columns));
    match (collection?, person?) {
        (false, false) => Ok(Shape::Empty),
        (true, persons) => Ok(Shape::Old { persons }),
        (false, true) => Err(missing("collection")),
    }
}

/// Creates the tables. Of several servers the first one decides whether lists have a tag.
pub(super) fn create(transaction: &mut Transaction<'_>, tagged: bool) -> Result<(), Failure> {
    transaction.batch_execute(TABLES).map_err(retry_if_raced)?;
    transaction.batch_execute(KEYS).map_err(retry_if_raced)?;
    transaction.execute_typed(
        "INSERT INTO ifmatch VALUES (true, $1, $2)",
        &[(&SCHEMA_VERSION, Type::INT4), (&tagged, Type::BOOL)],
    )?;
    Ok(())
}

/// The failure of a statement about tables that another server may be creating or migrating. The
/// next try finds the tables that the other server has made.
pub(super) fn retry_if_raced(error: Error) -> Failure {
    let raced = [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_OBJECT,
        SqlState::UNDEFINED_TABLE,
    ];
    match error.code() {
        Some(code) if raced.contains(code) => Failure::Retry(reason(&error)),
        _ => error.into(),
    }
}

/// Refuses servers that disagree on whether lists have a tag.
pub(super) fn check_tagged(asked: bool, is_tagged: bool) -> Result<(), Failure> {
    match (asked, is_tagged) {
        (true, false) => Err(Failure::Refused(
            "it was begun with `--no-collection-tag`, and needs that from all servers".into(),
        )),
        (false, true) => Err(Failure::Refused(
            "it was begun without `--no-collection-tag`, and its lists have a tag".into(),
        )),
        _ => Ok(()),
    }
}

/// What tables that are marked as ours have.
struct Mark {
    /// Lists have a tag.
    tagged: bool,
    /// There are the columns for keys.
    has_keys: bool,
}

/// Refuses tables that are marked as ours, but not those that this version serves.
fn check_mark(client: &mut Client) -> Result<Mark, Failure> {
    // Another server may be adding the columns for keys.
    let mut client = begin_snapshot(client)?;
    let row = client.query_typed_opt("SELECT schema_version FROM ifmatch", &[])?;
    let row = row.ok_or_else(|| Failure::Refused("its table ifmatch is empty".into()))?;
    let version: i32 = row.try_get(0).map_err(unreadable)?;
    if version > SCHEMA_VERSION {
        return Err(Failure::Refused(format!(
            "a newer ifmatch made it; its schema version is {version}, and this one knows \
             {SCHEMA_VERSION}"
        )));
    }
    if version < WITHOUT_KEYS_VERSION {
        return Err(Failure::Refused(format!(
            "its schema version is {version}, which no ifmatch has made"
        )));
    }
    let columns = columns(&mut client)?;
    let has_keys = version == SCHEMA_VERSION;
    for (table, ours) in OURS {
        let keys = if has_keys && table == "document" {
            KEY_COLUMNS
        } else {
            ""
        };
        match columns.get(table) {
            Some(columns) if columns.strip_prefix(ours) == Some(keys) => {}
            Some(_) => return Err(foreign(table)),
            None => return Err(missing(table)),
        }
    }
    let row = client.query_typed_one("SELECT tagged FROM ifmatch", &[])?;
    let tagged = row.try_get(0).map_err(unreadable)?;
    Ok(Mark { tagged, has_keys })
}

/// The columns of the tables of our names, old or new, by table.
///
/// One statement on the catalog, so that all of it is of one snapshot: the views of
/// `information_schema` call functions that may already see what the statement itself does not.
fn columns(client: &mut Client) -> Result<BTreeMap<String, String>, Failure> {
    let rows = client.query_typed(
        "SELECT pg_class.relname::text, attname || ' ' || typname \
         FROM pg_catalog.pg_namespace \
         JOIN pg_catalog.pg_class ON pg_class.relnamespace = pg_namespace.oid \
         JOIN pg_catalog.pg_attribute ON attrelid = pg_class.oid \
         JOIN pg_catalog.pg_type ON pg_type.oid = atttypid \
         WHERE nspname = current_schema() AND attnum > 0 AND NOT attisdropped \
             AND pg_class.relname IN ('ifmatch', 'collection', 'document', 'person') \
         ORDER BY pg_class.relname, attnum",
        &[],
    )?;
    let mut tables: BTreeMap<String, String> = BTreeMap::new();
    for row in rows {
        let table = row.try_get(0).map_err(unreadable)?;
        let columns = tables.entry(table).or_default();
        if !columns.is_empty() {
            columns.push_str(", ");
        }
        columns.push_str(row.try_get(1).map_err(unreadable)?);
    }
    Ok(tables)
}

fn foreign(table: &str) -> Failure {
    Failure::Refused(format!("its table {table} belongs to another program"))
}

fn missing(table: &str) -> Failure {
    Failure::Refused(format!("its table {table} is missing"))
}
