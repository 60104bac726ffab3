//! Versions: change dates that are never used twice, and their entity tags.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::entity_tag::EntityTag;
use crate::field::ascii;
use crate::http_date::{
    HttpDate, MAX_MICROSECONDS, MICROSECONDS_PER_SECOND, microseconds, two_digits, utc,
};

/// The version of a resource: the moment of its last change, in microseconds.
///
/// Representations show it as the change date: UTC, six digits of fraction, no offset. No two states
/// of a document have the same version, and no two states of a collection that has versions:
/// [`VersionClock`] ensures this.
///
/// A version that was made while the clock showed an earlier second is *undated*: it sorts after the
/// versions before it, but it is not the time of the change.
///
/// ```
/// use ifmatch::Version;
///
/// let version: Version = "2020-12-24T10:11:52.200311".parse()?;
/// assert_eq!(version.to_string(), "2020-12-24T10:11:52.200311");
/// assert_eq!(version.entity_tag().to_string(), r#""42e98b50d35eb07fc6d595d019cc91c7""#);
/// # Ok::<(), ifmatch::ParseVersionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The microseconds since the beginning of 1970, times two, and one more if it is dated: eight
    /// bytes that sort as versions do.
    number: i64,
}

const CHANGE_DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

impl Version {
    /// The version of a resource that has never changed.
    pub const FIRST: Self = Self::new(0, true);

    /// The last version there can be: the end of the year 9999.
    pub const LAST: Self = Self::new(MAX_MICROSECONDS, true);

    const fn new(microseconds: i64, dated: bool) -> Self {
        Self {
            number: microseconds * 2 + dated as i64,
        }
    }

    const fn microseconds(self) -> i64 {
        self.number >> 1
    }

    /// The strong tag of this version: the lower-case hex MD5 of the change date.
    ///
    /// MD5 is not used for security here: a client that can read the tag can also read the date.
    ///
    /// [RFC 9110 section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)
    #[must_use]
    pub fn entity_tag(self) -> EntityTag {
        EntityTag::digest(&self.text())
    }

    /// The change date in microseconds after the beginning of 1970; 0 before it.
    pub(crate) fn microseconds_after_1970(self) -> u64 {
        self.microseconds().try_into().unwrap_or(0)
    }

    /// The change date as text.
    pub(crate) fn text(self) -> [u8; 26] {
        let mut text = *b"2020-12-24T10:11:52.200311";
        let at = utc(self.microseconds().div_euclid(MICROSECONDS_PER_SECOND));
        let (year, month, day) = at.to_calendar_date();
        let (hour, minute, second) = at.as_hms();
        let fraction = self
            .microseconds()
            .rem_euclid(MICROSECONDS_PER_SECOND)
            .unsigned_abs();
        text[..2].copy_from_slice(&two_digits(year.unsigned_abs() / 100));
        text[2..4].copy_from_slice(&two_digits(year.unsigned_abs()));
        text[5..7].copy_from_slice(&two_digits(month as u8));
        text[8..10].copy_from_slice(&two_digits(day));
        text[11..13].copy_from_slice(&two_digits(hour));
        text[14..16].copy_from_slice(&two_digits(minute));
        text[17..19].copy_from_slice(&two_digits(second));
        text[20..22].copy_from_slice(&two_digits(fraction / 10_000));
        text[22..24].copy_from_slice(&two_digits(fraction / 100));
        text[24..].copy_from_slice(&two_digits(fraction));
        text
    }

    /// The same version, undated.
    #[must_use]
    pub fn undated(self) -> Self {
        Self::new(self.microseconds(), false)
    }

    /// Whether the version is the time of the change.
    #[must_use]
    pub fn is_dated(self) -> bool {
        self.number & 1 == 1
    }

    /// The change date in whole seconds, for Last-Modified and the preconditions that compare it;
    /// `None` for a resource that has never changed, whose date is not known.
    ///
    /// An undated version counts as modified at the end of the year 9999. Its own second can be that
    /// of an earlier version, which a client got before the clock was set back: If-Modified-Since
    /// with that date must not lead to a 304.
    ///
    /// [RFC 9110 section 8.8.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2)
    #[must_use]
    pub fn last_modified(self) -> Option<HttpDate> {
        let known = if self.is_dated() { self } else { Self::LAST };
        (self != Self::FIRST).then(|| HttpDate::from_microseconds(known.microseconds()))
    }
}

impl From<SystemTime> for Version {
    /// Rounds down to microseconds.
    fn from(at: SystemTime) -> Self {
        Self::new(microseconds(at), true)
    }
}

impl From<Version> for SystemTime {
    fn from(version: Version) -> Self {
        let distance = Duration::from_micros(version.microseconds().unsigned_abs());
        if version.microseconds() < 0 {
            UNIX_EPOCH - distance
        } else {
            UNIX_EPOCH + distance
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ascii(&self.text()))
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        // The parser would take a sign before the year.
        match PrimitiveDateTime::parse(text, CHANGE_DATE) {
            Ok(at) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                let at = at.as_utc();
                let microseconds =
                    at.unix_timestamp() * MICROSECONDS_PER_SECOND + i64::from(at.microsecond());
                Ok(Self::new(microseconds, true))
            }
            _ => Err(ParseVersionError),
        }
    }
}

/// The text is not a change date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVersionError;

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a change date such as `2020-12-24T10:11:52.200311`")
    }
}

impl Error for ParseVersionError {}

/// Makes versions that strictly increase, even if the clock of the machine is set back.
///
/// A version that is used twice would lose an update: a writer with the tag of the first state would
/// overwrite the second state without having read it. So if the time is not later than the latest
/// version, the next version is one microsecond after the latest. It is undated if the time is in an
/// earlier second.
#[derive(Clone, Debug)]
pub struct VersionClock {
    latest: Version,
}

impl VersionClock {
    /// A clock whose next version is later than `latest`.
    #[must_use]
    pub fn after(latest: Version) -> Self {
        Self { latest }
    }

    /// The latest version: that of [`after`](Self::after), until [`next`](Self::next) makes one.
    #[must_use]
    pub fn latest(&self) -> Version {
        self.latest
    }

    /// Makes the version of a change at the time `now`; `None` after the end of the year 9999.
    pub fn next(&mut self, now: SystemTime) -> Option<Version> {
        let at = self.latest.microseconds() + 1;
        if at > Version::LAST.microseconds() {
            return None;
        }
        let reading = Version::from(now);
        self.latest = if reading.microseconds() >= at {
            reading
        } else {
            let second = |at: i64| at.div_euclid(MICROSECONDS_PER_SECOND);
            Version::new(at, second(reading.microseconds()) == second(at))
        };
        Some(self.latest)
    }
}
