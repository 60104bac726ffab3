//! A store as the author of another program may write it: it implements only the required methods.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Mutex;
use std::time::SystemTime;

use ifmatch::{
    Id, List, Portion, Record, Store, StoreError, Swap, SwapError, Version, VersionClock,
};

use super::InProcess;

crate::conformance::suite!(
    Some(InProcess::new(Foreign::default())),
    documents collection_version clock
);

/// Documents in memory, by collection.
#[derive(Default)]
pub struct Foreign(pub Mutex<BTreeMap<String, Contents>>);

pub struct Contents {
    pub records: BTreeMap<Id, Record>,
    pub clock: VersionClock,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            records: BTreeMap::new(),
            clock: VersionClock::after(Version::FIRST),
        }
    }
}

impl Foreign {
    /// Calls `access` with a collection, under the lock.
    pub fn with<T>(&self, collection: &str, access: impl FnOnce(&mut Contents) -> T) -> T {
        let mut collections = self.0.lock().unwrap();
        access(collections.entry(collection.to_owned()).or_default())
    }
}

impl Store for Foreign {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        Ok(self.with(collection, |it| it.records.get(id).cloned()))
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        Ok(self.with(collection, |it| Some(it.clock.latest())))
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        Ok(self.with(collection, |it| {
            let start = portion.after.map_or(Bound::Unbounded, Bound::Excluded);
            let range = it.records.range::<str, _>((start, Bound::Unbounded));
            portioned(it.clock.latest(), range.map(|(_, record)| record), portion)
        }))
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.with(swap.collection(), |it| {
            let current = it.records.get(swap.id()).map(|record| record.version);
            let latest = it.clock.latest();
            if current != swap.expected()
                || swap.expected_collection().is_some_and(|it| it != latest)
            {
                return Err(SwapError::Conflict);
            }
            let end = || StoreError::new("the calendar is at its end");
            let version = it.clock.next(now).ok_or_else(end)?;
            let id = swap.id().clone();
            match swap.new_document().cloned() {
                Some(document) => it
                    .records
                    .insert(id.clone(), Record::new(id, document, version)),
                None => it.records.remove(&id),
            };
            Ok(version)
        })
    }
}

/// The first of these records, as many as the portion takes.
pub fn portioned<'a>(
    version: Version,
    mut records: impl Iterator<Item = &'a Record> + Clone,
    portion: Portion<'_>,
) -> List {
    let fitting = portion.fitting(records.clone().map(Record::size));
    let first = records.by_ref().take(fitting).cloned().collect();
    List::new(Some(version), first, records.next().is_some())
}
