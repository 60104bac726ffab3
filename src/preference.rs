//! What a client would like to have sent back.

use crate::field::{list_members, trim};
use crate::message::Request;

/// What a client would like to have sent back after a write.
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
    /// Reads the preference among the Prefer field lines. The first `return` counts, and means
    /// nothing if its value is not known; other preferences are passed over, as section 2 wants it.
    pub(crate) fn of(request: &Request<'_>) -> Option<Self> {
        let preferences = request.field_lines("Prefer").flat_map(list_members);
        let mut returns = preferences.filter_map(|preference| {
            let mut parts = preference
                .split(|byte| *byte == b';')
                .next()?
                .splitn(2, |byte| *byte == b'=');
            let (name, value) = (parts.next()?, parts.next()?);
            trim(name)
                .eq_ignore_ascii_case(b"return")
                .then(|| trim(value))
        });
        match returns.next()? {
            b"minimal" | b"\"minimal\"" => Some(Self::Minimal),
            b"representation" | b"\"representation\"" => Some(Self::Representation),
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
