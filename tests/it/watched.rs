//! A store that a test watches, delays, or has fail.

use std::time::SystemTime;

use ifmatch::{Collection, PersonId, Record, Store, StoreError, Swap, SwapError, Version};

/// Which call is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    Get(&'a PersonId),
    Version,
    List,
    Swap,
}

/// Asks `before` each call whether it is to be made, and may be kept waiting by it.
pub struct Watched<S, F> {
    pub store: S,
    pub before: F,
    /// Whether it says that it may wait.
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
            waits: true,
        }
    }
}

impl<S, F> Store for Watched<S, F>
where
    S: Store,
    F: Fn(Call<'_>) -> Result<(), StoreError> + Send + Sync,
{
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        (self.before)(Call::Get(id))?;
        self.store.get(id)
    }

    fn version(&self) -> Result<Option<Version>, StoreError> {
        (self.before)(Call::Version)?;
        self.store.version()
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        (self.before)(Call::List)?;
        self.store.list(after, most)
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        (self.before)(Call::Swap)?;
        self.store.swap(swap, now)
    }

    fn reads_wait(&self) -> bool {
        self.waits
    }

    fn writes_wait(&self) -> bool {
        self.waits
    }
}
