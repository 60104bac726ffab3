//! Tests that need no server: the types of the fields, and `judge`. They run with every set of
//! features, and with none.
#![allow(
    clippy::duration_suboptimal_units,
    clippy::collapsible_if,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test may panic, and is as simple as possible"
)]

mod conformance;
mod entity_tag;
#[cfg(feature = "http")]
mod http;
mod http_date;
mod judgement;
mod oracle;
mod precondition;
mod space;
mod vectors;
