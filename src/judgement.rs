//! The judgement of a whole request: perform it, or what to answer instead.

use std::error::Error;
use std::fmt;

use crate::http_date::HttpDate;
use crate::method::Method;
use crate::precondition::{Evaluation, Precondition, Preconditions, PreconditionsError, TagSyntax};
use crate::validators::Validators;

/// Judges a request by its preconditions: the one call that a handler needs.
///
/// `fields` are all field lines of the request, as text or as bytes, for example a
/// `&http::HeaderMap`; see [`Preconditions::from_fields`] for why none may be left out. `selected`
/// holds the validators of the current representation, or is `None` where there is none.
/// `without_if_match` says what becomes of a write that does not name the version it replaces;
/// reads are not concerned.
///
/// Call it when the answer without preconditions would be 2xx or 412, and not for a target that
/// does not exist or a client that has no access
/// ([section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)). Hold the lock, or
/// the transaction, in which the method is then performed: a state that can change between the
/// judgement and the write is how updates get lost.
///
/// ```
/// use ifmatch::{EntityTag, Method, Validators, WithoutIfMatch, judge};
/// use std::time::SystemTime;
///
/// let current = Validators { entity_tag: Some(EntityTag::strong("b2")?), last_modified: None };
/// let put = |fields: &[(&str, &str)]| {
///     let fields = fields.iter().copied();
///     judge(Method::Put, fields, Some(&current), WithoutIfMatch::Refuse, SystemTime::now())
/// };
/// assert!(put(&[("If-Match", r#""b2""#)]).is_ok());
///
/// let outdated = put(&[("If-Match", r#""a1""#)]).unwrap_err();
/// assert_eq!(outdated.status(), 412);
/// assert!(outdated.fields().contains(&("ETag", r#""b2""#.to_owned())));
///
/// assert_eq!(put(&[]).unwrap_err().status(), 428);
/// # Ok::<(), ifmatch::ParseEntityTagError>(())
/// ```
///
/// # Errors
///
/// When the method is not to be performed. [`NotPerformed`] is the answer: its status, its fields
/// and a sentence that says why. With the feature `http` it converts into an `http::Response`, so
/// that a handler can use `?`.
///
/// [RFC 9110 section 13.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2)
pub fn judge<N: AsRef<str>, V: AsRef<[u8]>>(
    method: impl Into<Method>,
    fields: impl IntoIterator<Item = (N, V)>,
    selected: Option<&Validators>,
    without_if_match: WithoutIfMatch,
    now: impl Into<HttpDate>,
) -> Result<(), NotPerformed> {
    let (method, now) = (method.into(), now.into());
    let judged = match Preconditions::from_fields(fields, TagSyntax::Quoted, now) {
        _ if !method.selects() => Ok(()),
        Err(error) => Err(Reason::BadRequest(error)),
        Ok(asked) => asked
            .check(method, selected)
            .and_then(|()| asked.check_if_match(method, selected.is_some(), without_if_match)),
    };
    judged.map_err(|reason| NotPerformed {
        reason,
        current: selected.cloned().unwrap_or_default(),
        now,
    })
}

/// What becomes of a write without If-Match where a representation exists.
///
/// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutIfMatch {
    /// It is refused with 428, because it might overwrite what its client has never seen. This is
    /// the choice for PUT, PATCH and DELETE.
    ///
    /// A date does not stand in for a tag, since two versions can share a second.
    Refuse,
    /// It is performed. This is the choice for a POST that adds to a collection, and for methods
    /// that change nothing.
    Perform,
}

/// Why a method is not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client's copy is current: 304.
    NotModified,
    /// A precondition is false: 412.
    PreconditionFailed {
        /// Which one.
        field: Precondition,
        /// Whether If-Match names the current version by a weak tag, which it never matches.
        weak: bool,
    },
    /// A write came without If-Match: 428.
    PreconditionRequired,
    /// A precondition cannot be read: 400.
    BadRequest(PreconditionsError),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotModified => f.write_str("the representation has not changed"),
            Self::PreconditionFailed { weak: true, .. } => {
                f.write_str("If-Match compares strongly, and a weak tag (W/) never matches")
            }
            Self::PreconditionFailed { field, .. } => write!(
                f,
                "{field} is false; get the current representation, then try again"
            ),
            Self::PreconditionRequired => f.write_str(
                "If-Match is missing; get the current representation, then send its ETag in If-Match",
            ),
            Self::BadRequest(error) => error.fmt(f),
        }
    }
}

impl Preconditions {
    /// Evaluates the preconditions, and tells one that is false from one that cannot be read.
    pub(crate) fn check(
        &self,
        method: Method,
        selected: Option<&Validators>,
    ) -> Result<(), Reason> {
        let field = match self.evaluate(method, selected) {
            Evaluation::Perform => return Ok(()),
            Evaluation::NotModified => return Err(Reason::NotModified),
            Evaluation::PreconditionFailed(field) => field,
        };
        let malformed = match field {
            Precondition::IfMatch => self.if_match().and_then(|it| it.malformed()),
            Precondition::IfNoneMatch => self.if_none_match().and_then(|it| it.malformed()),
            Precondition::IfUnmodifiedSince | Precondition::IfModifiedSince => None,
        };
        Err(match malformed {
            Some(error) => Reason::BadRequest(PreconditionsError::Malformed(field, *error)),
            None => Reason::PreconditionFailed {
                field,
                weak: self.if_match().is_some_and(|it| it.is_weak_match(selected)),
            },
        })
    }

    /// Requires If-Match of a write where a representation `exists`.
    pub(crate) fn check_if_match(
        &self,
        method: Method,
        exists: bool,
        without_if_match: WithoutIfMatch,
    ) -> Result<(), Reason> {
        let refuses = without_if_match == WithoutIfMatch::Refuse;
        if refuses && exists && !method.is_read() && self.if_match().is_none() {
            return Err(Reason::PreconditionRequired);
        }
        Ok(())
    }
}

/// The answer to a request whose method is not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPerformed {
    reason: Reason,
    current: Validators,
    now: HttpDate,
}

impl NotPerformed {
    /// Why the method is not performed.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status code: 304, 400, 412 or 428.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.reason {
            Reason::NotModified => 304,
            Reason::PreconditionFailed { .. } => 412,
            Reason::PreconditionRequired => 428,
            Reason::BadRequest(_) => 400,
        }
    }

    /// The field lines that the answer must have, name and value.
    ///
    /// A 304 has the validators. To them belong the Cache-Control, Content-Location, Expires and
    /// Vary that a 200 would have had: these are for the caller to add
    /// ([RFC 9110 section 15.4.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5)). Other
    /// answers have the current tag, if there is one, and may not be stored by caches.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.current.fields(self.now);
        if self.reason != Reason::NotModified {
            fields.retain(|(name, _)| *name == "ETag");
            fields.push(("Cache-Control", "no-store".to_owned()));
            fields.push(("Content-Type", "text/plain; charset=utf-8".to_owned()));
        }
        fields
    }

    /// The content: a sentence that says why, or nothing where the status is 304.
    #[must_use]
    pub fn content(&self) -> String {
        match self.reason {
            Reason::NotModified => String::new(),
            reason => format!("{reason}\n"),
        }
    }
}

impl fmt::Display for NotPerformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Error for NotPerformed {}
