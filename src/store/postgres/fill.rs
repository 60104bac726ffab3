//! Filling a collection without documents.

use std::time::SystemTime;

use crate::document::{Document, Id};
use crate::store::postgres::client::{Client, Transaction, Type};
use crate::store::postgres::collection_row::{lock_collection, set_collection_version};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::{collection_version, unreadable};
use crate::store::postgres::row_changes::{INSERT, RowChange, RowChanges, analyze};
use crate::store::postgres::transaction::{begin, commit};
use crate::store::{StoreError, SwapError, refuse_repeated};
use crate::version::{Version, VersionClock};

/// Creates documents in one transaction, in a collection that has none.
///
/// All fills of a collection wait for each other at its row. Where collections have no versions, other
/// writes do not wait for that row: the documents that they create are found after the last insertion.
pub(super) fn fill(
    client: &mut Client,
    collection: &str,
    documents: &[(Id, Document)],
    has_collection_versions: bool,
    now: SystemTime,
) -> Result<Result<(), SwapError>, Failure> {
    if let Err(repeated) = refuse_repeated(documents) {
        return Ok(Err(repeated));
    }
    let mut transaction = begin(client)?;
    let latest = lock_collection(&mut transaction, collection)?;
    let latest = latest.max(last_removed(&mut transaction, collection)?);
    if count(&mut transaction, collection, 1)? > 0 {
        return Ok(Err(SwapError::Conflict));
    }
    let mut clock = VersionClock::after(latest);
    let mut rows = RowChanges::default();
    for (index, (id, document)) in documents.iter().enumerate() {
        let Some(version) = clock.next(now) else {
            return Ok(Err(StoreError::exhausted().into()));
        };
        rows.push(&RowChange::new(
            id.as_str(),
            Some(document.as_str()),
            version,
        ));
        if rows.is_full() || index + 1 == documents.len() {
            let count = rows.len();
            if rows.write(&mut transaction, collection, &INSERT)?.len() < count {
                return Err(concurrent_write());
            }
        }
    }
    if has_collection_versions {
        set_collection_version(&mut transaction, collection, clock.latest())?;
    } else if count(&mut transaction, collection, documents.len() + 1)? > documents.len() {
        return Err(concurrent_write());
    }
    commit(transaction)?;
    analyze(client);
    Ok(Ok(()))
}

/// Another server has created a document of the collection in the meantime. In the next try, this
/// document is found and is a conflict, unless it has been removed.
fn concurrent_write() -> Failure {
    Failure::Retry("another server writes to the collection".into())
}

/// The latest version of a removed document of the collection: [`Version::FIRST`] if there is none.
fn last_removed(transaction: &mut Transaction<'_>, collection: &str) -> Result<Version, Failure> {
    let row = transaction.query_typed_opt(
        "SELECT change_date, dated FROM document WHERE collection = $1 AND removed \
         ORDER BY change_date COLLATE \"C\" DESC LIMIT 1",
        &[(&collection, Type::TEXT)],
    )?;
    collection_version(row.as_ref())
}

/// How many documents the collection has, counted up to `most`.
fn count(
    transaction: &mut Transaction<'_>,
    collection: &str,
    most: usize,
) -> Result<usize, Failure> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let row = transaction.query_typed_one(
        "SELECT count(*) FROM ( \
             SELECT 1 FROM document WHERE collection = $1 AND NOT removed ORDER BY id LIMIT $2 \
         ) AS present",
        &[(&collection, Type::TEXT), (&most, Type::INT8)],
    )?;
    let count: i64 = row.try_get(0).map_err(unreadable)?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
