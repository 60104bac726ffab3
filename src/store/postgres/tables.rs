//! Creating and checking the tables.

use std::collections::BTreeMap;

use tokio_postgres::error::SqlState;

use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::connections::{Failure, reason};
use crate::store::postgres::row::unreadable;
use crate::store::postgres::transaction::begin_snapshot;

/// The version of the tables below. Version 1 is that of ifmatch 0.1.0, whose tables `migration` reads.
pub(super) const SCHEMA_VERSION: i32 = 3;

/// The version of the tables without idempotency keys, which [`KEYS`] adds.
pub(super) const WITHOUT_KEYS_VERSION: i32 = 2;

/// All are created in one transaction. The table `ifmatch` marks them as the tables of this program.
///
/// `collection` has the version of each collection, that of the latest change of any document, also of
/// a removed one; it stays [`Version::FIRST`](crate::Version::FIRST) if `tagged` is false, and
/// collections have no versions. `id_member` is the name of the member that holds the ids.
///
/// `dated` is false if the clock showed an earlier second than `change_date` when the version was made.
///
/// If collections have no versions, the row of a removed document stays, without its content. The
/// content is `TEXT` because `JSONB` would put the members in another order and convert the numbers.
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

/// Adds idempotency keys to the tables above.
///
/// A document has the key of the request that made its last state. The row of a document that was
/// removed with a key stays for 24 hours, without its content. Then `removed_at` is its change date: a
/// column that other writes do not change, so that they need no new entry in the index.
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

/// The first columns of the table `ifmatch`, which are the same in every version.
const IFMATCH_COLUMNS: &str = "only_row bool, schema_version int4";

/// The columns of the tables, as [`columns`] returns them, without those that [`KEYS`] adds.
const TABLE_COLUMNS: [(&str, &str); 3] = [
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
const PERSONS_TABLE_COLUMNS: [(&str, &str); 2] = [
    (
        "collection",
        "only_row bool, change_date text, dated bool, tagged bool",
    ),
    (
        "person",
        "person_id text, person_name text, change_date text, dated bool, removed bool",
    ),
];

/// The tables of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// No tables.
    Empty,
    /// The tables of ifmatch 0.1.0. `has_person` is false if it ended before it created the table
    /// `person`.
    Persons { has_person: bool },
    /// The table `ifmatch`, which has the version of the schema. [`check_documents`] checks the others.
    Documents,
}

/// Refuses a database without the tables of this version, and does not change it. Returns whether
/// collections have versions.
pub(super) fn check_existing(client: &mut Client) -> Result<bool, Failure> {
    let refused = |reason: &str| Err(Failure::Refused(reason.into()));
    match schema(client)? {
        Schema::Empty => refused("it is empty"),
        Schema::Persons { .. } => {
            refused("ifmatch 0.1.0 made it; a server of this version migrates it when it starts")
        }
        Schema::Documents => match check_documents(client)? {
            tables if tables.have_keys => Ok(tables.have_collection_versions),
            _ => refused(
                "an earlier ifmatch made it; a server of this version migrates it when it starts",
            ),
        },
    }
}

/// The tables of this database. Refuses tables of other programs that have the same names.
pub(super) fn schema(client: &mut Client) -> Result<Schema, Failure> {
    let columns = columns(client)?;
    let has_columns = |table: &str, expected: &str| match columns.get(table) {
        Some(columns) if columns == expected => Ok(true),
        Some(_) => Err(foreign(table)),
        None => Ok(false),
    };
    match columns.get("ifmatch") {
        Some(columns) if columns.starts_with(IFMATCH_COLUMNS) => return Ok(Schema::Documents),
        Some(_) => return Err(foreign("ifmatch")),
        None => {}
    }
    if columns.contains_key("document") {
        return Err(foreign("document"));
    }
    let [has_collection, has_person] =
        PERSONS_TABLE_COLUMNS.map(|(table, expected)| has_columns(table, expected));
    match (has_collection?, has_person?) {
        (false, false) => Ok(Schema::Empty),
        (true, has_person) => Ok(Schema::Persons { has_person }),
        (false, true) => Err(missing("collection")),
    }
}

/// Creates the tables. The first server that does it decides whether collections have versions.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    has_collection_versions: bool,
) -> Result<(), Failure> {
    transaction.batch_execute(TABLES).map_err(retry_if_raced)?;
    transaction.batch_execute(KEYS).map_err(retry_if_raced)?;
    transaction.execute_typed(
        "INSERT INTO ifmatch VALUES (true, $1, $2)",
        &[
            (&SCHEMA_VERSION, Type::INT4),
            (&has_collection_versions, Type::BOOL),
        ],
    )?;
    Ok(())
}

/// The failure of a statement that creates or changes tables. If another server has done this at the
/// same time, the next try finds the tables of that server.
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

/// Refuses a server that disagrees with the tables on whether collections have versions.
pub(super) fn check_collection_versions(server: bool, tables: bool) -> Result<(), Failure> {
    match (server, tables) {
        (true, false) => Err(Failure::Refused(
            "it was begun with `--no-collection-tag`, and needs that from all servers".into(),
        )),
        (false, true) => Err(Failure::Refused(
            "it was begun without `--no-collection-tag`, and its lists have a tag".into(),
        )),
        _ => Ok(()),
    }
}

/// The differences between the tables of [`Schema::Documents`].
pub(super) struct Tables {
    /// Collections have versions.
    pub(super) have_collection_versions: bool,
    /// `document` has the columns for keys.
    pub(super) have_keys: bool,
}

/// Refuses the tables of a newer version, and tables that another program has altered.
pub(super) fn check_documents(client: &mut Client) -> Result<Tables, Failure> {
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
    let have_keys = version == SCHEMA_VERSION;
    for (table, expected) in TABLE_COLUMNS {
        let keys = if have_keys && table == "document" {
            KEY_COLUMNS
        } else {
            ""
        };
        match columns.get(table) {
            Some(columns) if columns.strip_prefix(expected) == Some(keys) => {}
            Some(_) => return Err(foreign(table)),
            None => return Err(missing(table)),
        }
    }
    let row = client.query_typed_one("SELECT tagged FROM ifmatch", &[])?;
    Ok(Tables {
        have_collection_versions: row.try_get(0).map_err(unreadable)?,
        have_keys,
    })
}

/// The columns of the tables that have the names of this version or of 0.1.0, by table.
///
/// One statement reads the catalog, so that all columns are of one snapshot. The views of
/// `information_schema` call functions that may see later changes than the statement.
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
