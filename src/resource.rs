//! The resources: answers a request from a store.

use std::time::SystemTime;

use crate::access::Access;
use crate::collection::Collections;
use crate::endpoint::Endpoint;
use crate::http_date::HttpDate;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::problem::{MERGE_PATCH, Problem, Profile};
use crate::store::Store;
use crate::target::{Target, TargetError, endpoint_path};

mod browser;
mod content;
mod creation;
mod description;
mod monitor;
mod read;
mod repetition;
mod selection;
#[cfg(feature = "hyper")]
mod work;
mod write;

use monitor::StoreMonitor;
pub(crate) use monitor::{Monitor, check_store};
#[cfg(feature = "hyper")]
pub(crate) use work::Work;
use write::Write;

/// The settings that the responses depend on.
///
/// Begin with `Policy::default()`, and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Whether responses are those of the older service or those of the RFCs, where these differ.
    pub profile: Profile,
    /// Whether PUT, PATCH and DELETE are also performed without If-Match.
    pub unconditional_writes: bool,
    /// The longest content of a request that is read, in bytes, and the longest representation of a
    /// document that is not a person; 64 KiB unless set.
    pub max_content: u64,
    /// Which requests are allowed, by origin, host and token.
    pub access: Access,
    /// The collections that are served.
    pub collections: Collections,
    /// Whether `/` is an HTML page for browsers, which lists and edits documents. Reading the page needs no
    /// token; reading documents does.
    pub browser_page: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            unconditional_writes: false,
            max_content: 64 * 1024,
            access: Access::default(),
            collections: Collections::default(),
            browser_page: true,
        }
    }
}

/// Answers a request, whose content is complete.
///
/// The steps are those in the [crate documentation](crate). If another client changes the document
/// between the selection and the write, both are done again, and the preconditions are evaluated
/// again: no change is overwritten unseen.
///
/// ```
/// use ifmatch::{MemoryStore, Method, Policy, Request, respond};
/// use std::time::SystemTime;
///
/// let store = MemoryStore::new();
/// let create = Request::new(Method::Post, "/persons")
///     .with_content(br#"{"person_id": "1", "person_name": "Wim"}"#);
/// let created = respond(&store, &Policy::default(), &create, SystemTime::now());
/// assert_eq!((created.status(), created.field("Location")), (201, Some("/persons/1")));
///
/// let stale = Request::new(Method::Put, "/persons/1")
///     .with_field("If-Match", r#""an older tag""#)
///     .with_content(br#"{"person_name": "Tim"}"#);
/// assert_eq!(respond(&store, &Policy::default(), &stale, SystemTime::now()).status(), 412);
/// ```
pub fn respond(
    store: &dyn Store,
    policy: &Policy,
    request: &Request<'_>,
    now: SystemTime,
) -> Response {
    let monitor = &StoreMonitor { store, policy };
    Handler {
        store,
        monitor,
        policy,
        request,
        now,
    }
    .respond()
}

/// Answers a request with a problem that a door has found.
pub(crate) fn respond_with_problem(
    problem: Problem,
    request: &Request<'_>,
    policy: &Policy,
    now: SystemTime,
) -> Response {
    with_common_fields(problem.response(policy.profile), request, policy, now)
}

/// A request of which everything is done that needs no content.
enum Prepared<'a> {
    /// The response to a read.
    Response(Response),
    Write(Write<'a>),
}

/// Why the method of a request is not performed.
enum Unperformed {
    /// The response is 304, or this write repeats an earlier one and gets the response to that.
    Response(Response),
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Unperformed {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// One request, and everything that its response depends on.
pub(crate) struct Handler<'a> {
    pub(crate) store: &'a dyn Store,
    /// The source of the responses to requests about the server itself.
    pub(crate) monitor: &'a dyn Monitor,
    pub(crate) policy: &'a Policy,
    pub(crate) request: &'a Request<'a>,
    pub(crate) now: SystemTime,
}

impl<'a> Handler<'a> {
    /// Answers the request, whose content is complete.
    pub(crate) fn respond(&self) -> Response {
        let result = self.prepare().and_then(|prepared| match prepared {
            Prepared::Response(response) => Ok(response),
            Prepared::Write(write) => self.perform(write),
        });
        self.response(result)
    }

    /// Refuses the request before its content is read, if that can be decided without the content.
    ///
    /// So a write whose preconditions are false is refused before its client sends long content
    /// ([RFC 9110 section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
    pub(crate) fn refuse_early(&self) -> Option<Response> {
        match self.prepare() {
            Err(Unperformed::Problem(problem)) => Some(self.response(Err(problem.into()))),
            _ => None,
        }
    }

    /// Does everything that needs no content: answers a read, and selects the state for a write.
    fn prepare(&self) -> Result<Prepared<'a>, Unperformed> {
        self.policy
            .access
            .check(self.request, || self.needs_no_token())?;
        let method = self.request.method;
        if method == Method::Other {
            return Err(Problem::UnknownMethod.into());
        }
        let collections = &self.policy.collections;
        let target = Target::parse(self.request.target, collections)?;
        let Some(allow) = self.allow(&target) else {
            return Err(self.unknown_target().into());
        };
        let write = match (method, target) {
            (Method::Options, target) => return Ok(Prepared::Response(options(&target, allow))),
            (_, Target::Server) => return Err(TargetError::Asterisk.into()),
            (Method::Get | Method::Head, target) => {
                return Ok(Prepared::Response(self.read(target)?));
            }
            (Method::Post, Target::Collection(collection)) => {
                self.refuse_encoded()?;
                Write::Create(self.begin_creation(collection)?)
            }
            (Method::Put, Target::Document(collection, id)) => {
                self.refuse_encoded()?;
                self.refuse_partial()?;
                Write::Replace(self.select_target(collection, &id)?)
            }
            (Method::Patch, Target::Document(collection, id)) => {
                self.refuse_encoded()?;
                Write::Patch(self.select_target(collection, &id)?)
            }
            (Method::Delete, Target::Document(collection, id)) => {
                Write::Remove(self.select_target(collection, &id)?)
            }
            _ => return Err(Problem::MethodNotAllowed { allow }.into()),
        };
        Ok(Prepared::Write(write))
    }

    /// The methods that a target allows; `None` if there is no such resource.
    fn allow(&self, target: &Target<'_>) -> Option<&'static str> {
        let reads = "GET, HEAD, OPTIONS";
        match target {
            Target::Server => Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            Target::Root => Some(reads),
            Target::Endpoint(endpoint) => match endpoint {
                Endpoint::OpenApi | Endpoint::Health => Some(reads),
                Endpoint::Metrics => self.monitor.has_metrics().then_some(reads),
                Endpoint::Script | Endpoint::Style => self.policy.browser_page.then_some(reads),
            },
            Target::Collection(_) => Some("GET, HEAD, POST, OPTIONS"),
            Target::Document(..) => Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            Target::Unknown => None,
        }
    }

    /// The problem of a target that names no resource. It lists the resources.
    fn unknown_target(&self) -> Problem {
        let collections = &self.policy.collections;
        let openapi = endpoint_path(collections, Endpoint::OpenApi);
        let mut targets = vec![format!("{}/", collections.prefix()), openapi];
        for collection in collections.iter() {
            let path = collections.path(collection);
            targets.extend([path.clone(), format!("{path}/{{id}}")]);
        }
        let last = targets.pop().unwrap_or_default();
        let targets = format!("{} and {last}", targets.join(", "));
        Problem::UnknownTarget { targets }
    }

    /// The response to the request, complete with the fields that all responses have.
    fn response(&self, result: Result<Response, Unperformed>) -> Response {
        let response = match result {
            Ok(response) | Err(Unperformed::Response(response)) => response,
            Err(Unperformed::Problem(problem)) => {
                self.with_current(problem.response(self.policy.profile))
            }
        };
        with_common_fields(response, self.request, self.policy, self.now)
    }
}

fn options(target: &Target<'_>, allow: &'static str) -> Response {
    let response = Response::new(200).with_field("Allow", allow);
    let response = match target {
        Target::Document(..) => response.with_field("Accept-Patch", MERGE_PATCH),
        _ => response,
    };
    response.with_field("Content-Length", "0")
}

/// Adds the fields that all responses have. Removes the content if the method is HEAD.
fn with_common_fields(
    response: Response,
    request: &Request<'_>,
    policy: &Policy,
    now: SystemTime,
) -> Response {
    let response = policy.access.with_cors_fields(request, response);
    let response = response
        .with_field("Date", HttpDate::from(now).field_value())
        .with_field("Server", concat!("ifmatch/", env!("CARGO_PKG_VERSION")));
    if request.method == Method::Head {
        response.without_content()
    } else {
        response
    }
}
