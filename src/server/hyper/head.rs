use std::borrow::Cow;

use ::hyper::Version;
use ::hyper::header::{CONNECTION, EXPECT, HeaderValue};
use ::hyper::http::request::Parts;

use crate::message::{Protocol, Request};
use crate::method::Method;

/// The head of a request.
pub(super) struct Head(pub(super) Parts);

impl Head {
    /// Hands the head over as a value.
    pub(super) fn with<R>(&self, work: impl FnOnce(Request<'_>) -> R) -> R {
        let target = self.target();
        let mut request = Request::new(self.method(), &target);
        if self.0.version == Version::HTTP_10 {
            request.protocol = Protocol::Http10;
        }
        let fields = self.0.headers.iter();
        request.fields = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        work(request)
    }

    pub(super) fn method(&self) -> Method {
        Method::from_name(self.0.method.as_str())
    }

    fn target(&self) -> Cow<'_, str> {
        let uri = &self.0.uri;
        match (uri.authority(), uri.path_and_query()) {
            (None, Some(path)) => path.as_str().into(),
            _ => uri.to_string().into(),
        }
    }

    /// Whether the client waits to be asked for the content. In HTTP/1.0 it cannot.
    ///
    /// [RFC 9110 section 10.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-10.1.1)
    pub(super) fn expects_continue(&self) -> bool {
        let expected = self.0.headers.get(EXPECT);
        self.0.version >= Version::HTTP_11
            && expected.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"))
    }

    /// Has the connection end with this response.
    pub(super) fn end_with<B>(&self, response: &mut ::hyper::Response<B>) {
        if self.0.version >= Version::HTTP_11 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        } else {
            // An answer in HTTP/1.0 ends it unless it says otherwise.
            *response.version_mut() = Version::HTTP_10;
        }
    }

    /// The first line, as hyper read it.
    pub(super) fn request_line(&self) -> String {
        let (method, target, version) = (&self.0.method, self.target(), self.0.version);
        format!("{method} {target} {version:?}")
    }
}
