//! PATCH with merge patches (RFC 5789, RFC 7396).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ifmatch::{MemoryStore, Method, Policy, Request, Response, respond};

use crate::documents::{serving, strict};
use crate::support::api::{Api, message, tag, text};
use crate::support::watched::{Call, Watched};

const TYPE: (&str, &str) = ("Content-Type", "application/merge-patch+json");

const ANY: (&str, &str) = ("If-Match", "*");

fn patch(api: &Api, target: &str, fields: &[(&str, &str)], content: &str) -> Response {
    api.ask(&format!("PATCH {target}"), fields, content)
}

/// The table of appendix A: the original, the patch and the result.
const APPENDIX_A: [(&str, &str, &str); 15] = [
    (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
    (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
    (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
    (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
    (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
    (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
    (
        r#"{"a":{"b":"c"}}"#,
        r#"{"a":{"b":"d","c":null}}"#,
        r#"{"a":{"b":"d"}}"#,
    ),
    (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
    (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
    (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
    (r#"{"a":"foo"}"#, "null", "null"),
    (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
    (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
    ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
    ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
];

/// Each row is patched as a member of a document, which a patch of `null` removes. Each row whose
/// original is an object is also patched as a document.
#[test]
fn s7396_appendix_a() {
    let api = serving(&["notes"]);
    for (index, (before, change, after)) in APPENDIX_A.into_iter().enumerate() {
        let (member, whole) = (format!("/notes/m{index}"), format!("/notes/w{index}"));
        let create = [("If-None-Match", "*")];
        let fields = [TYPE, ANY];
        let content = format!(r#"{{"x":{before}}}"#);
        assert_eq!(
            api.ask(&format!("PUT {member}"), &create, &content)
                .status(),
            201
        );
        let patched = patch(&api, &member, &fields, &format!(r#"{{"x":{change}}}"#));
        assert_eq!(patched.status(), 200, "{}", text(&patched));
        let end = match after {
            "null" => format!("\"m{index}\"}}\n"),
            after => format!("\"m{index}\",\"x\":{after}}}\n"),
        };
        assert!(
            text(&patched).ends_with(&end),
            "{} for {after}",
            text(&patched)
        );
        if !before.starts_with('{') {
            continue;
        }
        assert_eq!(
            api.ask(&format!("PUT {whole}"), &create, before).status(),
            201
        );
        let shown = text(&api.ask(&format!("GET {whole}"), &[], ""));
        let patched = patch(&api, &whole, &fields, change);
        if after.starts_with('{') {
            let mut expected: serde_json::Map<_, _> = serde_json::from_str(after).unwrap();
            expected.insert("id".into(), format!("w{index}").into());
            let mut shown: serde_json::Map<_, _> =
                serde_json::from_slice(patched.content()).unwrap();
            shown.retain(|name, _| !name.starts_with('_'));
            assert_eq!((patched.status(), shown), (200, expected));
        } else {
            assert_eq!(patched.status(), 422, "{}", text(&patched));
            let kept = text(&api.ask(&format!("GET {whole}"), &[], ""));
            assert_eq!(kept, shown, "nothing has changed");
        }
    }
}

/// Numbers and strings keep their spelling, both those of the document and those of the patch.
#[test]
fn a_merge_keeps_the_spelling_of_numbers_and_strings() {
    let api = serving(&["notes"]);
    let before = r#"{"id": "1", "n": 1.0, "o": {"z": 1e400, "a": "\u00e9"}, "gone": 1}"#;
    assert_eq!(api.ask("POST /notes", &[], before).status(), 201);
    let change =
        r#"{"gone": null, "o": {"b": 123456789012345678901234567890, "z": null}, "new": -0}"#;
    let patched = patch(&api, "/notes/1", &[TYPE, ANY], change);
    let end = "\"id\":\"1\",\"n\":1.0,\"new\":-0,\
        \"o\":{\"a\":\"\\u00e9\",\"b\":123456789012345678901234567890}}\n";
    assert!(text(&patched).ends_with(end), "{}", text(&patched));
    assert_eq!(patched.field("Content-Location"), Some("/notes/1"));
    assert_eq!(text(&api.ask("GET /notes/1", &[], "")), text(&patched));
    let minimal = patch(
        &api,
        "/notes/1",
        &[TYPE, ANY, ("Prefer", "return=minimal")],
        "{}",
    );
    assert_eq!((minimal.status(), minimal.content()), (204, &b""[..]));
}

#[test]
fn s5789_2_2_other_types_are_refused() {
    let api = serving(&["notes", "persons"]);
    api.create("1", "Wim");
    api.ask("POST /notes", &[], r#"{"id": "1"}"#);
    let sentence = "The content of PATCH must be application/merge-patch+json";
    for target in ["/notes/1", "/persons/1"] {
        for fields in [
            &[ANY][..],
            &[ANY, ("Content-Type", "application/json")],
            &[ANY, ("Content-Type", "application/json-patch+json")],
            &[ANY, ("Content-Type", "application/merge-patch+jsonx")],
            &[ANY, TYPE, TYPE],
            // The media type is checked before the preconditions are evaluated.
            &[("If-Match", "\"old\""), ("Content-Type", "text/plain")],
        ] {
            let refused = patch(&api, target, fields, "{}");
            assert_eq!(
                (refused.status(), &*message(&refused)),
                (415, sentence),
                "{fields:?}"
            );
            assert_eq!(refused.field("Accept-Patch"), Some(TYPE.1));
        }
        for value in [
            "Application/Merge-Patch+JSON",
            "application/merge-patch+json ; charset=utf-8",
        ] {
            let fields = [ANY, ("Content-Type", value)];
            assert_eq!(
                patch(&api, target, &fields, "{}").status(),
                200,
                "{target} {value}"
            );
        }
        let options = api.ask(&format!("OPTIONS {target}"), &[], "");
        assert_eq!(options.field("Accept-Patch"), Some(TYPE.1));
        assert!(options.field("Allow").unwrap().contains("PATCH"));
    }
    // A missing document gets 404 before anything else is checked.
    assert_eq!(patch(&api, "/notes/9", &[ANY], "{}").status(), 404);
    let create = [TYPE, ("If-None-Match", "*")];
    assert_eq!(patch(&api, "/notes/9", &create, "{}").status(), 404);
    assert_eq!(patch(&api, "/notes", &[TYPE, ANY], "{}").status(), 405);
}

#[test]
fn s13_1_1_a_patch_needs_if_match() {
    for (api, missing) in [(serving(&["notes"]), 412), (strict(&["notes"]), 428)] {
        let created = api.ask("POST /notes", &[], r#"{"id": "1", "n": 1}"#);
        let first = tag(&created);
        let change = r#"{"n": 2}"#;
        assert_eq!(patch(&api, "/notes/1", &[TYPE], change).status(), missing);
        let fields = [TYPE, ("If-Match", &*first)];
        let patched = patch(&api, "/notes/1", &fields, change);
        assert_eq!(patched.status(), 200);
        let stale = patch(&api, "/notes/1", &fields, change);
        assert_eq!(
            (stale.status(), stale.field("ETag")),
            (412, patched.field("ETag"))
        );
        assert_eq!(patch(&api, "/notes/1", &fields, "[").status(), 412);
        assert_eq!(patch(&api, "/notes/1", &[TYPE, ANY], "[").status(), 400);
    }
    let mut api = serving(&["notes"]);
    api.policy.unconditional_writes = true;
    api.ask("POST /notes", &[], r#"{"id": "1"}"#);
    assert_eq!(patch(&api, "/notes/1", &[TYPE], "{}").status(), 200);
}

/// A patch cannot change the id, and the server ignores its other own members in a patch.
#[test]
fn managed_members() {
    let api = serving(&["notes"]);
    api.ask("POST /notes", &[], r#"{"id": "1"}"#);
    for (content, sentence) in [
        (
            r#"{"id": "2"}"#,
            "The member `id` is `2`, but the target names `1`",
        ),
        (
            r#"{"id": null}"#,
            "The member `id` must be a string, not null",
        ),
        (
            r#"{"a": 1, "a": 2}"#,
            "The content must not have the member `a` twice in one object",
        ),
        ("", "The content must be a JSON object, and is empty"),
    ] {
        let refused = patch(&api, "/notes/1", &[TYPE, ANY], content);
        assert_eq!((refused.status(), &*message(&refused)), (400, sentence));
    }
    let content = r#"{"id": "1", "_etag": null, "_change_date": "x", "a": 1}"#;
    let patched = patch(&api, "/notes/1", &[TYPE, ANY], content);
    assert_eq!(patched.status(), 200);
    assert!(text(&patched).ends_with("\"id\":\"1\",\"a\":1}\n"));
    let array = patch(&api, "/notes/1", &[TYPE, ANY], "[1]");
    let sentence = "The content must be a JSON object, not an array";
    assert_eq!((array.status(), &*message(&array)), (422, sentence));
}

#[test]
fn persons() {
    let api = Api::compatible();
    let first = api.create("1", "Wim");
    let fields = [TYPE, ("If-Match", &*first)];
    let before = text(&api.ask("GET /persons/1", &[], ""));
    for (content, status, sentence) in [
        (r#"{"person_name": null}"#, 422, "Person name is mandatory"),
        (r#"{"person_name": ""}"#, 422, "Person name is mandatory"),
        (
            r#"{"person_name": 1}"#,
            422,
            "Person name must be a string, not a number",
        ),
        (
            r#"{"person_name": {"a": 1}}"#,
            422,
            "Person name must be a string, not an object",
        ),
        ("[]", 422, "The content must be a JSON object, not an array"),
        ("null", 422, "The content must be a JSON object, not null"),
        ("", 400, "Missing JSON data in request"),
        (
            r#"{"person_id": "2"}"#,
            400,
            "Person ID cannot be changed, it is 1",
        ),
        (
            r#"{"person_id": null}"#,
            400,
            "Person ID cannot be changed, it is 1",
        ),
    ] {
        let refused = patch(&api, "/persons/1", &fields, content);
        assert_eq!(
            (refused.status(), &*message(&refused)),
            (status, sentence),
            "{content}"
        );
        assert_eq!(text(&api.ask("GET /persons/1", &[], "")), before);
    }
    let content = r#"{"person_id": "1", "person_name": "Tim", "change_date": null, "x": 1}"#;
    let patched = patch(&api, "/persons/1", &fields, content);
    assert_eq!(patched.status(), 200);
    assert!(text(&patched).ends_with("\"person_id\": \"1\", \n  \"person_name\": \"Tim\"\n}\n"));
    let untouched = patch(&api, "/persons/1", &[TYPE, ANY], "{}");
    assert_eq!(untouched.status(), 200);
    assert_ne!(tag(&untouched), tag(&patched));
}

/// A patch may give any value to members that persons do not have. The error for malformed JSON has
/// the line and the column.
#[test]
fn members_that_persons_do_not_have() {
    let api = Api::compatible();
    api.create("1", "Wim");
    let deep = format!(
        r#"{{"x":{}{},"person_name":"Tim"}}"#,
        "[".repeat(99),
        "]".repeat(99)
    );
    for content in [
        r#"{"x":1e400,"person_name":"Tim"}"#,
        r#"{"person_name":"Tim","x":[-1e400,{"y":1E999}]}"#,
        r#"{"_x":1,"id":2,"person_name":"Tim","x":{"person_name":1}}"#,
        r#"{"change_date":1e400,"person_id":"1","person_name":"\u0054im"}"#,
        &deep,
    ] {
        api.ask("PUT /persons/1", &[ANY], r#"{"person_name":"Wim"}"#);
        let patched = patch(&api, "/persons/1", &[TYPE, ANY], content);
        assert_eq!(patched.status(), 200, "{content}: {}", text(&patched));
        let end = "\"person_id\": \"1\", \n  \"person_name\": \"Tim\"\n}\n";
        assert!(text(&patched).ends_with(end), "{}", text(&patched));
        assert_eq!(text(&api.ask("GET /persons/1", &[], "")), text(&patched));
    }
    let before = text(&api.ask("GET /persons/1", &[], ""));
    for (content, detail) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"person_name": }"#, "expected value at line 1 column 17"),
        (
            r#"{"x":1e,"person_name":"x"}"#,
            "invalid number at line 1 column 8",
        ),
        ("{} {}", "trailing characters at line 1 column 4"),
    ] {
        let refused = patch(&api, "/persons/1", &[TYPE, ANY], content);
        assert_eq!(refused.status(), 400, "{content}");
        let expected = format!(
            "{{\n  \"detail\": \"{detail}\", \n  \"message\": \"Missing JSON data in request\"\n}}\n"
        );
        assert_eq!(text(&refused), expected);
        assert_eq!(text(&api.ask("GET /persons/1", &[], "")), before);
    }
}

/// Another client changes the document once, after the preconditions are evaluated and before the
/// swap.
#[test]
fn a_patch_is_applied_again_after_another_write() {
    for (if_match, status) in [("*", 200), ("first", 412)] {
        let store = Arc::new(MemoryStore::new());
        let mut policy = Policy::default();
        policy.collections = serving(&["notes"]).policy.collections;
        let now = Api::compatible().now;
        let put = |content: &[u8], field: (&str, &str)| {
            let request = Request::new(Method::Put, "/notes/1").with_content(content);
            respond(&*store, &policy, &request.with_field(field.0, field.1), now)
        };
        let first = put(br#"{"n": 1, "a": 1}"#, ("If-None-Match", "*"));
        let swaps = AtomicUsize::new(0);
        let before = |call: Call<'_>| {
            if call == Call::Swap && swaps.fetch_add(1, Ordering::SeqCst) == 0 {
                assert_eq!(put(br#"{"n": 2, "b": 2}"#, ANY).status(), 200);
            }
            Ok(())
        };
        let watched = Watched::new(Arc::clone(&store), before);
        let tag = tag(&first);
        let if_match = if if_match == "*" { "*" } else { &tag };
        let request = Request::new(Method::Patch, "/notes/1")
            .with_field(TYPE.0, TYPE.1)
            .with_field("If-Match", if_match)
            .with_content(br#"{"c": 3}"#);
        let patched = respond(&watched, &policy, &request, now);
        assert_eq!(patched.status(), status);
        if status == 200 {
            assert!(text(&patched).ends_with("\"id\":\"1\",\"b\":2,\"c\":3,\"n\":2}\n"));
        }
        assert_eq!(
            swaps.load(Ordering::SeqCst),
            if status == 200 { 2 } else { 1 }
        );
    }
}
