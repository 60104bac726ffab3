//! All combinations of preconditions, compared with the naive transcription.

use ifmatch::{Method, Preconditions, TagSyntax};

use crate::oracle::{DATES, NOON, Selected, TAGS, at, field_lines, naive, product};

pub const SELECTED: [Option<Selected<'_>>; 6] = [
    None,
    Some(Selected {
        tag: None,
        modified: None,
    }),
    Some(Selected {
        tag: Some((false, "cur")),
        modified: None,
    }),
    Some(Selected {
        tag: None,
        modified: Some(NOON - 3600),
    }),
    Some(Selected {
        tag: Some((false, "cur")),
        modified: Some(NOON - 3600),
    }),
    Some(Selected {
        tag: Some((true, "cur")),
        modified: Some(NOON - 3600),
    }),
];

#[test]
fn s13_2_2_the_whole_space() {
    let methods = [
        Method::Get,
        Method::Head,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Post,
        Method::Other,
    ];
    let mut points = 0;
    let mut outcomes = std::collections::HashMap::new();
    for (if_match, if_none_match) in product(&TAGS, &TAGS) {
        for (unmodified, modified) in product(&DATES, &DATES) {
            let fields = field_lines(if_match, unmodified, if_none_match, modified);
            let asked =
                Preconditions::from_fields(fields.iter().copied(), TagSyntax::Quoted, at(NOON))
                    .unwrap();
            for (method, selected) in product(&methods, &SELECTED) {
                let expected = naive(
                    *method,
                    *selected,
                    if_match.meaning,
                    unmodified.meaning,
                    if_none_match.meaning,
                    modified.meaning,
                    NOON,
                );
                let validators = selected.map(Selected::validators);
                let evaluation = asked.evaluate(*method, validators.as_ref());
                assert_eq!(
                    evaluation, expected,
                    "{method:?} {fields:?} on {validators:?}"
                );
                *outcomes.entry(format!("{evaluation:?}")).or_insert(0) += 1;
                points += 1;
            }
        }
    }
    assert_eq!(points, 13 * 13 * 8 * 8 * 7 * 6);
    assert_eq!(outcomes.len(), 5, "every outcome is reached: {outcomes:?}");
}
