//! The preferences `return` and `wait` of a request.

use std::time::Duration;

use crate::field::{list_members, trim};
use crate::message::{MAX_WAIT, Request};

/// The content that a client prefers in the response to a write.
///
/// [RFC 7240 section 4.2](https://www.rfc-editor.org/rfc/rfc7240#section-4.2)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Return {
    /// No content.
    Minimal,
    /// The current representation, also when the write fails with 412.
    Representation,
}

impl Return {
    /// The preference of a request; `None` if there is none, or its value is unknown.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        match preferred(request, "return")? {
            b"minimal" => Some(Self::Minimal),
            b"representation" => Some(Self::Representation),
            _ => None,
        }
    }

    /// The value of Preference-Applied.
    pub(crate) fn applied(self) -> &'static str {
        match self {
            Self::Minimal => "return=minimal",
            Self::Representation => "return=representation",
        }
    }
}

/// How long the client prefers to wait, at most [`MAX_WAIT`]; `None` if the value is 0, or is not a
/// number of seconds.
///
/// [RFC 7240 section 4.3](https://www.rfc-editor.org/rfc/rfc7240#section-4.3)
pub(crate) fn wait(request: &Request<'_>) -> Option<Duration> {
    let digits = preferred(request, "wait")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // A number that overflows is longer than the limit, too.
    let seconds = String::from_utf8_lossy(digits).parse().unwrap_or(u64::MAX);
    let limit = Duration::from_secs(seconds).min(MAX_WAIT);
    (!limit.is_zero()).then_some(limit)
}

/// The value of a preference, without quotes. If it is repeated, the first one counts. Other
/// preferences and parameters are ignored, as section 2 of RFC 7240 requires.
fn preferred<'a>(request: &Request<'a>, name: &str) -> Option<&'a [u8]> {
    let mut preferences = request.field_lines("Prefer").flat_map(list_members);
    preferences.find_map(|preference| {
        let preference = preference.split(|byte| *byte == b';').next()?;
        let equals = preference.iter().position(|byte| *byte == b'=')?;
        let (given, value) = preference.split_at(equals);
        if !trim(given).eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        let value = trim(value.get(1..)?);
        let quoted = value
            .strip_prefix(b"\"")
            .and_then(|it| it.strip_suffix(b"\""));
        Some(quoted.unwrap_or(value))
    })
}
