//! Problems: why a request is not performed, and the response that says so.

use serde::Serialize;

use crate::access::Denial;
use crate::document::{ContentError, Id};
use crate::entity_tag::EntityTag;
use crate::framing::Refusal;
use crate::idempotency::IdempotencyKeyError;
use crate::json::to_pretty_json;
use crate::message::{Response, reason_phrase};
use crate::page::PageError;
use crate::precondition::{Precondition, PreconditionsError};
use crate::store::StoreError;
use crate::target::TargetError;

/// The media type of documents and lists.
pub(crate) const JSON: &str = "application/json";

/// The media type of patches ([RFC 7396](https://www.rfc-editor.org/rfc/rfc7396)).
pub(crate) const MERGE_PATCH: &str = "application/merge-patch+json";

/// Which responses are sent where the older service and the RFCs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Those of the older service, so that its clients keep working.
    #[default]
    Compatible,
    /// Those of the RFCs: 428 for a missing If-Match, 409 for an id that exists, tags only in quotes,
    /// and problems as `application/problem+json`
    /// ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
    Strict,
}

/// Why a request is not performed: everything that is answered with 4xx or 5xx.
///
/// Each layer has its own reasons: [`Refusal`] those of a door, [`Denial`] those of the access rules,
/// [`Reason`](crate::judgement::Reason) those of the preconditions. A problem is any of them, as a
/// response.
#[derive(Debug)]
pub(crate) enum Problem {
    Refused(Refusal),
    Denied(Denial),
    Target(TargetError),
    Page(PageError),
    UnknownTarget {
        /// The paths of the service document, the description and the collections.
        targets: String,
    },
    UnknownMethod,
    MethodNotAllowed {
        allow: &'static str,
    },
    PartialPut,
    Preconditions(PreconditionsError),
    PreconditionFailed {
        field: Precondition,
        current: Option<EntityTag>,
        /// Whether it is false only because a tag is weak.
        weak: bool,
    },
    PreconditionRequired {
        current: Option<EntityTag>,
    },
    Content(ContentError),
    /// The document that a patch would make is not admitted.
    Unprocessable(ContentError),
    /// The representation would be longer than the longest content of a request.
    DocumentTooLong {
        /// The longest representation, in bytes.
        limit: u64,
    },
    MediaType,
    /// The content has a Content-Encoding.
    Encoded,
    Key(IdempotencyKeyError),
    /// Another request has been sent with the same key.
    KeyReused,
    NotFound {
        /// `Person` or `Document`.
        noun: &'static str,
        id: String,
    },
    AlreadyExists {
        /// `Person` or `Document`.
        noun: &'static str,
        id: Id,
        current: EntityTag,
    },
    Unavailable(StoreError),
    Panicked,
}

/// Makes a problem of each of these errors, so that `?` can return it.
macro_rules! from_errors {
    ($($error:ty => $variant:ident,)*) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

from_errors! {
    Denial => Denied,
    TargetError => Target,
    PageError => Page,
    PreconditionsError => Preconditions,
    IdempotencyKeyError => Key,
    ContentError => Content,
    StoreError => Unavailable,
}

impl Problem {
    /// The status code. No other place chooses that of a problem.
    fn status(&self, profile: Profile) -> u16 {
        match self {
            Self::Refused(Refusal::ContentLate) => 408,
            Self::Refused(Refusal::ContentTooLong { .. }) | Self::DocumentTooLong { .. } => 413,
            Self::Refused(Refusal::TargetTooLong) => 414,
            Self::Refused(_)
            | Self::Target(_)
            | Self::Page(_)
            | Self::PartialPut
            | Self::Preconditions(_)
            | Self::Key(_)
            | Self::Content(_) => 400,
            Self::Denied(Denial::NoToken | Denial::WrongToken) => 401,
            Self::Denied(Denial::Origin(_)) => 403,
            Self::Denied(Denial::Host | Denial::Https) => 421,
            Self::UnknownTarget { .. } | Self::NotFound { .. } => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::AlreadyExists { .. } if profile == Profile::Compatible => 400,
            Self::AlreadyExists { .. } => 409,
            Self::PreconditionRequired { .. } if profile == Profile::Strict => 428,
            Self::PreconditionFailed { .. } | Self::PreconditionRequired { .. } => 412,
            Self::MediaType | Self::Encoded => 415,
            Self::Unprocessable(_) | Self::KeyReused => 422,
            Self::UnknownMethod => 501,
            Self::Unavailable(_) => 503,
            Self::Panicked => 500,
        }
    }

    /// What is wrong, and how to correct it. Clients of the older service compare some of these texts.
    fn message(&self, profile: Profile) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Denied(denial) => denial.to_string(),
            Self::Target(error) => error.to_string(),
            Self::Page(error) => error.to_string(),
            Self::UnknownTarget { targets } => {
                format!("Nothing is found here; the resources are {targets}")
            }
            Self::UnknownMethod => {
                "The server knows GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS, and no other method"
                    .into()
            }
            Self::MethodNotAllowed { allow } => {
                format!("This resource does not allow that method; it allows {allow}")
            }
            Self::PartialPut => {
                "A partial PUT is not supported: send the whole representation without Content-Range"
                    .into()
            }
            Self::Preconditions(error) => error.to_string(),
            Self::PreconditionRequired { .. } if profile == Profile::Strict => {
                "If-Match is missing: get the resource, then repeat the request with its ETag"
                    .into()
            }
            Self::PreconditionFailed { .. } | Self::PreconditionRequired { .. } => {
                "Data already changed, get recent resource data and ETag first".into()
            }
            Self::Content(error) | Self::Unprocessable(error) => error.to_string(),
            Self::DocumentTooLong { limit } => {
                format!("The document would be longer than {limit} bytes, as it is shown")
            }
            Self::MediaType => format!("The content of PATCH must be {MERGE_PATCH}"),
            Self::Encoded => {
                "The content is encoded, as Content-Encoding says; send it as it is, without Content-Encoding"
                    .into()
            }
            Self::Key(error) => error.to_string(),
            Self::KeyReused => {
                "The Idempotency-Key was sent with another request; a new request needs a new key"
                    .into()
            }
            Self::NotFound { noun, id } => format!("{noun} with ID {id} not found"),
            Self::AlreadyExists { noun, id, .. } => format!("{noun} with ID {id} already exists"),
            // The reason is logged, and is not sent to clients.
            Self::Unavailable(_) => "The store failed; try again in a second".into(),
            Self::Panicked => "The server failed on this request".into(),
        }
    }

    /// The detail, which explains the message.
    fn detail(&self, profile: Profile) -> Option<String> {
        match self {
            Self::Content(error) | Self::Unprocessable(error) => error.detail().map(str::to_owned),
            Self::Denied(denial) => denial.detail(),
            Self::PreconditionFailed { weak: true, .. } => Some(
                "If-Match compares strongly, so a weak tag (W/) never matches; a proxy that compresses a response makes its tag weak, until its compression is switched off for this server (in nginx: gzip off)".into(),
            ),
            // The older service had the same message for this.
            Self::PreconditionRequired { .. } if profile == Profile::Compatible => Some(
                "no If-Match was sent: get the resource, then repeat the request with its ETag in If-Match".into(),
            ),
            Self::PreconditionFailed { field, .. } if profile == Profile::Strict => {
                Some(format!("{field} is false"))
            }
            _ => None,
        }
    }

    /// The response. Caches may not store it, because the next request may succeed.
    pub(crate) fn response(self, profile: Profile) -> Response {
        let status = self.status(profile);
        let response = Response::new(status).with_field("Cache-Control", "no-store");
        let (message, detail) = (self.message(profile), self.detail(profile));
        let response = match self {
            Self::MethodNotAllowed { allow } => response.with_field("Allow", allow),
            Self::MediaType => response.with_field("Accept-Patch", MERGE_PATCH),
            Self::Encoded => response.with_field("Accept-Encoding", "identity"),
            Self::PreconditionFailed {
                current: Some(current),
                ..
            }
            | Self::PreconditionRequired {
                current: Some(current),
            }
            | Self::AlreadyExists { current, .. } => response.with_entity_tag(&current),
            Self::Unavailable(error) => response
                .with_field("Retry-After", "1")
                .with_failure(error.to_string()),
            Self::Denied(Denial::NoToken) => {
                response.with_field("WWW-Authenticate", "Bearer realm=\"ifmatch\"")
            }
            Self::Denied(Denial::WrongToken) => response.with_field(
                "WWW-Authenticate",
                "Bearer realm=\"ifmatch\", error=\"invalid_token\"",
            ),
            _ => response,
        };
        let (content_type, content) = content(status, &message, detail, profile);
        response.with_content(content_type, content)
    }
}

/// The content of the response, and its media type.
fn content(
    status: u16,
    message: &str,
    detail: Option<String>,
    profile: Profile,
) -> (&'static str, Vec<u8>) {
    match profile {
        Profile::Compatible => (JSON, to_pretty_json(&Message { detail, message })),
        Profile::Strict => {
            let detail = detail.map_or_else(String::new, |it| format!(": {it}"));
            let details = Details {
                detail: format!("{message}{detail}"),
                status,
                title: reason_phrase(status),
                r#type: "about:blank",
            };
            ("application/problem+json", to_pretty_json(&details))
        }
    }
}

/// The content of a problem as the older service writes it.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    message: &'a str,
}

/// [RFC 9457 section 3](https://www.rfc-editor.org/rfc/rfc9457#section-3)
#[derive(Serialize)]
struct Details {
    detail: String,
    status: u16,
    title: &'static str,
    r#type: &'static str,
}
