//! What a request target names.

use std::borrow::Cow;
use std::fmt;

/// What a request target names.
///
/// A query is passed over. The form with a whole URL, which clients send to proxies and every
/// server must understand, names what its path names.
///
/// [RFC 9112 section 3.2](https://www.rfc-editor.org/rfc/rfc9112#section-3.2)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// `*`: the server as a whole.
    Server,
    /// `/`: the service document.
    Root,
    /// `/openapi.json`: the description of the API.
    OpenApi,
    /// `/persons`
    Persons,
    /// `/persons/{id}`, with the id decoded; it may be one that no person can have.
    Person(String),
    /// Anything else.
    Unknown,
}

impl Target {
    /// Reads the target of a request line.
    ///
    /// # Errors
    ///
    /// When it is percent-encoded wrongly.
    pub(crate) fn parse(target: &str) -> Result<Self, TargetError> {
        if target == "*" {
            return Ok(Self::Server);
        }
        let path = without_authority(without_fragment(target));
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        let segments = path.split('/').map(decode).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<_> = segments.iter().map(AsRef::as_ref).collect();
        Ok(match *segments.as_slice() {
            ["", ""] => Self::Root,
            ["", "openapi.json"] => Self::OpenApi,
            ["", "persons"] => Self::Persons,
            ["", "persons", id] if !id.is_empty() => Self::Person(id.to_owned()),
            _ => Self::Unknown,
        })
    }

    /// The path of the person with this id, such that [`parse`](Self::parse) reads the id back.
    pub(crate) fn person_path(id: &str) -> String {
        format!("/persons/{}", encode(id))
    }
}

/// Percent-encodes all but the characters that mean themselves everywhere.
pub(crate) fn encode(text: &str) -> String {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let digits = [byte >> 4, byte & 15].map(usize::from);
            encoded.push('%');
            encoded.extend(digits.iter().filter_map(|digit| HEX.get(*digit)));
        }
    }
    encoded
}

/// A target has no fragment; should one be sent all the same, it names nothing here. hyper does not
/// even show it.
pub(crate) fn without_fragment(target: &str) -> &str {
    target.split_once('#').map_or(target, |(target, _)| target)
}

/// The authority of a target that is a whole URL; it stands before Host.
pub(crate) fn authority(target: &str) -> Option<&str> {
    let rest = without_scheme(without_fragment(target))?;
    rest.split(['/', '?']).next()
}

fn without_authority(target: &str) -> &str {
    match without_scheme(target) {
        None => target,
        Some(rest) => match rest.find(['/', '?']) {
            Some(end) if rest[end..].starts_with('/') => &rest[end..],
            _ => "/",
        },
    }
}

fn without_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
        .then_some(rest)
}

/// [RFC 3986 section 2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)
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

/// Why a target is none. Each says what it means when it is displayed.
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
