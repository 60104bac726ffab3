//! Entity tags: their grammar, and the two ways to compare them.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// An entity tag: the name of one version of a representation.
///
/// Valid by construction: the only ways in are parsing the wire form and the constructors
/// [`strong`](Self::strong) and [`weak`](Self::weak), and all of them check every character.
/// Displaying a tag gives its wire form back.
///
/// ```text
/// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
/// etagc      = %x21 / %x23-7E / obs-text
/// ```
///
/// There is no escaping in this grammar: `"a\"` is the whole tag `a\`.
///
/// Two tags are compared by [`strong_eq`](Self::strong_eq) or [`weak_eq`](Self::weak_eq), never
/// by `==`, which says whether two values are identical and is no comparison HTTP knows.
///
/// | a       | b       | strong | weak |
/// |---------|---------|--------|------|
/// | `W/"1"` | `W/"1"` | no     | yes  |
/// | `W/"1"` | `W/"2"` | no     | no   |
/// | `W/"1"` | `"1"`   | no     | yes  |
/// | `"1"`   | `"1"`   | yes    | yes  |
///
/// ```
/// use ifmatch::EntityTag;
///
/// let sent: EntityTag = r#"W/"1""#.parse()?;
/// let held = EntityTag::strong("1")?;
/// assert!(sent.weak_eq(&held) && !sent.strong_eq(&held));
/// assert_eq!(held.to_string(), r#""1""#);
/// # Ok::<(), ifmatch::ParseEntityTagError>(())
/// ```
///
/// [RFC 9110 section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EntityTag {
    opaque: String,
    weak: bool,
}

impl EntityTag {
    /// Makes a strong tag: it changes whenever a byte of the representation does.
    ///
    /// # Errors
    ///
    /// When `opaque` holds a character that is not `etagc`: a quote, a space, a control.
    pub fn strong(opaque: impl Into<String>) -> Result<Self, ParseEntityTagError> {
        Self::checked(opaque.into(), false, 0)
    }

    /// Makes a weak tag: it changes when the representation's meaning does.
    ///
    /// # Errors
    ///
    /// As [`strong`](Self::strong).
    pub fn weak(opaque: impl Into<String>) -> Result<Self, ParseEntityTagError> {
        Self::checked(opaque.into(), true, 0)
    }

    /// Names `content` by its MD5: a strong tag of 32 lower-case hex digits.
    pub(crate) fn digest(content: &[u8]) -> Self {
        let digit = |value: u8| char::from(if value < 10 { b'0' } else { b'a' - 10 } + value);
        let digits = |byte: u8| [digit(byte >> 4), digit(byte & 15)];
        let opaque = md5::compute(content)
            .0
            .into_iter()
            .flat_map(digits)
            .collect();
        Self {
            opaque,
            weak: false,
        }
    }

    /// What stands between the quotes.
    #[must_use]
    pub fn opaque(&self) -> &str {
        &self.opaque
    }

    /// Whether the tag carries the `W/` mark.
    #[must_use]
    pub fn is_weak(&self) -> bool {
        self.weak
    }

    /// Strong comparison: the opaque parts are the same, and neither tag is weak.
    ///
    /// [RFC 9110 section 8.8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2)
    #[must_use]
    pub fn strong_eq(&self, other: &Self) -> bool {
        !self.weak && !other.weak && self.opaque == other.opaque
    }

    /// Weak comparison: the opaque parts are the same.
    ///
    /// [RFC 9110 section 8.8.3.2](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.2)
    #[must_use]
    pub fn weak_eq(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }

    fn checked(opaque: String, weak: bool, start: usize) -> Result<Self, ParseEntityTagError> {
        match opaque.char_indices().find(|(_, c)| !is_etagc(*c)) {
            None => Ok(Self { opaque, weak }),
            Some((offset, found)) => Err(ParseEntityTagError {
                kind: Kind::Unexpected(found),
                position: start + offset,
            }),
        }
    }
}

impl FromStr for EntityTag {
    type Err = ParseEntityTagError;

    fn from_str(text: &str) -> Result<Self, ParseEntityTagError> {
        let (weak, quoted) = match text.strip_prefix("W/") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let start = text.len() - quoted.len();
        let fail = |kind, position| Err(ParseEntityTagError { kind, position });
        let Some(body) = quoted.strip_prefix('"') else {
            return fail(Kind::NotQuoted(quoted.chars().next()), start);
        };
        let (opaque, rest) = match body.split_once('"') {
            Some((opaque, rest)) => (opaque, Some(rest)),
            None => (body, None),
        };
        let tag = Self::checked(opaque.to_owned(), weak, start + 1)?;
        match rest.map(|rest| rest.chars().next()) {
            Some(None) => Ok(tag),
            Some(Some(found)) => fail(Kind::Trailing(found), start + opaque.len() + 2),
            None => fail(Kind::Unterminated, text.len()),
        }
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.weak { "W/" } else { "" };
        write!(f, "{mark}\"{}\"", self.opaque)
    }
}

/// Whether `c` may stand between the quotes: `etagc`, with everything beyond ASCII as obs-text.
pub(crate) fn is_etagc(c: char) -> bool {
    matches!(c, '!' | '#'..='~' | '\u{80}'..)
}

/// Why a text is no entity tag: what was wrong, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseEntityTagError {
    kind: Kind,
    position: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    NotQuoted(Option<char>),
    Unexpected(char),
    Unterminated,
    Trailing(char),
}

impl ParseEntityTagError {
    /// The byte at which the text stopped being an entity tag, counted from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for ParseEntityTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.position;
        match self.kind {
            Kind::NotQuoted(None) => write!(f, "expected a quoted tag at byte {at}, found the end"),
            Kind::NotQuoted(Some(c)) => {
                write!(f, "expected a quoted tag at byte {at}, found {c:?}")
            }
            Kind::Unexpected(c) => write!(f, "unexpected {c:?} in an entity tag at byte {at}"),
            Kind::Unterminated => write!(f, "entity tag without a closing quote at byte {at}"),
            Kind::Trailing(c) => write!(f, "unexpected {c:?} after the entity tag at byte {at}"),
        }
    }
}

impl Error for ParseEntityTagError {}
