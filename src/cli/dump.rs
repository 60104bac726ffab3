//! The command `dump`.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::cli::Config;
use crate::cli::store_name::StoreName;
#[cfg(feature = "postgres")]
use crate::cli::with_password;
use crate::collection::{Collection, CollectionError};
use crate::json::{Json, quoted};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
use crate::store::{OpenError, Store, StoreError};

impl Config {
    /// Writes the documents of the store to `sink`, as a JSON object with an array for each
    /// collection that has documents.
    ///
    /// Each array is a snapshot of its collection; other processes may write to the store meanwhile.
    /// A store that does not exist is not created.
    ///
    /// # Errors
    ///
    /// When the store cannot be opened, or the store or the sink fails.
    pub fn dump(&self, sink: &mut dyn Write) -> Result<(), DumpError> {
        let store = &*self.open_existing_store()?;
        sink.write_all(b"{")?;
        for (index, name) in store.collections()?.iter().enumerate() {
            let collection = collection_named(name, store.id_member(name)?)?;
            let separator = if index == 0 { "\n" } else { ",\n" };
            write!(sink, "{separator}{}: [", quoted(name))?;
            dump_collection(&collection, store, sink)?;
            sink.write_all(b"\n]")?;
        }
        sink.write_all(b"\n}\n")?;
        Ok(sink.flush()?)
    }

    /// Opens a store that exists; creates and changes none.
    fn open_existing_store(&self) -> Result<Arc<dyn Store>, OpenError> {
        match &self.store {
            StoreName::Memory => Err(OpenError::new("memory", "it begins empty")),
            #[cfg(feature = "sqlite")]
            StoreName::Sqlite(path, _) => Ok(Arc::new(SqliteStore::open_existing(path)?)),
            #[cfg(feature = "postgres")]
            StoreName::Postgres(url) => {
                Ok(Arc::new(PostgresStore::open_existing(with_password(url))?))
            }
        }
    }
}

/// The collection of this name, with its ids in `id_member`, or in the default member.
fn collection_named(name: &str, id_member: Option<String>) -> Result<Collection, CollectionError> {
    match (name, id_member) {
        ("persons", _) => Ok(Collection::persons()),
        (name, None) => Collection::new(name),
        (name, Some(id_member)) => Collection::new(name)?.with_id_member(&id_member),
    }
}

fn dump_collection(
    collection: &Collection,
    store: &dyn Store,
    sink: &mut dyn Write,
) -> Result<(), DumpError> {
    let mut written = Ok(());
    let mut text = Vec::new();
    let mut separator = "\n";
    store.visit(collection.name(), &mut |record| {
        text.clear();
        collection
            .format()
            .write(collection, record, &record.version.entity_tag(), &mut text);
        // Another program may have changed the stored text.
        written = match Json::read(&text) {
            Err(error) => Err(DumpError::Document {
                collection: collection.name().to_owned(),
                id: record.id.to_string(),
                reason: error.to_string(),
            }),
            Ok(_) => write!(sink, "{separator}")
                .and_then(|()| sink.write_all(text.trim_ascii_end()))
                .map_err(DumpError::from),
        };
        separator = ",\n";
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    written
}

/// The dump is incomplete.
#[derive(Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// The store cannot be opened.
    Open(OpenError),
    /// The store failed.
    Store(StoreError),
    /// A document is not JSON: another program has changed the store.
    Document {
        /// The collection.
        collection: String,
        /// The id of the document.
        id: String,
        /// The error of the JSON parser.
        reason: String,
    },
    /// The name of a collection in the store is invalid.
    Collection(CollectionError),
    /// The sink failed.
    Sink(io::Error),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Document {
                collection,
                id,
                reason,
            } => write!(
                f,
                "the document {id} of `{collection}` cannot be read: {reason}"
            ),
            Self::Collection(error) => write!(f, "the store cannot be dumped: {error}"),
            Self::Sink(error) => write!(f, "the dump cannot be written: {error}"),
        }
    }
}

impl Error for DumpError {}

impl From<OpenError> for DumpError {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}

impl From<StoreError> for DumpError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<CollectionError> for DumpError {
    fn from(error: CollectionError) -> Self {
        Self::Collection(error)
    }
}

impl From<io::Error> for DumpError {
    fn from(error: io::Error) -> Self {
        Self::Sink(error)
    }
}
