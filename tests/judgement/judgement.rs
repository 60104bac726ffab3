//! `judge` for whole requests, compared with the naive transcription.

use ifmatch::{
    EntityTag, Evaluation, HttpDate, Method, NotPerformed, Precondition, Preconditions, Reason,
    TagSyntax, Validators, WithoutIfMatch, judge,
};

use crate::oracle::{DATES, Meaning, NOON, Selected, TAGS, at, field_lines, naive, product};
use crate::space::SELECTED;

fn current() -> Validators {
    Validators {
        entity_tag: Some(EntityTag::strong("cur").unwrap()),
        last_modified: Some(HttpDate::from(at(NOON - 3600))),
    }
}

fn ask(method: Method, fields: &[(&str, &str)]) -> Result<(), NotPerformed> {
    let (fields, rule) = (fields.iter().copied(), WithoutIfMatch::Refuse);
    judge(method, fields, Some(&current()), rule, at(NOON))
}

fn put(fields: &[(&str, &str)]) -> Result<(), NotPerformed> {
    ask(Method::Put, fields)
}

fn get(fields: &[(&str, &str)]) -> Result<(), NotPerformed> {
    ask(Method::Get, fields)
}

/// The status for a whole request, by the evaluation of the oracle. `None` if the method is
/// performed.
fn status(
    method: Method,
    selected: Option<Selected<'_>>,
    (if_match, if_none_match): (Meaning<'_>, Meaning<'_>),
    evaluation: Evaluation,
    without: WithoutIfMatch,
) -> Option<u16> {
    let malformed = |meaning| matches!(meaning, Meaning::Malformed);
    let partly = |meaning| matches!(meaning, Meaning::Malformed | Meaning::Partly(_));
    let writes = method != Method::Get && method != Method::Head;
    match evaluation {
        Evaluation::NotModified => Some(304),
        Evaluation::PreconditionFailed(Precondition::IfMatch) if malformed(if_match) => Some(400),
        Evaluation::PreconditionFailed(Precondition::IfNoneMatch) if partly(if_none_match) => {
            Some(400)
        }
        Evaluation::PreconditionFailed(_) => Some(412),
        Evaluation::Perform => {
            let blind = writes && selected.is_some() && matches!(if_match, Meaning::Absent);
            (blind && without == WithoutIfMatch::Refuse).then_some(428)
        }
    }
}

#[test]
fn s13_2_2_whole_requests() {
    let mut seen = std::collections::BTreeMap::new();
    let methods = [Method::Get, Method::Put, Method::Delete, Method::Post];
    for (if_match, if_none_match) in product(&TAGS, &TAGS) {
        for (unmodified, modified) in product(&DATES[..4], &DATES[..4]) {
            let fields = field_lines(if_match, unmodified, if_none_match, modified);
            for (method, selected) in product(&methods, &SELECTED) {
                let evaluation = naive(
                    *method,
                    *selected,
                    if_match.meaning,
                    unmodified.meaning,
                    if_none_match.meaning,
                    modified.meaning,
                    NOON,
                );
                let validators = selected.map(Selected::validators);
                for without in [WithoutIfMatch::Refuse, WithoutIfMatch::Perform] {
                    let meanings = (if_match.meaning, if_none_match.meaning);
                    let expected = status(*method, *selected, meanings, evaluation, without);
                    let lines = fields.iter().copied();
                    let judged = judge(*method, lines, validators.as_ref(), without, at(NOON));
                    let status = judged.err().map(|response| response.status());
                    assert_eq!(status, expected, "{method:?} {fields:?} on {validators:?}");
                    *seen.entry(status).or_insert(0) += 1;
                }
            }
        }
    }
    let seen: Vec<_> = seen.into_keys().collect();
    let all = [None, Some(304), Some(400), Some(412), Some(428)];
    assert_eq!(seen, all, "every status is reached");
}

/// Each reason, with its status, field lines and content.
#[test]
fn responses() {
    #[track_caller]
    fn check(
        judged: Result<(), NotPerformed>,
        status: u16,
        fields: &[(&'static str, &str)],
        content: &str,
    ) {
        let response = judged.unwrap_err();
        assert_eq!((response.status(), &*response.content()), (status, content));
        let lines = response.fields();
        let lines: Vec<_> = lines.iter().map(|(name, it)| (*name, &**it)).collect();
        assert_eq!(lines, fields);
        assert_eq!(response.reason().status(), status);
    }
    let (tag, date) = (("ETag", r#""cur""#), "Mon, 23 Nov 2026 11:00:00 GMT");
    let problem = [tag, ("Cache-Control", "no-store")];
    check(
        get(&[("If-None-Match", r#"W/"cur""#)]),
        304,
        &[tag, ("Last-Modified", date)],
        "",
    );
    check(
        put(&[("If-Match", r#""old""#)]),
        412,
        &problem,
        "If-Match is false; get the current representation, then try again\n",
    );
    check(
        put(&[("If-Match", r#"W/"cur""#)]),
        412,
        &problem,
        "If-Match is false: it compares strongly, and a tag is weak (W/)\n",
    );
    check(
        put(&[("If-None-Match", "*")]),
        412,
        &problem,
        "If-None-Match is false; get the current representation, then try again\n",
    );
    check(
        put(&[]),
        428,
        &problem,
        "If-Match is missing; get the current representation, then send its ETag in If-Match\n",
    );
    check(
        put(&[("If-Match", "cur")]),
        400,
        &problem,
        "If-Match is malformed: expected a quoted tag at byte 0, found 'c'\n",
    );
    let long = format!("\"{}\"", "x".repeat(8191));
    check(
        get(&[("If-None-Match", &long)]),
        400,
        &problem,
        "If-None-Match is longer than 8192 bytes\n",
    );
}

/// RFC 6585 section 3: a date does not replace If-Match in a write, and a read needs no
/// precondition.
#[test]
fn s3_precondition_required() {
    let date = "Mon, 23 Nov 2026 12:00:00 GMT";
    let reason = |judged: Result<(), NotPerformed>| judged.map_err(|response| response.reason());
    let required = Err(Reason::PreconditionRequired);
    assert_eq!(reason(put(&[("If-Unmodified-Since", date)])), required);
    assert_eq!(reason(put(&[("If-None-Match", r#""old""#)])), required);
    assert_eq!(reason(put(&[("If-Match", "*")])), Ok(()));
    assert_eq!(reason(get(&[])), Ok(()));
    let nothing: [(&str, &str); 0] = [];
    for (method, selected, without, expected) in [
        (Method::Put, None, WithoutIfMatch::Refuse, Ok(())),
        (Method::Options, Some(()), WithoutIfMatch::Refuse, Ok(())),
        (Method::Post, Some(()), WithoutIfMatch::Perform, Ok(())),
        (Method::Other, Some(()), WithoutIfMatch::Refuse, required),
        (Method::Patch, Some(()), WithoutIfMatch::Refuse, required),
    ] {
        let current = selected.map(|()| Validators::default());
        let judged = judge(method, nothing, current.as_ref(), without, at(NOON));
        assert_eq!(reason(judged), expected, "{method:?}");
    }
}

/// Without a tag only `If-Match: *` is true.
#[test]
fn a_write_without_a_tag_needs_an_asterisk() {
    let nothing: [(&str, &str); 0] = [];
    let put = |fields: &[(&str, &str)]| {
        let (current, rule) = (Validators::default(), WithoutIfMatch::Refuse);
        judge(
            "PUT",
            fields.iter().copied(),
            Some(&current),
            rule,
            at(NOON),
        )
    };
    let required = put(&nothing).unwrap_err();
    assert_eq!(required.status(), 428);
    assert_eq!(
        required.to_string(),
        "If-Match is missing; the current representation has no ETag, so send If-Match: *"
    );
    assert_eq!(put(&[("If-Match", "*")]), Ok(()));
}

/// The preconditions are read once, and judged again after another write.
#[test]
fn preconditions_are_judged_again() {
    let fields = [("If-Match", r#""1""#)];
    let asked = Preconditions::from_fields(fields, TagSyntax::Quoted, at(NOON)).unwrap();
    let judged = |revision: i64| {
        let current = Validators::from(EntityTag::revision(revision));
        asked.judge(Method::Put, Some(&current), WithoutIfMatch::Refuse)
    };
    assert_eq!(judged(1), Ok(()));
    let reason = judged(2).unwrap_err();
    assert_eq!(reason.status(), 412);
    let current = Validators::from(EntityTag::revision(2));
    let response = NotPerformed::new(reason, Some(&current), at(NOON));
    assert_eq!(response.fields()[0], ("ETag", r#""2""#.to_owned()));
}

/// A field line that is not text is not ignored, so the write is not performed.
#[test]
fn s5_5_a_value_that_is_not_text_is_not_absent() {
    for without in [WithoutIfMatch::Refuse, WithoutIfMatch::Perform] {
        let fields = [("if-match", b"\"caf\xe9\"")];
        let current = current();
        let judged = judge(Method::Put, fields, Some(&current), without, at(NOON));
        assert_eq!(judged.unwrap_err().status(), 412);
    }
}

/// Last-Modified is never later than Date.
#[test]
fn s8_8_2_1_last_modified_is_not_in_the_future() {
    let fields = current().fields(at(NOON - 7200));
    let expected = [
        ("ETag", r#""cur""#.to_owned()),
        ("Last-Modified", "Mon, 23 Nov 2026 10:00:00 GMT".to_owned()),
    ];
    assert_eq!(fields, expected);
    assert_eq!(Validators::default().fields(at(NOON)), []);
}
