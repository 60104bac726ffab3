use std::collections::BTreeSet;

use ifmatch::{EntityTag, IfMatch, IfNoneMatch, Method, Preconditions, TagSyntax, Validators};

use super::Reached;
use super::grammar::{self, Reading};
use crate::oracle::{self, Meaning};

pub const EXAMPLES: [&str; 14] = [
    "*",
    "\"cur\"",
    "W/\"cur\"",
    "\"\", W/\"\"",
    "\"a\",\"cur\" ,\tW/\"b,c\"",
    ", ,\"cur\", ",
    "\"old\"\n\"cur\"",
    "\"\u{80}\u{ff}ü→\", \"a\\\", \"!#~\"",
    "42e98b50d35eb07fc6d595d019cc91c7",
    "W/cur, \"a b\", \"cur\"",
    "\"open, \"cur\"",
    "x\"y,\"cur\",z\"",
    "*, \"cur\"",
    "w/\"cur\"\n\"c\"ur\"",
];

/// Each line is a field line of If-Match, and of If-None-Match. The whole input is also read as one
/// tag.
pub fn check(data: &[u8]) -> Reached {
    bytes_are_read_as_characters(data);
    let text = String::from_utf8_lossy(data);
    one_tag(&text);
    let lines: Vec<_> = text.split('\n').collect();
    let value = grammar::combined(&lines).unwrap();
    [TagSyntax::Quoted, TagSyntax::QuotedOrBare]
        .map(|syntax| field(&lines, &value, syntax))
        .into()
}

/// Bytes that are not UTF-8 are read like the characters with the same numbers, which are encoded
/// in UTF-8.
fn bytes_are_read_as_characters(data: &[u8]) {
    let text: String = data.iter().copied().map(char::from).collect();
    let bytes: Vec<_> = data.split(|byte| *byte == b'\n').collect();
    let text: Vec<_> = text.split('\n').collect();
    if grammar::is_too_long(&text) {
        return;
    }
    for syntax in [TagSyntax::Quoted, TagSyntax::QuotedOrBare] {
        let (Some(bytes), Some(text)) = (read(&bytes, syntax), read(&text, syntax)) else {
            return;
        };
        let pair = (
            bytes.if_none_match().unwrap(),
            text.if_none_match().unwrap(),
        );
        assert_eq!(pair.0.is_any(), pair.1.is_any(), "{data:?}");
        let malformed = [pair.0, pair.1].map(|it| it.malformed().is_some());
        assert_eq!(malformed[0], malformed[1], "{data:?}");
        let ascii = data.split(|byte| *byte == b'"').filter(|it| it.is_ascii());
        for opaque in ascii.filter_map(|it| std::str::from_utf8(it).ok()) {
            let Ok(tag) = EntityTag::strong(opaque) else {
                continue;
            };
            let current = Validators::from(tag);
            for method in [Method::Get, Method::Put] {
                let evaluation = bytes.evaluate(method, Some(&current));
                assert_eq!(
                    evaluation,
                    text.evaluate(method, Some(&current)),
                    "{data:?}"
                );
            }
        }
    }
}

/// The parser accepts exactly the tags of the grammar, and a tag is printed as it was read.
fn one_tag(text: &str) {
    let read = text.parse::<EntityTag>().ok();
    let parts = read.as_ref().map(|tag| (tag.is_weak(), tag.opaque()));
    assert_eq!(parts, grammar::entity_tag(text), "{text:?}");
    if let Some(tag) = read {
        assert_eq!(tag.to_string(), text);
        assert_eq!(tag.to_string().parse(), Ok(tag));
    }
}

fn field(lines: &[&str], value: &str, syntax: TagSyntax) -> &'static str {
    let reading = Reading::of(Some(value), syntax);
    let asked = read(lines, syntax);
    if grammar::is_too_long(lines) || reading == Reading::TooMuch {
        assert_eq!(asked, None, "{value:?} is too much");
        return "too much";
    }
    let asked = asked.expect("it is not too much");
    if syntax == TagSyntax::Quoted {
        follows_the_grammar_of_lists(value, &reading, &asked);
    }
    let (if_match, if_none_match) = (asked.if_match().unwrap(), asked.if_none_match().unwrap());
    assert_eq!(if_none_match.is_any(), reading == Reading::Any);
    let malformed = reading.meaning() == Meaning::Malformed;
    let partly = matches!(reading.meaning(), Meaning::Partly(_));
    assert_eq!(if_match.malformed().is_some(), malformed, "{value:?}");
    let error = if_none_match.malformed();
    assert_eq!(error.is_some(), malformed || partly, "{value:?}");
    assert!(partly || error == if_match.malformed(), "{value:?}");
    // A tag has no quote inside: each text that might be read as a tag is between two quotes.
    let parts = value.split(['"', ',', ' ', '\t']).chain(value.split('"'));
    for opaque in parts.collect::<BTreeSet<_>>() {
        if let (Ok(strong), Ok(weak)) = (EntityTag::strong(opaque), EntityTag::weak(opaque)) {
            comparisons(&reading, if_match, if_none_match, strong);
            comparisons(&reading, if_match, if_none_match, weak);
        }
    }
    match reading {
        Reading::Listed(_, 0) => "well-formed",
        Reading::Listed(tags, _) if tags.is_empty() => "malformed",
        Reading::Listed(..) => "partly malformed",
        _ => "any",
    }
}

fn read<V: AsRef<[u8]>>(lines: &[V], syntax: TagSyntax) -> Option<Preconditions> {
    let both = ["If-Match", "If-None-Match"];
    let fields = both.map(|name| lines.iter().map(move |line| (name, line)));
    Preconditions::from_fields(fields.into_iter().flatten(), syntax, oracle::at(0)).ok()
}

/// The parser accepts exactly the lists of the grammar. A list that is printed is read with the
/// same members.
fn follows_the_grammar_of_lists(value: &str, reading: &Reading<'_>, asked: &Preconditions) {
    match (grammar::list(value), reading) {
        (Some(listed), Reading::Listed(tags, 0)) => assert_eq!(&listed, tags, "{value:?}"),
        (None, Reading::Any) => return,
        (None, Reading::Listed(_, malformed)) if *malformed > 0 => return,
        (listed, _) => panic!("{value:?} is {listed:?} and was read as {reading:?}"),
    }
    let Reading::Listed(tags, _) = reading else {
        unreachable!("it was just matched")
    };
    let printed = tags.iter().map(|(weak, opaque)| {
        let tag = if *weak {
            EntityTag::weak(*opaque)
        } else {
            EntityTag::strong(*opaque)
        };
        tag.unwrap().to_string()
    });
    let printed = printed.collect::<Vec<_>>().join(", ");
    assert_eq!(
        read(&[&printed], TagSyntax::Quoted).as_ref(),
        Some(asked),
        "{value:?}"
    );
}

/// If-Match compares strongly, If-None-Match weakly, and nothing else matches.
fn comparisons(
    reading: &Reading<'_>,
    if_match: &IfMatch,
    if_none_match: &IfNoneMatch,
    current: EntityTag,
) {
    let (strongly, weakly) = match reading {
        Reading::Listed(tags, _) => {
            let same = |(_, opaque): &&grammar::Tag<'_>| *opaque == current.opaque();
            let strongly = tags.iter().filter(same).any(|(weak, _)| !weak);
            (
                strongly && !current.is_weak(),
                tags.iter().any(|tag| same(&tag)),
            )
        }
        _ => (true, true),
    };
    let malformed = if_none_match.malformed().is_some();
    let validators = Validators::from(current);
    assert_eq!(
        if_match.is_true(Some(&validators)),
        strongly,
        "{validators:?} in {reading:?}"
    );
    let on = |method| if_none_match.is_true(method, Some(&validators));
    assert_eq!(on(Method::Get), !weakly, "{validators:?} in {reading:?}");
    assert_eq!(
        on(Method::Put),
        !malformed && !weakly,
        "{validators:?} in {reading:?}"
    );
}
