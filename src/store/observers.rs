//! The observers of a store, which are called after changes.

use std::fmt;
use std::sync::{Mutex, Weak};

use crate::document::Id;
use crate::store::lock;

/// An observer is called after changes of a store.
pub trait Observer: Send + Sync {
    /// The document of this id has changed; without an id, any documents of the collection.
    ///
    /// An implementation must return at once, and must not call the store.
    fn changed(&self, collection: &str, id: Option<&Id>);
}

/// The observers of a store.
#[derive(Default)]
pub struct Observers(Mutex<Vec<Weak<dyn Observer>>>);

impl Observers {
    /// Adds an observer. It is called as long as it exists.
    pub fn add(&self, observer: Weak<dyn Observer>) {
        let mut observers = lock(&self.0);
        observers.retain(|it| it.strong_count() > 0);
        observers.push(observer);
    }

    /// Calls all observers. The caller must not hold a lock that a read of the store takes.
    pub fn notify(&self, collection: &str, id: Option<&Id>) {
        for observer in lock(&self.0).iter().filter_map(Weak::upgrade) {
            observer.changed(collection, id);
        }
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observers(..)")
    }
}
