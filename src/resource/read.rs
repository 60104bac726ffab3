use std::sync::LazyLock;

use serde_json::json;

use crate::entity_tag::EntityTag;
use crate::message::Response;
use crate::page::Page;
use crate::precondition::Validators;
use crate::problem::Problem;
use crate::representation::{Representation, to_json};
use crate::resource::{End, Exchange, not_found, of_collection, validators};
use crate::store::{Collection, Record};
use crate::target::Target;

const JSON: &str = "application/json";

/// Every path, method, field, status and schema, as `OpenAPI` 3.1; tests hold it against the answers.
const OPENAPI: &[u8] = include_bytes!("openapi.json");

/// Made once: hashing so much takes longer than all the rest of an answer.
static OPENAPI_TAG: LazyLock<EntityTag> = LazyLock::new(|| EntityTag::digest(OPENAPI));

impl Exchange<'_> {
    /// Answers GET and HEAD.
    pub(super) fn read(&self, target: Target) -> Result<Response, End> {
        match target {
            Target::Root => self.read_root(),
            Target::OpenApi => self.read_document(OPENAPI.into(), OPENAPI_TAG.clone()),
            Target::Persons => self.read_collection(),
            Target::Person(id) => self.read_person(id),
            Target::Server | Target::Unknown => Err(Problem::UnknownTarget.into()),
        }
    }

    fn read_root(&self) -> Result<Response, End> {
        let content = to_json(&json!({
            "links": {"persons": "/persons"},
            "name": env!("CARGO_PKG_NAME"),
            "version": env!("CARGO_PKG_VERSION"),
        }));
        let entity_tag = EntityTag::digest(&content);
        let response = self.read_document(content, entity_tag)?;
        let link = "</openapi.json>; rel=\"service-desc\"";
        Ok(response.with_field("Link", link))
    }

    /// Reads what stays as it is while the server runs.
    fn read_document(&self, content: Vec<u8>, entity_tag: EntityTag) -> Result<Response, End> {
        let validators = Validators {
            entity_tag: Some(entity_tag),
            last_modified: None,
        };
        self.evaluate(&self.preconditions()?, Some(&validators))?;
        Ok(self.begin(200, &validators).with_content(JSON, content))
    }

    fn read_collection(&self) -> Result<Response, End> {
        let page = Page::from_target(self.request.target)?;
        let asked = self.preconditions()?;
        self.select_collection(&asked)?;
        // One more than is shown tells whether there are more.
        let list = self.store.list(page.after.as_deref(), page.limit + 1)?;
        // The list may already be newer than what was judged.
        let validators = of_collection(list.version);
        self.evaluate(&asked, Some(&validators))?;
        Ok(listed(self.begin(200, &validators), &page, &list))
    }

    fn read_person(&self, id: String) -> Result<Response, End> {
        let (id, _, record) = self.select_target(id)?;
        let record = record.ok_or_else(|| not_found(&id))?;
        let response = self.begin(200, &validators(record.version));
        Ok(represented(response, &record))
    }

    /// The start of an answer to GET: kept by caches, and asked about each time.
    ///
    /// Last-Modified is never later than Date, even when the machine's clock was set back
    /// ([RFC 9110 section 8.8.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1)).
    pub(super) fn begin(&self, status: u16, validators: &Validators) -> Response {
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
}

/// The page as it is shown, out of a list of at least one more than that, if there are more.
pub(super) fn listed(response: Response, page: &Page, list: &Collection) -> Response {
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

pub(super) fn represented(response: Response, record: &Record) -> Response {
    let content = to_json(&Representation::of(record));
    response.with_content(JSON, content)
}
