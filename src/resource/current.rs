use crate::collection::Collection;
use crate::document::Id;
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
            Ok(Target::Document(collection, id)) => self.current_document(collection, id),
            Ok(Target::Collection(collection)) => self.current_collection(collection),
            _ => None,
        };
        current.unwrap_or(failed)
    }

    fn current_document(&self, collection: &Collection, id: String) -> Option<Response> {
        let record = self
            .store
            .get(collection.name(), &Id::new(id).ok()?)
            .ok()??;
        let path = document_path(&self.policy.collections, collection, record.id.as_str());
        let response = current(path, Some(record.version));
        Some(represented(response, collection, &record))
    }

    fn current_collection(&self, collection: &Collection) -> Option<Response> {
        let page = Page::first();
        let list = self.store.list(collection.name(), page.portion()).ok()?;
        let path = self.policy.collections.path(collection);
        let response = current(path, list.version);
        Some(self.listed(response, collection, &page, list))
    }
}

fn current(path: String, version: Option<Version>) -> Response {
    let mut response = Response::new(412)
        .with_field("Cache-Control", "no-store")
        .with_field("Content-Location", path);
    if let Some(version) = version {
        response = response.with_field("ETag", version.entity_tag().to_string());
    }
    response.with_field("Preference-Applied", Return::Representation.applied())
}
