//! The row of a collection: its version, and the name of the member with the ids.

use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::{collection_version, unreadable};
use crate::version::Version;

/// Locks the row of the collection until the end of the transaction. Returns its version.
///
/// Before its first write a collection has no row that could be locked. If several transactions insert
/// the row, one succeeds; the others wait for its end, and then lock its row.
pub(super) fn lock_collection(
    transaction: &mut Transaction<'_>,
    collection: &str,
) -> Result<Version, Failure> {
    let lock = "SELECT change_date, dated FROM collection WHERE name = $1 FOR UPDATE";
    let name = [(&collection as _, Type::TEXT)];
    let mut row = transaction.query_typed_opt(lock, &name)?;
    if row.is_none() {
        let first = Version::FIRST.to_string();
        transaction.execute_typed(
            "INSERT INTO collection VALUES ($1, $2, true) ON CONFLICT (name) DO NOTHING",
            &[(&collection, Type::TEXT), (&first, Type::TEXT)],
        )?;
        row = transaction.query_typed_opt(lock, &name)?;
    }
    collection_version(row.as_ref())
}

/// The recorded name of the member that holds the ids of the collection.
pub(super) fn id_member(client: &mut Client, collection: &str) -> Result<Option<String>, Failure> {
    let row = client.query_typed_opt(
        "SELECT id_member FROM collection WHERE name = $1",
        &[(&collection, Type::TEXT)],
    )?;
    let id_member = row.map(|row| row.try_get(0)).transpose();
    Ok(id_member.map_err(unreadable)?.flatten())
}

/// Records the name of the member that holds the ids of the collection, if none is recorded. Returns
/// the recorded name.
pub(super) fn record_id_member(
    client: &mut Client,
    collection: &str,
    name: &str,
) -> Result<String, Failure> {
    let first = Version::FIRST.to_string();
    let row = client.query_typed_one(
        "INSERT INTO collection VALUES ($1, $2, true, $3) ON CONFLICT (name) DO UPDATE \
         SET id_member = coalesce(collection.id_member, excluded.id_member) RETURNING id_member",
        &[
            (&collection, Type::TEXT),
            (&first, Type::TEXT),
            (&name, Type::TEXT),
        ],
    )?;
    row.try_get(0).map_err(unreadable)
}

/// Sets the version of the collection if its current one is earlier. Returns whether it did: then the
/// row is locked until the end of the transaction.
pub(super) fn set_collection_version(
    transaction: &mut Transaction<'_>,
    collection: &str,
    version: Version,
) -> Result<bool, Error> {
    let changed = transaction.execute_typed(
        "UPDATE collection SET change_date = $2, dated = $3 \
         WHERE name = $1 AND change_date COLLATE \"C\" < $2",
        &[
            (&collection, Type::TEXT),
            (&version.to_string(), Type::TEXT),
            (&version.is_dated(), Type::BOOL),
        ],
    )?;
    Ok(changed == 1)
}
