//! The value of `--store`.

use std::fmt;
#[cfg(feature = "sqlite")]
use std::path::PathBuf;

use crate::cli::usage::UsageError;
#[cfg(feature = "sqlite")]
use crate::store::Synchronous;
#[cfg(feature = "postgres")]
use crate::store::{ParsePostgresUrlError, PostgresUrl};

/// The store that `--store` names.
#[derive(Clone, Debug, Default)]
pub(super) enum StoreName {
    #[default]
    Memory,
    #[cfg(feature = "sqlite")]
    Sqlite(PathBuf, Synchronous),
    #[cfg(feature = "postgres")]
    Postgres(Box<PostgresUrl>),
}

impl StoreName {
    /// Parses the name of a store that this build has.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name.split_once(':') {
            None if name == "memory" => Some(Self::Memory),
            #[cfg(feature = "sqlite")]
            Some(("sqlite", path)) => Self::sqlite(path),
            #[cfg(feature = "postgres")]
            Some(_) => Some(Self::Postgres(Box::new(name.parse().ok()?))),
            _ => None,
        }
    }

    /// The error of a name that is no store, if it can be more exact than that there is no such store.
    pub(super) fn specific_error(name: &str) -> Option<UsageError> {
        match name.split_once(':')? {
            ("sqlite", _) if !cfg!(feature = "sqlite") => Some(UsageError::NotBuilt("sqlite")),
            ("postgres" | "postgresql", rest)
                if !cfg!(feature = "postgres") && rest.starts_with("//") =>
            {
                Some(UsageError::NotBuilt("postgres"))
            }
            #[cfg(feature = "postgres")]
            _ => match name.parse::<PostgresUrl>() {
                Ok(_) | Err(ParsePostgresUrlError::Url) => None,
                Err(error) => Some(UsageError::PostgresUrl(error)),
            },
            #[cfg(not(feature = "postgres"))]
            _ => None,
        }
    }

    #[cfg(feature = "sqlite")]
    fn sqlite(name: &str) -> Option<Self> {
        let (path, synchronous) = match name.split_once('?') {
            None => (name, Synchronous::Full),
            Some((path, "synchronous=full")) => (path, Synchronous::Full),
            Some((path, "synchronous=normal")) => (path, Synchronous::Normal),
            Some(_) => return None,
        };
        (!path.is_empty()).then(|| Self::Sqlite(path.into(), synchronous))
    }

    pub(super) fn is_memory(&self) -> bool {
        matches!(self, Self::Memory)
    }

    pub(super) fn shows_password(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.has_password(),
            _ => false,
        }
    }

    pub(super) fn is_postgres(&self) -> bool {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            #[cfg(feature = "sqlite")]
            Self::Sqlite(path, _) => path.display().fmt(f),
            #[cfg(feature = "postgres")]
            Self::Postgres(url) => url.fmt(f),
        }
    }
}
