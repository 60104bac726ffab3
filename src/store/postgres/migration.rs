//! Creating the tables, and migrating those of earlier versions.

use crate::collection::document_of_name;
use crate::store::postgres::client::{Client, Row, Transaction, Type};
use crate::store::postgres::collection_row::{lock_collection, set_collection_version};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::{unreadable, version};
use crate::store::postgres::row_changes::{INSERT, RowChange, RowChanges, analyze};
use crate::store::postgres::tables::{
    KEYS, SCHEMA_VERSION, Schema, WITHOUT_KEYS_VERSION, check_collection_versions, check_documents,
    create, retry_if_raced, schema,
};
use crate::store::postgres::transaction::{begin, commit};
use crate::version::Version;

/// The collection of the persons.
const PERSONS: &str = "persons";

/// Creates the tables, or migrates those of an earlier version. Refuses the tables of other programs.
/// `has_collection_versions` is whether collections are to have versions.
pub(super) fn prepare(client: &mut Client, has_collection_versions: bool) -> Result<(), Failure> {
    let encoding = client.query_typed_one("SHOW server_encoding", &[])?;
    let encoding: String = encoding.try_get(0).map_err(unreadable)?;
    // In another encoding, some documents cannot be stored, and the ids may have another order.
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        return Err(Failure::Refused(format!(
            "its encoding is {encoding}, not UTF8"
        )));
    }
    match schema(client)? {
        Schema::Empty => {
            let mut transaction = begin(client)?;
            create(&mut transaction, has_collection_versions)?;
            commit(transaction)
        }
        Schema::Persons { has_person } => {
            migrate_persons(client, has_person, has_collection_versions)
        }
        Schema::Documents => {
            let tables = check_documents(client)?;
            check_collection_versions(has_collection_versions, tables.have_collection_versions)?;
            if tables.have_keys {
                Ok(())
            } else {
                add_keys(client)
            }
        }
    }
}

/// Adds the columns and indexes for idempotency keys to the tables, in one transaction. Only the owner
/// of the tables can do that.
pub(super) fn add_keys(client: &mut Client) -> Result<(), Failure> {
    let mut transaction = begin(client)?;
    transaction.take_longer()?;
    // The first of several servers adds them, and the others find the new version.
    let updated = transaction.execute_typed(
        "UPDATE ifmatch SET schema_version = $1 WHERE schema_version = $2",
        &[
            (&SCHEMA_VERSION, Type::INT4),
            (&WITHOUT_KEYS_VERSION, Type::INT4),
        ],
    )?;
    if updated == 0 {
        return Err(Failure::Retry("another server adds the keys".into()));
    }
    transaction.batch_execute(KEYS).map_err(retry_if_raced)?;
    commit(transaction)
}

/// Replaces the tables of ifmatch 0.1.0 by those of this version, in one transaction: each person
/// becomes a document of the collection `persons`. The change dates are kept, and so are the tags.
/// `has_person` is whether the table `person` exists.
///
/// The transaction takes its locks in the order in which 0.1.0 takes them, so that it has no deadlock
/// with a transaction of 0.1.0. It keeps the locks until its end. From then on, a server of 0.1.0 that
/// still runs finds no table of persons, and cannot write. Another server of this version waits until
/// the end, and finds the new tables.
fn migrate_persons(
    client: &mut Client,
    has_person: bool,
    has_collection_versions: bool,
) -> Result<(), Failure> {
    let mut transaction = begin(client)?;
    transaction.take_longer()?;
    let tables = if has_person {
        "collection, person"
    } else {
        "collection"
    };
    let lock = format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
    transaction.batch_execute(&lock).map_err(retry_if_raced)?;
    if schema(&mut transaction)? != (Schema::Persons { has_person }) {
        return Err(Failure::Retry("another server migrates it".into()));
    }
    let row =
        transaction.query_typed_opt("SELECT change_date, dated, tagged FROM collection", &[])?;
    let (latest, had_versions) = match row {
        Some(row) => (version(&row, 0)?, row.try_get(2).map_err(unreadable)?),
        None if has_person => return Err(Failure::Refused("its table collection is empty".into())),
        None => (Version::FIRST, has_collection_versions),
    };
    check_collection_versions(has_collection_versions, had_versions)?;
    transaction.batch_execute("DROP TABLE collection")?;
    create(&mut transaction, has_collection_versions)?;
    lock_collection(&mut transaction, PERSONS)?;
    set_collection_version(&mut transaction, PERSONS, latest)?;
    if has_person {
        copy_persons(&mut transaction)?;
        transaction.batch_execute("DROP TABLE person")?;
    }
    commit(transaction)?;
    analyze(client);
    Ok(())
}

/// Copies the persons in the order of their ids, up to 500 at a time.
fn copy_persons(transaction: &mut Transaction<'_>) -> Result<(), Failure> {
    let mut last = String::new();
    let mut row_changes = RowChanges::default();
    loop {
        let rows = transaction.query_typed(
            "SELECT person_id, person_name, change_date, dated, removed FROM person \
             WHERE person_id > $1 ORDER BY person_id LIMIT 500",
            &[(&last, Type::TEXT)],
        )?;
        for row in &rows {
            push_person(&mut row_changes, row)?;
            if row_changes.is_full() {
                row_changes.write(transaction, PERSONS, &INSERT)?;
            }
        }
        let Some(row) = rows.last() else {
            row_changes.write(transaction, PERSONS, &INSERT)?;
            return Ok(());
        };
        last = row.try_get(0).map_err(unreadable)?;
    }
}

fn push_person(row_changes: &mut RowChanges, row: &Row) -> Result<(), Failure> {
    let id: &str = row.try_get(0).map_err(unreadable)?;
    let name = decoded(row.try_get(1).map_err(unreadable)?);
    let removed: bool = row.try_get(4).map_err(unreadable)?;
    let content = (!removed).then(|| document_of_name(&name));
    row_changes.push(&RowChange::new(id, content.as_deref(), version(row, 2)?));
    Ok(())
}

/// The name of a person from the text that ifmatch 0.1.0 has stored. A text of the database cannot have
/// NUL; so 0.1.0 escaped NUL, and also U+0010, which begins an escape.
fn decoded(name: &str) -> String {
    name.replace("\u{10}0", "\0").replace("\u{10}1", "\u{10}")
}
