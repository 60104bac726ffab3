//! The errors of stores.

use std::error::Error;
use std::fmt;

/// A call of the store has failed.
///
/// Nothing has changed, except if a connection was lost during a commit: then the whole write may have
/// been performed, which the next read shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    reason: String,
}

impl StoreError {
    /// A failure, with its reason for the operator, who finds it in the log.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// No version is left after the latest one.
    pub(crate) fn exhausted() -> Self {
        Self::new("no change date is left before the end of the calendar")
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Error for StoreError {}

/// A store cannot be opened. Its data has not been changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    store: String,
    reason: String,
}

impl OpenError {
    /// The name of the store, such as its path, and why it cannot be opened.
    pub fn new(store: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self {
            store: store.to_string(),
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use the store {}: {}", self.store, self.reason)
    }
}

impl Error for OpenError {}
