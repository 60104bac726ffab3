//! Selecting the document or the collection of a request, and evaluating its preconditions.

use std::sync::Arc;

use crate::collection::Collection;
use crate::document::{Id, Record};
use crate::idempotency::{IdempotencyKey, KeyedWrite};
use crate::judgement::Reason;
use crate::message::Wait;
use crate::method::Method;
use crate::precondition::{
    IfNoneMatch, Precondition, Preconditions, PreconditionsError, TagSyntax,
};
use crate::preference;
use crate::problem::{Problem, Profile};
use crate::resource::{Handler, Unperformed};
use crate::validators::Validators;
use crate::version::Version;

/// The document of the target, and its selected state.
pub(super) struct Selected<'a> {
    pub(super) collection: &'a Collection,
    pub(super) preconditions: Preconditions,
    pub(super) id: Id,
    pub(super) key: Option<IdempotencyKey>,
    pub(super) record: Option<Record>,
    /// The last write of the document, if it had the same key.
    pub(super) earlier: Option<Arc<KeyedWrite>>,
}

impl Selected<'_> {
    /// The selected state. A missing document is a problem.
    pub(super) fn existing(&self) -> Result<&Record, Problem> {
        let record = self.record.as_ref();
        record.ok_or_else(|| not_found(self.collection, self.id.as_str()))
    }
}

impl Handler<'_> {
    /// Evaluates the preconditions, if there are any, on the collection. Returns the version for which
    /// they are true.
    pub(super) fn evaluate_on_collection(
        &self,
        preconditions: &Preconditions,
        collection: &Collection,
    ) -> Result<Option<Version>, Unperformed> {
        if preconditions.is_empty() {
            return Ok(None);
        }
        let version = self.store.collection_version(collection.name())?;
        self.evaluate_on_version(preconditions, collection, None, version)?;
        Ok(version)
    }

    /// Reads the preconditions, and evaluates them on the document of the target.
    ///
    /// A missing document is answered with 404 even if the preconditions are malformed. So is an id
    /// that no document can have, unless the request would create a document.
    pub(super) fn select_target<'c>(
        &self,
        collection: &'c Collection,
        id: &str,
    ) -> Result<Selected<'c>, Unperformed> {
        let key = self.key()?;
        let preconditions = self.preconditions();
        let creates = preconditions.as_ref().is_ok_and(|it| self.creates(it));
        let id = match Id::new(id) {
            Err(_) if !creates => return Err(not_found(collection, id).into()),
            checked => checked.map_err(|error| collection.format().id_error(collection, error))?,
        };
        let wrong = preconditions.is_err() || self.has_unsupported_patch();
        if wrong && self.store.get(collection.name(), &id)?.is_none() {
            return Err(not_found(collection, id.as_str()).into());
        }
        if self.has_unsupported_patch() {
            return Err(Problem::MediaType.into());
        }
        self.select_document(collection, preconditions?, id, key)
    }

    /// Selects the document, which is missing if the request is to create it, and evaluates the
    /// preconditions. They are not evaluated if an earlier write with the same key has made the
    /// current state.
    pub(super) fn select_document<'c>(
        &self,
        collection: &'c Collection,
        preconditions: Preconditions,
        id: Id,
        key: Option<IdempotencyKey>,
    ) -> Result<Selected<'c>, Unperformed> {
        let record = self.store.get(collection.name(), &id)?;
        let earlier = self.earlier_write(key.as_ref(), collection, &id, record.as_ref())?;
        if record.is_none() && earlier.is_none() && !self.creates(&preconditions) {
            return Err(not_found(collection, id.as_str()).into());
        }
        if earlier.is_none() && !preconditions.is_empty() {
            let version = record.as_ref().map(|record| record.version);
            self.evaluate_on_version(&preconditions, collection, Some(&id), version)?;
        }
        Ok(Selected {
            collection,
            preconditions,
            id,
            key,
            record,
            earlier,
        })
    }

    /// Whether the request may create the document of its target: PUT with `If-None-Match: *`.
    fn creates(&self, preconditions: &Preconditions) -> bool {
        self.request.method == Method::Put
            && preconditions
                .if_none_match()
                .is_some_and(IfNoneMatch::is_any)
    }

    pub(super) fn preconditions(&self) -> Result<Preconditions, PreconditionsError> {
        let syntax = match self.policy.profile {
            Profile::Compatible => TagSyntax::QuotedOrBare,
            Profile::Strict => TagSyntax::Quoted,
        };
        Preconditions::from_fields(self.request.fields.iter().copied(), syntax, self.now)
    }

    /// Evaluates the preconditions on this version of a document, or of the collection if there is no
    /// `id`. A 304 to If-None-Match may be delayed until the version changes, if the client prefers
    /// to wait.
    pub(super) fn evaluate_on_version(
        &self,
        preconditions: &Preconditions,
        collection: &Collection,
        id: Option<&Id>,
        version: Option<Version>,
    ) -> Result<(), Unperformed> {
        let selected = match (version, id) {
            (Some(version), _) => Some(validators(version)),
            // A collection exists even if the store keeps no version of it.
            (None, None) => Some(Validators::default()),
            (None, Some(_)) => None,
        };
        let evaluated = self.evaluate(preconditions, selected.as_ref());
        let (Some(version), Some(limit)) = (version, preference::wait(self.request)) else {
            return evaluated;
        };
        evaluated.map_err(|unperformed| match unperformed {
            Unperformed::Response(unchanged) if preconditions.if_none_match().is_some() => {
                Unperformed::Response(unchanged.with_wait(Wait {
                    collection: collection.name().to_owned(),
                    id: id.cloned(),
                    version,
                    limit,
                }))
            }
            unperformed => unperformed,
        })
    }

    /// Evaluates the preconditions. Finishes the request unless they are true.
    pub(super) fn evaluate(
        &self,
        preconditions: &Preconditions,
        selected: Option<&Validators>,
    ) -> Result<(), Unperformed> {
        preconditions
            .require_true(self.request.method, selected)
            .map_err(|reason| self.not_performed(reason, selected))
    }

    /// Finishes a request whose method is not performed.
    pub(super) fn not_performed(
        &self,
        reason: Reason,
        selected: Option<&Validators>,
    ) -> Unperformed {
        let current = selected.and_then(|validators| validators.entity_tag.clone());
        let problem = match reason {
            Reason::NotModified => {
                let validators = selected.cloned().unwrap_or_default();
                return Unperformed::Response(self.cacheable(304, &validators));
            }
            // The older service answers a malformed If-Match as one that is false.
            Reason::BadRequest(PreconditionsError::Malformed(field @ Precondition::IfMatch, _))
                if self.policy.profile == Profile::Compatible =>
            {
                Problem::PreconditionFailed {
                    field,
                    current,
                    weak: false,
                }
            }
            Reason::BadRequest(error) => error.into(),
            Reason::PreconditionFailed { field, weak } => Problem::PreconditionFailed {
                field,
                current,
                weak,
            },
            Reason::PreconditionRequired => Problem::PreconditionRequired { current },
        };
        Unperformed::Problem(problem)
    }
}

/// The problem of an id that no document of the collection has.
fn not_found(collection: &Collection, id: &str) -> Problem {
    Problem::NotFound {
        noun: collection.format().noun(),
        id: id.to_owned(),
    }
}

/// The validators of a version.
pub(super) fn validators(version: Version) -> Validators {
    Validators {
        entity_tag: Some(version.entity_tag()),
        last_modified: version.last_modified(),
    }
}
