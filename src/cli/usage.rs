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
    /// There is no such flag.
    Unknown {
        /// The argument.
        argument: String,
        /// A flag whose name is much like it, if there is one.
        near: Option<&'static str>,
    },
    /// The flag has a value, and takes none.
    TakesNoValue(&'static str),
    /// The flag comes twice, and may come once.
    Repeated(&'static str),
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
    /// What a flag was to allow cannot be allowed.
    Access(&'static str, AccessError),
    /// A collection cannot be served as it was asked for.
    Collection(CollectionError),
    /// What the URL of a database says of TLS cannot be followed.
    #[cfg(feature = "postgres")]
    PostgresUrl(ParsePostgresUrlError),
    /// The flag says nothing to `dump`.
    NotForDump(String),
    /// There is nothing to dump of a store that begins empty.
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
