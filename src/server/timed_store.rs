//! A store whose calls are measured for the metrics.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::server::metrics::Metrics;
use crate::store::{List, Observer, Portion, Store, StoreError, Swap, SwapError};
use crate::version::Version;

/// Passes each call on, and counts how long it takes.
pub(super) struct TimedStore {
    store: Arc<dyn Store>,
    metrics: Arc<Metrics>,
}

impl TimedStore {
    pub(super) fn new(store: Arc<dyn Store>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    fn time<R>(&self, call: impl FnOnce(&dyn Store) -> R) -> R {
        let start = Instant::now();
        let result = call(&*self.store);
        self.metrics.count_store_call(start.elapsed());
        result
    }
}

#[deny(clippy::missing_trait_methods)]
impl Store for TimedStore {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.time(|store| store.get(collection, id))
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        self.time(|store| store.collection_version(collection))
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        self.time(|store| store.list(collection, portion))
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.time(|store| store.swap(swap, now))
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        self.time(|store| store.removal(collection, id, now))
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        self.time(|store| store.fill(collection, documents, now))
    }

    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.time(|store| store.visit(collection, visit))
    }

    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        self.time(|store| store.id_member(collection))
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        self.time(|store| store.record_id_member(collection, name))
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.time(|store| store.collections())
    }

    fn document_versions(
        &self,
        collection: &str,
        ids: &[Id],
    ) -> Result<Vec<Option<Version>>, StoreError> {
        self.time(|store| store.document_versions(collection, ids))
    }

    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        self.store.observe(observer)
    }

    fn reads_block(&self) -> bool {
        self.store.reads_block()
    }

    fn writes_block(&self) -> bool {
        self.store.writes_block()
    }
}
