use crate::message::Response;
use crate::person::{Person, PersonId};
use crate::precondition::Preconditions;
use crate::problem::Problem;
use crate::resource::{Exchange, represented};
use crate::store::{Record, Swap, SwapError};
use crate::target::Target;
use crate::version::Version;

/// A write: under which preconditions, of what, and on which version.
pub(super) enum Action {
    Create(Preconditions, Version),
    Replace(Preconditions, PersonId, Option<Version>),
    Remove(Preconditions, PersonId, Version),
}

impl Exchange<'_> {
    /// Performs a write, again and again as long as other writers are faster; each time on what
    /// they left, and only while the preconditions are true of it.
    pub(super) fn perform(&self, action: Action, content: &[u8]) -> Result<Response, Response> {
        match action {
            Action::Create(asked, collection) => self.create(&asked, collection, content),
            Action::Replace(asked, id, selected) => self.replace(&asked, id, selected, content),
            Action::Remove(asked, id, selected) => self.remove(&asked, &id, selected),
        }
    }

    fn create(
        &self,
        asked: &Preconditions,
        mut collection: Version,
        content: &[u8],
    ) -> Result<Response, Response> {
        let person =
            Person::from_json(content).map_err(|error| self.problem(Problem::Content(error)))?;
        loop {
            let mut swap = Swap::create(&person);
            if !asked.is_empty() {
                swap = swap.while_collection_at(collection);
            }
            if let Some(version) = self.swap(&swap)? {
                let path = Target::person_path(person.id().as_str());
                let response = Response::new(201)
                    .with_field("Location", path)
                    .with_field("ETag", version.entity_tag().to_string());
                return Ok(represented(response, &Record { person, version }));
            }
            if self
                .store
                .get(person.id())
                .map_err(|error| self.unavailable(error))?
                .is_some()
            {
                return Err(self.problem(Problem::AlreadyExists {
                    id: person.id().clone(),
                }));
            }
            collection = self.judged_collection(asked)?;
        }
    }

    fn replace(
        &self,
        asked: &Preconditions,
        id: PersonId,
        mut selected: Option<Version>,
        content: &[u8],
    ) -> Result<Response, Response> {
        let person = Person::with_id_from_json(id, content)
            .map_err(|error| self.problem(Problem::Content(error)))?;
        loop {
            let (status, swap) = match selected {
                Some(version) => {
                    self.require_if_match(asked, version)?;
                    (200, Swap::replace(&person, version))
                }
                None => (201, Swap::create(&person)),
            };
            if let Some(version) = self.swap(&swap)? {
                let path = Target::person_path(person.id().as_str());
                let place = if status == 201 {
                    "Location"
                } else {
                    "Content-Location"
                };
                let response = Response::new(status)
                    .with_field(place, path)
                    .with_field("ETag", version.entity_tag().to_string());
                return Ok(represented(response, &Record { person, version }));
            }
            selected = self
                .judged_person(asked, person.id())?
                .map(|record| record.version);
        }
    }

    fn remove(
        &self,
        asked: &Preconditions,
        id: &PersonId,
        mut selected: Version,
    ) -> Result<Response, Response> {
        loop {
            self.require_if_match(asked, selected)?;
            if self.swap(&Swap::remove(id, selected))?.is_some() {
                return Ok(Response::new(204));
            }
            let record = self.judged_person(asked, id)?;
            selected = record.ok_or_else(|| self.not_found(id.as_str()))?.version;
        }
    }

    /// The version the swap made, or nothing when another writer was faster.
    fn swap(&self, swap: &Swap<'_>) -> Result<Option<Version>, Response> {
        match self.store.swap(swap, self.now) {
            Ok(version) => Ok(Some(version)),
            Err(SwapError::Conflict) => Ok(None),
            Err(SwapError::Store(error)) => Err(self.unavailable(error)),
        }
    }

    /// A date does not stand in for If-Match: two versions can share a second.
    ///
    /// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
    fn require_if_match(&self, asked: &Preconditions, selected: Version) -> Result<(), Response> {
        if asked.if_match().is_some() || self.policy.unconditional_writes {
            return Ok(());
        }
        Err(self.problem(Problem::PreconditionRequired {
            current: selected.entity_tag(),
        }))
    }
}
