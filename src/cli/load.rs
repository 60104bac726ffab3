//! What is done to a store before it is served: the name of each collection's id member is recorded in
//! it, and empty collections are filled from the file of `--load`. The file is a JSON object with an
//! array of documents for each collection.

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::cli::Config;
use crate::collection::Collection;
use crate::document::{Document, Id};
use crate::json::{Json, MAX_DEPTH, Member, quoted};
use crate::store::{OpenError, Store, StoreError, SwapError};
use crate::version::{Version, VersionClock};

impl Config {
    /// Records in the store which member holds the ids of each collection.
    ///
    /// # Errors
    ///
    /// When another member is recorded already, or the store fails.
    pub fn record_id_members(&self, store: &dyn Store) -> Result<(), OpenError> {
        for collection in self.options.policy.collections.iter() {
            let (name, given) = (collection.name(), collection.id_member());
            let recorded = store.record_id_member(name, given);
            let recorded = recorded.map_err(|error| OpenError::new(&self.store, error))?;
            if recorded != given {
                let reason =
                    format!("the ids of `{name}` are in `{recorded}`, and not in `{given}`");
                return Err(OpenError::new(&self.store, reason));
            }
        }
        Ok(())
    }

    /// Fills the collections that are empty from the file of `--load`, each in one transaction.
    /// Returns a warning for each array of the file that was left out.
    ///
    /// The whole file is checked first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a collection does not admit an element of its array: nothing has
    /// changed then.
    /// Or when the store fails.
    pub fn load_into(&self, store: &dyn Store) -> Result<Vec<String>, LoadError> {
        let Some(file) = &self.load else {
            return Ok(Vec::new());
        };
        let load = Load {
            config: self,
            store,
            file,
            now: SystemTime::now(),
        };
        load.perform().map_err(|reason| LoadError {
            file: file.clone(),
            reason,
        })
    }
}

/// The loading of one file.
struct Load<'a> {
    config: &'a Config,
    store: &'a dyn Store,
    file: &'a Path,
    now: SystemTime,
}

impl Load<'_> {
    fn perform(&self) -> Result<Vec<String>, String> {
        let content = fs::read(self.file).map_err(|error| error.to_string())?;
        // A document may have MAX_DEPTH levels; the object and the array around it are two more.
        let json = Json::read_to(&content, MAX_DEPTH + 2).map_err(|error| error.to_string())?;
        let Some(members) = json.members() else {
            let kind = json.kind();
            return Err(format!("it must be a JSON object of arrays, and is {kind}"));
        };
        let file = self.file.display();
        let mut warnings = Vec::new();
        let mut arrays = Vec::new();
        for member in &members {
            match self.config.options.policy.collections.get(&member.name) {
                Some(collection) => arrays.push((collection, self.documents(collection, member)?)),
                None => warnings.push(format!(
                    "`{}` of {file} is not served, and was left out",
                    member.name
                )),
            }
        }
        for (collection, documents) in arrays {
            match self.store.fill(collection.name(), &documents, self.now) {
                Ok(()) => {}
                Err(SwapError::Conflict | SwapError::KeyTaken) => {
                    let name = collection.name();
                    warnings.push(format!(
                        "`{name}` has documents already, and was not filled from {file}"
                    ));
                }
                Err(SwapError::Store(error)) => return Err(error.to_string()),
            }
        }
        Ok(warnings)
    }

    /// The documents of an array, each with its id or a generated one.
    fn documents(
        &self,
        collection: &Collection,
        member: &Member<'_>,
    ) -> Result<Vec<(Id, Document)>, String> {
        let (name, json) = (collection.name(), member.json());
        let Some(elements) = json.elements() else {
            let kind = json.kind();
            return Err(format!(
                "`{name}` must be an array of documents, and is {kind}"
            ));
        };
        let mut ids: HashMap<Id, usize> = HashMap::new();
        let mut read = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let at_index = |reason: String| format!("element {index} of `{name}`: {reason}");
            let (id, document) = self.document(collection, element).map_err(at_index)?;
            let other = id.as_ref().and_then(|id| ids.insert(id.clone(), index));
            if let (Some(id), Some(other)) = (&id, other) {
                return Err(at_index(format!("element {other} has the id `{id}`, too")));
            }
            read.push((id, document));
        }
        self.with_ids(collection, read, &ids)
            .map_err(|error| error.to_string())
    }

    fn document(
        &self,
        collection: &Collection,
        element: &Json,
    ) -> Result<(Option<Id>, Document), String> {
        let text = with_text_id(collection, element);
        let read = collection.read_new(text.as_str().as_bytes());
        let (id, document) = read.map_err(|error| error.to_string())?;
        // A generated id has the same length.
        let shown_id = id.clone().unwrap_or(Id::from(Version::FIRST));
        let max = self.config.options.policy.max_content;
        if collection.is_too_long(&shown_id, &document, max) {
            return Err(format!(
                "it is longer than {max} bytes; --max-content allows more"
            ));
        }
        Ok((id, document))
    }

    /// Gives the documents without an id one, in the form in which the server generates ids.
    fn with_ids(
        &self,
        collection: &Collection,
        documents: Vec<(Option<Id>, Document)>,
        ids: &HashMap<Id, usize>,
    ) -> Result<Vec<(Id, Document)>, StoreError> {
        let latest = self
            .store
            .collection_version(collection.name())?
            .unwrap_or(Version::FIRST);
        let mut clock = VersionClock::after(latest);
        let mut generate = || loop {
            let id = Id::from(clock.next(self.now).ok_or_else(StoreError::exhausted)?);
            if !ids.contains_key(&id) {
                return Ok(id);
            }
        };
        let with_id = |(id, document): (Option<Id>, Document)| {
            let id = id.map_or_else(&mut generate, Ok)?;
            Ok((id, document))
        };
        documents.into_iter().map(with_id).collect()
    }
}

/// The element with its id as a string if that is a whole number, as in files of other programs.
fn with_text_id(collection: &Collection, element: &Json) -> Json {
    let Some(mut members) = element.members() else {
        return element.clone();
    };
    let is_whole = |value: &str| value.bytes().all(|b| b.is_ascii_digit());
    let id = members
        .iter_mut()
        .find(|it| it.name == collection.id_member());
    match id {
        Some(id) if is_whole(id.value) => {
            let text = quoted(id.value);
            id.value = &text;
            Json::object(&members)
        }
        _ => element.clone(),
    }
}

/// The file of `--load` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot load {}: {}", self.file.display(), self.reason)
    }
}

impl Error for LoadError {}
