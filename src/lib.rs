//! Several clients change the same resource over HTTP, and no update is lost. Every representation
//! has an entity tag: a client that has the current representation gets 304, and a client that writes
//! with an outdated copy gets 412, and overwrites nothing.
//!
//! There are three ways to use the crate. The linked pages have examples.
//!
//! - **Judge**: your server calls [`judge`], which decides by
//!   [RFC 9110 section 13](https://www.rfc-editor.org/rfc/rfc9110#section-13), without ranges, whether
//!   the method of a request is performed; if not, it has the answer. With `default-features = false`
//!   this is the whole crate, and needs only the crate `time`. With the feature `http` it works with
//!   axum, hyper and others that use version 1 of that crate: see `examples/axum.rs`, and
//!   `examples/blocking.rs` for a server without them.
//! - **Respond**: you have a transport, and call [`respond`], which answers a [`Request`] from a
//!   [`Store`] of JSON documents, without a socket. A [`Collection`] has a name, and can require that
//!   its documents can be read as a type of yours.
//! - **Serve**: a [`Server`] listens and answers, on a thread of its own if you like. The program
//!   `ifmatch` is such a server; `examples/embed.rs` is one with a store of its own.
//!
//! # The path of a request
//!
//! ```text
//! socket bytes
//!    |  server      a door's request -> Request            the last place that knows sockets
//!    |  framing     its head, and where its content ends   400 408 413 414
//!    v
//! respond(&store, &policy, &request, now) -> Response      the last place that knows statuses
//!    |  0 access    Host, Origin, Authorization            401 403 421
//!    |  1 target    path -> Root | Collection | Document   404 405 501
//!    |  2 read      field lines -> Preconditions           400 415
//!    |  3 select    store -> record, or none               404 503
//!    |  4 evaluate  the preconditions, on the record        304 412, unless the write has its key
//!    |  5 perform   content -> Document                    400 422, 428 or 412 without If-Match
//!    |  6 swap      store.swap(expected version, new)      409; on a conflict again from 3
//!    v
//! Response -> delayed by the door, if it is a 304 that may wait for a change
//!    v
//! one buffer -> one write -> socket bytes
//! ```
//!
//! # Invariants
//!
//! - Each module uses only modules that are above it in the list below, which is the reading order.
//! - Only the doors read the clock, print, or call `tiny_http` and hyper; and the store in `PostgreSQL`
//!   reads the clock, to bound the time of its calls.
//! - Only `judgement`, `problem` and `resource` choose status codes.
//! - A store is changed only by a compare-and-swap on a version, or filled while it has no documents.
//!   A check followed by a separate write cannot be expressed.
//! - No version is used twice, even if the clock is set back or a document is created again.
//! - A repetition is recognised by its key, never by equal content. The key is swapped in with the
//!   document.
//! - No number and no string of a document is converted between a client and the store.
//! - Only `collection::persons` knows the rules and the layout of persons.
//! - No lock is held while content is read or parsed, or an answer is written.
//! - No loop waits for a network, for a write to reach the disk, or longer than 10 ms for a client.
//!
//! There are no routers, no middleware, no content negotiation except at `/`, no ranges, no TLS and no
//! users: for other resources than collections, call [`judge`] in a server of yours. [`Door`] compares
//! `server::tiny_http` and `server::hyper`, which is the one place with `async`.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "server"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "this page links to the server, too"
    )
)]

// Values of HTTP.
mod field;

mod entity_tag;
mod http_date;
mod method;
mod validators;
// Preconditions, and the judgement of a request by them.
mod precondition;

mod judgement;
// Documents and their versions.
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod version;

#[cfg(feature = "server")]
mod idempotency;

#[cfg(feature = "server")]
mod document;
// Requests and responses.
#[cfg(feature = "server")]
mod message;

#[cfg(feature = "server")]
mod framing;
#[cfg(feature = "http")]
mod http;
// Where documents are kept, and under which targets they are served.
#[cfg(feature = "server")]
mod endpoint;

#[cfg(feature = "server")]
mod collection;
#[cfg(feature = "server")]
mod store;
#[cfg(feature = "server")]
mod target;
// What an answer depends on.
#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod page;
#[cfg(feature = "server")]
mod policy;
#[cfg(feature = "server")]
mod preference;
// The answers.
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod resource;
// The doors, and the command line.
#[cfg(feature = "server")]
mod server;

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
    policy::{Policy, Profile},
    resource::respond,
    server::{Address, Door, Options, Running, ServeError, Server, Stopper},
    store::{
        List, Listener, Listeners, MemoryStore, OpenError, Portion, Store, StoreError, Swap,
        SwapError,
    },
    version::{ParseVersionError, Version, VersionClock},
};

/// The examples of the README, compiled and run with the others.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
