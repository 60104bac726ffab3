use std::time::SystemTime;

use postgres::error::SqlState;
use postgres::types::Type;
use postgres::{Client, IsolationLevel, Transaction};

use crate::document::Document;
use crate::store::postgres::connections::Failure;
use crate::store::postgres::keys::{columns, purge, refused};
use crate::store::postgres::row::{collection_version, unreadable, version};
use crate::store::{StoreError, Swap, SwapError};
use crate::version::{Version, VersionClock};

/// Performs `swap` in one transaction. Whatever ends it before the commit, it is rolled back.
pub(super) fn swap(
    client: &mut Client,
    swap: &Swap<'_>,
    tagged: bool,
    now: SystemTime,
) -> Result<Result<Version, SwapError>, Failure> {
    match try_swap(client, swap, tagged, now) {
        Ok(Err(SwapError::KeyTaken)) => refused(client, swap),
        result => result,
    }
}

fn try_swap(
    client: &mut Client,
    swap: &Swap<'_>,
    tagged: bool,
    now: SystemTime,
) -> Result<Result<Version, SwapError>, Failure> {
    let mut transaction = begin(client)?;
    // From here on no other server writes to the collection, or to this document.
    let latest = if tagged {
        lock_collection(&mut transaction, swap.collection())?
    } else {
        lock_document(&mut transaction, swap)?
    };
    let stands_still = |expected| tagged && expected == latest;
    if !swap.expected_collection().is_none_or(stands_still) {
        return Ok(Err(SwapError::Conflict));
    }
    let Some(version) = VersionClock::after(latest).next(now) else {
        return Ok(Err(StoreError::exhausted().into()));
    };
    if swap.keyed_write().is_some() {
        purge(&mut transaction, swap.collection(), tagged, now)?;
    }
    let changed = match (swap.new_document(), swap.expected()) {
        (Some(document), Some(old)) => replace(&mut transaction, swap, document, old, version),
        (Some(document), None) => {
            // Other servers may create it, too, unless the collection is locked.
            let removed = (!tagged).then_some(latest);
            create(&mut transaction, swap, document, removed, version)
        }
        (None, Some(old)) => remove(&mut transaction, swap, old, tagged, version),
        (None, None) => Ok(false),
    };
    match changed {
        Ok(true) => {}
        Ok(false) => return Ok(Err(SwapError::Conflict)),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {
            return Ok(Err(SwapError::KeyTaken));
        }
        Err(error) => return Err(error.into()),
    }
    if tagged {
        set_collection(&mut transaction, swap.collection(), version)?;
    }
    commit(transaction)?;
    Ok(Ok(version))
}

/// Begins a transaction that writes.
pub(super) fn begin(client: &mut Client) -> Result<Transaction<'_>, postgres::Error> {
    let transaction = client.build_transaction();
    let level = IsolationLevel::ReadCommitted;
    transaction.isolation_level(level).start()
}

pub(super) fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    transaction.commit().map_err(|error| match error.into() {
        Failure::Lost(reason) => {
            Failure::Unconfirmed(format!("{reason}, while a write was being confirmed"))
        }
        failure => failure,
    })
}

/// The version of the collection, which stays that until the end of the transaction.
///
/// Before its first write a collection has no row that could be locked. Of several transactions
/// that insert it, all but one wait for that one, and find its row.
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

/// The latest version of this document, removed or not, which stays that until the end of the
/// transaction; the first of all where there never was a document.
fn lock_document(transaction: &mut Transaction<'_>, swap: &Swap<'_>) -> Result<Version, Failure> {
    let row = transaction.query_typed_opt(
        "SELECT change_date, dated FROM document WHERE collection = $1 AND id = $2 FOR UPDATE",
        &[
            (&swap.collection(), Type::TEXT),
            (&swap.id().as_str(), Type::TEXT),
        ],
    )?;
    row.map_or(Ok(Version::FIRST), |row| version(&row, 0))
}

/// Keeps the name of the member that holds the ids of a collection, unless another one was kept
/// before. Returns the one that is kept.
pub(super) fn keep_id_member(
    client: &mut Client,
    collection: &str,
    given: Option<&str>,
) -> Result<Option<String>, Failure> {
    if let Some(given) = given {
        let first = Version::FIRST.to_string();
        client.execute_typed(
            "INSERT INTO collection VALUES ($1, $2, true, $3) ON CONFLICT (name) DO UPDATE \
             SET id_member = $3 WHERE collection.id_member IS NULL",
            &[
                (&collection, Type::TEXT),
                (&first, Type::TEXT),
                (&given, Type::TEXT),
            ],
        )?;
    }
    let row = client.query_typed_opt(
        "SELECT id_member FROM collection WHERE name = $1",
        &[(&collection, Type::TEXT)],
    )?;
    let id_member = row.map(|row| row.try_get(0)).transpose();
    Ok(id_member.map_err(unreadable)?.flatten())
}

/// Sets the version of the collection, whose row is locked.
pub(super) fn set_collection(
    transaction: &mut Transaction<'_>,
    collection: &str,
    version: Version,
) -> Result<(), postgres::Error> {
    transaction.execute_typed(
        "UPDATE collection SET change_date = $2, dated = $3 WHERE name = $1",
        &[
            (&collection, Type::TEXT),
            (&version.to_string(), Type::TEXT),
            (&version.is_dated(), Type::BOOL),
        ],
    )?;
    Ok(())
}

/// Creates a document if there is none of this id; whether there was none.
///
/// One that was removed can be created if it has this version, where one is given.
fn create(
    transaction: &mut Transaction<'_>,
    swap: &Swap<'_>,
    document: &Document,
    removed: Option<Version>,
    version: Version,
) -> Result<bool, postgres::Error> {
    let (key, digest, created) = columns(swap.keyed_write());
    let removed = removed.map(|version| version.to_string());
    let changed = transaction.execute_typed(
        "INSERT INTO document VALUES ($1, $2, $3, $4, $5, false, $6, $7, $8) \
         ON CONFLICT (collection, id) DO UPDATE \
         SET content = $3, change_date = $4, dated = $5, removed = false, \
             idempotency_key = $6, request_digest = $7, created = $8, removed_at = NULL \
         WHERE document.removed AND document.change_date = coalesce($9, document.change_date)",
        &[
            (&swap.collection(), Type::TEXT),
            (&swap.id().as_str(), Type::TEXT),
            (&document.as_str(), Type::TEXT),
            (&version.to_string(), Type::TEXT),
            (&version.is_dated(), Type::BOOL),
            (&key, Type::TEXT),
            (&digest, Type::TEXT),
            (&created, Type::BOOL),
            (&removed, Type::TEXT),
        ],
    )?;
    Ok(changed == 1)
}

/// Puts a document in the place of what is expected, if that is there; whether it was.
fn replace(
    transaction: &mut Transaction<'_>,
    swap: &Swap<'_>,
    document: &Document,
    old: Version,
    version: Version,
) -> Result<bool, postgres::Error> {
    let (key, digest, created) = columns(swap.keyed_write());
    let changed = transaction.execute_typed(
        "UPDATE document SET content = $3, change_date = $4, dated = $5, \
             idempotency_key = $6, request_digest = $7, created = $8 \
         WHERE collection = $1 AND id = $2 AND change_date = $9 AND NOT removed",
        &[
            (&swap.collection(), Type::TEXT),
            (&swap.id().as_str(), Type::TEXT),
            (&document.as_str(), Type::TEXT),
            (&version.to_string(), Type::TEXT),
            (&version.is_dated(), Type::BOOL),
            (&key, Type::TEXT),
            (&digest, Type::TEXT),
            (&created, Type::BOOL),
            (&old.to_string(), Type::TEXT),
        ],
    )?;
    Ok(changed == 1)
}

/// Removes a document if it is the one that is expected; whether it was.
///
/// The id and the last change date stay where the collection has no version, and where the swap has
/// a key.
fn remove(
    transaction: &mut Transaction<'_>,
    swap: &Swap<'_>,
    old: Version,
    tagged: bool,
    version: Version,
) -> Result<bool, postgres::Error> {
    let (collection, id, old) = (swap.collection(), swap.id().as_str(), old.to_string());
    let changed = if tagged && swap.keyed_write().is_none() {
        transaction.execute_typed(
            "DELETE FROM document \
             WHERE collection = $1 AND id = $2 AND change_date = $3 AND NOT removed",
            &[
                (&collection, Type::TEXT),
                (&id, Type::TEXT),
                (&old, Type::TEXT),
            ],
        )?
    } else {
        let (key, digest, created) = columns(swap.keyed_write());
        transaction.execute_typed(
            "UPDATE document SET content = '{}', change_date = $4, dated = $5, removed = true, \
                 idempotency_key = $6, request_digest = $7, created = $8, \
                 removed_at = CASE WHEN $6 IS NOT NULL THEN $4 END \
             WHERE collection = $1 AND id = $2 AND change_date = $3 AND NOT removed",
            &[
                (&collection, Type::TEXT),
                (&id, Type::TEXT),
                (&old, Type::TEXT),
                (&version.to_string(), Type::TEXT),
                (&version.is_dated(), Type::BOOL),
                (&key, Type::TEXT),
                (&digest, Type::TEXT),
                (&created, Type::BOOL),
            ],
        )?
    };
    Ok(changed == 1)
}
