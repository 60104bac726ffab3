//! Recognising repeated writes by their keys.

use std::sync::Arc;

use crate::collection::Collection;
use crate::document::{Id, Record};
use crate::idempotency::{IdempotencyKey, IdempotencyKeyError, KeyedWrite, digest};
use crate::message::Response;
use crate::method::Method;
use crate::problem::Problem;
use crate::resource::{Handler, Unperformed};
use crate::store::{StoreError, Swap};

impl Handler<'_> {
    /// The key of a write, if it has one. In other requests the field is ignored.
    pub(super) fn key(&self) -> Result<Option<IdempotencyKey>, IdempotencyKeyError> {
        match self.request.method {
            Method::Post | Method::Put | Method::Patch | Method::Delete => {
                IdempotencyKey::from_lines(self.request.field_lines("Idempotency-Key"))
            }
            _ => Ok(None),
        }
    }

    /// The last write of the document, or its removal, if that write has the key of this request.
    ///
    /// Then no precondition is evaluated, because the write itself has made it false. RFC 9110 allows
    /// a server to answer 2xx if the request has already been performed
    /// ([section 13.1.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.1.1)).
    pub(super) fn earlier_write(
        &self,
        key: Option<&IdempotencyKey>,
        collection: &Collection,
        id: &Id,
        record: Option<&Record>,
    ) -> Result<Option<Arc<KeyedWrite>>, StoreError> {
        let Some(key) = key else {
            return Ok(None);
        };
        let write = if let Some(record) = record {
            record.keyed_write.clone()
        } else {
            let removal = self.store.removal(collection.name(), id, self.now)?;
            removal.map(Arc::new)
        };
        Ok(write.filter(|write| write.key == *key))
    }

    /// Finishes the request if an earlier write has its key: with the response to that write if both
    /// requests are the same, and with a problem if they are not.
    pub(super) fn stop_if_repeated(
        &self,
        collection: &Collection,
        id: &Id,
        record: Option<&Record>,
        earlier: Option<&KeyedWrite>,
    ) -> Result<(), Unperformed> {
        let Some(earlier) = earlier else {
            return Ok(());
        };
        if earlier.digest != self.digest(collection, id) {
            return Err(Problem::KeyReused.into());
        }
        let status = if earlier.created { 201 } else { 200 };
        Err(Unperformed::Response(match record {
            Some(record) => self.write_response(status, collection, record),
            None => Response::new(204),
        }))
    }

    /// What the store keeps of a swap with a key.
    pub(super) fn keyed_write(
        &self,
        key: &IdempotencyKey,
        collection: &Collection,
        swap: &Swap<'_>,
    ) -> KeyedWrite {
        let creates = swap.expected().is_none();
        KeyedWrite::new(key.clone(), self.digest(collection, swap.id()), creates)
    }

    /// The digest of this request. For POST it has no id, because the target is the collection.
    fn digest(&self, collection: &Collection, id: &Id) -> u128 {
        let (method, id) = match self.request.method {
            Method::Post => ("POST", ""),
            Method::Put => ("PUT", id.as_str()),
            Method::Patch => ("PATCH", id.as_str()),
            _ => ("DELETE", id.as_str()),
        };
        digest(method, collection.name(), id, self.request.content)
    }
}
