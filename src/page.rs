//! Pages of a list: the query of a collection's target.

use std::fmt;

use crate::store::Portion;
use crate::target::{TargetError, decode, encode, without_fragment};

/// The most documents that one response lists.
pub const MAX_PAGE: usize = 1000;

/// The most bytes of documents that one response lists; the next page has the rest. A thousand long
/// documents for each of many clients would take too much memory.
const MAX_LIST_BYTES: usize = 512 * 1024;

/// The page that a request asks for: `/notes?limit=N&after=ID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The most documents.
    pub(crate) limit: usize,
    /// Only documents whose ids sort after this text, which need not be the id of a document.
    pub(crate) after: Option<String>,
}

impl Page {
    /// The first page of the largest size.
    pub(crate) fn first() -> Self {
        Self {
            limit: MAX_PAGE,
            after: None,
        }
    }

    /// Reads the query of a target, if it has one.
    ///
    /// As in forms, `+` is a space.
    ///
    /// # Errors
    ///
    /// When a parameter is unknown, is repeated, or has an invalid value.
    pub(crate) fn from_target(target: &str) -> Result<Self, PageError> {
        let target = without_fragment(target);
        let query = target.split_once('?').map_or("", |(_, query)| query);
        let (mut limit, mut after) = (None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let name = decode(&name.replace('+', " "))?.into_owned();
            let value = decode(&value.replace('+', " "))?.into_owned();
            let place = match name.as_str() {
                "limit" => &mut limit,
                "after" => &mut after,
                _ => return Err(PageError::Unknown(name)),
            };
            if place.replace(value).is_some() {
                return Err(PageError::Repeated(name));
            }
        }
        let limit = match limit {
            None => MAX_PAGE,
            Some(value) => match value.parse() {
                Ok(limit @ 1..=MAX_PAGE) if value.bytes().all(|b| b.is_ascii_digit()) => limit,
                _ => return Err(PageError::Limit(value)),
            },
        };
        Ok(Self { limit, after })
    }

    /// The portion of the collection that is on this page.
    pub(crate) fn portion(&self) -> Portion<'_> {
        Portion {
            after: self.after.as_deref(),
            count: self.limit,
            bytes: MAX_LIST_BYTES,
        }
    }

    /// The value of Link: the first page of this size, and the next one, which begins after the id
    /// `last`, if there is one. `path` is the path of the collection.
    ///
    /// [RFC 8288 section 3](https://www.rfc-editor.org/rfc/rfc8288#section-3)
    pub(crate) fn links(&self, path: &str, last: Option<&str>) -> String {
        let limit = self.limit;
        let first = format!("<{path}?limit={limit}>; rel=\"first\"");
        match last.map(encode) {
            None => first,
            Some(last) => {
                format!("{first}, <{path}?limit={limit}&after={last}>; rel=\"next\"")
            }
        }
    }
}

/// Why a query is refused. `Display` gives the message for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PageError {
    Unknown(String),
    Repeated(String),
    Limit(String),
    Encoding(TargetError),
}

impl From<TargetError> for PageError {
    fn from(error: TargetError) -> Self {
        Self::Encoding(error)
    }
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "There is no parameter `{name}`; there are `limit` and `after`"
                )
            }
            Self::Repeated(name) => write!(f, "The parameter `{name}` must come once only"),
            Self::Limit(value) => {
                write!(
                    f,
                    "The parameter `limit` must be a number from 1 to {MAX_PAGE}, not `{value}`"
                )
            }
            Self::Encoding(error) => error.fmt(f),
        }
    }
}
