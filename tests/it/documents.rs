//! Collections of documents: what the store keeps, what responses show, and the messages of refusals.

use ifmatch::{
    Collection, Collections, ContentError, Document, Id, MemoryStore, Method, Policy, Request,
    Response, Store, Swap, Version, respond,
};
use serde_json::Value;

use crate::support::api::{Api, message, tag, text};

/// An API that serves these collections, which are written as on the command line.
pub fn serving(collections: &[&str]) -> Api {
    serve(Api::compatible(), collections)
}

pub fn strict(collections: &[&str]) -> Api {
    serve(Api::strict(), collections)
}

fn serve(mut api: Api, collections: &[&str]) -> Api {
    api.policy.collections = served(collections);
    api
}

fn served(collections: &[&str]) -> Collections {
    let collections = collections
        .iter()
        .map(|it| it.parse::<Collection>().unwrap());
    Collections::new(collections).unwrap()
}

/// The content as JSON.
fn json(response: &Response) -> Value {
    serde_json::from_slice(response.content()).unwrap()
}

/// Creates a document and returns its tag.
#[track_caller]
fn create(api: &Api, path: &str, content: &str) -> String {
    let created = api.ask(&format!("POST {path}"), &[], content);
    assert_eq!(created.status(), 201, "{}", text(&created));
    tag(&created)
}

#[track_caller]
fn refused(response: &Response, status: u16, sentence: &str) {
    assert_eq!(
        (response.status(), message(response).as_str()),
        (status, sentence)
    );
}

#[test]
fn a_representation_has_the_members_of_the_server() {
    let api = serving(&["notes"]);
    let created = api.ask(
        "POST /notes",
        &[],
        r#"{"title": "Milk", "id": "1", "B": [1, 2]}"#,
    );
    let shown = "{\"_change_date\":\"2026-11-23T12:00:00.000000\",\
        \"_etag\":\"40870d9b19d8629326eca7d16e56819d\",\"id\":\"1\",\"B\":[1,2],\"title\":\"Milk\"}\n"
        .to_owned();
    assert_eq!((created.status(), text(&created)), (201, shown.clone()));
    assert_eq!(created.field("Location"), Some("/notes/1"));
    assert_eq!(tag(&created), "\"40870d9b19d8629326eca7d16e56819d\"");
    let version: Version = "2026-11-23T12:00:00.000000".parse().unwrap();
    assert_eq!(
        version.entity_tag().opaque(),
        "40870d9b19d8629326eca7d16e56819d"
    );

    let fetched = api.ask("GET /notes/1", &[], "");
    assert_eq!(
        (text(&fetched), tag(&fetched)),
        (shown.clone(), tag(&created))
    );
    assert_eq!(
        text(&api.ask("GET /notes", &[], "")),
        format!("[\n{shown}]\n")
    );
    create(&api, "/notes", r#"{"id": "2"}"#);
    let list = text(&api.ask("GET /notes", &[], ""));
    let two = list
        .strip_prefix(&format!("[\n{},\n", shown.trim_end()))
        .expect(&list);
    assert!(two.ends_with("\"id\":\"2\"}\n]\n"), "{two}");
    assert_eq!(
        text(&serving(&["notes"]).ask("GET /notes", &[], "")),
        "[]\n"
    );
}

/// The client needs no other GET.
#[test]
fn a_document_of_a_list_can_be_edited_and_written_back() {
    let api = serving(&["notes"]);
    create(&api, "/notes", r#"{"id": "a b", "n": 1.50}"#);
    for method in ["PUT", "PATCH"] {
        let list = json(&api.ask("GET /notes", &[], ""));
        let held = &list[0];
        let if_match = format!("\"{}\"", held["_etag"].as_str().unwrap());
        let fields = [
            ("If-Match", &*if_match),
            ("Content-Type", "application/merge-patch+json"),
        ];
        let edited = api.ask(
            &format!("{method} /notes/a%20b"),
            &fields,
            &held.to_string(),
        );
        assert_eq!(edited.status(), 200, "{}", text(&edited));
        assert_ne!(tag(&edited), if_match);
        let again = api.ask(
            &format!("{method} /notes/a%20b"),
            &fields,
            &held.to_string(),
        );
        assert_eq!(again.status(), 412);
    }
    // Any values of these members are ignored, because they are the server's.
    let content = r#"{"_etag": [1], "_change_date": null, "x": 1}"#;
    let created = api.ask("POST /notes", &[], content);
    assert_eq!(created.status(), 201);
    assert_eq!(json(&created)["_etag"], tag(&created).trim_matches('"'));
}

#[test]
fn names_with_an_underscore_are_reserved() {
    let api = serving(&["notes"]);
    create(&api, "/notes", r#"{"id": "1"}"#);
    let sentence = |name| {
        format!("The member `{name}` cannot be kept: names that begin with `_` are the server's")
    };
    for (name, content) in [
        ("_id", r#"{"_id": "1"}"#),
        ("_", r#"{"a": 1, "_": null}"#),
        ("_Etag", r#"{"_Etag": ""}"#),
        ("_x", r#"{"\u005fx": 1}"#),
    ] {
        let fields = [
            ("If-Match", "*"),
            ("Content-Type", "application/merge-patch+json"),
        ];
        for line in ["POST /notes", "PUT /notes/1", "PATCH /notes/1"] {
            let fields = if line.starts_with("POST") {
                &[][..]
            } else {
                &fields
            };
            refused(&api.ask(line, fields, content), 400, &sentence(name));
        }
    }
    // In nested objects the client may use these names.
    create(&api, "/notes", r#"{"id": "2", "a": {"_x": 1}, "a_": 2}"#);
    // An id member may have such a name.
    let api = serving(&["notes:_id"]);
    create(&api, "/notes", r#"{"_id": "1", "id": 7}"#);
    assert_eq!(json(&api.ask("GET /notes/1", &[], ""))["id"], 7);
}

#[test]
fn the_id_agrees_with_the_target() {
    let api = serving(&["notes", "pages:slug"]);
    let tag = create(&api, "/notes", r#"{"id": "1"}"#);
    let fields = [("If-Match", &*tag)];
    let put = |content| api.ask("PUT /notes/1", &fields, content);
    refused(
        &put(r#"{"id": "2"}"#),
        400,
        "The member `id` is `2`, but the target names `1`",
    );
    refused(
        &put(r#"{"id": 1}"#),
        400,
        "The member `id` must be a string, not a number",
    );
    refused(
        &put(r#"{"id": null}"#),
        400,
        "The member `id` must be a string, not null",
    );
    refused(
        &put(r#"{"id": ""}"#),
        400,
        "The member `id` must not be empty",
    );
    assert_eq!(put(r#"{"slug": "2"}"#).status(), 200);
    create(&api, "/pages", r#"{"slug": "1", "id": "mine"}"#);
    let put = api.ask(
        "PUT /pages/1",
        &[("If-Match", "*")],
        r#"{"id": "2", "slug": "3"}"#,
    );
    refused(
        &put,
        400,
        "The member `slug` is `3`, but the target names `1`",
    );
}

/// Each value is returned with the text that the client sent.
#[test]
fn s8259_values_keep_their_text() {
    let api = serving(&["notes"]);
    let values = [
        "0",
        "-0",
        "0.0",
        "1.0",
        "1.10",
        "1e400",
        "1E+5",
        "-1.5e-7",
        "123456789012345678901234567890",
        "0.1000000000000000055511151231257827021181583404541015625",
        "true",
        "false",
        "null",
        r#""""#,
        r#""\u00e9""#,
        r#""é""#,
        r#""\ud83d\ude00""#,
        r#""😀""#,
        r#""\u0000""#,
        r#""\/""#,
        r#""/""#,
        r#""\\\"\b\f\n\r\t""#,
        r#""\u2028""#,
        "\"\u{2028}\u{feff}\u{7f}\"",
        "[]",
        "{}",
        r#"[[],[{}],{"b":1,"a":2}]"#,
        r#"{"":{"\u0061":[1.0,2]}}"#,
    ];
    for (index, value) in values.iter().enumerate() {
        let id = index.to_string();
        create(
            &api,
            "/notes",
            &format!(r#"{{"v" :{value} , "id": "{id}"}}"#),
        );
        let shown = text(&api.ask(&format!("GET /notes/{id}"), &[], ""));
        let end = format!("\"id\":\"{id}\",\"v\":{value}}}\n");
        assert!(shown.ends_with(&end), "{shown} of {value}");
        let put = api.ask(&format!("PUT /notes/{id}"), &[("If-Match", "*")], &shown);
        assert!(text(&put).ends_with(&end), "{} of {value}", text(&put));
    }
    // White space between values is removed, and members are sorted by their names.
    create(
        &api,
        "/notes",
        "{\"id\":\"x\",\r\n\t\"b\" : [ 1 , { \"d\" : 1 , \"c\" : 2 } ], \"\\u0061\":1}",
    );
    let shown = text(&api.ask("GET /notes/x", &[], ""));
    let end = "\"id\":\"x\",\"\\u0061\":1,\"b\":[1,{\"d\":1,\"c\":2}]}\n";
    assert!(shown.ends_with(end), "{shown}");
}

#[test]
fn content_that_is_not_a_document() {
    let api = serving(&["notes"]);
    create(&api, "/notes", r#"{"id": "1"}"#);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let twice = |name| format!("The content must not have the member `{name}` twice in one object");
    let half =
        |string| format!("The string {string} has one half of a surrogate pair without the other");
    let kind = |kind| format!("The content must be a JSON object, not {kind}");
    for (content, sentence) in [
        ("", "The content must be a JSON object, and is empty".into()),
        ("null", kind("null")),
        ("[{}]", kind("an array")),
        ("1", kind("a number")),
        ("true", kind("a boolean")),
        (r#""x""#, kind("a string")),
        (
            "{",
            "The content must be JSON: EOF while parsing an object at line 1 column 1".into(),
        ),
        (
            "{'a': 1}",
            "The content must be JSON: key must be a string at line 1 column 2".into(),
        ),
        (
            "{\"a\": 01}",
            "The content must be JSON: invalid number at line 1 column 8".into(),
        ),
        (
            "{} {}",
            "The content must be JSON: trailing characters at line 1 column 4".into(),
        ),
        (r#"{"a": 1, "a": 1}"#, twice("a")),
        (r#"{"a": 1, "\u0061": 2}"#, twice("a")),
        (r#"{"id": "1", "id": "1"}"#, twice("id")),
        (r#"{"a": [{"b c": 1, "x": {}, "b c": 2}]}"#, twice("b c")),
        (r#"{"a": "\ud800"}"#, half(r#""\ud800""#)),
        (r#"{"\udc00x": 1}"#, half(r#""\udc00x""#)),
        (
            &deep,
            "The content must not be nested more than 100 levels deep".into(),
        ),
    ] {
        for line in ["POST /notes", "PUT /notes/1"] {
            let fields = if line.starts_with("PUT") {
                &[("If-Match", "*")][..]
            } else {
                &[]
            };
            refused(&api.ask(line, fields, content), 400, &sentence);
        }
    }
    for content in [
        &b"{\"a\": \"\xff\"}"[..],
        b"\xef\xbb\xbf{}",
        b"{\"a\": \"\x01\"}",
    ] {
        let response = api.ask_bytes("POST /notes", &[], content);
        assert_eq!(response.status(), 400);
        assert!(message(&response).starts_with("The content must be JSON: "));
    }
    assert_eq!(
        json(&api.ask("GET /notes", &[], ""))
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn s9_3_3_post_without_an_id_makes_one() {
    let mut api = serving(&["notes"]);
    let mut ids = Vec::new();
    let post = |api: &Api| {
        let created = api.ask("POST /notes", &[], r#"{"title": "x"}"#);
        assert_eq!(created.status(), 201, "{}", text(&created));
        let id = json(&created)["id"].as_str().unwrap().to_owned();
        assert_eq!(created.field("Location"), Some(&*format!("/notes/{id}")));
        assert!(
            id.len() == 12 && id.bytes().all(|b| b.is_ascii_alphanumeric()),
            "{id}"
        );
        id
    };
    for _ in 0..50 {
        ids.push(post(&api));
    }
    // Ids also increase when the clock is set back, and after all documents were removed.
    api.set_clock("2016-11-23T12:00:00.000000");
    ids.push(post(&api));
    for id in &ids {
        let removed = api.ask(&format!("DELETE /notes/{id}"), &[("If-Match", "*")], "");
        assert_eq!(removed.status(), 204);
    }
    ids.push(post(&api));
    api.set_clock("2036-11-23T12:00:00.000000");
    ids.push(post(&api));
    // If a client has created a document with the next id, the server makes another id.
    let next = "2036-11-23T12:00:00.000002".parse::<Version>().unwrap();
    create(
        &api,
        "/notes",
        &format!(r#"{{"id": "{}"}}"#, Id::from(next)),
    );
    ids.push(post(&api));
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
}

#[test]
fn ids_follow_the_rules_of_persons() {
    let api = serving(&["notes"]);
    let long = "x".repeat(1025);
    for (id, sentence) in [
        ("", "The member `id` must not be empty"),
        ("..", "The member `id` must not be `.` or `..`"),
        (
            "a\\n",
            "The member `id` must not contain control characters",
        ),
        (&*long, "The member `id` must not be longer than 1024 bytes"),
    ] {
        let content = format!(r#"{{"id": "{id}"}}"#);
        refused(&api.ask("POST /notes", &[], &content), 400, sentence);
    }
    let post = api.ask("POST /notes", &[], r#"{"id": 1}"#);
    refused(&post, 400, "The member `id` must be a string, not a number");
    let put = api.ask(
        &format!("PUT /notes/{long}"),
        &[("If-None-Match", "*")],
        "{}",
    );
    refused(
        &put,
        400,
        "The member `id` must not be longer than 1024 bytes",
    );
    let get = api.ask(&format!("GET /notes/{long}"), &[], "");
    assert_eq!(get.status(), 404);
    for id in [
        "a/b",
        "ü",
        " ",
        "notes",
        "openapi.json",
        "%",
        "?",
        "_x",
        "😀",
    ] {
        let content = serde_json::json!({"id": id}).to_string();
        let created = api.ask("POST /notes", &[], &content);
        let location = created.field("Location").unwrap();
        assert_eq!(
            api.ask(&format!("GET {location}"), &[], "").content(),
            created.content()
        );
    }
}

#[test]
fn an_id_that_is_taken() {
    let sentence = "Document with ID 1 already exists";
    for (api, status) in [(serving(&["notes"]), 400), (strict(&["notes"]), 409)] {
        create(&api, "/notes", r#"{"id": "1", "a": 1}"#);
        refused(
            &api.ask("POST /notes", &[], r#"{"id": "1"}"#),
            status,
            sentence,
        );
        let put = api.ask("PUT /notes/1", &[("If-None-Match", "*")], "{}");
        assert_eq!(put.status(), 412);
        let put = api.ask("PUT /notes/2", &[("If-None-Match", "*")], r#"{"id": "2"}"#);
        assert_eq!(
            (put.status(), put.field("Location")),
            (201, Some("/notes/2"))
        );
        assert_eq!(json(&api.ask("GET /notes/1", &[], ""))["a"], 1);
        let missing = api.ask("PUT /notes/3", &[("If-Match", "*")], "{}");
        refused(&missing, 404, "Document with ID 3 not found");
    }
}

/// A write needs a precondition, as for persons. The status is 412 by default and 428 in the strict
/// profile. Invalid content gets 400 before that.
#[test]
fn s6585_3_a_write_needs_a_precondition() {
    for (api, status) in [(serving(&["notes"]), 412), (strict(&["notes"]), 428)] {
        let tag = create(&api, "/notes", r#"{"id": "1"}"#);
        assert_eq!(api.ask("PUT /notes/1", &[], "{}").status(), status);
        assert_eq!(api.ask("DELETE /notes/1", &[], "").status(), status);
        let bad = api.ask("PUT /notes/1", &[], "[");
        assert_eq!(bad.status(), 400);
        let old = [("If-Match", "\"old\"")];
        let stale = api.ask("PUT /notes/1", &old, "[");
        assert_eq!((stale.status(), stale.field("ETag")), (412, Some(&*tag)));
        let prefer = [("If-Match", "\"old\""), ("Prefer", "return=representation")];
        let stale = api.ask("PUT /notes/1", &prefer, "{}");
        assert_eq!(stale.status(), 412);
        assert_eq!(
            format!("\"{}\"", json(&stale)["_etag"].as_str().unwrap()),
            tag
        );
        let minimal = [("If-Match", &*tag), ("Prefer", "return=minimal")];
        assert_eq!(api.ask("PUT /notes/1", &minimal, "{}").status(), 204);
        let unchanged = [("If-None-Match", &*tag)];
        assert_eq!(api.ask("GET /notes/1", &unchanged, "").status(), 200);
    }
}

#[test]
fn collections_are_independent() {
    let api = serving(&["notes", "persons", "tasks:name"]);
    create(&api, "/notes", r#"{"id": "1", "a": 1}"#);
    let notes = tag(&api.ask("GET /notes", &[], ""));
    create(&api, "/tasks", r#"{"name": "1", "b": 1}"#);
    api.create("1", "Wim");
    assert_eq!(tag(&api.ask("GET /notes", &[], "")), notes);
    let removed = api.ask("DELETE /tasks/1", &[("If-Match", "*")], "");
    assert_eq!(removed.status(), 204);
    let unchanged = api.ask("GET /notes", &[("If-None-Match", &notes)], "");
    assert_eq!(unchanged.status(), 304);
    assert_eq!(json(&api.ask("GET /notes/1", &[], ""))["a"], 1);
    assert!(text(&api.ask("GET /persons/1", &[], "")).contains("\"person_name\": \"Wim\""));
    let nothing = "Nothing is found here; the resources are /, /openapi.json, /notes, /notes/{id}, \
        /persons, /persons/{id}, /tasks and /tasks/{id}";
    for target in ["/nothing", "/notes/1/2", "/Notes", "/notes/"] {
        refused(&api.ask(&format!("GET {target}"), &[], ""), 404, nothing);
    }
    let links = json(&api.ask("GET /", &[], ""))["links"].clone();
    let expected = serde_json::json!({"notes": "/notes", "persons": "/persons", "tasks": "/tasks"});
    assert_eq!(links, expected);
}

#[test]
fn the_root_has_the_member_of_the_older_service() {
    let root = json(&Api::compatible().ask("GET /", &[], ""));
    assert_eq!(root["foo"], "bar");
    assert_eq!(root["links"]["persons"], "/persons");
    assert_eq!(json(&Api::strict().ask("GET /", &[], "")).get("foo"), None);
}

#[test]
fn every_target_has_the_prefix() {
    let mut api = serving(&["notes"]);
    api.policy.collections = served(&["notes"]).under("/api/v1").unwrap();
    let created = api.ask("POST /api/v1/notes", &[], r#"{"id": "1"}"#);
    assert_eq!(created.field("Location"), Some("/api/v1/notes/1"));
    create(&api, "/api/v1/notes", r#"{"id": "2"}"#);
    let list = api.ask("GET /api/v1/notes?limit=1", &[], "");
    let next = "</api/v1/notes?limit=1&after=1>; rel=\"next\"";
    assert!(list.field("Link").unwrap().ends_with(next));
    let root = api.ask("GET /api/v1/", &[], "");
    assert_eq!(
        root.field("Link"),
        Some("</api/v1/openapi.json>; rel=\"service-desc\"")
    );
    assert_eq!(json(&root)["links"]["notes"], "/api/v1/notes");
    assert_eq!(api.ask("GET /api/v1/openapi.json", &[], "").status(), 200);
    for target in [
        "/",
        "/notes",
        "/notes/1",
        "/api/v1",
        "/api",
        "/api/v2/notes",
        "/openapi.json",
    ] {
        assert_eq!(
            api.ask(&format!("GET {target}"), &[], "").status(),
            404,
            "{target}"
        );
    }
}

#[derive(serde::Deserialize)]
struct Note {
    title: String,
    #[serde(default)]
    stars: u8,
}

/// The check of the embedding program makes the message of a refusal.
#[test]
fn only_documents_of_the_embedders_type_are_admitted() {
    let notes = Collection::new("notes").unwrap().admitting(|note: Note| {
        if note.title.is_empty() {
            return Err("A note needs a title".to_owned());
        }
        if note.stars > 5 {
            return Err(format!("A note has at most 5 stars, not {}", note.stars));
        }
        Ok(())
    });
    let mut api = Api::compatible();
    let policy: &mut Policy = &mut api.policy;
    policy.collections = Collections::new([notes]).unwrap();
    create(
        &api,
        "/notes",
        r#"{"id": "1", "title": "Milk", "more": [1.0]}"#,
    );
    let patch = "application/merge-patch+json";
    for (content, sentence) in [
        (
            "{}",
            "The content is no document of notes: missing field `title`",
        ),
        (r#"{"title": ""}"#, "A note needs a title"),
        (
            r#"{"title": "x", "stars": 6}"#,
            "A note has at most 5 stars, not 6",
        ),
        (
            r#"{"title": 1}"#,
            "The content is no document of notes: invalid type: integer `1`, expected a string",
        ),
    ] {
        refused(&api.ask("POST /notes", &[], content), 400, sentence);
        refused(
            &api.ask("PUT /notes/1", &[("If-Match", "*")], content),
            400,
            sentence,
        );
        let fields = [("If-Match", "*"), ("Content-Type", patch)];
        let patched = api.ask("PATCH /notes/1", &fields, content);
        if content == "{}" {
            assert_eq!(patched.status(), 200);
        } else {
            refused(&patched, 422, sentence);
        }
    }
    let shown = json(&api.ask("GET /notes/1", &[], ""));
    assert_eq!(
        (&shown["title"], &shown["more"][0]),
        (&"Milk".into(), &1.0.into())
    );
}

#[derive(serde::Deserialize)]
struct Person {
    person_name: String,
}

/// The error of a check is a message, with or without a detail.
#[test]
fn persons_can_have_a_check_of_the_embedder() {
    const SENTENCE: &str = "Only Wim is admitted";
    let as_text = |person: Person| match &*person.person_name {
        "Wim" => Ok(()),
        _ => Err(SENTENCE.to_owned()),
    };
    let with_detail = |person: Person| match &*person.person_name {
        "Wim" => Ok(()),
        name => Err(ContentError::new(SENTENCE).with_detail(format!("not {name}"))),
    };
    for (persons, detail) in [
        (Collection::persons().admitting(as_text), None),
        (
            Collection::persons().admitting(with_detail),
            Some("not Tim"),
        ),
    ] {
        for (mut api, is_strict) in [(Api::compatible(), false), (Api::strict(), true)] {
            api.policy.collections = Collections::new([persons.clone()]).unwrap();
            api.create("1", "Wim");
            let before = api.state();
            let patch = ("Content-Type", "application/merge-patch+json");
            let guarded = [("If-Match", "*"), patch];
            for (line, fields, status) in [
                ("POST /persons", &[][..], 400),
                ("PUT /persons/1", &guarded, 400),
                ("PUT /persons/2", &[("If-None-Match", "*")], 400),
                ("PATCH /persons/1", &guarded, 422),
            ] {
                let mut content = serde_json::json!({"person_name": "Tim"});
                if line.starts_with("POST") {
                    content["person_id"] = "2".into();
                }
                let response = api.ask(line, fields, &content.to_string());
                let content = json(&response);
                let expected = if is_strict {
                    let sentence = detail.map(|it| format!("{SENTENCE}: {it}"));
                    sentence.unwrap_or(SENTENCE.to_owned())
                } else {
                    assert_eq!(content["detail"].as_str(), detail, "{line}");
                    SENTENCE.to_owned()
                };
                refused(&response, status, &expected);
                assert_eq!(api.state(), before, "nothing has changed");
            }
            let put = api.ask("PUT /persons/1", &guarded, r#"{"person_name": "Wim"}"#);
            assert_eq!(put.status(), 200);
            let patched = api.ask("PATCH /persons/1", &guarded, "{}");
            assert_eq!(patched.status(), 200);
        }
    }
}

/// If another program has stored invalid JSON, GET shows it as it is, and PATCH fails.
#[test]
fn a_stored_document_that_is_not_json() {
    let store = MemoryStore::new();
    let policy = serving(&["notes", "persons"]).policy;
    let now = Api::compatible().now;
    let one = Id::new("1").unwrap();
    for (collection, stored, shown, reason) in [
        (
            "notes",
            r#"{"a":}"#,
            "\"id\":\"1\",\"a\":}\n",
            "expected value at line 1 column 6",
        ),
        (
            "persons",
            r#"{"person_name":x}"#,
            "\"person_name\": x\n}\n",
            "expected value at line 1 column 16",
        ),
    ] {
        let broken = Document::from_stored(stored).unwrap();
        store
            .swap(&Swap::create(collection, &one, &broken), now)
            .unwrap();
        let target = format!("/{collection}/1");
        let get = || respond(&store, &policy, &Request::new(Method::Get, &target), now);
        let before = get();
        assert_eq!(before.status(), 200);
        assert!(text(&before).ends_with(shown), "{}", text(&before));
        let patch = Request::new(Method::Patch, &target)
            .with_field("Content-Type", "application/merge-patch+json")
            .with_field("If-Match", "*")
            .with_content(b"{}");
        let failed = respond(&store, &policy, &patch, now);
        refused(&failed, 503, "The store failed; try again in a second");
        let expected = format!(
            "the document 1 of {collection} cannot be read: The content must be JSON: {reason}"
        );
        assert_eq!(failed.failure(), Some(&*expected));
        assert_eq!(get().content(), before.content());
        assert_eq!(get().field("ETag"), before.field("ETag"));
        // A PUT replaces the invalid document.
        let content = br#"{"person_name": "Wim"}"#;
        let put = Request::new(Method::Put, &target).with_field("If-Match", "*");
        let put = respond(&store, &policy, &put.with_content(content), now);
        assert_eq!(put.status(), 200);
        assert_eq!(respond(&store, &policy, &patch, now).status(), 200);
    }
}
