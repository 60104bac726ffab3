//! Absolute URIs, and the authorities in them: the hosts that a target, Host or Origin names.

/// The parts of an absolute URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbsoluteUri<'a> {
    pub(crate) scheme: &'a str,
    /// It is not checked that this is a valid [`Authority`].
    pub(crate) authority: &'a str,
    /// The path, the query and the fragment; it may be empty.
    pub(crate) rest: &'a str,
}

impl<'a> AbsoluteUri<'a> {
    /// Splits a text; returns `None` if it has no `://`, or begins with a path.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        // Nearly all targets are paths.
        if text.starts_with('/') {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        Some(Self {
            scheme,
            authority,
            rest,
        })
    }

    /// Splits a text whose scheme is `http` or `https`.
    pub(crate) fn parse_http(text: &'a str) -> Option<Self> {
        Self::parse(text).filter(|uri| uri.is_https() || uri.scheme.eq_ignore_ascii_case("http"))
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme.eq_ignore_ascii_case("https")
    }

    /// The port of a URI that names none.
    pub(crate) fn default_port(&self) -> &'static str {
        if self.is_https() { "443" } else { "80" }
    }
}

/// A host and an optional port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: Option<&'a str>,
}

impl<'a> Authority<'a> {
    /// Parses `uri-host [ ":" port ]`, by its characters. The port may be empty, which is as none;
    /// the host of an `http` URI may not
    /// ([RFC 9110 section 4.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-4.2.1)).
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let parts = Self::split(text);
        let port = parts.port.unwrap_or_default();
        let is_valid = !parts.host.is_empty()
            && is_host(parts.host)
            && port.bytes().all(|b| b.is_ascii_digit());
        is_valid.then_some(parts)
    }

    /// Splits a text whose characters need no check.
    pub(crate) fn split(text: &'a str) -> Self {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port),
            _ => (text, ""),
        };
        Self {
            host,
            port: Some(port).filter(|port| !port.is_empty()),
        }
    }

    /// Whether this name stands for `other`. Without a port it stands for every port.
    pub(crate) fn matches(&self, other: Authority<'_>) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && (self.port.is_none() || self.port == other.port)
    }
}

/// Whether the text has the characters of an IP address in brackets, or of a name.
fn is_host(text: &str) -> bool {
    let literal = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match literal {
        Some(address) => address
            .bytes()
            .all(|b| b.is_ascii_hexdigit() || b":.".contains(&b)),
        None => text.bytes().enumerate().all(|(at, b)| {
            b.is_ascii_alphanumeric()
                || b"-._~!$&'()*+;=".contains(&b)
                || b == b'%' && starts_with_escape(text.get(at..).unwrap_or_default())
        }),
    }
}

/// Whether the text starts with `%` and two hexadecimal digits.
fn starts_with_escape(text: &str) -> bool {
    match text.as_bytes() {
        [b'%', high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    }
}
