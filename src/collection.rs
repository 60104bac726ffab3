//! Collections: their names, their id members, and the documents that they admit.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::document::{ContentError, Document, Id};
use crate::endpoint::Endpoint;
use crate::json::Json;

mod collections;
mod documents;
mod error;
mod format;
mod persons;

pub use collections::Collections;
use documents::DocumentFormat;
pub use error::CollectionError;
pub(crate) use format::Format;
use persons::PersonFormat;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use persons::document_of_name;

/// The longest name of a collection, in bytes.
const MAX_NAME: usize = 64;

/// The name of the collection that is built in.
const PERSONS: &str = "persons";

/// A collection of documents that is served under its name.
///
/// `persons` is built in. Any other collection has JSON objects with an id:
///
/// ```
/// use ifmatch::{Collection, Collections, Policy};
///
/// #[derive(serde::Deserialize)]
/// struct Note {
///     title: String,
/// }
///
/// let notes = Collection::new("notes")?.admitting(|note: Note| match note.title.as_str() {
///     "" => Err("A note needs a title".to_owned()),
///     _ => Ok(()),
/// });
/// let mut policy = Policy::default();
/// policy.collections = Collections::new([notes, Collection::persons()])?;
/// # Ok::<(), ifmatch::CollectionError>(())
/// ```
#[derive(Clone)]
pub struct Collection {
    name: String,
    id_member: String,
    format: &'static dyn Format,
    admission: Option<Arc<Admission>>,
    schema: Value,
}

type Admission = dyn Fn(&Document) -> Result<(), ContentError> + Send + Sync;

impl Collection {
    /// The persons, with an id and a name each, in the format of the older service.
    #[must_use]
    pub fn persons() -> Self {
        Self {
            name: PERSONS.to_owned(),
            id_member: persons::ID_MEMBER.to_owned(),
            format: &PersonFormat,
            admission: None,
            schema: persons::schema(),
        }
    }

    /// A collection of this name: one path segment of letters and digits, with `-`, `_` and `.` inside.
    ///
    /// The ids are in the member `id`, and every JSON object is admitted.
    ///
    /// # Errors
    ///
    /// When `name` is not such a name, is longer than 64 bytes, or is a name of the server:
    /// `openapi.json`, `health`, `metrics`, `page.js`, `page.css`, or `persons`, which
    /// [`Collection::persons`] makes.
    pub fn new(name: &str) -> Result<Self, CollectionError> {
        if name == PERSONS || Endpoint::from_segment(name).is_some() {
            return Err(CollectionError::Reserved(name.to_owned()));
        }
        if !is_segment(name) {
            return Err(CollectionError::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            id_member: "id".to_owned(),
            format: &DocumentFormat,
            admission: None,
            schema: json!({"type": "object"}),
        })
    }

    /// The collection with the ids of its documents in the member of this name.
    ///
    /// # Errors
    ///
    /// When the name is empty, has a control character, or is that of another member that the server
    /// adds. When the collection is `persons`, whose ids are in `person_id`.
    pub fn with_id_member(self, name: &str) -> Result<Self, CollectionError> {
        let is_taken = documents::SERVER_MEMBERS.contains(&name);
        if name.is_empty() || is_taken || name.chars().any(char::is_control) {
            return Err(CollectionError::IdMember(name.to_owned()));
        }
        if self.name == PERSONS {
            return Err(CollectionError::Persons);
        }
        Ok(Self {
            id_member: name.to_owned(),
            ..self
        })
    }

    /// The collection that admits only documents which can be read as a `T` that passes `check`.
    ///
    /// The document is read without the members that the server adds, and so without its id. The
    /// error of `check` is the message for the client. If the document cannot be read as a `T`, the
    /// message says why. Members that `T` does not have are kept, unless `T` denies unknown fields.
    #[must_use]
    pub fn admitting<T: DeserializeOwned, E: Into<ContentError>>(
        self,
        check: impl Fn(T) -> Result<(), E> + Send + Sync + 'static,
    ) -> Self {
        let name = self.name.clone();
        let admission = move |document: &Document| match serde_json::from_str(document.as_str()) {
            Ok(value) => check(value).map_err(Into::into),
            Err(error) => {
                // The line and column are those in the sorted text, which is not what was sent.
                let reason = error.to_string();
                let reason = reason
                    .rsplit_once(" at line ")
                    .map_or(&*reason, |(it, _)| it);
                Err(format!("The content is no document of {name}: {reason}").into())
            }
        };
        Self {
            admission: Some(Arc::new(admission)),
            ..self
        }
    }

    /// The collection with a JSON Schema of its documents, for the description of the API: without
    /// the members that the server adds. A `$ref` in it resolves against the whole description.
    #[must_use]
    pub fn with_schema(self, schema: Value) -> Self {
        Self { schema, ..self }
    }

    /// The name, which is the path segment of the collection.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the member that holds the id.
    #[must_use]
    pub fn id_member(&self) -> &str {
        &self.id_member
    }

    /// The JSON Schema of the documents.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    pub(crate) fn format(&self) -> &dyn Format {
        self.format
    }

    /// Reads a document as POST does: without the members that the server adds, and its id if the
    /// content has one.
    ///
    /// # Errors
    ///
    /// When the collection does not admit it. The error is the message for the client.
    pub fn read_new(&self, content: &[u8]) -> Result<(Option<Id>, Document), ContentError> {
        let (id, document) = self.format.read_new(self, content)?;
        Ok((id, self.admit(document)?))
    }

    /// Reads the new state of a document, as PUT does.
    pub(crate) fn read_state(&self, id: &Id, content: &[u8]) -> Result<Document, ContentError> {
        self.admit(self.format.read_state(self, id, content)?)
    }

    /// Makes a document of the result of a patch.
    pub(crate) fn read_patched(&self, patched: &Json) -> Result<Document, ContentError> {
        self.admit(self.format.read_patched(patched)?)
    }

    /// Whether the representation of a document would be longer than `limit`, in bytes.
    pub(crate) fn is_too_long(&self, id: &Id, document: &Document, limit: u64) -> bool {
        let length = self.format.limited_length(self, id, document);
        length.is_some_and(|length| length as u64 > limit)
    }

    /// Checks a document by the rules that were given to [`admitting`](Self::admitting).
    fn admit(&self, document: Document) -> Result<Document, ContentError> {
        if let Some(admission) = &self.admission {
            admission(&document)?;
        }
        Ok(document)
    }
}

/// Whether a name is a path segment that is never percent-encoded.
fn is_segment(name: &str) -> bool {
    let is_end = |end: Option<char>| end.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_inside = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    is_end(name.chars().next())
        && is_end(name.chars().last())
        && name.chars().all(is_inside)
        && name.len() <= MAX_NAME
}

impl fmt::Debug for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collection")
            .field("name", &self.name)
            .field("id_member", &self.id_member)
            .finish_non_exhaustive()
    }
}

impl FromStr for Collection {
    type Err = CollectionError;

    /// Reads `NAME` or `NAME:ID_MEMBER`; `persons` is the built-in collection.
    fn from_str(text: &str) -> Result<Self, CollectionError> {
        match text.split_once(':') {
            None if text == PERSONS => Ok(Self::persons()),
            None => Self::new(text),
            Some((PERSONS, _)) => Err(CollectionError::Persons),
            Some((name, id_member)) => Self::new(name)?.with_id_member(id_member),
        }
    }
}
