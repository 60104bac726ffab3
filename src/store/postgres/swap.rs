//! Compare-and-swaps as transactions.

use std::collections::HashSet;

use crate::document::{Document, Id};
use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::collection_row::{lock_collection, set_collection_version};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::keys::{error_of_duplicate, purge};
use crate::store::postgres::row::version;
use crate::store::postgres::row_changes::{DELETE, INSERT, RowChange, RowChanges, UPDATE};
use crate::store::postgres::transaction::{begin, commit};
use crate::store::{Outcome, OwnedSwap, StoreError, SwapError};
use crate::version::{Version, VersionClock};

/// The most bytes of the ids and documents of one transaction, so that no statement takes long.
const MAX_BYTES: usize = 256 * 1024;

/// Whether one transaction can perform this swap together with those of the batch. No swap of a batch
/// depends on the outcome of another one.
pub(super) fn fits(batch: &[OwnedSwap], next: &OwnedSwap) -> bool {
    let expects = |it: &OwnedSwap| it.expected_collection.is_some();
    let is_independent = |it: &OwnedSwap| it.id != next.id && !expects(it) && !expects(next);
    next.fits(batch, MAX_BYTES) && batch.iter().all(is_independent)
}

/// Performs swaps of one collection in one transaction. No two swaps are of one document; and where
/// collections have no versions, there is only one swap. A swap that conflicts changes nothing, and
/// the others are performed.
///
/// Returns `None` if there are several swaps, and the database has refused a statement or the commit
/// because of one of them. Then no swap is performed, and the caller performs each alone. For one swap,
/// it never returns `None`.
pub(super) fn perform(
    client: &mut Client,
    collection: &str,
    swaps: &[OwnedSwap],
    has_collection_versions: bool,
) -> Result<Option<Vec<Outcome>>, Failure> {
    match (
        try_perform(client, collection, swaps, has_collection_versions),
        swaps,
    ) {
        (Ok(outcomes), _) => Ok(Some(outcomes)),
        (Err(Failure::Duplicate(_)), [swap]) => {
            let error = error_of_duplicate(client, collection, swap)?;
            Ok(Some(vec![Err(error)]))
        }
        (Err(Failure::Refused(_) | Failure::Duplicate(_)), [_, _, ..]) => Ok(None),
        (Err(failure), _) => Err(failure),
    }
}

/// After an error, or if no swap is performed, the transaction is rolled back.
fn try_perform(
    client: &mut Client,
    collection: &str,
    swaps: &[OwnedSwap],
    has_collection_versions: bool,
) -> Result<Vec<Outcome>, Failure> {
    let mut transaction = begin(client)?;
    let locked = lock(&mut transaction, collection, swaps, has_collection_versions)?;
    if let Some(swap) = swaps.iter().find(|it| it.keyed_write.is_some()) {
        purge(
            &mut transaction,
            collection,
            has_collection_versions,
            swap.now,
        )?;
    }
    let latest = locked.latest();
    let mut clock = VersionClock::after(latest);
    let mut rows = ChangesByStatement::default();
    let add = |swap: &OwnedSwap| {
        let expected = swap.expected_collection;
        if expected.is_some_and(|it| !has_collection_versions || it != latest) {
            return Err(SwapError::Conflict);
        }
        let version = clock.next(swap.now).ok_or_else(StoreError::exhausted)?;
        rows.push(swap, version, has_collection_versions);
        Ok(version)
    };
    let mut outcomes: Vec<Outcome> = swaps.iter().map(add).collect();
    let written = rows.write(&mut transaction, collection)?;
    for (swap, outcome) in swaps.iter().zip(&mut outcomes) {
        if outcome.is_ok() && !written.contains(swap.id.as_str()) {
            *outcome = Err(SwapError::Conflict);
        }
    }
    // The versions increase in the order of the swaps.
    let Some(last) = outcomes.iter().rev().find_map(|it| it.as_ref().ok()) else {
        return Ok(outcomes);
    };
    if matches!(locked, Locked::Collection(_)) {
        set_collection_version(&mut transaction, collection, *last)?;
    }
    commit(transaction)?;
    Ok(outcomes)
}

/// The changes of rows that swaps make, by the statement that writes them.
#[derive(Default)]
struct ChangesByStatement {
    created: RowChanges,
    replaced: RowChanges,
    deleted: RowChanges,
}

impl ChangesByStatement {
    /// Adds the change that `swap` makes. A removed document keeps its row, with its id and its change
    /// date, if collections have no versions or the swap has a key.
    fn push(&mut self, swap: &OwnedSwap, version: Version, has_collection_versions: bool) {
        let keyed_write = swap.keyed_write.as_ref();
        let content = swap.document.as_ref().map(Document::as_str);
        let changes = match (swap.expected, content) {
            (None, _) => &mut self.created,
            (Some(_), None) if has_collection_versions && keyed_write.is_none() => {
                &mut self.deleted
            }
            (Some(_), _) => &mut self.replaced,
        };
        changes.push(&RowChange {
            id: swap.id.as_str(),
            content,
            version,
            expected: swap.expected,
            keyed_write,
        });
    }

    /// Writes the rows whose documents have the expected versions. Returns their ids.
    fn write(
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

/// The row that a transaction has locked until its end.
enum Locked {
    /// The row of the document, where collections have no versions, with its latest version.
    Document(Version),
    /// The row of the collection, with its version.
    Collection(Version),
    /// The row of the collection, whose version is already that of the only swap.
    CollectionAlreadySet,
}

impl Locked {
    /// The version that the next one must be later than.
    fn latest(&self) -> Version {
        match self {
            Self::Document(latest) | Self::Collection(latest) => *latest,
            Self::CollectionAlreadySet => Version::FIRST,
        }
    }
}

/// Locks the row of the collection, or where collections have no versions, the row of the only
/// document. No other server writes to it until the end of the transaction.
///
/// The version of a swap is mostly the time of its request. So if there is one swap, this sets that
/// time as the version of the collection, unless the collection has a later one. The statement also
/// locks the row, which saves a round trip.
fn lock(
    transaction: &mut Transaction<'_>,
    collection: &str,
    swaps: &[OwnedSwap],
    has_collection_versions: bool,
) -> Result<Locked, Failure> {
    if let [swap] = swaps {
        if !has_collection_versions {
            let latest = lock_document(transaction, collection, &swap.id)?;
            return Ok(Locked::Document(latest));
        }
        let next = VersionClock::after(Version::FIRST).next(swap.now);
        if let (Some(version), None) = (next, swap.expected_collection) {
            if set_collection_version(transaction, collection, version)? {
                return Ok(Locked::CollectionAlreadySet);
            }
        }
    }
    lock_collection(transaction, collection).map(Locked::Collection)
}

/// Locks the row of this document, removed or not, until the end of the transaction. Returns its
/// latest version: [`Version::FIRST`] if there is no row.
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
