//! The format of persons, which is that of the older service.

use serde_json::{Map, Value, json};

use crate::collection::Collection;
use crate::collection::format::{Format, change_date_schema, id_schema, with_members};
use crate::document::{ContentError, Document, Id, IdError, Record, not_an_object};
use crate::entity_tag::EntityTag;
use crate::json::{Json, JsonError, quoted, write_quoted};

pub(super) const ID_MEMBER: &str = "person_id";

const NAME_MEMBER: &str = "person_name";

const CHANGE_DATE: &str = "change_date";

/// The text of a person's document before the name.
const DOCUMENT_START: &str = "{\"person_name\":";

/// Persons as in the older service, with an id and a name each. Its clients compare the messages and
/// the layout of the JSON byte for byte.
///
/// Other members are ignored, and so is `person_id` in a PUT.
pub(super) struct PersonFormat;

impl Format for PersonFormat {
    /// The id is checked before the name.
    fn read_new(
        &self,
        _: &Collection,
        content: &[u8],
    ) -> Result<(Option<Id>, Document), ContentError> {
        let missing = "the object has no `person_id` and no `person_name`";
        let members = object(content, missing)?;
        let id = Id::new(string_member(&members, ID_MEMBER)?).map_err(id_error)?;
        Ok((Some(id), document(&members)?))
    }

    fn read_state(&self, _: &Collection, _: &Id, content: &[u8]) -> Result<Document, ContentError> {
        document(&object(content, "the object has no `person_name`")?)
    }

    fn read_patch(&self, _: &Collection, id: &Id, content: &[u8]) -> Result<Json, ContentError> {
        if content.is_empty() {
            return Err(no_data());
        }
        let patch = Json::read(content).map_err(|error| match error {
            JsonError::Malformed(detail) => no_data().with_detail(detail),
            error => error.into(),
        })?;
        let Some(mut members) = patch.members() else {
            return Ok(patch);
        };
        let is_own = |value: &Json| value.string().as_deref() == Some(id.as_str());
        let mut ids = members.iter().filter(|member| member.name == ID_MEMBER);
        if !ids.all(|member| is_own(&member.json())) {
            let message = format!("Person ID cannot be changed, it is {id}");
            return Err(ContentError::new(message));
        }
        members.retain(|member| member.name == NAME_MEMBER);
        Ok(Json::object(&members))
    }

    fn read_patched(&self, patched: &Json) -> Result<Document, ContentError> {
        match parsed(patched.as_str().as_bytes())? {
            Value::Object(members) => document(&members),
            _ => Err(not_an_object(patched)),
        }
    }

    /// Only the content of a request is limited, as in the older service.
    fn limited_length(&self, _: &Collection, _: &Id, _: &Document) -> Option<usize> {
        None
    }

    fn write(&self, _: &Collection, record: &Record, _: &EntityTag, content: &mut Vec<u8>) {
        SINGLE.write(record, content);
        content.push(b'\n');
    }

    fn write_list(&self, _: &Collection, records: Vec<Record>, content: &mut Vec<u8>) {
        let is_empty = records.is_empty();
        for (index, record) in records.into_iter().enumerate() {
            content.extend_from_slice(if index == 0 { b"[\n  " } else { b", \n  " });
            LIST_ITEM.write(&record, content);
        }
        content.extend_from_slice(if is_empty { b"[]\n" } else { b"\n]\n" });
    }

    fn id_error(&self, _: &Collection, error: IdError) -> ContentError {
        id_error(error)
    }

    fn post_schema(&self, collection: &Collection) -> Value {
        with_members(collection.schema(), &[(ID_MEMBER, id_schema())], true)
    }

    fn put_schema(&self, collection: &Collection) -> Value {
        collection.schema().clone()
    }

    fn representation_schema(&self, collection: &Collection) -> Value {
        let server_members = [
            (CHANGE_DATE, change_date_schema()),
            (ID_MEMBER, id_schema()),
        ];
        with_members(collection.schema(), &server_members, true)
    }

    fn noun(&self) -> &'static str {
        "Person"
    }
}

/// The text around the values of a person, in the layout of the older service: two spaces of
/// indentation, and a comma *and a space* before each line break.
struct Template {
    before_change_date: &'static str,
    before_id: &'static str,
    before_name: &'static str,
    end: &'static str,
}

const SINGLE: Template = Template {
    before_change_date: "{\n  \"change_date\": \"",
    before_id: "\", \n  \"person_id\": ",
    before_name: ", \n  \"person_name\": ",
    end: "\n}",
};

const LIST_ITEM: Template = Template {
    before_change_date: "{\n    \"change_date\": \"",
    before_id: "\", \n    \"person_id\": ",
    before_name: ", \n    \"person_name\": ",
    end: "\n  }",
};

impl Template {
    fn write(&self, record: &Record, content: &mut Vec<u8>) {
        let name = record.document.as_str().strip_prefix(DOCUMENT_START);
        let name = name.and_then(|it| it.strip_suffix('}')).unwrap_or("null");
        content.extend_from_slice(self.before_change_date.as_bytes());
        content.extend_from_slice(&record.version.text());
        content.extend_from_slice(self.before_id.as_bytes());
        write_quoted(record.id.as_str(), content);
        content.extend_from_slice(self.before_name.as_bytes());
        content.extend_from_slice(name.as_bytes());
        content.extend_from_slice(self.end.as_bytes());
    }
}

/// The JSON Schema of a person's document.
pub(super) fn schema() -> Value {
    json!({
        "type": "object",
        "required": [NAME_MEMBER],
        "properties": {NAME_MEMBER: {"type": "string", "minLength": 1}},
    })
}

/// The document of a person.
fn document(members: &Map<String, Value>) -> Result<Document, ContentError> {
    let name = string_member(members, NAME_MEMBER)?;
    if name.is_empty() {
        return Err(mandatory(NAME_MEMBER));
    }
    Document::from_stored(document_of_name(name)).ok_or_else(no_data)
}

/// The text of the document of a person of this name.
pub(crate) fn document_of_name(name: &str) -> String {
    [DOCUMENT_START, &quoted(name), "}"].concat()
}

fn id_error(error: IdError) -> ContentError {
    match error {
        IdError::Empty => mandatory(ID_MEMBER),
        error => ContentError::new(format!("Person ID {error}")),
    }
}

/// The members of the object. If it is empty, the error has `if_empty` as its detail.
fn object(content: &[u8], if_empty: &str) -> Result<Map<String, Value>, ContentError> {
    if content.is_empty() {
        return Err(no_data());
    }
    match parsed(content)? {
        Value::Object(members) if members.is_empty() => Err(no_data().with_detail(if_empty)),
        Value::Object(members) => Ok(members),
        value if is_falsy(&value) => Err(no_data()),
        value => Err(ContentError::new(format!(
            "JSON data in request must be an object, not {}",
            kind(&value)
        ))),
    }
}

fn parsed(content: &[u8]) -> Result<Value, ContentError> {
    serde_json::from_slice(content).map_err(|error| no_data().with_detail(error.to_string()))
}

/// Whether the older service takes this JSON for missing data: it tests the value as Python does.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn string_member<'a>(
    members: &'a Map<String, Value>,
    member: &str,
) -> Result<&'a str, ContentError> {
    match members.get(member) {
        None | Some(Value::Null) => Err(mandatory(member)),
        Some(Value::String(text)) => Ok(text),
        Some(value) => Err(ContentError::new(format!(
            "{} must be a string, not {}",
            label(member),
            kind(value)
        ))),
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

/// The name of a member in messages.
fn label(member: &str) -> &'static str {
    if member == ID_MEMBER {
        "Person ID"
    } else {
        "Person name"
    }
}

fn no_data() -> ContentError {
    ContentError::new("Missing JSON data in request")
}

fn mandatory(member: &str) -> ContentError {
    ContentError::new(format!("{} is mandatory", label(member)))
}
