use crate::message::Response;
use crate::person::{Person, PersonId};
use crate::precondition::Preconditions;
use crate::preference::Return;
use crate::problem::Problem;
use crate::resource::read::represented;
use crate::resource::{End, Exchange, not_found};
use crate::store::{Record, StoreError, Swap, SwapError};
use crate::target::Target;
use crate::version::Version;

/// A write whose preconditions are true: of whom, and on which version.
pub(super) enum Action {
    /// On this version of the collection, if that matters.
    Create(Preconditions, Option<Version>),
    /// Of the person at this version, or of nobody, who is created.
    Replace(Preconditions, PersonId, Option<Version>),
    Remove(Preconditions, PersonId, Version),
}

impl Exchange<'_> {
    /// Performs a write, again and again as long as other writers are faster; each time on what
    /// they left, and only while the preconditions are true of it.
    pub(super) fn perform(&self, action: Action) -> Result<Response, End> {
        match action {
            Action::Create(asked, collection) => self.create(&asked, collection),
            Action::Replace(asked, id, selected) => self.replace(&asked, id, selected),
            Action::Remove(asked, id, selected) => self.remove(&asked, &id, selected),
        }
    }

    fn create(
        &self,
        asked: &Preconditions,
        mut collection: Option<Version>,
    ) -> Result<Response, End> {
        let person = Person::from_json(self.request.content)?;
        loop {
            let mut swap = Swap::create(&person);
            if let Some(judged) = collection {
                swap = swap.while_collection_at(judged);
            }
            if let Some(version) = self.swap(&swap)? {
                return Ok(self.written(true, &Record { person, version }));
            }
            if self.store.get(person.id())?.is_some() {
                return Err(Problem::AlreadyExists {
                    id: person.id().clone(),
                }
                .into());
            }
            collection = self.select_collection(asked)?;
        }
    }

    fn replace(
        &self,
        asked: &Preconditions,
        id: PersonId,
        mut selected: Option<Version>,
    ) -> Result<Response, End> {
        let person = Person::with_id_from_json(id, self.request.content)?;
        loop {
            let swap = match selected {
                Some(version) => {
                    self.require_if_match(asked, version)?;
                    Swap::replace(&person, version)
                }
                None => Swap::create(&person),
            };
            if let Some(version) = self.swap(&swap)? {
                let created = selected.is_none();
                return Ok(self.written(created, &Record { person, version }));
            }
            selected = self
                .select_person(asked, person.id())?
                .map(|record| record.version);
        }
    }

    fn remove(
        &self,
        asked: &Preconditions,
        id: &PersonId,
        mut selected: Version,
    ) -> Result<Response, End> {
        loop {
            self.require_if_match(asked, selected)?;
            if self.swap(&Swap::remove(id, selected))?.is_some() {
                return Ok(Response::new(204));
            }
            let record = self.select_person(asked, id)?;
            selected = record.ok_or_else(|| not_found(id))?.version;
        }
    }

    /// The version the swap made, or nothing when another writer was faster.
    fn swap(&self, swap: &Swap<'_>) -> Result<Option<Version>, StoreError> {
        match self.store.swap(swap, self.now) {
            Ok(version) => Ok(Some(version)),
            Err(SwapError::Conflict) => Ok(None),
            Err(SwapError::Store(error)) => Err(error),
        }
    }

    /// A date does not stand in for If-Match: two versions can share a second.
    ///
    /// [RFC 6585 section 3](https://www.rfc-editor.org/rfc/rfc6585#section-3)
    fn require_if_match(&self, asked: &Preconditions, selected: Version) -> Result<(), Problem> {
        if asked.if_match().is_some() || self.policy.unconditional_writes {
            return Ok(());
        }
        Err(Problem::PreconditionRequired {
            current: selected.entity_tag(),
        })
    }

    /// The answer to a write: with the representation that is now current, or with nothing but
    /// its place and tag if the client prefers that.
    ///
    /// [RFC 9110 section 9.3.4](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.4) forbids
    /// an `ETag` where the server changed what it was sent. Here the representation is
    /// enclosed, and Content-Location says so; or the client has asked not to be sent it, and
    /// knows that there is more to it than it sent.
    fn written(&self, created: bool, record: &Record) -> Response {
        let preference = Return::of(self.request);
        let minimal = preference == Some(Return::Minimal);
        let mut response = Response::new(match (created, minimal) {
            (true, _) => 201,
            (false, false) => 200,
            (false, true) => 204,
        });
        let path = Target::person_path(record.person.id().as_str());
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
            (false, _) => represented(response, record),
            (true, true) => response.with_field("Content-Length", "0"),
            (true, false) => response,
        }
    }
}
