//! The conformance test of our stores, and of a store that is not ours.

use std::sync::Arc;
use std::time::SystemTime;

use ifmatch::{MemoryStore, Store, Swap, Version};

use crate::conformance::{PERSONS, Place, id, now, person, suite};

mod broken;
mod broken_keys;
mod foreign;

/// A store in this process. Every handle is the same store.
struct InProcess(Arc<dyn Store>);

impl InProcess {
    fn new(store: impl Store + 'static) -> Self {
        Self(Arc::new(store))
    }
}

impl Place for InProcess {
    fn open(&self) -> Arc<dyn Store> {
        Arc::clone(&self.0)
    }
}

mod memory {
    use super::*;
    suite!(Some(InProcess::new(MemoryStore::new())));
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::*;
    suite!(Some(crate::sqlite::File::default()));
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    suite!(crate::support::cluster::Schema::new());
}

/// This store has no versions of collections.
#[cfg(feature = "postgres")]
mod untagged {
    use super::*;
    suite!(
        crate::support::cluster::Schema::new().map(|it| it.tagged(false)),
        documents fill collections keys observers
    );
}

#[test]
fn the_stores_report_the_end_of_the_calendar() {
    check_sentence(&InProcess::new(MemoryStore::new()));
    #[cfg(feature = "sqlite")]
    check_sentence(&crate::sqlite::File::default());
    #[cfg(feature = "postgres")]
    if let Some(schema) = crate::support::cluster::Schema::new() {
        check_sentence(&schema);
    }
}

/// The log of a server shows this sentence.
fn check_sentence(place: &dyn Place) {
    let store = place.open();
    let sentence = "no change date is left before the end of the calendar";
    let end = SystemTime::from(Version::LAST);
    let documents = ["1", "2"].map(|it| (id(it), person("x")));
    let error = store.fill("notes", &documents, end).unwrap_err();
    assert_eq!(error.to_string(), sentence);
    let [(one, x), (two, _)] = &documents;
    store.swap(&Swap::create(PERSONS, one, x), end).unwrap();
    let create = Swap::create(PERSONS, two, x);
    let error = store.swap(&create, now()).unwrap_err();
    assert_eq!(error.to_string(), sentence);
}
