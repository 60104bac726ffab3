//! Requests and responses as values.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A request method, as far as this server tells methods apart.
///
/// Method names are case-sensitive.
///
/// [RFC 9110 section 9](https://www.rfc-editor.org/rfc/rfc9110#section-9)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Transfers a current representation.
    Get,
    /// GET without the content.
    Head,
    /// Creates a member of a collection.
    Post,
    /// Replaces the representation.
    Put,
    /// Changes the representation by a patch
    /// ([RFC 5789](https://www.rfc-editor.org/rfc/rfc5789)).
    Patch,
    /// Removes the resource.
    Delete,
    /// Asks which methods there are.
    Options,
    /// Another method of the [IANA registry](https://www.iana.org/assignments/http-methods), such
    /// as TRACE and PROPFIND. No target has one, so all targets answer 405.
    Registered,
    /// Any other method.
    Other,
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "ACL" | "BASELINE-CONTROL" | "BIND" | "CHECKIN" | "CHECKOUT" | "CONNECT" | "COPY"
            | "LABEL" | "LINK" | "LOCK" | "MERGE" | "MKACTIVITY" | "MKCALENDAR" | "MKCOL"
            | "MKREDIRECTREF" | "MKWORKSPACE" | "MOVE" | "ORDERPATCH" | "PRI" | "PROPFIND"
            | "PROPPATCH" | "QUERY" | "REBIND" | "REPORT" | "SEARCH" | "TRACE" | "UNBIND"
            | "UNCHECKOUT" | "UNLINK" | "UNLOCK" | "UPDATE" | "UPDATEREDIRECTREF"
            | "VERSION-CONTROL" => Self::Registered,
            _ => Self::Other,
        }
    }

    /// Whether the method reads the selected representation: GET and HEAD.
    ///
    /// These are the methods that a 304 can answer.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

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
    pub fields: Vec<(&'a str, &'a str)>,
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

    /// The request with one more field line.
    #[must_use]
    pub fn with_field(mut self, name: &'a str, value: &'a str) -> Self {
        self.fields.push((name, value));
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
    pub fn field_lines(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.fields
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
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
}

/// A name and a value; most values are the same for every answer.
type FieldLine = (&'static str, Cow<'static, str>);

impl Response {
    /// A response without content, and without a length.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            fields: Vec::with_capacity(8),
            content: Vec::new(),
            failure: None,
        }
    }

    /// The response with the reason why the store failed.
    pub(crate) fn with_failure(self, reason: String) -> Self {
        Self {
            failure: Some(reason),
            ..self
        }
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
    pub fn fields(&self) -> &[(&'static str, Cow<'static, str>)] {
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

    /// The status, the field lines and the content.
    #[cfg(feature = "hyper")]
    pub(crate) fn into_parts(self) -> (u16, Vec<FieldLine>, Vec<u8>) {
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
        let mut head = String::with_capacity(512);
        let reason = reason_phrase(self.status);
        // Writing to a String cannot fail.
        let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.fields {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if let Some(connection) = connection {
            let _ = write!(head, "Connection: {connection}\r\n");
        }
        head.push_str("\r\n");
        let mut message = self.content;
        message.splice(..0, head.into_bytes());
        message
    }
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

/// The members of a list that are not empty.
///
/// A comma between quotes belongs to its member. Quotes are paired from the left and never again
/// looked for inside a member that turns out malformed, so that nothing in there can match. A
/// backslash is no escape, as it is none in an entity tag.
///
/// [RFC 9110 section 5.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1)
pub(crate) fn list_members(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let ends_member = move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    value
        .split(ends_member)
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// The text without the optional white space around it: spaces and tabs, no others.
///
/// [RFC 9110 section 5.6.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.3)
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}
