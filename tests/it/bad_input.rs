//! Invalid requests, over a socket. Each gets its own response, changes nothing, and the server goes
//! on serving.

use crate::support::client::{Client, request};
use crate::support::serving::{Serving, is_hyper};

struct Case {
    name: &'static str,
    request: Vec<u8>,
    status: u16,
    message: String,
}

fn case(name: &'static str, request: impl Into<Vec<u8>>, status: u16, message: &str) -> Case {
    Case {
        name,
        request: request.into(),
        status,
        message: message.into(),
    }
}

fn post(content: &str) -> String {
    request(
        "POST /persons",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        content,
    )
}

fn id(id: &str) -> String {
    post(&serde_json::json!({"person_id": id, "person_name": "x"}).to_string())
}

fn bytes(head: &str, content: &[u8]) -> Vec<u8> {
    let head = format!(
        "{head} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    [head.as_bytes(), content].concat()
}

fn cases() -> Vec<Case> {
    let missing = "Missing JSON data in request";
    let tags = vec!["\"x\""; 300].join(", ");
    let put = |fields: &str| request("PUT /persons/1", fields, r#"{"person_name": "Tim"}"#);
    let changed = "Data already changed, get recent resource data and ETag first";
    let framed =
        |line: &str, fields: &str| format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n");
    let length = "Content-Length must be one decimal number";
    let knows =
        "The server knows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, and no other method";
    let nothing =
        "Nothing is found here; the resources are /, /openapi.json, /persons and /persons/{id}";
    let escape = "The target has a `%` without two hexadecimal digits after it";
    vec![
        case("no content", post(""), 400, missing),
        case("no JSON", post("person_id=1&person_name=Wim"), 400, missing),
        case(
            "truncated JSON",
            post(r#"{"person_id": "9", "person_na"#),
            400,
            missing,
        ),
        case("deep JSON", post(&"[".repeat(60_000)), 400, missing),
        case(
            "deeper JSON",
            post(&"[".repeat(100_000)),
            413,
            "The content is longer than 65536 bytes",
        ),
        case(
            "deep objects",
            post(&r#"{"a":"#.repeat(10_000)),
            400,
            missing,
        ),
        case(
            "JSON in UTF-16",
            bytes("POST /persons", b"\xff\xfe{\0}\0"),
            400,
            missing,
        ),
        case(
            "JSON that is not UTF-8",
            bytes("POST /persons", b"{\"person_id\": \"\xfc\"}"),
            400,
            missing,
        ),
        case(
            "a list",
            post("[1]"),
            400,
            "JSON data in request must be an object, not an array",
        ),
        case(
            "a string",
            post("\"x\""),
            400,
            "JSON data in request must be an object, not a string",
        ),
        case(
            "a number",
            post("17"),
            400,
            "JSON data in request must be an object, not a number",
        ),
        case(
            "an id that is a number",
            post(r#"{"person_id": 1, "person_name": "x"}"#),
            400,
            "Person ID must be a string, not a number",
        ),
        case(
            "a name that is an object",
            post(r#"{"person_id": "9", "person_name": {}}"#),
            400,
            "Person name must be a string, not an object",
        ),
        case(
            "no id",
            post(r#"{"person_name": "x"}"#),
            400,
            "Person ID is mandatory",
        ),
        case(
            "no name",
            post(r#"{"person_id": "9"}"#),
            400,
            "Person name is mandatory",
        ),
        case(
            "an id that is taken",
            id("1"),
            400,
            "Person with ID 1 already exists",
        ),
        case(
            "an id with a line break",
            id("a\r\nSet-Cookie: x"),
            400,
            "Person ID must not contain control characters",
        ),
        case(
            "an id with a NUL",
            id("\0"),
            400,
            "Person ID must not contain control characters",
        ),
        case(
            "an id of 10 KiB",
            id(&"x".repeat(10 * 1024)),
            400,
            "Person ID must not be longer than 1024 bytes",
        ),
        case(
            "an id that is a dot",
            id("."),
            400,
            "Person ID must not be `.` or `..`",
        ),
        case("a bad escape", framed("GET /persons/%zz", ""), 400, escape),
        case(
            "half an escape",
            framed("DELETE /persons/%4", "If-Match: *"),
            400,
            escape,
        ),
        case(
            "escaped bytes that are not UTF-8",
            framed("GET /persons/%ff%fe", ""),
            400,
            "The target's percent-encoded bytes are not UTF-8",
        ),
        case(
            "an unknown method",
            framed("BREW /persons/1", ""),
            501,
            knows,
        ),
        case(
            "a method in lower case",
            framed("delete /persons/1", "If-Match: *"),
            501,
            knows,
        ),
        case(
            "a registered method",
            framed("QUERY /persons/1", "If-Match: *"),
            405,
            "This resource does not allow that method; it allows GET, HEAD, PUT, PATCH, DELETE, OPTIONS",
        ),
        case(
            "a patch of the list",
            framed("PATCH /persons", "If-Match: *"),
            405,
            "This resource does not allow that method; it allows GET, HEAD, POST, OPTIONS",
        ),
        case(
            "a patch without a media type",
            framed("PATCH /persons/1", "If-Match: *"),
            415,
            "The content of PATCH must be application/merge-patch+json",
        ),
        case(
            "a patch of an unknown person",
            framed("PATCH /persons/7", "If-Match: *"),
            404,
            "Person with ID 7 not found",
        ),
        case(
            "a method that the target does not allow",
            framed("DELETE /persons", "If-Match: *"),
            405,
            "This resource does not allow that method; it allows GET, HEAD, POST, OPTIONS",
        ),
        case("an unknown target", framed("GET /admin", ""), 404, nothing),
        case(
            "a write to an unknown target",
            framed("DELETE /persons/1/name", "If-Match: *"),
            404,
            nothing,
        ),
        case(
            "an unknown person",
            framed("DELETE /persons/7", "If-Match: *"),
            404,
            "Person with ID 7 not found",
        ),
        case(
            "a long content",
            post(&"x".repeat(65_537)),
            413,
            "The content is longer than 65536 bytes",
        ),
        case(
            "a long target",
            framed(&format!("GET /persons/{}", "x".repeat(9000)), ""),
            414,
            "The request target is longer than 8192 bytes",
        ),
        case(
            "300 tags",
            put(&format!("If-Match: {tags}\r\n")),
            400,
            "If-Match lists more than 256 entity tags",
        ),
        case(
            "8 KiB of tags",
            put(&format!("If-None-Match: \"{}\"\r\n", "x".repeat(8192))),
            400,
            "If-None-Match is longer than 8192 bytes",
        ),
        case(
            "an unterminated tag",
            put("If-Match: \"x\r\n"),
            412,
            changed,
        ),
        case(
            "an unterminated tag in If-None-Match",
            put("If-None-Match: \"x\r\n"),
            400,
            "If-None-Match is malformed: entity tag without a closing quote at byte 2",
        ),
        case("no tag at all", put("If-Match:\r\n"), 412, changed),
        case(
            "a malformed date",
            put("If-Unmodified-Since: Tue, 99 Foo\r\n"),
            412,
            changed,
        ),
        case("no precondition", put(""), 412, changed),
        case(
            "a negative length",
            framed("PUT /persons/1", "Content-Length: -1"),
            400,
            length,
        ),
        case(
            "a signed length",
            framed("GET /persons/1", "Content-Length: +5") + "hello",
            400,
            length,
        ),
        case(
            "a length in words",
            framed("GET /persons/1", "Content-Length: abc"),
            400,
            length,
        ),
        case(
            "two lengths",
            framed("PUT /persons/1", "Content-Length: 2\r\nContent-Length: 3") + "{} ",
            400,
            length,
        ),
        case(
            "a length of terabytes",
            framed("POST /persons", "Content-Length: 99999999999999"),
            413,
            "The content is longer than 65536 bytes",
        ),
        case(
            "a page of no documents",
            framed("GET /persons?limit=0", ""),
            400,
            "The parameter `limit` must be a number from 1 to 1000, not `0`",
        ),
        case(
            "an unknown parameter",
            framed("GET /persons?offset=10", "If-None-Match: *"),
            400,
            "There is no parameter `offset`; there are `limit` and `after`",
        ),
        case(
            "a page that starts after a bad escape",
            framed("GET /persons?after=%f", ""),
            400,
            escape,
        ),
        case(
            "a write by a page of a foreign origin",
            framed(
                "DELETE /persons/1",
                "If-Match: *\r\nOrigin: https://evil.example",
            ),
            403,
            "Pages of this origin may not change anything here",
        ),
        case(
            "a malformed preference",
            framed(
                "DELETE /persons/1",
                "Prefer: return=;,\"\r\nIf-Match: \"x\"",
            ),
            412,
            changed,
        ),
        case(
            "no Host",
            "GET /persons HTTP/1.1\r\n\r\n",
            400,
            "An HTTP/1.1 request needs a Host field",
        ),
    ]
}

#[test]
fn each_invalid_request_gets_its_own_response_and_changes_nothing() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    for Case {
        name,
        request,
        status,
        message,
    } in cases()
    {
        let response = serving.client().ask(request);
        if is_hyper() && message == "Content-Length must be one decimal number" {
            // hyper refuses these requests itself, without a message.
            assert_eq!((response.status, &*response.content), (400, ""), "{name}");
            continue;
        }
        assert_eq!(
            (response.status, response.message()),
            (status, message),
            "{name}"
        );
        assert_eq!(response.field("Cache-Control"), Some("no-store"), "{name}");
        assert_eq!(
            response.field("Content-Type"),
            Some("application/json"),
            "{name}"
        );
        for name in ["Date", "Server"] {
            assert!(response.field(name).is_some());
        }
        assert_eq!(serving.state(), before, "{name}");
    }
}

#[test]
fn clients_that_close_early_change_nothing() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    let whole = request("PUT /persons/1", "If-Match: *\r\n", &"x".repeat(3000));
    for cut in [1, 10, 50, 70, 100, 2000, whole.len() - 1] {
        let mut client = serving.client();
        client.send(&whole[..cut]);
        drop(client);
        assert_eq!(serving.state(), before, "after {cut} bytes");
    }
    // Clients that close the connection while the server sends responses.
    for _ in 0..50 {
        let mut client = serving.client();
        client.send(request("GET /persons", "", "").repeat(20));
        drop(client);
    }
    assert_eq!(serving.state(), before);
}

/// The client closes its half of the connection before the end of the content, and gets a 400.
#[test]
fn content_that_ends_too_early() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    let refusal = |mut client: Client| {
        client.finish_sending();
        let response = client.receive();
        (response.status, response.message())
    };
    let mut client = serving.client();
    client.send(
        "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Length: 2000\r\n\r\n{}",
    );
    let truncated = "The content ended before its announced length";
    assert_eq!(refusal(client), (400, truncated.into()));
    let mut client = serving.client();
    client.send("PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}");
    // tiny_http does not distinguish a missing end of the chunks from a malformed one.
    let chunked = if is_hyper() {
        truncated
    } else {
        "The chunked content is malformed"
    };
    assert_eq!(refusal(client), (400, chunked.into()));
    assert_eq!(serving.state(), before);
}
