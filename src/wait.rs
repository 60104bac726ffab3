//! Waiting for a change.

use std::time::Duration;

use crate::document::Id;
use crate::version::Version;

/// The longest wait: shorter than the minute after which proxies give up.
pub const MAX_WAIT: Duration = Duration::from_secs(55);

/// What a 304 may be held back for: the client has the current representation, and prefers to be
/// answered when it changes, or when the time is over.
///
/// Holding the answer back is the caller's part. When the document has changed, or any document of
/// the collection if there is no `id`, or when the time is over: ask [`respond`](crate::respond)
/// again, and send its response, changed by [`Response::waited`](crate::Response::waited). Whoever
/// does not hold it back sends the 304 as it is.
///
/// The preference `wait` is that of [RFC 7240 section 4.3](https://www.rfc-editor.org/rfc/rfc7240#section-4.3).
/// It says how long a client is willing to wait for a response. That a 304 waits for a change is a
/// convention of servers with long polling, and stands in no RFC.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The name of the collection.
    pub collection: String,
    /// The document, or none where a list was asked for.
    pub id: Option<Id>,
    /// The version that the client has.
    pub version: Version,
    /// How long to wait at most, in whole seconds; no longer than [`MAX_WAIT`].
    pub limit: Duration,
}
