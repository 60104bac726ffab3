//! Creating a document by POST.

use crate::collection::Collection;
use crate::document::{Document, Id, Record};
use crate::idempotency::IdempotencyKey;
use crate::message::Response;
use crate::precondition::Preconditions;
use crate::problem::Problem;
use crate::resource::{Handler, Unperformed};
use crate::store::{StoreError, Swap};
use crate::version::{Version, VersionClock};

/// A document that is to be created in this collection.
pub(super) struct Creation<'a> {
    pub(super) collection: &'a Collection,
    pub(super) preconditions: Preconditions,
    pub(super) key: Option<IdempotencyKey>,
    /// The version of the collection on which the preconditions were evaluated. `None` without
    /// preconditions, and if the request has a key: then they are evaluated in `create`.
    pub(super) version: Option<Version>,
}

impl Handler<'_> {
    /// Reads the preconditions and evaluates them on the collection.
    ///
    /// If the request has a key, they are evaluated after the content is read: only the id in it shows
    /// whether the request is a repetition, for which they are not evaluated.
    pub(super) fn begin_creation<'c>(
        &self,
        collection: &'c Collection,
    ) -> Result<Creation<'c>, Unperformed> {
        let (key, preconditions) = (self.key()?, self.preconditions()?);
        let version = match key {
            Some(_) => None,
            None => self.evaluate_on_collection(&preconditions, collection)?,
        };
        Ok(Creation {
            collection,
            preconditions,
            key,
            version,
        })
    }

    pub(super) fn create(&self, creation: &Creation<'_>) -> Result<Response, Unperformed> {
        let parsed = creation.collection.read_new(self.request.content);
        let id = match &parsed {
            Ok((Some(id), _)) => Some(id.clone()),
            // With an id from the clock, a repetition would create another document.
            Ok((None, _)) => creation.key.as_ref().map(Id::from),
            Err(_) => None,
        };
        let version = match creation.key {
            Some(_) => self.evaluate_unless_repeated(creation, id.as_ref())?,
            None => creation.version,
        };
        let (_, document) = parsed.map_err(|error| self.not_admitted(error))?;
        match id {
            Some(id) => self.create_with_id(creation, id, document, version),
            None => self.create_with_new_id(creation, document, version),
        }
    }

    /// Creates a document with this id, unless there is one.
    fn create_with_id(
        &self,
        creation: &Creation<'_>,
        id: Id,
        document: Document,
        mut version: Option<Version>,
    ) -> Result<Response, Unperformed> {
        let collection = creation.collection;
        loop {
            if let Some(version) = self.swap_new(creation, &id, &document, version)? {
                let record = Record::new(id, document, version);
                return Ok(self.write_response(201, collection, &record));
            }
            if let Some(record) = self.get_unless_repeated(creation, &id)? {
                let noun = collection.format().noun();
                let current = record.version.entity_tag();
                return Err(Problem::AlreadyExists { noun, id, current }.into());
            }
            version = self.evaluate_unless_repeated(creation, Some(&id))?;
        }
    }

    /// Creates a document with an id from the clock. If there is one with this id, tries the next.
    fn create_with_new_id(
        &self,
        creation: &Creation<'_>,
        document: Document,
        mut version: Option<Version>,
    ) -> Result<Response, Unperformed> {
        let collection = creation.collection;
        let mut tried = Version::FIRST;
        loop {
            tried = self.next_version(collection, tried)?;
            let id = Id::from(tried);
            if let Some(version) = self.swap_new(creation, &id, &document, version)? {
                let record = Record::new(id, document, version);
                return Ok(self.write_response(201, collection, &record));
            }
            version = self.evaluate_on_collection(&creation.preconditions, collection)?;
        }
    }

    /// Creates the document if there is none with its id, and if the collection still has the version
    /// for which the preconditions are true. Returns the version of the document.
    fn swap_new(
        &self,
        creation: &Creation<'_>,
        id: &Id,
        document: &Document,
        version: Option<Version>,
    ) -> Result<Option<Version>, Problem> {
        let collection = creation.collection;
        let mut swap = Swap::create(collection.name(), id, document);
        if let Some(version) = version {
            swap = swap.while_collection_at(version);
        }
        self.swap_document(collection, swap, creation.key.as_ref())
    }

    /// Evaluates the preconditions on the collection, unless the request is a repetition.
    ///
    /// The document is read after the version: if the first request was performed in between and has
    /// made the preconditions false, its document is found.
    fn evaluate_unless_repeated(
        &self,
        creation: &Creation<'_>,
        id: Option<&Id>,
    ) -> Result<Option<Version>, Unperformed> {
        let selected = self.evaluate_on_collection(&creation.preconditions, creation.collection);
        if let (Some(id), Some(_)) = (id, &creation.key) {
            self.get_unless_repeated(creation, id)?;
        }
        // Whether the preconditions are true counts only if the request is not a repetition.
        selected
    }

    /// The document of this id, if there is one. Finishes the request if it repeats an earlier write.
    fn get_unless_repeated(
        &self,
        creation: &Creation<'_>,
        id: &Id,
    ) -> Result<Option<Record>, Unperformed> {
        let (collection, key) = (creation.collection, creation.key.as_ref());
        let record = self.store.get(collection.name(), id)?;
        let earlier = self.earlier_write(key, collection, id, record.as_ref())?;
        self.stop_if_repeated(collection, id, record.as_ref(), earlier.as_deref())?;
        Ok(record)
    }

    /// A version later than that of the collection, and later than the one that was `tried` before.
    ///
    /// If the store keeps a version of the collection, an id made of the result sorts after the ids
    /// of all documents that were created before. If not, it does as far as the clocks of the servers
    /// agree.
    fn next_version(&self, collection: &Collection, tried: Version) -> Result<Version, StoreError> {
        let latest = self
            .store
            .collection_version(collection.name())?
            .unwrap_or(tried);
        let next = VersionClock::after(latest.max(tried)).next(self.now);
        next.ok_or_else(StoreError::exhausted)
    }
}
