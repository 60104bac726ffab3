use crate::collection::Collection;
use crate::document::Id;
use crate::entity_tag::EntityTag;
use crate::message::Response;
use crate::page::Page;
use crate::preference::Return;
use crate::resource::Exchange;
use crate::resource::read::represented;
use crate::target::{Target, document_path};
use crate::version::Version;

impl Exchange<'_> {
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
        Some(represented(response, collection, &record, &entity_tag))
    }

    fn current_collection(&self, collection: &Collection) -> Option<Response> {
        let page = Page::first();
        let list = self.store.list(collection.name(), page.portion()).ok()?;
        let path = self.policy.collections.path(collection);
        let entity_tag = list.version.map(Version::entity_tag);
        let response = current(path, entity_tag.as_ref());
        Some(self.listed(response, collection, &page, list))
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
