//! `judge` with the vectors, in each state.

use std::collections::BTreeMap;

use ifmatch::{EntityTag, HttpDate, Method, Validators, WithoutIfMatch, judge};

use crate::oracle::{NOON, at};
use crate::vectors::{Case, cases};

const MODIFIED: i64 = NOON - 3600;

/// The validators in a state. `None` if there is no representation.
fn validators(state: &str) -> Option<Validators> {
    let tag = EntityTag::strong("a1B2c3").unwrap();
    let weak = EntityTag::weak("a1B2c3").unwrap();
    let dated = HttpDate::from(at(MODIFIED));
    let (entity_tag, last_modified) = match state {
        "strong" => (Some(tag), Some(dated)),
        "strong-undated" => (Some(tag), None),
        "weak" => (Some(weak), Some(dated)),
        "untagged" => (None, Some(dated)),
        "bare" => (None, None),
        "absent" => return None,
        other => panic!("there is no state {other}"),
    };
    Some(Validators {
        entity_tag,
        last_modified,
    })
}

/// Calls `judge` for the request of the case, as a handler does, and checks the response.
fn check(case: &Case, selected: Option<&Validators>, rule: WithoutIfMatch) {
    let method = Method::from_name(&case.method);
    let tag = selected.and_then(|it| it.entity_tag.as_ref());
    let tag = tag.map_or("never", EntityTag::opaque);
    if selected.is_none() && method.selects() && method != Method::Put {
        return case.allows(404, false, &[]);
    }
    let names = |fields: Vec<(&str, String)>| -> Vec<String> {
        fields
            .into_iter()
            .map(|(name, _)| name.to_owned())
            .collect()
    };
    let lines = case.lines(tag, MODIFIED, NOON);
    if let Err(response) = judge(method, lines, selected, rule, at(NOON)) {
        return case.allows(response.status(), false, &names(response.fields()));
    }
    let status = match selected {
        None if method == Method::Put => 201,
        _ => 200,
    };
    let fields = selected.map(|it| names(it.fields(at(NOON))));
    case.allows(status, true, &fields.unwrap_or_default());
}

/// Whether a case can also run without a date of modification.
fn needs_no_date(case: &Case) -> bool {
    let is_free = |(name, value): &(String, String)| {
        !name.to_lowercase().contains("since") && !value.contains("imf")
    };
    case.fields.iter().all(is_free)
}

#[test]
fn s13_the_vectors() {
    let cases = cases();
    let mut states = BTreeMap::new();
    for case in &cases {
        let mut run = vec![case.state.as_str()];
        if case.state == "strong" && needs_no_date(case) {
            run.push("strong-undated");
        }
        for state in run {
            for rule in [WithoutIfMatch::Refuse, WithoutIfMatch::Perform] {
                check(case, validators(state).as_ref(), rule);
            }
            *states.entry(state).or_insert(0) += 1;
        }
    }
    assert!(cases.len() >= 300, "{}", cases.len());
    assert_eq!(states.len(), 6, "{states:?}");
}

/// The vectors fail for wrong judgements. Each of these has one defect.
#[test]
fn the_vectors_detect_wrong_judgements() {
    let strong = validators("strong").unwrap();
    let weak = validators("weak").unwrap();
    // The validators that replace those of the state.
    let wrong: [(&str, Option<Validators>); 4] = [
        ("strong", Some(weak)),
        ("weak", Some(strong.clone())),
        ("untagged", None),
        ("absent", Some(strong)),
    ];
    for (state, judged) in wrong {
        let caught = cases()
            .into_iter()
            .filter(|it| it.state == state)
            .any(|case| {
                let wrong = || check(&case, judged.as_ref(), WithoutIfMatch::Perform);
                std::panic::catch_unwind(wrong).is_err()
            });
        assert!(caught, "{state}");
    }
}
