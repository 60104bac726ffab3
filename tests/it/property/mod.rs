//! Properties that hold for every input of a client: one function for each subject, which panics if
//! the property does not hold.
//!
//! The tests of `seeded` and the fuzz targets call them. Each property compares with a naive parser
//! of its own, which uses no code of the parser under test. The input is text in lines, so that an
//! input in the corpus is readable.

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

/// The names of the outcomes that an input has reached. The tests count them.
pub type Reached = Vec<&'static str>;

/// A property: its name, which is also that of its fuzz target, the function, and example inputs.
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

/// The name and the value of each line. Lines without a colon are a name without a value.
fn field_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(&'a str, &'a str)> {
    let parts = lines.map(|line| line.split_once(':').unwrap_or((line, "")));
    parts
        .map(|(name, value)| (name, value.strip_prefix(' ').unwrap_or(value)))
        .collect()
}
