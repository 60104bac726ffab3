//! The conformance test fails for stores that handle keys wrongly.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use ifmatch::{
    Id, KeyedWrite, List, MemoryStore, Portion, Record, Store, StoreError, Swap, SwapError, Version,
};

use super::InProcess;
use crate::conformance::{self, Place};

/// The memory store, with some methods replaced.
struct Broken {
    store: MemoryStore,
    get: fn(&MemoryStore, &str, &Id) -> Result<Option<Record>, StoreError>,
    swap: fn(&MemoryStore, &Swap<'_>, SystemTime) -> Result<Version, SwapError>,
    removal: Removal,
}

type Removal = fn(&MemoryStore, &str, &Id, SystemTime) -> Result<Option<KeyedWrite>, StoreError>;

fn sound() -> Broken {
    Broken {
        store: MemoryStore::new(),
        get: MemoryStore::get,
        swap: MemoryStore::swap,
        removal: MemoryStore::removal,
    }
}

impl Store for Broken {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        (self.get)(&self.store, collection, id)
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        self.store.collection_version(collection)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        self.store.list(collection, portion)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (self.swap)(&self.store, swap, now)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        (self.removal)(&self.store, collection, id, now)
    }
}

/// The defect of a store, the store, and the rule that it must fail.
type Row = (&'static str, Broken, fn(&dyn Place));

/// The same swap without its key.
fn without_key<'a>(swap: &Swap<'a>) -> Swap<'a> {
    let (collection, id) = (swap.collection(), swap.id());
    match (swap.expected(), swap.new_document()) {
        (None, Some(document)) => Swap::create(collection, id, document),
        (Some(version), Some(document)) => Swap::replace(collection, id, version, document),
        (version, None) => Swap::remove(collection, id, version.unwrap_or(Version::FIRST)),
    }
}

#[test]
fn each_broken_store_fails_the_rule_that_it_breaks() {
    let rows: [Row; 8] = [
        (
            "keys are ignored",
            Broken {
                swap: |store, swap, now| store.swap(&without_key(swap), now),
                ..sound()
            },
            conformance::a_swap_keeps_its_key_with_what_it_makes,
        ),
        (
            "a swap without a key leaves the key of the last one",
            Broken {
                swap: |store, swap, now| {
                    let record = store.get(swap.collection(), swap.id())?;
                    let before = record.and_then(|it| it.keyed_write);
                    match before.filter(|_| swap.keyed_write().is_none()) {
                        Some(write) => store.swap(&swap.with_keyed_write(&write), now),
                        None => store.swap(swap, now),
                    }
                },
                ..sound()
            },
            conformance::a_swap_keeps_its_key_with_what_it_makes,
        ),
        (
            "a digest is cut short",
            Broken {
                get: |store, collection, id| {
                    let record = store.get(collection, id)?;
                    Ok(record.map(|it| match it.keyed_write.as_deref().cloned() {
                        Some(mut write) => {
                            write.digest &= u128::from(u64::MAX);
                            it.with_keyed_write(write)
                        }
                        None => it,
                    }))
                },
                ..sound()
            },
            conformance::a_swap_keeps_its_key_with_what_it_makes,
        ),
        (
            "removals are not kept",
            Broken {
                removal: |_, _, _, _| Ok(None),
                ..sound()
            },
            conformance::a_removal_with_a_key_is_known_for_24_hours,
        ),
        (
            "removals are kept for ever",
            Broken {
                removal: |store, collection, id, _| {
                    store.removal(collection, id, SystemTime::UNIX_EPOCH)
                },
                ..sound()
            },
            conformance::a_removal_with_a_key_is_known_for_24_hours,
        ),
        (
            "a removal is known in every collection",
            Broken {
                removal: |store, _, id, now| store.removal(conformance::PERSONS, id, now),
                ..sound()
            },
            conformance::a_removal_with_a_key_is_known_for_24_hours,
        ),
        (
            "a key is kept for several documents",
            Broken {
                swap: |store, swap, now| match store.swap(swap, now) {
                    Err(SwapError::KeyTaken) => store.swap(&without_key(swap), now),
                    result => result,
                },
                ..sound()
            },
            conformance::a_key_is_kept_for_one_document_of_a_collection,
        ),
        (
            "a conflict of two swaps with one key is reported as a key that is taken",
            Broken {
                swap: |store, swap, now| match store.swap(swap, now) {
                    Err(SwapError::Conflict) if swap.keyed_write().is_some() => {
                        Err(SwapError::KeyTaken)
                    }
                    result => result,
                },
                ..sound()
            },
            conformance::of_swaps_with_one_key_at_once_exactly_one_is_performed,
        ),
    ];
    for (defect, broken, rule) in rows {
        rule(&InProcess::new(sound()));
        let place = InProcess::new(broken);
        let checked = catch_unwind(AssertUnwindSafe(|| rule(&place)));
        assert!(checked.is_err(), "the rule passes although {defect}");
    }
}
