//! The statements for idempotency keys.

use std::time::SystemTime;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use crate::document::Id;
use crate::idempotency::{IdempotencyKey, KeyedWrite};
use crate::store::sqlite::row::unreadable;
use crate::store::{OwnedSwap, key_columns};
use crate::version::Version;

/// Updates the table `removal` after a swap: deletes the row of a document that the swap has created.
/// If the swap has a key, deletes the expired rows, too, and inserts the row of a removal. The key of
/// any other swap is in the row of its document. The key must not be [taken](is_taken).
pub(super) fn update_removals(
    transaction: &Transaction<'_>,
    swap: &OwnedSwap,
    version: Version,
) -> rusqlite::Result<()> {
    if swap.expected.is_none() {
        delete_removal(transaction, swap)?;
    }
    let Some(write) = &swap.keyed_write else {
        return Ok(());
    };
    purge(transaction, &swap.collection, swap.now)?;
    if swap.document.is_none() {
        insert_removal(transaction, swap, write, version)?;
    }
    Ok(())
}

/// Whether the key of a swap is kept for a document of another id, removed or not.
pub(super) fn is_taken(transaction: &Transaction<'_>, swap: &OwnedSwap) -> rusqlite::Result<bool> {
    let Some(write) = &swap.keyed_write else {
        return Ok(false);
    };
    let cutoff = KeyedWrite::removal_cutoff(swap.now).to_string();
    transaction
        .prepare_cached(
            "SELECT 1 FROM document \
             WHERE collection = ?1 AND idempotency_key = ?2 AND id <> ?3 \
             UNION ALL SELECT 1 FROM removal \
             WHERE collection = ?1 AND idempotency_key = ?2 AND id <> ?3 AND change_date > ?4",
        )?
        .exists([
            &swap.collection,
            write.key.as_str(),
            swap.id.as_str(),
            &cutoff,
        ])
}

fn insert_removal(
    transaction: &Transaction<'_>,
    swap: &OwnedSwap,
    write: &KeyedWrite,
    version: Version,
) -> rusqlite::Result<()> {
    let (key, digest, _) = key_columns(Some(write));
    transaction
        .prepare_cached("INSERT OR REPLACE INTO removal VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            swap.collection,
            swap.id.as_str(),
            key,
            digest,
            version.to_string(),
        ])?;
    Ok(())
}

fn delete_removal(transaction: &Transaction<'_>, swap: &OwnedSwap) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM removal WHERE collection = ?1 AND id = ?2")?
        .execute([&swap.collection, swap.id.as_str()])?;
    Ok(())
}

/// Forgets the removals of documents that exist again.
pub(super) fn forget_removals(
    transaction: &Transaction<'_>,
    collection: &str,
) -> rusqlite::Result<()> {
    transaction.execute(
        "DELETE FROM removal WHERE collection = ?1 \
         AND id IN (SELECT id FROM document WHERE collection = ?1)",
        [collection],
    )?;
    Ok(())
}

/// Forgets the removals that are 24 hours old.
fn purge(transaction: &Transaction<'_>, collection: &str, now: SystemTime) -> rusqlite::Result<()> {
    let cutoff = KeyedWrite::removal_cutoff(now).to_string();
    transaction
        .prepare_cached("DELETE FROM removal WHERE collection = ?1 AND change_date <= ?2")?
        .execute([collection, &cutoff])?;
    Ok(())
}

/// The write that removed a document, if it is still kept.
pub(super) fn removal(
    connection: &Connection,
    collection: &str,
    id: &Id,
    now: SystemTime,
) -> rusqlite::Result<Option<KeyedWrite>> {
    let cutoff = KeyedWrite::removal_cutoff(now).to_string();
    let removal = connection
        .prepare_cached(
            "SELECT idempotency_key, request_digest, 0 AS created FROM removal \
             WHERE collection = ?1 AND id = ?2 AND change_date > ?3",
        )?
        .query_row([collection, id.as_str(), &cutoff], keyed_write_of)
        .optional()?;
    Ok(removal.flatten())
}

/// The write that made a row, if it had a key.
pub(super) fn keyed_write_of(row: &Row<'_>) -> rusqlite::Result<Option<KeyedWrite>> {
    let Some(key) = row.get::<_, Option<String>>("idempotency_key")? else {
        return Ok(None);
    };
    let key = IdempotencyKey::new(key).map_err(unreadable)?;
    let digest: String = row.get("request_digest")?;
    let digest = u128::from_str_radix(&digest, 16).map_err(unreadable)?;
    Ok(Some(KeyedWrite::new(key, digest, row.get("created")?)))
}
