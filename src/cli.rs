//! The command line of the program `ifmatch`, for programs that embed it.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::policy::Profile;
#[cfg(feature = "hyper")]
use crate::server::Limits;
use crate::server::{Address, Door, Options};
#[cfg(feature = "sqlite")]
use crate::store::SqliteStore;
use crate::store::{MemoryStore, OpenError, Store};
#[cfg(feature = "postgres")]
use crate::store::{PostgresStore, PostgresUrl};

mod store_name;
mod token_file;

use store_name::StoreName;
pub use token_file::TokenFileError;

/// What `--help` prints.
pub const HELP: &str = "\
Serves persons as JSON over HTTP, so that no update is lost.

Usage: ifmatch [OPTIONS]

Options:
  --listen ADDRESS        where to listen: ADDR:PORT, or unix:PATH
                          [default: 127.0.0.1:5000]
  --store STORE           where the persons are kept: memory; sqlite:PATH, or
                          postgres://USER@HOST/DATABASE with the password in
                          PGPASSWORD (a build with the feature `sqlite`, or
                          `postgres`) [default: memory]
  --no-collection-tag     postgres: lists have no tag, so that writes of different
                          persons do not wait for each other
  --strict                follow the RFCs where the older service did not:
                          428, 409, quoted tags only, application/problem+json
  --unconditional-writes  also perform PUT and DELETE without If-Match
  --max-content BYTES     the longest content that is read [default: 65536]
  --allow-origin ORIGIN   let pages of this origin read and write, `*` those of
                          every origin; repeatable
  --allow-host NAME       know the server by this name, and turn away requests
                          for any other; repeatable
  --access-log            tell of each answer on stderr, in the Common Log Format
                          with microseconds at the end
  --token-file FILE       ask every request for the bearer token in this file
  --door NAME             tiny_http, for callers you trust, or hyper, for others
                          (a build with the feature `hyper`) [default: tiny_http]
  --max-connections N     hyper: the most that are open at once [default: 256]
  --timeout SECONDS       hyper: how long a client may take for a head, for the
                          content, and to take more of an answer [default: 10]
  --help                  print this
  --version               print the version
";

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// To serve.
    Serve(Box<Config>),
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
    store: StoreName,
    no_collection_tag: bool,
    door: DoorFlags,
}

/// What is said about the door, whether or not this build has the one it is about.
#[derive(Clone, Debug, Default)]
struct DoorFlags {
    hyper: bool,
    max_connections: Option<u32>,
    timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 5000)).into();
        Self {
            address,
            options: Options::default(),
            token_file: None,
            access_log: false,
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
                .map_err(|raw| UsageError::NotUtf8(raw.display().to_string()))
        });
        let mut config = Config::default();
        while let Some(argument) = arguments.next().transpose()? {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            match flag {
                "--help" | "-h" if attached.is_none() => return Ok(Self::Help),
                "--version" | "-V" if attached.is_none() => return Ok(Self::Version),
                _ => {}
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
        config.options.door = config.door.door()?;
        if config.no_collection_tag && !config.store.is_postgres() {
            return Err(UsageError::Needs(
                "--no-collection-tag",
                "--store postgres://...",
            ));
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
            "--max-content" => "a number of bytes such as 65536",
            "--allow-origin" => "an origin such as https://example.com, or `*`",
            "--allow-host" => "a host name such as example.com",
            "--token-file" => "a file name",
            "--door" => "`tiny_http` or `hyper`",
            "--max-connections" => "a number of connections such as 256",
            "--timeout" => "a number of seconds such as 10",
            _ => return None,
        })
    }

    fn set(&mut self, flag: &str, wanted: &'static str, value: String) -> Result<(), UsageError> {
        let access = &mut self.options.policy.access;
        let read = match flag {
            "--listen" => value.parse().ok().map(|address| self.address = address),
            "--store" => match StoreName::missing(&value) {
                Some(feature) => return Err(UsageError::NotBuilt(feature)),
                None => StoreName::read(&value).map(|store| self.store = store),
            },
            "--max-content" => value
                .parse()
                .ok()
                .map(|most| self.options.max_content = most),
            "--allow-origin" => access.allow_origin(&value).ok(),
            "--allow-host" => access.allow_host(&value).ok(),
            "--door" => self.door.name(&value),
            "--max-connections" => positive(&value).map(|n| self.door.max_connections = Some(n)),
            "--timeout" => {
                positive(&value).map(|n| self.door.timeout = Some(Duration::from_secs(n.into())))
            }
            "--token-file" if !value.is_empty() => {
                self.token_file = Some(PathBuf::from(&value));
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
            StoreName::Postgres(url) => {
                let mut url = PostgresUrl::clone(url);
                if let Some(password) = std::env::var_os("PGPASSWORD") {
                    url = url.or_password(password.as_encoded_bytes());
                }
                Arc::new(if self.no_collection_tag {
                    PostgresStore::open_without_collection_tag(url)?
                } else {
                    PostgresStore::open(url)?
                })
            }
        })
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

impl DoorFlags {
    fn name(&mut self, name: &str) -> Option<()> {
        self.hyper = match name {
            "tiny_http" => false,
            "hyper" => true,
            _ => return None,
        };
        Some(())
    }

    /// The door that was asked for.
    fn door(&self) -> Result<Door, UsageError> {
        #[cfg(feature = "hyper")]
        if self.hyper {
            let limits = Limits::default();
            return Ok(Door::Hyper(Limits {
                connections: self.max_connections.unwrap_or(limits.connections),
                timeout: self.timeout.unwrap_or(limits.timeout),
            }));
        }
        match (self.hyper, self.max_connections, self.timeout) {
            (true, _, _) => Err(UsageError::NotBuilt("hyper")),
            (_, None, None) => Ok(Door::TinyHttp),
            (_, Some(_), _) => Err(UsageError::Needs("--max-connections", "--door hyper")),
            (_, None, Some(_)) => Err(UsageError::Needs("--timeout", "--door hyper")),
        }
    }
}

/// An argument as it may be shown: of a URL, which may hold a password, no more than the scheme.
fn without_secrets(argument: String) -> String {
    match argument.split_once("://") {
        Some((before, _)) => format!("{before}://..."),
        None => argument,
    }
}

/// A number that is not zero, and not so large that it could not be counted with.
fn positive(text: &str) -> Option<u32> {
    let number = text.parse().ok()?;
    (1..=1_000_000).contains(&number).then_some(number)
}

/// The command line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// There is no such flag.
    Unknown(String),
    /// The flag needs a value, and what kind of.
    MissingValue(String, &'static str),
    /// The flag's value is not what it needs.
    BadValue {
        /// The flag.
        flag: String,
        /// What it needs.
        wanted: &'static str,
        /// What it got.
        value: String,
    },
    /// The argument is not UTF-8.
    NotUtf8(String),
    /// The flag means something only together with another argument.
    Needs(&'static str, &'static str),
    /// What was asked for is behind a cargo feature that was not built.
    NotBuilt(&'static str),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(argument) => {
                write!(
                    f,
                    "unknown argument `{argument}`; `ifmatch --help` lists what there is"
                )
            }
            Self::MissingValue(flag, wanted) => write!(f, "{flag} needs {wanted}"),
            Self::BadValue {
                flag,
                wanted,
                value,
            } => {
                write!(f, "{flag} needs {wanted}, not `{value}`")
            }
            Self::Needs(flag, other) => write!(f, "{flag} is for `{other}` alone"),
            Self::NotBuilt(feature) => write!(
                f,
                "this program was built without `{feature}`; \
                 `cargo build --release --features {feature}` builds one with it"
            ),
            Self::NotUtf8(argument) => write!(f, "the argument `{argument}` is not UTF-8"),
        }
    }
}

impl Error for UsageError {}
