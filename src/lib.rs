//! Conditional requests, done right: entity tags and preconditions of RFC 9110.
#![forbid(unsafe_code)]

/// Entity tags: their grammar, and the two ways to compare them.
mod entity_tag;
/// Whether the head of a request can be trusted, and where its content ends.
mod framing;
/// Dates as HTTP writes them.
mod http_date;
/// The JSON layout.
mod json;
/// Requests and responses as values.
mod message;
/// Persons, and the rules for the content that describes one.
mod person;
/// What is left to whoever runs the server.
mod policy;
/// The preconditions of a request, and their evaluation.
mod precondition;
/// What keeps a request from being done, and how that is told.
mod problem;
/// The persons: from a request to its response.
mod resource;
/// The `tiny_http` door.
mod server;
/// Where persons are kept: the compare-and-swap, and the store in memory.
mod store;
/// What a request target names.
mod target;
/// Versions: change dates that never come back, and their tags.
mod version;

pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
pub use message::{Method, Protocol, Request, Response};
pub use person::{ContentError, MAX_PERSON_ID, Member, Person, PersonId};
pub use policy::{Policy, Profile};
pub use precondition::{
    Evaluation, IfMatch, IfNoneMatch, MAX_ENTITY_TAGS, MAX_FIELD_VALUE, Precondition,
    Preconditions, PreconditionsError, TagSyntax, Validators,
};
pub use resource::respond;
pub use server::{Options, Running, ServeError, Server, Stopper};
pub use store::{Collection, MemoryStore, Record, Store, StoreError, Swap, SwapError};
pub use version::{ParseVersionError, Version, VersionClock};
