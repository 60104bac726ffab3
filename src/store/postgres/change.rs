//! Compare-and-swaps as transactions.

use std::collections::HashSet;

use crate::document::{Document, Id};
use crate::store::postgres::batch::{Batch, DELETE, INSERT, NewRow, UPDATE};
use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::keys::{purge, refused};
use crate::store::postgres::row::{collection_version, unreadable, version};
use crate::store::{Outcome, OwnedSwap, StoreError, SwapError};
use crate::version::{Version, VersionClock};

/// The most bytes of the ids and documents of one transaction, so that no statement takes long.
const MAX_BYTES: usize = 256 * 1024;

/// Whether one transaction can perform this swap, too. No swap of it depends on the outcome of
/// another one.
pub(super) fn fits(batch: &[OwnedSwap], next: &OwnedSwap) -> bool {
    let expects = |it: &OwnedSwap| it.expected_collection.is_some();
    let is_independent = |it: &OwnedSwap| it.id != next.id && !expects(it) && !expects(next);
    next.fits(batch, MAX_BYTES) && batch.iter().all(is_independent)
}

/// Performs swaps of one collection in one transaction. No two of them are of one document; and
/// where the collection has no version, there is only one. A swap that conflicts changes nothing,
/// and the others are performed.
///
/// Returns `None` if there are several swaps, and the database has refused a statement or the commit
/// because of one of them. Then none is performed, and the caller performs each alone. It never
/// returns `None` for one swap.
pub(super) fn perform(
    client: &mut Client,
    collection: &str,
    changes: &[OwnedSwap],
    tagged: bool,
) -> Result<Option<Vec<Outcome>>, Failure> {
    match (try_perform(client, collection, changes, tagged), changes) {
        (Ok(outcomes), _) => Ok(Some(outcomes)),
        (Err(Failure::Duplicate(_)), [change]) => {
            let error = refused(client, collection, change)?;
            Ok(Some(vec![Err(error)]))
        }
        (Err(Failure::Refused(_) | Failure::Duplicate(_)), [_, _, ..]) => Ok(None),
        (Err(failure), _) => Err(failure),
    }
}

/// Whatever ends the transaction before the commit, it is rolled back.
fn try_perform(
    client: &mut Client,
    collection: &str,
    changes: &[OwnedSwap],
    tagged: bool,
) -> Result<Vec<Outcome>, Failure> {
    let mut transaction = begin(client)?;
    let (latest, is_set) = lock(&mut transaction, collection, changes, tagged)?;
    if let Some(change) = changes.iter().find(|it| it.keyed_write.is_some()) {
        purge(&mut transaction, collection, tagged, change.now)?;
    }
    let mut clock = VersionClock::after(latest);
    let mut writes = Writes::default();
    let judge = |change: &OwnedSwap| {
        let expected = change.expected_collection;
        if expected.is_some_and(|it| !tagged || it != latest) {
            return Err(SwapError::Conflict);
        }
        let version = clock.next(change.now).ok_or_else(StoreError::exhausted)?;
        writes.push(change, version, tagged);
        Ok(version)
    };
    let mut outcomes: Vec<Outcome> = changes.iter().map(judge).collect();
    let written = writes.perform(&mut transaction, collection)?;
    for (change, outcome) in changes.iter().zip(&mut outcomes) {
        if outcome.is_ok() && !written.contains(change.id.as_str()) {
            *outcome = Err(SwapError::Conflict);
        }
    }
    // The versions increase in the order of the swaps.
    let Some(last) = outcomes.iter().rev().find_map(|it| it.as_ref().ok()) else {
        return Ok(outcomes);
    };
    if !is_set {
        set_collection(&mut transaction, collection, *last)?;
    }
    commit(transaction)?;
    Ok(outcomes)
}

/// The rows that swaps make, by the statement that writes them.
#[derive(Default)]
struct Writes {
    created: Batch,
    replaced: Batch,
    deleted: Batch,
}

impl Writes {
    /// Adds the row that `change` makes. The id and the last change date of a document that is
    /// removed stay where the collection has no version, and where the swap has a key.
    fn push(&mut self, change: &OwnedSwap, version: Version, tagged: bool) {
        let keyed_write = change.keyed_write.as_ref();
        let content = change.document.as_ref().map(Document::as_str);
        let batch = match (change.expected, content) {
            (None, _) => &mut self.created,
            (Some(_), None) if tagged && keyed_write.is_none() => &mut self.deleted,
            (Some(_), _) => &mut self.replaced,
        };
        batch.push(&NewRow {
            id: change.id.as_str(),
            content,
            version,
            expected: change.expected,
            keyed_write,
        });
    }

    /// Writes all rows that find what they expect, and returns the ids of those.
    fn perform(
        &mut self,
        transaction: &mut Transaction<'_>,
        collection: &str,
    ) -> Result<HashSet<String>, Error> {
        let mut written = HashSet::new();
        written.extend(self.created.write(transaction, collection, &INSERT)?);
        written.extend(self.replaced.write(transaction, collection, &UPDATE)?);
        written.extend(self.deleted.write(transaction, collection, &DELETE)?);
        Ok(written)
    }
}

/// Begins a transaction that writes.
pub(super) fn begin(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client.transaction("READ COMMITTED")
}

pub(super) fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    transaction.commit().map_err(|error| match error.into() {
        Failure::Lost(reason) | Failure::NoAnswer(reason) => {
            Failure::Unconfirmed(format!("{reason}, while a write was being confirmed"))
        }
        failure => failure,
    })
}

/// Locks the row of the collection, or where it has no version, the row of the one document: until
/// the end of the transaction no other server writes to it. Returns a version that the next one has
/// to be later than, and whether there is no version of the collection to be set.
///
/// The version of one swap is the time it came at, as a rule. So that is set as the version of the
/// collection, unless the collection has a later one; this locks its row and saves a round trip.
fn lock(
    transaction: &mut Transaction<'_>,
    collection: &str,
    changes: &[OwnedSwap],
    tagged: bool,
) -> Result<(Version, bool), Failure> {
    if let [change] = changes {
        if !tagged {
            return Ok((lock_document(transaction, collection, &change.id)?, true));
        }
        let next = VersionClock::after(Version::FIRST).next(change.now);
        if let (Some(version), None) = (next, change.expected_collection) {
            if set_collection(transaction, collection, version)? {
                return Ok((Version::FIRST, true));
            }
        }
    }
    Ok((lock_collection(transaction, collection)?, false))
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
fn lock_document(
    transaction: &mut Transaction<'_>,
    collection: &str,
    id: &Id,
) -> Result<Version, Failure> {
    let row = transaction.query_typed_opt(
        "SELECT change_date, dated FROM document WHERE collection = $1 AND id = $2 FOR UPDATE",
        &[(&collection, Type::TEXT), (&id.as_str(), Type::TEXT)],
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

/// Sets the version of the collection, if it is earlier; whether it was. Its row is locked then.
pub(super) fn set_collection(
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::store::Swap;

    fn create(id: &str, bytes: usize, expected_collection: Option<Version>) -> OwnedSwap {
        let id = Id::new(id).unwrap();
        let document = Document::from_stored(format!("{{{}}}", " ".repeat(bytes - 2))).unwrap();
        let mut swap = Swap::create("notes", &id, &document);
        if let Some(version) = expected_collection {
            swap = swap.while_collection_at(version);
        }
        OwnedSwap::new(&swap, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn a_batch_has_independent_swaps() {
        let (one, two) = (create("1", 2, None), create("2", 2, None));
        let expecting = |id| create(id, 2, Some(Version::FIRST));
        let three = [
            create("1", 2, None),
            create("2", 2, None),
            create("3", 2, None),
        ];
        assert!(fits(&[one], &two));
        assert!(fits(&three, &create("4", 2, None)));
        for id in ["1", "2", "3"] {
            assert!(!fits(&three, &create(id, 2, None)), "{id}");
        }
        assert!(!fits(&three, &expecting("4")));
        assert!(!fits(&[expecting("1")], &two));
    }

    #[test]
    fn a_batch_is_bounded_by_count_and_bytes() {
        let ids: Vec<String> = (0..64).map(|id| format!("{id:03}")).collect();
        let mut batch: Vec<_> = ids.iter().map(|id| create(id, 2, None)).collect();
        let next = create("next", 2, None);
        assert!(!fits(&batch, &next));
        batch.pop();
        assert!(fits(&batch, &next));
        let long = |bytes| create("long", bytes, None);
        let left = MAX_BYTES - "next".len() - 2 - "long".len();
        assert!(fits(&[long(left)], &next));
        assert!(!fits(&[long(left + 1)], &next));
    }
}
