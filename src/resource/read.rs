use serde_json::{Map, Value, json};

use crate::collection::Collection;
use crate::document::{Id, Record};
use crate::endpoint::Endpoint;
use crate::entity_tag::EntityTag;
use crate::json::to_json;
#[cfg(feature = "hyper")]
use crate::message::Request;
use crate::message::{Response, Wait};
#[cfg(feature = "hyper")]
use crate::method::Method;
use crate::page::Page;
#[cfg(feature = "hyper")]
use crate::policy::Policy;
use crate::policy::Profile;
use crate::precondition::Preconditions;
use crate::preference;
use crate::preference::Return;
use crate::problem::Problem;
use crate::resource::browser::{SCRIPT, STYLE};
use crate::resource::{Finished, Handler, collection_validators, description, not_found, targets};
use crate::store::List;
use crate::target::{Target, document_path, endpoint_path};
use crate::validators::Validators;
use crate::version::Version;

pub(super) const JSON: &str = "application/json";

/// The longest page, in documents, that is made in no time: 1,000 take as long as 30 other answers.
#[cfg(feature = "hyper")]
const SHORT_PAGE: usize = 100;

/// Whether the answer may be a long list: to a client that reads one and does not say what it has,
/// or to a write that may fail and prefers to be sent the list then.
#[cfg(feature = "hyper")]
pub(crate) fn may_list_much(policy: &Policy, request: &Request<'_>) -> bool {
    let has = |name| request.field_lines(name).next().is_some();
    let is_long = || Page::from_target(request.target).is_ok_and(|it| it.limit > SHORT_PAGE);
    let target = Target::parse(request.target, &policy.collections);
    matches!(target, Ok(Target::Collection(_)))
        && match request.method {
            Method::Get | Method::Head => !has("If-None-Match") && is_long(),
            Method::Post => Return::of(request) == Some(Return::Representation),
            _ => false,
        }
}

impl Handler<'_> {
    /// Answers GET and HEAD.
    pub(super) fn read(&self, target: Target<'_>) -> Result<Response, Finished> {
        let collections = &self.policy.collections;
        match target {
            Target::Root => self.read_root(),
            Target::Endpoint(endpoint) => self.read_endpoint(endpoint),
            Target::Collection(collection) => self.read_collection(collection),
            Target::Document(collection, id) => self.read_document(collection, &id),
            Target::Server | Target::Unknown => {
                let targets = targets(collections);
                Err(Problem::UnknownTarget { targets }.into())
            }
        }
    }

    fn read_endpoint(&self, endpoint: Endpoint) -> Result<Response, Finished> {
        match endpoint {
            Endpoint::OpenApi => {
                let collections = &self.policy.collections;
                let (content, entity_tag) = collections.description(description::describe);
                self.read_fixed(JSON, content, entity_tag.clone())
            }
            Endpoint::Health => self.read_health(),
            Endpoint::Metrics => self.read_metrics(),
            Endpoint::Script => self.read_file(&SCRIPT),
            Endpoint::Style => self.read_file(&STYLE),
        }
    }

    /// Reads the service document.
    pub(super) fn read_service(&self) -> Result<Response, Finished> {
        let collections = &self.policy.collections;
        let link = |it: &Collection| (it.name().to_owned(), json!(collections.path(it)));
        let links: Map<String, Value> = collections.iter().map(link).collect();
        let mut root = json!({
            "links": links,
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let (Profile::Compatible, Some(root)) = (self.policy.profile, root.as_object_mut()) {
            // The older service said no more than this, and its clients look for it.
            root.insert("foo".into(), json!("bar"));
        }
        let content = to_json(&root);
        let entity_tag = EntityTag::digest(&content);
        let response = self.read_fixed(JSON, &content, entity_tag)?;
        let openapi = endpoint_path(collections, Endpoint::OpenApi);
        let link = format!("<{openapi}>; rel=\"service-desc\"");
        Ok(response.with_field("Link", link))
    }

    /// Reads what stays as it is while the server runs.
    pub(super) fn read_fixed(
        &self,
        content_type: &'static str,
        content: &[u8],
        entity_tag: EntityTag,
    ) -> Result<Response, Finished> {
        let validators = Validators::from(entity_tag);
        self.evaluate(&self.preconditions()?, Some(&validators))?;
        let response = self.cacheable(200, &validators);
        Ok(response.with_content(content_type, content.to_vec()))
    }

    fn read_collection(&self, collection: &Collection) -> Result<Response, Finished> {
        let page = Page::from_target(self.request.target)?;
        let preconditions = self.preconditions()?;
        self.select_collection(&preconditions, collection)?;
        let list = self.store.list(collection.name(), page.portion())?;
        // The list may already be newer than what was judged.
        let validators = collection_validators(list.version);
        self.evaluate(&preconditions, Some(&validators))
            .map_err(|end| self.with_wait(end, &preconditions, collection, None, list.version))?;
        let response = self.cacheable(200, &validators);
        Ok(self.with_list(response, collection, &page, list))
    }

    fn read_document(&self, collection: &Collection, id: &str) -> Result<Response, Finished> {
        let selected = self.select_target(collection, id)?;
        let record = selected
            .record
            .ok_or_else(|| not_found(collection, selected.id.as_str()))?;
        let entity_tag = record.version.entity_tag();
        let validators = Validators {
            last_modified: record.version.last_modified(),
            ..entity_tag.clone().into()
        };
        let response = self.cacheable(200, &validators);
        Ok(with_representation(
            response,
            collection,
            &record,
            &entity_tag,
        ))
    }

    /// The same end. If it is a 304 to If-None-Match, it may wait for a change where the client
    /// prefers that and the version is known.
    pub(super) fn with_wait(
        &self,
        end: Finished,
        preconditions: &Preconditions,
        collection: &Collection,
        id: Option<&Id>,
        version: Option<Version>,
    ) -> Finished {
        match (end, version, preference::wait(self.request)) {
            (Finished::Response(unchanged), Some(version), Some(limit))
                if preconditions.if_none_match().is_some() =>
            {
                Finished::Response(unchanged.with_wait(Wait {
                    collection: collection.name().to_owned(),
                    id: id.cloned(),
                    version,
                    limit,
                }))
            }
            (end, _, _) => end,
        }
    }

    /// The start of an answer to GET: kept by caches, and preconditions about each time.
    pub(super) fn cacheable(&self, status: u16, validators: &Validators) -> Response {
        let mut response = Response::new(status).with_field("Cache-Control", "no-cache");
        for (name, value) in validators.field_lines(self.now.into()) {
            response = response.with_field(name, value);
        }
        response
    }

    /// The page as it is shown.
    pub(super) fn with_list(
        &self,
        response: Response,
        collection: &Collection,
        page: &Page,
        list: List,
    ) -> Response {
        let path = self.policy.collections.path(collection);
        let end = list.records.last().filter(|_| list.more);
        let links = page.links(&path, end.map(|record| record.id.as_str()));
        let size: usize = list.records.iter().map(Record::size).sum();
        let mut content = Vec::with_capacity(size + 128 * list.records.len() + 8);
        collection
            .format()
            .write_list(collection, list.records, &mut content);
        response
            .with_field("Link", links)
            .with_content(JSON, content)
    }

    /// The answer to a write that failed with 412, with the current representation in place of
    /// the problem if the client prefers that: so it can merge and try again at once.
    pub(super) fn with_current(&self, failed: Response) -> Response {
        let prefers = Return::of(self.request) == Some(Return::Representation);
        if failed.status() != 412 || self.request.method.is_read() || !prefers {
            return failed;
        }
        let current = match Target::parse(self.request.target, &self.policy.collections) {
            Ok(Target::Document(collection, id)) => self.current_document(collection, &id),
            Ok(Target::Collection(collection)) => self.current_collection(collection),
            _ => None,
        };
        current.unwrap_or(failed)
    }

    fn current_document(&self, collection: &Collection, id: &str) -> Option<Response> {
        let record = self
            .store
            .get(collection.name(), &Id::new(id).ok()?)
            .ok()??;
        let path = document_path(&self.policy.collections, collection, record.id.as_str());
        let entity_tag = record.version.entity_tag();
        let response = current(path, Some(&entity_tag));
        Some(with_representation(
            response,
            collection,
            &record,
            &entity_tag,
        ))
    }

    fn current_collection(&self, collection: &Collection) -> Option<Response> {
        let page = Page::first();
        let list = self.store.list(collection.name(), page.portion()).ok()?;
        let path = self.policy.collections.path(collection);
        let entity_tag = list.version.map(Version::entity_tag);
        let response = current(path, entity_tag.as_ref());
        Some(self.with_list(response, collection, &page, list))
    }
}

fn current(path: String, entity_tag: Option<&EntityTag>) -> Response {
    let mut response = Response::new(412)
        .with_field("Cache-Control", "no-store")
        .with_field("Content-Location", path);
    if let Some(entity_tag) = entity_tag {
        response = response.with_field("ETag", entity_tag.field_value());
    }
    response.with_field("Preference-Applied", Return::Representation.applied())
}

pub(super) fn with_representation(
    response: Response,
    collection: &Collection,
    record: &Record,
    entity_tag: &EntityTag,
) -> Response {
    let mut content = Vec::with_capacity(record.size() + 128);
    let format = collection.format();
    format.write(collection, record, entity_tag, &mut content);
    response.with_content(JSON, content)
}
