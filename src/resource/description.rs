//! The description of the API as `OpenAPI` 3.1, made of the collections that are collections.

use serde_json::{Map, Value, json};

use crate::collection::{Collection, Collections};
use crate::page::MAX_PAGE;

/// What is the same whatever is collections.
const SERVER: &str = include_str!("openapi/server.json");

/// The targets of a collection, with `@NAME@` for its name.
const COLLECTION: &str = include_str!("openapi/collection.json");

/// The fields that let pages of other origins read an answer; any may have them.
const SHARED: [&str; 3] = [
    "Vary",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
];

/// Describes every path, method, field, status and schema; tests hold it against the answers.
pub(super) fn describe(collections: &Collections) -> Vec<u8> {
    let mut description = parsed(SERVER);
    set(
        &mut description,
        "/info",
        "version",
        json!(env!("CARGO_PKG_VERSION")),
    );
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
            set(
                &mut description,
                "/paths",
                &format!("/{name}{path}"),
                methods,
            );
        }
    }
    // Before the schemas come in, in which a member may have any name.
    share(&mut description);
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

/// The schemas of a collection, by what they are of.
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

/// Adds the fields that any answer may have to every response, wherever it stands.
fn share(value: &mut Value) {
    let Value::Object(members) = value else {
        return;
    };
    for (name, member) in members {
        match (name.as_str(), member) {
            ("responses", Value::Object(responses)) => {
                responses.values_mut().for_each(share_response);
            }
            (_, member) => share(member),
        }
    }
}

fn share_response(response: &mut Value) {
    let Value::Object(response) = response else {
        return;
    };
    if response.contains_key("$ref") {
        return;
    }
    let headers = response
        .entry("headers")
        .or_insert_with(|| Map::new().into());
    for name in SHARED {
        let reference = format!("#/components/headers/{name}");
        set(headers, "", name, json!({"$ref": reference}));
    }
}
