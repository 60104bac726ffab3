//! The statements for idempotency keys.

use std::time::SystemTime;

use crate::document::Id;
use crate::idempotency::{IdempotencyKey, KeyedWrite};
use crate::store::postgres::client::{Client, Error, Row, Transaction, Type};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::unreadable;
use crate::store::{OwnedSwap, SwapError};

/// The keyed write in the columns from `first` on: key, digest, created. `None` if there is no key.
pub(super) fn keyed_write(row: &Row, first: usize) -> Result<Option<KeyedWrite>, Failure> {
    let key: Option<&str> = row.try_get(first).map_err(unreadable)?;
    let Some(key) = key else {
        return Ok(None);
    };
    let key = IdempotencyKey::new(key).map_err(unreadable)?;
    let digest: &str = row.try_get(first + 1).map_err(unreadable)?;
    let digest = u128::from_str_radix(digest, 16).map_err(unreadable)?;
    let created = row.try_get(first + 2).map_err(unreadable)?;
    Ok(Some(KeyedWrite::new(key, digest, created)))
}

/// The write that removed a document, if it is still kept.
pub(super) fn removal(
    client: &mut Client,
    collection: &str,
    id: &Id,
    now: SystemTime,
) -> Result<Option<KeyedWrite>, Failure> {
    let cutoff = KeyedWrite::removal_cutoff(now).to_string();
    let row = client.query_typed_opt(
        "SELECT idempotency_key, request_digest, created FROM document \
         WHERE collection = $1 AND id = $2 AND removed AND removed_at > $3",
        &[
            (&collection, Type::TEXT),
            (&id.as_str(), Type::TEXT),
            (&cutoff, Type::TEXT),
        ],
    )?;
    row.map_or(Ok(None), |row| keyed_write(&row, 0))
}

/// Forgets the removals that are 24 hours old. Where collections have no versions, the rows stay, with
/// their ids and change dates.
pub(super) fn purge(
    transaction: &mut Transaction<'_>,
    collection: &str,
    has_collection_versions: bool,
    now: SystemTime,
) -> Result<(), Error> {
    let statement = if has_collection_versions {
        "DELETE FROM document WHERE collection = $1 AND removed AND removed_at <= $2"
    } else {
        "UPDATE document \
         SET idempotency_key = NULL, request_digest = NULL, created = NULL, removed_at = NULL \
         WHERE collection = $1 AND removed AND removed_at <= $2"
    };
    let cutoff = KeyedWrite::removal_cutoff(now).to_string();
    transaction.execute_typed(
        statement,
        &[(&collection, Type::TEXT), (&cutoff, Type::TEXT)],
    )?;
    Ok(())
}

/// The error of a swap that violated a unique index: [`SwapError::KeyTaken`] if another document has
/// its key.
///
/// If its own document has the key, another server has performed a swap of this document at the same
/// time: [`SwapError::Conflict`].
pub(super) fn error_of_duplicate(
    client: &mut Client,
    collection: &str,
    swap: &OwnedSwap,
) -> Result<SwapError, Failure> {
    let key = swap.keyed_write.as_ref().map(|write| write.key.as_str());
    let row = client.query_typed_opt(
        "SELECT id FROM document WHERE collection = $1 AND idempotency_key = $2",
        &[(&collection, Type::TEXT), (&key, Type::TEXT)],
    )?;
    let Some(row) = row else {
        return Err(Failure::Retry("the key is no longer in use".into()));
    };
    let id: &str = row.try_get(0).map_err(unreadable)?;
    Ok(if id == swap.id.as_str() {
        SwapError::Conflict
    } else {
        SwapError::KeyTaken
    })
}
