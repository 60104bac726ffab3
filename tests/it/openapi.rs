//! The description of the API, compared with the responses.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::SystemTime;

use ifmatch::{
    Access, Collection, Collections, MemoryStore, Method, Policy, Profile, Request, Store,
    StoreError, Token, respond,
};
use serde_json::Value;

use crate::support::client::{RawResponse, request};
use crate::support::serving::{Serving, options};
use crate::support::watched::{Call, Watched};

/// The collections of the servers whose responses are compared with the description.
fn collections() -> Collections {
    let notes = Collection::new("notes").unwrap();
    Collections::new([Collection::persons(), notes]).unwrap()
}

fn served(prefix: &str) -> String {
    let mut policy = Policy::default();
    policy.collections = match prefix {
        "" => collections(),
        prefix => collections().under(prefix).unwrap(),
    };
    let target = format!("{prefix}/openapi.json");
    let request = Request::new(Method::Get, &target);
    let response = respond(&MemoryStore::new(), &policy, &request, SystemTime::now());
    String::from_utf8(response.content().to_vec()).unwrap()
}

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(&served("")).unwrap())
}

/// The value that `$ref` refers to, or `value` itself if it has no `$ref`.
fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document()
            .pointer(reference.strip_prefix('#').unwrap())
            .expect(reference),
        None => value,
    }
}

/// The path in the description that matches a request target.
fn path(target: &str) -> Option<&'static str> {
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    let paths = document()["paths"].as_object().unwrap();
    let known = |path: &String| match path.strip_suffix("{id}") {
        None => target == path,
        Some(collection) => target
            .strip_prefix(collection)
            .is_some_and(|id| !id.is_empty() && !id.contains('/')),
    };
    let path = paths.keys().find(|path| known(path))?;
    Some(path)
}

/// Fields of the framing, and fields that every response has. The description leaves them out.
const FIELDS_OF_EVERY_RESPONSE: [&str; 5] = [
    "Date",
    "Server",
    "Content-Length",
    "Content-Type",
    "Connection",
];

/// Panics if the description lacks this response to this request. Ignores the responses that the
/// description leaves out: those that `tiny_http` itself makes, the 408 of the hyper door, and
/// those to unknown methods and targets.
#[track_caller]
pub fn is_documented(request: &[u8], response: &RawResponse) {
    let text = String::from_utf8_lossy(request);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap_or_default());
    let operation = path(target)
        .and_then(|path| document()["paths"][path].get(method.to_ascii_lowercase()))
        .filter(|_| method.bytes().all(|b| b.is_ascii_uppercase()));
    let ours = response
        .field("Server")
        .is_some_and(|server| server.starts_with("ifmatch/"));
    let Some(operation) =
        operation.filter(|_| ours && response.status >= 200 && response.status != 408)
    else {
        return;
    };
    let status = response.status.to_string();
    let documented = operation["responses"].get(&status);
    let documented = resolved(documented.unwrap_or_else(|| panic!("{method} {target} {status}")));
    for (name, value) in &response.fields {
        if FIELDS_OF_EVERY_RESPONSE.contains(&name.as_str()) || name == "Upgrade" {
            continue;
        }
        let headers = documented["headers"].as_object().into_iter().flatten();
        let header = headers
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, header)| header)
            .next();
        let header =
            resolved(header.unwrap_or_else(|| panic!("{method} {target} {status} {name}")));
        check(&header["schema"], &Value::String(value.clone()), name);
    }
    if let Some(content_type) = response.field("Content-Type") {
        let content = documented["content"].get(content_type);
        let content =
            content.unwrap_or_else(|| panic!("{method} {target} {status} {content_type}"));
        if method != "HEAD" {
            let is_text = content_type.starts_with("text/");
            let value = if is_text {
                Value::String(response.content.clone())
            } else {
                serde_json::from_str(&response.content).unwrap()
            };
            check(
                &content["schema"],
                &value,
                &format!("{method} {target} {status}"),
            );
        }
    }
}

/// Panics if the value does not match the schema. Knows the keywords that the description uses.
#[track_caller]
fn check(schema: &'static Value, value: &Value, place: &str) {
    assert!(fits(schema, value), "{place}: {value} is not {schema}");
}

fn fits(schema: &'static Value, value: &Value) -> bool {
    let schema = resolved(schema);
    schema
        .as_object()
        .unwrap()
        .iter()
        .all(|(keyword, wanted)| match keyword.as_str() {
            "type" => match wanted.as_str().unwrap() {
                "string" => value.is_string(),
                "integer" => value.is_u64(),
                "array" => value.is_array(),
                "object" => value.is_object(),
                other => panic!("{other}"),
            },
            "const" => value == wanted,
            "enum" => wanted.as_array().unwrap().contains(value),
            "minLength" => {
                value.as_str().unwrap().chars().count() as u64 >= wanted.as_u64().unwrap()
            }
            "maxLength" => {
                value.as_str().unwrap().chars().count() as u64 <= wanted.as_u64().unwrap()
            }
            "maxItems" => value.as_array().unwrap().len() as u64 <= wanted.as_u64().unwrap(),
            "items" => value
                .as_array()
                .unwrap()
                .iter()
                .all(|item| fits(wanted, item)),
            "required" => wanted
                .as_array()
                .unwrap()
                .iter()
                .all(|name| value.get(name.as_str().unwrap()).is_some()),
            "properties" => wanted
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, schema)| value.get(name).is_none_or(|value| fits(schema, value))),
            "additionalProperties" => {
                let known = schema["properties"].as_object().unwrap();
                value
                    .as_object()
                    .is_some_and(|members| members.keys().all(|name| known.contains_key(name)))
            }
            "anyOf" => wanted
                .as_array()
                .unwrap()
                .iter()
                .any(|schema| fits(schema, value)),
            "pattern" => {
                // The only pattern in the description.
                assert_eq!(wanted, "^wait=[1-9][0-9]?$");
                let seconds = value.as_str().and_then(|it| it.strip_prefix("wait="));
                seconds.is_some_and(|it| (1..100).any(|number| number.to_string() == it))
            }
            "description" | "example" | "minimum" | "maximum" | "default" => true,
            other => panic!("the schema keyword {other} is not known here"),
        })
}

/// Serves the collections with the responses of this profile.
fn serve(profile: Profile, configure: impl FnOnce(&mut Access)) -> Serving {
    Serving::configured(|options| {
        options.policy.profile = profile;
        options.policy.collections = collections();
        configure(&mut options.policy.access);
    })
}

/// Serves from a store whose calls fail, or panic, as soon as it has a document.
fn broken(fail: fn() -> StoreError) -> Serving {
    let store = Arc::new(MemoryStore::new());
    let watched = Arc::clone(&store);
    let before = move |_: Call<'_>| match watched.collections()?.first() {
        None => Ok(()),
        Some(_) => Err(fail()),
    };
    let mut options = options();
    options.policy.collections = collections();
    Serving::with(Watched::new(store, before), options)
}

/// Content that the collection accepts, with this id or without an id.
fn content(path: &str, id: Option<&str>) -> String {
    let (id_member, name) = if path.starts_with("/persons") {
        ("person_id", "person_name")
    } else {
        ("id", "title")
    };
    let mut content = serde_json::json!({name: "Wim"});
    if let Some(id) = id {
        content[id_member] = id.into();
    }
    content.to_string()
}

const MERGE_PATCH: &str = "Content-Type: application/merge-patch+json\r\n";

const KEY: &str = "Idempotency-Key: \"key\"\r\n";

/// A server, and a request to which its response must have this status.
fn provoke(method: &str, path: &str, status: u16) -> (Serving, String) {
    let serving = match status {
        401 => serve(Profile::Compatible, |access| {
            access.require_token(Token::new("secret").unwrap());
        }),
        421 => serve(Profile::Compatible, |access| {
            access.allow_host("api.example").unwrap();
        }),
        409 | 428 => serve(Profile::Strict, |_| ()),
        500 => broken(|| panic!("this panic is part of the test")),
        503 => broken(|| StoreError::new("out of order")),
        _ => serve(Profile::Compatible, |_| ()),
    };
    // `/health` fails only if the store has a document.
    let stored = if path == "/health" { "/persons" } else { path };
    let collection = stored.trim_end_matches("/{id}");
    if !matches!(status, 401 | 421) && !["/", "/openapi.json"].contains(&path) {
        let created = serving.ask(
            &format!("POST {collection}"),
            "",
            &content(collection, Some("1")),
        );
        assert_eq!(created.status, 201, "{created:?}");
    }
    let line = format!("{method} {}", path.replace("{id}", "1"));
    let state = content(path, None);
    let (fields, body) = match method {
        "POST" => ("", content(path, Some("2"))),
        "PUT" => ("If-Match: *\r\n", state.clone()),
        "PATCH" => (
            "If-Match: *\r\nContent-Type: application/merge-patch+json\r\n",
            state.clone(),
        ),
        "DELETE" => ("If-Match: *\r\n", String::new()),
        _ => ("", String::new()),
    };
    if status == 422 {
        let put = format!("PUT {}", path.replace("{id}", "1"));
        let put = if path.contains("{id}") {
            put
        } else {
            format!("{put}/1")
        };
        let first = serving.ask(&put, &format!("If-Match: *\r\n{KEY}"), &state);
        assert_eq!(first.status, 200, "{first:?}");
    }
    let plain = request(&line, fields, &body);
    let minimal = format!("{fields}Prefer: return=minimal\r\n");
    let other = match status {
        201 if method == "PUT" => {
            request(&line.replace("/1", "/2"), "If-None-Match: *\r\n", &state)
        }
        204 if method != "DELETE" => request(&line, &minimal, &state),
        304 => request(&line, "If-None-Match: *\r\n", ""),
        400 => plain.replace("Host: x\r\n", ""),
        403 => plain.replace("Host: x\r\n", "Host: x\r\nOrigin: https://evil.example\r\n"),
        404 => plain.replace("/1 ", "/9 "),
        409 => request(&line, "", &content(path, Some("1"))),
        412 => {
            let fields = format!("If-Match: \"old\"\r\n{MERGE_PATCH}");
            request(&line, &fields, &body)
        }
        413 => format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"),
        414 => plain.replace(" HTTP/1.1", &format!("?{} HTTP/1.1", "x".repeat(9000))),
        415 if method == "PATCH" => request(&line, "If-Match: *\r\n", &body),
        415 => request(&line, "If-Match: *\r\nContent-Encoding: gzip\r\n", &body),
        422 => request(&line, &format!("{fields}{KEY}"), &format!(" {body}")),
        428 => request(&line, MERGE_PATCH, &body),
        _ => plain,
    };
    (serving, other)
}

/// How many threads send the requests. Each request has a server of its own, and most of the time
/// passes while that starts and stops.
const THREADS: usize = 16;

#[test]
fn every_documented_response_can_be_provoked() {
    let mut documented: Vec<(String, &str, u16)> = Vec::new();
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let responses = operation.get("responses").and_then(Value::as_object);
            for status in responses.into_iter().flat_map(|it| it.keys()) {
                documented.push((method.to_ascii_uppercase(), path, status.parse().unwrap()));
            }
        }
    }
    assert!(documented.len() > 200, "{}", documented.len());
    thread::scope(|scope| {
        for part in documented.chunks(documented.len().div_ceil(THREADS)) {
            scope.spawn(move || {
                for (method, path, status) in part {
                    let (serving, request) = provoke(method, path, *status);
                    let response = serving.client().ask(request);
                    assert_eq!(response.status, *status, "{method} {path}");
                }
            });
        }
    });
}

/// For each path the description has exactly the methods in `Allow`.
#[test]
fn the_methods_are_those_of_allow() {
    let serving = serve(Profile::Compatible, |_| ());
    for (path, item) in document()["paths"].as_object().unwrap() {
        let response = serving.ask(&format!("OPTIONS {}", path.replace("{id}", "1")), "", "");
        let allowed: BTreeSet<_> = response
            .field("Allow")
            .unwrap()
            .split(", ")
            .map(str::to_ascii_lowercase)
            .collect();
        let documented: BTreeSet<_> = item
            .as_object()
            .unwrap()
            .keys()
            .filter(|key| *key != "parameters")
            .cloned()
            .collect();
        assert_eq!(documented, allowed, "{path}");
    }
}

#[test]
fn the_description_is_served_and_linked() {
    let serving = serve(Profile::Compatible, |_| ());
    let root = serving.ask("GET /", "", "");
    assert_eq!(
        root.field("Link"),
        Some("</openapi.json>; rel=\"service-desc\"")
    );
    let served = serving.ask("GET /openapi.json", "", "");
    assert_eq!(
        (served.status, served.field("Content-Type")),
        (200, Some("application/json"))
    );
    assert_eq!(
        serde_json::from_str::<Value>(&served.content).unwrap(),
        *document()
    );
    let fields = format!("If-None-Match: {}\r\n", served.field("ETag").unwrap());
    assert_eq!(serving.ask("GET /openapi.json", &fields, "").status, 304);
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// Each component is referenced, each reference has a component, and no placeholder is left.
#[test]
fn every_component_is_used() {
    let text = served("");
    assert!(!text.contains('@'), "{text}");
    for (kind, components) in document()["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            let used = text.contains(&format!("\"#/components/{kind}/{name}\""));
            assert!(
                used || kind == "securitySchemes",
                "{kind}/{name} is not used"
            );
        }
    }
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document().pointer(pointer).is_some(), "{pointer}");
    }
    let mut ids = BTreeSet::new();
    for operation in text.split("\"operationId\":\"").skip(1) {
        assert!(ids.insert(operation.split('"').next().unwrap()));
    }
    assert!(ids.len() > 20, "{ids:?}");
}

/// The description has the schema that an embedder gives, and the members that the server adds.
#[test]
fn the_schema_is_that_of_the_collection() {
    let schema = serde_json::json!({
        "type": "object",
        "required": ["title"],
        "properties": {"title": {"type": "string"}},
        "additionalProperties": false,
    });
    let notes = Collection::new("notes").unwrap();
    let notes = notes
        .with_id_member("slug")
        .unwrap()
        .with_schema(schema.clone());
    let mut policy = Policy::default();
    policy.collections = Collections::new([notes]).unwrap();
    let request = Request::new(Method::Get, "/openapi.json");
    let response = respond(&MemoryStore::new(), &policy, &request, SystemTime::now());
    let described: Value = serde_json::from_slice(response.content()).unwrap();
    let schemas = &described["components"]["schemas"];
    // A client may send back the members that the server manages.
    let mut state = schema.clone();
    for managed in ["_change_date", "_etag", "slug"] {
        state["properties"][managed] = schemas["notes.state"]["properties"][managed].clone();
        assert!(state["properties"][managed].is_object());
    }
    assert_eq!(schemas["notes.state"], state);
    let required = ["title", "_change_date", "_etag", "slug"];
    assert_eq!(
        schemas["notes.document"]["required"],
        serde_json::json!(required)
    );
    assert!(schemas["notes.new"]["properties"]["slug"].is_object());
    assert_eq!(
        schemas["notes.new"]["required"],
        serde_json::json!(["title"])
    );
    assert!(schemas.get("persons.document").is_none());
}

/// The members of a schema may have names such as `responses` and `headers`, which are keywords of
/// a description. The schema may require members that the server requires, too.
#[test]
fn a_schema_stays_as_it_was_given() {
    let responses = serde_json::json!({
        "responses": {"type": "object", "properties": {"200": {"type": "object"}}},
        "paths": {"responses": {"200": {}, "404": {"description": "x"}}},
    });
    let given = |id_member: &str| {
        serde_json::json!({
            "type": "object",
            "required": [id_member, "responses", "_etag"],
            "properties": {"responses": responses, "headers": {"type": "string"}},
            "example": {"responses": {"200": {}}},
        })
    };
    for collection in ["notes", "notes:slug", "persons"] {
        let collection: Collection = collection.parse().unwrap();
        let id_member = collection.id_member().to_owned();
        let name = collection.name().to_owned();
        let schema = given(&id_member);
        let mut policy = Policy::default();
        let served = Collections::new([collection.with_schema(schema.clone())]);
        policy.collections = served.unwrap();
        let request = Request::new(Method::Get, "/openapi.json");
        let response = respond(&MemoryStore::new(), &policy, &request, SystemTime::now());
        let described: Value = serde_json::from_slice(response.content()).unwrap();
        for kind in ["new", "state", "document"] {
            let shown = &described["components"]["schemas"][format!("{name}.{kind}")];
            for (member, value) in schema["properties"].as_object().unwrap() {
                assert_eq!(&shown["properties"][member], value, "{kind}");
            }
            assert_eq!(shown["example"], schema["example"], "{kind}");
            let required = shown["required"].as_array().unwrap();
            let names: BTreeSet<_> = required.iter().map(|it| it.as_str().unwrap()).collect();
            assert_eq!(
                names.len(),
                required.len(),
                "{kind} of {name}: {required:?}"
            );
            for member in [&*id_member, "responses", "_etag"] {
                assert!(names.contains(member), "{kind}: {required:?}");
            }
        }
        // The responses in the description still have the fields that any response may have.
        let response = described.pointer(&format!("/paths/~1{name}/get/responses/200/headers"));
        assert!(response.unwrap().get("Vary").is_some());
    }
}

#[test]
fn the_prefix_is_in_the_url_of_the_server() {
    let described: Value = serde_json::from_str(&served("/api/v1")).unwrap();
    assert_eq!(described["servers"][0]["url"], "/api/v1");
    assert!(described["paths"].get("/notes").is_some());
}
