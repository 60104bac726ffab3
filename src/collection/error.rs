//! Why a collection cannot be served.

use std::error::Error;
use std::fmt;

use crate::collection::MAX_NAME;

/// Why a collection cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CollectionError {
    /// This is not a name of a collection.
    Name(String),
    /// The server has a resource of this name.
    Reserved(String),
    /// This is not a name of an id member.
    IdMember(String),
    /// The id member of persons cannot be changed.
    Persons,
    /// Two collections have this name.
    Repeated(String),
    /// This is not a prefix.
    Prefix(String),
}

impl fmt::Display for CollectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "a collection is named by at most {MAX_NAME} letters and digits, with `-`, `_` \
                 and `.` inside, not `{name}`"
            ),
            Self::Reserved(name) => {
                write!(
                    f,
                    "no collection can be named `{name}`: that is the server's"
                )
            }
            Self::IdMember(name) => write!(
                f,
                "an id member has a name such as `id`, and not one of the server's, not `{name}`"
            ),
            Self::Persons => {
                f.write_str("the ids of `persons` are in `person_id`, and no other member")
            }
            Self::Repeated(name) => write!(f, "the collection `{name}` is there twice"),
            Self::Prefix(prefix) => {
                write!(f, "a prefix is a path such as `/api/v1`, not `{prefix}`")
            }
        }
    }
}

impl Error for CollectionError {}
