//! A store whose calls a test can observe, delay, or let fail.

use std::ops::ControlFlow;
use std::sync::Weak;
use std::time::{Duration, SystemTime};

use ifmatch::{
    Document, Id, KeyedWrite, List, Observer, Portion, Record, Store, StoreError, Swap, SwapError,
    Version,
};

/// The call that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    Get(&'a Id),
    Version,
    List,
    Swap,
    Fill,
    Visit,
    Collections,
}

/// Calls `before` ahead of each call to the store. `before` may wait, and its error is the result
/// of the call.
pub struct Watched<S, F> {
    pub store: S,
    pub before: F,
    /// Called when a document or a version has been read.
    pub after: Box<dyn Fn() + Send + Sync>,
    /// Whether the store reports that its calls may block.
    pub waits: bool,
}

impl<S, F> Watched<S, F>
where
    F: Fn(Call<'_>) -> Result<(), StoreError>,
{
    pub fn new(store: S, before: F) -> Self {
        Self {
            store,
            before,
            after: Box::new(|| ()),
            waits: true,
        }
    }
}

impl<S, F> Store for Watched<S, F>
where
    S: Store,
    F: Fn(Call<'_>) -> Result<(), StoreError> + Send + Sync,
{
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        (self.before)(Call::Get(id))?;
        let record = self.store.get(collection, id);
        (self.after)();
        record
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        (self.before)(Call::Version)?;
        let version = self.store.collection_version(collection);
        (self.after)();
        version
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        (self.before)(Call::List)?;
        self.store.list(collection, portion)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (self.before)(Call::Swap)?;
        self.store.swap(swap, now)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        (self.before)(Call::Get(id))?;
        self.store.removal(collection, id, now)
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        (self.before)(Call::Fill)?;
        self.store.fill(collection, documents, now)
    }

    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        (self.before)(Call::Visit)?;
        self.store.visit(collection, visit)
    }

    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        self.store.id_member(collection)
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        self.store.record_id_member(collection, name)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        (self.before)(Call::Collections)?;
        self.store.collections()
    }

    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        self.store.observe(observer)
    }

    fn reads_block(&self) -> bool {
        self.waits
    }

    fn writes_block(&self) -> bool {
        self.waits
    }
}
