//! Several clients change the same resource over HTTP, and no update is lost. Every representation
//! carries an entity tag; a reader who has it already gets 304, a writer whose copy is out of date
//! gets 412, and nothing is overwritten.
//!
//! There are three ways in, and none needs the next.
//!
//! # Judge
//!
//! You have a server. [`judge`] says of one request whether its method is to be performed, by
//! [RFC 9110 section 13](https://www.rfc-editor.org/rfc/rfc9110#section-13) without ranges; if not,
//! it has the answer. With `default-features = false` this is all there is, and needs only the crate
//! `time`. With the feature `http` it works with axum, hyper and others that use version 1 of that crate: see
//! `examples/axum.rs`, and `examples/blocking.rs` for a server without them.
//!
//! ```
//! use ifmatch::{EntityTag, Method, Validators, WithoutIfMatch, judge};
//! use std::time::SystemTime;
//!
//! let fields = [("If-Match", r#""4""#)]; // all field lines of the request
//! let current = Validators::from(EntityTag::revision(5)); // your revision number
//! let (rule, now) = (WithoutIfMatch::Refuse, SystemTime::now());
//! let answer = judge(Method::Put, fields, Some(&current), rule, now).unwrap_err();
//! assert_eq!(answer.status(), 412);
//! ```
//!
//! # Respond
//!
//! You have a transport, and no resource yet. [`respond`] answers a request value from a [`Store`]
//! of JSON documents, without a socket. A [`Collection`] of them has a name, and may require that
//! they can be read as a type of yours.
//!
//! ```
//! # #[cfg(feature = "server")] {
//! use ifmatch::{Collection, Collections, MemoryStore, Method, Policy, Request, respond};
//!
//! let mut policy = Policy::default();
//! policy.collections = Collections::new([Collection::new("notes")?])?;
//! let request = Request::new(Method::Post, "/notes").with_content(br#"{"title": "Milk"}"#);
//! let now = std::time::SystemTime::now();
//! let response = respond(&MemoryStore::new(), &policy, &request, now);
//! assert_eq!(response.status(), 201);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Serve
//!
//! You have neither. [`Server`] listens, on a thread of its own if you like; the program `ifmatch`
//! does no more, and `examples/embed.rs` has one with a store of its own.
//!
//! ```
//! # #[cfg(feature = "server")] {
//! use ifmatch::{MemoryStore, Options, Server};
//!
//! let server = Server::bind("127.0.0.1:0".parse()?, MemoryStore::new(), Options::default())?;
//! let running = server.spawn()?;
//! println!("http://{}/persons", running.local_addr());
//! running.stop();
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
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
//!    |  4 judge     perform it, or the Reason why not      304 412, unless the write has its key
//!    |  5 perform   content -> Document                    400 422, 428 or 412 without If-Match
//!    |  6 swap      store.swap(expected version, new)      409 (400)  lost? back to 3, never blind
//!    v
//! Response -> held back by the door, if it is a 304 that may wait for a change
//!    v
//! one buffer -> one write -> socket bytes
//! ```
//!
//! # Where to find what
//!
//! Below stand the modules in reading order; each uses only those above it.
//!
//! # What never happens
//!
//! - Only the doors read the clock, print, or call `tiny_http` and hyper.
//! - Statuses are chosen in `judgement`, `problem` and `resource` alone.
//! - A store is written to by a compare-and-swap on a version, or filled where it has no documents.
//!   A check followed by a separate write cannot be expressed.
//! - A version never comes back: not when the clock does, not when a document is created again.
//! - A repetition is recognised by its key, never by equal content; and the key is swapped in with
//!   the document.
//! - No number and no string of a document is converted between a client and the store.
//! - The rules and the layout of persons are known to `collection::persons` alone.
//! - No lock is held while content is read or parsed, or an answer written.
//! - No loop waits for a network, for a write to reach the disk, or for a client (10 ms at most).
//!
//! Absent are routers, middleware, content negotiation other than at `/`, ranges, TLS and users: for
//! other resources than collections, put a server of yours around [`judge`]. `server::tiny_http` is
//! mostly precautions, which `server::hyper`, the one place with `async`, leaves to hyper: see
//! [`Door`].
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "server"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "this page tells of the server, too"
    )
)]

// Field values.
mod field;
// Vocabulary: values without state.
mod entity_tag;
mod http_date;
mod method;
mod validators;
// Judgement, the heart.
mod precondition;
// (of a whole request)
mod judgement;
// Vault: what is kept, and of which version ...
#[cfg(feature = "server")]
mod json;
#[cfg(feature = "server")]
mod version;
// (the key of a write that may be repeated)
#[cfg(feature = "server")]
mod idempotency;
// (a document has a version)
#[cfg(feature = "server")]
mod document;
// What a server receives and sends ...
#[cfg(feature = "server")]
mod message;
// (as the types of the crate `http`, for servers that use it)
#[cfg(feature = "http")]
mod http;
// (and whether its head can be trusted)
#[cfg(feature = "server")]
mod framing;
// The resources of the server itself, whose names no collection can have.
#[cfg(feature = "server")]
mod endpoint;
// Under which names documents are kept ...
#[cfg(feature = "server")]
mod collection;
// ... and how it changes: one compare-and-swap at a time.
#[cfg(feature = "server")]
mod store;
// Which of it is asked for ...
#[cfg(feature = "server")]
mod target;
// ... to whom, how much and how.
#[cfg(feature = "server")]
mod access;
#[cfg(feature = "server")]
mod page;
#[cfg(feature = "server")]
mod policy;
#[cfg(feature = "server")]
mod preference;
// What is answered.
#[cfg(feature = "server")]
mod problem;
#[cfg(feature = "server")]
mod resource;
// Doors: everything that waits.
#[cfg(feature = "server")]
mod server;
// What the program is told when it starts.
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
