//! Conditional requests, done right: entity tags and preconditions of RFC 9110.
#![forbid(unsafe_code)]

/// Entity tags: their grammar, and the two ways to compare them.
mod entity_tag;
/// Dates as HTTP writes them.
mod http_date;
/// Requests and responses as values.
mod message;
/// The preconditions of a request, and their evaluation.
mod precondition;

pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
pub use message::{Method, Protocol, Request, Response};
pub use precondition::{
    Evaluation, IfMatch, IfNoneMatch, MAX_ENTITY_TAGS, MAX_FIELD_VALUE, Precondition,
    Preconditions, PreconditionsError, TagSyntax, Validators,
};
