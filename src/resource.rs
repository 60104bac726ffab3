//! The resources: from a request to its response.

use std::time::SystemTime;

use crate::collection::{Collection, Collections};
use crate::document::Id;
use crate::endpoint::Endpoint;
use crate::http_date::HttpDate;
use crate::idempotency::IdempotencyKey;
use crate::judgement::Reason;
use crate::message::{Request, Response};
use crate::method::Method;
use crate::policy::{Policy, Profile};
use crate::precondition::{
    IfNoneMatch, Precondition, Preconditions, PreconditionsError, TagSyntax,
};
use crate::problem::{MERGE_PATCH, Problem};
use crate::store::Store;
use crate::target::{Target, TargetError, endpoint_path};
use crate::validators::Validators;
use crate::version::Version;

mod browser;
mod content;
mod description;
mod monitor;
mod read;
mod repetition;
mod write;

use monitor::StoreMonitor;
#[cfg(feature = "hyper")]
pub(crate) use monitor::asks_health;
pub(crate) use monitor::{Monitor, check};
#[cfg(feature = "hyper")]
pub(crate) use read::may_list_much;
use write::{Selected, Write};

/// Answers a request whose content is all there.
///
/// The steps are those of the map in the [crate documentation](crate). When another writer was
/// faster, everything from the selection on is done again: no write is ever blind.
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
    let monitor = StoreMonitor::new(store, policy);
    respond_monitored(store, &monitor, policy, request, now)
}

/// Answers as [`respond`] does, and requests about the server itself by this monitor.
pub(crate) fn respond_monitored(
    store: &dyn Store,
    monitor: &dyn Monitor,
    policy: &Policy,
    request: &Request<'_>,
    now: SystemTime,
) -> Response {
    let handler = Handler {
        store,
        monitor,
        policy,
        request,
        now,
    };
    let result = handler.judge().and_then(|write| handler.perform(write));
    handler.response(result)
}

/// Answers a request whose content has not been read, if that needs no content: with the problem
/// that keeps it from being performed.
///
/// So a write whose preconditions are false is refused before anybody sends or reads a long
/// content for nothing
/// ([RFC 9110 section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
pub(crate) fn respond_early(
    store: &dyn Store,
    monitor: &dyn Monitor,
    policy: &Policy,
    request: &Request<'_>,
    now: SystemTime,
) -> Option<Response> {
    let handler = Handler {
        store,
        monitor,
        policy,
        request,
        now,
    };
    match handler.judge() {
        Err(Finished::Problem(problem)) => Some(handler.response(Err(problem.into()))),
        _ => None,
    }
}

/// Answers a request with a problem of its framing, or of the server itself.
pub(crate) fn refuse(
    problem: Problem,
    request: &Request<'_>,
    policy: &Policy,
    now: SystemTime,
) -> Response {
    with_common_fields(problem.response(policy.profile), request, policy, now)
}

/// What ends a request before anything is written.
enum Finished {
    Response(Response),
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for Finished {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// One request and everything its answer depends on.
struct Handler<'a> {
    store: &'a dyn Store,
    monitor: &'a dyn Monitor,
    policy: &'a Policy,
    request: &'a Request<'a>,
    now: SystemTime,
}

impl<'a> Handler<'a> {
    /// Judges a request by all but its content: it comes to its end, or it is a write whose
    /// preconditions are true.
    fn judge(&self) -> Result<Write<'a>, Finished> {
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
            let targets = targets(collections);
            return Err(Problem::UnknownTarget { targets }.into());
        };
        match (method, target) {
            (Method::Options, target) => Err(Finished::Response(options(&target, allow))),
            (_, Target::Server) => Err(TargetError::Asterisk.into()),
            (Method::Get | Method::Head, target) => Err(Finished::Response(self.read(target)?)),
            (Method::Post, Target::Collection(collection)) => {
                self.refuse_encoded()?;
                Ok(Write::Create(self.select_for_creation(collection)?))
            }
            (Method::Put, Target::Document(collection, id)) => {
                self.refuse_encoded()?;
                self.refuse_partial()?;
                Ok(Write::Replace(self.select_target(collection, &id)?))
            }
            (Method::Patch, Target::Document(collection, id)) => {
                self.refuse_encoded()?;
                Ok(Write::Patch(self.select_target(collection, &id)?))
            }
            (Method::Delete, Target::Document(collection, id)) => {
                Ok(Write::Remove(self.select_target(collection, &id)?))
            }
            _ => Err(Problem::MethodNotAllowed { allow }.into()),
        }
    }

    /// The methods of each target, or nothing where there is no such target.
    fn allow(&self, target: &Target<'_>) -> Option<&'static str> {
        let reads = "GET, HEAD, OPTIONS";
        match target {
            Target::Server => Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
            Target::Root => Some(reads),
            Target::Endpoint(endpoint) => match endpoint {
                Endpoint::OpenApi | Endpoint::Health => Some(reads),
                Endpoint::Metrics => self.monitor.metrics().map(|_| reads),
                Endpoint::Script | Endpoint::Style => self.policy.page.then_some(reads),
            },
            Target::Collection(_) => Some("GET, HEAD, POST, OPTIONS"),
            Target::Document(..) => Some("GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
            Target::Unknown => None,
        }
    }

    /// Selects the collection and evaluates the preconditions on it, if there are any. Gives back
    /// the version that they are true of.
    fn select_collection(
        &self,
        preconditions: &Preconditions,
        collection: &Collection,
    ) -> Result<Option<Version>, Finished> {
        if preconditions.is_empty() {
            return Ok(None);
        }
        let version = self.store.version(collection.name())?;
        self.evaluate(preconditions, Some(&collection_validators(version)))
            .map_err(|end| self.with_wait(end, preconditions, collection, None, version))?;
        Ok(version)
    }

    /// Reads the preconditions, selects the document of the target, and evaluates them on it.
    ///
    /// A missing document gets 404 even if the preconditions are malformed. So does an id that no
    /// document can have, unless the request would create it.
    fn select_target<'c>(
        &self,
        collection: &'c Collection,
        id: &str,
    ) -> Result<Selected<'c>, Finished> {
        let key = self.key()?;
        let preconditions = self.preconditions();
        let creates = preconditions
            .as_ref()
            .is_ok_and(|preconditions| self.creates(preconditions));
        let id = match Id::new(id) {
            Err(_) if !creates => return Err(not_found(collection, id).into()),
            checked => checked.map_err(|error| collection.format().id_error(collection, error))?,
        };
        let wrong = preconditions.is_err() || self.has_unsupported_patch();
        if wrong && self.store.get(collection.name(), &id)?.is_none() {
            return Err(not_found(collection, id.as_str()).into());
        }
        if self.has_unsupported_patch() {
            return Err(Problem::MediaType.into());
        }
        self.select_document(collection, preconditions?, id, key)
    }

    /// Selects the document and evaluates the preconditions on it, or on its absence where the
    /// request would create it. They are not evaluated on what an earlier write with the same key
    /// has made.
    fn select_document<'c>(
        &self,
        collection: &'c Collection,
        preconditions: Preconditions,
        id: Id,
        key: Option<IdempotencyKey>,
    ) -> Result<Selected<'c>, Finished> {
        let record = self.store.get(collection.name(), &id)?;
        let earlier = self.earlier_write(key.as_ref(), collection, &id, record.as_ref())?;
        if record.is_none() && earlier.is_none() && !self.creates(&preconditions) {
            return Err(not_found(collection, id.as_str()).into());
        }
        if earlier.is_none() && !preconditions.is_empty() {
            let version = record.as_ref().map(|record| record.version);
            self.evaluate(&preconditions, version.map(validators).as_ref())
                .map_err(|end| {
                    self.with_wait(end, &preconditions, collection, Some(&id), version)
                })?;
        }
        Ok(Selected {
            collection,
            preconditions,
            id,
            key,
            record,
            earlier,
        })
    }

    /// Whether the request asks to create the document its target names: PUT with
    /// `If-None-Match: *`.
    fn creates(&self, preconditions: &Preconditions) -> bool {
        self.request.method == Method::Put
            && preconditions
                .if_none_match()
                .is_some_and(IfNoneMatch::is_any)
    }

    fn preconditions(&self) -> Result<Preconditions, PreconditionsError> {
        let syntax = match self.policy.profile {
            Profile::Compatible => TagSyntax::QuotedOrBare,
            Profile::Strict => TagSyntax::Quoted,
        };
        Preconditions::from_fields(self.request.fields.iter().copied(), syntax, self.now)
    }

    /// Ends the request unless its preconditions are true.
    fn evaluate(
        &self,
        preconditions: &Preconditions,
        selected: Option<&Validators>,
    ) -> Result<(), Finished> {
        let judged = preconditions.check(self.request.method, selected);
        judged.map_err(|reason| self.not_performed(reason, selected))
    }

    /// The end of a request whose method is not performed.
    fn not_performed(&self, reason: Reason, selected: Option<&Validators>) -> Finished {
        let current = selected.and_then(|validators| validators.entity_tag.clone());
        let problem = match reason {
            Reason::NotModified => {
                let validators = selected.cloned().unwrap_or_default();
                return Finished::Response(self.cacheable(304, &validators));
            }
            // The older service knew no other answer to an If-Match that is not true.
            Reason::BadRequest(PreconditionsError::Malformed(field @ Precondition::IfMatch, _))
                if self.policy.profile == Profile::Compatible =>
            {
                Problem::PreconditionFailed {
                    field,
                    current,
                    weak: false,
                }
            }
            Reason::BadRequest(error) => error.into(),
            Reason::PreconditionFailed { field, weak } => Problem::PreconditionFailed {
                field,
                current,
                weak,
            },
            Reason::PreconditionRequired => Problem::PreconditionRequired { current },
        };
        Finished::Problem(problem)
    }

    fn response(&self, result: Result<Response, Finished>) -> Response {
        let response = match result {
            Ok(response) | Err(Finished::Response(response)) => response,
            Err(Finished::Problem(problem)) => {
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

/// Every target for users of the API, as a sentence lists them.
fn targets(collections: &Collections) -> String {
    let openapi = endpoint_path(collections, Endpoint::OpenApi);
    let mut targets = vec![format!("{}/", collections.prefix()), openapi];
    for collection in collections.iter() {
        let path = collections.path(collection);
        targets.extend([format!("{path}/{{id}}"), path].into_iter().rev());
    }
    let last = targets.pop().unwrap_or_default();
    format!("{} and {last}", targets.join(", "))
}

fn validators(version: Version) -> Validators {
    Validators {
        entity_tag: Some(version.entity_tag()),
        last_modified: version.last_modified(),
    }
}

/// The collection is always there, but not every store knows a version of it.
fn collection_validators(version: Option<Version>) -> Validators {
    version.map(validators).unwrap_or_default()
}

/// The problem of an id that no document has, or can have.
fn not_found(collection: &Collection, id: &str) -> Problem {
    Problem::NotFound {
        noun: collection.format().noun(),
        id: id.to_owned(),
    }
}

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
