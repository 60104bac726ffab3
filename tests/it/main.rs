//! The tests, from those of a single entity tag to those of the built program.
#![allow(
    clippy::duration_suboptimal_units,
    clippy::collapsible_if,
    clippy::format_collect,
    clippy::format_push_string,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    unreachable_pub,
    reason = "a test panics when it cannot go on, need not be fast, and is written in the simplest way"
)]

mod access;
mod bad_input;
mod bounds;
mod browser;
#[cfg(target_os = "linux")]
mod browser_windows;
mod cli;
mod collection;
mod conformance;
mod content;
mod document;
mod documents;
mod door;
#[cfg(feature = "sqlite")]
mod durable;
mod examples;
#[cfg(feature = "postgres")]
mod failover;
mod faults;
mod framing;
#[cfg(all(feature = "postgres", target_os = "linux"))]
mod hanging;
mod health;
#[cfg(feature = "hyper")]
mod hyper;
mod load;
mod log;
mod lossy;
mod metrics;
#[cfg(feature = "sqlite")]
mod migration;
#[cfg(target_os = "linux")]
mod nginx;
mod openapi;
#[path = "../judgement/oracle.rs"]
mod oracle;
mod page;
mod patch;
mod person;
#[cfg(all(feature = "postgres", target_os = "linux"))]
mod pgbouncer;
#[cfg(feature = "postgres")]
mod postgres;
mod preference;
mod probes;
mod property;
mod race;
mod readme;
mod resource;
mod retry;
mod seeded;
#[cfg(feature = "postgres")]
mod servers;
#[cfg(target_os = "linux")]
mod soak;
#[cfg(feature = "sqlite")]
mod sqlite;
mod store;
mod support;
mod tidy;
mod timeouts;
#[cfg(feature = "postgres")]
mod tls;
mod transcript;
#[cfg(unix)]
mod unix;
#[cfg(target_os = "linux")]
mod varnish;
mod vectors;
mod version;
mod waiting;
