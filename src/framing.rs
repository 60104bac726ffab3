//! Framing: the checks of a request's head, and where its content ends.

use std::fmt;

use crate::authority::{AbsoluteUri, Authority};
use crate::message::{Protocol, Request};

/// The longest request target that is accepted, in bytes.
pub(crate) const MAX_TARGET: usize = 8 * 1024;

/// The most unread content that is read and discarded, in bytes, so that the connection can be used
/// again.
pub(crate) const MAX_DRAINED_FOR_REUSE: u64 = 16 * 1024 * 1024;

/// How the content of a request is delimited.
///
/// Both doors determine this before they read the content. hyper has removed some fields by then, which
/// are refused at the other door: see [`Door`](crate::server::Door).
///
/// [RFC 9112 section 6](https://www.rfc-editor.org/rfc/rfc9112#section-6)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is no content.
    Empty,
    /// The content has the number of bytes that Content-Length announces.
    Length(u64),
    /// The content is in chunks; the last chunk ends it.
    Chunked,
}

impl Framing {
    /// Checks the head of a request: its version, fields, target, Host, Transfer-Encoding and
    /// Content-Length.
    ///
    /// `max_content` is the longest content that Content-Length may announce, in bytes.
    ///
    /// # Errors
    ///
    /// When the head is invalid, or exceeds a limit; see [`Refusal`].
    pub(crate) fn of(request: &Request<'_>, max_content: u64) -> Result<Self, Refusal> {
        if request.protocol < Protocol::Http10 {
            return Err(Refusal::Protocol);
        }
        check_fields(request)?;
        let framing = Self::of_content(request)?;
        if request.target.len() > MAX_TARGET {
            return Err(Refusal::TargetTooLong);
        }
        check_target(request.target)?;
        check_host(request)?;
        match framing {
            Self::Length(length) if length > max_content => {
                Err(Refusal::ContentTooLong { limit: max_content })
            }
            framing => Ok(framing),
        }
    }

    /// Refuses what is ambiguous: where a proxy and this server delimit content differently, requests
    /// can be smuggled past the proxy.
    ///
    /// [RFC 9112 section 6.3](https://www.rfc-editor.org/rfc/rfc9112#section-6.3)
    fn of_content(request: &Request<'_>) -> Result<Self, Refusal> {
        let mut encodings = request.field_lines("Transfer-Encoding");
        let mut lengths = request.field_lines("Content-Length");
        let one_encoding = (encodings.next(), encodings.next());
        let one_length = (lengths.next(), lengths.next());
        match (one_encoding, one_length) {
            ((None, _), (None, _)) => Ok(Self::Empty),
            ((Some(_), _), (Some(_), _)) => Err(Refusal::LengthBesideEncoding),
            ((Some(encoding), None), _)
                if encoding.eq_ignore_ascii_case(b"chunked")
                    && request.protocol >= Protocol::Http11 =>
            {
                Ok(Self::Chunked)
            }
            ((Some(_), _), _) => Err(Refusal::TransferEncoding),
            (_, (Some(length), None))
                if !length.is_empty() && length.iter().all(u8::is_ascii_digit) =>
            {
                match String::from_utf8_lossy(length).parse() {
                    Ok(0) => Ok(Self::Empty),
                    Ok(length) => Ok(Self::Length(length)),
                    // A number that overflows is longer than any limit.
                    Err(_) => Ok(Self::Length(u64::MAX)),
                }
            }
            _ => Err(Refusal::ContentLength),
        }
    }
}

/// Refuses control characters, because a proxy and this server could read different fields.
///
/// [RFC 9110 section 5.5](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)
fn check_fields(request: &Request<'_>) -> Result<(), Refusal> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    // Testing every byte is faster here than stopping at the first control character.
    let is_control = |b: u8| b.is_ascii_control() && b != b'\t';
    let is_valid = |(name, value): &(&str, &[u8])| {
        !name.is_empty()
            && name.bytes().all(is_token)
            && !value.iter().fold(false, |found, b| found | is_control(*b))
    };
    if request.fields.iter().all(is_valid) {
        Ok(())
    } else {
        Err(Refusal::Field)
    }
}

/// Refuses a target that is not in origin-form, absolute-form or asterisk-form, and one with a control
/// character. Authority-form is for CONNECT, which is not supported. A URI must have a valid host and
/// no user.
///
/// [RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)
fn check_target(target: &str) -> Result<(), Refusal> {
    let has_control = target.bytes().any(|b| b.is_ascii_control());
    let has_form = target.starts_with('/')
        || target == "*"
        || AbsoluteUri::parse(target).is_some_and(|uri| Authority::parse(uri.authority).is_some());
    if has_control || !has_form {
        return Err(Refusal::TargetMalformed);
    }
    Ok(())
}

/// Requires one Host field with a valid value. HTTP/1.0 may leave it out.
///
/// [RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)
fn check_host(request: &Request<'_>) -> Result<(), Refusal> {
    let mut hosts = request.field_texts("Host");
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Err(Refusal::HostRepeated),
        (None, _) if request.protocol >= Protocol::Http11 => Err(Refusal::HostMissing),
        (Some(host), _) if Authority::parse(&host).is_none() => Err(Refusal::HostMalformed),
        _ => Ok(()),
    }
}

/// Why a door refuses a request without calling `respond`. `Display` gives the message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Protocol,
    Field,
    TargetTooLong,
    TargetMalformed,
    HostMissing,
    HostRepeated,
    HostMalformed,
    TransferEncoding,
    LengthBesideEncoding,
    ContentLength,
    ContentTooLong {
        /// The longest content that is accepted, in bytes.
        limit: u64,
    },
    ContentMalformed,
    ContentTruncated,
    ContentLate,
    ChunksBesideUpgrade,
    Closing,
}

impl Refusal {
    /// Whether the next request can be read from the connection, once the content has been read.
    pub(crate) fn leaves_framing_clear(self) -> bool {
        matches!(
            self,
            Self::TargetTooLong
                | Self::TargetMalformed
                | Self::HostMissing
                | Self::HostRepeated
                | Self::HostMalformed
                | Self::ContentTooLong { .. }
                | Self::ContentTruncated
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Protocol => "HTTP/0.9 is not supported; send the request as HTTP/1.1",
            Self::Field => {
                "A field has a name that is not a token, or a control character in its value"
            }
            Self::TargetTooLong => {
                return write!(f, "The request target is longer than {MAX_TARGET} bytes");
            }
            Self::TargetMalformed => {
                "The request target must be a path or an http URI, without control characters"
            }
            Self::HostMissing => "An HTTP/1.1 request needs a Host field",
            Self::HostRepeated => "A request must have exactly one Host field",
            Self::HostMalformed => "Host must be a host name and an optional port",
            Self::TransferEncoding => {
                "Transfer-Encoding must be exactly `chunked`, and only in HTTP/1.1"
            }
            Self::LengthBesideEncoding => {
                "A request must not have both Content-Length and Transfer-Encoding"
            }
            Self::ContentLength => "Content-Length must be one decimal number",
            Self::ContentTooLong { limit } => {
                return write!(f, "The content is longer than {limit} bytes");
            }
            Self::ContentMalformed => "The chunked content is malformed",
            Self::ContentTruncated => "The content ended before its announced length",
            Self::ContentLate => "The content did not arrive in time",
            Self::ChunksBesideUpgrade => "Chunked content cannot be read after Connection: upgrade",
            Self::Closing => "The server is closing this connection; open another one",
        })
    }
}
