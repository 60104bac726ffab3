//! What must hold whatever a client sends: one function for each subject, which panics when it
//! does not hold.
//!
//! Written for two callers, the tests of `seeded` and the fuzz targets. Each judges by a reading
//! of its own, as naive as possible and without a word of the parser under test. The bytes are
//! read as text, one thing a line, so that an input that is kept can be read as well.

mod document;
mod entity_tag;
mod exchange;
mod grammar;
mod http_date;
pub mod json;
mod merge;
mod precondition;
mod response;
mod target;

/// The places that an input has reached, by names that the tests count.
pub type Reached = Vec<&'static str>;

/// A property: its name, which is its fuzz target's, the function, and inputs to start from.
pub struct Property {
    pub name: &'static str,
    pub check: fn(&[u8]) -> Reached,
    pub examples: &'static [&'static str],
}

pub const ALL: [Property; 7] = [
    Property {
        name: "entity_tag",
        check: entity_tag::check,
        examples: &entity_tag::EXAMPLES,
    },
    Property {
        name: "http_date",
        check: http_date::check,
        examples: &http_date::EXAMPLES,
    },
    Property {
        name: "precondition",
        check: precondition::check,
        examples: &precondition::EXAMPLES,
    },
    Property {
        name: "target",
        check: target::check,
        examples: &target::EXAMPLES,
    },
    Property {
        name: "exchange",
        check: exchange::check,
        examples: &exchange::EXAMPLES,
    },
    Property {
        name: "document",
        check: document::check,
        examples: &document::EXAMPLES,
    },
    Property {
        name: "merge",
        check: merge::check,
        examples: &merge::EXAMPLES,
    },
];

/// Name and value of each line, as a door hands them on or worse.
fn field_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    let parts = lines.map(|line| line.split_once(':').unwrap_or((line, "")));
    parts
        .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
        .collect()
}
