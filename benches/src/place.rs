use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, process};

use crate::Result;
use crate::cluster::Cluster;

/// What keeps the persons of a server under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Sqlite,
    SqliteNormal,
    Postgres,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "sqlite",
            Self::SqliteNormal => "sqlite normal",
            Self::Postgres => "postgres",
        }
    }
}

/// Where one server keeps its persons: nobody else's, and gone with it.
pub struct Place {
    /// What `--store` is given.
    pub argument: String,
    _directory: Option<Directory>,
}

impl Place {
    /// A new place, if the machine has that kind.
    pub fn new(kind: Kind, cluster: Option<&Cluster>) -> Result<Option<Self>> {
        let file = |suffix: &str| -> Result<Self> {
            let directory = Directory::new()?;
            let path = directory.path.join("persons.db");
            Ok(Self {
                argument: format!("sqlite:{}{suffix}", path.display()),
                _directory: Some(directory),
            })
        };
        let argument = match kind {
            Kind::Memory => "memory".into(),
            Kind::Sqlite => return file("").map(Some),
            Kind::SqliteNormal => return file("?synchronous=normal").map(Some),
            Kind::Postgres => match cluster {
                Some(cluster) => cluster.schema()?,
                None => return Ok(None),
            },
        };
        Ok(Some(Self {
            argument,
            _directory: None,
        }))
    }
}

/// A directory that goes with its owner.
pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ifmatch-bench-{}-{count}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Others may have cleared up before.
        let _ = fs::remove_dir_all(&self.path);
    }
}
