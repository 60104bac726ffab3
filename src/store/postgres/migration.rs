//! Migrating the tables of ifmatch 0.1.0.

use crate::collection::document_of_name;
use crate::store::postgres::batch::{Batch, INSERT, NewRow, analyze};
use crate::store::postgres::change::{begin, commit, lock_collection, set_collection};
use crate::store::postgres::client::{Client, Row, Transaction, Type};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::{unreadable, version};
use crate::store::postgres::tables::{Shape, check_tagged, create, retry_if_raced, shape};
use crate::version::Version;

/// The collection that the persons are in.
const PERSONS: &str = "persons";

/// Replaces the tables of ifmatch 0.1.0 by those of this version, in one transaction: each person
/// becomes a document of the collection `persons`. The change dates are kept, and so are the tags.
///
/// This transaction takes its locks in the order in which 0.1.0 takes them, so that it has no deadlock
/// with a transaction of 0.1.0. It keeps them until its end. A server of 0.1.0 that still runs finds no
/// table of persons from then on, and cannot write. Another server of this version waits until the
/// end, and finds the new tables.
pub(super) fn migrate_persons(
    client: &mut Client,
    persons: bool,
    tagged: bool,
) -> Result<(), Failure> {
    let mut transaction = begin(client)?;
    transaction.take_longer()?;
    let tables = if persons {
        "collection, person"
    } else {
        "collection"
    };
    let lock = format!("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
    transaction.batch_execute(&lock).map_err(retry_if_raced)?;
    if shape(&mut transaction)? != (Shape::Old { persons }) {
        return Err(Failure::Retry("another server migrates it".into()));
    }
    let row =
        transaction.query_typed_opt("SELECT change_date, dated, tagged FROM collection", &[])?;
    let (latest, is_tagged) = match row {
        Some(row) => (version(&row, 0)?, row.try_get(2).map_err(unreadable)?),
        None if persons => return Err(Failure::Refused("its table collection is empty".into())),
        None => (Version::FIRST, tagged),
    };
    check_tagged(tagged, is_tagged)?;
    transaction.batch_execute("DROP TABLE collection")?;
    create(&mut transaction, is_tagged)?;
    lock_collection(&mut transaction, PERSONS)?;
    set_collection(&mut transaction, PERSONS, latest)?;
    if persons {
        copy_persons(&mut transaction)?;
        transaction.batch_execute("DROP TABLE person")?;
    }
    commit(transaction)?;
    analyze(client);
    Ok(())
}

/// Copies the persons in the order of their ids, some hundred at a time.
fn copy_persons(transaction: &mut Transaction<'_>) -> Result<(), Failure> {
    let mut last = String::new();
    let mut batch = Batch::default();
    loop {
        let rows = transaction.query_typed(
            "SELECT person_id, person_name, change_date, dated, removed FROM person \
             WHERE person_id > $1 ORDER BY person_id LIMIT 500",
            &[(&last, Type::TEXT)],
        )?;
        for row in &rows {
            push_person(&mut batch, row)?;
            if batch.is_full() {
                batch.write(transaction, PERSONS, &INSERT)?;
            }
        }
        let Some(row) = rows.last() else {
            batch.write(transaction, PERSONS, &INSERT)?;
            return Ok(());
        };
        last = row.try_get(0).map_err(unreadable)?;
    }
}

fn push_person(batch: &mut Batch, row: &Row) -> Result<(), Failure> {
    let id: &str = row.try_get(0).map_err(unreadable)?;
    let name = decoded(row.try_get(1).map_err(unreadable)?);
    let removed: bool = row.try_get(4).map_err(unreadable)?;
    let content = (!removed).then(|| document_of_name(&name));
    batch.push(&NewRow::new(id, content.as_deref(), version(row, 2)?));
    Ok(())
}

/// A name as ifmatch 0.1.0 kept it: as it is, but for NUL, which no text can hold in the database,
/// and the character that begins what stands for it.
fn decoded(name: &str) -> String {
    name.replace("\u{10}0", "\0").replace("\u{10}1", "\u{10}")
}
