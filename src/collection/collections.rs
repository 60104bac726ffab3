//! The collections of a server.

use std::sync::{Arc, LazyLock, OnceLock};

use crate::collection::{Collection, CollectionError, is_segment};
use crate::entity_tag::EntityTag;

/// The longest prefix, in bytes.
const MAX_PREFIX: usize = 256;

/// The collections that a server serves, and the prefix of their paths. The default is the persons,
/// without a prefix.
#[derive(Clone, Debug)]
pub struct Collections(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    prefix: String,
    collections: Vec<Collection>,
    description: OnceLock<(Vec<u8>, EntityTag)>,
}

impl Collections {
    /// These collections, without a prefix.
    ///
    /// # Errors
    ///
    /// When two collections have the same name.
    pub fn new(collections: impl IntoIterator<Item = Collection>) -> Result<Self, CollectionError> {
        let collections: Vec<_> = collections.into_iter().collect();
        for (index, collection) in collections.iter().enumerate() {
            let mut others = collections.iter().skip(index + 1);
            if others.any(|other| other.name == collection.name) {
                return Err(CollectionError::Repeated(collection.name.clone()));
            }
        }
        Ok(Self::with_prefix(String::new(), collections))
    }

    /// The same collections with a prefix such as `/api/v1`, under which all targets of the server are.
    ///
    /// # Errors
    ///
    /// When the prefix is longer than 256 bytes, does not begin with a slash, ends with one, or has a
    /// segment that cannot be the name of a collection.
    pub fn under(self, prefix: &str) -> Result<Self, CollectionError> {
        let segments = prefix.strip_prefix('/').map(|it| it.split('/'));
        // The longest id, percent-encoded, must fit into a target after it.
        let fits = prefix.len() <= MAX_PREFIX;
        if fits && segments.is_some_and(|mut it| it.all(is_segment)) {
            Ok(Self::with_prefix(
                prefix.to_owned(),
                self.0.collections.clone(),
            ))
        } else {
            Err(CollectionError::Prefix(prefix.to_owned()))
        }
    }

    fn with_prefix(prefix: String, collections: Vec<Collection>) -> Self {
        Self(Arc::new(Inner {
            prefix,
            collections,
            description: OnceLock::new(),
        }))
    }

    /// The prefix of all targets; empty unless it was set.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// The collections, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Collection> {
        self.0.collections.iter()
    }

    /// The collection of this name, if it is served.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Collection> {
        self.iter().find(|collection| collection.name == name)
    }

    /// The path of a collection.
    pub(crate) fn path(&self, collection: &Collection) -> String {
        [&self.0.prefix, "/", &collection.name].concat()
    }

    /// The description of the API and its tag. They are made once, because that takes longer than an
    /// response.
    pub(crate) fn description(&self, make: fn(&Self) -> Vec<u8>) -> &(Vec<u8>, EntityTag) {
        self.0.description.get_or_init(|| {
            let content = make(self);
            let entity_tag = EntityTag::digest(&content);
            (content, entity_tag)
        })
    }
}

impl Default for Collections {
    fn default() -> Self {
        static PERSONS: LazyLock<Collections> =
            LazyLock::new(|| Collections::with_prefix(String::new(), vec![Collection::persons()]));
        PERSONS.clone()
    }
}
