//! Answering GET and HEAD.

use serde_json::{Map, Value, json};

use crate::collection::Collection;
use crate::document::{Id, Record};
use crate::endpoint::Endpoint;
use crate::entity_tag::EntityTag;
use crate::json::to_pretty_json;
use crate::message::Response;
use crate::page::Page;
use crate::preference::Return;
use crate::problem::{JSON, Profile};
use crate::resource::browser::{SCRIPT, STYLE};
use crate::resource::selection::validators;
use crate::resource::{Handler, Unperformed, description};
use crate::store::List;
use crate::target::{Target, document_path, endpoint_path};
use crate::validators::Validators;
use crate::version::Version;

impl Handler<'_> {
    /// Answers GET and HEAD of a target that exists.
    pub(super) fn read(&self, target: Target<'_>) -> Result<Response, Unperformed> {
        match target {
            Target::Root => self.read_root(),
            Target::Endpoint(endpoint) => self.read_endpoint(endpoint),
            Target::Collection(collection) => self.read_collection(collection),
            Target::Document(collection, id) => self.read_document(collection, &id),
            Target::Server | Target::Unknown => Err(self.unknown_target().into()),
        }
    }

    fn read_endpoint(&self, endpoint: Endpoint) -> Result<Response, Unperformed> {
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
    pub(super) fn read_service(&self) -> Result<Response, Unperformed> {
        let collections = &self.policy.collections;
        let link = |it: &Collection| (it.name().to_owned(), json!(collections.path(it)));
        let links: Map<String, Value> = collections.iter().map(link).collect();
        let mut root = json!({
            "links": links,
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
        });
        if let (Profile::Compatible, Some(root)) = (self.policy.profile, root.as_object_mut()) {
            // The older service answers with this member alone, and its clients check it.
            root.insert("foo".into(), json!("bar"));
        }
        let content = to_pretty_json(&root);
        let entity_tag = EntityTag::digest(&content);
        let response = self.read_fixed(JSON, &content, entity_tag)?;
        let openapi = endpoint_path(collections, Endpoint::OpenApi);
        let link = format!("<{openapi}>; rel=\"service-desc\"");
        Ok(response.with_field("Link", link))
    }

    /// Reads content that does not change while the server runs.
    pub(super) fn read_fixed(
        &self,
        content_type: &'static str,
        content: &[u8],
        entity_tag: EntityTag,
    ) -> Result<Response, Unperformed> {
        let validators = Validators::from(entity_tag);
        self.evaluate(&self.preconditions()?, Some(&validators))?;
        let response = self.cacheable(200, &validators);
        Ok(response.with_content(content_type, content.to_vec()))
    }

    fn read_collection(&self, collection: &Collection) -> Result<Response, Unperformed> {
        let page = Page::from_target(self.request.target)?;
        let preconditions = self.preconditions()?;
        self.evaluate_on_collection(&preconditions, collection)?;
        let list = self.store.list(collection.name(), page.portion())?;
        // The list may be of a later version than the one that was evaluated.
        self.evaluate_on_version(&preconditions, collection, None, list.version)?;
        let validators = list.version.map(validators).unwrap_or_default();
        let response = self.cacheable(200, &validators);
        Ok(self.with_list(response, collection, &page, list))
    }

    fn read_document(&self, collection: &Collection, id: &str) -> Result<Response, Unperformed> {
        let selected = self.select_target(collection, id)?;
        let record = selected.existing()?;
        let entity_tag = record.version.entity_tag();
        let validators = Validators {
            last_modified: record.version.last_modified(),
            ..entity_tag.clone().into()
        };
        let response = self.cacheable(200, &validators);
        Ok(with_document(response, collection, record, &entity_tag))
    }

    /// A response that caches may store, and must validate before each use.
    pub(super) fn cacheable(&self, status: u16, validators: &Validators) -> Response {
        Response::new(status)
            .with_field("Cache-Control", "no-cache")
            .with_validators(validators, self.now.into())
    }

    /// The response with a page of the collection.
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

    /// Replaces the content of a 412 to a write by the current representation, if the client prefers
    /// that. Then it can merge its change and try again without another request.
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
        let response = failed_with_current(path, Some(&entity_tag));
        Some(with_document(response, collection, &record, &entity_tag))
    }

    fn current_collection(&self, collection: &Collection) -> Option<Response> {
        let page = Page::first();
        let list = self.store.list(collection.name(), page.portion()).ok()?;
        let path = self.policy.collections.path(collection);
        let entity_tag = list.version.map(Version::entity_tag);
        let response = failed_with_current(path, entity_tag.as_ref());
        Some(self.with_list(response, collection, &page, list))
    }
}

/// A 412 for the current representation of the resource at `path`.
fn failed_with_current(path: String, entity_tag: Option<&EntityTag>) -> Response {
    let response = Response::new(412)
        .with_field("Cache-Control", "no-store")
        .with_field("Content-Location", path);
    let response = match entity_tag {
        Some(entity_tag) => response.with_entity_tag(entity_tag),
        None => response,
    };
    response.with_field("Preference-Applied", Return::Representation.applied())
}

/// The response with the representation of a document.
pub(super) fn with_document(
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
