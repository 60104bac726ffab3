//! A request of `tiny_http`: its head, its content, and the end of its connection.

use std::io::{self, Read};
use std::time::Instant;

use crate::framing::{Framing, MAX_DRAINED_FOR_REUSE, Refusal};
use crate::message::{Protocol, Request, Response};
use crate::method::Method;
use crate::server::tiny_http::peer::Peer;
use crate::server::tiny_http::response_writer::{
    After, MAX_DRAINED_BEFORE_END, ResponseWriter, Stream, is_timeout,
};

/// The longest content that `tiny_http` reads into memory before it hands a request over, in bytes.
const READ_AHEAD: usize = 1024;

/// A request as `tiny_http` hands it over.
///
/// It must not be dropped with unread content. When `tiny_http` drops a request, or the stream ends in
/// its content, it reads the rest into memory of the *announced* length: a client that announces
/// terabytes would end the process. Of chunked content it does not read the rest at all, and takes it
/// for the next request. So [`Self::unread`] decides whether a request may be dropped.
pub(super) struct RawRequest {
    request: tiny_http::Request,
    pub(super) peer: Peer,
    /// For the access log; `None` without one.
    pub(super) received_at: Option<Instant>,
    /// Whether the content has been read to its end.
    is_read: bool,
    /// Whether reading the content has timed out.
    is_late: bool,
}

/// The unread content of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// None that would have to be read.
    Nothing,
    /// So short that the connection continues after it has been discarded.
    Short,
    /// So long that the connection ends after it has been discarded.
    Long,
    /// Longer than [`MAX_DRAINED_BEFORE_END`]: it is never read.
    TooLong,
    /// Chunks, whose length is unknown, and which may be malformed.
    Chunked,
}

/// Whether a connection continues after a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    KeepAlive,
    Close,
    /// It must not, since the beginning of the next request is unclear.
    FramingLost,
}

impl RawRequest {
    pub(super) fn new(request: tiny_http::Request, received_at: Option<Instant>) -> Self {
        Self {
            peer: Peer::of(&request),
            request,
            received_at,
            is_read: false,
            is_late: false,
        }
    }

    pub(super) fn method(&self) -> Method {
        Method::from_name(self.request.method().as_str())
    }

    /// The request line, rebuilt from what `tiny_http` parsed.
    pub(super) fn request_line(&self) -> String {
        let (method, target) = (self.request.method(), self.request.url());
        format!("{method} {target} HTTP/{}", self.request.http_version())
    }

    /// The request without its content.
    pub(super) fn head(&self) -> Request<'_> {
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

    /// Whether the content can be read without waiting for the client.
    pub(super) fn content_is_buffered(&self) -> bool {
        let is_read_ahead = |length| {
            length <= READ_AHEAD && !self.expects_continue() && !self.tiny_http_finds("upgrade")
        };
        self.first("Transfer-Encoding").is_none()
            && (self.request.body_length()).is_none_or(|it| it == 0 || is_read_ahead(it))
    }

    /// Whether the response may be held back until there is a change.
    pub(super) fn may_wait_for_change(&self) -> bool {
        self.method().is_read() && self.first("Prefer").is_some()
    }

    /// Whether the client waits for `100 Continue` before it sends the content, so that it may get a
    /// final response first.
    pub(super) fn awaits_continue(&self) -> bool {
        self.expects_continue() && !self.content_is_buffered()
    }

    /// Reads the content, which may block until the client has sent it.
    pub(super) fn read_content(
        &mut self,
        framing: Framing,
        limit: u64,
    ) -> Result<Vec<u8>, Refusal> {
        let mut content = Vec::new();
        let (max, announced) = match framing {
            Framing::Empty => return Ok(content),
            Framing::Length(length) => (length, length),
            Framing::Chunked if self.tiny_http_finds("upgrade") => {
                return Err(Refusal::ChunksBesideUpgrade);
            }
            Framing::Chunked => (limit.saturating_add(1), 0),
        };
        let reader = self.request.as_reader();
        match reader.take(max).read_to_end(&mut content) {
            Ok(read) if read as u64 > limit => Err(Refusal::ContentTooLong { limit }),
            Ok(read) => {
                self.is_read = true;
                if (read as u64) < announced {
                    return Err(Refusal::ContentTruncated);
                }
                Ok(content)
            }
            // This is the error of tiny_http's decoder for malformed chunks and for a missing last
            // chunk. It reports no error if the stream ends in the middle of a chunk.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Refusal::ContentMalformed)
            }
            Err(error) if is_timeout(&error) => {
                self.is_late = true;
                Err(Refusal::ContentLate)
            }
            // The connection is broken.
            Err(_) => Err(Refusal::ContentTruncated),
        }
    }

    /// Whether the connection continues after this refusal. The beginning of the next request may be
    /// unclear, and `tiny_http` may look for it in another place than [`Framing`] does.
    pub(super) fn persistence_after(&self, refusal: Refusal) -> Persistence {
        match refusal {
            Refusal::ContentTooLong { .. } if self.request.body_length().is_none() => {
                Persistence::Close
            }
            refusal if refusal.leaves_framing_clear() => Persistence::KeepAlive,
            _ => Persistence::FramingLost,
        }
    }

    fn unread(&self, limit: u64) -> Unread {
        if self.is_read || self.content_is_buffered() || self.tiny_http_finds("upgrade") {
            return Unread::Nothing;
        }
        match self.request.body_length() {
            // If the client disconnects meanwhile, tiny_http allocates memory of this length, which
            // is available: content up to the limit needs it as well.
            Some(length) if length as u64 <= limit.max(MAX_DRAINED_FOR_REUSE) => Unread::Short,
            Some(length) if length as u64 <= MAX_DRAINED_BEFORE_END => Unread::Long,
            Some(_) => Unread::TooLong,
            None => Unread::Chunked,
        }
    }

    /// The response to be written, and what happens afterwards to the unread content.
    ///
    /// `limit` is the longest content that is accepted.
    pub(super) fn into_response_writer(
        self,
        response: Response,
        limit: u64,
        persistence: Persistence,
    ) -> ResponseWriter {
        let (unread, is_last) = (self.unread(limit), self.is_last());
        let keep_alive = persistence == Persistence::KeepAlive;
        let framing_lost = persistence == Persistence::FramingLost;
        let after = match unread {
            // If tiny_http ends the connection, no request follows.
            Unread::Nothing if keep_alive || is_last => After::Nothing,
            Unread::Nothing => After::Refuse,
            // Unread chunks may be dropped.
            Unread::Chunked if framing_lost && is_last => After::Nothing,
            Unread::TooLong => After::Forget,
            // On a Unix-domain socket later requests cannot be assigned to this connection, and would
            // be performed.
            _ if framing_lost && !is_last && !self.peer.has_timeouts() => After::Forget,
            // Draining would wait for the timeout once more.
            _ if self.is_late => After::Refuse,
            Unread::Short if keep_alive || is_last => After::Drain,
            Unread::Short | Unread::Long | Unread::Chunked => After::DrainAndRefuse,
        };
        if unread == Unread::Nothing || after == After::Nothing {
            self.keep_sending_half(response, after)
        } else {
            self.keep_both_halves(response, after)
        }
    }

    /// Drops the request, and keeps the response and the sending half of the connection.
    fn keep_sending_half(self, response: Response, after: After) -> ResponseWriter {
        let message = response.into_http1(self.connection(after != After::Nothing));
        ResponseWriter::new(
            Stream::SendingHalf(self.request.into_writer()),
            message,
            after,
        )
    }

    /// Writes the head of the response and keeps both halves of the connection.
    ///
    /// `tiny_http` hands the halves over only for an upgrade, so that the response has to name a
    /// protocol. It names the one that is spoken: HTTP/1.1.
    fn keep_both_halves(self, response: Response, after: After) -> ResponseWriter {
        let connection = self.connection(after != After::Drain);
        let head = tiny_http_head(&response, connection);
        let both = self.request.upgrade("HTTP/1.1", head);
        ResponseWriter::new(Stream::Both(both), response.into_content(), after)
    }

    /// Drops the request without a response.
    pub(super) fn discard(self, limit: u64) {
        match self.unread(limit) {
            Unread::TooLong => std::mem::forget(self.request),
            _ => drop(self.request.into_writer()),
        }
    }

    /// Whether `tiny_http` ends the connection after this request.
    fn is_last(&self) -> bool {
        self.tiny_http_finds("close")
            || self.tiny_http_finds("upgrade")
            || self.is_http10() && !self.tiny_http_finds("keep-alive")
    }

    /// The value of the Connection field of the response.
    fn connection(&self, closes: bool) -> Option<&'static str> {
        if closes || self.is_last() {
            Some("close")
        } else {
            self.is_http10().then_some("keep-alive")
        }
    }

    /// Whether any Connection field has the option `close`.
    pub(super) fn has_close_option(&self) -> bool {
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
        // tiny_http refuses any other expectation itself.
        self.first("Expect").is_some()
    }

    /// Whether `tiny_http` finds this word in the Connection field. It looks for it anywhere in the
    /// first one. After `upgrade` it does not delimit the content, since it expects another protocol.
    fn tiny_http_finds(&self, word: &str) -> bool {
        let asked = self.first("Connection").unwrap_or_default().as_bytes();
        let mut parts = asked.windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    }

    fn first(&self, name: &'static str) -> Option<&str> {
        let mut headers = self.request.headers().iter();
        let header = headers.find(|header| header.field.equiv(name))?;
        Some(header.value.as_str())
    }
}

/// The head of a response for `tiny_http`.
///
/// `tiny_http` removes Connection and Content-Length fields. So they are appended to the value of Server
/// after a line break, which this version writes unchanged. No value comes from a client.
fn tiny_http_head(response: &Response, connection: Option<&str>) -> tiny_http::Response<io::Empty> {
    let length = response.field("Content-Length");
    let removed = [("Connection", connection), ("Content-Length", length)];
    let lines = removed.map(|(name, value)| value.map(|it| format!("\r\n{name}: {it}")));
    let restored = lines.map(Option::unwrap_or_default).concat();
    let mut headers = Vec::new();
    for (name, value) in response.fields() {
        let value = match *name {
            "Content-Length" => continue,
            "Server" => format!("{value}{restored}"),
            _ => value.to_string(),
        };
        headers.extend(tiny_http::Header::from_bytes(*name, value));
    }
    let status = tiny_http::StatusCode(response.status());
    tiny_http::Response::new(status, headers, io::empty(), Some(0), None)
}
