//! The idempotency keys of a collection in memory.

use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;

use crate::document::Id;
use crate::idempotency::{IdempotencyKey, KeyedWrite};
use crate::version::Version;

/// The keys of one collection, and its removals that had a key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The id of the document that a key is kept for, removed or not.
    ids: HashMap<IdempotencyKey, Id>,
    removals: HashMap<Id, Removal>,
    /// The removals in the order of their versions, to find the oldest. It also has removals that
    /// were forgotten since.
    by_version: VecDeque<(Version, Id)>,
}

#[derive(Debug)]
struct Removal {
    write: KeyedWrite,
    version: Version,
}

impl Keys {
    /// Whether the key is kept for another document.
    pub(super) fn is_taken(&self, key: &IdempotencyKey, id: &Id) -> bool {
        self.ids.get(key).is_some_and(|kept| kept != id)
    }

    /// Forgets the keys that are kept for a document: of its removal, and of the write that made its
    /// last state.
    pub(super) fn forget(&mut self, id: &Id, write: Option<&KeyedWrite>) {
        if let Some(write) = write {
            self.ids.remove(&write.key);
        }
        if !self.removals.is_empty() {
            self.forget_removal(id);
        }
    }

    fn forget_removal(&mut self, id: &Id) {
        if let Some(removal) = self.removals.remove(id) {
            self.ids.remove(&removal.write.key);
        }
    }

    /// Keeps the key of a write that made a document.
    pub(super) fn keep(&mut self, id: &Id, write: &KeyedWrite) {
        self.ids.insert(write.key.clone(), id.clone());
    }

    /// Keeps the write that removed a document.
    pub(super) fn keep_removal(&mut self, id: &Id, write: &KeyedWrite, version: Version) {
        self.keep(id, write);
        let write = write.clone();
        self.removals.insert(id.clone(), Removal { write, version });
        self.by_version.push_back((version, id.clone()));
    }

    /// The write that removed the document of this id, if it is still kept.
    pub(super) fn removal(&self, id: &Id, now: SystemTime) -> Option<KeyedWrite> {
        let removal = self.removals.get(id)?;
        let is_kept = removal.version > KeyedWrite::removal_cutoff(now);
        is_kept.then(|| removal.write.clone())
    }

    /// Forgets the removals that are 24 hours old.
    pub(super) fn purge(&mut self, now: SystemTime) {
        let cutoff = KeyedWrite::removal_cutoff(now);
        while self.by_version.front().is_some_and(|it| it.0 <= cutoff) {
            let Some((version, id)) = self.by_version.pop_front() else {
                break;
            };
            // The document may have been created and removed again since.
            if self
                .removals
                .get(&id)
                .is_some_and(|it| it.version == version)
            {
                self.forget_removal(&id);
            }
        }
    }
}
