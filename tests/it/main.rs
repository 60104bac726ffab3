//! Everything that is tested, from a single entity tag to the built program.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    unreachable_pub,
    reason = "a test that cannot go on fails"
)]

mod desk;
mod entity_tag;
mod http_date;
mod oracle;
mod person;
mod precondition;
mod race;
mod resource;
mod store;
mod transcript;
mod version;
