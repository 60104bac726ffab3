//! Request targets: their percent-encoding, and the resources that they name.

use ifmatch::{MAX_ID, MemoryStore, Method, Policy, Request, Response, respond};

use super::Reached;
use crate::oracle::{NOON, at};

pub const EXAMPLES: [&str; 17] = [
    "1",
    "a b/ü→?#%41",
    "-._~!$&'()*+,;=:@",
    "..",
    "/persons/1",
    "/persons/%31%20%c3%BC%2F%25",
    "/%70ersons/a%00b",
    "/persons/1?x=/../y",
    "/persons",
    "http://example.com:80/persons/1?x",
    "https://example.com?x/persons",
    "*",
    "/persons/%c3%28",
    "/persons/%3",
    "/persons/1/2",
    "/persons/1#/2?x",
    "http://example.com#/persons",
];

/// The input is used as an id, and as a request target.
pub fn check(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    vec![id(&text), target(&text)]
}

/// A person that is created with an id has that id at its location, and at other targets with the
/// same meaning.
fn id(id: &str) -> &'static str {
    let store = MemoryStore::new();
    let content = serde_json::json!({"person_id": id, "person_name": "Wim"}).to_string();
    let create = Request::new(Method::Post, "/persons").with_content(content.as_bytes());
    let created = ask(&store, &create);
    if !is_person_id(id) {
        assert_eq!(created.status(), 400, "{id:?}");
        return "no id";
    }
    assert_eq!(created.status(), 201, "{id:?}");
    let place = created.field("Location").unwrap();
    assert_eq!(created.field("Content-Location"), Some(place));
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
    assert!(place.bytes().all(sound), "{place}");
    assert_eq!(named(place), Named::Person(id.to_owned()), "{place}");
    let all_encoded: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
    for target in [
        place,
        &format!("/persons/{all_encoded}"),
        &format!("{place}?x=%"),
        &format!("http://example.com{place}"),
    ] {
        let fetched = ask(&store, &Request::new(Method::Get, target));
        assert_eq!(fetched.status(), 200, "{target}");
        let person: serde_json::Value = serde_json::from_slice(fetched.content()).unwrap();
        assert_eq!(person["person_id"], id, "{target}");
    }
    "an id"
}

/// The server and the naive parser agree about the resource of a target.
fn target(target: &str) -> &'static str {
    let store = MemoryStore::new();
    let create = Request::new(Method::Put, target)
        .with_field("If-None-Match", "*")
        .with_content(br#"{"person_name": "Wim"}"#);
    let get = Request::new(Method::Get, target);
    let before = ask(&store, &get).status();
    let created = ask(&store, &create);
    if is_https(target) {
        let refused = [before, created.status(), ask(&store, &get).status()];
        assert_eq!(refused, [421; 3], "{target:?}");
        return "https";
    }
    let statuses = [before, created.status(), ask(&store, &get).status()];
    let (expected, reached) = match named(target) {
        Named::Person(id) if is_person_id(&id) => {
            let place = created.field("Location").unwrap_or_default();
            assert_eq!(named(place), Named::Person(id), "{target:?}");
            ([404, 201, 200], "a person")
        }
        Named::Person(_) => ([404, 400, 404], "an invalid id"),
        // Only GET reads the query of the list. The query has a grammar of its own, so its status
        // may differ.
        Named::Persons if target.contains('?') => ([before, 405, before], "persons"),
        Named::Persons => ([200, 405, 200], "persons"),
        Named::Document => ([200, 405, 200], "a document"),
        Named::Server | Named::Malformed => ([400; 3], "malformed"),
        Named::Nothing => ([404; 3], "nothing"),
    };
    assert_eq!(statuses, expected, "{target:?}");
    assert!([200, 400, 404].contains(&before), "{target:?}");
    reached
}

fn ask(store: &MemoryStore, request: &Request<'_>) -> Response {
    respond(store, &Policy::default(), request, at(NOON))
}

/// A second transcription of the rules for ids.
fn is_person_id(id: &str) -> bool {
    let long = id.is_empty() || id.len() > MAX_ID;
    !long && id != "." && id != ".." && !id.chars().any(char::is_control)
}

/// Whether the scheme needs TLS, which the server does not have.
fn is_https(target: &str) -> bool {
    target.to_ascii_lowercase().starts_with("https://")
}

/// The resource that a target names.
#[derive(Debug, PartialEq)]
pub enum Named {
    Server,
    Document,
    Persons,
    Person(String),
    Nothing,
    Malformed,
}

/// Splits a target into scheme and authority, query, and segments.
pub fn named(target: &str) -> Named {
    if target == "*" {
        return Named::Server;
    }
    let target = &target[..target.find('#').unwrap_or(target.len())];
    let mut path = target;
    for scheme in ["http://", "https://"] {
        if target
            .get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        {
            path = &target[scheme.len()..];
            let end = path.find(['/', '?']).unwrap_or(path.len());
            path = &path[end..];
            if !path.starts_with('/') {
                path = "/";
            }
        }
    }
    let path = &path[..path.find('?').unwrap_or(path.len())];
    let Some(segments) = path.split('/').map(decoded).collect::<Option<Vec<_>>>() else {
        return Named::Malformed;
    };
    let segments: Vec<_> = segments.iter().map(String::as_str).collect();
    match segments[..] {
        ["", "" | "openapi.json" | "health" | "page.js" | "page.css"] => Named::Document,
        ["", "persons"] => Named::Persons,
        ["", "persons", id] if !id.is_empty() => Named::Person(id.to_owned()),
        _ => Named::Nothing,
    }
}

/// Decodes `%` and two digits as one byte. All bytes together must be UTF-8.
fn decoded(segment: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::new(), segment.as_bytes());
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else {
            return None;
        };
        rest = after;
        let digit = |byte: &u8| {
            let digits = b"0123456789abcdef".iter();
            digits
                .zip(0..)
                .find(|(known, _)| **known == byte.to_ascii_lowercase())
        };
        bytes.push(16 * digit(high)?.1 + digit(low)?.1);
    }
    String::from_utf8(bytes).ok()
}
