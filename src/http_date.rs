//! Dates as HTTP writes them.

use std::error::Error;
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, utc_datetime};
use time::parsing::Parsed;
use time::{PrimitiveDateTime, UtcDateTime};

use crate::field::ascii;

/// A point in time with the one-second resolution that HTTP gives its dates.
///
/// Three formats are read, because there are senders of all three. Only the first is written. Day and
/// month names are case-sensitive.
///
/// ```text
/// Sun, 06 Nov 1994 08:49:37 GMT    IMF-fixdate
/// Sunday, 06-Nov-94 08:49:37 GMT   RFC 850
/// Sun Nov  6 08:49:37 1994         asctime
/// ```
///
/// Two versions can be made in one second: then their dates are equal.
///
/// ```
/// use ifmatch::HttpDate;
/// use std::time::SystemTime;
///
/// let now = HttpDate::from(SystemTime::now());
/// let date = HttpDate::parse("Sunday, 06-Nov-94 08:49:37 GMT", now)?;
/// assert_eq!(date.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
/// # Ok::<(), ifmatch::ParseHttpDateError>(())
/// ```
///
/// [RFC 9110 section 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpDate {
    /// Seconds since the beginning of 1970, in the years 0 to 9999.
    seconds: i64,
}

type DateFormat = &'static [BorrowedFormatItem<'static>];

const IMF_FIXDATE: DateFormat = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
const RFC_850: DateFormat = format_description!(
    "[weekday], [day]-[month repr:short]-[year repr:last_two] [hour]:[minute]:[second] GMT"
);
const ASCTIME: DateFormat = format_description!(
    "[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]"
);

impl HttpDate {
    /// Parses one of the three formats.
    ///
    /// `now` determines the century of an RFC 850 date, whose year has two digits: a date that would
    /// be more than 50 years ahead is in the past. The weekday must be the name of a day, but need
    /// not be the right one.
    ///
    /// # Errors
    ///
    /// When the text is in none of the three formats, or its day or time does not exist.
    pub fn parse(text: &str, now: Self) -> Result<Self, ParseHttpDateError> {
        [IMF_FIXDATE, RFC_850, ASCTIME]
            .into_iter()
            .find_map(|format| parse_as(text, format, now))
            .ok_or(ParseHttpDateError)
    }

    /// The second in which this microsecond after the beginning of 1970 is.
    pub(crate) fn from_microseconds(microseconds: i64) -> Self {
        Self {
            seconds: microseconds.div_euclid(MICROSECONDS_PER_SECOND),
        }
    }

    /// The date as an IMF-fixdate.
    ///
    /// It is written digit by digit, because a response has several dates and `time` takes five times
    /// as long for each.
    fn text(self) -> [u8; 29] {
        let mut text = *b"Sun, 06 Nov 1994 08:49:37 GMT";
        let at = utc(self.seconds);
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.as_hms();
        text[..3].copy_from_slice(name(&DAYS, at.weekday().number_days_from_monday()));
        text[5..7].copy_from_slice(&two_digits(day));
        text[8..11].copy_from_slice(name(&MONTHS, month as u8 - 1));
        text[12..14].copy_from_slice(&two_digits(year.unsigned_abs() / 100));
        text[14..16].copy_from_slice(&two_digits(year.unsigned_abs()));
        text[17..19].copy_from_slice(&two_digits(hour));
        text[20..22].copy_from_slice(&two_digits(minute));
        text[23..25].copy_from_slice(&two_digits(second));
        text
    }

    /// The date as the value of a field.
    pub(crate) fn field_value(self) -> String {
        ascii(&self.text()).to_owned()
    }
}

impl From<SystemTime> for HttpDate {
    /// Cuts off the fraction of the second.
    fn from(at: SystemTime) -> Self {
        Self::from_microseconds(microseconds(at))
    }
}

impl fmt::Display for HttpDate {
    /// Prints an IMF-fixdate.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&self.text()))
    }
}

/// The decimal digits of the numbers below 100.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler would refuse a constant that panics"
)]
const TWO_DIGITS: [[u8; 2]; 100] = {
    let mut pairs = [*b"00"; 100];
    let mut number: u8 = 0;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// The last two decimal digits of a number.
pub(crate) fn two_digits(number: impl Into<u64>) -> [u8; 2] {
    let pair = TWO_DIGITS.get((number.into() % 100) as usize);
    pair.copied().unwrap_or_default()
}

/// The names of the days, from Monday, and of the months.
const DAYS: [&[u8; 3]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The name with this index; there is always one.
fn name(names: &[&'static [u8; 3]], index: u8) -> &'static [u8; 3] {
    names.get(usize::from(index)).copied().unwrap_or(b"   ")
}

/// The first and the last microsecond that HTTP can write, in the years 0 and 9999, since the
/// beginning of 1970.
const MIN_MICROSECONDS: i64 =
    utc_datetime!(0000-01-01 0:00).unix_timestamp() * MICROSECONDS_PER_SECOND;
pub(crate) const MAX_MICROSECONDS: i64 =
    (utc_datetime!(9999-12-31 23:59:59).unix_timestamp() + 1) * MICROSECONDS_PER_SECOND - 1;

pub(crate) const MICROSECONDS_PER_SECOND: i64 = 1_000_000;

/// The microseconds from the beginning of 1970 to `at`, rounded down, and limited to the years 0 to
/// 9999, which are those that HTTP can write.
pub(crate) fn microseconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => {
            i64::try_from(after.as_micros()).map_or(MAX_MICROSECONDS, |it| it.min(MAX_MICROSECONDS))
        }
        Err(before) => {
            let before = before.duration().as_nanos().div_ceil(1000);
            i64::try_from(before).map_or(MIN_MICROSECONDS, |it| MIN_MICROSECONDS.max(-it))
        }
    }
}

/// The date and the time of day that many seconds after the beginning of 1970.
pub(crate) fn utc(seconds: i64) -> UtcDateTime {
    UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::UNIX_EPOCH)
}

fn parse_as(text: &str, format: DateFormat, now: HttpDate) -> Option<HttpDate> {
    // The parser would take a sign before a year of four digits; the grammar has none.
    if text.contains('+') || text.contains(" -") {
        return None;
    }
    let mut parsed = Parsed::new();
    if !parsed.parse_items(text.as_bytes(), format).ok()?.is_empty() {
        return None;
    }
    if let Some(two_digits) = parsed.year_last_two() {
        let now = utc(now.seconds);
        // The latest year with these digits that is at most 50 years ahead.
        let last_year = now.year() + 50;
        let year = last_year - (last_year - i32::from(two_digits)).rem_euclid(100);
        // The date in that year can still be more than 50 years ahead: then it is a century earlier.
        let day = (year, parsed.month()?, parsed.day()?.get());
        let time = (parsed.hour_24()?, parsed.minute()?, parsed.second()?);
        let ahead = (day, time) > ((last_year, now.month(), now.day()), now.as_hms());
        parsed.set_year(if ahead { year - 100 } else { year })?;
    }
    // The grammar allows a leap second; `time` does not.
    let leap = parsed.second() == Some(60);
    if leap {
        parsed.set_second(59)?;
    }
    let read = PrimitiveDateTime::try_from(parsed).ok()?.as_utc();
    // A leap second at the end of the year 9999 would be in the year 10000.
    let seconds = (read.unix_timestamp() + i64::from(leap))
        .min(MAX_MICROSECONDS.div_euclid(MICROSECONDS_PER_SECOND));
    Some(HttpDate { seconds })
}

/// The text is not an HTTP-date in any of the three formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseHttpDateError;

impl fmt::Display for ParseHttpDateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an HTTP-date such as `Sun, 06 Nov 1994 08:49:37 GMT`")
    }
}

impl Error for ParseHttpDateError {}
