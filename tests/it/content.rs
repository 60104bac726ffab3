//! The content of a write, and the message when the server refuses it.

use ifmatch::{Collection, Collections, Profile, Response};

use crate::support::api::{Api, tag};
use crate::support::client::{RawResponse, request};
use crate::support::serving::Serving;

/// The members `message` and `detail`. In a strict response `detail` has the text of both.
fn problem(content: &[u8]) -> (Option<String>, Option<String>) {
    let value: serde_json::Value = serde_json::from_slice(content).unwrap();
    let text = |member: &str| value[member].as_str().map(str::to_owned);
    (text("message"), text("detail"))
}

#[track_caller]
fn assert_problem(content: &[u8], profile: Profile, message: &str, detail: Option<&str>) {
    let expected = match (profile, detail) {
        (Profile::Compatible, detail) => (Some(message.to_owned()), detail.map(str::to_owned)),
        (Profile::Strict, None) => (None, Some(message.to_owned())),
        (Profile::Strict, Some(detail)) => (None, Some(format!("{message}: {detail}"))),
    };
    assert_eq!(problem(content), expected);
}

fn collections() -> Collections {
    Collections::new([Collection::persons(), Collection::new("notes").unwrap()]).unwrap()
}

/// An API for each profile, with a person and a note.
fn apis() -> [(Api, Profile); 2] {
    let apis = [
        (Api::compatible(), Profile::Compatible),
        (Api::strict(), Profile::Strict),
    ];
    apis.map(|(mut api, profile)| {
        api.policy.collections = collections();
        api.create("1", "Wim");
        let note = api.ask("POST /notes", &[], r#"{"id": "1", "title": "Milk"}"#);
        assert_eq!(note.status(), 201);
        (api, profile)
    })
}

/// The server decodes no content, so it refuses encoded content without reading it.
#[test]
fn s15_5_16_content_that_is_encoded() {
    let message = "The content is encoded, as Content-Encoding says; send it as it is, without Content-Encoding";
    let serving = Serving::configured(|options| options.policy.collections = collections());
    serving.create("1");
    let before = serving.state();
    let refused = |response: RawResponse| {
        assert_eq!((response.status, response.message()), (415, message.into()));
        assert_eq!(response.field("Accept-Encoding"), Some("identity"));
        assert_eq!(response.field("Accept-Patch"), None);
        assert_eq!(serving.state(), before);
    };
    let person = r#"{"person_id": "2", "person_name": "Tim"}"#;
    let writes = [
        ("POST /persons", ""),
        ("PUT /persons/1", "If-Match: *\r\n"),
        (
            "PATCH /persons/1",
            "If-Match: *\r\nContent-Type: application/merge-patch+json\r\n",
        ),
        ("POST /notes", ""),
        ("PUT /notes/2", "If-None-Match: *\r\n"),
    ];
    for (line, fields) in writes {
        for coding in [
            "Content-Encoding: gzip",
            "content-encoding: GZIP",
            "Content-Encoding: identity, br",
            "Content-Encoding: identity\r\nContent-Encoding: deflate",
            "Content-Encoding: unknown",
        ] {
            let fields = format!("{fields}{coding}\r\n");
            refused(serving.ask(line, &fields, person));
            // The request is refused before its content is uploaded, and without waiting for it.
            let head = request(line, &format!("{fields}Expect: 100-continue\r\n"), "");
            let head = head.replace("\r\n\r\n", "\r\nContent-Length: 5000\r\n\r\n");
            refused(serving.client().ask(head));
        }
    }
    // `identity` and an empty field mean that the content is not encoded. Without content there is
    // nothing to decode.
    for coding in ["identity", "Identity", "", ",identity ,"] {
        let coding = format!("Content-Encoding: {coding}\r\n");
        let fields = format!("{coding}If-Match: *\r\n");
        let put = serving.ask("PUT /persons/1", &fields, person);
        assert_eq!(put.status, 200, "{coding}");
    }
    let gzip = "Content-Encoding: gzip\r\nIf-Match: *\r\n";
    assert_eq!(serving.ask("DELETE /persons/1", gzip, "").status, 204);
    assert_eq!(serving.ask("GET /persons", gzip, "").status, 200);
}

/// The message says that the content is a form if its Content-Type is that of a form. curl sends that
/// Content-Type by default, also with JSON.
#[test]
fn a_form_is_refused_as_a_form() {
    const URLENCODED: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=x";
    let parts = "--x\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nMilk\r\n--x--\r\n";
    let note = "The content must be JSON: expected value at line 1 column 1";
    let person = "Missing JSON data in request";
    for (api, profile) in apis() {
        for (line, fields, message) in [
            ("POST /notes", None, note),
            ("PUT /notes/1", Some(("If-Match", "*")), note),
            ("POST /persons", None, person),
            ("PUT /persons/1", Some(("If-Match", "*")), person),
        ] {
            let ask = |content_type: &str, content: &str| -> Response {
                let mut fields = Vec::from_iter(fields);
                fields.push(("Content-Type", content_type));
                let response = api.ask(line, &fields, content);
                assert_eq!(response.status(), 400);
                response
            };
            for (content_type, content, kind) in [
                (URLENCODED, "xtitle=Milk", URLENCODED),
                (
                    "Application/X-WWW-Form-Urlencoded;charset=utf-8",
                    "xtitle=Milk",
                    URLENCODED,
                ),
                (MULTIPART, parts, "multipart/form-data"),
            ] {
                let detail = format!("the content is a form ({kind}); send JSON instead");
                // The JSON parser takes the hyphens of the boundary for the beginning of a number.
                let message = match (message, kind) {
                    (message, "multipart/form-data") if message == note => {
                        "The content must be JSON: invalid number at line 1 column 2"
                    }
                    (message, _) => message,
                };
                let response = ask(content_type, content);
                assert_problem(response.content(), profile, message, Some(&detail));
            }
            // Malformed JSON with the Content-Type that curl sends, and text with another Content-Type.
            for (content_type, content) in [
                (URLENCODED, r#"{"title": "Milk""#),
                (URLENCODED, "[1,"),
                (URLENCODED, "17"),
                (URLENCODED, ""),
                ("text/plain", "title=Milk"),
            ] {
                let response = ask(content_type, content);
                let shown = String::from_utf8_lossy(response.content()).into_owned();
                assert!(!shown.contains("form"), "{content}: {shown}");
            }
        }
    }
}

#[test]
fn a_refusal_names_the_missing_members_of_a_person() {
    let message = "Missing JSON data in request";
    for (api, profile) in apis() {
        for (line, fields, missing) in [
            (
                "POST /persons",
                &[][..],
                "the object has no `person_id` and no `person_name`",
            ),
            (
                "PUT /persons/1",
                &[("If-Match", "*")],
                "the object has no `person_name`",
            ),
        ] {
            for (content, detail) in [
                ("{}", Some(missing)),
                (" { }\n", Some(missing)),
                ("[]", None),
            ] {
                let response = api.ask(line, fields, content);
                assert_eq!(response.status(), 400);
                assert_problem(response.content(), profile, message, detail);
            }
        }
    }
}

/// A client whose id is taken gets the current tag, with which it can replace the document.
#[test]
fn a_refusal_of_a_taken_id_has_its_tag() {
    for (api, profile) in apis() {
        let status = match profile {
            Profile::Compatible => 400,
            Profile::Strict => 409,
        };
        for (collection, content) in [
            ("/persons", r#"{"person_id": "1", "person_name": "Tim"}"#),
            ("/notes", r#"{"id": "1", "title": "Tea"}"#),
        ] {
            for key in [None, Some(("Idempotency-Key", "\"other\""))] {
                let document = format!("{collection}/1");
                let refused = api.ask(&format!("POST {collection}"), key.as_slice(), content);
                assert_eq!(refused.status(), status);
                let current = tag(&api.ask(&format!("GET {document}"), &[], ""));
                assert_eq!(tag(&refused), current);
                let fields = [("If-Match", &*current)];
                let put = api.ask(&format!("PUT {document}"), &fields, content);
                assert_eq!(put.status(), 200);
            }
        }
        // Other responses that refuse content have no tag.
        let bad = api.ask("POST /notes", &[], "[]");
        assert_eq!((bad.status(), bad.field("ETag")), (400, None));
    }
}
