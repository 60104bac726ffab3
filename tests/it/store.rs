use std::time::SystemTime;

use ifmatch::{Collection, MemoryStore, Person, PersonId, Store, Swap, SwapError, Version};

fn person(id: &str, name: &str) -> Person {
    Person::new(PersonId::new(id).unwrap(), name).unwrap()
}

fn now() -> SystemTime {
    "2026-11-23T12:00:00.000000"
        .parse::<Version>()
        .unwrap()
        .into()
}

/// Every pair of what is expected and what is there.
#[test]
fn a_swap_is_performed_only_on_what_it_expects() {
    let store = MemoryStore::new();
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
    assert_eq!(store.version(), Ok(Version::FIRST), "nothing has changed");
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
    assert_eq!(store.version(), Ok(fourth));
}

#[test]
fn a_swap_may_expect_the_collection_to_stand_still() {
    let store = MemoryStore::new();
    let empty = store.version().unwrap();
    let (one, two) = (person("1", "Wim"), person("2", "Wim"));
    let first = store
        .swap(&Swap::create(&one).while_collection_at(empty), now())
        .unwrap();
    let late = Swap::create(&two).while_collection_at(empty);
    assert_eq!(store.swap(&late, now()), Err(SwapError::Conflict));
    assert!(
        store
            .swap(&Swap::create(&two).while_collection_at(first), now())
            .is_ok()
    );
}

#[test]
fn a_list_is_ordered_by_id_and_has_the_version_of_its_last_change() {
    let store = MemoryStore::new();
    for id in ["b", "a", "ü", "B", "10", "9", "a b", "名"] {
        store.swap(&Swap::create(&person(id, "x")), now()).unwrap();
    }
    let removed = PersonId::new("9").unwrap();
    let version = store.get(&removed).unwrap().unwrap().version;
    let last = store.swap(&Swap::remove(&removed, version), now()).unwrap();
    let Collection { version, records } = store.list(None, 100).unwrap();
    assert_eq!(version, last);
    let ids: Vec<_> = records
        .iter()
        .map(|record| record.person.id().as_str())
        .collect();
    assert_eq!(ids, ["10", "B", "a", "a b", "b", "ü", "名"]);
}

#[test]
fn at_the_end_of_the_calendar_nothing_changes_any_more() {
    let store = MemoryStore::new();
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
