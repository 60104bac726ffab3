//! Entity tags: their grammar, and the two ways to compare them.

use std::error::Error;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

#[cfg(feature = "server")]
use crate::field::ascii;

/// An entity tag: the name of one version of a representation.
///
/// Valid by construction: parsing and the constructors check every character. Displaying a tag
/// gives its wire form back.
///
/// ```text
/// entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE
/// etagc      = %x21 / %x23-7E / obs-text
/// ```
///
/// There is no escaping in this grammar: `"a\"` is the whole tag `a\`. obs-text is UTF-8 here,
/// because a tag is text; [`Preconditions`](crate::Preconditions) also accept tags that are not
/// UTF-8, which equal no `EntityTag`.
///
/// Two tags are compared by [`strong_eq`](Self::strong_eq) or [`weak_eq`](Self::weak_eq), never
/// by `==`, which says whether two values are identical and is not a comparison of HTTP.
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
        Self::checked(opaque.into(), false)
    }

    /// Makes a weak tag: it changes when the representation's meaning does.
    ///
    /// # Errors
    ///
    /// As [`strong`](Self::strong).
    pub fn weak(opaque: impl Into<String>) -> Result<Self, ParseEntityTagError> {
        Self::checked(opaque.into(), true)
    }

    /// Makes the strong tag of a revision: the digits of its number.
    ///
    /// The number must change with every write, must not be used again after a removal, and must not be
    /// that of another representation of the resource, such as a compressed one.
    #[must_use]
    pub fn revision(number: impl Into<i128>) -> Self {
        Self {
            opaque: number.into().to_string(),
            weak: false,
        }
    }

    /// Names `content` by its MD5: a strong tag of 32 lower-case hex digits.
    #[cfg(feature = "server")]
    pub(crate) fn digest(content: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or_default();
        let bytes = md5::compute(content).0;
        let digits = bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        Self {
            opaque: ascii(digits.as_flattened()).to_owned(),
            weak: false,
        }
    }

    /// The tag without its quotes and without the `W/` mark.
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

    /// The tag as a field value.
    pub(crate) fn field_value(&self) -> String {
        let mut value = String::with_capacity(self.opaque.len() + 4);
        if self.weak {
            value.push_str("W/");
        }
        value.push('"');
        value.push_str(&self.opaque);
        value.push('"');
        value
    }

    fn checked(opaque: String, weak: bool) -> Result<Self, ParseEntityTagError> {
        check(opaque.as_bytes(), 0)?;
        Ok(Self { opaque, weak })
    }
}

impl FromStr for EntityTag {
    type Err = ParseEntityTagError;

    fn from_str(text: &str) -> Result<Self, ParseEntityTagError> {
        let (weak, opaque) = scan(text.as_bytes())?;
        // The opaque part is between two quotes, so the range does not cut a character.
        let opaque = text.get(opaque).unwrap_or_default().to_owned();
        Ok(Self { opaque, weak })
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.field_value())
    }
}

/// Parses one entity tag. Returns whether it is weak, and the range of its opaque part.
pub(crate) fn scan(value: &[u8]) -> Result<(bool, Range<usize>), ParseEntityTagError> {
    let (weak, quoted) = match value.strip_prefix(b"W/") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let mark = value.len() - quoted.len();
    let Some(body) = quoted.strip_prefix(b"\"") else {
        return Err(ParseEntityTagError::at(Kind::NotQuoted, quoted, mark));
    };
    let length = body.iter().position(|byte| *byte == b'"');
    let (opaque, rest) = body.split_at(length.unwrap_or(body.len()));
    let start = mark + 1;
    let end = start + opaque.len();
    check(opaque, start)?;
    match rest {
        [_] => Ok((weak, start..end)),
        [] => Err(ParseEntityTagError::at(Kind::Unterminated, rest, end)),
        [_, trailing @ ..] => Err(ParseEntityTagError::at(Kind::Trailing, trailing, end + 1)),
    }
}

/// Whether the byte may stand between the quotes: `etagc`.
pub(crate) fn is_etagc(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'~' | 0x80..)
}

/// Checks each byte of an opaque part, which begins at the byte `start` of the text.
fn check(opaque: &[u8], start: usize) -> Result<(), ParseEntityTagError> {
    match opaque.iter().position(|byte| !is_etagc(*byte)) {
        None => Ok(()),
        Some(at) => {
            let rest = opaque.get(at..).unwrap_or_default();
            Err(ParseEntityTagError::at(Kind::Unexpected, rest, start + at))
        }
    }
}

/// Why a text is not an entity tag: what is wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseEntityTagError {
    kind: Kind,
    /// The character at the position; `None` at the end of the text.
    found: Option<char>,
    position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NotQuoted,
    Unexpected,
    Unterminated,
    Trailing,
}

impl ParseEntityTagError {
    /// The error at the byte `position`, where `rest` begins.
    fn at(kind: Kind, rest: &[u8], position: usize) -> Self {
        let found = rest.utf8_chunks().next();
        Self {
            kind,
            found: found.map(|it| it.valid().chars().next().unwrap_or('\u{fffd}')),
            position,
        }
    }

    /// The index of the first byte that is wrong, counted from 0.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }
}

impl fmt::Display for ParseEntityTagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.position;
        let found = match self.found {
            Some(found) => format!("{found:?}"),
            None => "the end".to_owned(),
        };
        match self.kind {
            Kind::NotQuoted => write!(f, "expected a quoted tag at byte {at}, found {found}"),
            Kind::Unexpected => write!(f, "unexpected {found} in an entity tag at byte {at}"),
            Kind::Unterminated => write!(f, "entity tag without a closing quote at byte {at}"),
            Kind::Trailing => write!(f, "unexpected {found} after the entity tag at byte {at}"),
        }
    }
}

impl Error for ParseEntityTagError {}
