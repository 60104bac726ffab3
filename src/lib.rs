//! A small synchronous server, and the library inside it, for JSON documents that several clients
//! change at once. Every representation carries an entity tag; a reader who has it already gets
//! 304, a writer whose copy is out of date gets 412, and nothing is overwritten.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::TcpStream;
//!
//! use ifmatch::{Collection, Collections, MemoryStore, Options, Server};
//!
//! let mut options = Options::default();
//! options.policy.collections = Collections::new([Collection::new("notes")?])?;
//! let server = Server::bind("127.0.0.1:0".parse()?, MemoryStore::new(), options)?;
//! let running = server.spawn()?;
//!
//! let mut stream = TcpStream::connect(running.local_addr())?;
//! stream.write_all(b"GET /notes HTTP/1.0\r\n\r\n")?;
//! let mut answer = String::new();
//! stream.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("[]\n"));
//!
//! running.stop();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! There are three ways to use it; none needs the next: [`Preconditions::evaluate`] is section 13 of
//! [RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-13) without ranges, and needs nothing else;
//! [`respond`] answers a request value from a [`Store`], without a socket; [`Server`] listens.
//!
//! A [`Collection`] has a name, and may require that its documents can be read as a type of yours.
//! A store keeps each [`Document`] as text, with its [`Version`].
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
//!    |  4 evaluate  Perform | NotModified | Failed         304 412
//!    |  5 perform   content -> Document                    400 422, 428 or 412 without If-Match
//!    |  6 swap      store.swap(expected version, new)      409 (400)  lost? back to 3, never blind
//!    v
//! Response -> one buffer -> one write -> socket bytes
//! ```
//!
//! # Where to find what
//!
//! Below stand the modules in reading order; each uses only those above it.
//!
//! # What never happens
//!
//! - Only the doors read the clock, print, or call `tiny_http` and hyper.
//! - Statuses are chosen in `problem` and `resource` alone.
//! - A store is written to by a compare-and-swap on a version, or filled where it has no documents.
//!   A check followed by a separate write cannot be expressed.
//! - A version never comes back: not when the clock does, not when a document is created again.
//! - No number and no string of a document is converted between a client and the store.
//! - The rules and the layout of persons are known to `collection::persons` alone.
//! - No lock is held while content is read or parsed, or an answer written.
//! - No loop waits for a network, for a write to reach the disk, or for a client (10 ms at most).
//!
//! Absent are routers, middleware, content negotiation, ranges, TLS and users: for other resources
//! than collections, put a server of yours around [`Preconditions`]. `server::tiny_http` is mostly
//! precautions, which `server::hyper`, the one place with `async`, leaves to hyper: see [`Door`].
#![forbid(unsafe_code)]

// Vocabulary: values without state.
mod entity_tag;
mod http_date;
mod message;
// Judgement, the heart.
mod framing;
mod precondition;
// Vault: what is kept, and of which version ...
mod json;
mod version;
// (a document has a version)
mod document;
// ... under which names ...
mod collection;
// ... and how it changes: one compare-and-swap at a time.
mod store;
// Which of it is asked for ...
mod target;
// ... to whom, how much and how.
mod access;
mod layout;
mod page;
mod policy;
mod preference;
// What is answered.
mod problem;
mod resource;
// Doors: everything that waits.
mod server;
// What the program is told when it starts.
pub mod cli;

pub use access::{Access, AccessError, Token};
pub use collection::{Collection, CollectionError, Collections};
pub use document::{ContentError, Document, Id, IdError, MAX_ID, Record};
pub use entity_tag::{EntityTag, ParseEntityTagError};
pub use http_date::{HttpDate, ParseHttpDateError};
pub use message::{Method, Protocol, Request, Response};
pub use page::MAX_PAGE;
pub use policy::{Policy, Profile};
pub use precondition::{
    Evaluation, IfMatch, IfNoneMatch, MAX_ENTITY_TAGS, MAX_FIELD_VALUE, Precondition,
    Preconditions, PreconditionsError, TagSyntax, Validators,
};
pub use resource::respond;
#[cfg(feature = "hyper")]
pub use server::Limits;
pub use server::{Address, Door, Options, Running, ServeError, Server, Stopper};
pub use store::{List, MemoryStore, OpenError, Portion, Store, StoreError, Swap, SwapError};
#[cfg(feature = "postgres")]
pub use store::{ParsePostgresUrlError, PostgresStore, PostgresUrl};
#[cfg(feature = "sqlite")]
pub use store::{SqliteStore, Synchronous};
pub use version::{ParseVersionError, Version, VersionClock};

/// The examples of the README, compiled and run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
