use std::error::Error;
use std::fmt;

/// The store cannot do just now what it was asked.
///
/// Nothing has changed; or, if a connection was lost while a write was being confirmed, all of it
/// has, and the next read tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError {
    reason: String,
}

impl StoreError {
    /// A failure, with the sentence that explains it to whoever runs the server.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
        }
    }

    /// There is no version after the latest.
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

/// The store cannot be used at all. What there is has been left as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    store: String,
    reason: String,
}

impl OpenError {
    /// The store that was asked for, as whoever runs the server knows it, and why it is not opened.
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
