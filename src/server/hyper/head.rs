//! The head of a request of hyper, and the response to it.

use std::borrow::Cow;

use ::hyper::Version;
use ::hyper::body::Bytes;
use ::hyper::header::{CONNECTION, EXPECT, HeaderValue};
use ::hyper::http::request::Parts;
use http_body_util::Full;

use crate::http::into_http;
use crate::message::{Protocol, Request, Response};
use crate::method::Method;

/// The head of a request.
#[derive(Clone)]
pub(super) struct Head(pub(super) Parts);

impl Head {
    /// The request without its content; `target` is what [`target`](Self::target) returned.
    pub(super) fn request<'a>(&'a self, target: &'a str) -> Request<'a> {
        let mut request = Request::new(self.method(), target);
        if self.0.version == Version::HTTP_10 {
            request.protocol = Protocol::Http10;
        }
        let fields = self.0.headers.iter();
        request.fields = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        request
    }

    pub(super) fn method(&self) -> Method {
        Method::from_name(self.0.method.as_str())
    }

    /// The target, rebuilt from what hyper has parsed: without a fragment.
    pub(super) fn target(&self) -> Cow<'_, str> {
        let uri = &self.0.uri;
        match (uri.authority(), uri.path_and_query()) {
            (None, Some(path)) => path.as_str().into(),
            _ => uri.to_string().into(),
        }
    }

    /// Whether the client sends the content only after an interim response 100. HTTP/1.0 has none.
    ///
    /// [RFC 9110 section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)
    pub(super) fn expects_continue(&self) -> bool {
        let expected = self.0.headers.get(EXPECT);
        self.0.version >= Version::HTTP_11
            && expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// The response for hyper; the connection ends after it if it `closes`.
    ///
    /// Its fields are put into the header map of the request. hyper uses that map again for the next
    /// request, so that most requests need no new one.
    pub(super) fn into_response(
        self,
        response: Response,
        closes: bool,
    ) -> ::hyper::Response<Full<Bytes>> {
        let Parts {
            headers, version, ..
        } = self.0;
        let mut response = into_http(response, headers);
        if closes && version >= Version::HTTP_11 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        } else if closes {
            // hyper closes the connection after a response in HTTP/1.0 without keep-alive.
            *response.version_mut() = Version::HTTP_10;
        }
        response
    }

    /// The request line, rebuilt from what hyper parsed.
    pub(super) fn request_line(&self) -> String {
        let (method, target, version) = (&self.0.method, self.target(), self.0.version);
        format!("{method} {target} {version:?}")
    }
}
