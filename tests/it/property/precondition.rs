use ifmatch::{Evaluation, Method, Preconditions, TagSyntax};

use super::grammar::{self, Reading};
use super::http_date::Moment;
use super::{Reached, field_lines};
use crate::oracle::{self, NOON, Selected, at};

pub const EXAMPLES: [&str; 12] = [
    "PUT\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-Match: \"cur\"",
    "PUT\n\"cur\"\n\nIf-Match: \"old\"\nIf-None-Match: \"cur\"",
    "DELETE\nW/\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nif-match: W/\"cur\"\nIF-MATCH: *",
    "GET\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-None-Match: W/\"cur\", \"old\"",
    "GET\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-Modified-Since: Mon, 23 Nov 2026 11:00:00 GMT",
    "HEAD\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-Modified-Since: Monday, 23-Nov-26 11:00:01 GMT\nIf-None-Match: \"old\"",
    "POST\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-Unmodified-Since: Mon Nov 23 10:59:59 2026",
    "PUT\n\"cur\"\nMon, 23 Nov 2026 11:00:00 GMT\nIf-Unmodified-Since: Mon, 23 Nov 2026 10:00:00 GMT\nIf-Match: cur",
    "PUT\n-\n\nIf-None-Match: *",
    "PUT\n-\n\nIf-Match: *",
    "GET\n\n\nIf-None-Match: \"x\nIf-Modified-Since: Tue, 99 Foo",
    "BREW\n\"cur\"\n\nHost: x\nIf-None-Match: *\nIf-Match: \"cur\"x, \"cur\"",
];

/// The lines are the method, the selected entity tag, its date of modification, and field lines.
/// `-` instead of a tag means that there is no representation.
pub fn check(data: &[u8]) -> Reached {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.split('\n');
    let method = Method::from_name(lines.next().unwrap_or_default());
    let tag = lines.next().unwrap_or_default();
    let modified = Moment::read(lines.next().unwrap_or_default(), Moment::of(NOON));
    let selected = (tag != "-").then(|| Selected {
        tag: grammar::entity_tag(tag),
        modified: modified.map(Moment::seconds),
    });
    let fields = field_lines(lines);
    [TagSyntax::Quoted, TagSyntax::QuotedOrBare]
        .map(|syntax| evaluate(method, selected, &fields, syntax))
        .into()
}

fn evaluate(
    method: Method,
    selected: Option<Selected<'_>>,
    fields: &[(&str, &str)],
    syntax: TagSyntax,
) -> &'static str {
    let expected = expected(method, selected, fields, syntax, NOON);
    let asked = Preconditions::from_fields(fields.iter().copied(), syntax, at(NOON));
    let validators = selected.map(Selected::validators);
    let evaluation = asked.map(|asked| asked.evaluate(method, validators.as_ref()));
    assert_eq!(
        evaluation.ok(),
        expected,
        "{method:?} {fields:?} on {validators:?}"
    );
    match expected {
        None => "too much",
        Some(Evaluation::Perform) => "perform",
        Some(Evaluation::NotModified) => "not modified",
        Some(Evaluation::PreconditionFailed(_)) => "failed",
    }
}

/// The evaluation of the field lines by the naive parsers. `None` if a field exceeds a limit.
pub fn expected(
    method: Method,
    selected: Option<Selected<'_>>,
    fields: &[(&str, &str)],
    syntax: TagSyntax,
    now: i64,
) -> Option<Evaluation> {
    let tags = ["if-match", "if-none-match"].map(|name| lines_of(fields, name));
    let values = [0, 1].map(|index| grammar::combined(&tags[index]));
    let [if_match, if_none_match] =
        [0, 1].map(|index| Reading::of(values[index].as_deref(), syntax));
    if tags.iter().any(|lines| grammar::is_too_long(lines))
        || [&if_match, &if_none_match].contains(&&Reading::TooMuch)
    {
        return None;
    }
    let date = |name| match lines_of(fields, name)[..] {
        [date] => Moment::read(grammar::without_space(date), Moment::of(now)).map(Moment::seconds),
        _ => None,
    };
    Some(oracle::naive(
        method,
        selected,
        if_match.meaning(),
        date("if-unmodified-since"),
        if_none_match.meaning(),
        date("if-modified-since"),
        now,
    ))
}

/// The values of the field lines with this name, which must be in lower case.
pub fn lines_of<'a>(fields: &[(&str, &'a str)], name: &str) -> Vec<&'a str> {
    let named = fields
        .iter()
        .filter(|(given, _)| given.to_ascii_lowercase() == name);
    named.map(|(_, value)| *value).collect()
}
