//! The persons: from a request to its response.

use std::time::SystemTime;

use crate::entity_tag::ParseEntityTagError;
use crate::http_date::HttpDate;
use crate::message::{Method, Request, Response};
use crate::person::PersonId;
use crate::policy::{Policy, Profile};
use crate::precondition::{
    Evaluation, IfNoneMatch, Precondition, Preconditions, PreconditionsError, TagSyntax, Validators,
};
use crate::problem::Problem;
use crate::store::{Record, Store};
use crate::target::{Target, TargetError};
use crate::version::Version;

mod current;
mod read;
mod write;

use write::Action;

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
    let exchange = Exchange {
        store,
        policy,
        request,
        now,
    };
    let answered = exchange.judge().and_then(|write| exchange.perform(write));
    exchange.finish(answered)
}

/// Answers a request whose content has not been read, if that needs no content: with the problem
/// that keeps it from being performed.
///
/// So a write whose preconditions are false is refused before anybody sends or reads a long
/// content for nothing
/// ([RFC 9110 section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
pub(crate) fn respond_early(
    store: &dyn Store,
    policy: &Policy,
    request: &Request<'_>,
    now: SystemTime,
) -> Option<Response> {
    let exchange = Exchange {
        store,
        policy,
        request,
        now,
    };
    match exchange.judge() {
        Err(End::Problem(problem)) => Some(exchange.finish(Err(problem.into()))),
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
    finished(problem.response(policy.profile), request, policy, now)
}

/// What ends a request before anything is written.
enum End {
    Answered(Response),
    Problem(Problem),
}

impl<E: Into<Problem>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

/// One request and everything its answer depends on.
struct Exchange<'a> {
    store: &'a dyn Store,
    policy: &'a Policy,
    request: &'a Request<'a>,
    now: SystemTime,
}

impl Exchange<'_> {
    /// Judges a request by all but its content: it comes to its end, or it is a write whose
    /// preconditions are true.
    fn judge(&self) -> Result<Action, End> {
        self.policy.access.check(self.request)?;
        let method = self.request.method;
        if method == Method::Other {
            return Err(Problem::UnknownMethod.into());
        }
        let target = Target::parse(self.request.target)?;
        let allow = allow(&target).ok_or(Problem::UnknownTarget)?;
        match (method, target) {
            (Method::Options, _) => Err(End::Answered(options(allow))),
            (_, Target::Server) => Err(TargetError::Asterisk.into()),
            (Method::Get | Method::Head, target) => Err(End::Answered(self.read(target)?)),
            (Method::Post, Target::Persons) => {
                let asked = self.preconditions()?;
                let collection = self.select_collection(&asked)?;
                Ok(Action::Create(asked, collection))
            }
            (Method::Put, Target::Person(id)) => {
                self.refuse_partial()?;
                let (id, asked, record) = self.select_target(id)?;
                let selected = record.map(|record| record.version);
                Ok(Action::Replace(asked, id, selected))
            }
            (Method::Delete, Target::Person(id)) => {
                let (id, asked, record) = self.select_target(id)?;
                let selected = record.ok_or_else(|| not_found(&id))?.version;
                Ok(Action::Remove(asked, id, selected))
            }
            _ => Err(Problem::MethodNotAllowed { allow }.into()),
        }
    }

    /// Refuses a PUT with Content-Range, whose content is a part of the representation.
    ///
    /// [RFC 9110 section 14.5](https://www.rfc-editor.org/rfc/rfc9110#section-14.5)
    fn refuse_partial(&self) -> Result<(), Problem> {
        match self.request.field_lines("Content-Range").next() {
            Some(_) => Err(Problem::PartialPut),
            None => Ok(()),
        }
    }

    /// Selects the collection and evaluates the preconditions on it, if there are any. Gives back
    /// the version that they are true of.
    fn select_collection(&self, asked: &Preconditions) -> Result<Option<Version>, End> {
        if asked.is_empty() {
            return Ok(None);
        }
        let version = self.store.version()?;
        self.evaluate(asked, Some(&of_collection(version)))?;
        Ok(version)
    }

    /// Reads the preconditions, selects the person of the target, and evaluates them on it.
    ///
    /// A person who is not there is told before anything that is wrong with the preconditions. So
    /// is an id that no person can have, unless the request would create it.
    fn select_target(&self, id: String) -> Result<(PersonId, Preconditions, Option<Record>), End> {
        let asked = self.preconditions();
        let creates = asked.as_ref().is_ok_and(|asked| self.creates(asked));
        let id = match PersonId::new(id.as_str()) {
            Err(_) if !creates => return Err(Problem::NotFound { id }.into()),
            checked => checked?,
        };
        if asked.is_err() && self.store.get(&id)?.is_none() {
            return Err(not_found(&id).into());
        }
        let asked = asked?;
        let record = self.select_person(&asked, &id)?;
        Ok((id, asked, record))
    }

    /// Selects the person and evaluates the preconditions on it, or on its absence where the
    /// request would create it.
    fn select_person(&self, asked: &Preconditions, id: &PersonId) -> Result<Option<Record>, End> {
        let record = self.store.get(id)?;
        if record.is_none() && !self.creates(asked) {
            return Err(not_found(id).into());
        }
        if !asked.is_empty() {
            let selected = record.as_ref().map(|record| validators(record.version));
            self.evaluate(asked, selected.as_ref())?;
        }
        Ok(record)
    }

    /// Whether the request asks to create the person its target names: PUT with
    /// `If-None-Match: *`.
    fn creates(&self, asked: &Preconditions) -> bool {
        self.request.method == Method::Put && asked.if_none_match().is_some_and(IfNoneMatch::is_any)
    }

    fn preconditions(&self) -> Result<Preconditions, PreconditionsError> {
        let syntax = match self.policy.profile {
            Profile::Compatible => TagSyntax::QuotedOrBare,
            Profile::Strict => TagSyntax::Quoted,
        };
        Preconditions::from_fields(self.request.fields.iter().copied(), syntax, self.now)
    }

    /// Ends the request unless its method is to be performed.
    fn evaluate(&self, asked: &Preconditions, selected: Option<&Validators>) -> Result<(), End> {
        let field = match asked.evaluate(self.request.method, selected) {
            Evaluation::Perform => return Ok(()),
            Evaluation::NotModified => {
                let unchanged = self.begin(304, &selected.cloned().unwrap_or_default());
                return Err(End::Answered(unchanged));
            }
            Evaluation::PreconditionFailed(field) => field,
        };
        if let Some(error) = self.malformed(asked, field) {
            return Err(Problem::MalformedPrecondition(field, error.clone()).into());
        }
        let current = selected.and_then(|validators| validators.entity_tag.clone());
        let weak = asked
            .if_match()
            .is_some_and(|if_match| if_match.is_weak_match(selected));
        Err(Problem::PreconditionFailed {
            field,
            current,
            weak,
        }
        .into())
    }

    /// Why a false precondition could not be read, where it is a mistake to be told of.
    ///
    /// The compatible profile leaves it at an If-Match that is false.
    fn malformed<'p>(
        &self,
        asked: &'p Preconditions,
        field: Precondition,
    ) -> Option<&'p ParseEntityTagError> {
        match (field, self.policy.profile) {
            (Precondition::IfMatch, Profile::Strict) => asked.if_match()?.malformed(),
            (Precondition::IfNoneMatch, _) => asked.if_none_match()?.malformed(),
            _ => None,
        }
    }

    fn finish(&self, answered: Result<Response, End>) -> Response {
        let response = match answered {
            Ok(response) | Err(End::Answered(response)) => response,
            Err(End::Problem(problem)) => self.with_current(problem.response(self.policy.profile)),
        };
        finished(response, self.request, self.policy, self.now)
    }
}

fn options(allow: &'static str) -> Response {
    Response::new(200)
        .with_field("Allow", allow)
        .with_field("Content-Length", "0")
}

/// The methods of each target, or nothing where there is no such target.
fn allow(target: &Target) -> Option<&'static str> {
    match target {
        Target::Server => Some("GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        Target::Root | Target::OpenApi => Some("GET, HEAD, OPTIONS"),
        Target::Persons => Some("GET, HEAD, POST, OPTIONS"),
        Target::Person(_) => Some("GET, HEAD, PUT, DELETE, OPTIONS"),
        Target::Unknown => None,
    }
}

fn validators(version: Version) -> Validators {
    Validators {
        entity_tag: Some(version.entity_tag()),
        last_modified: version.last_modified(),
    }
}

/// The collection is always there, but not every store knows a version of it.
fn of_collection(version: Option<Version>) -> Validators {
    version.map(validators).unwrap_or_default()
}

fn not_found(id: &PersonId) -> Problem {
    Problem::NotFound {
        id: id.as_str().to_owned(),
    }
}

fn finished(
    response: Response,
    request: &Request<'_>,
    policy: &Policy,
    now: SystemTime,
) -> Response {
    let response = policy.access.share(request, response);
    let response = response
        .with_field("Date", HttpDate::from(now).to_string())
        .with_field("Server", concat!("ifmatch/", env!("CARGO_PKG_VERSION")));
    if request.method == Method::Head {
        response.without_content()
    } else {
        response
    }
}
