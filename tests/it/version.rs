use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{Version, VersionClock};

type Clock = Box<dyn Fn(u32) -> SystemTime>;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// The change dates and tags that the older service documents.
#[test]
fn the_tag_is_the_md5_of_the_change_date() {
    for (change_date, tag) in [
        (
            "2020-12-24T10:11:52.200311",
            "42e98b50d35eb07fc6d595d019cc91c7",
        ),
        (
            "2020-12-24T14:01:26.095555",
            "5f190e4939a582ca96aeefb8e2d5ee2c",
        ),
        (
            "2020-12-24T14:02:40.897605",
            "b90595e3eae35cf10cc427cd85b264da",
        ),
        (
            "2020-12-24T14:09:19.086225",
            "3e2b0cb26be62a4287c33054f51a1974",
        ),
    ] {
        assert_eq!(version(change_date).to_string(), change_date);
        assert_eq!(
            version(change_date).entity_tag().to_string(),
            format!("\"{tag}\"")
        );
    }
}

#[test]
fn a_change_date_has_six_digits_and_no_offset() {
    let at = |micros| Version::from(UNIX_EPOCH + Duration::from_micros(micros)).to_string();
    assert_eq!(at(0), "1970-01-01T00:00:00.000000");
    assert_eq!(at(1_000_000), "1970-01-01T00:00:01.000000");
    assert_eq!(at(1), "1970-01-01T00:00:00.000001");
    assert_eq!(Version::FIRST.to_string(), "1970-01-01T00:00:00.000000");
    assert_eq!(Version::LAST.to_string(), "9999-12-31T23:59:59.999999");
    let finer = UNIX_EPOCH + Duration::from_nanos(1_999);
    assert_eq!(
        Version::from(finer).to_string(),
        "1970-01-01T00:00:00.000001"
    );
    for text in [
        "",
        "2020-12-24",
        "2020-12-24T10:11:52",
        "2020-12-24T10:11:52.2",
        "+2020-12-24T10:11:52.200311",
        "-0020-12-24T10:11:52.200311",
        "x",
    ] {
        let error = text.parse::<Version>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "not a change date such as `2020-12-24T10:11:52.200311`"
        );
    }
}

#[test]
fn s8_8_2_1_last_modified_is_cut_to_seconds() {
    let last_modified = version("2020-12-24T10:11:52.999999").last_modified();
    assert_eq!(
        last_modified.unwrap().to_string(),
        "Thu, 24 Dec 2020 10:11:52 GMT"
    );
    assert_eq!(
        Version::FIRST.last_modified(),
        None,
        "the date of the last change is unknown"
    );
}

/// Clocks that stop, are set back, jump and are irregular.
#[test]
fn s8_8_1_versions_increase_whatever_the_clock_does() {
    let second = Duration::from_secs(1);
    let year = 365 * 86_400 * second;
    let start = SystemTime::from(version("2026-11-23T12:00:00.000000"));
    let clocks: [(&str, Clock); 6] = [
        ("frozen", Box::new(move |_| start)),
        ("stepping back", Box::new(move |tick| start - tick * second)),
        (
            "set back a year",
            Box::new(move |tick| if tick < 50 { start } else { start - year }),
        ),
        (
            "jumping ten years",
            Box::new(move |tick| {
                if tick % 2 == 0 {
                    start + 10 * year
                } else {
                    start - 10 * year
                }
            }),
        ),
        (
            "finer than a version",
            Box::new(move |tick| start + tick * Duration::from_nanos(10)),
        ),
        (
            "before the epoch",
            Box::new(move |tick| UNIX_EPOCH - 1000 * second + tick * second),
        ),
    ];
    for (name, now) in clocks {
        let mut clock = VersionClock::after(Version::FIRST);
        let mut tags = HashSet::new();
        for tick in 0..1000 {
            let before = clock.latest();
            let version = clock.next(now(tick)).unwrap();
            assert!(version > before, "{name}");
            assert_eq!(version, clock.latest());
            assert!(
                tags.insert(version.entity_tag()),
                "{name}: a tag occurs twice"
            );
        }
    }
}

#[test]
fn a_version_is_the_time_of_the_clock() {
    let mut clock = VersionClock::after(Version::FIRST);
    for text in ["2020-12-24T10:11:52.200311", "2020-12-24T10:11:52.200312"] {
        assert_eq!(clock.next(version(text).into()), Some(version(text)));
    }
    assert_eq!(
        clock.next(version("2020-12-24T10:11:52.200312").into()),
        Some(version("2020-12-24T10:11:52.200313"))
    );
}

/// Several versions may share a second, so that a date does not identify a version that a wrong
/// clock made.
#[test]
fn s8_8_2_2_versions_of_a_wrong_clock_are_undated() {
    let mut clock = VersionClock::after(version("2026-11-23T12:00:01.500000"));
    for (now, made, dated) in [
        (
            "2026-11-23T12:00:01.500000",
            "2026-11-23T12:00:01.500001",
            true,
        ),
        (
            "2026-11-23T12:00:01.000000",
            "2026-11-23T12:00:01.500002",
            true,
        ),
        (
            "2026-11-23T12:00:00.999999",
            "2026-11-23T12:00:01.500003",
            false,
        ),
        (
            "2016-11-23T12:00:00.000000",
            "2026-11-23T12:00:01.500004",
            false,
        ),
        (
            "2036-11-23T12:00:00.999999",
            "2036-11-23T12:00:00.999999",
            true,
        ),
        (
            "2036-11-23T12:00:00.999999",
            "2036-11-23T12:00:01.000000",
            false,
        ),
    ] {
        let next = clock.next(version(now).into()).unwrap();
        assert_eq!(next.to_string(), made, "at {now}");
        let undated = next.last_modified() == Version::LAST.last_modified();
        assert_eq!(undated, !dated, "at {now}");
        assert_eq!(next.is_dated(), dated, "at {now}");
    }
}

#[test]
fn the_calendar_ends() {
    let mut clock = VersionClock::after(Version::LAST);
    assert_eq!(clock.next(UNIX_EPOCH), None);
    let mut clock = VersionClock::after(version("9999-12-31T23:59:59.999998"));
    assert_eq!(clock.next(UNIX_EPOCH), Some(Version::LAST.undated()));
    assert_eq!(clock.next(UNIX_EPOCH), None);
}
