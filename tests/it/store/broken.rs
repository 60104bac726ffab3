//! The conformance test fails for stores that are broken.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::time::SystemTime;

use ifmatch::{
    Document, Id, List, Portion, Record, Store, StoreError, Swap, SwapError, Version, VersionClock,
};

use super::InProcess;
use super::foreign::{Contents, Foreign, portioned};
use crate::conformance::{self, Place, person};

/// The foreign store, with some methods replaced.
#[expect(
    clippy::type_complexity,
    reason = "each is the type of a method of the trait"
)]
struct Broken {
    store: Foreign,
    get: fn(&Foreign, &str, &Id) -> Result<Option<Record>, StoreError>,
    collection_version: fn(&Foreign, &str) -> Result<Option<Version>, StoreError>,
    list: fn(&Foreign, &str, Portion<'_>) -> Result<List, StoreError>,
    swap: fn(&Foreign, &Swap<'_>, SystemTime) -> Result<Version, SwapError>,
    fill: fn(&Foreign, &str, &[(Id, Document)], SystemTime) -> Result<(), SwapError>,
    visit: fn(&Foreign, &str, Visitor<'_>) -> Result<(), StoreError>,
    record_id_member: fn(&Foreign, &str, &str) -> Result<String, StoreError>,
    collections: fn(&Foreign) -> Result<Vec<String>, StoreError>,
}

type Visitor<'a> = &'a mut dyn FnMut(&Record) -> ControlFlow<()>;

/// A correct store, with no method replaced.
fn sound() -> Broken {
    Broken {
        store: Foreign::default(),
        get: Foreign::get,
        collection_version: Foreign::collection_version,
        list: Foreign::list,
        swap: Foreign::swap,
        fill: |store, collection, documents, now| {
            store.with(collection, |it| {
                if !it.records.is_empty() {
                    return Err(SwapError::Conflict);
                }
                *it = filled(it.clock.clone(), documents, now)?;
                Ok(())
            })
        },
        visit: |store, collection, visit| store.visit(collection, visit),
        record_id_member: Foreign::record_id_member,
        collections: |store| {
            let collections = store.0.lock().unwrap();
            let filled = collections.iter().filter(|(_, it)| !it.records.is_empty());
            Ok(filled.map(|(name, _)| name.clone()).collect())
        },
    }
}

/// A collection of these documents; `None` if an id is repeated.
fn filled(
    mut clock: VersionClock,
    documents: &[(Id, Document)],
    now: SystemTime,
) -> Result<Contents, SwapError> {
    let mut records = BTreeMap::new();
    for (id, document) in documents {
        let end = || StoreError::new("the calendar is at its end");
        let version = clock.next(now).ok_or_else(end)?;
        let record = Record::new(id.clone(), document.clone(), version);
        if records.insert(id.clone(), record).is_some() {
            return Err(SwapError::Conflict);
        }
    }
    Ok(Contents { records, clock })
}

impl Store for Broken {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        (self.get)(&self.store, collection, id)
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        (self.collection_version)(&self.store, collection)
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        (self.list)(&self.store, collection, portion)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (self.swap)(&self.store, swap, now)
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        (self.fill)(&self.store, collection, documents, now)
    }

    fn visit(&self, collection: &str, visit: Visitor<'_>) -> Result<(), StoreError> {
        (self.visit)(&self.store, collection, visit)
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        (self.record_id_member)(&self.store, collection, name)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        (self.collections)(&self.store)
    }
}

/// A swap of a document from the version `expected` to a new state.
fn swap_of<'a>(
    collection: &'a str,
    id: &'a Id,
    expected: Option<Version>,
    new: Option<&'a Document>,
) -> Swap<'a> {
    match (expected, new) {
        (None, Some(document)) => Swap::create(collection, id, document),
        (Some(expected), Some(document)) => Swap::replace(collection, id, expected, document),
        (expected, None) => Swap::remove(collection, id, expected.unwrap_or(Version::FIRST)),
    }
}

/// The same swap, which expects the version `expected` of the document, and any version of the
/// collection.
fn expecting<'a>(swap: &Swap<'a>, expected: Option<Version>) -> Swap<'a> {
    swap_of(swap.collection(), swap.id(), expected, swap.new_document())
}

/// The current version of the document.
fn current(store: &Foreign, swap: &Swap<'_>) -> Option<Version> {
    let record = store.get(swap.collection(), swap.id()).unwrap();
    record.map(|record| record.version)
}

/// Whether the collection has the version that a swap expects.
fn finds_collection(store: &Foreign, swap: &Swap<'_>) -> bool {
    let version = store.collection_version(swap.collection()).unwrap();
    swap.expected_collection().is_none() || swap.expected_collection() == version
}

/// The same document with its number in another form.
fn converted(document: &Document) -> Document {
    Document::from_stored(document.as_str().replace("1.0", "1")).unwrap()
}

/// The defect of a store, the store, and the rule that it must fail.
type Row = (&'static str, Broken, fn(&dyn Place));

fn broken_swaps() -> Vec<Row> {
    vec![
        (
            "a swap ignores the version that it expects",
            Broken {
                swap: |store, swap, now| {
                    if !finds_collection(store, swap) {
                        return Err(SwapError::Conflict);
                    }
                    store.swap(&expecting(swap, current(store, swap)), now)
                },
                ..sound()
            },
            conformance::a_swap_is_performed_only_on_what_it_expects,
        ),
        (
            "a swap expects its version or an earlier one",
            Broken {
                swap: |store, swap, now| {
                    let current = current(store, swap);
                    if current.is_none()
                        || current > swap.expected()
                        || !finds_collection(store, swap)
                    {
                        return store.swap(swap, now);
                    }
                    store.swap(&expecting(swap, current), now)
                },
                ..sound()
            },
            conformance::of_each_person_only_the_latest_version_is_expected,
        ),
        (
            "two swaps that expect one version are both performed",
            Broken {
                swap: |store, swap, now| {
                    // The rule writes a 0, and then starts four writers. None of them writes before
                    // all have read.
                    static READ: Barrier = Barrier::new(4);
                    let is_first = swap.new_document() == Some(&person("0"));
                    if swap.expected().is_none() || is_first {
                        return store.swap(swap, now);
                    }
                    READ.wait();
                    loop {
                        let swap = expecting(swap, current(store, swap));
                        if let Ok(version) = store.swap(&swap, now) {
                            return Ok(version);
                        }
                    }
                },
                ..sound()
            },
            conformance::no_update_is_lost_between_two_handles,
        ),
        (
            "a swap ignores the version that it expects of the collection",
            Broken {
                swap: |store, swap, now| store.swap(&expecting(swap, swap.expected()), now),
                ..sound()
            },
            conformance::a_swap_may_expect_the_collection_to_stand_still,
        ),
        (
            "a swap expects the version of any collection",
            Broken {
                swap: |store, swap, now| {
                    let names: Vec<String> = store.0.lock().unwrap().keys().cloned().collect();
                    let mut versions = names
                        .iter()
                        .map(|name| store.collection_version(name).unwrap());
                    if versions.any(|it| it == swap.expected_collection()) {
                        return store.swap(&expecting(swap, swap.expected()), now);
                    }
                    store.swap(swap, now)
                },
                ..sound()
            },
            conformance::a_swap_expects_the_version_of_its_own_collection,
        ),
        (
            "a swap compares under one lock and writes under another",
            Broken {
                swap: |store, swap, now| {
                    // The rule has four writers. None of them writes before all have compared.
                    static COMPARED: Barrier = Barrier::new(4);
                    if !finds_collection(store, swap) {
                        return Err(SwapError::Conflict);
                    }
                    if swap.expected_collection().is_some() {
                        COMPARED.wait();
                    }
                    store.swap(&expecting(swap, swap.expected()), now)
                },
                ..sound()
            },
            conformance::of_two_handles_exactly_one_finds_the_collection_unchanged,
        ),
    ]
}

fn broken_versions() -> Vec<Row> {
    vec![
        (
            "the clock of a collection is forgotten with its last document",
            Broken {
                swap: |store, swap, now| {
                    let version = store.swap(swap, now)?;
                    let mut collections = store.0.lock().unwrap();
                    collections.retain(|_, contents| !contents.records.is_empty());
                    Ok(version)
                },
                ..sound()
            },
            conformance::a_swap_is_performed_only_on_what_it_expects,
        ),
        (
            "a clock that is set back makes an old version",
            Broken {
                swap: |store, swap, now| {
                    let version = store.swap(swap, now)?;
                    if version.is_dated() {
                        return Ok(version);
                    }
                    let old = Version::from(now);
                    store.with(swap.collection(), |it| {
                        it.clock = VersionClock::after(old);
                        if let Some(record) = it.records.get_mut(swap.id()) {
                            record.version = old;
                        }
                    });
                    Ok(old)
                },
                ..sound()
            },
            conformance::each_version_of_a_document_is_later_whatever_the_clock_shows,
        ),
        (
            "a version is dated although the clock was set back",
            Broken {
                swap: |store, swap, now| {
                    let version = store.swap(swap, now)?;
                    Ok(SystemTime::from(version).into())
                },
                ..sound()
            },
            conformance::versions_are_those_of_one_clock_whatever_it_shows,
        ),
        (
            "the versions begin again at the end of the calendar",
            Broken {
                swap: |store, swap, now| {
                    if store.collection_version(swap.collection())? == Some(Version::LAST) {
                        store.with(swap.collection(), |it| {
                            it.clock = VersionClock::after(Version::FIRST);
                        });
                    }
                    store.swap(swap, now)
                },
                ..sound()
            },
            conformance::at_the_end_of_the_calendar_nothing_changes_any_more,
        ),
    ]
}

fn broken_texts() -> Vec<Row> {
    vec![
        (
            "the case of an id is ignored",
            Broken {
                get: |store, collection, id| {
                    let id = Id::new(id.as_str().to_lowercase()).unwrap();
                    store.get(collection, &id)
                },
                swap: |store, swap, now| {
                    let id = Id::new(swap.id().as_str().to_lowercase()).unwrap();
                    let Some(document) = swap.new_document() else {
                        return store.swap(swap, now);
                    };
                    store.swap(&Swap::create(swap.collection(), &id, document), now)
                },
                ..sound()
            },
            conformance::ids_and_names_of_every_script_stay_as_they_are,
        ),
        (
            "the numbers of a document are converted",
            Broken {
                get: |store, collection, id| {
                    let record = store.get(collection, id)?;
                    Ok(record.map(|it| Record::new(it.id, converted(&it.document), it.version)))
                },
                ..sound()
            },
            conformance::documents_of_any_json_text_come_back_byte_for_byte,
        ),
        (
            "all collections are one",
            Broken {
                get: |store, _, id| store.get("one", id),
                collection_version: |store, _| store.collection_version("one"),
                list: |store, _, portion| store.list("one", portion),
                swap: |store, swap, now| {
                    let (expected, new) = (swap.expected(), swap.new_document());
                    store.swap(&swap_of("one", swap.id(), expected, new), now)
                },
                ..sound()
            },
            conformance::collections_are_independent_of_each_other,
        ),
        (
            "the member with the ids is not returned",
            Broken {
                record_id_member: |_, _, _| Ok(String::new()),
                ..sound()
            },
            conformance::the_member_with_the_ids_is_the_one_given_first,
        ),
    ]
}

fn broken_lists() -> Vec<Row> {
    vec![
        (
            "a list is in the order of the writes",
            Broken {
                list: |store, collection, portion| {
                    let mut all = store.list(collection, Portion::ALL)?;
                    all.records.sort_by_key(|it| it.version);
                    let follows = |it: &&Record| portion.after.is_none_or(|id| it.id.as_str() > id);
                    let records = all.records.iter().filter(follows);
                    Ok(portioned(all.version.unwrap(), records, portion))
                },
                ..sound()
            },
            conformance::a_list_is_ordered_by_id_and_has_the_version_of_its_last_change,
        ),
        (
            "a list has the version of its latest document",
            Broken {
                list: |store, collection, portion| {
                    let list = store.list(collection, portion)?;
                    let latest = list.records.iter().map(|it| it.version).max();
                    Ok(List::new(latest, list.records, list.more))
                },
                ..sound()
            },
            conformance::a_list_is_ordered_by_id_and_has_the_version_of_its_last_change,
        ),
        (
            "a portion begins with the id that it should follow",
            Broken {
                list: |store, collection, portion| {
                    store.with(collection, |it| {
                        let start = portion.after.map_or(Bound::Unbounded, Bound::Included);
                        let range = it.records.range::<str, _>((start, Bound::Unbounded));
                        let records = range.map(|(_, record)| record);
                        Ok(portioned(it.clock.latest(), records, portion))
                    })
                },
                ..sound()
            },
            conformance::a_list_is_ordered_by_id_and_has_the_version_of_its_last_change,
        ),
        (
            "a portion ignores the bytes",
            Broken {
                list: |store, collection, portion| {
                    let bytes = usize::MAX;
                    store.list(collection, Portion { bytes, ..portion })
                },
                ..sound()
            },
            conformance::a_portion_is_bounded_by_count_and_bytes,
        ),
        (
            "a portion ignores the count",
            Broken {
                list: |store, collection, portion| {
                    let count = usize::MAX;
                    store.list(collection, Portion { count, ..portion })
                },
                ..sound()
            },
            conformance::a_portion_is_bounded_by_count_and_bytes,
        ),
        (
            "a portion is always the last",
            Broken {
                list: |store, collection, portion| {
                    let list = store.list(collection, portion)?;
                    Ok(List::new(list.version, list.records, false))
                },
                ..sound()
            },
            conformance::a_portion_is_bounded_by_count_and_bytes,
        ),
        (
            "a list has the version of a later moment",
            Broken {
                list: |store, collection, portion| {
                    let list = store.list(collection, portion)?;
                    // The rule writes until the list is returned.
                    while store.collection_version(collection)? == list.version {}
                    let version = store.collection_version(collection)?;
                    Ok(List::new(version, list.records, list.more))
                },
                ..sound()
            },
            conformance::a_list_is_of_one_moment,
        ),
        (
            "a visit does not stop",
            Broken {
                visit: |store, collection, visit| {
                    let list = store.list(collection, Portion::ALL)?;
                    list.records.iter().for_each(|record| {
                        let _ = visit(record);
                    });
                    Ok(())
                },
                ..sound()
            },
            conformance::a_visit_sees_all_in_order_until_it_breaks_off,
        ),
        (
            "a visit shows the documents of two moments",
            Broken {
                visit: |store, collection, visit| {
                    // The rule creates and removes both until the visit returns.
                    let wait = |id: &str| {
                        let id = Id::new(id).unwrap();
                        while store.get(collection, &id).unwrap().is_some() {}
                    };
                    wait("!");
                    let count = 1000;
                    let first = store.list(
                        collection,
                        Portion {
                            count,
                            ..Portion::ALL
                        },
                    )?;
                    wait("~");
                    let after = first.records.last().map(|it| it.id.as_str());
                    let rest = store.list(
                        collection,
                        Portion {
                            after,
                            ..Portion::ALL
                        },
                    )?;
                    let mut both = first.records.iter().chain(&rest.records);
                    let _ = both.try_for_each(visit);
                    Ok(())
                },
                ..sound()
            },
            conformance::a_visit_is_of_one_moment,
        ),
    ]
}

fn broken_fills() -> Vec<Row> {
    vec![
        (
            "a collection with documents is filled",
            Broken {
                fill: |store, collection, documents, now| {
                    store.with(collection, |it| {
                        let new = filled(it.clock.clone(), documents, now)?;
                        it.records.extend(new.records);
                        it.clock = new.clock;
                        Ok(())
                    })
                },
                ..sound()
            },
            conformance::only_a_collection_without_documents_is_filled,
        ),
        (
            "the documents are written one by one, up to an id that occurs twice",
            Broken {
                fill: one_by_one,
                ..sound()
            },
            conformance::a_collection_is_not_filled_with_one_id_twice,
        ),
        (
            "the documents are written one by one, up to the end of the calendar",
            Broken {
                fill: one_by_one,
                ..sound()
            },
            conformance::what_does_not_fit_into_the_calendar_is_not_begun,
        ),
        (
            "the documents are filled with one version",
            Broken {
                fill: |store, collection, documents, now| {
                    (sound().fill)(store, collection, documents, now)?;
                    store.with(collection, |it| {
                        let latest = it.clock.latest();
                        let records = it.records.values_mut();
                        records.for_each(|record| record.version = latest);
                        Ok(())
                    })
                },
                ..sound()
            },
            conformance::a_collection_is_filled_in_the_order_of_the_documents,
        ),
        (
            "the numbers of documents are converted when they are filled",
            Broken {
                fill: |store, collection, documents, now| {
                    let documents: Vec<_> = documents
                        .iter()
                        .map(|(id, document)| (id.clone(), converted(document)))
                        .collect();
                    (sound().fill)(store, collection, &documents, now)
                },
                ..sound()
            },
            conformance::documents_of_any_json_text_are_filled_byte_for_byte,
        ),
        (
            "a collection is found empty under one lock and filled under another",
            Broken {
                fill: |store, collection, documents, now| {
                    // The rule has four writers. None of them writes before all have found the
                    // collection empty.
                    static LOOKED: Barrier = Barrier::new(4);
                    if store.with(collection, |it| !it.records.is_empty()) {
                        return Err(SwapError::Conflict);
                    }
                    LOOKED.wait();
                    store.with(collection, |it| {
                        *it = filled(it.clock.clone(), documents, now)?;
                        Ok(())
                    })
                },
                ..sound()
            },
            conformance::of_two_handles_exactly_one_fills_a_collection,
        ),
        (
            "a collection without documents is listed",
            Broken {
                collections: |store| Ok(store.0.lock().unwrap().keys().cloned().collect()),
                ..sound()
            },
            conformance::collections_are_those_that_have_documents,
        ),
    ]
}

fn one_by_one(
    store: &Foreign,
    collection: &str,
    documents: &[(Id, Document)],
    now: SystemTime,
) -> Result<(), SwapError> {
    if store.with(collection, |it| !it.records.is_empty()) {
        return Err(SwapError::Conflict);
    }
    for (id, document) in documents {
        store.swap(&Swap::create(collection, id, document), now)?;
    }
    Ok(())
}

#[test]
fn each_broken_store_fails_the_rule_that_it_breaks() {
    let tables = [
        broken_swaps(),
        broken_versions(),
        broken_texts(),
        broken_lists(),
        broken_fills(),
    ];
    for (defect, broken, rule) in tables.into_iter().flatten() {
        rule(&InProcess::new(sound()));
        let place = InProcess::new(broken);
        let checked = catch_unwind(AssertUnwindSafe(|| rule(&place)));
        assert!(checked.is_err(), "the rule passes although {defect}");
    }
}
