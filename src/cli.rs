use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};

use crate::policy::Profile;
use crate::server::Options;

/// What `--help` prints.
pub const HELP: &str = "\
Serves persons as JSON over HTTP, such that no update is lost.

Usage: ifmatch [OPTIONS]

Options:
  --listen ADDR:PORT      where to listen [default: 127.0.0.1:5000]
  --strict                follow the RFCs where the older service did not:
                          428, 409, quoted tags only, application/problem+json
  --unconditional-writes  perform PUT and DELETE without If-Match, too
  --max-content BYTES     the longest content that is read [default: 65536]
  --help                  print this
  --version               print the version
";

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub enum Command {
    /// To serve on this address.
    Serve(SocketAddr, Options),
    /// To print [`HELP`].
    Help,
    /// To print the version.
    Version,
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
        let mut address = SocketAddr::from(([127, 0, 0, 1], 5000));
        let mut options = Options::default();
        while let Some(argument) = arguments.next().transpose()? {
            let (flag, attached) = match argument.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            let mut value = |wanted| match attached.clone() {
                Some(value) => Ok(value),
                None => arguments
                    .next()
                    .transpose()?
                    .ok_or_else(|| UsageError::MissingValue(flag.to_owned(), wanted)),
            };
            match flag {
                "--listen" => address = listen_address(&value(ADDRESS)?)?,
                "--max-content" => options.max_content = max_content(&value(BYTES)?)?,
                _ if attached.is_some() => return Err(UsageError::Unknown(argument)),
                "--strict" => options.policy.profile = Profile::Strict,
                "--unconditional-writes" => options.policy.unconditional_writes = true,
                "--help" | "-h" => return Ok(Self::Help),
                "--version" | "-V" => return Ok(Self::Version),
                _ => return Err(UsageError::Unknown(argument)),
            }
        }
        Ok(Self::Serve(address, options))
    }
}

const ADDRESS: &str = "an address and a port such as 127.0.0.1:5000";
const BYTES: &str = "a number of bytes such as 65536";

fn listen_address(value: &str) -> Result<SocketAddr, UsageError> {
    let addresses = value.to_socket_addrs().ok();
    addresses
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| UsageError::BadValue {
            flag: "--listen",
            wanted: ADDRESS,
            value: value.to_owned(),
        })
}

fn max_content(value: &str) -> Result<u64, UsageError> {
    value.parse().map_err(|_| UsageError::BadValue {
        flag: "--max-content",
        wanted: BYTES,
        value: value.to_owned(),
    })
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
        flag: &'static str,
        /// What it needs.
        wanted: &'static str,
        /// What it got.
        value: String,
    },
    /// The argument is not UTF-8.
    NotUtf8(String),
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
            Self::NotUtf8(argument) => write!(f, "the argument `{argument}` is not UTF-8"),
        }
    }
}

impl Error for UsageError {}
