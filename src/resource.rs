use std::time::SystemTime;

use crate::entity_tag::{EntityTag, ParseEntityTagError};
use crate::framing::Refusal;
use crate::http_date::HttpDate;
use crate::message::{Method, Request, Response};
use crate::person::PersonId;
use crate::policy::{Policy, Profile};
use crate::precondition::{
    Evaluation, IfMatch, IfNoneMatch, Precondition, Preconditions, TagSyntax, Validators,
};
use crate::problem::Problem;
use crate::representation::{Representation, ServiceDocument, to_json};
use crate::store::{Record, Store, StoreError};
use crate::target::Target;
use crate::version::Version;

mod write;

use write::Action;

/// Answers a request whose content is all there.
///
/// Six steps: find the target, select its representation, read the preconditions, evaluate them,
/// perform the method, and swap the new state in. When another writer was faster, the swap fails
/// and everything from the selection on is done again: no write is ever blind.
///
/// ```
/// use ifmatch::{MemoryStore, Method, Policy, Request, respond};
/// use std::time::SystemTime;
///
/// let store = MemoryStore::new();
/// let create = Request::new(Method::Post, "/persons")
///     .with_content(br#"{"person_id": "1", "person_name": "Wim"}"#);
/// let created = respond(&store, Policy::default(), &create, SystemTime::now());
/// assert_eq!((created.status(), created.field("Location")), (201, Some("/persons/1")));
///
/// let stale = Request::new(Method::Put, "/persons/1")
///     .with_field("If-Match", r#""an older tag""#)
///     .with_content(br#"{"person_name": "Tim"}"#);
/// assert_eq!(respond(&store, Policy::default(), &stale, SystemTime::now()).status(), 412);
/// ```
pub fn respond(
    store: &dyn Store,
    policy: Policy,
    request: &Request<'_>,
    now: SystemTime,
) -> Response {
    let exchange = Exchange {
        store,
        policy,
        request,
        now,
    };
    let answered = exchange.judge().and_then(|judged| match judged {
        Judged::Answered(response) => Ok(response),
        Judged::Write(action) => exchange.perform(action, request.content),
    });
    let (Ok(response) | Err(response)) = answered;
    exchange.finish(response)
}

/// Answers a request whose content has not been read, if that needs no content: with the problem
/// that keeps it from being performed.
///
/// So a write whose preconditions are false is refused before anybody sends or reads a long
/// content for nothing
/// ([RFC 9110 section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)).
pub(crate) fn respond_early(
    store: &dyn Store,
    policy: Policy,
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
        Err(response) if response.status() >= 400 => Some(exchange.finish(response)),
        _ => None,
    }
}

/// Answers a request that is refused for its framing.
pub(crate) fn refuse(refusal: Refusal, policy: Policy, now: SystemTime) -> Response {
    dated(Problem::Refused(refusal).response(policy.profile), now)
}

/// Answers a request during which the server itself failed.
pub(crate) fn fail(policy: Policy, now: SystemTime) -> Response {
    dated(Problem::Panicked.response(policy.profile), now)
}

/// What has become of a request before its content was looked at.
enum Judged {
    Answered(Response),
    /// It is a write whose preconditions are true.
    Write(Action),
}

/// One request and everything its answer depends on. Whatever ends it early is an `Err`.
struct Exchange<'a> {
    store: &'a dyn Store,
    policy: Policy,
    request: &'a Request<'a>,
    now: SystemTime,
}

impl Exchange<'_> {
    fn judge(&self) -> Result<Judged, Response> {
        let method = self.request.method;
        if method == Method::Other {
            return Err(self.problem(Problem::UnknownMethod));
        }
        let target = Target::parse(self.request.target)
            .map_err(|error| self.problem(Problem::Target(error)))?;
        let allow = allow(&target).ok_or_else(|| self.problem(Problem::UnknownTarget))?;
        match (method, target) {
            (Method::Options, _) => Ok(Judged::Answered(options(allow))),
            (Method::Get | Method::Head, Target::Root) => self.read_root(),
            (Method::Get | Method::Head, Target::Persons) => self.read_collection(),
            (Method::Post, Target::Persons) => {
                let asked = self.preconditions()?;
                let collection = self.judged_collection(&asked)?;
                Ok(Judged::Write(Action::Create(asked, collection)))
            }
            (Method::Get | Method::Head, Target::Person(id)) => {
                let (_, _, record) = self.judged_target(&id)?;
                let record = record.ok_or_else(|| self.not_found(&id))?;
                let response = self.readable(&validators(record.version));
                Ok(Judged::Answered(represented(response, &record)))
            }
            (Method::Put, Target::Person(id)) => {
                let (asked, id, record) = self.judged_target(&id)?;
                let selected = record.map(|record| record.version);
                Ok(Judged::Write(Action::Replace(asked, id, selected)))
            }
            (Method::Delete, Target::Person(id)) => {
                let (asked, person, record) = self.judged_target(&id)?;
                let record = record.ok_or_else(|| self.not_found(&id))?;
                Ok(Judged::Write(Action::Remove(asked, person, record.version)))
            }
            _ => Err(self.problem(Problem::MethodNotAllowed { allow })),
        }
    }

    fn read_root(&self) -> Result<Judged, Response> {
        let content = to_json(&ServiceDocument::new());
        let entity_tag = EntityTag::digest(&content);
        let validators = Validators {
            entity_tag: Some(entity_tag),
            last_modified: None,
        };
        self.evaluate(&self.preconditions()?, Some(&validators))?;
        let response = self.readable(&validators);
        Ok(Judged::Answered(
            response.with_content("application/json", content),
        ))
    }

    fn read_collection(&self) -> Result<Judged, Response> {
        let asked = self.preconditions()?;
        self.judged_collection(&asked)?;
        let list = self.store.list().map_err(|error| self.unavailable(error))?;
        // The list may already be newer than what was judged.
        let validators = validators(list.version);
        self.evaluate(&asked, Some(&validators))?;
        let members: Vec<_> = list.records.iter().map(Representation::of).collect();
        let response = self.readable(&validators);
        Ok(Judged::Answered(
            response.with_content("application/json", to_json(&members)),
        ))
    }

    /// Selects the collection and evaluates the preconditions on it.
    fn judged_collection(&self, asked: &Preconditions) -> Result<Version, Response> {
        let version = self
            .store
            .version()
            .map_err(|error| self.unavailable(error))?;
        self.evaluate(asked, Some(&validators(version)))?;
        Ok(version)
    }

    /// Reads the preconditions, selects the person of the target and evaluates them on it.
    ///
    /// An id that no person can have is one that is not found, unless it is to be created.
    fn judged_target(
        &self,
        id: &str,
    ) -> Result<(Preconditions, PersonId, Option<Record>), Response> {
        let asked = self.preconditions()?;
        let id = match PersonId::new(id) {
            Ok(id) => id,
            Err(error) if self.creates(&asked) => {
                return Err(self.problem(Problem::Content(error)));
            }
            Err(_) => return Err(self.not_found(id)),
        };
        let record = self.judged_person(&asked, &id)?;
        Ok((asked, id, record))
    }

    /// Selects the person and evaluates the preconditions on it, or on its absence where the
    /// request would create it.
    fn judged_person(
        &self,
        asked: &Preconditions,
        id: &PersonId,
    ) -> Result<Option<Record>, Response> {
        let record = self
            .store
            .get(id)
            .map_err(|error| self.unavailable(error))?;
        if record.is_none() && !self.creates(asked) {
            return Err(self.not_found(id.as_str()));
        }
        let selected = record.as_ref().map(|record| validators(record.version));
        self.evaluate(asked, selected.as_ref())?;
        Ok(record)
    }

    /// Whether the request asks to create the person its target names: PUT with
    /// `If-None-Match: *`.
    fn creates(&self, asked: &Preconditions) -> bool {
        self.request.method == Method::Put && asked.if_none_match().is_some_and(IfNoneMatch::is_any)
    }

    fn preconditions(&self) -> Result<Preconditions, Response> {
        let syntax = match self.policy.profile {
            Profile::Compatible => TagSyntax::QuotedOrBare,
            Profile::Strict => TagSyntax::Quoted,
        };
        Preconditions::from_fields(self.request.fields.iter().copied(), syntax, self.now)
            .map_err(|error| self.problem(Problem::Preconditions(error)))
    }

    /// Turns an evaluation that ends the request into its answer.
    fn evaluate(
        &self,
        asked: &Preconditions,
        selected: Option<&Validators>,
    ) -> Result<(), Response> {
        let method = self.request.method;
        if let Some(problem) = malformed(asked, method, self.policy.profile) {
            return Err(self.problem(problem));
        }
        match asked.evaluate(method, selected) {
            Evaluation::Perform => Ok(()),
            Evaluation::NotModified => Err(self
                .readable(selected.unwrap_or(&Validators::default()))
                .with_status(304)),
            Evaluation::PreconditionFailed(field) => {
                let current = selected.and_then(|validators| validators.entity_tag.clone());
                Err(self.problem(Problem::PreconditionFailed { field, current }))
            }
        }
    }

    /// The start of an answer to GET: kept by caches, and asked about each time.
    ///
    /// Last-Modified is never later than Date, even when the machine's clock was set back
    /// ([RFC 9110 section 8.8.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1)).
    fn readable(&self, validators: &Validators) -> Response {
        let mut response = Response::new(200).with_field("Cache-Control", "no-cache");
        if let Some(entity_tag) = &validators.entity_tag {
            response = response.with_field("ETag", entity_tag.to_string());
        }
        if let Some(last_modified) = validators.last_modified {
            let last_modified = last_modified.min(self.now.into());
            response = response.with_field("Last-Modified", last_modified.to_string());
        }
        response
    }

    fn problem(&self, problem: Problem) -> Response {
        problem.response(self.policy.profile)
    }

    fn not_found(&self, id: &str) -> Response {
        self.problem(Problem::NotFound { id: id.to_owned() })
    }

    fn unavailable(&self, error: StoreError) -> Response {
        self.problem(Problem::Unavailable(error))
    }

    fn finish(&self, response: Response) -> Response {
        let response = dated(response, self.now);
        if self.request.method == Method::Head {
            response.without_content()
        } else {
            response
        }
    }
}

/// The methods of each target, or nothing where there is no such target.
fn allow(target: &Target) -> Option<&'static str> {
    match target {
        Target::Server => Some("GET, HEAD, POST, PUT, DELETE, OPTIONS"),
        Target::Root => Some("GET, HEAD, OPTIONS"),
        Target::Persons => Some("GET, HEAD, POST, OPTIONS"),
        Target::Person(_) => Some("GET, HEAD, PUT, DELETE, OPTIONS"),
        Target::Unknown => None,
    }
}

fn options(allow: &'static str) -> Response {
    Response::new(200)
        .with_field("Allow", allow)
        .with_field("Content-Length", "0")
}

fn validators(version: Version) -> Validators {
    Validators {
        entity_tag: Some(version.entity_tag()),
        last_modified: Some(version.last_modified()),
    }
}

fn represented(response: Response, record: &Record) -> Response {
    let content = to_json(&Representation::of(record));
    response.with_content("application/json", content)
}

fn dated(response: Response, now: SystemTime) -> Response {
    response
        .with_field("Date", HttpDate::from(now).to_string())
        .with_field("Server", concat!("ifmatch/", env!("CARGO_PKG_VERSION")))
}

/// The precondition that is too malformed to be evaluated.
///
/// An If-None-Match that nobody can read would let a write through or stop it for no reason. An
/// If-Match is false then, which is safe; the strict profile says what is wrong with it.
fn malformed(asked: &Preconditions, method: Method, profile: Profile) -> Option<Problem> {
    let problem = |field, error: &ParseEntityTagError| {
        Some(Problem::MalformedPrecondition(field, error.clone()))
    };
    match (asked.if_match().and_then(IfMatch::malformed), profile) {
        (Some(error), Profile::Strict) => problem(Precondition::IfMatch, error),
        _ if method.is_read() => None,
        _ => {
            let error = asked.if_none_match().and_then(IfNoneMatch::malformed)?;
            problem(Precondition::IfNoneMatch, error)
        }
    }
}
