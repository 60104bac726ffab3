//! Access rules: origins, host names and the bearer token.

use std::error::Error;
use std::fmt;

use crate::authority::{AbsoluteUri, Authority};
use crate::message::{Request, Response};
use crate::method::Method;

/// Which requests are allowed: by their origin, their host and their token.
///
/// The rules are the same for every target, except that some reads need no token:
/// [`Access::require_token`]. By default two kinds of request are refused: a write that a browser sends
/// for a page of another origin, which it names in Origin, and a request whose target is an `https`
/// URI. `docs/access.md` describes the attack that this prevents.
#[derive(Clone, Debug, Default)]
pub struct Access {
    origins: Vec<String>,
    any_origin: bool,
    hosts: Vec<String>,
    own_names: Vec<String>,
    token: Option<Token>,
}

impl Access {
    /// Allows pages of this origin to read and write; `*` stands for every origin.
    ///
    /// # Errors
    ///
    /// When it is not an origin as browsers send it: `https://example.com`, with or without a port.
    pub fn allow_origin(&mut self, origin: &str) -> Result<(), AccessError> {
        if origin == "*" {
            self.any_origin = true;
            return Ok(());
        }
        let known = origin.to_ascii_lowercase();
        let (uri, authority) = match parse_origin(&known) {
            Some(parts) if !known.contains('*') => parts,
            _ => return Err(AccessError::Origin(origin.to_owned())),
        };
        // Browsers leave the default port out.
        let port = authority.port.filter(|port| *port != uri.default_port());
        let port = port.map(|port| [":", port].concat()).unwrap_or_default();
        self.origins
            .push([uri.scheme, "://", authority.host, &port].concat());
        Ok(())
    }

    /// Adds a host name of the server: `example.com` or `example.com:8080`. Once there is one, a
    /// request for any other host is refused with 421.
    ///
    /// A request whose target is an `https` URI is refused unless there is one: the server has no
    /// TLS itself, but a proxy in front of it may.
    ///
    /// # Errors
    ///
    /// When it is not a host name, with or without a port.
    pub fn allow_host(&mut self, host: &str) -> Result<(), AccessError> {
        let is_valid = Authority::parse(host).is_some_and(|it| it.host != "[]");
        if !is_valid || host.ends_with(':') || host.contains('*') {
            return Err(AccessError::Host(host.to_owned()));
        }
        self.hosts.push(host.to_ascii_lowercase());
        Ok(())
    }

    /// Requires this token in every request except OPTIONS, and except reads of `/health` and of the
    /// page for browsers, which holds no data and asks its user for the token.
    pub fn require_token(&mut self, token: Token) {
        self.token = Some(token);
    }

    /// Sets the names of the address that the server listens on, each with its port.
    pub(crate) fn set_own_names(&mut self, own_names: Vec<String>) {
        self.own_names = own_names;
    }

    /// Checks the host, the origin and the token of a request. A request without a valid token is
    /// allowed if its target needs none.
    pub(crate) fn check(
        &self,
        request: &Request<'_>,
        needs_no_token: impl FnOnce() -> bool,
    ) -> Result<(), Denial> {
        if self.hosts.is_empty() {
            // RFC 9110 section 7.4: the connection has no TLS.
            if AbsoluteUri::parse(request.target).is_some_and(|uri| uri.is_https()) {
                return Err(Denial::Https);
            }
        } else {
            self.check_host(request)?;
        }
        let reads = request.method.is_read() || request.method == Method::Options;
        let mut origins = request.field_texts("Origin").filter(|_| !reads);
        if let Some(other) = origins.find(|it| !self.allows(it) && !self.is_same_origin(it)) {
            return Err(Denial::Origin(other.into_owned()));
        }
        match &self.token {
            Some(token) if request.method != Method::Options => match token.check(request) {
                Err(_) if needs_no_token() => Ok(()),
                checked => checked,
            },
            _ => Ok(()),
        }
    }

    /// Checks that the request is for one of the allowed hosts.
    fn check_host(&self, request: &Request<'_>) -> Result<(), Denial> {
        // The authority of the target takes precedence.
        let host = match AbsoluteUri::parse_http(request.target) {
            Some(uri) => uri.authority.into(),
            None => match request.field_texts("Host").next() {
                Some(host) => host,
                None => return Ok(()),
            },
        };
        match Authority::parse(&host) {
            Some(host) if self.hosts().any(|known| known.matches(host)) => Ok(()),
            _ => Err(Denial::Host),
        }
    }

    /// Adds the fields that allow the page which sent the request to read the response, if its origin
    /// is allowed.
    ///
    /// [Fetch standard, CORS protocol](https://fetch.spec.whatwg.org/#http-cors-protocol)
    pub(crate) fn with_cors_fields(
        &self,
        request: &Request<'_>,
        mut response: Response,
    ) -> Response {
        if !self.any_origin && self.origins.is_empty() {
            return response;
        }
        if !self.any_origin {
            response = response.with_vary("Origin");
        }
        let mut origins = request.field_texts("Origin");
        let (Some(origin), None) = (origins.next(), origins.next()) else {
            return response;
        };
        if !self.allows(&origin) {
            return response;
        }
        // The value is one of the allowed origins, and so has no line break.
        let shown = if self.any_origin {
            "*".into()
        } else {
            origin.into_owned()
        };
        let methods = response.field("Allow").map(str::to_owned);
        let is_preflight = request
            .field_lines("Access-Control-Request-Method")
            .next()
            .is_some();
        response = response
            .with_field("Access-Control-Allow-Origin", shown)
            .with_field("Access-Control-Expose-Headers", EXPOSED_FIELDS);
        match methods {
            Some(methods) if request.method == Method::Options && is_preflight => response
                .with_field("Access-Control-Allow-Methods", methods)
                .with_field("Access-Control-Allow-Headers", ALLOWED_FIELDS)
                .with_field("Access-Control-Max-Age", "600"),
            _ => response,
        }
    }

    fn allows(&self, origin: &str) -> bool {
        self.any_origin
            || self
                .origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
    }

    /// Whether this is an origin of the server itself: its own address, or one of its host names with
    /// the port that it listens on, or with the default port of the scheme, which a proxy uses.
    fn is_same_origin(&self, origin: &str) -> bool {
        let Some((uri, authority)) = parse_origin(origin) else {
            return false;
        };
        let full = Authority {
            port: authority.port.or(Some(uri.default_port())),
            ..authority
        };
        let is_own_address = !uri.is_https() && self.own_names().any(|own| own.matches(full));
        is_own_address
            || self.hosts().any(|known| {
                let has_usual_port = known.port.is_some()
                    || authority.port.is_none()
                    || self.own_names().any(|own| own.port == authority.port);
                has_usual_port && known.matches(full)
            })
    }

    fn hosts(&self) -> impl Iterator<Item = Authority<'_>> {
        self.hosts.iter().map(|name| Authority::split(name))
    }

    fn own_names(&self) -> impl Iterator<Item = Authority<'_>> {
        self.own_names.iter().map(|name| Authority::split(name))
    }
}

/// The response fields that pages may read, beside those that browsers always let them read.
const EXPOSED_FIELDS: &str = "ETag, Location, Link, Preference-Applied, Content-Location, Accept-Patch, \
                       Allow, Date, Retry-After";

/// The request fields that pages may send, beside those that browsers always let them send.
const ALLOWED_FIELDS: &str = "If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, \
                        Prefer, Idempotency-Key, Content-Type, Authorization";

/// Why the access rules refuse a request. `Display` gives the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// It is for another host.
    Host,
    /// Its target is an `https` URI, and no proxy with TLS is known for the host.
    Https,
    /// It is a write for a page of this origin, which is not allowed.
    Origin(String),
    /// It has no token.
    NoToken,
    /// It has another token.
    WrongToken,
}

impl Denial {
    /// Advice for the operator: the flags that allow the origin.
    pub(crate) fn detail(&self) -> Option<String> {
        let Self::Origin(origin) = self else {
            return None;
        };
        let advice = match parse_origin(origin) {
            Some(_) => {
                "--allow-origin with it lets its pages read and write here, and --allow-host is \
                 for a name of this server, such as that of a proxy in front of it"
            }
            None => {
                "neither --allow-origin nor --allow-host can name it; a page that comes from a web \
                 server, and not from a file, has an origin that can be named"
            }
        };
        Some(format!("the origin is `{origin}`; {advice}"))
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "The server is not known by this host name",
            Self::Https => {
                "The target is an https URI and this connection has no TLS; behind a proxy with \
                 TLS, start the server with --allow-host"
            }
            Self::Origin(_) => "Pages of this origin may not change anything here",
            Self::NoToken => "A token is needed: Authorization: Bearer and the token",
            Self::WrongToken => "The token is not the right one",
        })
    }
}

/// A bearer token. `Debug` does not show it.
///
/// [RFC 6750 section 2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Checks a token.
    ///
    /// # Errors
    ///
    /// When it is empty, or has a character that is not allowed: letters, digits and `-._~+/` are, and
    /// `=` at the end.
    pub fn new(text: &str) -> Result<Self, AccessError> {
        let known = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        match text.trim_end_matches('=') {
            "" => Err(AccessError::EmptyToken),
            body if body.bytes().all(known) => Ok(Self(text.to_owned())),
            _ => Err(AccessError::Token),
        }
    }

    fn check(&self, request: &Request<'_>) -> Result<(), Denial> {
        let mut lines = request.field_texts("Authorization");
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(Denial::NoToken);
        };
        match line.split_once(' ') {
            Some((scheme, given)) if scheme.eq_ignore_ascii_case("Bearer") => {
                if self.matches(given.trim_matches(' ')) {
                    Ok(())
                } else {
                    Err(Denial::WrongToken)
                }
            }
            _ => Err(Denial::NoToken),
        }
    }

    /// Compares in constant time: the duration does not depend on where the first difference is.
    fn matches(&self, given: &str) -> bool {
        let pairs = self.0.bytes().zip(given.bytes());
        let different = pairs.fold(0, |different, (own, given)| different | (own ^ given));
        std::hint::black_box(different) == 0 && self.0.len() == given.len()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The parts of an origin that a browser could send; `None` for `null`.
fn parse_origin(origin: &str) -> Option<(AbsoluteUri<'_>, Authority<'_>)> {
    let uri = AbsoluteUri::parse_http(origin).filter(|uri| uri.rest.is_empty())?;
    Some((uri, Authority::parse(uri.authority)?))
}

/// How to correct a text that is not an origin, for two common mistakes; else an empty text.
fn hint(text: &str) -> &'static str {
    if text.contains('*') {
        return "; `*` stands alone, for every origin, so name each one that is to be allowed";
    }
    let (before, path) = text.split_at(text.rfind("://").map_or(0, |scheme| scheme + 3));
    match path.split_once('/') {
        Some((host, _)) if parse_origin(&[before, host].concat()).is_some() => {
            "; it ends with the host or the port, without a path or a `/`"
        }
        _ => "",
    }
}

/// An origin, a host name or a token is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessError {
    /// This text is not an origin.
    Origin(String),
    /// This text is not a host name.
    Host(String),
    /// The token is empty.
    EmptyToken,
    /// The token has a character that is not allowed.
    Token,
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Origin(given) => {
                write!(
                    f,
                    "an origin is `*` or such as https://example.com, not `{given}`{}",
                    hint(given)
                )
            }
            Self::Host(given) => {
                write!(
                    f,
                    "a host is such as example.com or example.com:8080, not `{given}`"
                )
            }
            Self::EmptyToken => f.write_str("the token is empty"),
            Self::Token => {
                f.write_str("a token has letters, digits and -._~+/ only, and = at its end")
            }
        }
    }
}

impl Error for AccessError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// The address of such a server is no authority of a URI, but its port is the server's.
    #[test]
    fn a_server_on_an_address_with_a_zone_has_its_port() -> Result<(), AccessError> {
        let mut access = Access::default();
        access.set_own_names(vec!["[fe80::1%2]:5000".into()]);
        access.allow_host("proxy.example")?;
        assert!(access.is_same_origin("http://proxy.example:5000"));
        assert!(!access.is_same_origin("http://proxy.example:5001"));
        Ok(())
    }
}
