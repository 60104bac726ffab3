//! A batch: the swaps of one transaction.

use std::collections::BTreeMap;
use std::time::SystemTime;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::document::{Document, Id};
use crate::store::sqlite::{keys, rows};
use crate::store::{Outcome, OwnedSwap, StoreError, SwapError};
use crate::version::{Version, VersionClock};

/// Swaps that are committed together. Dropping the batch rolls all of them back.
///
/// A swap has two errors. The outer one is a failure of the database, after which nothing may be
/// committed. The inner one refuses this swap, which has changed no row; the other swaps are committed.
pub(super) struct Batch<'a> {
    transaction: Transaction<'a>,
    /// The clocks of the collections that have changed. The commit writes their latest versions.
    clocks: BTreeMap<String, VersionClock>,
}

impl<'a> Batch<'a> {
    /// Begins a transaction. Waits until other processes have ended theirs. From then on they wait for
    /// this one.
    pub(super) fn begin(writer: &'a mut Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            transaction: writer.transaction_with_behavior(TransactionBehavior::Immediate)?,
            clocks: BTreeMap::new(),
        })
    }

    /// Performs a swap on the result of the earlier swaps.
    ///
    /// It reads before it changes a row: so if a read fails, this swap fails alone.
    pub(super) fn swap(&mut self, swap: &OwnedSwap) -> rusqlite::Result<Outcome> {
        let transaction = &self.transaction;
        let mut clock = self.clock(&swap.collection)?;
        let latest = clock.latest();
        if swap.expected_collection.is_some_and(|it| it != latest) {
            return Ok(Err(SwapError::Conflict));
        }
        let Some(version) = clock.next(swap.now) else {
            return Ok(Err(StoreError::exhausted().into()));
        };
        // Checked before the change, because the change could not be rolled back alone.
        if keys::is_taken(transaction, swap)? {
            let current = rows::record(transaction, &swap.collection, &swap.id)?;
            // As the SQL of `compare_and_swap`, which compares only the change dates.
            let current = current.map(|it| it.version.undated());
            let is_expected = current == swap.expected.map(Version::undated);
            return Ok(Err(if is_expected {
                SwapError::KeyTaken
            } else {
                SwapError::Conflict
            }));
        }
        if !rows::compare_and_swap(transaction, swap, version)? {
            return Ok(Err(SwapError::Conflict));
        }
        keys::update_removals(transaction, swap, version)?;
        self.clocks.insert(swap.collection.clone(), clock);
        Ok(Ok(version))
    }

    /// Creates documents in a collection that has none, and commits.
    pub(super) fn fill(
        mut self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> rusqlite::Result<Result<(), SwapError>> {
        let transaction = &self.transaction;
        if rows::has_documents(transaction, collection)? {
            return Ok(Err(SwapError::Conflict));
        }
        let mut clock = self.clock(collection)?;
        for (id, document) in documents {
            let Some(version) = clock.next(now) else {
                return Ok(Err(StoreError::exhausted().into()));
            };
            rows::insert(transaction, collection, id, document, version, None)?;
        }
        keys::forget_removals(transaction, collection)?;
        self.clocks.insert(collection.to_owned(), clock);
        self.commit().map(Ok)
    }

    /// Writes the versions of the collections, and commits.
    pub(super) fn commit(self) -> rusqlite::Result<()> {
        for (collection, clock) in &self.clocks {
            rows::set_version(&self.transaction, collection, clock.latest())?;
        }
        self.transaction.commit()
    }

    fn clock(&self, collection: &str) -> rusqlite::Result<VersionClock> {
        if let Some(clock) = self.clocks.get(collection) {
            return Ok(clock.clone());
        }
        rows::version(&self.transaction, collection).map(VersionClock::after)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::idempotency::{IdempotencyKey, KeyedWrite};
    use crate::store::Swap;
    use crate::store::sqlite::tables;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        tables::prepare(&transaction).unwrap();
        transaction.commit().unwrap();
        connection
    }

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    /// The version of the change of this number.
    fn version(number: u64) -> Version {
        Version::from(NOW + Duration::from_micros(number))
    }

    /// Every document: collection, id, content and the last digit of the change date.
    fn documents(connection: &Connection) -> String {
        let columns = "collection || '/' || id || ' ' || content || ' ' || substr(change_date, -1)";
        let sql =
            format!("SELECT group_concat({columns}, ', ' ORDER BY collection, id) FROM document");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// Performs swaps in one batch, each of which has this outcome.
    fn perform(connection: &mut Connection, swaps: &[(Swap<'_>, Outcome)]) {
        let mut batch = Batch::begin(connection).unwrap();
        for (swap, outcome) in swaps {
            let performed = batch.swap(&OwnedSwap::new(swap, NOW)).unwrap();
            assert_eq!(&performed, outcome, "{swap:?}");
        }
        batch.commit().unwrap();
    }

    #[test]
    fn each_swap_is_compared_with_the_result_of_the_earlier_ones() {
        let (one, two) = (id("1"), id("2"));
        let [a, b] = ["{\"a\":1}", "{\"b\":2}"].map(|it| Document::from_stored(it).unwrap());
        let create = Swap::create("notes", &one, &a);
        let conflict = Err(SwapError::Conflict);
        let mut connection = database();
        let swaps = [
            (create, Ok(version(1))),
            (create, conflict.clone()),
            (
                Swap::replace("notes", &two, version(1), &b),
                conflict.clone(),
            ),
            // A conflict does not change the version of the collection.
            (
                Swap::create("notes", &two, &a).while_collection_at(version(1)),
                Ok(version(2)),
            ),
            (
                Swap::remove("notes", &two, version(2)).while_collection_at(version(1)),
                conflict.clone(),
            ),
            (Swap::remove("notes", &one, version(1)), Ok(version(3))),
            (Swap::remove("notes", &one, version(1)), conflict.clone()),
            (Swap::create("notes", &one, &b), Ok(version(4))),
            // Each collection has a clock of its own.
            (Swap::create("tasks", &one, &a), Ok(version(1))),
            (Swap::replace("notes", &one, version(4), &a), Ok(version(5))),
            (Swap::replace("notes", &one, version(4), &b), conflict),
        ];
        perform(&mut connection, &swaps);
        let found = "notes/1 {\"a\":1} 5, notes/2 {\"a\":1} 2, tasks/1 {\"a\":1} 1";
        assert_eq!(documents(&connection), found);
        assert_eq!(rows::version(&connection, "notes"), Ok(version(5)));
        assert_eq!(rows::version(&connection, "tasks"), Ok(version(1)));
    }

    /// A swap that is refused for its key changes nothing.
    #[test]
    fn a_taken_key_changes_no_row() {
        const TAKEN: Outcome = Err(SwapError::KeyTaken);
        let [one, two, three] = ["1", "2", "3"].map(id);
        let [a, b] = ["{}", "{\"b\":2}"].map(|it| Document::from_stored(it).unwrap());
        let [k, l] = ["k", "l"].map(|it| IdempotencyKey::new(it).unwrap());
        let [k, l] = [k, l].map(|key| KeyedWrite::new(key, 7, true));
        let create = |id, key| Swap::create("notes", id, &a).with_keyed_write(key);
        let replace = |at| Swap::replace("notes", &two, version(at), &b).with_keyed_write(&k);
        let remove = |key| Swap::remove("notes", &two, version(2)).with_keyed_write(key);
        let elsewhere = Swap::create("tasks", &two, &a).with_keyed_write(&k);
        let without = Swap::replace("notes", &one, version(1), &b);
        let mut connection = database();
        let swaps = [
            (create(&one, &k), Ok(version(1))),
            (create(&two, &k), TAKEN),
            (create(&two, &l), Ok(version(2))),
            (replace(2), TAKEN),
            (replace(1), Err(SwapError::Conflict)),
            (remove(&k), TAKEN),
            (remove(&l), Ok(version(3))),
            (create(&two, &k), TAKEN),
            (create(&three, &l), TAKEN),
            (elsewhere, Ok(version(1))),
            // A write without a key removes the key of the document.
            (without, Ok(version(4))),
            (create(&three, &k), Ok(version(5))),
        ];
        perform(&mut connection, &swaps);
        let found = "notes/1 {\"b\":2} 4, notes/3 {} 5, tasks/2 {} 1";
        assert_eq!(documents(&connection), found);
        let removal = keys::removal(&connection, "notes", &two, NOW).unwrap();
        assert_eq!(removal.map(|it| it.key), Some(l.key));
    }
}
