//! The command line of the program `ifmatch`, for programs that embed it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::collection::{Collection, Collections};
use crate::policy::Profile;
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

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// To serve.
    Serve(Box<Config>),
    /// To write what a store holds to stdout.
    Dump(Box<Config>),
    /// To print the [`help`].
    Help,
    /// To print the [manual page](man).
    Man,
    /// To print the version.
    Version,
}

/// How it is to be served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen.
    pub address: Address,
    /// How to answer.
    pub options: Options,
    /// Where the bearer token is, if one is needed.
    pub token_file: Option<PathBuf>,
    /// Whether each answer is told of on stderr.
    pub access_log: bool,
    /// The file to fill empty collections from.
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
    /// A value follows its flag, or an equals sign after it.
    ///
    /// # Errors
    ///
    /// When an argument is not known, or its value cannot be read.
    pub fn from_arguments(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, UsageError> {
        let mut arguments = arguments.into_iter().map(|argument| {
            argument
                .into_string()
                .map_err(|raw| UsageError::NotUtf8(raw.to_string_lossy().into_owned()))
        });
        let mut config = Config::default();
        let mut dumps = false;
        let mut given = Vec::new();
        while let Some(argument) = arguments.next().transpose()? {
            if argument == "dump" && !dumps && given.is_empty() {
                dumps = true;
                continue;
            }
            let (name, attached) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let flag = Flag::named(name).ok_or_else(|| unknown(&argument, name))?;
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
        if dumps {
            config.check_dump(&given)?;
            return Ok(Self::Dump(Box::new(config)));
        }
        Ok(Self::Serve(Box::new(config)))
    }
}

impl Config {
    /// Switches on what a flag without a value stands for.
    fn switch(&mut self, flag: &Flag) {
        let policy = &mut self.options.policy;
        match flag.name {
            "--strict" => policy.profile = Profile::Strict,
            "--access-log" => self.access_log = true,
            "--no-collection-tag" => self.no_collection_tag = true,
            "--no-page" => policy.page = false,
            "--unconditional-writes" => policy.unconditional_writes = true,
            _ => {}
        }
    }

    fn set(&mut self, flag: &Flag, value: String) -> Result<(), UsageError> {
        let policy = &mut self.options.policy;
        let read = match flag.name {
            "--listen" => value.parse().ok().map(|address| self.address = address),
            "--store" => match StoreName::refused(&value) {
                Some(error) => return Err(error),
                None => StoreName::read(&value).map(|store| self.store = store),
            },
            "--max-content" => {
                let most = value.parse().ok().filter(|most| *most > 0);
                most.map(|most| policy.max_content = most)
            }
            "--allow-origin" => {
                let allowed = policy.access.allow_origin(&value);
                Some(allowed.map_err(|error| UsageError::Access("--allow-origin", error))?)
            }
            "--allow-host" => {
                let allowed = policy.access.allow_host(&value);
                Some(allowed.map_err(|error| UsageError::Access("--allow-host", error))?)
            }
            "--door" => self.door.name(&value),
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
        read.ok_or_else(|| UsageError::BadValue {
            flag: flag.name.to_owned(),
            wanted: flag.wanted,
            value: match flag.name {
                "--store" => without_secrets(value),
                _ => value,
            },
        })
    }

    /// Decides what several flags decide together.
    fn complete(&mut self) -> Result<(), UsageError> {
        self.options.door = self.door.door()?;
        if self.no_collection_tag && !self.store.is_postgres() {
            return Err(UsageError::Needs(
                "--no-collection-tag",
                "--store postgres://...",
            ));
        }
        if !self.collections.is_empty() {
            let served = Collections::new(self.collections.clone());
            self.options.policy.collections = served.map_err(UsageError::Collection)?;
        }
        Ok(())
    }

    /// Whether a dump can be made with these flags.
    fn check_dump(&self, given: &[&Flag]) -> Result<(), UsageError> {
        match given.iter().find(|flag| flag.name != "--store") {
            Some(flag) => Err(UsageError::NotForDump(flag.name.to_owned())),
            None if self.store.is_memory() => Err(UsageError::DumpOfMemory),
            None => Ok(()),
        }
    }

    /// Opens the store, if it is not open to begin with.
    ///
    /// # Errors
    ///
    /// When it is a file, or a database, that cannot be used.
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

    /// Whether the command line shows a password, which is in the URL of the store.
    #[must_use]
    pub fn shows_password(&self) -> bool {
        self.store.shows_password()
    }

    /// The options, with the token read from its file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, can be read by others than its owner, or holds no token.
    pub fn into_options(self) -> Result<Options, TokenFileError> {
        let mut options = self.options;
        if let Some(file) = self.token_file {
            let token = token_file::read(file)?;
            options.policy.access.require_token(token);
        }
        Ok(options)
    }
}

/// The URL with the password of the environment, if it has none itself.
#[cfg(feature = "postgres")]
fn with_password(url: &PostgresUrl) -> PostgresUrl {
    match std::env::var_os("PGPASSWORD") {
        Some(password) => url.clone().or_password(password.as_encoded_bytes()),
        None => url.clone(),
    }
}

/// The error of an argument that is no flag.
fn unknown(argument: &str, name: &str) -> UsageError {
    UsageError::Unknown {
        argument: without_secrets(argument.to_owned()),
        near: Flag::near(name).map(|flag| flag.name),
    }
}

/// An argument as it may be shown: of a URL, which may hold a password, no more than the scheme.
fn without_secrets(argument: String) -> String {
    match argument.split_once("://") {
        Some((before, _)) => format!("{before}://..."),
        None => argument,
    }
}

/// A number that is not so large that it could not be counted with.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= 1_000_000)
}

/// The same, and not zero.
fn positive(text: &str) -> Option<u32> {
    number(text).filter(|number| *number > 0)
}
