//! Performing POST, PUT, PATCH and DELETE.

use crate::collection::Collection;
use crate::document::Record;
use crate::idempotency::IdempotencyKey;
use crate::json::Json;
use crate::judgement::WithoutIfMatch;
use crate::message::Response;
use crate::precondition::Preconditions;
use crate::preference::Return;
use crate::problem::Problem;
use crate::resource::creation::Creation;
use crate::resource::read::with_document;
use crate::resource::selection::{Selected, validators};
use crate::resource::{Handler, Unperformed};
use crate::store::{StoreError, Swap, SwapError};
use crate::target::document_path;
use crate::version::Version;

/// A write that still needs its content, with the selected state.
///
/// Its preconditions are true, with two exceptions: a write that has the key of the last write of its
/// document is not evaluated, and a POST with a key is evaluated in [`Handler::create`].
pub(super) enum Write<'a> {
    Create(Creation<'a>),
    /// Replaces the document, or creates it where there is none.
    Replace(Selected<'a>),
    Patch(Selected<'a>),
    Remove(Selected<'a>),
}

impl Handler<'_> {
    /// Performs a write. If another client changes the state first, selects and evaluates again.
    pub(super) fn perform(&self, write: Write<'_>) -> Result<Response, Unperformed> {
        if let Write::Replace(selected) | Write::Patch(selected) | Write::Remove(selected) = &write
        {
            self.stop_if_selected_repeated(selected)?;
        }
        match write {
            Write::Create(creation) => self.create(&creation),
            Write::Replace(selected) => self.replace(selected),
            Write::Patch(selected) => self.patch(selected),
            Write::Remove(selected) => self.remove(selected),
        }
    }

    /// Finishes the request if it repeats the last write of the selected document.
    fn stop_if_selected_repeated(&self, selected: &Selected<'_>) -> Result<(), Unperformed> {
        let (record, earlier) = (selected.record.as_ref(), selected.earlier.as_deref());
        self.stop_if_repeated(selected.collection, &selected.id, record, earlier)
    }

    /// Selects and evaluates the document again, after another client has changed it.
    fn select_again<'c>(&self, outdated: Selected<'c>) -> Result<Selected<'c>, Unperformed> {
        let Selected {
            collection,
            preconditions,
            id,
            key,
            ..
        } = outdated;
        let selected = self.select_document(collection, preconditions, id, key)?;
        self.stop_if_selected_repeated(&selected)?;
        Ok(selected)
    }

    fn replace(&self, mut selected: Selected<'_>) -> Result<Response, Unperformed> {
        let collection = selected.collection;
        let document = collection
            .read_state(&selected.id, self.request.content)
            .map_err(|error| self.not_admitted(error))?;
        loop {
            let (id, record) = (&selected.id, &selected.record);
            let swap = match record {
                Some(record) => {
                    self.require_if_match(&selected.preconditions, record.version)?;
                    Swap::replace(collection.name(), id, record.version, &document)
                }
                None => Swap::create(collection.name(), id, &document),
            };
            let status = if record.is_some() { 200 } else { 201 };
            if let Some(version) = self.swap_document(collection, swap, selected.key.as_ref())? {
                let record = Record::new(selected.id, document, version);
                return Ok(self.write_response(status, collection, &record));
            }
            selected = self.select_again(selected)?;
        }
    }

    /// Applies the patch to the version for which the preconditions are true.
    ///
    /// [RFC 5789 section 2](https://www.rfc-editor.org/rfc/rfc5789#section-2)
    fn patch(&self, mut selected: Selected<'_>) -> Result<Response, Unperformed> {
        let (collection, format) = (selected.collection, selected.collection.format());
        let patch = format.read_patch(collection, &selected.id, self.request.content)?;
        loop {
            let (id, current) = (&selected.id, selected.existing()?);
            self.require_if_match(&selected.preconditions, current.version)?;
            let patched = stored_json(collection, current)?.merged(&patch);
            let document = collection
                .read_patched(&patched)
                .map_err(Problem::Unprocessable)?;
            let swap = Swap::replace(collection.name(), id, current.version, &document);
            if let Some(version) = self.swap_document(collection, swap, selected.key.as_ref())? {
                let record = Record::new(selected.id, document, version);
                return Ok(self.write_response(200, collection, &record));
            }
            selected = self.select_again(selected)?;
        }
    }

    fn remove(&self, mut selected: Selected<'_>) -> Result<Response, Unperformed> {
        let collection = selected.collection;
        loop {
            let (id, current) = (&selected.id, selected.existing()?);
            self.require_if_match(&selected.preconditions, current.version)?;
            let swap = Swap::remove(collection.name(), id, current.version);
            if self
                .swap(collection, swap, selected.key.as_ref())?
                .is_some()
            {
                return Ok(Response::new(204));
            }
            selected = self.select_again(selected)?;
        }
    }

    /// Performs a swap, unless the representation of its document would be too long.
    pub(super) fn swap_document(
        &self,
        collection: &Collection,
        swap: Swap<'_>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Version>, Problem> {
        let limit = self.policy.max_content;
        match swap.new_document() {
            Some(document) if collection.is_too_long(swap.id(), document, limit) => {
                Err(Problem::DocumentTooLong { limit })
            }
            _ => self.swap(collection, swap, key),
        }
    }

    /// Performs a swap, and records the key with it. Returns the version that it made, or `None` if
    /// another client has changed the state first.
    fn swap(
        &self,
        collection: &Collection,
        swap: Swap<'_>,
        key: Option<&IdempotencyKey>,
    ) -> Result<Option<Version>, Problem> {
        let keyed_write = key.map(|key| self.keyed_write(key, collection, &swap));
        let swap = keyed_write
            .as_ref()
            .map_or(swap, |write| swap.with_keyed_write(write));
        match self.store.swap(&swap, self.now) {
            Ok(version) => Ok(Some(version)),
            Err(SwapError::Conflict) => Ok(None),
            Err(SwapError::KeyTaken) => Err(Problem::KeyReused),
            Err(SwapError::Store(error)) => Err(error.into()),
        }
    }

    /// Refuses a write without If-Match, unless the policy allows it. If-Unmodified-Since does not
    /// replace it, because two versions can be made in one second.
    ///
    /// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
    fn require_if_match(
        &self,
        preconditions: &Preconditions,
        selected: Version,
    ) -> Result<(), Unperformed> {
        let without_if_match = if self.policy.unconditional_writes {
            WithoutIfMatch::Perform
        } else {
            WithoutIfMatch::Refuse
        };
        preconditions
            .require_if_match(self.request.method, true, without_if_match)
            .map_err(|reason| self.not_performed(reason, Some(&validators(selected))))
    }

    /// The response to a write, with the status 200 or 201: it has the representation that is now
    /// current. If the client prefers that, it has only the tag, and 204 is in place of 200.
    ///
    /// [RFC 9110 section 9.3.4](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.4) forbids
    /// an `ETag` if the server has changed the content before it saved it. This response has one: either
    /// it encloses the representation, as Content-Location says, or the client prefers not to get it,
    /// and knows that the server adds members.
    pub(super) fn write_response(
        &self,
        status: u16,
        collection: &Collection,
        record: &Record,
    ) -> Response {
        let created = status == 201;
        let preference = Return::of(self.request);
        let minimal = preference == Some(Return::Minimal);
        let status = if minimal && !created { 204 } else { status };
        let mut response = Response::new(status);
        let path = document_path(&self.policy.collections, collection, record.id.as_str());
        if created {
            response = response.with_field("Location", path.clone());
        }
        if !minimal {
            response = response.with_field("Content-Location", path);
        }
        let entity_tag = record.version.entity_tag();
        response = response
            .with_entity_tag(&entity_tag)
            .with_field("Cache-Control", "no-cache");
        if let Some(preference) = preference {
            response = response.with_field("Preference-Applied", preference.applied());
        }
        match (minimal, created) {
            (false, _) => with_document(response, collection, record, &entity_tag),
            (true, true) => response.with_field("Content-Length", "0"),
            (true, false) => response,
        }
    }
}

/// Parses a stored document. It is a failure of the store if another program has written something
/// else.
fn stored_json(collection: &Collection, record: &Record) -> Result<Json, StoreError> {
    record.document.json().map_err(|error| {
        let (id, name) = (&record.id, collection.name());
        StoreError::new(format!(
            "the document {id} of {name} cannot be read: {error}"
        ))
    })
}
