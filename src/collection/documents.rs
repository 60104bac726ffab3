//! The format of all collections but persons.

use serde_json::{Value, json};

use crate::collection::Collection;
use crate::collection::format::{Format, change_date_schema, id_schema, with_members};
use crate::document::{ContentError, Document, Id, IdError, Record, not_an_object};
use crate::entity_tag::EntityTag;
use crate::json::{Json, Member, quoted, write_quoted};

/// The members that the server adds to every document, beside its id. Their values in a request are
/// ignored, so that a client can edit a representation and send it back.
pub(super) const SERVER_MEMBERS: [&str; 2] = ["_change_date", "_etag"];

/// A document is any JSON object. Its representation is one line, which begins with the members that
/// the server adds.
pub(super) struct DocumentFormat;

impl Format for DocumentFormat {
    fn read_new(
        &self,
        collection: &Collection,
        content: &[u8],
    ) -> Result<(Option<Id>, Document), ContentError> {
        let json = read(content)?;
        let members = json.members().ok_or_else(|| not_an_object(&json))?;
        let (id, members) = split_server_members(collection, members)?;
        Ok((id, Document::from_members(members)))
    }

    fn read_state(
        &self,
        collection: &Collection,
        id: &Id,
        content: &[u8],
    ) -> Result<Document, ContentError> {
        let json = read(content)?;
        let members = json.members().ok_or_else(|| not_an_object(&json))?;
        let members = client_members(collection, id, members)?;
        Ok(Document::from_members(members))
    }

    fn read_patch(
        &self,
        collection: &Collection,
        id: &Id,
        content: &[u8],
    ) -> Result<Json, ContentError> {
        let patch = read(content)?;
        match patch.members() {
            None => Ok(patch),
            Some(members) => Ok(Json::object(&client_members(collection, id, members)?)),
        }
    }

    fn read_patched(&self, patched: &Json) -> Result<Document, ContentError> {
        let members = patched.members().ok_or_else(|| not_an_object(patched))?;
        Ok(Document::from_members(members))
    }

    fn limited_length(
        &self,
        collection: &Collection,
        id: &Id,
        document: &Document,
    ) -> Option<usize> {
        let names = "\"_change_date\":\"\",\"_etag\":\"\",:\n".len();
        let values = "2020-12-24T10:11:52.200311".len() + 2 * size_of::<u128>();
        let id = quoted(collection.id_member()).len() + quoted(id.as_str()).len();
        let (comma, _) = document.following_members();
        Some(names + values + id + comma.len() + document.as_str().len())
    }

    fn write(
        &self,
        collection: &Collection,
        record: &Record,
        entity_tag: &EntityTag,
        content: &mut Vec<u8>,
    ) {
        write_object(collection, record, entity_tag, content);
        content.push(b'\n');
    }

    fn write_list(&self, collection: &Collection, records: Vec<Record>, content: &mut Vec<u8>) {
        let is_empty = records.is_empty();
        for (index, record) in records.into_iter().enumerate() {
            content.extend_from_slice(if index == 0 { b"[\n" } else { b",\n" });
            write_object(collection, &record, &record.version.entity_tag(), content);
        }
        content.extend_from_slice(if is_empty { b"[]\n" } else { b"\n]\n" });
    }

    fn id_error(&self, collection: &Collection, error: IdError) -> ContentError {
        id_error(collection.id_member(), error)
    }

    fn post_schema(&self, collection: &Collection) -> Value {
        with_members(
            collection.schema(),
            &server_member_schemas(collection),
            false,
        )
    }

    fn put_schema(&self, collection: &Collection) -> Value {
        self.post_schema(collection)
    }

    fn representation_schema(&self, collection: &Collection) -> Value {
        with_members(
            collection.schema(),
            &server_member_schemas(collection),
            true,
        )
    }

    fn noun(&self) -> &'static str {
        "Document"
    }
}

/// The schemas of the members that the server adds.
fn server_member_schemas(collection: &Collection) -> [(&str, Value); 3] {
    let entity_tag = json!({"type": "string", "description": "The ETag, without its quotes."});
    [
        ("_change_date", change_date_schema()),
        ("_etag", entity_tag),
        (collection.id_member(), id_schema()),
    ]
}

fn read(content: &[u8]) -> Result<Json, ContentError> {
    if content.is_empty() {
        return Err(ContentError::new(
            "The content must be a JSON object, and is empty",
        ));
    }
    Ok(Json::read(content)?)
}

/// Separates the members of the server from those of the client. Returns the id and the members of
/// the client.
///
/// Any other name that begins with `_` is refused, so that no member is dropped silently.
fn split_server_members<'a>(
    collection: &Collection,
    members: Vec<Member<'a>>,
) -> Result<(Option<Id>, Vec<Member<'a>>), ContentError> {
    let mut id = None;
    let mut kept = Vec::with_capacity(members.len());
    for member in members {
        let name = &*member.name;
        if name == collection.id_member() {
            id = Some(read_id(&member)?);
        } else if SERVER_MEMBERS.contains(&name) {
            // A client may send these back as it got them.
        } else if name.starts_with('_') {
            return Err(ContentError::new(format!(
                "The member `{name}` cannot be kept: names that begin with `_` are the server's"
            )));
        } else {
            kept.push(member);
        }
    }
    Ok((id, kept))
}

/// The members of the client. If there is an id, it must be that of the target.
fn client_members<'a>(
    collection: &Collection,
    target: &Id,
    members: Vec<Member<'a>>,
) -> Result<Vec<Member<'a>>, ContentError> {
    match split_server_members(collection, members)? {
        (Some(id), _) if id != *target => Err(ContentError::new(format!(
            "The member `{}` is `{id}`, but the target names `{target}`",
            collection.id_member()
        ))),
        (_, kept) => Ok(kept),
    }
}

fn read_id(member: &Member<'_>) -> Result<Id, ContentError> {
    let (name, value) = (&member.name, member.json());
    let Some(id) = value.string() else {
        let kind = value.kind();
        return Err(ContentError::new(format!(
            "The member `{name}` must be a string, not {kind}"
        )));
    };
    Id::new(id).map_err(|error| id_error(name, error))
}

fn id_error(member: &str, error: IdError) -> ContentError {
    ContentError::new(format!("The member `{member}` {error}"))
}

fn write_object(
    collection: &Collection,
    record: &Record,
    entity_tag: &EntityTag,
    content: &mut Vec<u8>,
) {
    let Record {
        id,
        document,
        version,
        ..
    } = record;
    content.extend_from_slice(b"{\"_change_date\":\"");
    content.extend_from_slice(&version.text());
    content.extend_from_slice(b"\",\"_etag\":\"");
    content.extend_from_slice(entity_tag.opaque().as_bytes());
    content.extend_from_slice(b"\",");
    write_quoted(collection.id_member(), content);
    content.push(b':');
    write_quoted(id.as_str(), content);
    let (comma, members) = document.following_members();
    content.extend_from_slice(comma.as_bytes());
    content.extend_from_slice(members.as_bytes());
    content.push(b'}');
}
