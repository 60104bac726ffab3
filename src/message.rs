//! Requests and responses as values.

use std::borrow::Cow;
use std::time::Duration;

use crate::document::Id;
use crate::entity_tag::EntityTag;
use crate::http_date::HttpDate;
use crate::method::Method;
use crate::validators::{Validators, etag_line};
use crate::version::Version;

/// The version of HTTP in which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/0.9: refused, because it has no fields and no status codes.
    Http09,
    /// HTTP/1.0: Host is optional, and the connection is closed after the response, unless the request
    /// asks for keep-alive.
    Http10,
    /// HTTP/1.1: Host is required, and the connection stays open, unless the request asks for `close`.
    Http11,
}

/// A request as a value. It borrows its parts from the server that received them.
///
/// ```
/// use ifmatch::{Method, Request};
///
/// let request = Request::new(Method::Put, "/persons/1")
///     .with_field("If-Match", r#""42e98b50d35eb07fc6d595d019cc91c7""#)
///     .with_content(br#"{"person_name": "Wim"}"#);
/// assert_eq!(request.field_lines("if-match").count(), 1);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The request target as it is in the request line.
    pub target: &'a str,
    /// The protocol version.
    pub protocol: Protocol,
    /// The field lines in their order, name and value; the values without white space around them.
    ///
    /// The values are bytes, so that one which is not UTF-8 is kept: without its If-Match a request
    /// would have another meaning.
    pub fields: Vec<(&'a str, &'a [u8])>,
    /// The content, without its transfer coding; empty when there is none.
    pub content: &'a [u8],
}

impl<'a> Request<'a> {
    /// A request without fields and content.
    #[must_use]
    pub fn new(method: Method, target: &'a str) -> Self {
        Self {
            method,
            target,
            protocol: Protocol::Http11,
            fields: Vec::new(),
            content: b"",
        }
    }

    /// The request with one more field line; the value is text or bytes.
    #[must_use]
    pub fn with_field(mut self, name: &'a str, value: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        self.fields.push((name, value.as_ref()));
        self
    }

    /// The request with this content.
    #[must_use]
    pub fn with_content(self, content: &'a [u8]) -> Self {
        Self { content, ..self }
    }

    /// The values of all field lines of this name, in any case, in order.
    ///
    /// [RFC 9110 section 5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)
    pub fn field_lines(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The same as text. Bytes that are not UTF-8 become U+FFFD, so that the text equals no known
    /// value.
    pub(crate) fn field_texts(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.field_lines(name).map(String::from_utf8_lossy)
    }
}

/// A response as a value.
///
/// Content-Length is the length of the content, or in a response to HEAD the length of the content
/// that GET would get. 304 and 204 have no Content-Length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<FieldLine>,
    content: Vec<u8>,
    failure: Option<String>,
    wait: Option<Box<Wait>>,
    is_unlogged: bool,
}

/// A field line of a [`Response`]: its name, and its value.
pub type FieldLine = (&'static str, Cow<'static, str>);

impl Response {
    /// A response without fields and content.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::with_capacity(8),
            content: Vec::new(),
            failure: None,
            wait: None,
            is_unlogged: false,
        }
    }

    /// Marks the response as one to a health check, which is not logged.
    pub(crate) fn unlogged(self) -> Self {
        Self {
            is_unlogged: true,
            ..self
        }
    }

    /// The response with the reason why the store failed.
    pub(crate) fn with_failure(self, reason: String) -> Self {
        Self {
            failure: Some(reason),
            ..self
        }
    }

    /// The response, which may be held back until this change.
    pub(crate) fn with_wait(self, wait: Wait) -> Self {
        Self {
            wait: Some(wait.into()),
            ..self
        }
    }

    /// The response to a request that has waited for a change: if its status is 200, 304 or 404,
    /// Preference-Applied says so.
    ///
    /// [RFC 7240 section 3](https://www.rfc-editor.org/rfc/rfc7240#section-3)
    #[must_use]
    pub fn waited(self, wait: &Wait) -> Self {
        if !matches!(self.status, 200 | 304 | 404) {
            return self;
        }
        let seconds = wait.limit.as_secs();
        self.with_field("Preference-Applied", format!("wait={seconds}"))
    }

    /// The response with one more field line.
    ///
    /// The value must not have a line break: the caller encodes values that come from a client.
    pub(crate) fn with_field(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The response with the field lines of the validators: `ETag` and `Last-Modified`.
    pub(crate) fn with_validators(self, validators: &Validators, now: HttpDate) -> Self {
        let lines = validators.field_lines(now);
        lines.fold(self, |response, (name, value)| {
            response.with_field(name, value)
        })
    }

    /// The response with `ETag`.
    pub(crate) fn with_entity_tag(self, entity_tag: &EntityTag) -> Self {
        let (name, value) = etag_line(entity_tag);
        self.with_field(name, value)
    }

    /// The response with one more request field in Vary, on which the response depends.
    pub(crate) fn with_vary(mut self, field: &str) -> Self {
        let vary = self.fields.iter_mut().find(|(name, _)| *name == "Vary");
        match vary {
            Some((_, fields)) => *fields = format!("{fields}, {field}").into(),
            None => self.fields.push(("Vary", field.to_owned().into())),
        }
        self
    }

    /// The response with content of this type, and its length.
    pub(crate) fn with_content(self, content_type: &'static str, content: Vec<u8>) -> Self {
        let length = content.len().to_string();
        Self { content, ..self }
            .with_field("Content-Type", content_type)
            .with_field("Content-Length", length)
    }

    /// The response as HEAD gets it: every field, no content.
    pub(crate) fn without_content(self) -> Self {
        Self {
            content: Vec::new(),
            ..self
        }
    }

    /// The status code.
    ///
    /// [RFC 9110 section 15](https://www.rfc-editor.org/rfc/rfc9110#section-15)
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The field lines, name and value, in the order in which they are sent.
    #[must_use]
    pub fn fields(&self) -> &[FieldLine] {
        &self.fields
    }

    /// The value of the first field line of this name, in any case.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let line = self
            .fields
            .iter()
            .find(|(given, _)| given.eq_ignore_ascii_case(name));
        line.map(|(_, value)| &**value)
    }

    /// The content; empty when there is none.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Why the store failed: the text of its [`StoreError`](crate::StoreError), for the log. It is not
    /// sent to the client.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The change until which the response may be held back, if the client prefers to wait.
    #[must_use]
    pub fn wait(&self) -> Option<&Wait> {
        self.wait.as_deref()
    }

    /// Whether the response is not logged, because a health check has succeeded, as it does every few
    /// seconds.
    pub(crate) fn is_unlogged(&self) -> bool {
        self.is_unlogged
    }

    /// Takes the response apart: the status code, the field lines in the order in which they are
    /// sent, and the content.
    #[must_use]
    pub fn into_parts(self) -> (u16, Vec<FieldLine>, Vec<u8>) {
        (self.status, self.fields, self.content)
    }

    /// The content alone.
    pub(crate) fn into_content(self) -> Vec<u8> {
        self.content
    }

    /// The response as HTTP/1.1 sends it, in one piece, with a Connection field if one is given.
    ///
    /// The head is inserted before the content in the same buffer, so that long content is not held
    /// twice.
    pub(crate) fn into_http1(self, connection: Option<&str>) -> Vec<u8> {
        let (status, reason) = (self.status.to_string(), reason_phrase(self.status));
        let mut head = ["HTTP/1.1 ", &status, " ", reason, "\r\n"].concat();
        head.reserve(512);
        let fields = self.fields.iter().map(|(name, value)| (*name, &**value));
        let connection = connection.map(|value| ("Connection", value));
        for (name, value) in fields.chain(connection) {
            for text in [name, ": ", value, "\r\n"] {
                head.push_str(text);
            }
        }
        head.push_str("\r\n");
        let mut message = self.content;
        message.splice(..0, head.into_bytes());
        message
    }
}

/// The longest wait for a change. It is shorter than the 60 seconds after which proxies time out.
pub const MAX_WAIT: Duration = Duration::from_secs(55);

/// The change until which a 304 may be held back: the client has the current representation, and
/// prefers a response when it changes or when the time is over (long polling).
///
/// The caller of [`respond`](crate::respond) holds the 304 back, or sends it at once. To hold it back, wait
/// until the document has changed, or any document of the collection if there is no `id`, or until
/// the time is over. Then call `respond` again, and send its response, changed by
/// [`Response::waited`].
///
/// The preference `wait` of [RFC 7240 section 4.3](https://www.rfc-editor.org/rfc/rfc7240#section-4.3)
/// says how long a client is willing to wait for a response. Holding a 304 back for it is a convention of
/// servers with long polling; no RFC defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The name of the collection.
    pub collection: String,
    /// The document; `None` if the request is for a list.
    pub id: Option<Id>,
    /// The version that the client has.
    pub version: Version,
    /// The longest time to wait, in whole seconds, at most [`MAX_WAIT`].
    pub limit: Duration,
}

/// The reason phrase of each status this server sends.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}
