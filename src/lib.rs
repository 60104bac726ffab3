//! Conditional requests, done right: entity tags and preconditions of RFC 9110.
#![forbid(unsafe_code)]

/// Entity tags: their grammar, and the two ways to compare them.
mod entity_tag;
/// Dates as HTTP writes them.
mod http_date;
/// Requests and responses as values.
mod message;
/// Persons, and the rules for the content that describes one.
mod person;
/// The preconditions of a request, and their evaluation.
mod precondition;
/// Where persons are kept: the compare-and-swap, and the store in memory.
mod store;
/// Versions: change dates that never come back, and their tags.
mod version;

pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
pub use message::{Method, Protocol, Request, Response};
pub use person::{ContentError, MAX_PERSON_ID, Member, Person, PersonId};
pub use precondition::{
    Evaluation, IfMatch, IfNoneMatch, MAX_ENTITY_TAGS, MAX_FIELD_VALUE, Precondition,
    Preconditions, PreconditionsError, TagSyntax, Validators,
};
pub use store::{Collection, MemoryStore, Record, Store, StoreError, Swap, SwapError};
pub use version::{ParseVersionError, Version, VersionClock};
