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
use crate::json::{Json, JsonError, quoted};
#[cfg(feature = "postgres")]
use crate::store::PostgresStore;
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
use crate::store::{OpenError, Store, StoreError};

impl Config {
    /// Writes the documents of the store to `sink`, as a JSON object with an array for each
    /// collection: for those that `--collection` names, or for all that have documents.
    ///
    /// Each collection is of one moment. Others may write to the store meanwhile. A store that has no
    /// documents yet is neither created nor taken over.
    ///
    /// # Errors
    ///
    /// When the store cannot be opened, or fails, or the sink does.
    pub fn dump(&self, sink: &mut dyn Write) -> Result<(), DumpError> {
        let store = &*self.open_existing_store()?;
        let mut collections = self.collections.clone();
        if collections.is_empty() {
            let names = store.collections()?;
            let all = names.iter().map(|name| named(name));
            collections = all.collect::<Result<_, _>>()?;
        }
        sink.write_all(b"{")?;
        for (index, collection) in collections.iter().enumerate() {
            let separator = if index == 0 { "\n" } else { ",\n" };
            write!(sink, "{separator}{}: [", quoted(collection.name()))?;
            dump_collection(collection, store, sink)?;
            sink.write_all(b"\n]")?;
        }
        sink.write_all(b"\n}\n")?;
        Ok(sink.flush()?)
    }
}

impl Config {
    /// Opens a store that has documents, and leaves any other as it is.
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

/// The collection of this name, with its ids where they are unless told.
fn named(name: &str) -> Result<Collection, CollectionError> {
    match name {
        "persons" => Ok(Collection::persons()),
        name => Collection::new(name),
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
        collection.form().show(collection, record, &mut text);
        written = match Json::read(&text) {
            Err(JsonError::Repeated(member)) => Err(DumpError::IdMember {
                collection: collection.name().to_owned(),
                member,
            }),
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

/// A dump came to no end.
#[derive(Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// The store cannot be opened.
    Open(OpenError),
    /// The store failed.
    Store(StoreError),
    /// The ids of a collection are not in the member that was named.
    IdMember {
        /// The collection.
        collection: String,
        /// The member, which a document has itself.
        member: String,
    },
    /// A document is not JSON any more, because another program has changed what is stored.
    Document {
        /// The collection.
        collection: String,
        /// The id of the document.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The store has a collection that could not be served.
    Collection(CollectionError),
    /// The sink failed.
    Sink(io::Error),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::IdMember { collection, member } => write!(
                f,
                "a document of `{collection}` has a member `{member}` itself; say which member \
                 holds the ids, with `--collection {collection}:ID_MEMBER`"
            ),
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
