//! Idempotency keys, which make a write safe to repeat.

use std::error::Error;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::field::trim;
use crate::version::Version;

/// The longest key, in characters.
const MAX_KEY: usize = 255;

/// The key of a write, from the field `Idempotency-Key`: 1 to 255 characters of printable ASCII.
///
/// A client makes a new key for each write, and sends the same key when it repeats that write. The
/// field value is a string of [RFC 9651 section
/// 3.3.3](https://www.rfc-editor.org/rfc/rfc9651#section-3.3.3): in double quotes, with `\"` and
/// `\\` as the only escapes. No parameters are defined, and a value with parameters is refused, so
/// that no parameter is ignored. The source is
/// [draft-ietf-httpapi-idempotency-key-header](https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/),
/// which has expired.
///
/// ```
/// use ifmatch::IdempotencyKey;
///
/// let key = IdempotencyKey::new("8e03978e-40d5")?;
/// assert_eq!(r#""8e03978e-40d5""#.parse(), Ok(key));
/// # Ok::<(), ifmatch::IdempotencyKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks a key, which is given without quotes and escapes.
    ///
    /// # Errors
    ///
    /// When it is empty, has more than 255 characters, or has a character that is not printable
    /// ASCII.
    pub fn new(key: impl Into<Arc<str>>) -> Result<Self, IdempotencyKeyError> {
        let key = key.into();
        if !key.bytes().all(is_printable) {
            Err(IdempotencyKeyError::Malformed)
        } else if key.is_empty() || key.len() > MAX_KEY {
            Err(IdempotencyKeyError::Length)
        } else {
            Ok(Self(key))
        }
    }

    /// Reads the key from the field lines; `None` if there are none.
    pub(crate) fn from_lines<'a>(
        mut lines: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Self>, IdempotencyKeyError> {
        match (lines.next(), lines.next()) {
            (None, _) => Ok(None),
            (Some(line), None) => Self::from_field(line).map(Some),
            (Some(_), Some(_)) => Err(IdempotencyKeyError::Repeated),
        }
    }

    fn from_field(value: &[u8]) -> Result<Self, IdempotencyKeyError> {
        let quoted = trim(value).strip_prefix(b"\"");
        let quoted = quoted.ok_or(IdempotencyKeyError::Malformed)?;
        let mut key = String::new();
        let mut bytes = quoted.iter().copied();
        loop {
            let byte = match bytes.next() {
                Some(b'"') if bytes.len() == 0 => return Self::new(key),
                Some(b'\\') => bytes.next().filter(|it| matches!(it, b'"' | b'\\')),
                unescaped => unescaped.filter(|it| *it != b'"' && is_printable(*it)),
            };
            key.push(byte.ok_or(IdempotencyKeyError::Malformed)?.into());
        }
    }

    /// The key, without quotes and escapes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The MD5 of the key.
    pub(crate) fn digest(&self) -> u128 {
        u128::from_be_bytes(md5::compute(self.0.as_bytes()).0)
    }
}

/// A space, or a visible character of ASCII.
fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

impl FromStr for IdempotencyKey {
    type Err = IdempotencyKeyError;

    /// Reads a field value, with its quotes.
    fn from_str(text: &str) -> Result<Self, IdempotencyKeyError> {
        Self::from_field(text.as_bytes())
    }
}

/// Why the key of a request is not valid. `Display` gives the message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdempotencyKeyError {
    /// It is not a string in double quotes.
    Malformed,
    /// It is empty, or too long.
    Length,
    /// There are two field lines.
    Repeated,
}

impl fmt::Display for IdempotencyKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str(
                "Idempotency-Key must be a string of printable ASCII in double quotes, such as \
                 \"8e03978e-40d5-43dd-bc93-6894a57f9324\", and nothing else",
            ),
            Self::Length => write!(f, "Idempotency-Key must have 1 to {MAX_KEY} characters"),
            Self::Repeated => f.write_str("Idempotency-Key must be sent in one field line"),
        }
    }
}

impl Error for IdempotencyKeyError {}

/// A write with a key, which a store keeps with the document that the write made.
///
/// A later request with the same key and the same digest is a repetition of this write, as long as
/// this is the last write of the document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyedWrite {
    /// The key.
    pub key: IdempotencyKey,
    /// The MD5 of the method, the name of the collection, the id in the target, and the content.
    ///
    /// MD5 protects nothing here: a client that makes two requests with one digest, and sends both
    /// with one key, gets the response to the first of them twice.
    pub digest: u128,
    /// Whether the write created the document.
    pub created: bool,
}

impl KeyedWrite {
    /// For how long a store keeps a removal: 24 hours.
    pub const REMOVAL_KEPT: Duration = Duration::from_secs(24 * 60 * 60);

    /// A write with this key and this digest.
    #[must_use]
    pub fn new(key: IdempotencyKey, digest: u128, created: bool) -> Self {
        Self {
            key,
            digest,
            created,
        }
    }

    /// The version of the latest removal that is no longer kept: a removal is kept if its version is
    /// later than this.
    pub(crate) fn removal_cutoff(now: SystemTime) -> Version {
        let before = now.checked_sub(Self::REMOVAL_KEPT);
        before.map_or(Version::FIRST, Version::from)
    }
}

/// The digest of a request: of its method, the name of its collection, the id in its target if
/// there is one, and its content.
pub(crate) fn digest(method: &str, collection: &str, id: &str, content: &[u8]) -> u128 {
    let mut state = md5::Context::new();
    // A NUL ends each of these, because none of them can contain one.
    for text in [method, collection, id] {
        state.consume(text);
        state.consume([0]);
    }
    state.consume(content);
    u128::from_be_bytes(state.finalize().0)
}
