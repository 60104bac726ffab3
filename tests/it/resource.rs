//! The responses of each target, rule by rule.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ifmatch::{
    Evaluation, HttpDate, Id, List, MemoryStore, Method, Portion, Precondition, Profile, Record,
    Request, Response, Store, StoreError, Swap, SwapError, Version, respond,
};

use crate::oracle::{self, Dates, Meaning, Selected, Tags};
use crate::support::api::{Api, message, tag, text};
use crate::support::serving::{Serving, options};

const CHANGED: &str = "Data already changed, get recent resource data and ETag first";

fn status(response: &Response) -> u16 {
    response.status()
}

/// The fields of a response that depend on the request, without Date and Server.
fn names(response: &Response) -> Vec<&'static str> {
    let names = response.fields().iter().map(|(name, _)| *name);
    names
        .filter(|name| !["Date", "Server"].contains(name))
        .collect()
}

#[test]
fn every_response_has_date_and_server() {
    let api = Api::compatible();
    for line in [
        "GET /",
        "GET /persons",
        "GET /nothing",
        "OPTIONS *",
        "BREW /",
        "PUT /persons/1",
    ] {
        let response = api.ask(line, &[], "");
        assert_eq!(
            response.field("Date"),
            Some("Mon, 23 Nov 2026 12:00:00 GMT")
        );
        assert_eq!(
            response.field("Server"),
            Some(concat!("ifmatch/", env!("CARGO_PKG_VERSION")))
        );
    }
}

#[test]
fn s9_3_3_post_creates() {
    let api = Api::compatible();
    let content = r#"{"person_id": "a b", "person_name": "Wim"}"#;
    let created = api.ask("POST /persons", &[], content);
    assert_eq!(status(&created), 201);
    assert_eq!(
        names(&created),
        [
            "Location",
            "Content-Location",
            "ETag",
            "Cache-Control",
            "Content-Type",
            "Content-Length"
        ]
    );
    for name in ["Location", "Content-Location"] {
        assert_eq!(created.field(name), Some("/persons/a%20b"));
    }
    assert_eq!(created.field("Content-Type"), Some("application/json"));
    let before = api.state();
    let again = api.ask("POST /persons", &[], content);
    assert_eq!(
        (status(&again), &*message(&again)),
        (400, "Person with ID a b already exists")
    );
    assert_eq!(api.state(), before);

    let api = Api::strict();
    assert_eq!(status(&api.ask("POST /persons", &[], content)), 201);
    let again = api.ask("POST /persons", &[], content);
    assert_eq!(
        (status(&again), &*message(&again)),
        (409, "Person with ID a b already exists")
    );
}

#[test]
fn s9_3_1_get() {
    let api = Api::compatible();
    let tag = api.create("1", "Wim");
    let fetched = api.ask("GET /persons/1", &[], "");
    assert_eq!(status(&fetched), 200);
    assert_eq!(
        names(&fetched),
        [
            "Cache-Control",
            "ETag",
            "Last-Modified",
            "Content-Type",
            "Content-Length"
        ]
    );
    assert_eq!(fetched.field("Cache-Control"), Some("no-cache"));
    assert_eq!(fetched.field("ETag"), Some(&*tag));
    assert_eq!(
        fetched.field("Last-Modified"),
        Some("Mon, 23 Nov 2026 12:00:00 GMT")
    );

    let missing = api.ask("GET /persons/2", &[], "");
    assert_eq!(
        (status(&missing), &*message(&missing)),
        (404, "Person with ID 2 not found")
    );
    assert_eq!(missing.field("Cache-Control"), Some("no-store"));
}

#[test]
fn s9_3_2_head_is_get_without_content() {
    for api in [Api::compatible(), Api::strict()] {
        let tag = api.create("1", "Wim");
        for target in [
            "/",
            "/persons",
            "/persons/1",
            "/persons/2",
            "/persons/%",
            "/nothing",
        ] {
            for fields in [
                &[][..],
                &[("If-None-Match", &*tag)],
                &[("If-Match", "\"x\"")],
            ] {
                let get = api.ask(&format!("GET {target}"), fields, "");
                let head = api.ask(&format!("HEAD {target}"), fields, "");
                assert_eq!((head.status(), head.fields()), (get.status(), get.fields()));
                assert_eq!(head.content(), b"");
                let length = get.field("Content-Length");
                assert_eq!(length.is_none(), get.status() == 304);
                if let Some(length) = length {
                    assert_eq!(length, get.content().len().to_string());
                }
            }
        }
    }
}

#[test]
fn s9_3_4_put_replaces() {
    let api = Api::compatible();
    let old = api.create("1", "Wim");
    let content = r#"{"person_name": "Tim"}"#;
    let replaced = api.ask("PUT /persons/1", &[("If-Match", &old)], content);
    assert_eq!(status(&replaced), 200);
    assert_eq!(
        names(&replaced),
        [
            "Content-Location",
            "ETag",
            "Cache-Control",
            "Content-Type",
            "Content-Length"
        ]
    );
    assert_eq!(replaced.field("Content-Location"), Some("/persons/1"));
    assert_ne!(tag(&replaced), old);
    assert_eq!(text(&api.ask("GET /persons/1", &[], "")), text(&replaced));

    let missing = api.ask("PUT /persons/2", &[("If-Match", "*")], content);
    assert_eq!(
        (status(&missing), &*message(&missing)),
        (404, "Person with ID 2 not found")
    );
    let created = api.ask("PUT /persons/2", &[("If-None-Match", "*")], content);
    assert_eq!(
        (status(&created), created.field("Location")),
        (201, Some("/persons/2"))
    );
    // Only `If-None-Match: *` creates a person.
    for tags in ["\"x\"", "", "x y"] {
        let missing = api.ask("PUT /persons/3", &[("If-None-Match", tags)], content);
        assert_eq!(status(&missing), 404);
    }
    // A person with an invalid id cannot be created, and is not found.
    let created = api.ask("PUT /persons/%00", &[("If-None-Match", "*")], content);
    assert_eq!(status(&created), 400);
    assert_eq!(
        message(&created),
        "Person ID must not contain control characters"
    );
    for line in ["PUT /persons/%00", "GET /persons/%00", "DELETE /persons/.."] {
        assert_eq!(status(&api.ask(line, &[("If-Match", "*")], content)), 404);
    }
}

/// A cache may store the response to a write, and must revalidate it before each use, as with GET.
#[test]
fn s9111_5_2_2_4_responses_to_writes_must_be_revalidated() {
    for api in [Api::compatible(), Api::strict()] {
        let create = r#"{"person_id": "1", "person_name": "Wim"}"#;
        let other = r#"{"person_id": "2", "person_name": "Wim"}"#;
        let minimal = ("Prefer", "return=minimal");
        let (any, none) = (("If-Match", "*"), ("If-None-Match", "*"));
        for (line, fields, content, expected) in [
            ("POST /persons", &[][..], create, 201),
            ("POST /persons", &[minimal], other, 201),
            ("PUT /persons/1", &[any], create, 200),
            ("PUT /persons/1", &[any, minimal], create, 204),
            ("PUT /persons/3", &[none], create, 201),
            ("PUT /persons/4", &[none, minimal], create, 201),
        ] {
            let response = api.ask(line, fields, content);
            let cached = response.field("Cache-Control");
            assert_eq!((status(&response), cached), (expected, Some("no-cache")));
        }
        // The response to a removal has no representation to store.
        let removed = api.ask("DELETE /persons/1", &[any], "");
        assert_eq!(removed.field("Cache-Control"), None);
    }
}

#[test]
fn s9_3_5_delete() {
    let api = Api::compatible();
    let tag = api.create("1", "Wim");
    let removed = api.ask("DELETE /persons/1", &[("If-Match", &tag)], "ignored");
    assert_eq!((status(&removed), names(&removed)), (204, vec![]));
    assert_eq!(
        status(&api.ask("DELETE /persons/1", &[("If-Match", &tag)], "")),
        404
    );
    // A person that is created again has a new version, even with the same content.
    assert_ne!(api.create("1", "Wim"), tag);
    let before = api.state();
    let late = api.ask(
        "PUT /persons/1",
        &[("If-Match", &tag)],
        r#"{"person_name": "Tim"}"#,
    );
    assert_eq!((status(&late), api.state()), (412, before));
}

#[test]
fn s9_3_7_options() {
    let api = Api::compatible();
    for (target, allow) in [
        ("*", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/persons", "GET, HEAD, POST, OPTIONS"),
        ("/persons/1", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        // Preconditions are ignored (section 13.2.1).
        for fields in [&[][..], &[("If-Match", "\"x\"")], &[("If-None-Match", "*")]] {
            let response = api.ask(&format!("OPTIONS {target}"), fields, "");
            assert_eq!(
                (status(&response), response.field("Allow")),
                (200, Some(allow))
            );
            assert_eq!(response.field("Content-Length"), Some("0"));
            // RFC 5789 section 3.1
            let patches = target
                .ends_with("/1")
                .then_some("application/merge-patch+json");
            assert_eq!(response.field("Accept-Patch"), patches, "{target}");
        }
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let response = api.ask(&format!("{method} {target}"), &[("If-Match", "\"x\"")], "");
            if target == "*" {
                assert_eq!(status(&response), 400);
            } else if !allow.contains(method) {
                assert_eq!(
                    (status(&response), response.field("Allow")),
                    (405, Some(allow))
                );
            } else {
                assert_ne!(status(&response), 405);
            }
        }
    }
    assert_eq!(status(&api.ask("OPTIONS /nothing", &[], "")), 404);
}

#[test]
fn s15_6_2_methods_that_are_not_known() {
    let api = Api::compatible();
    for method in ["BREW", "get", "Put", "trace", "PATCHES", "FETCH"] {
        for target in ["/", "/persons/1", "/nothing", "*"] {
            let response = api.ask(&format!("{method} {target}"), &[("If-Match", "x")], "");
            assert_eq!(status(&response), 501);
            assert_eq!(
                message(&response),
                "The server knows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, and no other method"
            );
        }
    }
}

/// The methods of the IANA HTTP Method Registry that no target supports.
const REGISTERED: [&str; 33] = [
    "ACL",
    "BASELINE-CONTROL",
    "BIND",
    "CHECKIN",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "LABEL",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MKREDIRECTREF",
    "MKWORKSPACE",
    "MOVE",
    "ORDERPATCH",
    "PRI",
    "PROPFIND",
    "PROPPATCH",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "TRACE",
    "UNBIND",
    "UNCHECKOUT",
    "UNLINK",
    "UNLOCK",
    "UPDATE",
    "UPDATEREDIRECTREF",
    "VERSION-CONTROL",
];

/// RFC 9110 section 15.5.6: the method is known, and the target does not support it.
#[test]
fn s15_5_6_registered_methods_are_not_allowed() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    for method in REGISTERED {
        let known = [Method::Registered, Method::Trace, Method::Connect];
        assert!(known.contains(&Method::from_name(method)), "{method}");
        for (target, allow) in [
            ("/", "GET, HEAD, OPTIONS"),
            ("/openapi.json", "GET, HEAD, OPTIONS"),
            ("/health", "GET, HEAD, OPTIONS"),
            ("/persons", "GET, HEAD, POST, OPTIONS"),
            ("/persons/1", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            ("/persons/9", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ] {
            let line = format!("{method} {target}");
            let response = serving.ask(&line, "If-Match: \"old\"\r\n", "");
            let sentence = format!("This resource does not allow that method; it allows {allow}");
            assert_eq!(
                (response.status, response.message()),
                (405, sentence),
                "{line}"
            );
            assert_eq!(response.field("Allow"), Some(allow), "{line}");
        }
        let line = format!("{method} /nothing");
        assert_eq!(serving.ask(&line, "", "").status, 404, "{line}");
    }
    let tunnel = serving.ask("CONNECT example.com:80", "", "");
    assert_eq!(tunnel.status, 400);
    assert!(tunnel.message().starts_with("The request target must be"));
    let server = serving.ask("TRACE *", "", "");
    assert_eq!(
        (server.status, &*server.message()),
        (400, "The target `*` is for OPTIONS alone")
    );
    for method in ["BREW", "trace", "PATCHES"] {
        let response = serving.ask(&format!("{method} /persons/1"), "", "");
        assert_eq!(response.status, 501, "{method}");
    }
    assert_eq!(serving.state(), before);
}

#[test]
fn targets() {
    let api = Api::compatible();
    api.create("1", "Wim");
    for (target, expected) in [
        ("/persons/1", 200),
        ("/persons/%31", 200),
        ("/%70ersons/1", 200),
        ("/persons%2F1", 404),
        ("/nothing/%zz", 400),
        ("/persons/1?x=/../y", 200),
        ("/persons?limit=7", 200),
        ("/?x", 200),
        ("http://example.com/persons/1", 200),
        ("HTTP://example.com:1/persons/1?x", 200),
        ("http://example.com", 200),
        ("http://example.com?x/persons", 200),
        ("ftp://example.com/persons", 404),
        ("/persons/", 404),
        ("/others/1", 404),
        ("x/persons/1", 404),
        ("x/persons", 404),
        ("/persons/1/", 404),
        ("/persons/1/2", 404),
        ("/persons//1", 404),
        ("/person", 404),
        ("/personsx", 404),
        ("/Persons", 404),
        ("//persons", 404),
        ("persons", 404),
        ("", 404),
        ("/persons/1%2F", 404),
        ("/persons/%", 400),
        ("/persons/%3", 400),
        ("/persons/%zz", 400),
        ("/persons/%+1", 400),
        ("/persons/%ff", 400),
        ("/persons/%c3%28", 400),
    ] {
        let response = api.ask(&format!("GET {target}"), &[], "");
        assert_eq!(status(&response), expected, "{target}");
        if target.ends_with('1') && expected == 200 {
            assert!(text(&response).contains("\"person_id\": \"1\""), "{target}");
        }
        if expected == 404 && target != "/persons/1%2F" {
            assert!(
                message(&response).starts_with("Nothing is found here"),
                "{target}"
            );
        }
    }
    let escape = api.ask("GET /persons/%3", &[], "");
    assert_eq!(
        message(&escape),
        "The target has a `%` without two hexadecimal digits after it"
    );
    let bytes = api.ask("GET /persons/%ff", &[], "");
    assert_eq!(
        message(&bytes),
        "The target's percent-encoded bytes are not UTF-8"
    );
    let asterisk = api.ask("GET *", &[], "");
    assert_eq!(message(&asterisk), "The target `*` is for OPTIONS alone");
    let nothing = api.ask("GET /nothing", &[], "");
    assert_eq!(
        message(&nothing),
        "Nothing is found here; the resources are /, /openapi.json, /persons and /persons/{id}"
    );
    assert_eq!(nothing.field("Cache-Control"), Some("no-store"));
}

#[test]
fn the_service_document() {
    let api = Api::compatible();
    let document = api.ask("GET /", &[], "");
    let value: serde_json::Value = serde_json::from_slice(document.content()).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let mut expected = serde_json::json!({
        "links": {"persons": "/persons"}, "name": "ifmatch", "version": version
    });
    let strict = Api::strict().ask("GET /", &[], "");
    let strict: serde_json::Value = serde_json::from_slice(strict.content()).unwrap();
    assert_eq!(strict, expected);
    // Clients of the older service compare this text.
    expected["foo"] = "bar".into();
    assert_eq!(value, expected);
    let tag = tag(&document);
    assert_eq!(
        status(&api.ask("GET /", &[("If-None-Match", &tag)], "")),
        304
    );
    assert_eq!(status(&api.ask("GET /", &[("If-Match", "\"x\"")], "")), 412);
    assert_eq!(
        status(&api.ask("GET /", &[("If-None-Match", "*")], "")),
        304
    );
    // The service document has no modification date.
    let since = [("If-Modified-Since", "Mon, 23 Nov 2026 12:00:00 GMT")];
    assert_eq!(status(&api.ask("GET /", &since, "")), 200);
}

#[test]
fn s15_4_5_not_modified() {
    let api = Api::compatible();
    api.create("1", "Wim");
    for target in ["/persons/1", "/persons"] {
        let full = api.ask(&format!("GET {target}"), &[], "");
        let weak = format!("W/{}", tag(&full));
        let unmodified = api.ask(&format!("GET {target}"), &[("If-None-Match", &weak)], "");
        assert_eq!((status(&unmodified), unmodified.content()), (304, &b""[..]));
        // The 304 has the fields of the 200, except for the length and the type.
        assert_eq!(
            names(&unmodified),
            ["Cache-Control", "ETag", "Last-Modified"]
        );
        for name in names(&unmodified) {
            assert_eq!(unmodified.field(name), full.field(name));
        }
    }
}

#[test]
fn s15_5_13_precondition_failed() {
    let strict = format!("{CHANGED}: If-Match is false");
    for (api, expected) in [(Api::compatible(), CHANGED), (Api::strict(), &strict)] {
        let current = api.create("1", "Wim");
        let before = api.state();
        for line in [
            "GET /persons/1",
            "HEAD /persons/1",
            "PUT /persons/1",
            "DELETE /persons/1",
        ] {
            let failed = api.ask(line, &[("If-Match", "\"old\"")], "{malformed");
            assert_eq!((status(&failed), tag(&failed)), (412, current.clone()));
            assert_eq!(failed.field("Cache-Control"), Some("no-store"));
            if !line.starts_with("HEAD") {
                assert_eq!(message(&failed), expected);
            }
        }
        assert_eq!(api.state(), before, "nothing has changed");
    }
    let api = Api::strict();
    api.create("1", "Wim");
    let fields = [("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT")];
    let failed = api.ask("PUT /persons/1", &fields, "{}");
    assert_eq!(
        message(&failed),
        format!("{CHANGED}: If-Unmodified-Since is false")
    );
}

/// The message is the same for both, because clients of the older service compare it.
#[test]
fn rfc6585_the_detail_distinguishes_a_missing_if_match_from_a_false_one() {
    let api = Api::compatible();
    let current = api.create("1", "Wim");
    for (line, fields) in [
        ("PUT /persons/1", &[][..]),
        ("DELETE /persons/1", &[]),
        (
            "PATCH /persons/1",
            &[("Content-Type", "application/merge-patch+json")],
        ),
        (
            "PUT /persons/1",
            &[("If-Unmodified-Since", "Thu, 01 Jan 2099 00:00:00 GMT")],
        ),
    ] {
        let refused = api.ask(line, fields, r#"{"person_name": "Tim"}"#);
        assert_eq!((status(&refused), tag(&refused)), (412, current.clone()));
        let value: serde_json::Value = serde_json::from_slice(refused.content()).unwrap();
        let detail = "no If-Match was sent: get the resource, then repeat the request with its ETag in If-Match";
        let expected = serde_json::json!({"detail": detail, "message": CHANGED});
        assert_eq!(value, expected, "{line}");
    }
}

/// A proxy that compresses a response makes its tag weak, and If-Match is never true for a weak tag.
#[test]
fn s13_1_1_the_detail_for_a_weak_tag_has_the_reason() {
    let why = "If-Match compares strongly, so a weak tag (W/) never matches; \
               a proxy that compresses a response makes its tag weak, until its compression is \
               switched off for this server (in nginx: gzip off)";
    let strict = format!("{CHANGED}: {why}");
    for (api, sentence) in [(Api::compatible(), CHANGED), (Api::strict(), &strict)] {
        let current = api.create("1", "Wim");
        let before = api.state();
        let detail = |response: &Response| {
            let value: serde_json::Value = serde_json::from_slice(response.content()).unwrap();
            value["detail"].as_str().map(str::to_owned)
        };
        let is_strict = sentence != CHANGED;
        let weak = format!("W/{current}");
        for tags in [&*weak, &format!("\"old\", {weak}"), &format!("{weak}, x y")] {
            for line in ["PUT /persons/1", "DELETE /persons/1", "GET /persons/1"] {
                let failed = api.ask(line, &[("If-Match", tags)], "{}");
                assert_eq!((status(&failed), tag(&failed)), (412, current.clone()));
                assert_eq!(message(&failed), sentence);
                let expected = if is_strict { &strict } else { why };
                assert_eq!(detail(&failed).as_deref(), Some(expected));
            }
        }
        let collection = format!("W/{}", before.0);
        let failed = api.ask("POST /persons", &[("If-Match", &collection)], "{}");
        assert_eq!((status(&failed), &*message(&failed)), (412, sentence));
        // For another tag, weak or not, the detail does not mention weak tags.
        for tags in ["W/\"old\"", "\"old\"", "W/\"\""] {
            let failed = api.ask("PUT /persons/1", &[("If-Match", tags)], "{}");
            let expected = is_strict.then(|| format!("{CHANGED}: If-Match is false"));
            assert_eq!((status(&failed), detail(&failed)), (412, expected));
        }
        // The same is true of a weak tag in another field.
        let fields = [("If-Match", &*current), ("If-None-Match", &weak)];
        let failed = api.ask("PUT /persons/1", &fields, "{}");
        let expected = is_strict.then(|| format!("{CHANGED}: If-None-Match is false"));
        assert_eq!((status(&failed), detail(&failed)), (412, expected));
        assert_eq!(api.state(), before);
        // One member that matches strongly is enough.
        let both = format!("{weak}, {current}");
        let removed = api.ask("DELETE /persons/1", &[("If-Match", &both)], "");
        assert_eq!(status(&removed), 204);
    }
}

/// RFC 6585 section 3.
#[test]
fn a_write_without_if_match() {
    let content = r#"{"person_name": "Tim"}"#;
    let date = ("If-Unmodified-Since", "Mon, 23 Nov 2026 12:00:00 GMT");
    let other = ("If-None-Match", "\"other\"");
    let missing = "If-Match is missing: get the resource, then repeat the request with its ETag";
    for (api, expected, sentence) in [
        (Api::compatible(), 412, CHANGED),
        (Api::strict(), 428, missing),
    ] {
        let current = api.create("1", "Wim");
        let before = api.state();
        for line in ["PUT /persons/1", "DELETE /persons/1"] {
            // A date has a resolution of one second, so it does not replace a tag.
            for fields in [&[][..], &[date], &[other], &[date, other]] {
                let refused = api.ask(line, fields, content);
                assert_eq!(
                    (status(&refused), &*message(&refused)),
                    (expected, sentence)
                );
                assert_eq!(refused.field("Cache-Control"), Some("no-store"));
                assert_eq!(tag(&refused), current);
            }
        }
        assert_eq!(api.state(), before, "nothing has changed");
    }
    for mut api in [Api::compatible(), Api::strict()] {
        api.policy.unconditional_writes = true;
        api.create("1", "Wim");
        assert_eq!(status(&api.ask("PUT /persons/1", &[], content)), 200);
        let stale = [("If-Match", "\"old\"")];
        assert_eq!(status(&api.ask("PUT /persons/1", &stale, content)), 412);
        assert_eq!(status(&api.ask("DELETE /persons/1", &[], "")), 204);
    }
}

#[test]
fn only_the_compatible_profile_accepts_bare_tags() {
    for (api, expected) in [(Api::compatible(), 200), (Api::strict(), 400)] {
        let tag = api.create("1", "Wim");
        let bare = tag.trim_matches('"');
        let content = r#"{"person_name": "Tim"}"#;
        let response = api.ask("PUT /persons/1", &[("If-Match", bare)], content);
        assert_eq!(status(&response), expected);
        if expected == 400 {
            let first = bare.chars().next().unwrap();
            assert_eq!(
                message(&response),
                format!("If-Match is malformed: expected a quoted tag at byte 0, found '{first}'")
            );
        }
    }
}

#[test]
fn malformed_if_none_match() {
    for api in [Api::compatible(), Api::strict()] {
        api.create("1", "Wim");
        let malformed = ("If-None-Match", "\"x");
        for (line, expected) in [
            ("GET /persons/1", 200),
            ("HEAD /persons/1", 200),
            ("PUT /persons/1", 400),
            ("DELETE /persons/1", 400),
            ("POST /persons", 400),
            // A missing person is reported before a malformed field.
            ("PUT /persons/2", 404),
        ] {
            let before = api.state();
            let response = api.ask(line, &[malformed, ("If-Match", "*")], "{}");
            assert_eq!(status(&response), expected, "{line}");
            assert_eq!(api.state(), before);
            if expected == 400 {
                assert_eq!(
                    message(&response),
                    "If-None-Match is malformed: entity tag without a closing quote at byte 2"
                );
            }
        }
    }
}

/// A write fails because of one malformed member. A read uses the other members.
#[test]
fn one_malformed_member_of_if_none_match() {
    let api = Api::strict();
    let tag = api.create("1", "Wim");
    let before = api.state();
    let bare = tag.trim_matches('"');
    let first = bare.chars().next().unwrap();
    let sentence =
        format!("If-None-Match is malformed: expected a quoted tag at byte 0, found '{first}'");
    let good_and_bad = format!("\"zzz\", {bare}");
    let current_and_bad = format!("x, {tag}, \"zzz\"");
    for (tags, read) in [(&good_and_bad, 200), (&current_and_bad, 304)] {
        let fields = [("If-Match", "*"), ("If-None-Match", &**tags)];
        for line in ["PUT /persons/1", "DELETE /persons/1", "POST /persons"] {
            let content = r#"{"person_id": "2", "person_name": "Tim"}"#;
            let response = api.ask(line, &fields, content);
            assert_eq!((status(&response), api.state()), (400, before.clone()));
            if read == 200 {
                assert_eq!(message(&response), sentence);
            }
        }
        for line in ["GET /persons/1", "HEAD /persons/1"] {
            assert_eq!(status(&api.ask(line, &fields, "")), read, "{line}");
        }
        let missing = api.ask("PUT /persons/2", &fields, "{}");
        assert_eq!(status(&missing), 404);
    }
}

/// Section 14.5 of RFC 9110: a server that does not support partial PUT responds with 400.
#[test]
fn s14_5_put_with_content_range() {
    let sentence =
        "A partial PUT is not supported: send the whole representation without Content-Range";
    for api in [Api::compatible(), Api::strict()] {
        let tag = api.create("1", "Wim");
        let before = api.state();
        let range = ("Content-Range", "bytes 0-21/22");
        let content = r#"{"person_name": "Tim"}"#;
        for fields in [
            &[range, ("If-Match", &*tag)][..],
            &[range, ("If-Match", "\"old\"")],
            &[range, ("If-None-Match", "*")],
            &[("content-range", ""), ("If-Match", "*")],
            &[range],
        ] {
            for target in ["/persons/1", "/persons/2"] {
                let response = api.ask(&format!("PUT {target}"), fields, content);
                assert_eq!((status(&response), &*message(&response)), (400, sentence));
                assert_eq!(response.field("Cache-Control"), Some("no-store"));
                assert_eq!(api.state(), before);
            }
        }
        // Other methods ignore the field. A PUT to another target is refused before the field is
        // read.
        for (line, expected) in [
            ("GET /persons/1", 200),
            ("POST /persons", 201),
            ("PUT /persons", 405),
            ("PUT /nothing", 404),
            ("DELETE /persons/1", 204),
        ] {
            let content = r#"{"person_id": "3", "person_name": "Tim"}"#;
            let response = api.ask(line, &[range, ("If-Match", "*")], content);
            assert_eq!(status(&response), expected, "{line}");
        }
    }
}

#[test]
fn too_many_tags() {
    let api = Api::compatible();
    api.create("1", "Wim");
    let tags = vec!["\"x\""; 300].join(", ");
    for line in ["GET /persons/1", "PUT /persons/1", "POST /persons", "GET /"] {
        let response = api.ask(line, &[("If-Match", &tags)], "{}");
        assert_eq!(status(&response), 400);
        assert_eq!(
            message(&response),
            "If-Match lists more than 256 entity tags"
        );
    }
    // A missing person is reported before too many tags.
    for line in [
        "GET /persons/2",
        "PUT /persons/2",
        "DELETE /persons/2",
        "GET /persons/%00",
    ] {
        assert_eq!(status(&api.ask(line, &[("If-Match", &tags)], "{}")), 404);
    }
}

#[test]
fn s13_1_the_collection_has_a_version() {
    let api = Api::compatible();
    let mut tags = vec![api.state().0];
    let one = api.create("1", "Wim");
    tags.push(api.state().0);
    api.create("2", "Wim");
    tags.push(api.state().0);
    api.ask(
        "PUT /persons/1",
        &[("If-Match", &one)],
        r#"{"person_name": "Tim"}"#,
    );
    tags.push(api.state().0);
    api.ask("DELETE /persons/1", &[("If-Match", "*")], "");
    tags.push(api.state().0);
    for (index, tag) in tags.iter().enumerate() {
        assert!(!tags[..index].contains(tag), "a tag occurs twice");
        let expected = if index + 1 == tags.len() { 304 } else { 200 };
        let response = api.ask("GET /persons?limit=1", &[("If-None-Match", tag)], "");
        assert_eq!(status(&response), expected);
    }

    let content = r#"{"person_id": "3", "person_name": "Wim"}"#;
    let before = api.state();
    for (fields, expected) in [
        (("If-None-Match", "*"), 412),
        (("If-None-Match", &*before.0), 412),
        (("If-Match", &*tags[0]), 412),
        (
            ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            412,
        ),
        (("If-Match", &*before.0), 201),
    ] {
        assert_eq!(api.state(), before);
        let response = api.ask("POST /persons", &[fields], content);
        assert_eq!(status(&response), expected, "{fields:?}");
        if expected == 412 {
            assert_eq!(tag(&response), before.0, "the tag is the collection's");
        }
    }
}

/// A store that keeps no version of the collection.
struct Untagged(MemoryStore);

impl Store for Untagged {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.0.get(collection, id)
    }
    fn collection_version(&self, _: &str) -> Result<Option<Version>, StoreError> {
        Ok(None)
    }
    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        let version = None;
        let list = self.0.list(collection, portion)?;
        Ok(List::new(version, list.records, list.more))
    }
    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.0.swap(swap, now)
    }
}

/// The collection exists, so `*` matches it. Tags and dates do not match it.
#[test]
fn s13_1_a_collection_without_a_version() {
    let serving = Serving::with(Untagged(MemoryStore::new()), options());
    let person = serving.create("1");
    for (field, read, written) in [
        ("", 200, 201),
        ("If-Match: *", 200, 201),
        ("If-Match: \"x\"", 412, 412),
        ("If-None-Match: *", 304, 412),
        ("If-None-Match: \"x\"", 200, 201),
        ("If-Modified-Since: Thu, 31 Dec 2099 23:59:59 GMT", 200, 201),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT", 200, 201),
        (
            "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT",
            200,
            201,
        ),
    ] {
        let fields = format!("{field}\r\nPrefer: return=representation\r\n");
        let fields = fields.trim_start();
        let list = serving.ask("GET /persons", fields, "");
        assert_eq!(list.status, read, "{field}");
        let id = format!("{field}/2").replace('"', "");
        let content = serde_json::json!({"person_id": id, "person_name": "Wim"}).to_string();
        let response = serving.ask("POST /persons", fields, &content);
        assert_eq!(response.status, written, "{field}");
        for response in [&list, &response] {
            let tagged =
                response.field("ETag").is_some() || response.field("Last-Modified").is_some();
            assert_eq!(tagged, response.status == 201, "{response:?}");
        }
        if written == 412 {
            assert_eq!(response.field("Content-Location"), Some("/persons"));
        }
    }
    let stale = serving.ask("PUT /persons/1", "If-Match: \"x\"\r\n", "{}");
    assert_eq!(
        (stale.status, stale.field("ETag")),
        (412, Some(person.as_str()))
    );
}

/// The server makes ids of the clock only, and skips the ids that exist.
#[test]
fn s9_3_3_ids_are_made_without_a_version_of_the_collection() {
    let mut api = crate::documents::serving(&["notes"]);
    let store = Untagged(MemoryStore::new());
    let mut made = BTreeSet::new();
    let noon = "2026-11-23T12:00:00.000000";
    let clock = [
        noon,
        "2026-11-23T11:59:59.999990",
        "2016-11-23T12:00:00.000000",
        noon,
        "1970-01-01T00:00:00.000000",
        "2026-11-23T11:59:59.999995",
        "2026-11-23T12:00:00.000001",
    ];
    for (round, shows) in clock.into_iter().enumerate() {
        api.set_clock(shows);
        for number in 0..10 {
            let content = format!(r#"{{"round": {round}, "number": {number}}}"#);
            let post = Request::new(Method::Post, "/notes").with_content(content.as_bytes());
            let created = respond(&store, &api.policy, &post, api.now);
            assert_eq!(status(&created), 201, "{shows} {number}");
            let place = created.field("Location").unwrap();
            assert!(made.insert(place.to_owned()), "{place} was made before");
            let get = Request::new(Method::Get, place);
            let shown = respond(&store, &api.policy, &get, api.now);
            assert_eq!(shown.content(), created.content());
            let end = format!("\"number\":{number},\"round\":{round}}}\n");
            assert!(text(&shown).ends_with(&end), "{}", text(&shown));
        }
    }
    let notes = store.list("notes", Portion::ALL).unwrap().records;
    let places = notes.iter().map(|record| format!("/notes/{}", record.id));
    assert!(places.eq(made), "each note has an id of its own");
}

/// An empty list may be that of a server that was started again, so the date of its last change is
/// unknown.
#[test]
fn s13_1_3_a_list_that_never_changed_has_no_date() {
    let api = Api::compatible();
    let list = api.ask("GET /persons", &[], "");
    assert_eq!(list.field("Last-Modified"), None);
    let since = [("If-Modified-Since", "Sun, 22 Nov 2026 12:00:00 GMT")];
    assert_eq!(status(&api.ask("GET /persons", &since, "")), 200);
    api.create("1", "Wim");
    let list = api.ask("GET /persons", &[], "");
    assert_eq!(
        list.field("Last-Modified"),
        Some("Mon, 23 Nov 2026 12:00:00 GMT")
    );
}

#[test]
fn responses_are_right_after_the_clock_was_set_back() {
    let mut api = Api::compatible();
    let first = api.create("1", "Wim");
    api.set_clock("2016-11-23T12:00:00.000000");
    let content = r#"{"person_name": "Tim"}"#;
    let second = api.ask("PUT /persons/1", &[("If-Match", &first)], content);
    assert_eq!(status(&second), 200);
    let fetched = api.ask("GET /persons/1", &[], "");
    // Never later than Date (section 8.8.2.1).
    assert_eq!(
        fetched.field("Last-Modified"),
        Some("Wed, 23 Nov 2016 12:00:00 GMT")
    );
    assert_eq!(fetched.field("Date"), Some("Wed, 23 Nov 2016 12:00:00 GMT"));
    for date in [
        "Wed, 23 Nov 2016 12:00:00 GMT",
        "Mon, 23 Nov 2026 12:00:00 GMT",
    ] {
        let response = api.ask("GET /persons/1", &[("If-Modified-Since", date)], "");
        assert_eq!(status(&response), 200);
    }
    assert_eq!(
        status(&api.ask("PUT /persons/1", &[("If-Match", &first)], content)),
        412
    );
}

/// The clock is set back and forth, so that a later version may have the second of a version that a
/// client has seen. The date of the older version must not match the later one.
#[test]
fn s13_1_3_a_clock_set_back_and_forth_gives_no_wrong_304() {
    let mut api = Api::compatible();
    api.policy.unconditional_writes = true;
    api.create("1", "Wim");
    let seen = api.ask("GET /persons/1", &[], "");
    let seen = seen.field("Last-Modified").unwrap().to_owned();
    let content = r#"{"person_name": "Tim"}"#;
    for year in [2016, 2036, 2017, 2037] {
        api.set_clock(&format!("{year}-11-23T12:00:00.000000"));
        let written = api.ask("PUT /persons/1", &[], content);
        assert_eq!(status(&written), 200, "{year}");
        for target in ["/persons/1", "/persons"] {
            api.set_clock("2046-11-23T12:00:00.000000");
            let since = [("If-Modified-Since", &*seen)];
            let response = api.ask(&format!("GET {target}"), &since, "");
            assert_eq!(status(&response), 200, "{year}");
        }
        let since = [("If-Unmodified-Since", &*seen)];
        assert_eq!(status(&api.ask("PUT /persons/1", &since, content)), 412);
    }
}

/// The problems of the strict profile, RFC 9457.
#[test]
fn problem_details() {
    let api = Api::strict();
    api.create("1", "Wim");
    let refused = api.ask("DELETE /persons/1", &[], "");
    assert_eq!(
        refused.field("Content-Type"),
        Some("application/problem+json")
    );
    assert_eq!(
        text(&refused),
        "{\n  \"detail\": \"If-Match is missing: get the resource, then repeat the request with its ETag\", \n  \"status\": 428, \n  \"title\": \"Precondition Required\", \n  \"type\": \"about:blank\"\n}\n"
    );
    for (line, status, title) in [
        ("GET /persons/2", 404, "Not Found"),
        ("GET /persons/%", 400, "Bad Request"),
        ("PUT /persons", 405, "Method Not Allowed"),
        ("BREW /", 501, "Not Implemented"),
    ] {
        let response = api.ask(line, &[], "");
        assert_eq!(
            response.field("Content-Type"),
            Some("application/problem+json")
        );
        let value: serde_json::Value = serde_json::from_slice(response.content()).unwrap();
        assert_eq!(value["status"], status);
        assert_eq!(
            (response.status(), &value["title"]),
            (status, &title.into())
        );
    }
}

/// The status of the response to a request for a person, by the naive evaluation.
fn expected(
    method: Method,
    exists: bool,
    profile: Profile,
    (if_match, unmodified, if_none_match, modified): (&Tags, &Dates, &Tags, &Dates),
) -> u16 {
    let creates = method == Method::Put && if_none_match.meaning == Meaning::Any;
    if !exists && !creates {
        return 404;
    }
    let selected = exists.then_some(Selected {
        tag: Some((false, "cur")),
        modified: Some(MODIFIED),
    });
    let evaluation = oracle::naive(
        method,
        selected,
        if_match.meaning,
        unmodified.meaning,
        if_none_match.meaning,
        modified.meaning,
        oracle::NOON,
    );
    let malformed = |tags: &Tags| tags.meaning == Meaning::Malformed;
    let partly = |tags: &Tags| matches!(tags.meaning, Meaning::Partly(_));
    match (evaluation, method) {
        (Evaluation::NotModified, _) => 304,
        (Evaluation::PreconditionFailed(Precondition::IfMatch), _)
            if malformed(if_match) && profile == Profile::Strict =>
        {
            400
        }
        (Evaluation::PreconditionFailed(Precondition::IfNoneMatch), _)
            if malformed(if_none_match) || partly(if_none_match) =>
        {
            400
        }
        (Evaluation::PreconditionFailed(_), _) => 412,
        (Evaluation::Perform, Method::Get | Method::Head) => 200,
        (Evaluation::Perform, _) if !exists => 201,
        (Evaluation::Perform, _) if if_match.meaning == Meaning::Absent => {
            if profile == Profile::Strict { 428 } else { 412 }
        }
        (Evaluation::Perform, Method::Put | Method::Patch) => 200,
        (Evaluation::Perform, _) => 204,
    }
}

/// Monday, 23 November 2026, 11:00, an hour before the oracle's noon.
const MODIFIED: i64 = oracle::NOON - 3600;

/// The whole space of preconditions, with a store and with statuses.
#[test]
fn s13_2_the_whole_space_on_a_person() {
    let mut changed = 0;
    for profile in [Profile::Compatible, Profile::Strict] {
        let begin = || {
            let mut api = Api::in_memory();
            api.policy.profile = profile;
            api.set_clock("2026-11-23T11:00:00.000000");
            let tag = api.create("1", "Wim");
            api.now = oracle::at(oracle::NOON);
            let before = api.held();
            (api, tag, before)
        };
        let (mut api, mut tag, mut before) = begin();
        for (if_match, if_none_match) in oracle::product(&oracle::TAGS, &oracle::TAGS) {
            for (unmodified, modified) in oracle::product(&oracle::DATES[..6], &oracle::DATES[..6])
            {
                for method in ["GET", "HEAD", "PUT", "PATCH", "DELETE"] {
                    let changed_before = changed;
                    for (target, exists) in [("/persons/2", false), ("/persons/1", true)] {
                        let lines =
                            oracle::field_lines(if_match, unmodified, if_none_match, modified);
                        let lines: Vec<_> = lines
                            .iter()
                            .map(|(name, value)| {
                                (*name, value.replace("cur", tag.trim_matches('"')))
                            })
                            .collect();
                        let mut fields: Vec<_> = lines
                            .iter()
                            .map(|(name, value)| (*name, value.as_str()))
                            .collect();
                        fields.push(("Content-Type", "application/merge-patch+json"));
                        let response = api.ask(
                            &format!("{method} {target}"),
                            &fields,
                            r#"{"person_name": "Tim"}"#,
                        );
                        let asked = (if_match, unmodified, if_none_match, modified);
                        let wanted = expected(Method::from_name(method), exists, profile, asked);
                        assert_eq!(
                            response.status(),
                            wanted,
                            "{profile:?} {method} {target} {fields:?}"
                        );
                        let performed = [201, 204].contains(&wanted)
                            || (["PUT", "PATCH"].contains(&method) && wanted == 200);
                        let after = api.held();
                        assert_eq!(after != before, performed);
                        before = after;
                        changed += usize::from(performed);
                    }
                    if changed > changed_before {
                        (api, tag, before) = begin();
                    }
                }
            }
        }
    }
    assert!(changed > 1000, "writes were performed, too: {changed}");
    // The oracle and this test use the same noon.
    assert_eq!(
        HttpDate::from(oracle::at(oracle::NOON)).to_string(),
        "Mon, 23 Nov 2026 12:00:00 GMT"
    );
}
