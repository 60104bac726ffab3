//! The description of the API, held against the answers.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use ifmatch::{MemoryStore, Profile, Store, StoreError, Token};
use serde_json::Value;

use crate::client::{Answer, request};
use crate::serving::{Serving, options};
use crate::watched::{Call, Watched};

fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        serde_json::from_str(include_str!("../../src/resource/openapi.json")).unwrap()
    })
}

/// The value itself, or what its `$ref` leads to.
fn resolved(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => document()
            .pointer(reference.strip_prefix('#').unwrap())
            .expect(reference),
        None => value,
    }
}

/// The path of the document that a request target belongs to.
fn path(target: &str) -> Option<&'static str> {
    let target = target.split_once('?').map_or(target, |(path, _)| path);
    match target {
        "/" => Some("/"),
        "/openapi.json" => Some("/openapi.json"),
        "/persons" => Some("/persons"),
        _ => {
            let id = target.strip_prefix("/persons/")?;
            (!id.is_empty() && !id.contains('/')).then_some("/persons/{person_id}")
        }
    }
}

/// Framing, and what every answer has, is not for a description of the API.
const OF_EVERY_ANSWER: [&str; 5] = [
    "Date",
    "Server",
    "Content-Length",
    "Content-Type",
    "Connection",
];

/// Fails unless the document has this answer to this request line. Answers that `tiny_http` gives
/// by itself, the 408 of the other door, and those to methods and targets that there are not, are
/// not in it.
#[track_caller]
pub fn is_documented(request: &[u8], answer: &Answer) {
    let text = String::from_utf8_lossy(request);
    let mut words = text.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap_or_default());
    let operation = path(target)
        .and_then(|path| document()["paths"][path].get(method.to_ascii_lowercase()))
        .filter(|_| method.bytes().all(|b| b.is_ascii_uppercase()));
    let ours = answer
        .field("Server")
        .is_some_and(|server| server.starts_with("ifmatch/"));
    let Some(operation) =
        operation.filter(|_| ours && answer.status >= 200 && answer.status != 408)
    else {
        return;
    };
    let status = answer.status.to_string();
    let response = operation["responses"].get(&status);
    let response = resolved(response.unwrap_or_else(|| panic!("{method} {target} {status}")));
    for (name, value) in &answer.fields {
        if OF_EVERY_ANSWER.contains(&name.as_str()) || name == "Upgrade" {
            continue;
        }
        let headers = response["headers"].as_object().into_iter().flatten();
        let header = headers
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, header)| header)
            .next();
        let header =
            resolved(header.unwrap_or_else(|| panic!("{method} {target} {status} {name}")));
        check(&header["schema"], &Value::String(value.clone()), name);
    }
    if let Some(content_type) = answer.field("Content-Type") {
        let content = response["content"].get(content_type);
        let content =
            content.unwrap_or_else(|| panic!("{method} {target} {status} {content_type}"));
        if method != "HEAD" {
            let value = serde_json::from_str(&answer.content).unwrap();
            check(
                &content["schema"],
                &value,
                &format!("{method} {target} {status}"),
            );
        }
    }
}

/// As much of JSON Schema as the document uses.
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
            "description" | "example" => true,
            other => panic!("the schema keyword {other} is not known here"),
        })
}

/// Serves from a store that fails, or panics, once it has its first person.
fn broken(fail: fn() -> StoreError) -> Serving {
    let store = Arc::new(MemoryStore::new());
    let watched = Arc::clone(&store);
    let before = move |_: Call<'_>| match watched.list(None, 1)?.records.first() {
        None => Ok(()),
        Some(_) => Err(fail()),
    };
    Serving::with(Watched::new(store, before), options())
}

/// A request that must be answered with this status, and the server that answers it so.
fn provoke(method: &str, path: &str, status: u16) -> (Serving, String) {
    let serving = match status {
        401 => Serving::guarded(Profile::Compatible, |access| {
            access.require_token(Token::new("secret").unwrap());
        }),
        421 => Serving::guarded(Profile::Compatible, |access| {
            access.allow_host("api.example").unwrap();
        }),
        409 | 428 => Serving::guarded(Profile::Strict, |_| ()),
        500 => broken(|| panic!("this panic is part of the test")),
        503 => broken(|| StoreError::new("out of order")),
        _ => Serving::start(),
    };
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    if !matches!(status, 401 | 421) {
        serving.create("1");
    }
    let line = format!("{method} {}", path.replace("{person_id}", "1"));
    let state = r#"{"person_name": "Tim"}"#;
    let (fields, content) = match method {
        "POST" => ("", person.replace('1', "2")),
        "PUT" => ("If-Match: *\r\n", state.into()),
        "DELETE" => ("If-Match: *\r\n", String::new()),
        _ => ("", String::new()),
    };
    let plain = request(&line, fields, &content);
    let other = match status {
        201 if method == "PUT" => request(&line.replace("/1", "/2"), "If-None-Match: *\r\n", state),
        204 if method == "PUT" => {
            request(&line, "If-Match: *\r\nPrefer: return=minimal\r\n", state)
        }
        304 => request(&line, "If-None-Match: *\r\n", ""),
        400 => plain.replace("Host: x\r\n", ""),
        403 => plain.replace("Host: x\r\n", "Host: x\r\nOrigin: https://evil.example\r\n"),
        404 => plain.replace("/1 ", "/9 "),
        409 => request(&line, "", person),
        412 => request(&line, "If-Match: \"old\"\r\n", &content),
        413 => format!("{line} HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"),
        414 => plain.replace(" HTTP/1.1", &format!("?{} HTTP/1.1", "x".repeat(9000))),
        428 => request(&line, "", &content),
        _ => plain,
    };
    (serving, other)
}

#[test]
fn every_documented_answer_can_be_had() {
    let mut provoked = 0;
    for (path, item) in document()["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(responses) = operation.get("responses") else {
                continue;
            };
            for status in responses.as_object().unwrap().keys() {
                let status: u16 = status.parse().unwrap();
                let method = method.to_ascii_uppercase();
                let (serving, request) = provoke(&method, path, status);
                let answer = serving.client().ask(request);
                assert_eq!(answer.status, status, "{method} {path}");
                provoked += 1;
            }
        }
    }
    assert!(provoked > 100, "{provoked}");
}

/// Each method of each path is in the document, and no other.
#[test]
fn the_methods_are_those_of_allow() {
    let serving = Serving::start();
    for (path, item) in document()["paths"].as_object().unwrap() {
        let answer = serving.ask(
            &format!("OPTIONS {}", path.replace("{person_id}", "1")),
            "",
            "",
        );
        let allowed: BTreeSet<_> = answer
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
fn it_is_served_and_linked() {
    let serving = Serving::start();
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
        served.content,
        include_str!("../../src/resource/openapi.json")
    );
    let fields = format!("If-None-Match: {}\r\n", served.field("ETag").unwrap());
    assert_eq!(serving.ask("GET /openapi.json", &fields, "").status, 304);
    assert_eq!(document()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

/// What is defined is used, and what is used is defined.
#[test]
fn no_component_is_left_over() {
    let text = include_str!("../../src/resource/openapi.json");
    for (kind, components) in document()["components"].as_object().unwrap() {
        for name in components.as_object().unwrap().keys() {
            let used = text.contains(&format!("\"#/components/{kind}/{name}\""));
            assert!(
                used || kind == "securitySchemes",
                "{kind}/{name} is not used"
            );
        }
    }
    for reference in text.split("\"$ref\": \"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document().pointer(pointer).is_some(), "{pointer}");
    }
}
