//! The format of a collection's documents.

use serde_json::{Value, json};

use crate::collection::Collection;
use crate::document::{ContentError, Document, Id, IdError, Record};
use crate::entity_tag::EntityTag;
use crate::json::Json;

/// How the documents of a collection are read from requests and written to responses.
pub(crate) trait Format: Sync {
    /// Reads the content of POST: the document, and its id if the client gives one.
    ///
    /// # Errors
    ///
    /// When it is not a document of this format.
    fn read_new(
        &self,
        collection: &Collection,
        content: &[u8],
    ) -> Result<(Option<Id>, Document), ContentError>;

    /// Reads the content of PUT: the new state of the document `id`.
    ///
    /// # Errors
    ///
    /// When it is not a document of this format, or has another id.
    fn read_state(
        &self,
        collection: &Collection,
        id: &Id,
        content: &[u8],
    ) -> Result<Document, ContentError>;

    /// Reads the content of PATCH: a merge patch of the document `id`.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or changes a member that the server adds.
    fn read_patch(
        &self,
        collection: &Collection,
        id: &Id,
        content: &[u8],
    ) -> Result<Json, ContentError>;

    /// Makes a document of the result of a patch.
    ///
    /// # Errors
    ///
    /// When it is not a document of this format.
    fn read_patched(&self, patched: &Json) -> Result<Document, ContentError>;

    /// The length of the representation of a document, in bytes; `None` if this format does not limit
    /// it.
    fn limited_length(
        &self,
        collection: &Collection,
        id: &Id,
        document: &Document,
    ) -> Option<usize>;

    /// Writes the representation of a document, whose tag is that of its version.
    fn write(
        &self,
        collection: &Collection,
        record: &Record,
        entity_tag: &EntityTag,
        content: &mut Vec<u8>,
    );

    /// Writes the representation of a list of documents. Each record is dropped after it is written,
    /// so that a long list is not held twice.
    fn write_list(&self, collection: &Collection, records: Vec<Record>, content: &mut Vec<u8>);

    /// The error of a target whose id is not valid.
    fn id_error(&self, collection: &Collection, error: IdError) -> ContentError;

    /// The JSON Schema of the content of POST.
    fn post_schema(&self, collection: &Collection) -> Value;

    /// The JSON Schema of the content of PUT.
    fn put_schema(&self, collection: &Collection) -> Value;

    /// The JSON Schema of the representation of a document.
    fn representation_schema(&self, collection: &Collection) -> Value;

    /// The name of one document in messages.
    fn noun(&self) -> &'static str;
}

/// The schema with these members added. If they are `required`, so are they in the schema.
pub(super) fn with_members(schema: &Value, members: &[(&str, Value)], required: bool) -> Value {
    let mut schema = schema.clone();
    let Some(keywords) = schema.as_object_mut() else {
        return schema;
    };
    let properties = keywords.entry("properties").or_insert(json!({}));
    if let Some(properties) = properties.as_object_mut() {
        let members = members.iter().cloned();
        properties.extend(members.map(|(name, schema)| (name.to_owned(), schema)));
    }
    if required {
        let names = keywords.entry("required").or_insert(json!([]));
        if let Some(names) = names.as_array_mut() {
            let missing = members.iter().map(|(name, _)| json!(name));
            let missing: Vec<_> = missing.filter(|name| !names.contains(name)).collect();
            names.extend(missing);
        }
    }
    schema
}

pub(super) fn id_schema() -> Value {
    json!({"$ref": "#/components/schemas/Id"})
}

pub(super) fn change_date_schema() -> Value {
    json!({
        "type": "string",
        "description": "UTC, six digits of fraction, no offset.",
        "example": "2020-12-24T10:11:52.200311",
    })
}
