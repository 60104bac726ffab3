//! The listeners of a store, which are called after changes.

use std::fmt;
use std::sync::{Mutex, Weak};

use crate::document::Id;
use crate::store::lock;

/// A listener is called after changes of a store.
pub trait Listener: Send + Sync {
    /// The document of this id has changed; without an id, any documents of the collection.
    ///
    /// An implementation must return at once, and must not call the store.
    fn changed(&self, collection: &str, id: Option<&Id>);
}

/// The listeners of a store.
#[derive(Default)]
pub struct Listeners(Mutex<Vec<Weak<dyn Listener>>>);

impl Listeners {
    /// Adds a listener. It is called as long as it exists.
    pub fn add(&self, listener: Weak<dyn Listener>) {
        let mut listeners = lock(&self.0);
        listeners.retain(|it| it.strong_count() > 0);
        listeners.push(listener);
    }

    /// Calls all listeners. The caller must not hold a lock that a read of the store takes.
    pub fn notify(&self, collection: &str, id: Option<&Id>) {
        for listener in lock(&self.0).iter().filter_map(Weak::upgrade) {
            listener.changed(collection, id);
        }
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listeners(..)")
    }
}
