//! Judging a request: whether its method is performed, and if not, the response.

use std::error::Error;
use std::fmt;

use crate::http_date::HttpDate;
use crate::method::Method;
use crate::precondition::{Evaluation, Precondition, Preconditions, PreconditionsError, TagSyntax};
use crate::validators::Validators;

/// Judges a request by its preconditions. A handler needs only this call.
///
/// `fields` are all field lines of the request, as text or as bytes, for example a
/// `&http::HeaderMap`; see [`Preconditions::from_fields`] for why none may be left out. `selected`
/// holds the validators of the current representation, or is `None` if there is no representation.
/// `without_if_match` decides whether a write without If-Match is performed; it has no effect on GET
/// and HEAD.
///
/// Call it after the checks that need no content (target, rights, method), and before the content
/// is read or parsed. Do not call it if those checks end in another status than 2xx or 412: a GET
/// of a resource that does not exist gets 404, whatever its preconditions are
/// ([section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
///
/// No other write may come between the judgement and the write. In memory, hold the lock for both.
/// In a database, lock the row (`SELECT ... FOR UPDATE`), or name the revision that was judged in
/// the write (`UPDATE ... WHERE id = ? AND revision = ?`); if no row has changed, read and judge
/// again.
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
/// When the method must not be performed. [`NotPerformed`] is the response: its status, its fields
/// and a sentence with the reason. With the feature `http` it converts into an `http::Response`, so
/// that a handler which returns `Result<_, Response>` can use `?`.
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
        Err(error) if method.selects() => Err(Reason::BadRequest(error)),
        Err(_) => Ok(()),
        Ok(asked) => asked.judge(method, selected, without_if_match),
    };
    judged.map_err(|reason| NotPerformed::new(reason, selected, now))
}

/// Whether a write without If-Match is performed where a representation exists.
///
/// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutIfMatch {
    /// It is refused with 428, because it could overwrite a state that its client has not read. This
    /// is the choice for PUT, PATCH and DELETE.
    ///
    /// The representation needs a strong tag, because If-Match never matches a weak one. A date is no
    /// replacement for a tag, because two versions can be made in one second.
    ///
    /// A PUT is performed if there is no representation. It creates one, even if another client has
    /// just removed the representation; a client prevents this with If-Match.
    Refuse,
    /// It is performed. This is the choice for a POST that adds to a collection, and for methods
    /// without effect on the resource.
    Perform,
}

/// Why a method is not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The client's copy is current: 304.
    NotModified,
    /// A precondition is false: 412.
    PreconditionFailed {
        /// The precondition that is false.
        field: Precondition,
        /// Whether If-Match is false only because a tag is weak: one in the field, or the current one.
        weak: bool,
    },
    /// A write has no If-Match: 428.
    PreconditionRequired,
    /// A precondition cannot be read: 400.
    BadRequest(PreconditionsError),
}

impl Reason {
    /// The status code: 304, 400, 412 or 428.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotModified => 304,
            Self::PreconditionFailed { .. } => 412,
            Self::PreconditionRequired => 428,
            Self::BadRequest(_) => 400,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotModified => f.write_str("the representation has not changed"),
            Self::PreconditionFailed { weak: true, .. } => {
                f.write_str("If-Match is false: it compares strongly, and a tag is weak (W/)")
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
    /// Judges a method by these preconditions, as [`judge`] does. Use it to judge a request again
    /// after another client has changed the resource, or to read tags in another [syntax](TagSyntax).
    ///
    /// [`evaluate`](Self::evaluate) does only what section 13.2.2 says. This function also
    /// distinguishes a false precondition from a malformed one, and requires If-Match.
    ///
    /// # Errors
    ///
    /// When the method must not be performed.
    pub fn judge(
        &self,
        method: Method,
        selected: Option<&Validators>,
        without_if_match: WithoutIfMatch,
    ) -> Result<(), Reason> {
        self.require_true(method, selected)?;
        self.require_if_match(method, selected.is_some(), without_if_match)
    }

    /// Evaluates the preconditions, and distinguishes a false one from a malformed one: the first of the
    /// two steps of [`judge`](Self::judge).
    pub(crate) fn require_true(
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

    /// Requires If-Match in a write if a representation `exists`: the second step.
    pub(crate) fn require_if_match(
        &self,
        method: Method,
        exists: bool,
        without_if_match: WithoutIfMatch,
    ) -> Result<(), Reason> {
        let refuses = without_if_match == WithoutIfMatch::Refuse;
        let writes = method.selects() && !method.is_read();
        if refuses && exists && writes && self.if_match().is_none() {
            return Err(Reason::PreconditionRequired);
        }
        Ok(())
    }
}

/// The response to a request whose method is not performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotPerformed {
    reason: Reason,
    current: Validators,
    now: HttpDate,
}

impl NotPerformed {
    /// The response for this reason. `current` has the validators of the current representation.
    #[must_use]
    pub fn new(reason: Reason, current: Option<&Validators>, now: impl Into<HttpDate>) -> Self {
        Self {
            reason,
            current: current.cloned().unwrap_or_default(),
            now: now.into(),
        }
    }

    /// Why the method is not performed.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The status code: 304, 400, 412 or 428.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.reason.status()
    }

    /// The field lines that the response must have, name and value.
    ///
    /// A 304 has the validators. Add Cache-Control, Content-Location, Expires and Vary if the 200
    /// would have had them, and Date unless the server does
    /// ([RFC 9110 section 15.4.5](https://www.rfc-editor.org/rfc/rfc9110#section-15.4.5)). Other
    /// responses have the current tag, if there is one, and caches may not store them.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.current.fields(self.now);
        if self.reason != Reason::NotModified {
            fields.retain(|(name, _)| *name == "ETag");
            fields.push(("Cache-Control", "no-store".to_owned()));
        }
        fields
    }

    /// The content: a sentence in plain text with the reason, or nothing if the status is 304.
    #[must_use]
    pub fn content(&self) -> String {
        match self.reason {
            Reason::NotModified => String::new(),
            _ => format!("{self}\n"),
        }
    }
}

impl fmt::Display for NotPerformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::PreconditionRequired if self.current.entity_tag.is_none() => f.write_str(
                "If-Match is missing; the current representation has no ETag, so send If-Match: *",
            ),
            reason => reason.fmt(f),
        }
    }
}

impl Error for NotPerformed {}
