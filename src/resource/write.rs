use crate::collection::Collection;
use crate::document::{Id, Record};
use crate::json::Json;
use crate::judgement::WithoutIfMatch;
use crate::message::Response;
use crate::precondition::Preconditions;
use crate::preference::Return;
use crate::problem::Problem;
use crate::resource::read::represented;
use crate::resource::{End, Exchange, not_found, validators};
use crate::store::{StoreError, Swap, SwapError};
use crate::target::document_path;
use crate::version::{Version, VersionClock};

/// A write whose preconditions are true, with the state they were evaluated on.
pub(super) enum Action<'a> {
    /// Creates a document in the collection, while this is at that version if there is one.
    Create(&'a Collection, Preconditions, Option<Version>),
    /// Replaces the document, or creates it where there is none.
    Replace(Selected<'a>),
    Patch(Selected<'a>),
    Remove(Selected<'a>),
}

/// The document that a request is about, and its selected state.
pub(super) struct Selected<'a> {
    pub(super) collection: &'a Collection,
    pub(super) preconditions: Preconditions,
    pub(super) id: Id,
    pub(super) record: Option<Record>,
}

impl Exchange<'_> {
    /// Performs a write. If another writer changed the state first, selects and evaluates again.
    pub(super) fn perform(&self, action: Action<'_>) -> Result<Response, End> {
        match action {
            Action::Create(collection, asked, version) => self.create(collection, &asked, version),
            Action::Replace(selected) => self.replace(selected),
            Action::Patch(selected) => self.patch(selected),
            Action::Remove(selected) => self.remove(selected),
        }
    }

    fn create(
        &self,
        collection: &Collection,
        asked: &Preconditions,
        mut judged: Option<Version>,
    ) -> Result<Response, End> {
        let (given, document) = collection.read_new(self.request.content)?;
        let mut made = Version::FIRST;
        loop {
            let id = if let Some(id) = &given {
                id.clone()
            } else {
                made = self.next_version(collection, made)?;
                Id::from(made)
            };
            let mut swap = Swap::create(collection.name(), &id, &document);
            if let Some(judged) = judged {
                swap = swap.while_collection_at(judged);
            }
            if let Some(version) = self.put(collection, &swap)? {
                let record = Record::new(id, document, version);
                return Ok(self.written(collection, true, &record));
            }
            if given.is_some() && self.store.get(collection.name(), &id)?.is_some() {
                let noun = collection.form().noun();
                return Err(Problem::AlreadyExists { noun, id }.into());
            }
            judged = self.select_collection(asked, collection)?;
        }
    }

    /// A version that is later than all of the collection, and later than one that was tried.
    ///
    /// Where the store keeps versions of collections, an id that is made of it sorts after those of
    /// all requests that were answered before this one came; elsewhere, as far as the clocks of the
    /// servers agree.
    fn next_version(&self, collection: &Collection, tried: Version) -> Result<Version, StoreError> {
        let latest = self.store.version(collection.name())?.unwrap_or(tried);
        let next = VersionClock::after(latest.max(tried)).next(self.now);
        next.ok_or_else(StoreError::exhausted)
    }

    fn replace(&self, selected: Selected<'_>) -> Result<Response, End> {
        let Selected {
            collection,
            preconditions,
            id,
            mut record,
        } = selected;
        let document = collection.read_state(&id, self.request.content)?;
        loop {
            let swap = match &record {
                Some(record) => {
                    self.require_if_match(&preconditions, record.version)?;
                    Swap::replace(collection.name(), &id, record.version, &document)
                }
                None => Swap::create(collection.name(), &id, &document),
            };
            if let Some(version) = self.put(collection, &swap)? {
                let created = record.is_none();
                let record = Record::new(id, document, version);
                return Ok(self.written(collection, created, &record));
            }
            record = self.select_document(&preconditions, collection, &id)?;
        }
    }

    /// Applies the patch to the version for which the preconditions are true.
    ///
    /// [RFC 5789 section 2](https://www.rfc-editor.org/rfc/rfc5789#section-2)
    fn patch(&self, selected: Selected<'_>) -> Result<Response, End> {
        let Selected {
            collection,
            preconditions,
            id,
            mut record,
        } = selected;
        let form = collection.form();
        let patch = form.read_patch(collection, &id, self.request.content)?;
        loop {
            let current = record.ok_or_else(|| not_found(collection, id.as_str()))?;
            self.require_if_match(&preconditions, current.version)?;
            let patched = stored_json(collection, &current)?.merged(&patch);
            let document = collection
                .read_patched(&patched)
                .map_err(Problem::Unprocessable)?;
            let swap = Swap::replace(collection.name(), &id, current.version, &document);
            if let Some(version) = self.put(collection, &swap)? {
                let record = Record::new(id, document, version);
                return Ok(self.written(collection, false, &record));
            }
            record = self.select_document(&preconditions, collection, &id)?;
        }
    }

    fn remove(&self, selected: Selected<'_>) -> Result<Response, End> {
        let Selected {
            collection,
            preconditions,
            id,
            mut record,
        } = selected;
        loop {
            let current = record.ok_or_else(|| not_found(collection, id.as_str()))?;
            self.require_if_match(&preconditions, current.version)?;
            let swap = Swap::remove(collection.name(), &id, current.version);
            if self.swap(&swap)?.is_some() {
                return Ok(Response::new(204));
            }
            record = self.select_document(&preconditions, collection, &id)?;
        }
    }

    /// Swaps in a document, if it is not too long to be sent back as it is shown.
    fn put(&self, collection: &Collection, swap: &Swap<'_>) -> Result<Option<Version>, Problem> {
        let limit = self.policy.max_content;
        match swap.new_document() {
            Some(document) if collection.is_too_long(swap.id(), document, limit) => {
                Err(Problem::DocumentTooLong { limit })
            }
            _ => Ok(self.swap(swap)?),
        }
    }

    /// The version the swap made, or nothing when another writer was faster.
    fn swap(&self, swap: &Swap<'_>) -> Result<Option<Version>, StoreError> {
        match self.store.swap(swap, self.now) {
            Ok(version) => Ok(Some(version)),
            // No swap has a key yet.
            Err(SwapError::Conflict | SwapError::KeyTaken) => Ok(None),
            Err(SwapError::Store(error)) => Err(error),
        }
    }

    /// A date does not stand in for If-Match: two versions can share a second.
    ///
    /// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
    fn require_if_match(&self, asked: &Preconditions, selected: Version) -> Result<(), End> {
        let without_if_match = if self.policy.unconditional_writes {
            WithoutIfMatch::Perform
        } else {
            WithoutIfMatch::Refuse
        };
        asked
            .check_if_match(self.request.method, true, without_if_match)
            .map_err(|reason| self.not_performed(reason, Some(&validators(selected))))
    }

    /// The answer to a write: with the representation that is now current, or with nothing but
    /// its place and tag if the client prefers that.
    ///
    /// [RFC 9110 section 9.3.4](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.4) forbids
    /// an `ETag` where the server changed what it was sent. Here the representation is
    /// enclosed, and Content-Location says so; or the client has asked not to be sent it, and
    /// knows that there is more to it than it sent.
    fn written(&self, collection: &Collection, created: bool, record: &Record) -> Response {
        let preference = Return::of(self.request);
        let minimal = preference == Some(Return::Minimal);
        let mut response = Response::new(match (created, minimal) {
            (true, _) => 201,
            (false, false) => 200,
            (false, true) => 204,
        });
        let path = document_path(&self.policy.collections, collection, record.id.as_str());
        if created {
            response = response.with_field("Location", path.clone());
        }
        if !minimal {
            response = response.with_field("Content-Location", path);
        }
        response = response
            .with_field("ETag", record.version.entity_tag().to_string())
            .with_field("Cache-Control", "no-cache");
        if let Some(preference) = preference {
            response = response.with_field("Preference-Applied", preference.applied());
        }
        match (minimal, created) {
            (false, _) => represented(response, collection, record),
            (true, true) => response.with_field("Content-Length", "0"),
            (true, false) => response,
        }
    }
}

/// The document that a store holds, as JSON; a failure of the store if another program has written
/// something else there.
fn stored_json(collection: &Collection, record: &Record) -> Result<Json, StoreError> {
    record.document.json().map_err(|error| {
        let (id, name) = (&record.id, collection.name());
        StoreError::new(format!(
            "the document {id} of {name} cannot be read: {error}"
        ))
    })
}
