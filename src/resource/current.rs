use crate::message::Response;
use crate::page::Page;
use crate::person::PersonId;
use crate::preference::Return;
use crate::resource::Exchange;
use crate::resource::read::{listed, represented};
use crate::target::Target;
use crate::version::Version;

impl Exchange<'_> {
    /// The answer to a write that failed with 412, with the current representation in place of
    /// the problem if the client prefers that: so it can merge and try again at once.
    pub(super) fn with_current(&self, failed: Response) -> Response {
        let prefers = Return::of(self.request) == Some(Return::Representation);
        if failed.status() != 412 || self.request.method.is_read() || !prefers {
            return failed;
        }
        let current = match Target::parse(self.request.target) {
            Ok(Target::Person(id)) => self.current_person(id),
            Ok(Target::Persons) => self.current_collection(),
            _ => None,
        };
        current.unwrap_or(failed)
    }

    fn current_person(&self, id: String) -> Option<Response> {
        let record = self.store.get(&PersonId::new(id).ok()?).ok()??;
        let path = Target::person_path(record.person.id().as_str());
        Some(represented(current(path, Some(record.version)), &record))
    }

    fn current_collection(&self) -> Option<Response> {
        let page = Page::first();
        let list = self.store.list(None, page.limit + 1).ok()?;
        Some(listed(
            current("/persons".into(), list.version),
            &page,
            &list,
        ))
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
