//! Prefer, RFC 7240.

use crate::support::api::{Api, message, tag, text};

const MINIMAL: (&str, &str) = ("Prefer", "return=minimal");
const REPRESENTATION: (&str, &str) = ("Prefer", "return=representation");
const TIM: &str = r#"{"person_name": "Tim"}"#;

#[test]
fn minimal_leaves_the_content_out() {
    for api in [Api::compatible(), Api::strict()] {
        let content = r#"{"person_id": "1", "person_name": "Wim"}"#;
        let created = api.ask("POST /persons", &[MINIMAL], content);
        assert_eq!((created.status(), created.content()), (201, &b""[..]));
        assert_eq!(created.field("Location"), Some("/persons/1"));
        assert_eq!(created.field("Content-Length"), Some("0"));
        assert_eq!(created.field("Content-Type"), None);
        assert_eq!(created.field("Preference-Applied"), Some("return=minimal"));

        let replaced = api.ask(
            "PUT /persons/1",
            &[MINIMAL, ("If-Match", &tag(&created))],
            TIM,
        );
        assert_eq!((replaced.status(), replaced.content()), (204, &b""[..]));
        assert_eq!(replaced.field("Content-Length"), None);
        assert_eq!(replaced.field("Preference-Applied"), Some("return=minimal"));
        let fetched = api.ask("GET /persons/1", &[], "");
        assert_eq!(tag(&fetched), tag(&replaced), "the tag for the next write");
        assert!(text(&fetched).contains("Tim"));

        let created = api.ask("PUT /persons/2", &[MINIMAL, ("If-None-Match", "*")], TIM);
        assert_eq!((created.status(), created.content()), (201, &b""[..]));
        assert_eq!(created.field("Location"), Some("/persons/2"));
        // The content of a problem is always sent.
        let failed = api.ask("PUT /persons/1", &[MINIMAL, ("If-Match", "\"old\"")], TIM);
        assert_eq!(
            (failed.status(), failed.field("Preference-Applied")),
            (412, None)
        );
        assert!(!failed.content().is_empty());
    }
}

#[test]
fn representation_is_enclosed_in_a_412() {
    for api in [Api::compatible(), Api::strict()] {
        api.create("a b", "Wim");
        let before = api.state();
        let fetched = api.ask("GET /persons/a%20b", &[], "");
        for (line, fields) in [
            ("PUT /persons/a%20b", ("If-Match", "\"old\"")),
            ("DELETE /persons/a%20b", ("If-Match", "\"old\"")),
            ("PUT /persons/a%20b", ("If-None-Match", "*")),
            (
                "PUT /persons/a%20b",
                ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ),
        ] {
            let failed = api.ask(line, &[REPRESENTATION, fields], TIM);
            assert_eq!(failed.status(), 412);
            assert_eq!(failed.content(), fetched.content());
            assert_eq!(failed.field("Content-Type"), Some("application/json"));
            assert_eq!(failed.field("Content-Location"), Some("/persons/a%20b"));
            assert_eq!(tag(&failed), tag(&fetched));
            assert_eq!(
                failed.field("Preference-Applied"),
                Some("return=representation")
            );
            assert_eq!(failed.field("Cache-Control"), Some("no-store"));
            assert_eq!(api.state(), before, "nothing has changed");
        }
        let failed = api.ask(
            "PUT /persons/a%20b",
            &[REPRESENTATION, ("If-Match", "\"x\"")],
            TIM,
        );
        let again = api.ask("PUT /persons/a%20b", &[("If-Match", &tag(&failed))], TIM);
        assert_eq!(again.status(), 200);

        let content = r#"{"person_id": "2", "person_name": "Wim"}"#;
        let failed = api.ask(
            "POST /persons",
            &[REPRESENTATION, ("If-Match", "\"old\"")],
            content,
        );
        assert_eq!((failed.status(), text(&failed)), (412, api.state().1));
        assert_eq!(failed.field("Content-Location"), Some("/persons"));
        assert_eq!(tag(&failed), api.state().0);

        // A read that fails, and a missing person, have no representation to enclose.
        let read = api.ask(
            "GET /persons/a%20b",
            &[REPRESENTATION, ("If-Match", "\"x\"")],
            "",
        );
        assert_eq!(
            (read.status(), read.field("Preference-Applied")),
            (412, None)
        );
        let fields = [
            REPRESENTATION,
            ("If-Match", "\"x\""),
            ("If-None-Match", "*"),
        ];
        let absent = api.ask("PUT /persons/9", &fields, TIM);
        assert_eq!(
            (absent.status(), absent.field("Preference-Applied")),
            (412, None)
        );
        assert!(message(&absent).starts_with("Data already changed"));
    }
    // Only in the compatible profile a missing If-Match gets 412.
    let api = Api::compatible();
    api.create("1", "Wim");
    let failed = api.ask("PUT /persons/1", &[REPRESENTATION], TIM);
    assert_eq!(
        (failed.status(), text(&failed).contains("Wim")),
        (412, true)
    );
    let api = Api::strict();
    api.create("1", "Wim");
    let failed = api.ask("PUT /persons/1", &[REPRESENTATION], TIM);
    assert_eq!(
        (failed.status(), failed.field("Preference-Applied")),
        (428, None)
    );
}

#[test]
fn a_write_responds_with_the_representation_anyway() {
    let api = Api::compatible();
    let content = r#"{"person_id": "1", "person_name": "Wim"}"#;
    let created = api.ask("POST /persons", &[REPRESENTATION], content);
    assert_eq!(
        created.field("Preference-Applied"),
        Some("return=representation")
    );
    assert!(text(&created).contains("Wim"));
}

#[test]
fn rfc7240_2_the_syntax_of_preferences() {
    let api = Api::compatible();
    for (number, (lines, applied)) in [
        (&["return=minimal"][..], Some("return=minimal")),
        (&["respond-async, return=minimal"], Some("return=minimal")),
        (
            &["respond-async", "Return = \"minimal\" ; x=y"],
            Some("return=minimal"),
        ),
        (
            &["return=minimal", "return=representation"],
            Some("return=minimal"),
        ),
        (
            &["return=representation, return=minimal"],
            Some("return=representation"),
        ),
        (&["handling=\"a, return=minimal\""], None),
        (&["return"], None),
        (&["return=nothing"], None),
        (&["return=nothing, return=minimal"], None),
        (&["return=MINIMAL"], None),
        (&["xreturn=minimal"], None),
        (&["", ",,", "wait=100"], None),
    ]
    .into_iter()
    .enumerate()
    {
        let fields: Vec<_> = lines.iter().map(|line| ("prefer", *line)).collect();
        let content = format!(r#"{{"person_id": "{number}", "person_name": "Wim"}}"#);
        let created = api.ask("POST /persons", &fields, &content);
        assert_eq!(created.field("Preference-Applied"), applied, "{lines:?}");
        assert_eq!(
            created.content().is_empty(),
            applied == Some("return=minimal")
        );
    }
}
