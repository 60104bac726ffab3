//! Persons, and the rules for the content that describes one.

use std::borrow::Borrow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// The longest id a person can have, in bytes.
///
/// Percent-encoded, such an id still fits into a request target, so that every person that can be
/// created can be fetched.
pub const MAX_PERSON_ID: usize = 1024;

/// The id of a person: any text but the few that no URL could name.
///
/// Not empty, not longer than [`MAX_PERSON_ID`], without control characters, and neither `.` nor
/// `..`, which clients cut out of a path before they send it
/// ([RFC 3986 section 5.2.4](https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonId(Arc<str>);

impl PersonId {
    /// Checks an id.
    ///
    /// # Errors
    ///
    /// When `id` breaks one of the rules above.
    pub fn new(id: impl Into<Arc<str>>) -> Result<Self, ContentError> {
        let id = id.into();
        if id.is_empty() {
            Err(ContentError::Mandatory(Member::Id))
        } else if id.len() > MAX_PERSON_ID {
            Err(ContentError::IdTooLong)
        } else if id.chars().any(char::is_control) {
            Err(ContentError::IdControl)
        } else if matches!(&*id, "." | "..") {
            Err(ContentError::IdDots)
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

impl Borrow<str> for PersonId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person: an id, and a name that is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    id: PersonId,
    name: Arc<str>,
}

impl Person {
    /// A person of this name.
    ///
    /// # Errors
    ///
    /// When `name` is empty.
    pub fn new(id: PersonId, name: impl Into<Arc<str>>) -> Result<Self, ContentError> {
        let name = name.into();
        if name.is_empty() {
            return Err(ContentError::Mandatory(Member::Name));
        }
        Ok(Self { id, name })
    }

    /// Reads a person who is to be created: `{"person_id": "1", "person_name": "Wim"}`.
    ///
    /// Other members are ignored. The id is checked before the name.
    ///
    /// # Errors
    ///
    /// When `content` is no such JSON; the error is the sentence to send.
    pub fn from_json(content: &[u8]) -> Result<Self, ContentError> {
        let members = object(content)?;
        let id = PersonId::new(text(&members, Member::Id)?)?;
        Self::new(id, text(&members, Member::Name)?)
    }

    /// Reads the new state of the person `id`: `{"person_name": "Wim"}`.
    ///
    /// Other members are ignored, a `person_id` among them.
    ///
    /// # Errors
    ///
    /// When `content` is no such JSON; the error is the sentence to send.
    pub fn with_id_from_json(id: PersonId, content: &[u8]) -> Result<Self, ContentError> {
        Self::new(id, text(&object(content)?, Member::Name)?)
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &PersonId {
        &self.id
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

fn object(content: &[u8]) -> Result<Map<String, Value>, ContentError> {
    if content.is_empty() {
        return Err(ContentError::Missing { detail: None });
    }
    let value = serde_json::from_slice(content).map_err(|error| ContentError::Missing {
        detail: Some(error.to_string()),
    })?;
    match value {
        Value::Object(members) if !members.is_empty() => Ok(members),
        value if is_empty(&value) => Err(ContentError::Missing { detail: None }),
        value => Err(ContentError::NotAnObject {
            found: kind(&value),
        }),
    }
}

/// Whether JSON data says nothing, as the clients of this API have always been told.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn text(members: &Map<String, Value>, member: Member) -> Result<&str, ContentError> {
    match members.get(member.name()) {
        None | Some(Value::Null) => Err(ContentError::Mandatory(member)),
        Some(Value::String(text)) => Ok(text),
        Some(value) => Err(ContentError::NotAString {
            member,
            found: kind(value),
        }),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// A member of a person's JSON object that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Member {
    /// `person_id`
    Id,
    /// `person_name`
    Name,
}

impl Member {
    fn name(self) -> &'static str {
        match self {
            Self::Id => "person_id",
            Self::Name => "person_name",
        }
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "Person ID",
            Self::Name => "Person name",
        })
    }
}

/// Why content is no person. What it displays is the message the client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ContentError {
    /// There is none, it is no JSON, or JSON that says nothing.
    Missing {
        /// What is wrong with it, and where, when it is no JSON.
        detail: Option<String>,
    },
    /// JSON, but no object.
    NotAnObject {
        /// What it is instead.
        found: &'static str,
    },
    /// The member is absent, null or empty.
    Mandatory(Member),
    /// The member is no string.
    NotAString {
        /// Which member.
        member: Member,
        /// What it is instead.
        found: &'static str,
    },
    /// The id is longer than [`MAX_PERSON_ID`].
    IdTooLong,
    /// The id holds a control character.
    IdControl,
    /// The id is `.` or `..`.
    IdDots,
}

impl fmt::Display for ContentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { .. } => f.write_str("Missing JSON data in request"),
            Self::NotAnObject { found } => {
                write!(f, "JSON data in request must be an object, not {found}")
            }
            Self::Mandatory(member) => write!(f, "{member} is mandatory"),
            Self::NotAString { member, found } => {
                write!(f, "{member} must be a string, not {found}")
            }
            Self::IdTooLong => write!(f, "Person ID must not be longer than {MAX_PERSON_ID} bytes"),
            Self::IdControl => f.write_str("Person ID must not contain control characters"),
            Self::IdDots => f.write_str("Person ID must not be `.` or `..`"),
        }
    }
}

impl Error for ContentError {}
