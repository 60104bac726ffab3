//! The conformance test of [`Store`]: the rules that every store follows, whatever it keeps the
//! documents in.
//!
//! Copy this file to test a store of your own. It uses std, `ifmatch` and `serde_json`, and nothing
//! else of this project.
//!
//! 1. Put it beside the root of your tests: `tests/it/conformance.rs` beside `tests/it/main.rs`, or
//!    `src/conformance.rs` beside `src/lib.rs`. The root declares it with `mod conformance;`.
//! 2. Implement [`Place`] for the directory, the schema or whatever else holds one store of yours.
//!    Each rule gets a new place, and the place removes what it holds when it is dropped.
//! 3. Call the macro, in a module for each kind of store. Every rule becomes one `#[test]`.
//!
//! ```text
//! mod my_store {
//!     use crate::my_place::MyPlace;
//!
//!     crate::conformance::suite!(Some(MyPlace::new()), documents collection_version);
//! }
//! ```
//!
//! The place is an `Option`. If it is `None`, because a database is not installed on this machine,
//! the rules pass without a check. After the place you name the groups of rules that the store
//! follows. If you name none, all of them are run:
//!
//! - `documents`: a swap compares versions and loses no update; a version never comes back; ids and
//!   documents stay as they are, byte for byte; collections are independent; lists, portions and
//!   visits are complete and in order; the member with the ids stays the same.
//! - `collection_version`: a swap compares the version of its collection, and a list has the
//!   version of the same moment.
//! - `clock`: the versions are exactly those of one `VersionClock` for each collection, to the end
//!   of the calendar.
//! - `fill`: a collection without documents is filled at once, or not at all.
//! - `collections`: the store can tell which collections have documents.
//! - `keys`: a swap keeps its key with what it makes, and a removal with a key is known for a day.
//! - `observers`: an observer is called after each change.
//!
//! Every store follows `documents`. The other groups are optional:
//!
//! - A store that keeps no version of a collection leaves out `collection_version` and `clock`, and
//!   its place says so in [`Place::tags_lists`].
//! - A store that makes its versions without a `VersionClock`, or with one clock for all
//!   collections, leaves out `clock`. The trait asks only for later versions. One rule of `fill`
//!   also counts the last microseconds of the calendar as a `VersionClock` does.
//! - A store that leaves `Store::fill` or `Store::collections` at its default leaves out `fill` or
//!   `collections`.
//! - A store that ignores the keys of swaps leaves out `keys`, and one that calls no observers
//!   `observers`.
//! - `Store::visit` and `Store::record_id_member` are tested with their defaults, too. A store that keeps
//!   the member with the ids says so in [`Place::keeps_id_member`].
//!
//! All of it takes two seconds in a debug build for a store in memory. For a database most of the
//! time goes into one rule, which creates as many documents as [`Place::many`] says, one by one
//! through [`Place::open_fast`].
#![allow(dead_code, reason = "a store may leave out groups")]

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{
    Document, Id, IdempotencyKey, KeyedWrite, List, Observer, Portion, Record, Store, Swap,
    SwapError, Version, VersionClock,
};

/// The collection of most rules.
pub const PERSONS: &str = "persons";

/// A place where one store keeps its documents, such as a directory. A new place is empty.
pub trait Place {
    /// Opens a handle of the store. Other handles may be open, or all earlier ones may have been
    /// dropped. Each handle reads what the others wrote.
    fn open(&self) -> Arc<dyn Store>;

    /// Opens the store for many fast writes. A power failure may lose them.
    fn open_fast(&self) -> Arc<dyn Store> {
        self.open()
    }

    /// The number of documents in the rule with many of them. More would take too long.
    fn many(&self) -> usize {
        100_000
    }

    /// Whether the store keeps a version of each collection.
    fn tags_lists(&self) -> bool {
        true
    }

    /// Whether the store keeps which member holds the ids of a collection.
    fn keeps_id_member(&self) -> bool {
        false
    }

    /// The version that the store keeps of a collection after a change with the version `latest`.
    fn kept(&self, latest: Version) -> Option<Version> {
        self.tags_lists().then_some(latest)
    }
}

/// Makes a `#[test]` of each rule of these groups, for stores in such places.
macro_rules! suite {
    ($place:expr) => {
        $crate::conformance::suite!(
            $place,
            documents collection_version clock fill collections keys observers
        );
    };
    ($place:expr, $($group:ident)+) => {
        $($crate::conformance::suite!(@$group $place);)+
    };
    (@documents $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            a_swap_is_performed_only_on_what_it_expects,
            of_each_person_only_the_latest_version_is_expected,
            each_version_of_a_document_is_later_whatever_the_clock_shows,
            no_update_is_lost_between_two_handles,
            ids_and_names_of_every_script_stay_as_they_are,
            documents_of_any_json_text_come_back_byte_for_byte,
            collections_are_independent_of_each_other,
            a_list_is_ordered_by_id_and_has_the_version_of_its_last_change,
            a_portion_is_bounded_by_count_and_bytes,
            many_persons,
            versions_are_those_of_the_documents,
            a_visit_sees_all_in_order_until_it_breaks_off,
            a_visit_is_of_one_moment,
            the_member_with_the_ids_is_the_one_given_first,
        );
    };
    (@collection_version $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            a_swap_may_expect_the_collection_to_stand_still,
            a_swap_expects_the_version_of_its_own_collection,
            of_two_handles_exactly_one_finds_the_collection_unchanged,
            a_list_is_of_one_moment,
        );
    };
    (@clock $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            versions_are_those_of_one_clock_whatever_it_shows,
            at_the_end_of_the_calendar_nothing_changes_any_more,
        );
    };
    (@fill $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            a_collection_is_filled_in_the_order_of_the_documents,
            documents_of_any_json_text_are_filled_byte_for_byte,
            only_a_collection_without_documents_is_filled,
            a_collection_is_not_filled_with_one_id_twice,
            of_two_handles_exactly_one_fills_a_collection,
            what_does_not_fit_into_the_calendar_is_not_begun,
        );
    };
    (@collections $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            collections_are_those_that_have_documents,
        );
    };
    (@keys $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            a_swap_keeps_its_key_with_what_it_makes,
            a_removal_with_a_key_is_known_for_24_hours,
            a_key_is_kept_for_one_document_of_a_collection,
            of_swaps_with_one_key_at_once_exactly_one_is_performed,
        );
    };
    (@observers $place:expr) => {
        $crate::conformance::suite!(@tests $place,
            an_observer_is_called_after_each_change,
        );
    };
    (@tests $place:expr, $($rule:ident,)+) => {
        $(#[test]
        fn $rule() {
            if let Some(place) = $place {
                $crate::conformance::$rule(&place);
            }
        })+
    };
}
pub(crate) use suite;

pub fn id(text: &str) -> Id {
    Id::new(text).unwrap()
}

/// The document of a person of this name.
pub fn person(name: &str) -> Document {
    let name = serde_json::Value::from(name);
    Document::from_stored(format!("{{\"person_name\":{name}}}")).unwrap()
}

pub fn at(change_date: &str) -> SystemTime {
    change_date.parse::<Version>().unwrap().into()
}

pub fn now() -> SystemTime {
    at("2026-11-23T12:00:00.000000")
}

/// Creates a person.
pub fn create(store: &dyn Store, id: &str) -> Version {
    create_in(store, PERSONS, id)
}

/// Creates a person in any collection.
fn create_in(store: &dyn Store, collection: &str, id: &str) -> Version {
    let (id, person) = (self::id(id), person("x"));
    let swap = Swap::create(collection, &id, &person);
    store.swap(&swap, now()).unwrap()
}

/// Removes a document that exists.
fn remove_from(store: &dyn Store, collection: &str, id: &Id) -> Version {
    let version = store.get(collection, id).unwrap().unwrap().version;
    let swap = Swap::remove(collection, id, version);
    store.swap(&swap, now()).unwrap()
}

/// All persons.
pub fn all(store: &dyn Store) -> List {
    all_of(store, PERSONS)
}

fn all_of(store: &dyn Store, collection: &str) -> List {
    let list = store.list(collection, Portion::ALL).unwrap();
    assert!(!list.more, "the list is complete");
    list
}

/// The first `count` persons after an id.
fn persons_after(store: &dyn Store, after: Option<&str>, count: usize) -> List {
    let portion = Portion {
        after,
        count,
        ..Portion::ALL
    };
    store.list(PERSONS, portion).unwrap()
}

fn ids(records: &[Record]) -> Vec<&str> {
    let ids = records.iter().map(|record| record.id.as_str());
    ids.collect()
}

/// Every pair of an expected and a current state of a document.
pub fn a_swap_is_performed_only_on_what_it_expects(place: &dyn Place) {
    let store = place.open();
    let (one, wim, tim) = (id("1"), person("Wim"), person("Tim"));
    let create = |new| store.swap(&Swap::create(PERSONS, &one, new), now());
    let replace = |version, new| store.swap(&Swap::replace(PERSONS, &one, version, new), now());
    let remove = |version| store.swap(&Swap::remove(PERSONS, &one, version), now());
    let stale = Version::from(now());

    // The document does not exist.
    assert_eq!(replace(stale, &wim), Err(SwapError::Conflict));
    assert_eq!(remove(stale), Err(SwapError::Conflict));
    let unchanged = place.kept(Version::FIRST);
    assert_eq!(
        store.collection_version(PERSONS),
        Ok(unchanged),
        "nothing has changed"
    );
    let first = create(&wim).unwrap();

    // The document exists.
    assert_eq!(create(&tim), Err(SwapError::Conflict));
    let second = replace(first, &tim).unwrap();
    assert_eq!(replace(first, &wim), Err(SwapError::Conflict));
    assert_eq!(remove(first), Err(SwapError::Conflict));
    let record = store.get(PERSONS, &one).unwrap().unwrap();
    assert_eq!((&record.id, &record.document), (&one, &tim));
    assert_eq!(record.version, second);

    // The document is removed, and created again with the same content. It gets a new version.
    let third = remove(second).unwrap();
    assert_eq!(store.get(PERSONS, &one), Ok(None));
    assert_eq!(replace(second, &wim), Err(SwapError::Conflict));
    let fourth = create(&wim).unwrap();
    assert!(first < second && second < third && third < fourth);
    assert_eq!(store.collection_version(PERSONS), Ok(place.kept(fourth)));
}

/// Swaps of documents that exist, that were removed, and that never existed. They expect every
/// version that a document has had, and every version of the collection.
pub fn of_each_person_only_the_latest_version_is_expected(place: &dyn Place) {
    let store = place.open();
    let mut versions = vec![Version::FIRST];
    let mut make = |swap: &Swap<'_>| {
        let version = store.swap(swap, now()).unwrap();
        versions.push(version);
        version
    };
    let person = person("x");
    let (kept, other, gone, never) = (id("kept"), id("other"), id("gone"), id("never"));
    let first = make(&Swap::create(PERSONS, &kept, &person));
    make(&Swap::create(PERSONS, &other, &person));
    let removed = make(&Swap::create(PERSONS, &gone, &person));
    make(&Swap::remove(PERSONS, &gone, removed));
    make(&Swap::replace(PERSONS, &kept, first, &person));
    let before = all(&*store);
    for id in [&kept, &other, &gone, &never] {
        let present = store.get(PERSONS, id).unwrap().map(|it| it.version);
        for &expected in &versions {
            for &collection in &versions {
                for swap in [
                    Swap::create(PERSONS, id, &person),
                    Swap::replace(PERSONS, id, expected, &person),
                    Swap::remove(PERSONS, id, expected),
                ] {
                    let guarded = swap.while_collection_at(collection);
                    for swap in [swap, guarded] {
                        let met = swap.expected() == present
                            && swap
                                .expected_collection()
                                .is_none_or(|it| Some(it) == before.version);
                        if !met {
                            let error = store.swap(&swap, now()).unwrap_err();
                            assert_eq!(error, SwapError::Conflict, "{swap:?}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(all(&*store), before, "nothing has changed");
}

/// The document is created, replaced, removed and created again, while the clock stops, is set back
/// and advances.
pub fn each_version_of_a_document_is_later_whatever_the_clock_shows(place: &dyn Place) {
    let (hour, microsecond) = (Duration::from_secs(3600), Duration::from_micros(1));
    let second_of = |at: SystemTime| at.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (one, x) = (id("1"), person("x"));
    let mut latest = Version::FIRST;
    let mut tags = HashSet::new();
    let clock = [
        now(),
        now(),
        now() - hour,
        now() + hour,
        now() + hour - microsecond,
        now(),
    ];
    for now in clock {
        let store = place.open();
        let mut make = |swap: &Swap<'_>| {
            let version = store.swap(swap, now).unwrap();
            assert!(latest < version, "{version} is not after {latest}");
            assert!(tags.insert(version.entity_tag()), "a tag came back");
            let ahead = second_of(version.into()) > second_of(now);
            assert!(
                !(ahead && version.is_dated()),
                "a version that is ahead of the clock is undated"
            );
            latest = version;
            let record = store.get(PERSONS, swap.id()).unwrap();
            let exists = swap.new_document().is_some();
            assert_eq!(record.map(|it| it.version), exists.then_some(version));
            version
        };
        let created = make(&Swap::create(PERSONS, &one, &x));
        let replaced = make(&Swap::replace(PERSONS, &one, created, &x));
        make(&Swap::remove(PERSONS, &one, replaced));
    }
}

pub fn a_swap_may_expect_the_collection_to_stand_still(place: &dyn Place) {
    let store = place.open();
    let empty = store.collection_version(PERSONS).unwrap().unwrap();
    let (one, two, wim) = (id("1"), id("2"), person("Wim"));
    let create = |id, version| {
        let swap = Swap::create(PERSONS, id, &wim);
        store.swap(&swap.while_collection_at(version), now())
    };
    let first = create(&one, empty).unwrap();
    assert_eq!(create(&two, empty), Err(SwapError::Conflict));
    let second = create(&two, first).unwrap();
    let replace = Swap::replace(PERSONS, &one, first, &wim);
    let third = store
        .swap(&replace.while_collection_at(second), now())
        .unwrap();
    let remove = Swap::remove(PERSONS, &two, second);
    let late = remove.while_collection_at(second);
    assert_eq!(store.swap(&late, now()), Err(SwapError::Conflict));
    assert!(
        store
            .swap(&remove.while_collection_at(third), now())
            .is_ok()
    );
}

/// The versions of other collections do not count.
pub fn a_swap_expects_the_version_of_its_own_collection(place: &dyn Place) {
    let store = place.open();
    let (one, x) = (id("1"), person("x"));
    let first = create_in(&*store, "notes", "1");
    let create = Swap::create(PERSONS, &one, &x);
    let misled = create.while_collection_at(first);
    assert_eq!(store.swap(&misled, now()), Err(SwapError::Conflict));
    let guarded = create.while_collection_at(Version::FIRST);
    let second = store.swap(&guarded, now()).unwrap();
    let later = create_in(&*store, PERSONS, "2");
    // The version of the other collection is unchanged.
    let remove = Swap::remove("notes", &one, first);
    for misled in [Version::FIRST, later] {
        let misled = remove.while_collection_at(misled);
        assert_eq!(store.swap(&misled, now()), Err(SwapError::Conflict));
    }
    let guarded = remove.while_collection_at(first);
    assert!(store.swap(&guarded, now()).is_ok());
    let replace = Swap::replace(PERSONS, &one, second, &x);
    let guarded = replace.while_collection_at(later);
    assert!(store.swap(&guarded, now()).is_ok());
}

pub fn a_list_is_ordered_by_id_and_has_the_version_of_its_last_change(place: &dyn Place) {
    let store = place.open();
    for id in ["b", "a", "ü", "B", "10", "9", "a b", "名"] {
        create(&*store, id);
    }
    let latest = remove_from(&*store, PERSONS, &id("9"));
    let list = persons_after(&*store, None, 100);
    assert_eq!(list.version, place.kept(latest));
    assert_eq!(ids(&list.records), ["10", "B", "a", "a b", "b", "ü", "名"]);
    // A portion starts after any id, also after one that no document has, and has at most `count`
    // documents.
    let page = |after, count| {
        let list = persons_after(&*store, Some(after), count);
        assert_eq!(list.version, place.kept(latest));
        ids(&list.records).join(",")
    };
    assert_eq!(page("B", 2), "a,a b");
    assert_eq!(page("9", 1), "B");
    assert_eq!(page("", 1), "10");
    assert_eq!(page("ü", 9), "名");
    assert_eq!(page("名", 9), "");
    assert_eq!(page("a", 0), "");
}

/// Ids that a database might confuse, sort in another order, or interpret as SQL.
const IDS: &str = "\
    a|A|ä|Ä|a\u{308}|ß|ss|i|I|ı|İ|fi|\u{fb01}|é|e\u{301}|Ω|\u{2126}|한|\u{1112}\u{1161}\u{11ab}\
    |1|01|1.0|1e0|10|9|-1|0x1|１|٣|名|עברית|العربية|ไทย|Ελλάδα|हिन्दी|😀|👩\u{200d}👧|🇳🇱\
    | |  |a | a|a\u{a0}|\u{2003}|\u{200b}|\u{feff}|\u{fffd}|\u{e000}|\u{ffff}|\u{10ffff}\
    |'|''|\"|`|\\|%|_|*|?|$1|?1|:a|;--|/*|{}|...|a/b|x'00'|NULL|null|'; DROP TABLE person; --";

pub fn ids_and_names_of_every_script_stay_as_they_are(place: &dyn Place) {
    let store = place.open();
    let long = ["x".repeat(1024), "é".repeat(512), "😀".repeat(256)];
    let mut given: Vec<&str> = IDS.split('|').collect();
    given.extend(long.iter().map(String::as_str));
    let names = ["x", "'", "\n", "\0", "a\0b", "😀", " ", &"é".repeat(30_000)];
    for (&text, name) in given.iter().zip(names.iter().cycle()) {
        let (id, document) = (id(text), person(name));
        let swap = Swap::create(PERSONS, &id, &document);
        let version = store.swap(&swap, now()).unwrap();
        let again = store.swap(&swap, now());
        assert_eq!(again, Err(SwapError::Conflict), "{id}");
        let record = Record::new(id.clone(), document, version);
        assert_eq!(store.get(PERSONS, &id), Ok(Some(record)), "{id}");
    }
    let list = all(&*store);
    given.sort_unstable();
    assert_eq!(ids(&list.records), given, "ids are sorted by their bytes");
    // Portions that start after each id, and after a text that is slightly greater.
    for (index, id) in given.iter().enumerate() {
        let after = persons_after(&*store, Some(id), 3).records;
        let rest = given.iter().skip(index + 1);
        assert!(ids(&after).iter().eq(rest.take(3)), "after {id}");
        let beside = persons_after(&*store, Some(&format!("{id}\u{1}")), 1).records;
        assert_eq!(ids(&beside).first(), given.get(index + 1), "beside {id}");
    }
    for record in list.records {
        let remove = Swap::remove(PERSONS, &record.id, record.version);
        assert!(store.swap(&remove, now()).is_ok());
    }
    assert_eq!(all(&*store).records, []);
}

/// Texts that a database might convert, truncate or refuse.
const TEXTS: &[&str] = &[
    "{}",
    r#"{"":""}"#,
    r#"{"nul":"\u0000","nul in it":"a\u0000b","unit":"\u0010\u001f"}"#,
    r#"{"\u0000":"a name with an escape","\u0010":"\u0061\/\u002F\b\f\n\r\t"}"#,
    r#"{"digits":123456789012345678901234567890,"more":-0.000000000000000000000000000001}"#,
    r#"{"beyond":1e400,"capital":1E5,"no":-0,"one":1.0,"small":1e-400,"zeros":1.50000}"#,
    r#"{"backslash":"\\","both":"\\\"","doubled":"\\\\","quote":"\"","single":"'","words":"\\u0000"}"#,
    r#"{"a":[],"b":{},"c":[[],[{}],[[[]]]],"d":[true,false,null],"e":{"a":{"a":{"a":{}}}}}"#,
    r#"{"sql":"'); DROP TABLE person; --","$1":"?1 :a % _ x'00' E'\\'"}"#,
    r#"{"pair":"\ud83d\ude00","same":"😀","separators":"\u2028\u2029"}"#,
    "{\"raw\":\"\u{7f}\u{80}\u{a0}\u{2028}\u{2029}\u{feff}\u{fffd}\u{fffe}\u{ffff}\u{10ffff}\"}",
    "{\"scripts\":\"é e\u{301} ß ﬁ İ ı Ω Ω 한 名 עברית العربية ไทย Ελλάδα हिन्दी 👩\u{200d}👧 🇳🇱\",\"名\":\"ü\"}",
];

/// `TEXTS`, and long texts.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = TEXTS.iter().copied().map(str::to_owned).collect();
    // 200 KB, in characters of one byte and of four.
    texts.push(format!("{{\"long\":\"{}\"}}", "x".repeat(200_000)));
    texts.push(format!("{{\"long\":\"{}\"}}", "😀".repeat(50_000)));
    texts.push(format!("{{\"long\":[0{}]}}", ",0".repeat(100_000)));
    texts
}

fn document(text: &str) -> Document {
    Document::from_stored(text).unwrap()
}

/// The texts of a collection. Checks that a list and a visit have the same documents.
fn texts_of(store: &dyn Store, collection: &str) -> Vec<String> {
    let listed = all_of(store, collection).records;
    let mut visited = Vec::new();
    let mut visit = |record: &Record| {
        visited.push(record.clone());
        ControlFlow::Continue(())
    };
    store.visit(collection, &mut visit).unwrap();
    assert_eq!(visited, listed);
    let texts = listed.iter().map(|it| it.document.as_str().to_owned());
    texts.collect()
}

pub fn documents_of_any_json_text_come_back_byte_for_byte(place: &dyn Place) {
    let store = place.open();
    let mut texts = texts();
    let ids: Vec<Id> = (10..10 + texts.len())
        .map(|it| id(&it.to_string()))
        .collect();
    // Each text is created, and then replaces another one.
    let mut versions: Vec<Option<Version>> = vec![None; texts.len()];
    for round in 0..2 {
        texts.rotate_left(round);
        for ((id, text), version) in ids.iter().zip(&texts).zip(&mut versions) {
            let document = document(text);
            let swap = match *version {
                None => Swap::create(PERSONS, id, &document),
                Some(version) => Swap::replace(PERSONS, id, version, &document),
            };
            *version = Some(store.swap(&swap, now()).unwrap());
            let record = store.get(PERSONS, id).unwrap().unwrap();
            assert_eq!(record.document.as_str(), text);
        }
    }
    assert_eq!(texts_of(&*store, PERSONS), texts);
}

pub fn documents_of_any_json_text_are_filled_byte_for_byte(place: &dyn Place) {
    let store = place.open();
    let texts = texts();
    let documents: Vec<_> = (10..)
        .map(|it| id(&it.to_string()))
        .zip(texts.iter().map(|text| document(text)))
        .collect();
    store.fill("notes", &documents, now()).unwrap();
    assert_eq!(texts_of(&*store, "notes"), texts);
    // Many documents in one call.
    let many = shuffled(3000, "x");
    store.fill(PERSONS, &many, now()).unwrap();
    let texts = texts_of(&*store, PERSONS);
    assert_eq!(texts.len(), many.len());
    for (text, (_, document)) in (0..).map(|it| &texts[it * 7 % 3000]).zip(&many) {
        assert_eq!(text, document.as_str());
    }
}

/// Names that a database might confuse, in order.
const COLLECTIONS: [&str; 9] = [
    "1", "Notes", "n_tes", "notes", "notes-1", "notes.1", "notes1", "notes_1", PERSONS,
];

/// All collections have the same ids. A write changes one collection only.
pub fn collections_are_independent_of_each_other(place: &dyn Place) {
    let (store, beside) = (place.open(), place.open());
    let state = |store: &dyn Store| {
        COLLECTIONS.map(|name| {
            let list = all_of(store, name);
            assert_eq!(store.collection_version(name), Ok(list.version), "{name}");
            let one = store.get(name, &id("1")).unwrap();
            assert_eq!(one.as_ref(), list.records.first(), "{name}");
            list
        })
    };
    let mut expected =
        COLLECTIONS.map(|_| List::new(place.kept(Version::FIRST), Vec::new(), false));
    assert_eq!(state(&*store), expected, "no collection has been written");
    let ids = [id("1"), id("2")];
    // Each document is created, replaced, removed, and created again.
    for step in 0..4 {
        for (name, list) in COLLECTIONS.iter().zip(0..) {
            for (index, id) in ids.iter().enumerate() {
                let document = person(&format!("{name} {index} {step}"));
                let present = store.get(name, id).unwrap().map(|it| it.version);
                let swap = match (step, present) {
                    (2, Some(version)) => Swap::remove(name, id, version),
                    (_, Some(version)) => Swap::replace(name, id, version, &document),
                    (_, None) => Swap::create(name, id, &document),
                };
                let version = store.swap(&swap, now()).unwrap();
                let expected: &mut List = &mut expected[list];
                expected.version = place.kept(version);
                expected.records.retain(|record| record.id != *id);
                if swap.new_document().is_some() {
                    let record = Record::new(id.clone(), document, version);
                    let at = index.min(expected.records.len());
                    expected.records.insert(at, record);
                }
            }
            assert_eq!(state(&*store), expected, "after {name}");
        }
        assert_eq!(state(&*beside), expected, "on another handle");
    }
}

pub fn collections_are_those_that_have_documents(place: &dyn Place) {
    let (store, beside) = (place.open(), place.open());
    let none: [&str; 0] = [];
    let names = || {
        let names = store.collections().unwrap();
        assert_eq!(beside.collections(), Ok(names.clone()));
        names
    };
    assert_eq!(names(), none);
    let one = id("1");
    // Reads do not create a collection.
    all_of(&*store, "notes");
    store.record_id_member("notes", "id").unwrap();
    let conflict = store.swap(&Swap::remove("notes", &one, Version::FIRST), now());
    assert_eq!(conflict, Err(SwapError::Conflict));
    // Nor does a fill without documents, if the store supports fills.
    let _ = store.fill("notes", &[], now());
    assert_eq!(names(), none);
    for name in COLLECTIONS.iter().rev() {
        create_in(&*store, name, "1");
        create_in(&*store, name, "2");
    }
    assert_eq!(names(), COLLECTIONS, "names are sorted by their bytes");
    remove_from(&*store, "notes", &one);
    assert_eq!(names(), COLLECTIONS);
    remove_from(&*store, "notes", &id("2"));
    let others: Vec<_> = COLLECTIONS.iter().filter(|it| **it != "notes").collect();
    assert!(names().iter().eq(others), "the collection has no documents");
    if store.fill("notes", &[(one, person("x"))], now()).is_err() {
        create_in(&*store, "notes", "1");
    }
    assert_eq!(names(), COLLECTIONS);
}

/// Portions after every id, with every count, and with byte limits around each possible size.
pub fn a_portion_is_bounded_by_count_and_bytes(place: &dyn Place) {
    let store = place.open();
    // Documents of other collections are in no portion.
    for name in ["person", "persons.1"] {
        create_in(&*store, name, "a");
    }
    let mut sizes = Vec::new();
    for (text, name) in [
        ("a", "x"),
        ("bé", "😀"),
        ("d", "é\n"),
        ("名", "x"),
        ("😀", "name"),
    ] {
        let (id, document) = (id(text), person(name));
        store
            .swap(&Swap::create(PERSONS, &id, &document), now())
            .unwrap();
        sizes.push((text, text.len() + document.as_str().len()));
    }
    let records = all(&*store).records;
    let listed: Vec<_> = records
        .iter()
        .map(|it| (it.id.as_str(), it.size()))
        .collect();
    assert_eq!(listed, sizes);
    let afters = [
        None,
        Some(""),
        Some("a"),
        Some("b"),
        Some("bé"),
        Some("d"),
        Some("\u{1}"),
    ];
    for after in afters
        .into_iter()
        .chain([Some("名"), Some("😀"), Some("\u{10ffff}")])
    {
        let rest: Vec<_> = records
            .iter()
            .filter(|it| after.is_none_or(|after| it.id.as_str() > after))
            .collect();
        let mut bounds = vec![0, 1, usize::MAX];
        let mut total = 0;
        for record in &rest {
            total += record.size();
            bounds.extend([total - 1, total, total + 1]);
        }
        for &bytes in &bounds {
            for count in (0..=rest.len() + 1).chain([usize::MAX]) {
                let portion = Portion {
                    after,
                    count,
                    bytes,
                };
                let mut fitting = rest.len().min(count);
                while fitting > 1
                    && rest[..fitting].iter().map(|it| it.size()).sum::<usize>() > bytes
                {
                    fitting -= 1;
                }
                let list = store.list(PERSONS, portion).unwrap();
                let listed: Vec<_> = list.records.iter().collect();
                assert_eq!(listed, rest[..fitting], "{portion:?}");
                assert_eq!(list.more, fitting < rest.len(), "{portion:?}");
                assert_eq!(list.version, place.kept(records.last().unwrap().version));
            }
        }
    }
    // The portion of an empty collection has no more documents.
    let none = Portion {
        after: None,
        count: 0,
        bytes: 0,
    };
    let list = store.list("nothing", none).unwrap();
    assert_eq!((list.records.len(), list.more), (0, false));
}

/// `count` documents, which are not in the order of their ids.
fn shuffled(count: usize, name: &str) -> Vec<(Id, Document)> {
    let ids = (0..count).map(|it| it * 7 % count);
    ids.map(|it| (id(&format!("{it:04}")), person(&format!("{name} {it}"))))
        .collect()
}

/// Creates persons, one by one.
fn create_all(place: &dyn Place, documents: &[(Id, Document)]) {
    let store = place.open_fast();
    for (id, document) in documents {
        let swap = Swap::create(PERSONS, id, document);
        store.swap(&swap, now()).unwrap();
    }
}

/// The current versions of documents.
fn versions_of(store: &dyn Store, collection: &str, documents: &[(Id, Document)]) -> Vec<Version> {
    let version = |(id, document): &(Id, Document)| {
        let record = store.get(collection, id).unwrap().unwrap();
        assert_eq!((&record.id, &record.document), (id, document));
        record.version
    };
    documents.iter().map(version).collect()
}

pub fn a_collection_is_filled_in_the_order_of_the_documents(place: &dyn Place) {
    const COUNT: usize = 1000;
    let store = place.open();
    let other = create_in(&*store, "notes", "0001");
    let mut latest = Version::FIRST;
    let mut tags = HashSet::new();
    // Without a version of the collection, the tags of two documents may be the same.
    let tag = |id: &Id, version: Version| {
        let owner = (!place.tags_lists()).then(|| id.clone());
        (owner, version.entity_tag())
    };
    let mut before: Vec<Version> = Vec::new();
    // The clock stops, is set back, and advances.
    let clock = [
        now(),
        now() - Duration::from_secs(3600),
        now() + Duration::from_secs(3600),
    ];
    for (round, now) in clock.into_iter().enumerate() {
        let documents = shuffled(COUNT, &format!("round {round}"));
        store.fill(PERSONS, &documents, now).unwrap();
        let versions = versions_of(&*store, PERSONS, &documents);
        assert!(
            versions.is_sorted_by(|one, next| one < next),
            "versions are in the order of the documents"
        );
        assert!(before.iter().zip(&versions).all(|(one, next)| one < next));
        if place.tags_lists() {
            assert!(
                latest < versions[0],
                "versions are later than all earlier ones"
            );
        }
        for ((id, _), version) in documents.iter().zip(&versions) {
            assert!(tags.insert(tag(id, *version)), "a tag came back");
        }
        let list = all(&*store);
        assert_eq!(list.version, place.kept(versions[COUNT - 1]));
        assert_eq!(store.collection_version(PERSONS), Ok(list.version));
        let sorted: Vec<_> = (0..COUNT).map(|it| format!("{it:04}")).collect();
        assert_eq!(ids(&list.records), sorted);
        // The documents can be replaced and removed like those of a swap.
        let (id, document) = &documents[0];
        let swap = Swap::replace(PERSONS, id, versions[0], document);
        let replaced = store.swap(&swap, now).unwrap();
        assert!(versions[0] < replaced && tags.insert(tag(id, replaced)));
        before = Vec::new();
        for (id, _) in &documents {
            let version = store.get(PERSONS, id).unwrap().unwrap().version;
            let swap = Swap::remove(PERSONS, id, version);
            latest = store.swap(&swap, now).unwrap();
            assert!(tags.insert(tag(id, latest)), "a tag came back");
            before.push(latest);
        }
    }
    assert_eq!(store.collection_version("notes"), Ok(place.kept(other)));
    assert_eq!(all_of(&*store, "notes").records.len(), 1);
}

/// A fill of a collection with any document is refused, and changes nothing.
pub fn only_a_collection_without_documents_is_filled(place: &dyn Place) {
    let store = place.open();
    let nothing = all(&*store);
    assert_eq!(store.fill(PERSONS, &[], now()), Ok(()));
    assert_eq!(
        all(&*store),
        nothing,
        "a fill without documents changes nothing"
    );
    let documents = shuffled(10, "new");
    // The existing document has another id, the id of the first document, or that of the last.
    for present in [&id("x"), &documents[0].0, &documents[9].0] {
        let version = create(&*store, present.as_str());
        let before = all(&*store);
        let refused = store.fill(PERSONS, &documents, now());
        assert_eq!(refused, Err(SwapError::Conflict), "{present}");
        assert_eq!(all(&*store), before, "{present}");
        let swap = Swap::remove(PERSONS, present, version);
        assert!(store.swap(&swap, now()).is_ok(), "{present}");
    }
    store.fill(PERSONS, &documents, now()).unwrap();
    let filled = all(&*store);
    let refused = store.fill(PERSONS, &documents, now());
    assert_eq!(refused, Err(SwapError::Conflict));
    assert_eq!(all(&*store), filled);
    // Another collection without documents can be filled.
    store.fill("notes", &documents, now()).unwrap();
    assert_eq!(all(&*store), filled);
    assert_eq!(all_of(&*store, "notes").records.len(), 10);
}

/// Two documents with one id are refused at any position, with the same or with different content.
pub fn a_collection_is_not_filled_with_one_id_twice(place: &dyn Place) {
    const COUNT: usize = 1500;
    let store = place.open();
    create_in(&*store, "notes", "1");
    let notes = all_of(&*store, "notes");
    let nothing = all(&*store);
    for (one, other) in [(0, 1), (0, COUNT - 1), (7, 1200), (COUNT - 2, COUNT - 1)] {
        for same in [true, false] {
            let mut documents = shuffled(COUNT, "x");
            documents[other].0 = documents[one].0.clone();
            if same {
                documents[other].1 = documents[one].1.clone();
            }
            let refused = store.fill(PERSONS, &documents, now());
            assert_eq!(refused, Err(SwapError::Conflict), "{one} and {other}");
            assert_eq!(all(&*store), nothing, "{one} and {other}");
            assert_eq!(store.collection_version(PERSONS), Ok(nothing.version));
        }
    }
    let two = [(id("a"), person("x")), (id("a"), person("x"))];
    assert_eq!(store.fill(PERSONS, &two, now()), Err(SwapError::Conflict));
    assert_eq!(all(&*store), nothing);
    assert_eq!(all_of(&*store, "notes"), notes);
    // Ids that only look alike are different.
    let alike = [
        (id("a"), person("x")),
        (id("A"), person("x")),
        (id("a "), person("x")),
    ];
    store.fill(PERSONS, &alike, now()).unwrap();
    assert_eq!(all(&*store).records.len(), 3);
}

pub fn of_two_handles_exactly_one_fills_a_collection(place: &dyn Place) {
    let handles = [place.open(), place.open()];
    for round in 0..20 {
        let collection = format!("notes{round}");
        let fill = |writer: usize| {
            let name = format!("writer {writer}");
            let documents = shuffled(20, &name);
            match handles[writer % 2].fill(&collection, &documents, now()) {
                Ok(()) => Some(name),
                Err(error) => {
                    assert_eq!(error, SwapError::Conflict);
                    None
                }
            }
        };
        let won: Vec<String> = thread::scope(|scope| {
            let fill = &fill;
            let writers: Vec<_> = (0..4).map(|it| scope.spawn(move || fill(it))).collect();
            let won = writers.into_iter().map(|it| it.join().unwrap());
            won.flatten().collect()
        });
        assert_eq!(won.len(), 1, "{won:?}");
        let records = all_of(&*handles[0], &collection).records;
        assert_eq!(records.len(), 20);
        for record in records {
            assert!(record.document.as_str().contains(&won[0]), "{record:?}");
        }
    }
}

pub fn a_visit_sees_all_in_order_until_it_breaks_off(place: &dyn Place) {
    const COUNT: usize = 3000;
    let store = place.open();
    let visited = |collection: &str, most: usize| {
        let mut visited = Vec::new();
        let mut visit = |record: &Record| {
            visited.push(record.clone());
            if visited.len() < most {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        };
        store.visit(collection, &mut visit).unwrap();
        visited
    };
    assert_eq!(visited(PERSONS, 1), [], "the collection is empty");
    create_all(place, &shuffled(COUNT, "x"));
    create_in(&*store, "person", "0");
    create_in(&*store, "persons.1", "0");
    let all = all(&*store).records;
    assert_eq!(all.len(), COUNT);
    for most in [1, 2, 999, 1000, 1001, COUNT - 1, COUNT, COUNT + 1] {
        let visited = visited(PERSONS, most);
        assert_eq!(visited, all[..most.min(COUNT)], "at most {most} documents");
    }
    assert_eq!(visited("persons.1", 9).len(), 1);
    // A visit that stops early does not affect later calls.
    remove_from(&*store, PERSONS, &all[0].id);
    assert_eq!(visited(PERSONS, usize::MAX), all[1..]);
}

/// The first and the last person are created and removed in turn, and one of them exists at any time.
pub fn a_visit_is_of_one_moment(place: &dyn Place) {
    const COUNT: usize = 2000;
    let (reader, writer) = (place.open(), place.open());
    create_all(place, &shuffled(COUNT, "x"));
    let (first, last) = (id("!"), id("~"));
    create(&*writer, first.as_str());
    thread::scope(|scope| {
        let visits = scope.spawn(|| {
            for _ in 0..20 {
                let (mut inner, mut ends) = (0, 0);
                let mut visit = |record: &Record| {
                    let is_end = [&first, &last].contains(&&record.id);
                    *(if is_end { &mut ends } else { &mut inner }) += 1;
                    ControlFlow::Continue(())
                };
                reader.visit(PERSONS, &mut visit).unwrap();
                assert_eq!(inner, COUNT);
                assert!(ends > 0, "one of the two is always in the visit");
            }
        });
        for (comes, goes) in [(&last, &first), (&first, &last)].into_iter().cycle() {
            create(&*writer, comes.as_str());
            remove_from(&*writer, PERSONS, goes);
            if visits.is_finished() {
                break;
            }
        }
    });
}

/// The current versions, in the order of the given ids. A missing document has none.
pub fn versions_are_those_of_the_documents(place: &dyn Place) {
    let store = place.open();
    let ids = ["b", "none", "a", "gone", "ü", "b"].map(id);
    let expected = |store: &dyn Store| -> Vec<Option<Version>> {
        let version = |id| store.get(PERSONS, id).unwrap().map(|it| it.version);
        ids.iter().map(version).collect()
    };
    assert_eq!(store.document_versions(PERSONS, &[]), Ok(vec![]));
    assert_eq!(
        store.document_versions(PERSONS, &ids),
        Ok(vec![None; ids.len()])
    );
    for id in ["a", "b", "gone", "ü"] {
        create(&*store, id);
    }
    create_in(&*store, "notes", "none");
    remove_from(&*store, PERSONS, &id("gone"));
    let versions = store.document_versions(PERSONS, &ids).unwrap();
    assert_eq!(versions, expected(&*store));
    let are_there = versions.iter().map(Option::is_some);
    assert!(are_there.eq([true, false, true, false, true, true]));
}

/// An observer that records its calls.
#[derive(Default)]
struct Calls(Mutex<Vec<(String, Option<Id>)>>);

impl Observer for Calls {
    fn changed(&self, collection: &str, id: Option<&Id>) {
        self.0
            .lock()
            .unwrap()
            .push((collection.to_owned(), id.cloned()));
    }
}

impl Calls {
    #[track_caller]
    fn is(&self, collection: &str, id: Option<&Id>) {
        let calls = std::mem::take(&mut *self.0.lock().unwrap());
        assert_eq!(calls, [(collection.to_owned(), id.cloned())]);
    }
}

pub fn an_observer_is_called_after_each_change(place: &dyn Place) {
    let store = place.open();
    let observers = [Arc::new(Calls::default()), Arc::new(Calls::default())];
    for observer in &observers {
        let observer: Arc<dyn Observer> = Arc::clone(observer) as _;
        store.observe(Arc::downgrade(&observer));
    }
    let both_are_called = |collection: &str, id: Option<&Id>| {
        for observer in &observers {
            observer.is(collection, id);
        }
    };
    let (one, person) = (id("1"), person("x"));
    let first = create_in(&*store, "notes", "1");
    both_are_called("notes", Some(&one));
    let replace = Swap::replace("notes", &one, first, &person);
    let second = store.swap(&replace, now()).unwrap();
    both_are_called("notes", Some(&one));
    // A conflict is no change.
    assert_eq!(store.swap(&replace, now()), Err(SwapError::Conflict));
    let remove = Swap::remove("notes", &one, second);
    store.swap(&remove, now()).unwrap();
    both_are_called("notes", Some(&one));
    if store.fill(PERSONS, &shuffled(3, "x"), now()).is_ok() {
        both_are_called(PERSONS, None);
    }
    // An observer that exists no longer is not called.
    let [dropped, kept] = observers;
    drop(dropped);
    create_in(&*store, "notes", "1");
    kept.is("notes", Some(&one));
}

pub fn many_persons(place: &dyn Place) {
    let many = place.many();
    let store = place.open_fast();
    let id = |number: usize| format!("{number:06}");
    let mut made = Version::FIRST;
    for number in 0..many {
        // Each number once, and each far from the previous one.
        made = create(&*store, &id(number * 61_803 % many));
    }
    let (mut after, mut seen) = (None, 0);
    loop {
        let list = persons_after(&*store, after.as_deref(), 999);
        assert_eq!(list.version, place.kept(made));
        let Some(end) = list.records.last() else {
            break;
        };
        for record in &list.records {
            assert_eq!(record.id.as_str(), id(seen));
            seen += 1;
        }
        assert_eq!(list.more, seen < many);
        after = Some(end.id.as_str().to_owned());
    }
    assert_eq!(seen, many);
}

/// The clock stops, is set back, jumps and is irregular, and the store is closed and opened again.
pub fn versions_are_those_of_one_clock_whatever_it_shows(place: &dyn Place) {
    let start = now();
    let second = Duration::from_secs(1);
    let ten_years = 3653 * 86_400 * second;
    let clocks: [fn(SystemTime, u32) -> SystemTime; 5] = [
        |start, _| start,
        |start, tick| start + Duration::from_millis(300) * tick,
        |start, tick| start - Duration::from_secs(1) * tick,
        |start, tick| start + Duration::from_micros(10) - Duration::from_micros(1) * tick,
        |start, tick| start - Duration::from_nanos(10) * tick,
    ];
    let mut clock = VersionClock::after(Version::FIRST);
    let mut tags = HashSet::new();
    let mut undated = 0;
    for (round, shows) in clocks.into_iter().enumerate() {
        for offset in [start, start + ten_years, start - ten_years] {
            let store = place.open();
            assert_eq!(store.collection_version(PERSONS), Ok(Some(clock.latest())));
            let list = all(&*store).records;
            for tick in 0..6 {
                let now = shows(offset, tick);
                let expected = clock.next(now).unwrap();
                let (id, person) = (id(&tick.to_string()), person(&round.to_string()));
                let present = list.get(tick as usize).map(|record| record.version);
                let swap = match present {
                    None => Swap::create(PERSONS, &id, &person),
                    // The ids are used again, so the store must not depend on removed documents.
                    Some(version) if tick < 5 => Swap::replace(PERSONS, &id, version, &person),
                    Some(version) => Swap::remove(PERSONS, &id, version),
                };
                assert_eq!(store.swap(&swap, now), Ok(expected));
                assert!(tags.insert(expected.entity_tag()), "a tag came back");
                undated += usize::from(!expected.is_dated());
                let record = store.get(PERSONS, &id).unwrap();
                let removed = swap.new_document().is_none();
                let kept = (!removed).then_some(expected);
                assert_eq!(record.map(|record| record.version), kept);
            }
        }
    }
    assert_eq!(
        place.open().collection_version(PERSONS),
        Ok(Some(clock.latest()))
    );
    assert!((10..tags.len() - 10).contains(&undated), "{undated}");
}

/// The name of a person.
fn name_of(person: &Document) -> String {
    let person: serde_json::Value = serde_json::from_str(person.as_str()).unwrap();
    person["person_name"].as_str().unwrap().to_owned()
}

/// A store that keeps the member returns the first one. Keeping it does not change the collection.
pub fn the_member_with_the_ids_is_the_one_given_first(place: &dyn Place) {
    let store = place.open();
    let kept = |member: &str| Ok(member.to_owned());
    assert_eq!(store.id_member("notes"), Ok(None));
    assert_eq!(store.record_id_member("notes", "slug"), kept("slug"));
    assert_eq!(
        store.collection_version("notes"),
        Ok(place.kept(Version::FIRST))
    );
    let keeps = place.keeps_id_member();
    let later = if keeps { "slug" } else { "id" };
    assert_eq!(place.open().record_id_member("notes", "id"), kept(later));
    create(&*store, "1");
    let known = keeps.then(|| "slug".to_owned());
    assert_eq!(store.id_member("notes"), Ok(known));
    // The member can also be given after the first write.
    assert_eq!(
        store.record_id_member(PERSONS, "person_id"),
        kept("person_id")
    );
    assert_eq!(store.list("notes", Portion::ALL).unwrap().records, []);
}

/// Four writers increment one number: each reads it, writes it, and tries again after a conflict.
pub fn no_update_is_lost_between_two_handles(place: &dyn Place) {
    const EACH: usize = 100;
    let handles = [place.open(), place.open()];
    create(&*handles[0], "1");
    let id = id("1");
    let start = person("0");
    let version = handles[1].get(PERSONS, &id).unwrap().unwrap().version;
    handles[1]
        .swap(&Swap::replace(PERSONS, &id, version, &start), now())
        .unwrap();
    let made: Vec<Version> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store: &dyn Store = &*handles[writer % 2];
                let id = &id;
                scope.spawn(move || {
                    let mut made = Vec::new();
                    let mut tries = 0;
                    while made.len() < EACH {
                        tries += 1;
                        assert!(tries <= 4 * EACH, "a conflict without another write");
                        let read = store.get(PERSONS, id).unwrap().unwrap();
                        let number: usize = name_of(&read.document).parse().unwrap();
                        let next = person(&(number + 1).to_string());
                        let swap = Swap::replace(PERSONS, id, read.version, &next);
                        match store.swap(&swap, now()) {
                            Ok(version) => made.push(version),
                            Err(error) => assert_eq!(error, SwapError::Conflict),
                        }
                    }
                    assert!(made.is_sorted());
                    made
                })
            })
            .collect();
        let made = writers.into_iter().map(|writer| writer.join().unwrap());
        made.flatten().collect()
    });
    let distinct: HashSet<Version> = made.iter().copied().collect();
    assert_eq!(distinct.len(), 4 * EACH, "no two have made one version");
    for handle in handles {
        let record = handle.get(PERSONS, &id).unwrap().unwrap();
        assert_eq!(name_of(&record.document), (4 * EACH).to_string());
        assert_eq!(Some(&record.version), made.iter().max());
        assert_eq!(
            handle.collection_version(PERSONS),
            Ok(place.kept(record.version))
        );
    }
}

pub fn of_two_handles_exactly_one_finds_the_collection_unchanged(place: &dyn Place) {
    let handles = [place.open(), place.open()];
    for round in 0..50 {
        let version = handles[0].collection_version(PERSONS).unwrap().unwrap();
        let won = thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let store: &dyn Store = &*handles[writer % 2];
                    scope.spawn(move || {
                        let (id, person) = (id(&format!("{round}/{writer}")), person("x"));
                        let swap = Swap::create(PERSONS, &id, &person).while_collection_at(version);
                        match store.swap(&swap, now()) {
                            Ok(_) => 1,
                            Err(error) => {
                                assert_eq!(error, SwapError::Conflict);
                                0
                            }
                        }
                    })
                })
                .collect();
            let won = writers.into_iter().map(|writer| writer.join().unwrap());
            won.sum::<usize>()
        });
        assert_eq!(won, 1);
    }
    assert_eq!(all(&*handles[1]).records.len(), 50);
}

/// While persons are replaced, the version of a list is the latest version of its persons.
pub fn a_list_is_of_one_moment(place: &dyn Place) {
    let (reader, writer) = (place.open(), place.open());
    for id in 0..10 {
        create(&*writer, &id.to_string());
    }
    thread::scope(|scope| {
        let lists = scope.spawn(|| {
            let mut versions = HashSet::new();
            while versions.len() < 20 {
                let list = all(&*reader);
                let latest = list.records.iter().map(|record| record.version).max();
                assert_eq!(list.version, latest);
                versions.insert(list.version);
            }
        });
        for id in (0..10).cycle() {
            let (id, person) = (self::id(&id.to_string()), person("y"));
            let version = writer.get(PERSONS, &id).unwrap().unwrap().version;
            writer
                .swap(&Swap::replace(PERSONS, &id, version, &person), now())
                .unwrap();
            if lists.is_finished() {
                break;
            }
        }
    });
}

pub fn at_the_end_of_the_calendar_nothing_changes_any_more(place: &dyn Place) {
    let store = place.open();
    let (one, two, wim) = (id("1"), id("2"), person("Wim"));
    let end = Version::LAST.into();
    store.swap(&Swap::create(PERSONS, &one, &wim), end).unwrap();
    let refused = store.swap(&Swap::create(PERSONS, &two, &wim), now());
    assert!(matches!(refused, Err(SwapError::Store(_))), "{refused:?}");
    assert_eq!(persons_after(&*store, None, 9).records.len(), 1);
    // Other collections can still change.
    create_in(&*store, "notes", "1");
}

/// A fill creates no document if the versions before the end of the calendar are too few.
pub fn what_does_not_fit_into_the_calendar_is_not_begun(place: &dyn Place) {
    let store = place.open();
    let late = SystemTime::from(Version::LAST) - Duration::from_micros(9);
    let nothing = all(&*store);
    let refused = store.fill(PERSONS, &shuffled(11, "x"), late);
    assert!(matches!(refused, Err(SwapError::Store(_))), "{refused:?}");
    assert_eq!(all(&*store), nothing);
    store.fill(PERSONS, &shuffled(10, "x"), late).unwrap();
    assert_eq!(
        store.collection_version(PERSONS),
        Ok(place.kept(Version::LAST))
    );
}

fn keyed_write(key: &str, digest: u128, created: bool) -> KeyedWrite {
    KeyedWrite::new(IdempotencyKey::new(key).unwrap(), digest, created)
}

/// The keyed write that the store keeps for an existing document.
fn kept_write(store: &dyn Store, collection: &str, id: &Id) -> Option<KeyedWrite> {
    let record = store.get(collection, id).unwrap().unwrap();
    record.keyed_write.as_deref().cloned()
}

pub fn a_swap_keeps_its_key_with_what_it_makes(place: &dyn Place) {
    let (store, beside) = (place.open(), place.open());
    let (one, two, x) = (id("1"), id("2"), person("x"));
    create(&*store, "2");
    let writes = [
        keyed_write("one", 0, true),
        keyed_write("'; \"\\ ~", u128::MAX, false),
        keyed_write(&"x".repeat(255), 1 << 127, true),
        keyed_write(" ", 10, false),
    ];
    let mut version = None;
    for write in &writes {
        for write in [Some(write), None, Some(write)] {
            let swap = match version {
                None => Swap::create(PERSONS, &one, &x),
                Some(version) => Swap::replace(PERSONS, &one, version, &x),
            };
            let swap = write.map_or(swap, |write| swap.with_keyed_write(write));
            version = Some(store.swap(&swap, now()).unwrap());
            assert_eq!(kept_write(&*store, PERSONS, &one).as_ref(), write);
            assert_eq!(kept_write(&*beside, PERSONS, &one).as_ref(), write);
        }
    }
    // A swap that is not performed changes nothing.
    let stale = Swap::replace(PERSONS, &one, Version::FIRST, &x);
    let other = keyed_write("other", 1, false);
    let refused = store.swap(&stale.with_keyed_write(&other), now());
    assert_eq!(refused, Err(SwapError::Conflict));
    assert_eq!(
        kept_write(&*store, PERSONS, &one).as_ref(),
        Some(&writes[3])
    );
    assert_eq!(kept_write(&*store, PERSONS, &two), None);
    assert_eq!(
        store.removal(PERSONS, &one, now()),
        Ok(None),
        "the document exists"
    );
    let listed = all(&*store).records;
    assert_eq!(listed.len(), 2, "keys are not listed");
    let removed = remove_from(&*store, PERSONS, &one);
    assert_eq!(store.removal(PERSONS, &one, now()), Ok(None));
    assert_eq!(store.collection_version(PERSONS), Ok(place.kept(removed)));
}

pub fn a_removal_with_a_key_is_known_for_24_hours(place: &dyn Place) {
    let (store, beside) = (place.open(), place.open());
    let (one, two, x) = (id("1"), id("2"), person("x"));
    let second = Duration::from_secs(1);
    let day = KeyedWrite::REMOVAL_KEPT;
    let write = keyed_write("one", 7, false);
    let remove = |id: &Id, write: &KeyedWrite, now| {
        let version = store.get(PERSONS, id).unwrap().unwrap().version;
        let swap = Swap::remove(PERSONS, id, version);
        store.swap(&swap.with_keyed_write(write), now)
    };
    assert_eq!(
        store.removal(PERSONS, &one, now()),
        Ok(None),
        "the document never existed"
    );
    create(&*store, "1");
    let version = remove(&one, &write, now()).unwrap();
    assert_eq!(store.collection_version(PERSONS), Ok(place.kept(version)));
    for store in [&store, &beside] {
        assert_eq!(store.get(PERSONS, &one), Ok(None));
        assert_eq!(all(&**store).records, []);
        let known = |now| store.removal(PERSONS, &one, now).unwrap();
        assert_eq!(known(now()).as_ref(), Some(&write));
        assert_eq!(known(now() + day - second).as_ref(), Some(&write));
        assert_eq!(known(now() + day + second), None);
        assert_eq!(
            known(now() - day).as_ref(),
            Some(&write),
            "a clock set back"
        );
        assert_eq!(store.removal("notes", &one, now()), Ok(None));
        assert_eq!(store.removal(PERSONS, &two, now()), Ok(None));
        // Swaps that expect the removed version, or that of the removal, get a conflict.
        for swap in [
            Swap::replace(PERSONS, &one, version, &x),
            Swap::remove(PERSONS, &one, version),
        ] {
            assert_eq!(store.swap(&swap, now()), Err(SwapError::Conflict));
        }
    }
    // The removal is known until a document with this id is created, with or without a key.
    for key in [None, Some(keyed_write("two", 8, true))] {
        let swap = Swap::create(PERSONS, &one, &x);
        let swap = key.as_ref().map_or(swap, |key| swap.with_keyed_write(key));
        let created = store.swap(&swap, now()).unwrap();
        assert!(created > version);
        assert_eq!(kept_write(&*store, PERSONS, &one), key);
        remove_from(&*store, PERSONS, &one);
        assert_eq!(store.removal(PERSONS, &one, now()), Ok(None));
        create(&*store, "1");
        remove(&one, &write, now()).unwrap();
        assert!(store.removal(PERSONS, &one, now()).unwrap().is_some());
    }
    // A later removal does not delete an earlier one that is less than a day old.
    let day = KeyedWrite::REMOVAL_KEPT.as_secs();
    for (later, kept) in [(day - 1, true), (day + 1, false)] {
        let later = Duration::from_secs(later);
        create(&*store, "2");
        let other = keyed_write(&format!("{later:?}"), 9, false);
        remove(&two, &other, now() + later).unwrap();
        let known = store.removal(PERSONS, &one, now()).unwrap();
        assert!(known.is_some() || !kept, "{later:?}");
        assert!(
            store
                .removal(PERSONS, &two, now() + later)
                .unwrap()
                .is_some()
        );
    }
    // A fill creates the document, too, if the store supports fills.
    if store.fill(PERSONS, &[(two.clone(), x)], now()).is_ok() {
        remove_from(&*store, PERSONS, &two);
        assert_eq!(store.removal(PERSONS, &two, now()), Ok(None));
    }
}

pub fn a_key_is_kept_for_one_document_of_a_collection(place: &dyn Place) {
    let store = place.open();
    let (one, two, x) = (id("1"), id("2"), person("x"));
    let write = keyed_write("one", 7, true);
    let swap = |swap: Swap<'_>, now| store.swap(&swap.with_keyed_write(&write), now);
    let first = swap(Swap::create(PERSONS, &one, &x), now()).unwrap();
    let other = create(&*store, "2");
    let before = all(&*store);
    let three = id("3");
    for refused in [
        Swap::create(PERSONS, &three, &x),
        Swap::replace(PERSONS, &two, other, &x),
        Swap::remove(PERSONS, &two, other),
    ] {
        assert_eq!(
            swap(refused, now()),
            Err(SwapError::KeyTaken),
            "{refused:?}"
        );
        assert_eq!(all(&*store), before, "{refused:?}");
    }
    assert_eq!(kept_write(&*store, PERSONS, &two), None);
    // A conflict has precedence over a taken key, also for the document that has the key.
    for conflict in [
        Swap::create(PERSONS, &one, &x),
        Swap::create(PERSONS, &two, &x),
        Swap::replace(PERSONS, &two, Version::FIRST, &x),
        Swap::remove(PERSONS, &three, first),
    ] {
        assert_eq!(
            swap(conflict, now()),
            Err(SwapError::Conflict),
            "{conflict:?}"
        );
    }
    // Keys are case-sensitive, and each collection has its own.
    let capital = keyed_write("One", 7, true);
    let replace = Swap::replace(PERSONS, &two, other, &x);
    let other = store
        .swap(&replace.with_keyed_write(&capital), now())
        .unwrap();
    swap(Swap::create("notes", &two, &x), now()).unwrap();
    // The same document may have the key again, and its next swap without the key releases it.
    let second = swap(Swap::replace(PERSONS, &one, first, &x), now()).unwrap();
    store
        .swap(&Swap::replace(PERSONS, &one, second, &x), now())
        .unwrap();
    let other = swap(Swap::replace(PERSONS, &two, other, &x), now()).unwrap();
    // A removal keeps the key as long as the removal is known.
    swap(Swap::remove(PERSONS, &two, other), now()).unwrap();
    let create = Swap::create(PERSONS, &three, &x);
    assert_eq!(swap(create, now()), Err(SwapError::KeyTaken));
    let later = now() + KeyedWrite::REMOVAL_KEPT;
    let before = later - Duration::from_secs(1);
    assert_eq!(swap(create, before), Err(SwapError::KeyTaken));
    swap(create, later + Duration::from_secs(1)).unwrap();
    assert_eq!(
        store.removal(PERSONS, &two, later + Duration::from_secs(1)),
        Ok(None)
    );
    remove_from(&*store, PERSONS, &three);
    swap(Swap::create(PERSONS, &free_id(&*store), &x), later).unwrap();
}

/// An id that no document has.
fn free_id(store: &dyn Store) -> Id {
    let free = (0..).map(|number| id(&format!("free {number}")));
    let mut free = free.filter(|id| store.get(PERSONS, id).unwrap().is_none());
    free.next().unwrap()
}

/// The swaps create the same document, or a document each.
pub fn of_swaps_with_one_key_at_once_exactly_one_is_performed(place: &dyn Place) {
    let handles = [place.open(), place.open()];
    for round in 0..60 {
        let same = round % 2 == 0;
        let write = keyed_write(&format!("{round}"), 7, true);
        let results: Vec<_> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let (store, write) = (&handles[writer % 2], &write);
                    scope.spawn(move || {
                        let document = if same { 0 } else { writer };
                        let (id, x) = (id(&format!("{round}/{document}")), person("x"));
                        let swap = Swap::create(PERSONS, &id, &x);
                        store.swap(&swap.with_keyed_write(write), now())
                    })
                })
                .collect();
            let results = writers.into_iter().map(|writer| writer.join().unwrap());
            results.collect()
        });
        let count = |wanted: &dyn Fn(&Result<Version, SwapError>) -> bool| {
            results.iter().filter(|result| wanted(result)).count()
        };
        assert_eq!(count(&|it| it.is_ok()), 1, "{results:?}");
        let late = if same {
            SwapError::Conflict
        } else {
            SwapError::KeyTaken
        };
        assert_eq!(count(&|it| *it == Err(late.clone())), 3, "{results:?}");
    }
    assert_eq!(all(&*handles[1]).records.len(), 60);
}
