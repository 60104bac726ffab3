use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::framing::{DRAINABLE, Framing, Refusal};
use crate::message::{Protocol, Request, Response};
use crate::method::Method;
use crate::server::tiny_http::Peer;
use crate::server::tiny_http::answer::{After, Answer, DISCARDABLE, Stream, is_timeout};

/// The most content that `tiny_http` reads into memory by itself.
const READ_AHEAD: usize = 1024;

/// A request as `tiny_http` hands it over, and what must be known about `tiny_http` to drop it.
///
/// Dropping it is the difficult part. When such a request is dropped, or the end of the stream met
/// in its content, `tiny_http` reads what is left, into memory of the *announced* length: a client
/// that announces terabytes would end the process. What is left of chunked content it does not
/// read at all, and takes it for the next request. So a request is only dropped where
/// [`Self::unread`] says that it does no harm.
pub(super) struct Incoming {
    request: tiny_http::Request,
    peer: Peer,
    /// Whether the content has been read to its end.
    read: bool,
    /// Whether the content did not come in time.
    late: bool,
    since: Option<Instant>,
}

/// How much of a request's content was not read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// Nothing that would have to be read.
    Nothing,
    /// No more than can be read and thrown away.
    Some,
    /// The same, but so much that the connection is not to go on after it.
    Much,
    /// So much that it must never be asked for.
    TooMuch,
    /// Chunks, which may not even be any.
    Chunks,
}

/// Whether a connection goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Open,
    Close,
    /// It must not, since it is unclear where the next request begins.
    Lost,
}

/// Why content was not read.
pub(super) enum Unreadable {
    Refused(Refusal),
    /// The connection is broken.
    Gone,
}

impl Incoming {
    /// `since` is when it was received, if that is logged.
    pub(super) fn new(request: tiny_http::Request, since: Option<Instant>) -> Self {
        static UNIX: AtomicU64 = AtomicU64::new(0);
        let peer = match request.remote_addr() {
            Some(address) => Peer::Tcp(*address),
            None => Peer::Unix(UNIX.fetch_add(1, Ordering::Relaxed)),
        };
        Self {
            request,
            peer,
            read: false,
            late: false,
            since,
        }
    }

    /// By what its connection is told from others.
    pub(super) fn peer(&self) -> Peer {
        self.peer
    }

    /// When it was received, if that was noted.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(super) fn method(&self) -> Method {
        Method::from_name(self.request.method().as_str())
    }

    /// The first line, as it came.
    pub(super) fn request_line(&self) -> String {
        let (method, target) = (self.request.method(), self.request.url());
        format!("{method} {target} HTTP/{}", self.request.http_version())
    }

    /// The request's head as a value.
    pub(super) fn request(&self) -> Request<'_> {
        let mut request = Request::new(self.method(), self.request.url());
        request.protocol = match self.request.http_version() {
            tiny_http::HTTPVersion(0, _) => Protocol::Http09,
            tiny_http::HTTPVersion(1, 0) => Protocol::Http10,
            _ => Protocol::Http11,
        };
        let headers = self.request.headers().iter();
        request.fields = headers
            .map(|h| (h.field.as_str().as_str(), h.value.as_str().as_bytes()))
            .collect();
        request
    }

    /// Whether reading the content does not wait for the client.
    pub(super) fn content_is_here(&self) -> bool {
        self.first("Transfer-Encoding").is_none()
            && match self.request.body_length() {
                None | Some(0) => true,
                Some(length) => {
                    length <= READ_AHEAD && !self.expects_continue() && !self.asks_upgrade()
                }
            }
    }

    /// Whether its answer may be held back until there is a change.
    pub(super) fn may_wait(&self) -> bool {
        self.method().is_read() && self.first("Prefer").is_some()
    }

    /// Whether the client waits to be told of a problem before it sends the content. Any other
    /// sends it in any case, and is answered when it has.
    pub(super) fn waits_for_answer(&self) -> bool {
        self.expects_continue() && !self.content_is_here()
    }

    /// Reads the content, waiting for it where it is not here.
    pub(super) fn read_content(
        &mut self,
        framing: Framing,
        limit: u64,
    ) -> Result<Vec<u8>, Unreadable> {
        let mut content = Vec::new();
        let (most, announced) = match framing {
            Framing::Empty => return Ok(content),
            Framing::Length(length) => (length, length),
            Framing::Chunked if self.asks_upgrade() => {
                return Err(Unreadable::Refused(Refusal::ChunksBesideUpgrade));
            }
            Framing::Chunked => (limit.saturating_add(1), 0),
        };
        let reader = self.request.as_reader();
        match reader.take(most).read_to_end(&mut content) {
            Ok(read) if read as u64 > limit => {
                Err(Unreadable::Refused(Refusal::ContentTooLong { limit }))
            }
            Ok(read) => {
                self.read = true;
                if (read as u64) < announced {
                    return Err(Unreadable::Refused(Refusal::ContentTruncated));
                }
                Ok(content)
            }
            // What tiny_http's decoder says to malformed chunks, and to a missing end. An end in
            // the middle of a chunk it takes for the right one, which cannot be told from here.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Unreadable::Refused(Refusal::ContentMalformed))
            }
            Err(error) if is_timeout(&error) => {
                self.late = true;
                Err(Unreadable::Refused(Refusal::ContentLate))
            }
            Err(_) => Err(Unreadable::Gone),
        }
    }

    /// Whether the connection goes on after this refusal. Where the next request begins may be
    /// unclear, and `tiny_http` may look for it elsewhere than [`Framing`].
    pub(super) fn persistence_after(&self, refusal: Refusal) -> Persistence {
        match refusal {
            Refusal::ContentTooLong { .. } if self.request.body_length().is_none() => {
                Persistence::Close
            }
            refusal if refusal.leaves_framing_clear() => Persistence::Open,
            _ => Persistence::Lost,
        }
    }

    fn unread(&self, limit: u64) -> Unread {
        if self.read || self.content_is_here() || self.asks_upgrade() {
            return Unread::Nothing;
        }
        match self.request.body_length() {
            // If the client goes away meanwhile, tiny_http sets so much memory aside for a moment.
            // Content within the limit must fit into it in any case.
            Some(length) if length as u64 <= limit.max(DRAINABLE) => Unread::Some,
            Some(length) if length as u64 <= DISCARDABLE => Unread::Much,
            Some(_) => Unread::TooMuch,
            None => Unread::Chunks,
        }
    }

    /// The answer to be written, whatever was read of the content.
    ///
    /// `limit` is the longest content that is accepted.
    pub(super) fn answer(self, response: Response, limit: u64, persists: Persistence) -> Answer {
        let (unread, is_last) = (self.unread(limit), self.is_last());
        let open = persists == Persistence::Open;
        let lost = persists == Persistence::Lost;
        let after = match unread {
            // Where tiny_http ends the connection, nothing follows.
            Unread::Nothing if open || is_last => After::Nothing,
            Unread::Nothing => After::Close,
            // Unread chunks may be dropped.
            Unread::Chunks if lost && is_last => After::Nothing,
            Unread::TooMuch => After::Leak,
            // Its requests could not be told from others, and would be performed.
            _ if lost && !is_last && !self.peer.has_timeouts() => After::Leak,
            // Its client has been silent long enough.
            _ if self.late => After::Close,
            Unread::Some if open || is_last => After::Drain,
            Unread::Some | Unread::Much | Unread::Chunks => After::DrainAndClose,
        };
        match after {
            After::Nothing => self.answer_and_drop(response, after),
            After::Close if unread == Unread::Nothing => self.answer_and_drop(response, after),
            _ => self.answer_and_keep(response, after),
        }
    }

    /// Drops the request, and keeps the answer and the writing side of the connection.
    fn answer_and_drop(self, response: Response, after: After) -> Answer {
        let message = response.into_http1(self.connection(after != After::Nothing));
        Answer::new(Stream::Writer(self.request.into_writer()), message, after)
    }

    /// Writes the head of the answer and keeps both sides of the connection.
    ///
    /// There is one way to be given them instead of having the request dropped: to answer as if
    /// the protocol were to change. The answer has to name a protocol; that we speak HTTP/1.1 is
    /// at least true.
    fn answer_and_keep(self, response: Response, after: After) -> Answer {
        let connection = self.connection(after != After::Drain);
        let head = head_of(&response, connection);
        let both = self.request.upgrade("HTTP/1.1", head);
        Answer::new(Stream::Both(both), response.into_content(), after)
    }

    /// Drops the request without an answer.
    pub(super) fn discard(self, limit: u64) {
        match self.unread(limit) {
            Unread::TooMuch => std::mem::forget(self.request),
            _ => drop(self.request.into_writer()),
        }
    }

    /// Whether `tiny_http` ends the connection after this request: it looks at the first
    /// Connection field, and finds words anywhere in it.
    fn is_last(&self) -> bool {
        let asked = self
            .first("Connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        asked.contains("close")
            || asked.contains("upgrade")
            || self.is_http10() && !asked.contains("keep-alive")
    }

    /// The Connection field of the answer. A `close` that `tiny_http` does not see is for the
    /// client to obey.
    fn connection(&self, last: bool) -> Option<&'static str> {
        if last || self.is_last() || self.asks_close() {
            Some("close")
        } else {
            self.is_http10().then_some("keep-alive")
        }
    }

    fn asks_close(&self) -> bool {
        let headers = self.request.headers().iter();
        headers
            .filter(|header| header.field.equiv("Connection"))
            .flat_map(|header| header.value.as_str().split(','))
            .any(|option| option.trim().eq_ignore_ascii_case("close"))
    }

    fn is_http10(&self) -> bool {
        *self.request.http_version() == tiny_http::HTTPVersion(1, 0)
    }

    fn expects_continue(&self) -> bool {
        // tiny_http has refused any other expectation.
        self.first("Expect").is_some()
    }

    /// Whether `tiny_http` leaves the connection's content undelimited, for another protocol.
    fn asks_upgrade(&self) -> bool {
        let asked = self.first("Connection").unwrap_or_default();
        asked.to_ascii_lowercase().contains("upgrade")
    }

    fn first(&self, name: &'static str) -> Option<&str> {
        let header = self
            .request
            .headers()
            .iter()
            .find(|header| header.field.equiv(name));
        header.map(|header| header.value.as_str())
    }
}

/// The head of a response as `tiny_http` takes it.
///
/// It drops a Connection field and a Content-Length that it is given. So these stand behind a line
/// break in the value of another field, which this version of it passes on as it is. All these
/// values are ours and no client's.
fn head_of(response: &Response, connection: Option<&str>) -> tiny_http::Response<io::Empty> {
    let mut headers = Vec::new();
    for (name, value) in response
        .fields()
        .iter()
        .filter(|(name, _)| *name != "Content-Length")
    {
        let mut value = value.to_string();
        if *name == "Server" {
            let length = response.field("Content-Length");
            let dropped = [("Connection", connection), ("Content-Length", length)];
            for (name, dropped) in dropped {
                value += &dropped.map_or(String::new(), |dropped| format!("\r\n{name}: {dropped}"));
            }
        }
        headers.extend(tiny_http::Header::from_bytes(*name, value));
    }
    let status = tiny_http::StatusCode(response.status());
    tiny_http::Response::new(status, headers, io::empty(), Some(0), None)
}
