use std::io::{self, Cursor, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::framing::{Framing, Refusal};
use crate::message::{Method, Protocol, Request, Response};
use crate::server::delivery::Delivery;

/// The most content that `tiny_http` reads into memory by itself.
const READ_AHEAD: usize = 1024;

/// The longest unread content that `tiny_http` is trusted to read and throw away, in bytes.
///
/// It sets that much memory aside at once, so this must always be to be had.
const DRAINABLE: u64 = 8 * 1024 * 1024;

/// A request as `tiny_http` hands it over, and what must be known about `tiny_http` to let go of
/// it again.
///
/// Letting go is the difficult part. When such a request is dropped, `tiny_http` reads what is
/// left of its content, into memory of the *announced* length: a client that announces terabytes
/// would end the process. What is left of chunked content it does not read at all, and takes it
/// for the next request. So a request is only ever dropped where [`Self::unread`] says that it
/// does no harm.
pub(super) struct Arrival {
    request: tiny_http::Request,
    /// Whether the content has been read to its end.
    read: bool,
}

/// What was not read of a request's content.
#[derive(Clone, Copy)]
pub(super) enum Unread {
    /// Nothing that anybody would have to read.
    Nothing,
    /// As much as `tiny_http` can be trusted to throw away.
    Drained,
    /// What it would deal with badly: the request must be held.
    Undrainable(Hold),
}

/// For how long a request is held.
#[derive(Clone, Copy)]
pub(super) enum Hold {
    /// For ever: dropping it would need the announced memory.
    ForEver,
    /// Until the client has closed the connection.
    UntilClosed,
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
        }
    }

    /// The client's address, by which its connection is told from others.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.request.remote_addr().copied()
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
        match self
            .request
            .as_reader()
            .take(most)
            .read_to_end(&mut content)
        {
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
            // What tiny_http's decoder says to malformed chunks, and to a missing end, but for one
            // in the middle of a chunk, which it takes for the end. That cannot be told from here,
            // and does no harm: of a JSON object, no beginning is another one.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Unreadable::Refused(Refusal::ContentMalformed))
            }
            Err(_) => Err(Unreadable::Gone),
        }
    }

    /// Whether `tiny_http` and [`Framing`] disagree about where the next request begins.
    pub(super) fn loses_framing(&self, refusal: Refusal) -> bool {
        match refusal {
            Refusal::TargetTooLong
            | Refusal::HostMissing
            | Refusal::HostRepeated
            | Refusal::HostMalformed => false,
            Refusal::ContentTooLong { .. } => self.request.body_length().is_none(),
            _ => true,
        }
    }

    /// What would be left of the content if the request were dropped now. Content up to `limit`
    /// bytes must fit into memory in any case.
    pub(super) fn unread(&self, limit: u64) -> Unread {
        if self.read || self.content_is_here() || self.asks_upgrade() {
            return Unread::Nothing;
        }
        match self.request.body_length() {
            Some(length) if length as u64 <= limit.max(DRAINABLE) => Unread::Drained,
            Some(_) => Unread::Undrainable(Hold::ForEver),
            None => Unread::Undrainable(Hold::UntilClosed),
        }
    }

    /// The answer, ready to be written in one piece. Nothing may be unread.
    pub(super) fn deliver(self, response: &Response, last: bool) -> Delivery {
        let message = response.to_http1(self.connection(last));
        Delivery::new(self.request.into_writer(), message)
    }

    /// Writes the answer, then lets `tiny_http` read and throw away the content, however long
    /// the client takes to send it.
    pub(super) fn answer_and_drain(self, response: &Response) {
        let told = as_told(
            response,
            self.connection(false),
            Tail::end(response.content()),
        );
        // A client that does not want its answer needs no other.
        let _ = self.request.respond(told);
    }

    /// Writes the answer and keeps the request, and its connection with it.
    ///
    /// `tiny_http` sends what a [`Read`] gives it; one that does not end is what keeps the request
    /// from being dropped. For HEAD it reads nothing. Such a request is dropped where that costs
    /// no memory, or else answered as one for another protocol, which gives us the connection's
    /// two ends, never to be dropped. That answer says that we know HTTP/1.1, which is true.
    pub(super) fn answer_and_hold(self, response: &Response, hold: Hold) {
        let told = as_told(
            response,
            Some("close"),
            Tail::hold(response.content(), hold),
        );
        match (self.request.method(), hold) {
            (tiny_http::Method::Head, Hold::ForEver) => {
                std::mem::forget(self.request.upgrade("HTTP/1.1", told));
            }
            _ => _ = self.request.respond(told),
        }
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
/// It drops a Connection field that it is given. So this one stands behind a line break in the
/// value of another field, which it passes on as it is; the text is ours and no client's.
fn as_told(response: &Response, connection: Option<&str>, tail: Tail) -> tiny_http::Response<Tail> {
    let length = tail.content.get_ref().len();
    let mut headers = Vec::new();
    for (name, value) in response
        .fields()
        .iter()
        .filter(|(name, _)| *name != "Content-Length")
    {
        let value = match connection {
            Some(connection) if *name == "Server" => format!("{value}\r\nConnection: {connection}"),
            _ => value.clone(),
        };
        headers.extend(tiny_http::Header::from_bytes(*name, value));
    }
    let status = tiny_http::StatusCode(response.status());
    tiny_http::Response::new(status, headers, tail, Some(length), None)
        .with_chunked_threshold(usize::MAX)
}

/// Content that `tiny_http` sends, and what comes after its end.
struct Tail {
    content: Cursor<Vec<u8>>,
    hold: Option<Hold>,
    pause: Duration,
}

impl Tail {
    fn end(content: &[u8]) -> Self {
        let content = Cursor::new(content.to_vec());
        Self {
            content,
            hold: None,
            pause: Duration::from_secs(1),
        }
    }

    /// White space is added up to the size at which `tiny_http` passes content on at once.
    fn hold(content: &[u8], hold: Hold) -> Self {
        let mut tail = Self {
            hold: Some(hold),
            ..Self::end(content)
        };
        let padded = content.len().max(READ_AHEAD);
        tail.content.get_mut().resize(padded, b' ');
        tail
    }
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.content.read(buffer)?;
        if read > 0 {
            return Ok(read);
        }
        match self.hold {
            None => Ok(0),
            Some(Hold::ForEver) => loop {
                thread::park();
            },
            // The client was told that the connection ends here. Once it has closed it, writing
            // fails; until then line breaks between two messages mean nothing (RFC 9112 section
            // 2.2).
            Some(Hold::UntilClosed) => {
                thread::sleep(self.pause);
                self.pause *= 2;
                let breaks = buffer.len().min(READ_AHEAD);
                buffer
                    .iter_mut()
                    .take(breaks)
                    .for_each(|byte| *byte = b'\n');
                Ok(breaks)
            }
        }
    }
}
