//! Conversions from and to the types of the crate `http`.

use std::borrow::Cow;

use ::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use ::http::{Response, StatusCode};
use bytes::Bytes;

use crate::http_date::HttpDate;
use crate::judgement::NotPerformed;
use crate::method::Method;
use crate::validators::Validators;

impl From<&::http::Method> for Method {
    fn from(method: &::http::Method) -> Self {
        Self::from_name(method.as_str())
    }
}

impl From<::http::Method> for Method {
    fn from(method: ::http::Method) -> Self {
        Self::from(&method)
    }
}

impl Validators {
    /// Puts the field lines that show the validators into `headers`, in place of those there are.
    /// For the meaning of `now`, and where the lines belong, see [`fields`](Self::fields).
    pub fn insert_into(&self, headers: &mut HeaderMap, now: impl Into<HttpDate>) {
        for (name, value) in self.fields(now) {
            if let Some((name, value)) = field_line(name, value.into()) {
                headers.insert(name, value);
            }
        }
    }
}

impl<B: From<Vec<u8>>> From<NotPerformed> for Response<B> {
    fn from(not_performed: NotPerformed) -> Self {
        let content = not_performed.content().into_bytes();
        let mut fields = not_performed.fields();
        if !content.is_empty() {
            fields.push(("Content-Type", "text/plain; charset=utf-8".to_owned()));
        }
        let fields = fields.into_iter();
        let fields = fields.map(|(name, value)| (name, value.into()));
        response(not_performed.status(), fields, content, HeaderMap::new())
    }
}

#[cfg(feature = "server")]
impl<B: From<Vec<u8>>> From<crate::message::Response> for Response<B> {
    fn from(response: crate::message::Response) -> Self {
        into_http(response, HeaderMap::new())
    }
}

/// The response with its fields in `headers`, in place of those there are.
#[cfg(feature = "server")]
pub(crate) fn into_http<B: From<Vec<u8>>>(
    message: crate::message::Response,
    headers: HeaderMap,
) -> Response<B> {
    let (status, fields, content) = message.into_parts();
    response(status, fields, content, headers)
}

fn response<B: From<Vec<u8>>>(
    status: u16,
    fields: impl IntoIterator<Item = (&'static str, Cow<'static, str>)>,
    content: Vec<u8>,
    mut headers: HeaderMap,
) -> Response<B> {
    let mut response = Response::new(B::from(content));
    // The status and the field lines are made by this crate, and valid.
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = fields.into_iter();
    headers.clear();
    headers.extend(fields.filter_map(|(name, value)| field_line(name, value)));
    *response.headers_mut() = headers;
    response
}

/// A field line; `None` if it is invalid. This crate makes no invalid ones.
fn field_line(name: &'static str, value: Cow<'static, str>) -> Option<(HeaderName, HeaderValue)> {
    let value = match value {
        Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        Cow::Owned(text) => text.into(),
    };
    let value = HeaderValue::from_maybe_shared(value).ok()?;
    Some((header_name(name)?, value))
}

/// The name of a field. Those that most responses have need not be parsed.
fn header_name(name: &'static str) -> Option<HeaderName> {
    Some(match name {
        "Cache-Control" => header::CACHE_CONTROL,
        "Content-Length" => header::CONTENT_LENGTH,
        "Content-Location" => header::CONTENT_LOCATION,
        "Content-Type" => header::CONTENT_TYPE,
        "Date" => header::DATE,
        "ETag" => header::ETAG,
        "Last-Modified" => header::LAST_MODIFIED,
        "Server" => header::SERVER,
        _ => return HeaderName::try_from(name).ok(),
    })
}
