//! Everything that is tested, from a single entity tag to the built program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod bad_input;
mod cli;
mod client;
mod desk;
mod door;
mod entity_tag;
mod framing;
mod http_date;
mod oracle;
mod person;
mod precondition;
mod race;
mod resource;
mod serving;
mod store;
mod transcript;
mod version;
