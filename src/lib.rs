#![doc = include_str!("lib.md")]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "server"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "this page links to the server, too"
    )
)]

// Field values.
mod field;
// Entity tags, dates, methods and validators.
mod entity_tag;
mod http_date;
mod method;
mod validators;

// Preconditions.
mod precondition;
// The judgement of a request by its preconditions.
mod judgement;

// JSON text, and versions of documents.
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod version;
// The key of a write that may be repeated.
#[cfg(feature = "server")]
mod idempotency;
// Documents.
#[cfg(feature = "server")]
mod document;

// Requests and responses.
#[cfg(feature = "server")]
mod authority;
#[cfg(feature = "server")]
mod message;
// Where the content of a request ends.
#[cfg(feature = "server")]
mod framing;
// Conversions to the types of the crate `http`.
#[cfg(feature = "http")]
mod http;

// The server's own paths.
#[cfg(feature = "server")]
mod endpoint;
// Collections, their stores, and the targets of requests.
#[cfg(feature = "server")]
mod collection;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod target;

// Settings of the operator, and preferences of the client.
#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod page;
#[cfg(feature = "server")]
mod preference;

// The responses.
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod resource;

// The server with its doors.
#[cfg(feature = "server")]
mod server;
// The command line.
#[cfg(feature = "server")]
pub mod cli;

pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
pub use judgement::{NotPerformed, Reason, WithoutIfMatch, judge};
pub use method::Method;
pub use precondition::{
    Evaluation, IfMatch, IfNoneMatch, MAX_ENTITY_TAGS, MAX_FIELD_VALUE, Precondition,
    Preconditions, PreconditionsError, TagSyntax,
};
pub use validators::Validators;

#[cfg(feature = "hyper")]
pub use server::Limits;
#[cfg(feature = "postgres")]
pub use store::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
pub use store::{SqliteStore, Synchronous};
#[cfg(feature = "server")]
pub use {
    access::{Access, AccessError, Token},
    collection::{Collection, CollectionError, Collections},
    document::{ContentError, Document, Id, IdError, MAX_ID, Record},
    idempotency::{IdempotencyKey, IdempotencyKeyError, KeyedWrite},
    message::{FieldLine, MAX_WAIT, Protocol, Request, Response, Wait},
    page::MAX_PAGE,
    problem::Profile,
    resource::{Policy, respond},
    server::{Address, Door, Options, Running, ServeError, Server, Stopper},
    store::{
        List, MemoryStore, Observer, Observers, OpenError, Portion, Store, StoreError, Swap,
        SwapError,
    },
    version::{ParseVersionError, Version, VersionClock},
};

/// The examples of the README, compiled and run with the others.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
