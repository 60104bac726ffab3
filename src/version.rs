use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use time::format_description::BorrowedFormatItem;
use time::macros::{format_description, utc_datetime};
use time::{PrimitiveDateTime, SignedDuration, UtcDateTime};

use crate::entity_tag::EntityTag;
use crate::http_date::{HttpDate, utc};

/// The version of a resource: the moment of its last change, in microseconds.
///
/// It is what the representation shows as `change_date`: UTC, six digits of fraction, no offset.
/// No two states of a store ever share one; the [`VersionClock`] sees to that.
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
pub struct Version(UtcDateTime);

const CHANGE_DATE: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

impl Version {
    /// The version of what has never changed.
    pub const FIRST: Self = Self(UtcDateTime::UNIX_EPOCH);

    /// The last version there can be: the end of the year 9999.
    pub const LAST: Self = Self(utc_datetime!(9999-12-31 23:59:59.999_999));

    /// The strong tag of this version: the lower-case hex MD5 of the change date.
    ///
    /// MD5 names a version here and protects nothing: whoever can read the tag can read the date
    /// it is made of.
    ///
    /// [RFC 9110 section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)
    #[must_use]
    pub fn entity_tag(self) -> EntityTag {
        EntityTag::digest(self.to_string().as_bytes())
    }

    /// The change date cut to seconds, for Last-Modified and the fields that ask about it; none
    /// for what has never changed, whose age nobody knows.
    ///
    /// [RFC 9110 section 8.8.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2)
    #[must_use]
    pub fn last_modified(self) -> Option<HttpDate> {
        (self != Self::FIRST).then(|| HttpDate::from(SystemTime::from(self)))
    }
}

impl From<SystemTime> for Version {
    /// Cuts off what is finer than a microsecond.
    fn from(at: SystemTime) -> Self {
        Self(utc(at).truncate_to_microsecond())
    }
}

impl From<Version> for SystemTime {
    fn from(Version(at): Version) -> Self {
        at.into()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.format(CHANGE_DATE).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Version {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, ParseVersionError> {
        match PrimitiveDateTime::parse(text, CHANGE_DATE) {
            Ok(at) => Ok(Self(at.as_utc())),
            Err(_) => Err(ParseVersionError),
        }
    }
}

/// The text is no change date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseVersionError;

impl fmt::Display for ParseVersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a change date such as `2020-12-24T10:11:52.200311`")
    }
}

impl Error for ParseVersionError {}

/// Hands out versions that strictly increase, whatever the machine's clock does.
///
/// A version that came back would be a lost update: a writer holding the tag of the first state
/// would overwrite the second one unseen. So a reading that is not later than the latest version
/// counts for nothing, and the next version is the microsecond after the latest.
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

    /// The version handed out last.
    #[must_use]
    pub fn latest(&self) -> Version {
        self.latest
    }

    /// The version of a change made `now`, or nothing when the calendar has come to its end.
    pub fn next(&mut self, now: SystemTime) -> Option<Version> {
        let following = self.latest.0.checked_add(SignedDuration::microseconds(1))?;
        self.latest = Version::from(now).max(Version(following));
        Some(self.latest)
    }
}
