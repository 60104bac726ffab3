use std::time::{Duration, UNIX_EPOCH};

use ifmatch::HttpDate;

/// Mon, 23 Nov 2026 12:00:00 GMT
fn now() -> HttpDate {
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(1_795_435_200))
}

#[track_caller]
fn reads(text: &str, written: &str) {
    assert_eq!(HttpDate::parse(text, now()).unwrap().to_string(), written);
}

#[test]
fn s5_6_7_three_forms_read_one_written() {
    assert_eq!(now().to_string(), "Mon, 23 Nov 2026 12:00:00 GMT");
    let written = "Sun, 06 Nov 1994 08:49:37 GMT";
    reads("Sun, 06 Nov 1994 08:49:37 GMT", written);
    reads("Sunday, 06-Nov-94 08:49:37 GMT", written);
    reads("Sun Nov  6 08:49:37 1994", written);
    reads("Wed Nov 16 08:49:37 1994", "Wed, 16 Nov 1994 08:49:37 GMT");
    reads(
        "Tue, 29 Feb 2000 23:59:59 GMT",
        "Tue, 29 Feb 2000 23:59:59 GMT",
    );
    reads(
        "Sat, 01 Jan 0000 00:00:00 GMT",
        "Sat, 01 Jan 0000 00:00:00 GMT",
    );
    reads(
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    );
    // A leap second is followed by the next minute.
    reads(
        "Sat, 31 Dec 2016 23:59:60 GMT",
        "Sun, 01 Jan 2017 00:00:00 GMT",
    );
    reads(
        "Saturday, 31-Dec-16 23:59:60 GMT",
        "Sun, 01 Jan 2017 00:00:00 GMT",
    );
    reads("Sat Dec 31 23:59:60 2016", "Sun, 01 Jan 2017 00:00:00 GMT");
    // The weekday must be valid, but need not be that of the date.
    reads("Mon, 06 Nov 1994 08:49:37 GMT", written);
}

#[test]
fn s5_6_7_two_digit_years() {
    reads(
        "Monday, 23-Nov-26 12:00:00 GMT",
        "Mon, 23 Nov 2026 12:00:00 GMT",
    );
    reads(
        "Tuesday, 24-Nov-26 12:00:00 GMT",
        "Tue, 24 Nov 2026 12:00:00 GMT",
    );
    reads(
        "Friday, 31-Dec-99 23:59:59 GMT",
        "Fri, 31 Dec 1999 23:59:59 GMT",
    );
    reads(
        "Saturday, 01-Jan-00 00:00:00 GMT",
        "Sat, 01 Jan 2000 00:00:00 GMT",
    );
    // Exactly fifty years ahead, and one second more.
    reads(
        "Monday, 23-Nov-76 12:00:00 GMT",
        "Mon, 23 Nov 2076 12:00:00 GMT",
    );
    reads(
        "Tuesday, 23-Nov-76 12:00:01 GMT",
        "Tue, 23 Nov 1976 12:00:01 GMT",
    );
    reads(
        "Friday, 31-Dec-76 00:00:00 GMT",
        "Fri, 31 Dec 1976 00:00:00 GMT",
    );
    reads(
        "Saturday, 01-Jan-77 00:00:00 GMT",
        "Sat, 01 Jan 1977 00:00:00 GMT",
    );
    reads(
        "Thursday, 29-Feb-96 00:00:00 GMT",
        "Thu, 29 Feb 1996 00:00:00 GMT",
    );
}

/// Fifty years are counted from the present, whatever the day or second of it.
#[test]
fn s5_6_7_two_digit_years_at_other_times() {
    #[track_caller]
    fn reads_at(now: &str, text: &str, written: &str) {
        let now = HttpDate::parse(now, self::now()).unwrap();
        assert_eq!(HttpDate::parse(text, now).unwrap().to_string(), written);
    }
    // The later year lacks this day, and would be too far ahead in any case.
    reads_at(
        "Sat, 01 Jan 2050 00:00:00 GMT",
        "Tuesday, 29-Feb-00 00:00:00 GMT",
        "Tue, 29 Feb 2000 00:00:00 GMT",
    );
    // A leap second counts as one second more.
    reads_at(
        "Mon, 23 Nov 2026 11:59:59 GMT",
        "Tuesday, 23-Nov-76 11:59:60 GMT",
        "Tue, 23 Nov 1976 12:00:00 GMT",
    );
}

/// A date after the end of the calendar is read as its end.
#[test]
fn s5_6_7_the_end_of_the_calendar() {
    let end = "Fri, 31 Dec 9999 23:59:59 GMT";
    let beyond = HttpDate::parse("Fri, 31 Dec 9999 23:59:60 GMT", now());
    assert_eq!(beyond, HttpDate::parse(end, now()));
}

#[test]
fn s5_6_7_malformed() {
    for text in [
        "",
        "yesterday",
        "Tue, 99 Foo",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "SUN, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov +994 08:49:37 GMT",
        "Sun, 06 Nov -994 08:49:37 GMT",
        "Sun, 06 Nov +1994 08:49:37 GMT",
        "Sun, 06 Nov -1994 08:49:37 GMT",
        "Sun Nov  6 08:49:37 +1994",
        "Sun Nov  6 08:49:37 -1994",
        "Sunday, 06-Nov--94 08:49:37 GMT",
        "Sunday, 06-Nov-+94 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 30 Feb 1994 08:49:37 GMT",
        "Mon, 29 Feb 1999 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Monday, 29-Feb-99 00:00:00 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov 06 08:49:37 1994 GMT",
        "784111777",
        "1994-11-06T08:49:37Z",
    ] {
        let error = HttpDate::parse(text, now()).expect_err(text);
        assert_eq!(
            error.to_string(),
            "not an HTTP-date such as `Sun, 06 Nov 1994 08:49:37 GMT`"
        );
    }
}

/// Every day of four centuries. The test counts the days from a known Saturday, by the rules of the
/// calendar.
#[test]
fn s5_6_7_round_trip() {
    let weekdays = ["Sat", "Sun", "Mon", "Tue", "Wed", "Thu", "Fri"];
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut days = 10_957_u64; // 2000-01-01 since the epoch
    for year in 2000..2400 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let lengths = [
            31,
            28 + u32::from(leap),
            31,
            30,
            31,
            30,
            31,
            31,
            30,
            31,
            30,
            31,
        ];
        for (month, length) in months.iter().zip(lengths) {
            for day in 1..=length {
                let weekday = weekdays[usize::try_from((days - 10_957) % 7).unwrap()];
                let text = format!("{weekday}, {day:02} {month} {year} 07:08:09 GMT");
                let at = UNIX_EPOCH + Duration::from_secs(days * 86_400 + 7 * 3600 + 8 * 60 + 9);
                assert_eq!(HttpDate::from(at).to_string(), text);
                assert_eq!(HttpDate::parse(&text, now()), Ok(HttpDate::from(at)));
                days += 1;
            }
        }
    }
}

#[test]
fn fractions_of_seconds_are_cut_off() {
    let before = UNIX_EPOCH - Duration::from_millis(1);
    assert_eq!(
        HttpDate::from(before).to_string(),
        "Wed, 31 Dec 1969 23:59:59 GMT"
    );
    let after = UNIX_EPOCH + Duration::from_millis(999);
    assert_eq!(
        HttpDate::from(after).to_string(),
        "Thu, 01 Jan 1970 00:00:00 GMT"
    );
    let never = UNIX_EPOCH + Duration::from_secs(u64::from(u32::MAX) * 1000);
    assert_eq!(
        HttpDate::from(never).to_string(),
        "Fri, 31 Dec 9999 23:59:59 GMT"
    );
}
