//! Request targets: parsing, and the paths of the resources.

use std::borrow::Cow;
use std::fmt;

use crate::authority::AbsoluteUri;
use crate::collection::{Collection, Collections};
use crate::endpoint::Endpoint;

/// The resource that a request target names.
///
/// The query is ignored. The absolute form, a whole URL, which clients send to proxies and every
/// server must accept, names the same resource as its path.
///
/// [RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)
#[derive(Clone, Debug)]
pub(crate) enum Target<'a> {
    /// `*`: the server as a whole.
    Server,
    /// `/`: the service document.
    Root,
    /// A resource of the server itself, such as `/health`.
    Endpoint(Endpoint),
    /// `/notes`
    Collection(&'a Collection),
    /// `/notes/{id}`, with the id decoded. It is not checked that a document can have this id.
    Document(&'a Collection, Cow<'a, str>),
    /// Anything else.
    Unknown,
}

impl<'a> Target<'a> {
    /// Parses a target of a server of these collections.
    ///
    /// # Errors
    ///
    /// When its percent-encoding is wrong.
    pub(crate) fn parse(
        target: &'a str,
        collections: &'a Collections,
    ) -> Result<Self, TargetError> {
        if target == "*" {
            return Ok(Self::Server);
        }
        let (path, _) = cut(target, |byte| matches!(byte, b'?' | b'#'));
        let path = without_authority(path);
        let is_encoded = path.contains('%');
        let mut segments = split_path(path).map(|segment| {
            if is_encoded {
                decode(segment)
            } else {
                Ok(segment.into())
            }
        });
        // A malformed escape is an error even in a path that names nothing.
        if is_encoded {
            segments.clone().try_for_each(|segment| segment.map(drop))?;
        }
        for expected in split_path(collections.prefix()) {
            if segments.next().transpose()?.as_deref() != Some(expected) {
                return Ok(Self::Unknown);
            }
        }
        let mut next = || segments.next().transpose();
        Ok(match (next()?.as_deref(), next()?, next()?) {
            (Some(""), None, None) => Self::Root,
            (Some(name), None, None) => match (collections.get(name), Endpoint::from_segment(name))
            {
                (Some(collection), _) => Self::Collection(collection),
                (None, Some(endpoint)) => Self::Endpoint(endpoint),
                (None, None) => Self::Unknown,
            },
            (Some(name), Some(id), None) if !id.is_empty() => match collections.get(name) {
                Some(collection) => Self::Document(collection, id),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        })
    }
}

/// The segments of a path. The first is the text before the first slash, which is mostly empty.
fn split_path(path: &str) -> impl Iterator<Item = &str> + Clone {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let (segment, after) = cut(rest?, |byte| byte == b'/');
        rest = after.get(1..);
        Some(segment)
    })
}

/// Splits the text before the first ASCII character for which `is_end` returns true. For short texts
/// this search is faster than those of `str`.
fn cut(text: &str, is_end: impl Fn(u8) -> bool) -> (&str, &str) {
    let end = text.bytes().position(is_end);
    text.split_at(end.unwrap_or(text.len()))
}

/// The path of a resource of the server itself.
pub(crate) fn endpoint_path(collections: &Collections, endpoint: Endpoint) -> String {
    [collections.prefix(), "/", endpoint.segment()].concat()
}

/// The path of a document, such that [`Target::parse`] reads the id back.
pub(crate) fn document_path(
    collections: &Collections,
    collection: &Collection,
    id: &str,
) -> String {
    let mut path = collections.path(collection);
    path.push('/');
    encode_to(&mut path, id);
    path
}

/// Percent-encodes all characters except the unreserved ones
/// ([RFC 3986 section 2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3)).
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    encode_to(&mut encoded, text);
    encoded
}

fn encode_to(encoded: &mut String, text: &str) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let digits = [byte >> 4, byte & 15].map(usize::from);
            encoded.push('%');
            encoded.extend(digits.iter().filter_map(|digit| HEX.get(*digit)));
        }
    }
}

/// The target without its fragment. Clients should not send one; it is ignored, as hyper does.
pub(crate) fn without_fragment(target: &str) -> &str {
    target.split_once('#').map_or(target, |(target, _)| target)
}

/// The path of a target in absolute form; any other target is returned unchanged.
fn without_authority(target: &str) -> &str {
    match AbsoluteUri::parse_http(target) {
        None => target,
        Some(uri) if uri.rest.starts_with('/') => uri.rest,
        Some(_) => "/",
    }
}

/// Decodes percent-encoded text
/// ([RFC 3986 section 2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)).
pub(crate) fn decode(segment: &str) -> Result<Cow<'_, str>, TargetError> {
    if !segment.contains('%') {
        return Ok(segment.into());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (
                bytes.next().and_then(hex_digit),
                bytes.next().and_then(hex_digit),
            ) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(TargetError::Escape),
            },
            byte => byte,
        });
    }
    String::from_utf8(decoded)
        .map(Cow::from)
        .map_err(|_| TargetError::NotUtf8)
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| digit.try_into().ok())
}

/// Why a target is malformed. `Display` gives the message for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetError {
    Escape,
    NotUtf8,
    Asterisk,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Escape => "The target has a `%` without two hexadecimal digits after it",
            Self::NotUtf8 => "The target's percent-encoded bytes are not UTF-8",
            Self::Asterisk => "The target `*` is for OPTIONS alone",
        })
    }
}
