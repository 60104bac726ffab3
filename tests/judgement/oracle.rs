//! A second transcription of section 13.2.2, which does not parse fields, and the values of fields
//! for all combinations of preconditions.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{EntityTag, Evaluation, HttpDate, Method, Precondition, Validators};

/// Monday, 23 November 2026, noon.
pub const NOON: i64 = 1_795_435_200;

/// The time of this number of seconds after the epoch, or before it.
pub fn at(seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 {
        UNIX_EPOCH - distance
    } else {
        UNIX_EPOCH + distance
    }
}

/// A value of If-Match or If-None-Match: the field lines, and their meaning.
pub struct Tags {
    pub lines: &'static [&'static str],
    pub meaning: Meaning<'static>,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Meaning<'a> {
    Absent,
    Any,
    /// The members that are well-formed: weak or not, and the opaque part.
    Members(&'a [(bool, &'a str)]),
    /// The well-formed members, if there are malformed ones, too.
    Partly(&'a [(bool, &'a str)]),
    /// All members are malformed.
    Malformed,
}

pub const TAGS: [Tags; 13] = [
    Tags {
        lines: &[],
        meaning: Meaning::Absent,
    },
    Tags {
        lines: &["*"],
        meaning: Meaning::Any,
    },
    Tags {
        lines: &[""],
        meaning: Meaning::Members(&[]),
    },
    Tags {
        lines: &[r#""cur""#],
        meaning: Meaning::Members(&[(false, "cur")]),
    },
    Tags {
        lines: &[r#"W/"cur""#],
        meaning: Meaning::Members(&[(true, "cur")]),
    },
    Tags {
        lines: &[r#""old""#],
        meaning: Meaning::Members(&[(false, "old")]),
    },
    Tags {
        lines: &[r#""old""#, r#""cur""#],
        meaning: Meaning::Members(&[(false, "old"), (false, "cur")]),
    },
    Tags {
        lines: &[r#""old" , W/"cur","#],
        meaning: Meaning::Members(&[(false, "old"), (true, "cur")]),
    },
    Tags {
        lines: &[r#""cur,old""#],
        meaning: Meaning::Members(&[(false, "cur,old")]),
    },
    Tags {
        lines: &[r#""cur"#],
        meaning: Meaning::Malformed,
    },
    Tags {
        lines: &[r#"w/"cur""#, "*"],
        meaning: Meaning::Malformed,
    },
    Tags {
        lines: &[r#""c ur", "cur""#],
        meaning: Meaning::Partly(&[(false, "cur")]),
    },
    Tags {
        lines: &[r#"*, "old""#],
        meaning: Meaning::Partly(&[(false, "old")]),
    },
];

/// A value of a date field: the field lines, and their date if they are one valid date.
pub struct Dates {
    pub lines: &'static [&'static str],
    pub meaning: Option<i64>,
}

pub const DATES: [Dates; 8] = [
    Dates {
        lines: &[],
        meaning: None,
    },
    Dates {
        lines: &["Mon, 23 Nov 2026 10:59:59 GMT"],
        meaning: Some(NOON - 3601),
    },
    Dates {
        lines: &["Monday, 23-Nov-26 11:00:00 GMT"],
        meaning: Some(NOON - 3600),
    },
    Dates {
        lines: &["Mon Nov 23 11:00:01 2026"],
        meaning: Some(NOON - 3599),
    },
    Dates {
        lines: &["Mon, 23 Nov 2026 12:00:00 GMT"],
        meaning: Some(NOON),
    },
    Dates {
        lines: &["Tue, 24 Nov 2026 12:00:00 GMT"],
        meaning: Some(NOON + 86_400),
    },
    Dates {
        lines: &["Tue, 99 Foo"],
        meaning: None,
    },
    Dates {
        lines: &[
            "Mon, 23 Nov 2026 11:00:00 GMT",
            "Mon, 23 Nov 2026 11:00:00 GMT",
        ],
        meaning: None,
    },
];

/// The validators of the selected representation. Each may be missing.
#[derive(Clone, Copy)]
pub struct Selected<'a> {
    pub tag: Option<(bool, &'a str)>,
    pub modified: Option<i64>,
}

impl Selected<'_> {
    /// The validators in the type of the evaluation.
    pub fn validators(self) -> Validators {
        let tag = self.tag.map(|(weak, opaque)| {
            if weak {
                EntityTag::weak(opaque)
            } else {
                EntityTag::strong(opaque)
            }
        });
        Validators {
            entity_tag: tag.map(Result::unwrap),
            last_modified: self.modified.map(|seconds| HttpDate::from(at(seconds))),
        }
    }
}

/// The evaluation of section 13.2.2, sentence by sentence.
pub fn naive(
    method: Method,
    selected: Option<Selected<'_>>,
    if_match: Meaning<'_>,
    if_unmodified_since: Option<i64>,
    if_none_match: Meaning<'_>,
    if_modified_since: Option<i64>,
    now: i64,
) -> Evaluation {
    let reading = method == Method::Get || method == Method::Head;
    let current = selected.and_then(|selected| selected.tag);
    let modified = selected.and_then(|selected| selected.modified);

    // "1. When recipient is the origin server and If-Match is present, evaluate"
    let true_ = match if_match {
        Meaning::Absent => {
            // "2. ... If-Match is not present, and If-Unmodified-Since is present, evaluate"
            if let Some(date) = if_unmodified_since {
                if let Some(modified) = modified {
                    if modified > date {
                        return Evaluation::PreconditionFailed(Precondition::IfUnmodifiedSince);
                    }
                }
            }
            true
        }
        Meaning::Any => selected.is_some(),
        Meaning::Malformed => false,
        Meaning::Members(members) | Meaning::Partly(members) => {
            let mut matches = false;
            for (weak, opaque) in members {
                if let Some((current_weak, current)) = current {
                    matches |= !weak && !current_weak && *opaque == current;
                }
            }
            matches
        }
    };
    if !true_ {
        return Evaluation::PreconditionFailed(Precondition::IfMatch);
    }

    // "3. When If-None-Match is present, evaluate"
    let true_ = match if_none_match {
        Meaning::Absent => {
            // "4. When the method is GET or HEAD, If-None-Match is not present, and
            //  If-Modified-Since is present, evaluate"; a date in the future is ignored.
            if let (true, Some(date), Some(modified)) = (reading, if_modified_since, modified) {
                if date <= now && modified <= date {
                    return Evaluation::NotModified;
                }
            }
            true
        }
        Meaning::Any => selected.is_none(),
        Meaning::Malformed => reading,
        Meaning::Partly(_) if !reading => false,
        Meaning::Members(members) | Meaning::Partly(members) => {
            let mut matches = false;
            for (_, opaque) in members {
                if let Some((_, current)) = current {
                    matches |= *opaque == current;
                }
            }
            !matches
        }
    };
    match (true_, reading) {
        // "5. Otherwise, perform the requested method"
        (true, _) => Evaluation::Perform,
        (false, true) => Evaluation::NotModified,
        (false, false) => Evaluation::PreconditionFailed(Precondition::IfNoneMatch),
    }
}

/// The field lines of one point of the space.
pub fn field_lines(
    if_match: &Tags,
    if_unmodified_since: &Dates,
    if_none_match: &Tags,
    if_modified_since: &Dates,
) -> Vec<(&'static str, &'static str)> {
    // The order differs from that of the evaluation.
    let all = [
        ("If-Modified-Since", if_modified_since.lines),
        ("if-none-match", if_none_match.lines),
        ("IF-UNMODIFIED-SINCE", if_unmodified_since.lines),
        ("If-Match", if_match.lines),
    ];
    all.iter()
        .flat_map(|(name, lines)| lines.iter().map(|line| (*name, *line)))
        .collect()
}

pub fn product<'a, A, B>(a: &'a [A], b: &'a [B]) -> impl Iterator<Item = (&'a A, &'a B)> {
    a.iter().flat_map(move |a| b.iter().map(move |b| (a, b)))
}
