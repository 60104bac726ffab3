//! The command line of the program `ifmatch`, for programs that embed it.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

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
mod load;
mod store_name;
mod token_file;
mod usage;

use door_flags::DoorFlags;
pub use dump::DumpError;
pub use load::LoadError;
use store_name::StoreName;
pub use token_file::TokenFileError;
pub use usage::UsageError;

/// What `--help` prints.
pub const HELP: &str = "\
Serves collections of JSON documents over HTTP, so that no update is lost.

Usage: ifmatch [OPTIONS]
       ifmatch dump --store STORE

`dump` writes all documents of a store to stdout while servers go on, as a JSON
object of arrays, which `--load` reads.

Options:
  --collection NAME[:ID_MEMBER]
                          serve documents under /NAME, with their ids in this
                          member [default: id]; repeatable. `persons` is built
                          in, and all that is served without this flag
  --load FILE             at the start, fill the collections that are empty from
                          this file: a JSON object of arrays
  --listen ADDRESS        where to listen: ADDR:PORT, or unix:PATH
                          [default: 127.0.0.1:5000]
  --store STORE           where the documents are kept: memory; sqlite:PATH, or
                          postgres://USER@HOST/DATABASE with the password in
                          PGPASSWORD (a build with the feature `sqlite`, or
                          `postgres`) [default: memory]
  --no-collection-tag     postgres: lists have no tag, so that writes of different
                          documents do not wait for each other
  --strict                follow the RFCs where the older service did not:
                          428, 409, quoted tags only, application/problem+json
  --unconditional-writes  also perform PUT, PATCH and DELETE without
                          If-Match
  --max-content BYTES     the longest content that is read, and the longest document
                          [default: 65536]
  --allow-origin ORIGIN   let pages of this origin read and write, `*` those of
                          every origin; repeatable
  --allow-host NAME       know the server by this name, and turn away requests
                          for any other; repeatable
  --access-log            tell of each answer on stderr, in the Common Log Format
                          with microseconds at the end
  --token-file FILE       ask every request for the bearer token in this file
  --no-page               show no page to browsers at /
  --door NAME             tiny_http, for callers you trust, or hyper, for others
                          (a build with the feature `hyper`) [default: tiny_http]
  --max-connections N     hyper: the most that are open at once [default: 256]
  --timeout SECONDS       hyper: how long a client may take for a head, for the
                          content, and to take more of an answer [default: 10]
  --max-waiting N         hyper: the most requests that wait for a change at once
                          [default: 1000]
  --threads N             hyper: how many serve the connections [default: 1]
  --help                  print this
  --version               print the version
";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// To serve.
    Serve(Box<Config>),
    /// To write what a store holds to stdout.
    Dump(Box<Config>),
    /// To print [`HELP`].
    Help,
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
        let mut flags = Vec::new();
        while let Some(argument) = arguments.next().transpose()? {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            match flag {
                "--help" | "-h" if attached.is_none() => return Ok(Self::Help),
                "--version" | "-V" if attached.is_none() => return Ok(Self::Version),
                "dump" if attached.is_none() && !dumps && flags.is_empty() => {
                    dumps = true;
                    continue;
                }
                _ => flags.push(flag.to_owned()),
            }
            if attached.is_none() && config.switch(flag) {
                continue;
            }
            let wanted = Config::wanted(flag)
                .ok_or_else(|| UsageError::Unknown(without_secrets(argument.clone())))?;
            let value = match attached {
                Some(value) => value,
                None => arguments
                    .next()
                    .transpose()?
                    .ok_or_else(|| UsageError::MissingValue(flag.to_owned(), wanted))?,
            };
            config.set(flag, wanted, value)?;
        }
        config.complete()?;
        if dumps {
            config.check_dump(flags)?;
            return Ok(Self::Dump(Box::new(config)));
        }
        Ok(Self::Serve(Box::new(config)))
    }
}

impl Config {
    /// Switches on what a flag without a value stands for; whether there is such a flag.
    fn switch(&mut self, flag: &str) -> bool {
        let policy = &mut self.options.policy;
        match flag {
            "--strict" => policy.profile = Profile::Strict,
            "--access-log" => self.access_log = true,
            "--no-collection-tag" => self.no_collection_tag = true,
            "--no-page" => policy.page = false,
            "--unconditional-writes" => policy.unconditional_writes = true,
            _ => return false,
        }
        true
    }

    /// What the value of a flag has to be, if there is such a flag.
    fn wanted(flag: &str) -> Option<&'static str> {
        Some(match flag {
            "--listen" => "an address and a port such as 127.0.0.1:5000",
            "--store" => {
                "`memory`, `sqlite:PATH`, `sqlite:PATH?synchronous=normal` or \
                 `postgres://USER@HOST/DATABASE`"
            }
            "--collection" => "a name such as `notes`, or `notes:slug`",
            "--load" | "--token-file" => "a file name",
            "--max-content" => "a number of bytes from 1 on, such as 65536",
            "--allow-origin" => "an origin such as https://example.com, or `*`",
            "--allow-host" => "a host name such as example.com",
            "--door" => "`tiny_http` or `hyper`",
            "--max-connections" => "a number of connections such as 256",
            "--max-waiting" => "a number of requests such as 1000",
            "--threads" => "a number of threads such as 4",
            "--timeout" => "a number of seconds such as 10",
            _ => return None,
        })
    }

    fn set(&mut self, flag: &str, wanted: &'static str, value: String) -> Result<(), UsageError> {
        let policy = &mut self.options.policy;
        let read = match flag {
            "--listen" => value.parse().ok().map(|address| self.address = address),
            "--store" => match StoreName::missing(&value) {
                Some(feature) => return Err(UsageError::NotBuilt(feature)),
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
            "--timeout" => positive(&value).map(|n| self.door.timeout = Some(n)),
            "--collection" => {
                let collection = value.parse().map_err(UsageError::Collection)?;
                self.collections.push(collection);
                Some(())
            }
            "--load" | "--token-file" if !value.is_empty() => {
                let file = match flag {
                    "--load" => &mut self.load,
                    _ => &mut self.token_file,
                };
                *file = Some(PathBuf::from(&value));
                Some(())
            }
            _ => None,
        };
        read.ok_or_else(|| UsageError::BadValue {
            flag: flag.to_owned(),
            wanted,
            value: match flag {
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
    fn check_dump(&self, flags: Vec<String>) -> Result<(), UsageError> {
        match flags.into_iter().find(|flag| flag != "--store") {
            Some(flag) => Err(UsageError::NotForDump(flag)),
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
