//! Why a command line cannot be understood.

use std::error::Error;
use std::fmt;

use crate::access::AccessError;
use crate::collection::CollectionError;
#[cfg(feature = "postgres")]
use crate::store::ParsePostgresUrlError;

/// The command line cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UsageError {
    /// The argument is not a flag.
    Unknown {
        /// The argument.
        argument: String,
        /// The flag with the most similar name, if one is similar.
        near: Option<&'static str>,
    },
    /// The flag has a value and must not have one.
    TakesNoValue(&'static str),
    /// The flag is given twice and must not be.
    Repeated(&'static str),
    /// The flag has no value; with a description of the value it needs.
    MissingValue(String, &'static str),
    /// The value of the flag is invalid.
    BadValue {
        /// The flag.
        flag: String,
        /// A description of the value it needs.
        wanted: &'static str,
        /// The value.
        value: String,
    },
    /// The argument is not UTF-8.
    NotUtf8(String),
    /// The flag needs another argument.
    Needs(&'static str, &'static str),
    /// The value needs a cargo feature that this build does not have.
    NotBuilt(&'static str),
    /// The origin or the host of the flag is invalid.
    Access(&'static str, AccessError),
    /// The value of `--collection` is invalid.
    Collection(CollectionError),
    /// A TLS parameter of the database URL is invalid, or missing.
    #[cfg(feature = "postgres")]
    PostgresUrl(ParsePostgresUrlError),
    /// The command `dump` does not take the flag.
    NotForDump(String),
    /// The command `dump` needs a store that is not in memory.
    DumpOfMemory,
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                argument,
                near: Some(flag),
            } => write!(f, "unknown argument `{argument}`; did you mean `{flag}`?"),
            Self::Unknown { argument, .. } => write!(
                f,
                "unknown argument `{argument}`; `ifmatch --help` lists what there is"
            ),
            Self::TakesNoValue(flag) => write!(f, "{flag} takes no value"),
            Self::Repeated(flag) => write!(f, "{flag} may come once, and comes twice"),
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
            Self::Access(flag, error) => write!(f, "{flag}: {error}"),
            Self::Collection(error) => write!(f, "--collection: {error}"),
            #[cfg(feature = "postgres")]
            Self::PostgresUrl(error) => write!(f, "--store: {error}"),
            Self::NotForDump(flag) => {
                write!(f, "`dump` takes --store alone, not `{flag}`")
            }
            Self::DumpOfMemory => f.write_str(
                "`dump` needs `--store sqlite:PATH` or `--store postgres://USER@HOST/DATABASE`",
            ),
        }
    }
}

impl Error for UsageError {}
