//! The description of the API as `OpenAPI` 3.1, for the collections that are served.

use serde_json::{Map, Value, json};

use crate::collection::{Collection, Collections};
use crate::page::MAX_PAGE;

/// The part that does not depend on the collections.
const SERVER: &str = include_str!("openapi/server.json");

/// The targets of a collection, with `@NAME@` for its name.
const COLLECTION: &str = include_str!("openapi/collection.json");

/// The CORS fields, which any response may have.
const CORS_FIELDS: [&str; 3] = [
    "Vary",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
];

/// Describes every path, method, field, status and schema. Tests compare it with the responses.
pub(super) fn describe(collections: &Collections) -> Vec<u8> {
    let mut description = parsed(SERVER);
    let version = json!(env!("CARGO_PKG_VERSION"));
    set(&mut description, "/info", "version", version);
    let url = match collections.prefix() {
        "" => "/",
        prefix => prefix,
    };
    set(&mut description, "", "servers", json!([{"url": url}]));
    for collection in collections.iter() {
        let name = collection.name();
        let targets = parsed(&COLLECTION.replace("@NAME@", name));
        for (target, path) in [("list", ""), ("document", "/{id}")] {
            let methods = targets.get(target).cloned().unwrap_or_default();
            let path = format!("/{name}{path}");
            set(&mut description, "/paths", &path, methods);
        }
    }
    // Before the schemas are added, because a member in them may be named `responses`.
    add_cors_fields(&mut description);
    for collection in collections.iter() {
        for (kind, schema) in schemas(collection) {
            let name = format!("{}.{kind}", collection.name());
            set(&mut description, "/components/schemas", &name, schema);
        }
    }
    let mut content = description.to_string().into_bytes();
    content.push(b'\n');
    content
}

/// The schemas of a collection, by the last part of their names.
fn schemas(collection: &Collection) -> [(&'static str, Value); 4] {
    let reference = format!("#/components/schemas/{}.document", collection.name());
    let list = json!({"type": "array", "maxItems": MAX_PAGE, "items": {"$ref": reference}});
    let format = collection.format();
    [
        ("new", format.post_schema(collection)),
        ("state", format.put_schema(collection)),
        ("document", format.representation_schema(collection)),
        ("list", list),
    ]
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("the description is JSON, as the tests have seen")
}

/// Sets a member of the object at `pointer`.
fn set(value: &mut Value, pointer: &str, name: &str, member: Value) {
    if let Some(Value::Object(members)) = value.pointer_mut(pointer) {
        members.insert(name.to_owned(), member);
    }
}

/// Adds the CORS fields to every response in the description.
fn add_cors_fields(value: &mut Value) {
    let Value::Object(members) = value else {
        return;
    };
    for (name, member) in members {
        match (name.as_str(), member) {
            ("responses", Value::Object(responses)) => {
                responses.values_mut().for_each(add_cors_fields_to);
            }
            (_, member) => add_cors_fields(member),
        }
    }
}

fn add_cors_fields_to(response: &mut Value) {
    let Value::Object(response) = response else {
        return;
    };
    if response.contains_key("$ref") {
        return;
    }
    let headers = response
        .entry("headers")
        .or_insert_with(|| Map::new().into());
    for name in CORS_FIELDS {
        let reference = format!("#/components/headers/{name}");
        set(headers, "", name, json!({"$ref": reference}));
    }
}
