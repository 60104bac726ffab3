use postgres::types::Type;
use postgres::{Client, Row};

use crate::store::postgres::connections::{Failure, reason};
use crate::store::postgres::{collection_version, unreadable};
use crate::version::Version;

/// The tables, in an order that can be broken off anywhere: as long as there is no table of persons,
/// nothing has begun. Who looks on finds in `collection` the latest change of any person, those
/// that were removed included, if lists have a tag; what is not dated did not happen at that moment.
/// Where lists have no tag, a person who was removed stays, without a name.
const COLLECTION_TABLE: &str = "
CREATE TABLE IF NOT EXISTS collection (
    only_row BOOLEAN NOT NULL PRIMARY KEY CHECK (only_row),
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL,
    tagged BOOLEAN NOT NULL
);
";
const COLLECTION_ROW: &str =
    "INSERT INTO collection VALUES (true, $1, true, $2) ON CONFLICT DO NOTHING";
const PERSON_TABLE: &str = r#"
CREATE TABLE IF NOT EXISTS person (
    person_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    person_name TEXT NOT NULL,
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL,
    removed BOOLEAN NOT NULL
);
CREATE INDEX IF NOT EXISTS present_person ON person (person_id) WHERE NOT removed;
"#;

/// Their columns, as the database tells them.
const PERSON: &str =
    "person_id text, person_name text, change_date text, dated boolean, removed boolean";
const COLLECTION: &str = "only_row boolean, change_date text, dated boolean, tagged boolean";

/// Sees to it that there are our tables, with or without a tag of the list, or refuses those that
/// are not.
pub(super) fn prepare(client: &mut Client, tagged: bool) -> Result<(), Failure> {
    let encoding = client.query_typed_one("SHOW server_encoding", &[])?;
    let encoding: String = encoding.try_get(0).map_err(unreadable)?;
    // To another one not every name can be converted, and it may order the ids in another way.
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        return Err(Failure::Refused(format!(
            "its encoding is {encoding}, not UTF8"
        )));
    }
    // In this order: who finds the persons finds the collection, which is created before.
    let whole = has(client, "person", PERSON)?;
    let begun = has(client, "collection", COLLECTION)?;
    if !whole {
        // Another server may be about to do the same; the database refuses the slower one.
        let created = create(client, tagged);
        created.map_err(|error| Failure::Overtaken(reason(&error)))?;
    } else if !begun {
        return Err(Failure::Refused("its table collection is missing".into()));
    }
    let select = "SELECT change_date, dated, tagged FROM collection";
    let row = client.query_typed_opt(select, &[])?;
    collection_version(row.as_ref())?;
    let is_tagged = row.map(|row| row.try_get(2)).transpose();
    match (tagged, is_tagged.map_err(unreadable)?) {
        (true, Some(false)) => Err(Failure::Refused(
            "it was begun with `--no-collection-tag`, and needs that from all servers".into(),
        )),
        (false, Some(true)) => Err(Failure::Refused(
            "it was begun without `--no-collection-tag`, and its lists have a tag".into(),
        )),
        _ => Ok(()),
    }
}

/// Of several servers the first one decides whether lists have a tag.
fn create(client: &mut Client, tagged: bool) -> Result<(), postgres::Error> {
    client.batch_execute(COLLECTION_TABLE)?;
    let first = Version::FIRST.to_string();
    client.execute_typed(
        COLLECTION_ROW,
        &[(&first, Type::TEXT), (&tagged, Type::BOOL)],
    )?;
    client.batch_execute(PERSON_TABLE)
}

/// Whether there is such a table, with our columns; one with others is refused.
fn has(client: &mut Client, table: &str, ours: &str) -> Result<bool, Failure> {
    let rows = client.query_typed(
        "SELECT column_name, data_type FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        &[(&table, Type::TEXT)],
    )?;
    let column = |row: &Row| -> Result<String, postgres::Error> {
        let (name, kind): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("{name} {kind}"))
    };
    let columns = rows.iter().map(column).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(unreadable)?.join(", ");
    if columns.is_empty() || columns == ours {
        return Ok(!columns.is_empty());
    }
    let reason = format!("its table {table} belongs to another program");
    Err(Failure::Refused(reason))
}
