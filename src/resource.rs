use std::sync::LazyLock;
use std::time::SystemTime;

use crate::entity_tag::{EntityTag, ParseEntityTagError};
use crate::framing::Refusal;
use crate::http_date::HttpDate;
use crate::message::{Method, Request, Response};
use crate::page::Page;
use crate::person::PersonId;
use crate::policy::{Policy, Profile};
use crate::precondition::{
    Evaluation, IfNoneMatch, Precondition, Preconditions, PreconditionsError, TagSyntax, Validators,
};
use crate::problem::Problem;
use crate::representation::{Representation, ServiceDocument, to_json};
use crate::store::{Collection, Record, Store};
use crate::target::{Target, TargetError};
use crate::version::Version;

mod current;
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
    let answered = match exchange.judge() {
        Ok(Judged::Answered(response)) => Ok(response),
        Ok(Judged::Write(action)) => exchange.perform(action, request.content),
        Err(end) => Err(end),
    };
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

/// Answers a request that is refused for its framing.
pub(crate) fn refuse(
    refusal: Refusal,
    request: &Request<'_>,
    policy: &Policy,
    now: SystemTime,
) -> Response {
    finished(
        Problem::Refused(refusal).response(policy.profile),
        request,
        policy,
        now,
    )
}

/// Answers a request during which the server itself failed.
pub(crate) fn fail(request: &Request<'_>, policy: &Policy, now: SystemTime) -> Response {
    finished(
        Problem::Panicked.response(policy.profile),
        request,
        policy,
        now,
    )
}

/// What has become of a request before its content was looked at.
enum Judged {
    Answered(Response),
    /// It is a write whose preconditions are true.
    Write(Action),
}

/// What ends a request before its method is performed.
enum End {
    NotModified(Validators),
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
    fn judge(&self) -> Result<Judged, End> {
        self.policy.access.check(self.request)?;
        let method = self.request.method;
        if method == Method::Other {
            return Err(Problem::UnknownMethod.into());
        }
        let target = Target::parse(self.request.target)?;
        let allow = allow(&target).ok_or(Problem::UnknownTarget)?;
        match (method, target) {
            (Method::Options, _) => Ok(Judged::Answered(options(allow))),
            (Method::Get | Method::Head, Target::Root) => self.read_root(),
            (Method::Get | Method::Head, Target::OpenApi) => {
                let document = self.read_document(OPENAPI.into(), OPENAPI_TAG.clone());
                document.map(Judged::Answered)
            }
            (Method::Get | Method::Head, Target::Persons) => self.read_collection(),
            (Method::Get | Method::Head, Target::Person(id)) => self.read_person(id),
            (Method::Post, Target::Persons) => {
                let asked = self.preconditions()?;
                let collection = self.judged_collection(&asked)?;
                Ok(Judged::Write(Action::Create(asked, collection)))
            }
            (Method::Put, Target::Person(id)) => {
                let (id, asked, record) = self.judged_target(id)?;
                let selected = record.map(|record| record.version);
                Ok(Judged::Write(Action::Replace(asked, id, selected)))
            }
            (Method::Delete, Target::Person(id)) => {
                let (id, asked, record) = self.judged_target(id)?;
                let selected = record.ok_or_else(|| not_found(&id))?.version;
                Ok(Judged::Write(Action::Remove(asked, id, selected)))
            }
            (_, Target::Server) => Err(TargetError::Asterisk.into()),
            _ => Err(Problem::MethodNotAllowed { allow }.into()),
        }
    }

    fn read_root(&self) -> Result<Judged, End> {
        let content = to_json(&ServiceDocument::new());
        let entity_tag = EntityTag::digest(&content);
        let response = self.read_document(content, entity_tag)?;
        let link = "</openapi.json>; rel=\"service-desc\"";
        Ok(Judged::Answered(response.with_field("Link", link)))
    }

    /// Reads what stays as it is while the server runs.
    fn read_document(&self, content: Vec<u8>, entity_tag: EntityTag) -> Result<Response, End> {
        let validators = Validators {
            entity_tag: Some(entity_tag),
            last_modified: None,
        };
        self.evaluate(&self.preconditions()?, Some(&validators))?;
        Ok(self.read(200, &validators).with_content(JSON, content))
    }

    fn read_collection(&self) -> Result<Judged, End> {
        let page = Page::from_target(self.request.target)?;
        let asked = self.preconditions()?;
        self.judged_collection(&asked)?;
        // One more than is shown tells whether there are more.
        let list = self.store.list(page.after.as_deref(), page.limit + 1)?;
        // The list may already be newer than what was judged.
        let validators = of_collection(list.version);
        self.evaluate(&asked, Some(&validators))?;
        Ok(Judged::Answered(listed(
            self.read(200, &validators),
            &page,
            &list,
        )))
    }

    fn read_person(&self, id: String) -> Result<Judged, End> {
        let (id, _, record) = self.judged_target(id)?;
        let record = record.ok_or_else(|| not_found(&id))?;
        let response = self.read(200, &validators(record.version));
        Ok(Judged::Answered(represented(response, &record)))
    }

    /// Selects the collection and evaluates the preconditions on it, if there are any. Gives back
    /// the version that they are true of.
    fn judged_collection(&self, asked: &Preconditions) -> Result<Option<Version>, End> {
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
    fn judged_target(&self, id: String) -> Result<(PersonId, Preconditions, Option<Record>), End> {
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
        let record = self.judged_person(&asked, &id)?;
        Ok((id, asked, record))
    }

    /// Selects the person and evaluates the preconditions on it, or on its absence where the
    /// request would create it.
    fn judged_person(&self, asked: &Preconditions, id: &PersonId) -> Result<Option<Record>, End> {
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
                return Err(End::NotModified(selected.cloned().unwrap_or_default()));
            }
            Evaluation::PreconditionFailed(field) => field,
        };
        if let Some(error) = self.malformed(asked, field) {
            return Err(Problem::MalformedPrecondition(field, error.clone()).into());
        }
        let current = selected.and_then(|validators| validators.entity_tag.clone());
        Err(Problem::PreconditionFailed { field, current }.into())
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

    /// The start of an answer to GET: kept by caches, and asked about each time.
    ///
    /// Last-Modified is never later than Date, even when the machine's clock was set back
    /// ([RFC 9110 section 8.8.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1)).
    fn read(&self, status: u16, validators: &Validators) -> Response {
        let mut response = Response::new(status).with_field("Cache-Control", "no-cache");
        if let Some(entity_tag) = &validators.entity_tag {
            response = response.with_field("ETag", entity_tag.to_string());
        }
        if let Some(last_modified) = validators.last_modified {
            let last_modified = last_modified.min(self.now.into());
            response = response.with_field("Last-Modified", last_modified.to_string());
        }
        response
    }

    fn finish(&self, answered: Result<Response, End>) -> Response {
        let response = match answered {
            Ok(response) => response,
            Err(End::NotModified(validators)) => self.read(304, &validators),
            Err(End::Problem(problem)) => self.with_current(problem.response(self.policy.profile)),
        };
        finished(response, self.request, self.policy, self.now)
    }
}

const JSON: &str = "application/json";

/// Every path, method, field, status and schema, as `OpenAPI` 3.1; tests hold it against the answers.
const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// Made once: hashing so much takes longer than all the rest of an answer.
static OPENAPI_TAG: LazyLock<EntityTag> = LazyLock::new(|| EntityTag::digest(OPENAPI));

/// The page as it is shown, out of a list of at least one more than that, if there are more.
fn listed(response: Response, page: &Page, list: &Collection) -> Response {
    let shown = page.cut(&list.records);
    let more = list.records.len() > shown.len();
    let links = page.links(
        shown
            .last()
            .filter(|_| more)
            .map(|end| end.person.id().as_str()),
    );
    let members: Vec<_> = shown.iter().map(Representation::of).collect();
    response
        .with_field("Link", links)
        .with_content(JSON, to_json(&members))
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

fn options(allow: &'static str) -> Response {
    Response::new(200)
        .with_field("Allow", allow)
        .with_field("Content-Length", "0")
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

fn represented(response: Response, record: &Record) -> Response {
    let content = to_json(&Representation::of(record));
    response.with_content(JSON, content)
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
