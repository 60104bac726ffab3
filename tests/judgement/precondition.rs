use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{
    EntityTag, Evaluation, HttpDate, Method, Precondition, Preconditions, TagSyntax, Validators,
};

/// Mon, 23 Nov 2026 12:00:00 GMT
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_435_200)
}

fn current() -> Validators {
    let last_modified = HttpDate::parse("Mon, 23 Nov 2026 11:00:00 GMT", now().into()).unwrap();
    Validators {
        entity_tag: Some(EntityTag::strong("cur").unwrap()),
        last_modified: Some(last_modified),
    }
}

fn read(fields: &[(&str, &str)], syntax: TagSyntax) -> Preconditions {
    Preconditions::from_fields(fields.iter().copied(), syntax, now()).unwrap()
}

/// Checks whether If-Match with these field lines is true for `"cur"`: by the grammar, and if bare
/// tags are accepted.
#[track_caller]
fn if_match(lines: &[&str], quoted: bool, bare: bool) {
    let fields: Vec<_> = lines.iter().map(|line| ("if-MATCH", *line)).collect();
    for (syntax, expected) in [(TagSyntax::Quoted, quoted), (TagSyntax::QuotedOrBare, bare)] {
        let asked = read(&fields, syntax);
        assert_eq!(
            asked.if_match().unwrap().is_true(Some(&current())),
            expected,
            "{syntax:?}"
        );
        let performed = asked.evaluate(Method::Put, Some(&current())) == Evaluation::Perform;
        assert_eq!(performed, expected);
    }
}

#[test]
fn s5_6_1_lists() {
    if_match(&[r#""cur""#], true, true);
    if_match(&[r#""a", "cur""#], true, true);
    if_match(&[r#""a","cur""#], true, true);
    if_match(&["\"a\" ,\t\"cur\""], true, true);
    if_match(&[r#", ,"cur","#], true, true);
    if_match(&[" \t\"cur\"\t "], true, true);
    if_match(&[r#""a,cur""#], false, false);
    if_match(&[r#""cur,a""#], false, false);
    if_match(&[r#""a,b", "cur""#], true, true);
    if_match(&[""], false, false);
    if_match(&[" , ,, "], false, false);
    // Other characters than space and tab are not white space.
    if_match(&["\u{a0}\"cur\""], false, false);
    if_match(&["\"cur\"\r"], false, false);
}

#[test]
fn s5_3_field_lines_are_one_list() {
    if_match(&[r#""a""#, r#""cur""#], true, true);
    if_match(&[r#""cur""#, r#""a""#], true, true);
    if_match(&["", r#""cur""#], true, true);
    if_match(&[r#""cur"#, r#"cur""#], false, false);
    // A quote that is open at the end of a line continues in the next line.
    if_match(&[r#""a"#, r#""cur""#], false, false);
    if_match(&["*", ""], false, false);
    if_match(&["*", "*"], false, false);
}

/// obs-text is any byte beyond ASCII, whether the value is UTF-8 or not.
#[test]
fn s5_5_values_are_bytes() {
    #[track_caller]
    fn check(value: &[u8], if_match: bool, malformed: bool, none_match: bool) {
        for syntax in [TagSyntax::Quoted, TagSyntax::QuotedOrBare] {
            let fields = [("If-Match", value), ("If-None-Match", value)];
            let asked = Preconditions::from_fields(fields, syntax, now()).unwrap();
            let (current, is) = (current(), asked.if_match().unwrap());
            assert_eq!(is.is_true(Some(&current)), if_match, "{syntax:?}");
            let none = asked.if_none_match().unwrap();
            assert_eq!(none.malformed().is_some(), malformed, "{syntax:?}");
            assert_eq!(none.is_true(Method::Put, Some(&current)), none_match);
            // A field with any of these values is not absent.
            assert!(!asked.is_empty());
        }
    }
    check(b"\"cur\"", true, false, false);
    check(b"\"caf\xe9\"", false, false, true);
    check(b"W/\"caf\xe9\"", false, false, true);
    check(b"\"cur\xe9\"", false, false, true);
    check(b"\"caf\xe9\", \"cur\"", true, false, false);
    check(b"\"caf\xe9\x80\xff\",\"c\xc3\xa9\"", false, false, true);
    check(b"\"caf\xe9", false, true, false);
    check(b"\"caf\xe9\"\xe9", false, true, false);
    check(b"\"cur\"\xe9", false, true, false);
    check(b"\"c\x01\xe9\", \"cur\"", true, true, false);
    check(b"w/\"caf\xe9\"", false, true, false);
}

#[test]
fn bare_words_are_bytes_too() {
    let read = |syntax| {
        let fields = [("If-Match", &b"caf\xe9"[..])];
        let asked = Preconditions::from_fields(fields, syntax, now()).unwrap();
        let if_match = asked.if_match().unwrap();
        assert!(!if_match.is_true(Some(&current())));
        if_match.malformed().map(ToString::to_string)
    };
    let expected = "expected a quoted tag at byte 0, found 'c'";
    assert_eq!(read(TagSyntax::Quoted).as_deref(), Some(expected));
    assert_eq!(read(TagSyntax::QuotedOrBare), None);
}

/// A tag of this server is text, and is compared with the bytes of a field.
#[test]
fn s8_8_3_tags_beyond_ascii_are_utf_8() {
    let entity_tag = EntityTag::strong("café").unwrap();
    let selected = Validators {
        entity_tag: Some(entity_tag),
        last_modified: None,
    };
    for (value, expected) in [
        ("\"café\"".as_bytes(), true),
        (b"\"caf\xc3\xa9\"", true),
        (b"\"caf\xe9\"", false),
        ("\"caf\u{fffd}\"".as_bytes(), false),
    ] {
        let asked = Preconditions::from_fields([("If-Match", value)], TagSyntax::Quoted, now());
        let is_true = asked.unwrap().if_match().unwrap().is_true(Some(&selected));
        assert_eq!(is_true, expected, "{value:?}");
    }
}

#[test]
fn s5_6_7_a_date_that_is_not_text_is_ignored() {
    for name in ["If-Modified-Since", "If-Unmodified-Since"] {
        let fields = [(name, &b"Mon, 23 Nov 2026 10:00:00 GMT\xe9"[..])];
        let asked = Preconditions::from_fields(fields, TagSyntax::Quoted, now()).unwrap();
        assert!(asked.is_empty(), "{name}");
    }
}

/// White space around a value is ignored, also if a caller has not removed it.
#[test]
fn s5_5_white_space_around_a_date() {
    let failed = Evaluation::PreconditionFailed(Precondition::IfUnmodifiedSince);
    for around in [
        format!(" {EARLIER}\t"),
        format!("{EARLIER} "),
        format!("\t{EARLIER}"),
    ] {
        check(Method::Put, &[("If-Unmodified-Since", &around)], failed);
    }
    let other = format!("\u{a0}{EARLIER}");
    check(
        Method::Put,
        &[("If-Unmodified-Since", &other)],
        Evaluation::Perform,
    );
}

/// OPTIONS, TRACE and CONNECT select no representation.
#[test]
fn s13_2_1_methods_without_a_selected_representation() {
    let fields = [
        ("If-Match", r#""old""#),
        ("If-None-Match", "*"),
        ("If-Unmodified-Since", EARLIER),
    ];
    for name in ["OPTIONS", "TRACE", "CONNECT"] {
        let method = Method::from_name(name);
        check(method, &fields, Evaluation::Perform);
        check(method, &fields[1..], Evaluation::Perform);
    }
    let failed = Evaluation::PreconditionFailed(Precondition::IfMatch);
    check(Method::from_name("PROPFIND"), &fields, failed);
}

#[test]
fn s13_1_1_any() {
    if_match(&["*"], true, true);
    if_match(&[" * "], true, true);
    if_match(&[r#""*""#], false, false);
    if_match(&[r#"*, "cur""#], true, true);
    if_match(&[r#"*, "a""#], false, false);
    if_match(&["*,"], false, false);
    if_match(&["**"], false, false);
    let any = read(&[("If-Match", "*")], TagSyntax::Quoted);
    let nothing_known = Validators::default();
    assert_eq!(
        any.evaluate(Method::Put, Some(&nothing_known)),
        Evaluation::Perform
    );
    let failed = Evaluation::PreconditionFailed(Precondition::IfMatch);
    assert_eq!(any.evaluate(Method::Put, None), failed);
}

#[test]
fn s13_1_1_malformed_members_match_nothing() {
    if_match(&["cur"], false, true);
    if_match(&["a, cur"], false, true);
    if_match(&[r#"cur, "a""#], false, true);
    if_match(&[r#"a, "cur""#], true, true);
    if_match(&["W/cur"], false, false);
    if_match(&[r#"w/"cur""#], false, false);
    if_match(&[r#"W/ "cur""#], false, false);
    if_match(&[r#"W"cur""#], false, false);
    if_match(&[r#""cur"#], false, false);
    if_match(&[r#"cur""#], false, false);
    if_match(&["'cur'"], false, false);
    if_match(&["c ur"], false, false);
    if_match(&["cur\u{7f}"], false, false);
    if_match(&[r#""a b", "cur""#], true, true);
    if_match(&[r#""cur" "cur""#], false, false);
    if_match(&[r#""cur"x, "a""#], false, false);
    // A tag inside a malformed member is not read.
    if_match(&[r#""a b,"cur""#], false, false);
    if_match(&[r#""open, "cur""#], false, false);
    if_match(&[r#"x"y,"cur",z"#], false, false);
    if_match(&[r#""a\", "cur""#], true, true);
    if_match(&[r#""a\"b", "cur""#], false, false);
}

#[test]
fn s13_1_1_strong_comparison() {
    if_match(&[r#"W/"cur""#], false, false);
    if_match(&[r#"W/"cur", "cur""#], true, true);
    if_match(&[r#""CUR""#], false, false);
    let asked = read(&[("If-Match", r#"W/"cur""#)], TagSyntax::Quoted);
    let weak = Validators {
        entity_tag: Some(EntityTag::weak("cur").unwrap()),
        ..current()
    };
    assert!(!asked.if_match().unwrap().is_true(Some(&weak)));
}

#[test]
fn s8_8_3_2_only_weakly() {
    let selected = current();
    for (value, expected) in [
        (r#"W/"cur""#, true),
        (r#""old", W/"cur""#, true),
        (r#"x y, W/"cur""#, true),
        (r#"W/"cur", "cur""#, false),
        (r#""cur""#, false),
        (r#"W/"old""#, false),
        ("*", false),
        ("", false),
    ] {
        let asked = read(&[("If-Match", value)], TagSyntax::Quoted);
        let if_match = asked.if_match().unwrap();
        assert_eq!(if_match.is_weak_match(Some(&selected)), expected, "{value}");
        assert!(!if_match.is_weak_match(None));
        assert!(!if_match.is_weak_match(Some(&Validators::default())));
    }
}

#[test]
fn malformed_returns_the_reason() {
    #[track_caller]
    fn check(value: &str, why: Option<&str>) {
        check_each(value, why, why);
    }
    #[track_caller]
    fn check_each(value: &str, why_match: Option<&str>, why_none_match: Option<&str>) {
        let asked = read(
            &[("If-Match", value), ("If-None-Match", value)],
            TagSyntax::Quoted,
        );
        let if_match = asked
            .if_match()
            .unwrap()
            .malformed()
            .map(ToString::to_string);
        let if_none_match = asked
            .if_none_match()
            .unwrap()
            .malformed()
            .map(ToString::to_string);
        assert_eq!(if_match.as_deref(), why_match);
        assert_eq!(if_none_match.as_deref(), why_none_match);
    }
    check("cur", Some("expected a quoted tag at byte 0, found 'c'"));
    check(
        r#""a b", w/"c""#,
        Some("unexpected ' ' in an entity tag at byte 2"),
    );
    check_each(
        r#""a b", "c""#,
        None,
        Some("unexpected ' ' in an entity tag at byte 2"),
    );
    check("", None);
    check("*", None);
}

#[test]
fn s13_1_2_if_none_match() {
    #[track_caller]
    fn check(value: &str, read_: Evaluation, write: Evaluation) {
        let asked = read(&[("If-None-Match", value)], TagSyntax::Quoted);
        for method in [Method::Get, Method::Head] {
            assert_eq!(asked.evaluate(method, Some(&current())), read_);
        }
        for method in [
            Method::Put,
            Method::Patch,
            Method::Delete,
            Method::Post,
            Method::Registered,
            Method::Other,
        ] {
            assert_eq!(asked.evaluate(method, Some(&current())), write);
        }
    }
    let failed = Evaluation::PreconditionFailed(Precondition::IfNoneMatch);
    check(r#""cur""#, Evaluation::NotModified, failed);
    check(r#"W/"cur""#, Evaluation::NotModified, failed);
    check(r#""a", W/"cur""#, Evaluation::NotModified, failed);
    check("*", Evaluation::NotModified, failed);
    check(r#""other""#, Evaluation::Perform, Evaluation::Perform);
    check("", Evaluation::Perform, Evaluation::Perform);
    // The meaning of a malformed field is unknown: a read is safe in any case, but a write is not.
    check("cur", Evaluation::Perform, failed);
    check(r#""cur"#, Evaluation::Perform, failed);
    check(r#""zzz", cur"#, Evaluation::Perform, failed);
    check(r#"zzz, "cur""#, Evaluation::NotModified, failed);
    check(r#"*, "zzz""#, Evaluation::Perform, failed);

    let any = read(&[("If-None-Match", "*")], TagSyntax::Quoted);
    assert!(any.if_none_match().unwrap().is_any());
    assert_eq!(any.evaluate(Method::Put, None), Evaluation::Perform);
}

const EARLIER: &str = "Mon, 23 Nov 2026 10:59:59 GMT";
const SAME: &str = "Mon, 23 Nov 2026 11:00:00 GMT";
const LATER: &str = "Mon, 23 Nov 2026 11:00:01 GMT";
const NOW: &str = "Mon, 23 Nov 2026 12:00:00 GMT";
const FUTURE: &str = "Mon, 23 Nov 2026 12:00:01 GMT";

#[track_caller]
fn check(method: Method, fields: &[(&str, &str)], expected: Evaluation) {
    let asked = read(fields, TagSyntax::Quoted);
    assert_eq!(asked.evaluate(method, Some(&current())), expected);
}

#[test]
fn s13_1_4_if_unmodified_since() {
    let failed = Evaluation::PreconditionFailed(Precondition::IfUnmodifiedSince);
    let field = "If-Unmodified-Since";
    for method in [
        Method::Get,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Post,
    ] {
        check(method, &[(field, EARLIER)], failed);
        check(method, &[(field, SAME)], Evaluation::Perform);
        check(method, &[(field, LATER)], Evaluation::Perform);
        check(method, &[(field, FUTURE)], Evaluation::Perform);
        // The field is ignored if it is not one valid date, if the resource has no date, or if
        // If-Match is present.
        check(method, &[(field, "Tue, 99 Foo")], Evaluation::Perform);
        check(
            method,
            &[(field, EARLIER), (field, EARLIER)],
            Evaluation::Perform,
        );
        check(
            method,
            &[(field, EARLIER), ("If-Match", r#""cur""#)],
            Evaluation::Perform,
        );
        let other = Evaluation::PreconditionFailed(Precondition::IfMatch);
        check(
            method,
            &[(field, EARLIER), ("If-Match", "malformed")],
            other,
        );
        let undated = Validators {
            last_modified: None,
            ..current()
        };
        let asked = read(&[(field, EARLIER)], TagSyntax::Quoted);
        assert_eq!(asked.evaluate(method, Some(&undated)), Evaluation::Perform);
        assert_eq!(asked.evaluate(method, None), Evaluation::Perform);
    }
}

#[test]
fn s13_1_3_if_modified_since() {
    let field = "If-Modified-Since";
    for method in [Method::Get, Method::Head] {
        check(method, &[(field, EARLIER)], Evaluation::Perform);
        check(method, &[(field, SAME)], Evaluation::NotModified);
        check(method, &[(field, LATER)], Evaluation::NotModified);
        check(method, &[(field, NOW)], Evaluation::NotModified);
        check(method, &[(field, FUTURE)], Evaluation::Perform);
        check(method, &[(field, "yesterday")], Evaluation::Perform);
        check(method, &[(field, SAME), (field, SAME)], Evaluation::Perform);
        for tags in [r#""other""#, "malformed", ""] {
            check(
                method,
                &[(field, SAME), ("If-None-Match", tags)],
                Evaluation::Perform,
            );
        }
    }
    for method in [
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Post,
        Method::Other,
    ] {
        check(method, &[(field, SAME)], Evaluation::Perform);
    }
}

#[test]
fn s13_2_2_precedence() {
    let (cur, old) = (r#""cur""#, r#""old""#);
    let if_match = Evaluation::PreconditionFailed(Precondition::IfMatch);
    let if_none_match = Evaluation::PreconditionFailed(Precondition::IfNoneMatch);
    check(
        Method::Get,
        &[("If-Match", cur), ("If-None-Match", cur)],
        Evaluation::NotModified,
    );
    check(
        Method::Put,
        &[("If-Match", cur), ("If-None-Match", cur)],
        if_none_match,
    );
    check(
        Method::Get,
        &[("If-Match", old), ("If-None-Match", cur)],
        if_match,
    );
    let fields = [("If-None-Match", r#""other""#), ("If-Modified-Since", SAME)];
    check(Method::Get, &fields, Evaluation::Perform);
    let fields = [
        ("If-Match", cur),
        ("If-Unmodified-Since", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ];
    check(Method::Put, &fields, Evaluation::Perform);
    let fields = [("If-Unmodified-Since", SAME), ("If-Modified-Since", SAME)];
    check(Method::Get, &fields, Evaluation::NotModified);
}

#[test]
fn lists_have_limits() {
    let list = |tags: usize| vec![r#""x""#; tags].join(",");
    let read = |name, value: &str| {
        Preconditions::from_fields([(name, value)], TagSyntax::Quoted, now())
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for name in ["If-Match", "If-None-Match"] {
        assert_eq!(read(name, &list(256)), Ok(()));
        assert_eq!(
            read(name, &list(257)),
            Err(format!("{name} lists more than 256 entity tags"))
        );
        let long = |length: usize| format!("\"{}\"", "x".repeat(length - 2));
        assert_eq!(read(name, &long(8192)), Ok(()));
        assert_eq!(
            read(name, &long(8193)),
            Err(format!("{name} is longer than 8192 bytes"))
        );
        let halves = [(name, &*long(4096)), (name, &*long(4097))];
        assert!(Preconditions::from_fields(halves, TagSyntax::Quoted, now()).is_err());
    }
}

#[test]
fn absent_is_not_empty() {
    assert!(read(&[], TagSyntax::Quoted).is_empty());
    assert!(read(&[("Host", "x"), ("If-Range", "\"a\"")], TagSyntax::Quoted).is_empty());
    assert!(!read(&[("If-Match", "")], TagSyntax::Quoted).is_empty());
    assert!(!read(&[("If-None-Match", "")], TagSyntax::Quoted).is_empty());
}
