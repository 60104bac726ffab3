//! What every store does, whatever it keeps the persons in.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use ifmatch::{
    Change, Collection, MemoryStore, Person, PersonId, Record, Store, Swap, SwapError, Version,
    VersionClock,
};

/// Where one store is, empty at first.
pub trait Place {
    /// A handle on the store, beside those there are, or after them.
    fn open(&self) -> Arc<dyn Store>;

    /// A handle on it that is as fast as it can be.
    fn open_fast(&self) -> Arc<dyn Store> {
        self.open()
    }

    /// Whether it keeps a version of the collection.
    fn tags_lists(&self) -> bool {
        true
    }

    /// The version of the collection after a change that made `latest`.
    fn kept(&self, latest: Version) -> Option<Version> {
        self.tags_lists().then_some(latest)
    }

    /// What `--store` is given for such a one.
    fn argument(&self) -> String;
}

/// As long as the place is there.
#[derive(Default)]
struct Memory(Arc<MemoryStore>);

impl Place for Memory {
    fn open(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0) as _
    }

    fn argument(&self) -> String {
        "memory".to_owned()
    }
}

/// Has every test below run against the stores of one kind, where there can be one.
macro_rules! suite {
    ($kind:ident, $place:expr) => {
        mod $kind {
            suite!(@each $place);
            suite!(@tests $place,
                a_swap_may_expect_the_collection_to_stand_still,
                versions_are_those_of_one_clock_whatever_it_shows,
                of_two_handles_exactly_one_finds_the_collection_unchanged,
                a_list_is_of_one_moment,
                at_the_end_of_the_calendar_nothing_changes_any_more,
            );
        }
    };
    // Whether or not there is a version of the collection.
    (@each $place:expr) => {
        suite!(@tests $place,
            a_swap_is_performed_only_on_what_it_expects,
            of_each_person_only_the_latest_version_is_expected,
            a_list_is_ordered_by_id_and_has_the_version_of_its_last_change,
            ids_and_names_of_every_script_stay_as_they_are,
            a_hundred_thousand_persons,
            no_update_is_lost_between_two_handles,
        );
    };
    (@tests $place:expr, $($test:ident,)*) => {
        $(#[test] fn $test() {
            if let Some(place) = $place {
                super::$test(&place);
            }
        })*
    };
}

suite!(memory, Some(super::Memory::default()));
#[cfg(feature = "sqlite")]
suite!(sqlite, Some(crate::sqlite::File::default()));
#[cfg(feature = "postgres")]
suite!(postgres, crate::cluster::Schema::new());
#[cfg(feature = "postgres")]
mod untagged {
    suite!(@each crate::cluster::Schema::new().map(|it| it.tagged(false)));
}

pub fn person(id: &str, name: &str) -> Person {
    Person::new(PersonId::new(id).unwrap(), name).unwrap()
}

pub fn at(change_date: &str) -> SystemTime {
    change_date.parse::<Version>().unwrap().into()
}

pub fn now() -> SystemTime {
    at("2026-11-23T12:00:00.000000")
}

/// Creates a person.
pub fn create(store: &dyn Store, id: &str) -> Version {
    store.swap(&Swap::create(&person(id, "x")), now()).unwrap()
}

fn all(store: &dyn Store) -> Collection {
    store.list(None, usize::MAX).unwrap()
}

fn ids(records: &[Record]) -> Vec<&str> {
    let ids = records.iter().map(|record| record.person.id().as_str());
    ids.collect()
}

/// Every pair of what is expected and what is there.
fn a_swap_is_performed_only_on_what_it_expects(place: &dyn Place) {
    let store = place.open();
    let (wim, tim) = (person("1", "Wim"), person("1", "Tim"));
    let stale = Version::from(now());

    // Nothing is there.
    assert_eq!(
        store.swap(&Swap::replace(&wim, stale), now()),
        Err(SwapError::Conflict)
    );
    assert_eq!(
        store.swap(&Swap::remove(wim.id(), stale), now()),
        Err(SwapError::Conflict)
    );
    let unchanged = place.kept(Version::FIRST);
    assert_eq!(store.version(), Ok(unchanged), "nothing has changed");
    let first = store.swap(&Swap::create(&wim), now()).unwrap();

    // Something is there.
    assert_eq!(
        store.swap(&Swap::create(&tim), now()),
        Err(SwapError::Conflict)
    );
    let second = store.swap(&Swap::replace(&tim, first), now()).unwrap();
    assert_eq!(
        store.swap(&Swap::replace(&wim, first), now()),
        Err(SwapError::Conflict)
    );
    assert_eq!(
        store.swap(&Swap::remove(wim.id(), first), now()),
        Err(SwapError::Conflict)
    );
    let record = store.get(wim.id()).unwrap().unwrap();
    assert_eq!((record.person, record.version), (tim, second));

    // Removed, and created again with the same content: a version of its own.
    let third = store.swap(&Swap::remove(wim.id(), second), now()).unwrap();
    assert_eq!(store.get(wim.id()), Ok(None));
    assert_eq!(
        store.swap(&Swap::replace(&wim, second), now()),
        Err(SwapError::Conflict)
    );
    let fourth = store.swap(&Swap::create(&wim), now()).unwrap();
    assert!(first < second && second < third && third < fourth);
    assert_eq!(store.version(), Ok(place.kept(fourth)));
}

/// Every version there has been, expected of every person there is, was or never was, with every
/// version of the collection.
fn of_each_person_only_the_latest_version_is_expected(place: &dyn Place) {
    let store = place.open();
    let mut versions = vec![Version::FIRST];
    let mut make = |swap: &Swap<'_>| {
        let version = store.swap(swap, now()).unwrap();
        versions.push(version);
        version
    };
    let (there, other, gone, never) = (
        person("there", "x"),
        person("other", "x"),
        person("gone", "x"),
        person("never", "x"),
    );
    let first = make(&Swap::create(&there));
    make(&Swap::create(&other));
    let removed = make(&Swap::create(&gone));
    make(&Swap::remove(gone.id(), removed));
    make(&Swap::replace(&there, first));
    let before = all(&*store);
    for person in [&there, &other, &gone, &never] {
        let present = store.get(person.id()).unwrap().map(|it| it.version);
        for &expected in &versions {
            for &collection in &versions {
                for swap in [
                    Swap::create(person),
                    Swap::replace(person, expected),
                    Swap::remove(person.id(), expected),
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

fn a_swap_may_expect_the_collection_to_stand_still(place: &dyn Place) {
    let store = place.open();
    let empty = store.version().unwrap().unwrap();
    let (one, two) = (person("1", "Wim"), person("2", "Wim"));
    let first = store
        .swap(&Swap::create(&one).while_collection_at(empty), now())
        .unwrap();
    let late = Swap::create(&two).while_collection_at(empty);
    assert_eq!(store.swap(&late, now()), Err(SwapError::Conflict));
    let second = store
        .swap(&Swap::create(&two).while_collection_at(first), now())
        .unwrap();
    let third = store
        .swap(
            &Swap::replace(&one, first).while_collection_at(second),
            now(),
        )
        .unwrap();
    let remove = Swap::remove(two.id(), second);
    let late = remove.while_collection_at(second);
    assert_eq!(store.swap(&late, now()), Err(SwapError::Conflict));
    assert!(
        store
            .swap(&remove.while_collection_at(third), now())
            .is_ok()
    );
}

fn a_list_is_ordered_by_id_and_has_the_version_of_its_last_change(place: &dyn Place) {
    let store = place.open();
    for id in ["b", "a", "ü", "B", "10", "9", "a b", "名"] {
        create(&*store, id);
    }
    let removed = PersonId::new("9").unwrap();
    let version = store.get(&removed).unwrap().unwrap().version;
    let latest = store.swap(&Swap::remove(&removed, version), now()).unwrap();
    let Collection { version, records } = store.list(None, 100).unwrap();
    assert_eq!(version, place.kept(latest));
    assert_eq!(ids(&records), ["10", "B", "a", "a b", "b", "ü", "名"]);
    // From somewhere, and no more than is asked for; nobody need have the id.
    let page = |after, most| {
        let list = store.list(Some(after), most).unwrap();
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

/// Ids that a database might take for one another, put into an order of its own, or take for its
/// language.
const IDS: &str = "\
    a|A|ä|Ä|a\u{308}|ß|ss|i|I|ı|İ|fi|\u{fb01}|é|e\u{301}|Ω|\u{2126}|한|\u{1112}\u{1161}\u{11ab}\
    |1|01|1.0|1e0|10|9|-1|0x1|１|٣|名|עברית|العربية|ไทย|Ελλάδα|हिन्दी|😀|👩\u{200d}👧|🇳🇱\
    | |  |a | a|a\u{a0}|\u{2003}|\u{200b}|\u{feff}|\u{fffd}|\u{e000}|\u{ffff}|\u{10ffff}\
    |'|''|\"|`|\\|%|_|*|?|$1|?1|:a|;--|/*|{}|...|a/b|x'00'|NULL|null|'; DROP TABLE person; --";

fn ids_and_names_of_every_script_stay_as_they_are(place: &dyn Place) {
    let store = place.open();
    let long = ["x".repeat(1024), "é".repeat(512), "😀".repeat(256)];
    let mut given: Vec<&str> = IDS.split('|').collect();
    given.extend(long.iter().map(String::as_str));
    let names = ["x", "'", "\n", "\0", "a\0b", "😀", " ", &"é".repeat(30_000)];
    for (&id, name) in given.iter().zip(names.iter().cycle()) {
        let person = person(id, name);
        let version = store.swap(&Swap::create(&person), now()).unwrap();
        let again = store.swap(&Swap::create(&person), now());
        assert_eq!(again, Err(SwapError::Conflict), "{id}");
        let record = Record { person, version };
        assert_eq!(store.get(record.person.id()), Ok(Some(record)), "{id}");
    }
    let list = all(&*store);
    given.sort_unstable();
    assert_eq!(ids(&list.records), given, "by their bytes");
    // From each of them, and from beside it.
    for (index, id) in given.iter().enumerate() {
        let after = store.list(Some(id), 3).unwrap().records;
        let rest = given.iter().skip(index + 1);
        assert!(ids(&after).iter().eq(rest.take(3)), "after {id}");
        let beside = store.list(Some(&format!("{id}\u{1}")), 1).unwrap().records;
        assert_eq!(ids(&beside).first(), given.get(index + 1), "beside {id}");
    }
    for record in list.records {
        let remove = Swap::remove(record.person.id(), record.version);
        assert!(store.swap(&remove, now()).is_ok());
    }
    assert_eq!(all(&*store).records, []);
}

fn a_hundred_thousand_persons(place: &dyn Place) {
    const MANY: usize = 100_000;
    let store = place.open_fast();
    let id = |number: usize| format!("{number:06}");
    let mut made = Version::FIRST;
    for number in 0..MANY {
        // Each once, far from the one before.
        made = create(&*store, &id(number * 61_803 % MANY));
    }
    let (mut after, mut seen) = (None, 0);
    loop {
        let list = store.list(after.as_deref(), 999).unwrap();
        assert_eq!(list.version, place.kept(made));
        let Some(end) = list.records.last() else {
            break;
        };
        for record in &list.records {
            assert_eq!(record.person.id().as_str(), id(seen));
            seen += 1;
        }
        after = Some(end.person.id().as_str().to_owned());
    }
    assert_eq!(seen, MANY);
}

/// A clock that stands, goes back, jumps and staggers, and a store that is left and opened again.
fn versions_are_those_of_one_clock_whatever_it_shows(place: &dyn Place) {
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
            assert_eq!(store.version(), Ok(Some(clock.latest())));
            let list = all(&*store).records;
            for tick in 0..6 {
                let now = shows(offset, tick);
                let expected = clock.next(now).unwrap();
                let person = person(&tick.to_string(), &round.to_string());
                let present = list.get(tick as usize).map(|record| record.version);
                let swap = match present {
                    None => Swap::create(&person),
                    // The same persons come and go, so that what is left of the first is nothing.
                    Some(version) if tick < 5 => Swap::replace(&person, version),
                    Some(version) => Swap::remove(person.id(), version),
                };
                assert_eq!(store.swap(&swap, now), Ok(expected));
                assert!(tags.insert(expected.entity_tag()), "a tag came back");
                undated += usize::from(!expected.is_dated());
                let record = store.get(person.id()).unwrap();
                let removed = matches!(swap.change(), Change::Remove(..));
                let kept = (!removed).then_some(expected);
                assert_eq!(record.map(|record| record.version), kept);
            }
        }
    }
    assert_eq!(place.open().version(), Ok(Some(clock.latest())));
    assert!((10..tags.len() - 10).contains(&undated), "{undated}");
}

/// Everybody adds to a number by reading it, writing it and, when told so, trying again.
fn no_update_is_lost_between_two_handles(place: &dyn Place) {
    const EACH: usize = 100;
    let handles = [place.open(), place.open()];
    create(&*handles[0], "1");
    let id = PersonId::new("1").unwrap();
    let start = person("1", "0");
    let version = handles[1].get(&id).unwrap().unwrap().version;
    handles[1]
        .swap(&Swap::replace(&start, version), now())
        .unwrap();
    let made: Vec<Version> = thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let store: &dyn Store = &*handles[writer % 2];
                let id = &id;
                scope.spawn(move || {
                    let mut made = Vec::new();
                    while made.len() < EACH {
                        let read = store.get(id).unwrap().unwrap();
                        let number: usize = read.person.name().parse().unwrap();
                        let next = person("1", &(number + 1).to_string());
                        match store.swap(&Swap::replace(&next, read.version), now()) {
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
        let record = handle.get(&id).unwrap().unwrap();
        assert_eq!(record.person.name(), (4 * EACH).to_string());
        assert_eq!(Some(&record.version), made.iter().max());
        assert_eq!(handle.version(), Ok(place.kept(record.version)));
    }
}

fn of_two_handles_exactly_one_finds_the_collection_unchanged(place: &dyn Place) {
    let handles = [place.open(), place.open()];
    for round in 0..50 {
        let version = handles[0].version().unwrap().unwrap();
        let won = thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|writer| {
                    let store: &dyn Store = &*handles[writer % 2];
                    scope.spawn(move || {
                        let person = person(&format!("{round}/{writer}"), "x");
                        let swap = Swap::create(&person).while_collection_at(version);
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

/// While persons are replaced, the version of a list is that of the latest one in it.
fn a_list_is_of_one_moment(place: &dyn Place) {
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
            let person = person(&id.to_string(), "y");
            let version = writer.get(person.id()).unwrap().unwrap().version;
            writer
                .swap(&Swap::replace(&person, version), now())
                .unwrap();
            if lists.is_finished() {
                break;
            }
        }
    });
}

fn at_the_end_of_the_calendar_nothing_changes_any_more(place: &dyn Place) {
    let store = place.open();
    store
        .swap(&Swap::create(&person("1", "Wim")), Version::LAST.into())
        .unwrap();
    let error = store
        .swap(&Swap::create(&person("2", "Wim")), now())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no change date is left before the end of the calendar"
    );
    assert_eq!(store.list(None, 9).unwrap().records.len(), 1);
}
