//! Requests and responses as values.

use std::borrow::Cow;
use std::time::Duration;

use crate::document::Id;
use crate::method::Method;
use crate::version::Version;

/// The version of HTTP in which a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/0.9: refused, because it has no fields and no statuses.
    Http09,
    /// HTTP/1.0: Host is optional, a connection ends with its answer.
    Http10,
    /// HTTP/1.1: Host is needed, a connection goes on.
    Http11,
}

/// A request as a value, borrowed from whatever received it.
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
    /// What is to be done.
    pub method: Method,
    /// The request target as it stood in the request line.
    pub target: &'a str,
    /// The protocol version.
    pub protocol: Protocol,
    /// The field lines in their order, name and value; values without the white space around.
    ///
    /// Values are bytes, because that is what clients send: a value that is not text must not get
    /// lost, for a request without If-Match is another request.
    pub fields: Vec<(&'a str, &'a [u8])>,
    /// The content, decoded; empty when there is none.
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

    /// The same as text. What is not UTF-8 shows as U+FFFD, and so equals nothing that is known.
    pub(crate) fn field_texts(&self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.field_lines(name).map(String::from_utf8_lossy)
    }
}

/// A response as a value.
///
/// It is framed by its Content-Length: that of the content, or for an answer to HEAD that of the
/// content GET would have got. 304 and 204 have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<FieldLine>,
    content: Vec<u8>,
    failure: Option<String>,
    wait: Option<Box<Wait>>,
    is_routine: bool,
}

/// A field line of a [`Response`]: its name, and its value.
pub type FieldLine = (&'static str, Cow<'static, str>);

impl Response {
    /// A response without content, and without a length.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::with_capacity(8),
            content: Vec::new(),
            failure: None,
            wait: None,
            is_routine: false,
        }
    }

    /// The response to a health check, of which logs do not tell.
    pub(crate) fn routine(self) -> Self {
        Self {
            is_routine: true,
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

    /// The response with what it may be held back for.
    pub(crate) fn with_wait(self, wait: Wait) -> Self {
        Self {
            wait: Some(wait.into()),
            ..self
        }
    }

    /// The response to a client that has waited: it says that the preference was honoured, if it
    /// tells what became of the representation.
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
    /// The value must not hold a line break: what comes from a client is encoded first.
    pub(crate) fn with_field(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The response with one more request field in Vary, on which the answer depends.
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

    /// Why the store failed, in the words of its [`StoreError`](crate::StoreError); for whoever
    /// runs the server. It is not sent.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// What the response may be held back for, if its client prefers that.
    #[must_use]
    pub fn wait(&self) -> Option<&Wait> {
        self.wait.as_deref()
    }

    /// Whether logs do not tell of it, because it says that all is well, every few seconds.
    pub(crate) fn is_routine(&self) -> bool {
        self.is_routine
    }

    /// Takes the response apart: the status code, the field lines in the order in which they are
    /// sent, and the content.
    #[must_use]
    pub fn into_parts(self) -> (u16, Vec<FieldLine>, Vec<u8>) {
        (self.status, self.fields, self.content)
    }

    /// The content, and nothing else.
    pub(crate) fn into_content(self) -> Vec<u8> {
        self.content
    }

    /// The response as HTTP/1.1 sends it, in one piece, with a Connection field if one is given.
    ///
    /// The head is put before the content where that lies: a long one is not held twice.
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
