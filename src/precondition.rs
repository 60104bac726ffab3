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

/// The longest value of If-Match or of If-None-Match, all its lines together, in bytes.
pub const MAX_FIELD_VALUE: usize = 8 * 1024;

/// The four preconditions of a request, read from all its field lines. The fifth, If-Range, applies
/// to Range, which a server may ignore; it is not read here.
///
/// [`judge`](crate::judge) reads and judges a request in one call.
///
/// ```
/// use ifmatch::{EntityTag, Evaluation, Method, Precondition, Preconditions, TagSyntax, Validators};
/// use std::time::SystemTime;
///
/// let fields = [("If-Match", r#""a1", "b2""#)];
/// let read = Preconditions::from_fields(fields, TagSyntax::Quoted, SystemTime::now())?;
///
/// let mut current = Validators { entity_tag: Some(EntityTag::strong("b2")?), last_modified: None };
/// assert_eq!(read.evaluate(Method::Put, Some(&current)), Evaluation::Perform);
///
/// current.entity_tag = Some(EntityTag::strong("c3")?);
/// let failed = Evaluation::PreconditionFailed(Precondition::IfMatch);
/// assert_eq!(read.evaluate(Method::Put, Some(&current)), failed);
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
    /// Pass every field line as it was received, as text or as bytes, for example a
    /// `&http::HeaderMap` or pairs of `&str`. Do not convert values to text first and leave out those
    /// that are not text, which is easily done with `HeaderValue::to_str`: without its If-Match the
    /// write would be performed.
    ///
    /// Names are compared without regard to case; other fields are ignored. A date field is ignored
    /// if its value is not one valid date, as sections 13.1.3 and 13.1.4 require, and
    /// If-Modified-Since is ignored if it is later than `now`. Malformed tags are not ignored:
    /// [`IfMatch`] and [`IfNoneMatch`] describe their effect.
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
    /// 1. If-Match: if it is false, the precondition has failed.
    /// 2. If-Unmodified-Since, only without If-Match: the same.
    /// 3. If-None-Match: if it is false, GET and HEAD are answered "not modified"; for any other
    ///    method the precondition has failed.
    /// 4. If-Modified-Since, only without If-None-Match and only on GET and HEAD: if it is false, the
    ///    answer is "not modified".
    /// 5. The method is performed.
    ///
    /// All are ignored on OPTIONS, TRACE and CONNECT, which select no representation. Do not call
    /// this if the response without the preconditions would be another than 2xx or 412
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

    /// If-Match, if the request has the field.
    #[must_use]
    pub fn if_match(&self) -> Option<&IfMatch> {
        self.if_match.as_ref()
    }

    /// If-None-Match, if the request has the field.
    #[must_use]
    pub fn if_none_match(&self) -> Option<&IfNoneMatch> {
        self.if_none_match.as_ref()
    }

    /// Whether the request has no precondition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The result of evaluating the preconditions of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evaluation {
    /// Perform the method.
    Perform,
    /// The client's copy is current: 304.
    NotModified,
    /// This precondition is false: 412, and the method must not be performed.
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
    /// Whether the condition is true for the selected representation; `None` means that there is none.
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

    /// The error of the first malformed member, but only if no member is well-formed.
    #[must_use]
    pub fn malformed(&self) -> Option<&ParseEntityTagError> {
        self.0.malformed().filter(|_| self.0.is_empty())
    }
}

/// The If-None-Match field: the method is performed only if the current tag is not in this list.
///
/// Tags are compared weakly, because a reader may keep a representation with the same meaning. One
/// malformed member makes the field false for a write, because it could be meant as the current tag. For GET and HEAD
/// malformed members do not count, because a 200 is never wrong.
///
/// [RFC 9110 section 13.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfNoneMatch(EntityTags);

impl IfNoneMatch {
    /// Whether the condition is true for the selected representation; `None` means that there is none.
    #[must_use]
    pub fn is_true(&self, method: Method, selected: Option<&Validators>) -> bool {
        if self.malformed().is_some() && !method.is_read() {
            return false;
        }
        !self.0.contain(selected, EntityTag::weak_eq)
    }

    /// Whether the value is `*`, which is true only if there is no current representation.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0 == EntityTags::Any
    }

    /// The error of the first malformed member.
    #[must_use]
    pub fn malformed(&self) -> Option<&ParseEntityTagError> {
        self.0.malformed()
    }
}

/// Whether tags without quotes are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagSyntax {
    /// The grammar of RFC 9110: a tag without quotes is malformed.
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
        /// Whether there are well-formed tags that are not UTF-8. They equal no [`EntityTag`].
        has_non_utf8_tags: bool,
        malformed: Option<ParseEntityTagError>,
    },
}

impl EntityTags {
    /// Reads all lines of a field as one list (section 5.3). Returns `None` if there are no lines,
    /// which is not the same as an empty list.
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
        let (mut tags, mut has_non_utf8_tags, mut malformed) = (Vec::new(), false, None);
        for (count, member) in list_members(&value).enumerate() {
            if count == MAX_ENTITY_TAGS {
                return Err(PreconditionsError::TooManyTags(field));
            }
            match read_member(member, syntax) {
                Ok(Some(tag)) => tags.push(tag),
                Ok(None) => has_non_utf8_tags = true,
                Err(error) => malformed = malformed.or(Some(error)),
            }
        }
        Ok(Some(Self::Listed {
            tags,
            has_non_utf8_tags,
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

    /// Whether this is a list in which no member is well-formed.
    fn is_empty(&self) -> bool {
        matches!(self, Self::Listed { tags, has_non_utf8_tags, .. } if tags.is_empty() && !has_non_utf8_tags)
    }

    fn malformed(&self) -> Option<&ParseEntityTagError> {
        match self {
            Self::Any => None,
            Self::Listed { malformed, .. } => malformed.as_ref(),
        }
    }
}

/// Reads a member. Returns `None` if it is a well-formed tag that is not UTF-8.
fn read_member(member: &[u8], syntax: TagSyntax) -> Result<Option<EntityTag>, ParseEntityTagError> {
    // `*` beside other members is not a tag, and does not match everything.
    let bare = member.iter().copied().all(is_etagc) && member != b"*";
    match (std::str::from_utf8(member), syntax) {
        (Ok(member), TagSyntax::QuotedOrBare) if bare => EntityTag::strong(member).map(Some),
        (Ok(member), _) => member.parse().map(Some),
        (Err(_), TagSyntax::QuotedOrBare) if bare => Ok(None),
        (Err(_), _) => scan(member).map(|_| None),
    }
}

/// Why the preconditions of a request cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PreconditionsError {
    /// The field lists more than [`MAX_ENTITY_TAGS`].
    TooManyTags(Precondition),
    /// The field's value is longer than [`MAX_FIELD_VALUE`].
    TooLong(Precondition),
    /// A member of the field's list is not an entity tag.
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
