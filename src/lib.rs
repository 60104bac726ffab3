//! Conditional requests, done right: entity tags and preconditions of RFC 9110.
#![forbid(unsafe_code)]

/// Entity tags: their grammar, and the two ways to compare them.
mod entity_tag;
/// Dates as HTTP writes them.
mod http_date;

pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
