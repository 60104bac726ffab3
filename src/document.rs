//! Documents, their ids, and the records that a store keeps.

use std::borrow::Borrow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::idempotency::{IdempotencyKey, KeyedWrite};
use crate::json::{Json, JsonError, Member};
use crate::version::Version;

/// The longest id, in bytes.
///
/// Percent-encoded, such an id still fits into a request target, so that every document that can
/// be created can be read.
pub const MAX_ID: usize = 1024;

/// The id of a document in its collection: any text that a path segment of a URL can name.
///
/// It is not empty, not longer than [`MAX_ID`], without control characters, and neither `.` nor `..`,
/// which clients remove from a path before they send it
/// ([RFC 3986 section 5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Arc<str>);

impl Id {
    /// Checks an id.
    ///
    /// # Errors
    ///
    /// When `id` breaks one of the rules above.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, IdError> {
        let id = id.into();
        if id.is_empty() {
            Err(IdError::Empty)
        } else if id.len() > MAX_ID {
            Err(IdError::TooLong)
        } else if id.chars().any(char::is_control) {
            Err(IdError::Control)
        } else if matches!(&*id, "." | "..") {
            Err(IdError::Dots)
        } else {
            Ok(Self(id))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id that the server makes for a POST without an id: twelve digits and lower-case letters, which
/// are the microseconds of the version in base 32. These ids sort as the versions do.
impl From<Version> for Id {
    fn from(version: Version) -> Self {
        Self(in_base_32(version.microseconds_after_1970().into(), 12).into())
    }
}

/// The id that the server makes for a POST with a key and without an id: 26 digits and lower-case
/// letters, which are the MD5 of the key in base 32.
///
/// The same key makes the same id, so that a repetition finds the document. These ids do not sort
/// by creation.
impl From<&IdempotencyKey> for Id {
    fn from(key: &IdempotencyKey) -> Self {
        Self(in_base_32(key.digest(), 26).into())
    }
}

/// The last digits of a number in base 32, without the letters `i`, `l`, `o` and `u`, which are
/// easily mistaken for others.
fn in_base_32(number: u128, digits: u32) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let digit = |place: u32| {
        let index = (number >> (5 * place)) & 31;
        DIGITS
            .get(usize::from(index as u8))
            .copied()
            .unwrap_or(b'0')
    };
    let places = (0..digits).rev();
    places.map(|place| char::from(digit(place))).collect()
}

impl Borrow<str> for Id {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a valid id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdError {
    /// It is empty.
    Empty,
    /// It is longer than [`MAX_ID`].
    TooLong,
    /// It holds a control character.
    Control,
    /// It is `.` or `..`.
    Dots,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong => write!(f, "must not be longer than {MAX_ID} bytes"),
            Self::Control => f.write_str("must not contain control characters"),
            Self::Dots => f.write_str("must not be `.` or `..`"),
        }
    }
}

impl Error for IdError {}

/// A document: the text of a JSON object, without the members that the server adds.
///
/// The members of the object are sorted by the bytes of their names; those of nested objects keep
/// their order. There is no white space between values. Numbers and strings are as they were sent:
/// nothing is converted when a document is written or read.
///
/// ```
/// use ifmatch::Document;
///
/// let note = Document::from_json(br#"{"title": "Milk", "litres": 1.0}"#)?;
/// assert_eq!(note.as_str(), r#"{"litres":1.0,"title":"Milk"}"#);
/// # Ok::<(), ifmatch::ContentError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(Arc<str>);

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    ///
    /// When `content` is not a JSON object, or is one that two parsers could read differently: with a
    /// member twice, with an unpaired surrogate, or nested more than 100 levels deep.
    pub fn from_json(content: &[u8]) -> Result<Self, ContentError> {
        let json = Json::read(content)?;
        let members = json.members().ok_or_else(|| not_an_object(&json))?;
        Ok(Self::from_members(members))
    }

    /// Makes a document of the text that a store has kept. Returns `None` if the text does not begin
    /// and end as an object does.
    ///
    /// The text is not parsed, so that reading a document is cheap.
    #[must_use]
    pub fn from_stored(text: impl Into<Arc<str>>) -> Option<Self> {
        let text = text.into();
        (text.len() > 1 && text.starts_with('{') && text.ends_with('}')).then_some(Self(text))
    }

    /// Sorts the members by the bytes of their names, and writes them.
    pub(crate) fn from_members(mut members: Vec<Member<'_>>) -> Self {
        members.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Self(Json::object(&members).as_str().into())
    }

    /// The text of the object.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses the text of the document.
    ///
    /// # Errors
    ///
    /// When it is not JSON, because another program has changed the stored text.
    pub(crate) fn json(&self) -> Result<Json, JsonError> {
        Json::read(self.0.as_bytes())
    }

    /// A comma and the text of the members, to write them after another member. Both are empty if
    /// there are no members.
    pub(crate) fn following_members(&self) -> (&'static str, &str) {
        let inside = self.0.strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        match inside.unwrap_or_default() {
            "" => ("", ""),
            members => (",", members),
        }
    }
}

/// A document as the store holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// Its id in the collection.
    pub id: Id,
    /// The document.
    pub document: Document,
    /// The version of this state.
    pub version: Version,
    /// The write that made this state, if it had a key.
    ///
    /// [`Store::get`](crate::Store::get) returns it; lists and visits need not have it.
    pub keyed_write: Option<Arc<KeyedWrite>>,
}

impl Record {
    /// The state of a document at a version.
    #[must_use]
    pub fn new(id: Id, document: Document, version: Version) -> Self {
        Self {
            id,
            document,
            version,
            keyed_write: None,
        }
    }

    /// The state that this write made.
    #[must_use]
    pub fn with_keyed_write(self, write: KeyedWrite) -> Self {
        Self {
            keyed_write: Some(Arc::new(write)),
            ..self
        }
    }

    /// The size in bytes: of the id and of the text. A list is limited by the sum of these sizes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.id.as_str().len() + self.document.as_str().len()
    }
}

/// Why the content of a request is refused. `Display` gives the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentError {
    message: String,
    detail: Option<String>,
}

impl ContentError {
    /// An error with the message for the client.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            detail: None,
        }
    }

    /// The error with a detail, which is sent beside the message.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..self
        }
    }

    /// The detail, if there is one.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for ContentError {}

impl From<String> for ContentError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ContentError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<JsonError> for ContentError {
    fn from(error: JsonError) -> Self {
        Self::new(error.to_string())
    }
}

/// The error of content that is JSON, but not an object.
pub(crate) fn not_an_object(json: &Json) -> ContentError {
    ContentError::new(format!(
        "The content must be a JSON object, not {}",
        json.kind()
    ))
}
