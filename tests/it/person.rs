//! The rules for the content of a person, with their exact messages.

use crate::support::api::{Api, message, text};

#[track_caller]
fn posted(content: impl AsRef<[u8]>, expected: &str) {
    for api in [Api::compatible(), Api::strict()] {
        let before = api.state();
        let response = api.ask_bytes("POST /persons", &[], content.as_ref());
        assert_eq!(response.status(), 400);
        let message = message(&response);
        assert!(message.starts_with(expected), "{message}");
        assert_eq!(api.state(), before, "nothing has changed");
    }
}

#[track_caller]
fn put(content: impl AsRef<[u8]>, expected: &str) {
    let api = Api::compatible();
    let tag = api.create("1", "Wim");
    let before = api.state();
    // The content is checked before a missing If-Match is reported.
    for fields in [&[("If-Match", &*tag)][..], &[]] {
        let response = api.ask_bytes("PUT /persons/1", fields, content.as_ref());
        assert_eq!(
            (response.status(), message(&response).as_str()),
            (400, expected)
        );
        assert_eq!(api.state(), before, "nothing has changed");
    }
}

const MISSING: &str = "Missing JSON data in request";

#[test]
fn empty_values_are_missing_content() {
    for content in [
        "", "null", "{}", "[]", r#""""#, "0", "0.0", "-0", "false", " {} ",
    ] {
        posted(content, MISSING);
        put(content, MISSING);
    }
}

#[test]
fn content_must_be_json() {
    let deep = "[".repeat(100_000);
    for content in [
        "x",
        "{",
        r#"{"person_id": "1""#,
        "{'a': 1}",
        "[1,]",
        "{} {}",
        &deep,
        "\u{feff}{}",
        "nul",
    ] {
        posted(content, MISSING);
        put(content, MISSING);
    }
    for content in [
        &b"\xff"[..],
        b"{\"person_id\": \"\xc3\x28\", \"person_name\": \"x\"}",
        b"\0",
    ] {
        posted(content, MISSING);
        put(content, MISSING);
    }
    posted(r#"{"person_id": "\ud800", "person_name": "x"}"#, MISSING);
}

#[test]
fn the_error_for_malformed_json_has_the_line_and_the_column() {
    let api = Api::compatible();
    let response = api.ask("POST /persons", &[], "{\"person_id\": }");
    assert_eq!(
        text(&response),
        "{\n  \"detail\": \"expected value at line 1 column 15\", \n  \"message\": \"Missing JSON data in request\"\n}\n"
    );
    let response = api.ask("POST /persons", &[], "");
    assert_eq!(
        text(&response),
        "{\n  \"message\": \"Missing JSON data in request\"\n}\n"
    );
    let response = Api::strict().ask("POST /persons", &[], "{\"person_id\": }");
    assert_eq!(
        message(&response),
        "Missing JSON data in request: expected value at line 1 column 15"
    );
}

#[test]
fn content_must_be_an_object() {
    for (content, found) in [
        ("[1]", "an array"),
        (r#""x""#, "a string"),
        ("1", "a number"),
        ("true", "a boolean"),
    ] {
        let expected = format!("JSON data in request must be an object, not {found}");
        posted(content, &expected);
        put(content, &expected);
    }
}

#[test]
fn members() {
    // The id is checked before the name.
    posted(r#"{"x": 1}"#, "Person ID is mandatory");
    posted(r#"{"person_name": "Wim"}"#, "Person ID is mandatory");
    posted(
        r#"{"person_id": null, "person_name": "Wim"}"#,
        "Person ID is mandatory",
    );
    posted(
        r#"{"person_id": "", "person_name": ""}"#,
        "Person ID is mandatory",
    );
    posted(
        r#"{"person_id": 1, "person_name": 2}"#,
        "Person ID must be a string, not a number",
    );
    posted(
        r#"{"person_id": {}}"#,
        "Person ID must be a string, not an object",
    );
    posted(
        r#"{"person_id": [1]}"#,
        "Person ID must be a string, not an array",
    );
    posted(
        r#"{"person_id": false}"#,
        "Person ID must be a string, not a boolean",
    );
    posted(r#"{"person_id": "1"}"#, "Person name is mandatory");
    posted(
        r#"{"person_id": "1", "person_name": null}"#,
        "Person name is mandatory",
    );
    posted(
        r#"{"person_id": "1", "person_name": ""}"#,
        "Person name is mandatory",
    );
    posted(
        r#"{"person_id": "1", "person_name": 1.5}"#,
        "Person name must be a string, not a number",
    );
    put(r#"{"x": 1}"#, "Person name is mandatory");
    put(r#"{"person_id": "1"}"#, "Person name is mandatory");
    put(r#"{"person_name": ""}"#, "Person name is mandatory");
    put(
        r#"{"person_name": ["Wim"]}"#,
        "Person name must be a string, not an array",
    );
}

#[test]
fn ids_that_a_url_cannot_have() {
    let with = |id: &str| serde_json::json!({"person_id": id, "person_name": "x"}).to_string();
    for id in ["\0", "a\nb", "\r\n", "\u{1b}[0m", "\u{7f}", "\u{85}"] {
        posted(with(id), "Person ID must not contain control characters");
    }
    for id in [".", ".."] {
        posted(with(id), "Person ID must not be `.` or `..`");
    }
    for id in ["x".repeat(1025), "x".repeat(10 * 1024), "ü".repeat(513)] {
        posted(with(&id), "Person ID must not be longer than 1024 bytes");
    }
}

#[test]
fn every_id_that_is_accepted_can_be_fetched_at_its_location() {
    let api = Api::compatible();
    let longest = "😀".repeat(256);
    for id in [
        "1",
        "a b",
        "a/b",
        "/",
        "//",
        "a%2Fb",
        "%",
        "%zz",
        "100%",
        "ü",
        "Zoë",
        "名前",
        "😀",
        "?",
        "#",
        "a?b#c",
        "...",
        ".hidden",
        "..a",
        "~",
        "+",
        "a+b",
        "&=;:@!$'()*,",
        "\"",
        "<>",
        "\\",
        "`{}|^",
        " ",
        "  ",
        "*",
        "persons",
        "\u{a0}",
        "\u{feff}",
        "\u{202e}",
        "e\u{301}",
        &longest,
    ] {
        let content = serde_json::json!({"person_id": id, "person_name": "x"}).to_string();
        let created = api.ask("POST /persons", &[], &content);
        assert_eq!(created.status(), 201, "{id}");
        let location = created.field("Location").unwrap();
        assert!(location.is_ascii() && location.len() <= 8192, "{location}");
        let fetched = api.ask(&format!("GET {location}"), &[], "");
        assert_eq!(fetched.status(), 200, "{location}");
        assert_eq!(fetched.content(), created.content());
        assert_eq!(fetched.field("ETag"), created.field("ETag"));
        // A client may escape more characters, and may write the escapes in lower case.
        let escaped: String = id.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(
            api.ask(&format!("GET /persons/{escaped}"), &[], "")
                .status(),
            200
        );
    }
}

#[test]
fn the_query_the_content_type_and_other_members_are_ignored() {
    let api = Api::compatible();
    let content = r#"{"person_id": "1", "person_name": "Wim", "change_date": "x", "y": [1]}"#;
    let created = api.ask(
        "POST /persons?x=y",
        &[("Content-Type", "text/plain")],
        content,
    );
    assert_eq!(created.status(), 201);
    let tag = created.field("ETag").unwrap();
    let content = r#"{"person_id": "7", "person_name": "Tim"}"#;
    let replaced = api.ask("PUT /persons/1?person_id=8", &[("If-Match", tag)], content);
    assert_eq!(replaced.status(), 200);
    assert_eq!(replaced.field("Content-Location"), Some("/persons/1"));
    assert!(text(&replaced).contains("\"person_id\": \"1\""));
    assert_eq!(api.ask("GET /persons/7", &[], "").status(), 404);
}
