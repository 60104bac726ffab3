//! What needs no server: the vocabulary and the judgement. Runs with every set of features, and with
//! none.
#![allow(
    clippy::duration_suboptimal_units,
    clippy::collapsible_if,
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that cannot go on fails, and tells things naively"
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
