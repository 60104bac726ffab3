//! The command line of the program `ifmatch`, for programs that embed it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::collection::{Collection, Collections};
use crate::problem::Profile;
use crate::server::{Address, Options};
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
use crate::store::{MemoryStore, OpenError, Store};
#[cfg(feature = "postgres")]
use crate::store::{PostgresStore, PostgresUrl};

mod door_flags;
mod dump;
mod flags;
mod load;
mod store_name;
mod token_file;
mod usage;

use door_flags::DoorFlags;
pub use dump::DumpError;
pub use flags::{FLAGS, Flag, help, man};
pub use load::LoadError;
use store_name::StoreName;
pub use token_file::TokenFileError;
pub use usage::UsageError;

/// A command of the command line.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Config>),
    /// Write the documents of a store to stdout.
    Dump(Box<Config>),
    /// Print the [`help`].
    Help,
    /// Print the [manual page](man).
    Man,
    /// Print the version.
    Version,
}

/// What the flags set.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The address to listen on.
    pub address: Address,
    /// The options of the server.
    pub options: Options,
    /// The file with the bearer token, if requests need one.
    pub token_file: Option<PathBuf>,
    /// Whether each response is logged to stderr.
    pub access_log: bool,
    /// The file from which empty collections are filled.
    pub load: Option<PathBuf>,
    collections: Vec<Collection>,
    store: StoreName,
    no_collection_tag: bool,
    door: DoorFlags,
}

impl Default for Config {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000)).into();
        Self {
            address,
            options: Options::default(),
            token_file: None,
            access_log: false,
            load: None,
            collections: Vec::new(),
            store: StoreName::default(),
            no_collection_tag: false,
            door: DoorFlags::default(),
        }
    }
}

impl Command {
    /// Reads the arguments that follow the program's name.
    ///
    /// The value of a flag is the next argument, or follows an equals sign.
    ///
    /// # Errors
    ///
    /// When an argument is unknown, or a value is missing or invalid.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter().map(|argument| {
            argument
                .into_string()
                .map_err(|raw| UsageError::NotUtf8(raw.to_string_lossy().into_owned()))
        });
        let mut config = Config::default();
        let mut is_dump = false;
        let mut given = Vec::new();
        while let Some(argument) = arguments.next().transpose()? {
            if argument == "dump" && !is_dump && given.is_empty() {
                is_dump = true;
                continue;
            }
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let flag = Flag::named(name).ok_or_else(|| unknown_argument(&argument, name))?;
            if given.contains(&flag) && !flag.is_repeatable {
                return Err(UsageError::Repeated(flag.name));
            }
            given.push(flag);
            match (flag.name, flag.value, attached) {
                (name, None, Some(_)) => return Err(UsageError::TakesNoValue(name)),
                ("--help", ..) => return Ok(Self::Help),
                ("--man", ..) => return Ok(Self::Man),
                ("--version", ..) => return Ok(Self::Version),
                (_, None, None) => config.switch(flag),
                (_, Some(_), Some(value)) => config.set(flag, value)?,
                (name, Some(_), None) => {
                    let missing = || UsageError::MissingValue(name.to_owned(), flag.wanted);
                    let value = arguments.next().transpose()?.ok_or_else(missing)?;
                    config.set(flag, value)?;
                }
            }
        }
        config.complete()?;
        if is_dump {
            config.check_dump(&given)?;
            return Ok(Self::Dump(Box::new(config)));
        }
        Ok(Self::Serve(Box::new(config)))
    }
}

impl Config {
    /// Applies a flag without a value.
    fn switch(&mut self, flag: &Flag) {
        let policy = &mut self.options.policy;
        match flag.name {
            "--strict" => policy.profile = Profile::Strict,
            "--access-log" => self.access_log = true,
            "--metrics" => self.options.metrics = true,
            "--no-collection-tag" => self.no_collection_tag = true,
            "--no-page" => policy.browser_page = false,
            "--unconditional-writes" => policy.unconditional_writes = true,
            _ => {}
        }
    }

    /// Applies a flag with a value.
    fn set(&mut self, flag: &Flag, value: String) -> Result<(), UsageError> {
        let policy = &mut self.options.policy;
        let applied = match flag.name {
            "--listen" => value.parse().ok().map(|address| self.address = address),
            "--store" => match StoreName::specific_error(&value) {
                Some(error) => return Err(error),
                None => StoreName::parse(&value).map(|store| self.store = store),
            },
            "--max-content" => {
                let max = value.parse().ok().filter(|max| *max > 0);
                max.map(|max| policy.max_content = max)
            }
            "--allow-origin" => {
                let allowed = policy.access.allow_origin(&value);
                Some(allowed.map_err(|error| UsageError::Access("--allow-origin", error))?)
            }
            "--allow-host" => {
                let allowed = policy.access.allow_host(&value);
                Some(allowed.map_err(|error| UsageError::Access("--allow-host", error))?)
            }
            "--door" => self.door.set_door(&value),
            "--max-connections" => positive(&value).map(|n| self.door.max_connections = Some(n)),
            "--max-waiting" => number(&value).map(|n| self.door.max_waiting = Some(n)),
            "--threads" => positive(&value).map(|n| self.door.threads = Some(n)),
            "--timeout" => positive(&value)
                .map(|seconds| self.options.timeout = Duration::from_secs(seconds.into())),
            "--collection" => {
                let collection = value.parse().map_err(UsageError::Collection)?;
                self.collections.push(collection);
                Some(())
            }
            "--load" | "--token-file" if !value.is_empty() => {
                let file = match flag.name {
                    "--load" => &mut self.load,
                    _ => &mut self.token_file,
                };
                *file = Some(PathBuf::from(&value));
                Some(())
            }
            _ => None,
        };
        applied.ok_or_else(|| UsageError::BadValue {
            flag: flag.name.to_owned(),
            wanted: flag.wanted,
            value: match flag.name {
                "--store" => without_secrets(value),
                _ => value,
            },
        })
    }

    /// Sets and checks what depends on several flags.
    fn complete(&mut self) -> Result<(), UsageError> {
        self.options.door = self.door.door()?;
        if self.no_collection_tag && !self.store.is_postgres() {
            return Err(UsageError::Needs(
                "--no-collection-tag",
                "--store postgres://...",
            ));
        }
        if !self.collections.is_empty() {
            let collections = Collections::new(self.collections.clone());
            self.options.policy.collections = collections.map_err(UsageError::Collection)?;
        }
        Ok(())
    }

    /// Checks that `dump` has the flag `--store` and no other.
    fn check_dump(&self, given: &[&Flag]) -> Result<(), UsageError> {
        match given.iter().find(|flag| flag.name != "--store") {
            Some(flag) => Err(UsageError::NotForDump(flag.name.to_owned())),
            None if self.store.is_memory() => Err(UsageError::DumpOfMemory),
            None => Ok(()),
        }
    }

    /// Opens the store.
    ///
    /// # Errors
    ///
    /// When its file or its database cannot be used.
    pub fn open_store(&self) -> Result<Arc<dyn Store>, OpenError> {
        Ok(match &self.store {
            StoreName::Memory => Arc::new(MemoryStore::new()),
            #[cfg(feature = "sqlite")]
            StoreName::Sqlite(path, synchronous) => {
                Arc::new(SqliteStore::open(path, *synchronous)?)
            }
            #[cfg(feature = "postgres")]
            StoreName::Postgres(url) if self.no_collection_tag => Arc::new(
                PostgresStore::open_without_collection_tag(with_password(url))?,
            ),
            #[cfg(feature = "postgres")]
            StoreName::Postgres(url) => Arc::new(PostgresStore::open(with_password(url))?),
        })
    }

    /// Whether the command line contains a password, in the URL of the store.
    #[must_use]
    pub fn shows_password(&self) -> bool {
        self.store.shows_password()
    }

    /// The options, with the token from its file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, other users than its owner can read it, or it has no valid token.
    pub fn into_options(self) -> Result<Options, TokenFileError> {
        let mut options = self.options;
        if let Some(file) = self.token_file {
            let token = token_file::read(file)?;
            options.policy.access.require_token(token);
        }
        Ok(options)
    }
}

/// The URL, with the password of the environment variable `PGPASSWORD` if it has none.
#[cfg(feature = "postgres")]
fn with_password(url: &PostgresUrl) -> PostgresUrl {
    match std::env::var_os("PGPASSWORD") {
        Some(password) => url.clone().or_password(password.as_encoded_bytes()),
        None => url.clone(),
    }
}

/// The error for an argument that is not a flag.
fn unknown_argument(argument: &str, name: &str) -> UsageError {
    UsageError::Unknown {
        argument: without_secrets(argument.to_owned()),
        near: Flag::nearest(name).map(|flag| flag.name),
    }
}

/// An argument for a message. Of a URL, which may contain a password, only the scheme is left.
fn without_secrets(argument: String) -> String {
    match argument.split_once("://") {
        Some((before, _)) => format!("{before}://..."),
        None => argument,
    }
}

/// A number up to a million. A larger one is more than any machine has of anything that is counted.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= 1_000_000)
}

/// A number from one to a million.
fn positive(text: &str) -> Option<u32> {
    number(text).filter(|number| *number > 0)
}
