//! The preconditions of a request, and their evaluation.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::entity_tag::{EntityTag, ParseEntityTagError, is_etagc, scan};
use crate::field::{list_members, trim};
use crate::http_date::HttpDate;
use crate::method::Method;
use crate::validators::Validators;

/// The most entity tags that one field may list.
pub const MAX_ENTITY_TAGS: usize = 256;

/// The longest value that one field may have, all its lines together, in bytes.
pub const MAX_FIELD_VALUE: usize = 8 * 1024;

/// The four preconditions of a request, read from all its field lines. The fifth, If-Range, goes
/// with Range, which a server may ignore, and does not appear here.
///
/// [`judge`](crate::judge) reads and judges a request in one call.
///
/// ```
/// use ifmatch::{EntityTag, Evaluation, Method, Precondition, Preconditions, TagSyntax, Validators};
/// use std::time::SystemTime;
///
/// let fields = [("If-Match", r#""a1", "b2""#)];
/// let asked = Preconditions::from_fields(fields, TagSyntax::Quoted, SystemTime::now())?;
///
/// let mut current = Validators { entity_tag: Some(EntityTag::strong("b2")?), last_modified: None };
/// assert_eq!(asked.evaluate(Method::Put, Some(&current)), Evaluation::Perform);
///
/// current.entity_tag = Some(EntityTag::strong("c3")?);
/// let failed = Evaluation::PreconditionFailed(Precondition::IfMatch);
/// assert_eq!(asked.evaluate(Method::Put, Some(&current)), failed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [RFC 9110 section 13](https://www.rfc-editor.org/rfc/rfc9110#section-13)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "these are the names of the fields in HTTP"
)]
pub struct Preconditions {
    if_match: Option<IfMatch>,
    if_none_match: Option<IfNoneMatch>,
    if_unmodified_since: Option<HttpDate>,
    if_modified_since: Option<HttpDate>,
}

impl Preconditions {
    /// Reads the preconditions among `fields`, pairs of name and value, one for each field line.
    ///
    /// Hand over every field line as it was received, as text or as bytes: a `&http::HeaderMap`
    /// will do, and so will pairs of `&str`. Do not convert values to text first and leave out
    /// those that cannot be, as `HeaderValue::to_str` invites to: an If-Match that is absent is
    /// not one that is false, and the write would be performed.
    ///
    /// Names are told apart without regard to case; other fields are passed over. A field whose
    /// value is not one valid date is ignored, as section 13.1.3 and 13.1.4 want it, and so is an
    /// If-Modified-Since later than `now`. Tags that are malformed are not: see [`IfMatch`] and
    /// [`IfNoneMatch`] for what they mean.
    ///
    /// # Errors
    ///
    /// When a list is longer than [`MAX_ENTITY_TAGS`] or [`MAX_FIELD_VALUE`].
    pub fn from_fields<N: AsRef<str>, V: AsRef<[u8]>>(
        fields: impl IntoIterator<Item = (N, V)>,
        syntax: TagSyntax,
        now: impl Into<HttpDate>,
    ) -> Result<Self, PreconditionsError> {
        let fields = fields.into_iter();
        let fields: Vec<_> = fields
            .filter_map(|(name, value)| Some((Precondition::of_name(name.as_ref())?, value)))
            .collect();
        let lines = |field: Precondition| -> Vec<&[u8]> {
            let named = fields.iter().filter(|(given, _)| *given == field);
            named.map(|(_, value)| value.as_ref()).collect()
        };
        let now = now.into();
        let tags = |field| EntityTags::read(field, &lines(field), syntax);
        let date = |field| match *lines(field) {
            [date] => HttpDate::parse(std::str::from_utf8(trim(date)).ok()?, now).ok(),
            _ => None,
        };
        Ok(Self {
            if_match: tags(Precondition::IfMatch)?.map(IfMatch),
            if_none_match: tags(Precondition::IfNoneMatch)?.map(IfNoneMatch),
            if_unmodified_since: date(Precondition::IfUnmodifiedSince),
            if_modified_since: date(Precondition::IfModifiedSince).filter(|date| *date <= now),
        })
    }

    /// Evaluates the preconditions for the selected representation; `None` means that there is none.
    ///
    /// The order is that of section 13.2.2:
    ///
    /// 1. If-Match; when false, the precondition failed.
    /// 2. Only without If-Match: If-Unmodified-Since; likewise.
    /// 3. If-None-Match; when false, GET and HEAD get "not modified", any other method failed.
    /// 4. Only without If-None-Match, on GET and HEAD: If-Modified-Since; "not modified".
    /// 5. The method is performed.
    ///
    /// On OPTIONS, TRACE and CONNECT, which select no representation, all are ignored. A caller
    /// that would not have answered 2xx or 412 without the preconditions must not ask at all
    /// ([section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
    ///
    /// [RFC 9110 section 13.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.2)
    #[must_use]
    pub fn evaluate(&self, method: Method, selected: Option<&Validators>) -> Evaluation {
        if !method.selects() {
            return Evaluation::Perform;
        }
        let modified = selected.and_then(|validators| validators.last_modified);
        let modified_after = |date| modified.is_some_and(|modified| modified > date);
        let not_modified_after = |date| modified.is_some_and(|modified| modified <= date);

        if let Some(if_match) = &self.if_match {
            if !if_match.is_true(selected) {
                return Evaluation::PreconditionFailed(Precondition::IfMatch);
            }
        } else if self.if_unmodified_since.is_some_and(modified_after) {
            return Evaluation::PreconditionFailed(Precondition::IfUnmodifiedSince);
        }

        if let Some(if_none_match) = &self.if_none_match {
            if !if_none_match.is_true(method, selected) {
                return if method.is_read() {
                    Evaluation::NotModified
                } else {
                    Evaluation::PreconditionFailed(Precondition::IfNoneMatch)
                };
            }
        } else if method.is_read() && self.if_modified_since.is_some_and(not_modified_after) {
            return Evaluation::NotModified;
        }

        Evaluation::Perform
    }

    /// If-Match, when the request has that field at all.
    #[must_use]
    pub fn if_match(&self) -> Option<&IfMatch> {
        self.if_match.as_ref()
    }

    /// If-None-Match, when the request has that field at all.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&IfNoneMatch> {
        self.if_none_match.as_ref()
    }

    /// Whether there is nothing to evaluate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What is to be done with a request after its preconditions were evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Perform the method.
    Perform,
    /// The client's copy is current: 304.
    NotModified,
    /// This precondition is false: 412, and nothing may change.
    PreconditionFailed(Precondition),
}

/// A field that makes a request conditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precondition {
    /// [RFC 9110 section 13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1)
    IfMatch,
    /// [RFC 9110 section 13.1.4](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.4)
    IfUnmodifiedSince,
    /// [RFC 9110 section 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)
    IfNoneMatch,
    /// [RFC 9110 section 13.1.3](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.3)
    IfModifiedSince,
}

impl Precondition {
    fn of_name(name: &str) -> Option<Self> {
        let is_named = |field: &Self| name.eq_ignore_ascii_case(field.name());
        let match_fields = [Self::IfMatch, Self::IfNoneMatch];
        let date_fields = [Self::IfUnmodifiedSince, Self::IfModifiedSince];
        match_fields.into_iter().chain(date_fields).find(is_named)
    }

    /// The field's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IfMatch => "If-Match",
            Self::IfUnmodifiedSince => "If-Unmodified-Since",
            Self::IfNoneMatch => "If-None-Match",
            Self::IfModifiedSince => "If-Modified-Since",
        }
    }
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The If-Match field: the method is performed only if the current tag is in this list.
///
/// Tags are compared strongly, because a writer must know every byte of what it replaces. A
/// malformed member matches nothing, so that a field without a well-formed member is false.
///
/// [RFC 9110 section 13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfMatch(EntityTags);

impl IfMatch {
    /// Whether the condition is true for the selected representation, or for its absence.
    #[must_use]
    pub fn is_true(&self, selected: Option<&Validators>) -> bool {
        self.0.contain(selected, EntityTag::strong_eq)
    }

    /// Whether a member matches the selected representation weakly, and none strongly: the
    /// condition is false only because a tag is weak.
    #[must_use]
    pub fn is_weak_match(&self, selected: Option<&Validators>) -> bool {
        !self.is_true(selected) && self.0.contain(selected, EntityTag::weak_eq)
    }

    /// Why the first malformed member is malformed, when no member is well-formed.
    #[must_use]
    pub fn malformed(&self) -> Option<&ParseEntityTagError> {
        self.0.malformed().filter(|_| self.0.is_empty())
    }
}

/// The If-None-Match field: the method is performed only if the current tag is not in this list.
///
/// Tags are compared weakly, because a reader may keep what means the same. One malformed member
/// makes the field false for a write, because it may have been the current tag. For GET and HEAD
/// malformed members do not count, because a 200 is never wrong.
///
/// [RFC 9110 section 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfNoneMatch(EntityTags);

impl IfNoneMatch {
    /// Whether the condition is true for the selected representation, or for its absence.
    #[must_use]
    pub fn is_true(&self, method: Method, selected: Option<&Validators>) -> bool {
        if self.malformed().is_some() && !method.is_read() {
            return false;
        }
        !self.0.contain(selected, EntityTag::weak_eq)
    }

    /// Whether the value is `*`: true only where there is no current representation.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == EntityTags::Any
    }

    /// Why the first malformed member is malformed, when there is one.
    #[must_use]
    pub fn malformed(&self) -> Option<&ParseEntityTagError> {
        self.0.malformed()
    }
}

/// Whether tags without quotes are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagSyntax {
    /// The grammar, no more: a tag without quotes is malformed.
    Quoted,
    /// A bare word reads as a strong tag: `If-Match: 42e9` is `If-Match: "42e9"`.
    QuotedOrBare,
}

/// `"*" / #entity-tag`
#[derive(Clone, Debug, PartialEq, Eq)]
enum EntityTags {
    Any,
    Listed {
        tags: Vec<EntityTag>,
        /// Whether there are tags that are well-formed, but not UTF-8. They equal no [`EntityTag`].
        others: bool,
        malformed: Option<ParseEntityTagError>,
    },
}

impl EntityTags {
    /// Reads all the lines of a field as the one list they are (section 5.3); nothing when there
    /// are none, which is not the same as an empty list.
    fn read(
        field: Precondition,
        lines: &[&[u8]],
        syntax: TagSyntax,
    ) -> Result<Option<Self>, PreconditionsError> {
        if lines.is_empty() {
            return Ok(None);
        }
        if lines.iter().map(|line| line.len()).sum::<usize>() > MAX_FIELD_VALUE {
            return Err(PreconditionsError::TooLong(field));
        }
        let value = match *lines {
            [line] => Cow::Borrowed(line),
            _ => lines.join(&b", "[..]).into(),
        };
        if trim(&value) == b"*" {
            return Ok(Some(Self::Any));
        }
        let (mut tags, mut others, mut malformed) = (Vec::new(), false, None);
        for (count, member) in list_members(&value).enumerate() {
            if count == MAX_ENTITY_TAGS {
                return Err(PreconditionsError::TooManyTags(field));
            }
            match read_member(member, syntax) {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => others = true,
                Err(error) => malformed = malformed.or(Some(error)),
            }
        }
        Ok(Some(Self::Listed {
            tags,
            others,
            malformed,
        }))
    }

    fn contain(
        &self,
        selected: Option<&Validators>,
        equal: fn(&EntityTag, &EntityTag) -> bool,
    ) -> bool {
        let current = selected.and_then(|validators| validators.entity_tag.as_ref());
        match self {
            Self::Any => selected.is_some(),
            Self::Listed { tags, .. } => {
                current.is_some_and(|current| tags.iter().any(|tag| equal(tag, current)))
            }
        }
    }

    /// Whether it is a list without one well-formed member.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Listed { tags, others, .. } if tags.is_empty() && !others)
    }

    fn malformed(&self) -> Option<&ParseEntityTagError> {
        match self {
            Self::Any => None,
            Self::Listed { malformed, .. } => malformed.as_ref(),
        }
    }
}

/// The tag that a member is; none where it is well-formed, but not UTF-8.
fn read_member(member: &[u8], syntax: TagSyntax) -> Result<Option<EntityTag>, ParseEntityTagError> {
    // `*` beside other members is no tag and no wildcard.
    let bare = member.iter().copied().all(is_etagc) && member != b"*";
    match (std::str::from_utf8(member), syntax) {
        (Ok(member), TagSyntax::QuotedOrBare) if bare => EntityTag::strong(member).map(Some),
        (Ok(member), _) => member.parse().map(Some),
        (Err(_), TagSyntax::QuotedOrBare) if bare => Ok(None),
        (Err(_), _) => scan(member).map(|_| None),
    }
}

/// A precondition cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreconditionsError {
    /// The field lists more than [`MAX_ENTITY_TAGS`].
    TooManyTags(Precondition),
    /// The field's value is longer than [`MAX_FIELD_VALUE`].
    TooLong(Precondition),
    /// A member of the field's list is no entity tag.
    Malformed(Precondition, ParseEntityTagError),
}

impl fmt::Display for PreconditionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooManyTags(field) => {
                write!(f, "{field} lists more than {MAX_ENTITY_TAGS} entity tags")
            }
            Self::TooLong(field) => write!(f, "{field} is longer than {MAX_FIELD_VALUE} bytes"),
            Self::Malformed(field, error) => write!(f, "{field} is malformed: {error}"),
        }
    }
}

impl Error for PreconditionsError {}
