use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::Instant;

use crate::framing::{Framing, Refusal};
use crate::message::{Method, Protocol, Request, Response};
use crate::server::delivery::{Delivery, Line, Then};

/// The most content that `tiny_http` reads into memory by itself.
const READ_AHEAD: usize = 1024;

/// The longest unread content that is left to `tiny_http` to read and throw away, in bytes. It
/// sets that much memory aside, for as long as the client takes.
const LITTLE: u64 = 256 * 1024;

/// The longest content that is read and thrown away at all, in bytes. If the client goes away
/// meanwhile, `tiny_http` sets so much memory aside for a moment.
const MUCH: u64 = 16 * 1024 * 1024;

/// A request as `tiny_http` hands it over, and what must be known about `tiny_http` to let go of
/// it again.
///
/// Letting go is the difficult part. When such a request is dropped, or the end of the stream met
/// in its content, `tiny_http` reads what is left, into memory of the *announced* length: a client
/// that announces terabytes would end the process. What is left of chunked content it does not
/// read at all, and takes it for the next request. So a request is only dropped where
/// [`Self::unread`] says that it does no harm.
pub(super) struct Arrival {
    request: tiny_http::Request,
    /// Whether the content has been read to its end.
    read: bool,
    since: Instant,
}

/// How much of a request's content was not read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unread {
    /// Nothing that anybody would have to read.
    Nothing,
    /// So little that `tiny_http` may throw it away.
    Little,
    /// So much that it is better thrown away piece by piece.
    Much,
    /// So much that it must never be asked for.
    TooMuch,
    /// Chunks, which may not even be any.
    Chunks,
}

/// Why content was not read.
pub(super) enum Unreadable {
    Refused(Refusal),
    /// The connection is broken.
    Gone,
}

impl Arrival {
    pub(super) fn new(request: tiny_http::Request) -> Self {
        Self {
            request,
            read: false,
            since: Instant::now(),
        }
    }

    /// The client's address, by which its connection is told from others.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.request.remote_addr().copied()
    }

    /// When it was received.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// The first line, as it came.
    pub(super) fn request_line(&self) -> String {
        let (method, target) = (self.request.method(), self.request.url());
        format!("{method} {target} HTTP/{}", self.request.http_version())
    }

    /// The request's head as a value.
    pub(super) fn request(&self) -> Request<'_> {
        let method = Method::from_name(self.request.method().as_str());
        let mut request = Request::new(method, self.request.url());
        if self.is_http10() {
            request.protocol = Protocol::Http10;
        }
        let headers = self.request.headers().iter();
        request.fields = headers
            .map(|h| (h.field.as_str().as_str(), h.value.as_str()))
            .collect();
        request
    }

    /// Whether reading the content waits for nobody.
    pub(super) fn content_is_here(&self) -> bool {
        self.first("Transfer-Encoding").is_none()
            && match self.request.body_length() {
                None | Some(0) => true,
                Some(length) => {
                    length <= READ_AHEAD && !self.expects_continue() && !self.asks_upgrade()
                }
            }
    }

    /// Whether a problem is better told before the content is read.
    ///
    /// Chunks on their way are better read than left: the connection could not go on after them.
    pub(super) fn wants_early_answer(&self, framing: Framing) -> bool {
        match framing {
            Framing::Empty => false,
            Framing::Length(_) => !self.content_is_here(),
            Framing::Chunked => self.expects_continue(),
        }
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
                return Err(Unreadable::Refused(Refusal::ContentMalformed));
            }
            Framing::Chunked => (limit.saturating_add(1), 0),
        };
        let reader = self.request.as_reader();
        match reader.take(most).read_to_end(&mut content) {
            Ok(read) if read as u64 > limit => {
                let rest = io::copy(&mut reader.take(MUCH), &mut io::sink());
                self.read = rest.is_ok_and(|rest| rest < MUCH);
                Err(Unreadable::Refused(Refusal::ContentTooLong { limit }))
            }
            Ok(read) => {
                self.read = true;
                if (read as u64) < announced {
                    return Err(Unreadable::Refused(Refusal::ContentTruncated));
                }
                Ok(content)
            }
            // What tiny_http's decoder says to malformed chunks, and to a missing end, but for one
            // in the middle of a chunk, which it takes for the end. That cannot be told from here,
            // and does no harm: of a JSON object, no beginning is another one.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Unreadable::Refused(Refusal::ContentMalformed))
            }
            Err(_) => Err(Unreadable::Gone),
        }
    }

    /// Whether it is unclear after this refusal where the next request begins: because nobody
    /// can tell, or because `tiny_http` looks for it elsewhere than [`Framing`].
    pub(super) fn loses_framing(&self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::TransferEncoding
            | Refusal::LengthBesideEncoding
            | Refusal::ContentLength
            | Refusal::ContentMalformed => true,
            Refusal::ContentTooLong { .. } => self.request.body_length().is_none() && !self.read,
            _ => false,
        }
    }

    fn unread(&self, limit: u64) -> Unread {
        if self.read || self.content_is_here() || self.asks_upgrade() {
            return Unread::Nothing;
        }
        match self.request.body_length() {
            // Content within the limit must fit into memory in any case.
            Some(length) if length as u64 <= limit.max(LITTLE) => Unread::Little,
            Some(length) if length as u64 <= MUCH => Unread::Much,
            Some(_) => Unread::TooMuch,
            None => Unread::Chunks,
        }
    }

    /// The answer on its way, whatever was read of the content; none where it is written already.
    ///
    /// `limit` is the longest content that is accepted, and `lost` says that nothing which follows
    /// on the connection is to be trusted.
    pub(super) fn answer(self, response: &Response, limit: u64, lost: bool) -> Option<Delivery> {
        match self.unread(limit) {
            Unread::Nothing => {
                let then = if lost { Then::Outlast } else { Then::Done };
                let message = response.to_http1(self.connection(lost));
                Some(Delivery::new(
                    Line::Writer(self.request.into_writer()),
                    message,
                    then,
                ))
            }
            Unread::Little => {
                let told = as_told(response, self.connection(lost), None);
                // A client that does not want its answer needs no other.
                let _ = self.request.respond(told);
                None
            }
            Unread::Much => Some(self.answer_and_keep(response, Then::Drain)),
            Unread::TooMuch => Some(self.answer_and_keep(response, Then::Forget)),
            Unread::Chunks => Some(self.answer_and_keep(response, Then::Outlast)),
        }
    }

    /// Writes the head of the answer and keeps both ends of the connection.
    ///
    /// There is one way to be given them instead of having the request dropped: to answer as if
    /// the protocol were to change. To what, the answer has to say, and that we know HTTP/1.1 is
    /// true.
    fn answer_and_keep(self, response: &Response, then: Then) -> Delivery {
        let connection = self.connection(then != Then::Drain);
        let told = as_told(response, connection, response.field("Content-Length"));
        let ends = self.request.upgrade("HTTP/1.1", told);
        Delivery::new(Line::Ends(ends), response.content().to_vec(), then)
    }

    /// Lets go of a request whose connection is broken, without an answer.
    pub(super) fn abandon(self) {
        drop(self.request.into_writer());
    }

    /// The Connection field of the answer.
    ///
    /// Whether the connection goes on is for `tiny_http` to say: it looks at the first such field
    /// of the request, and finds words anywhere in it. A `close` that it does not see is for the
    /// client to obey.
    fn connection(&self, last: bool) -> Option<&'static str> {
        let seen = self
            .first("Connection")
            .unwrap_or_default()
            .to_ascii_lowercase();
        let goes_on = !self.is_http10() || seen.contains("keep-alive");
        let ends = seen.contains("close") || seen.contains("upgrade") || !goes_on;
        if ends || last || self.asks_close() {
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

/// The response as `tiny_http` takes it.
///
/// It drops a Connection field that it is given, and a Content-Length where the protocol changes.
/// So these stand behind a line break in the value of another field, which it passes on as it is;
/// all three values are ours and no client's.
fn as_told(
    response: &Response,
    connection: Option<&str>,
    length: Option<&str>,
) -> tiny_http::Response<io::Cursor<Vec<u8>>> {
    let mut headers = Vec::new();
    for (name, value) in response
        .fields()
        .iter()
        .filter(|(name, _)| *name != "Content-Length")
    {
        let mut value = value.clone();
        if *name == "Server" {
            let smuggled = [("Connection", connection), ("Content-Length", length)];
            for (name, smuggled) in smuggled.iter().filter_map(|(n, v)| Some((n, (*v)?))) {
                value = format!("{value}\r\n{name}: {smuggled}");
            }
        }
        headers.extend(tiny_http::Header::from_bytes(*name, value));
    }
    let status = tiny_http::StatusCode(response.status());
    let content = response.content().to_vec();
    let length = content.len();
    tiny_http::Response::new(
        status,
        headers,
        io::Cursor::new(content),
        Some(length),
        None,
    )
    .with_chunked_threshold(usize::MAX)
}
