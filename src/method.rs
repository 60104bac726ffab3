//! Request methods.

/// A request method, as far as this crate distinguishes methods.
///
/// Method names are case-sensitive.
///
/// [RFC 9110 section 9](https://www.rfc-editor.org/rfc/rfc9110#section-9)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// Transfers a current representation.
    Get,
    /// GET without the content.
    Head,
    /// Creates a member of a collection.
    Post,
    /// Replaces the representation.
    Put,
    /// Changes the representation by a patch
    /// ([RFC 5789](https://www.rfc-editor.org/rfc/rfc5789)).
    Patch,
    /// Removes the resource.
    Delete,
    /// Asks which methods there are.
    Options,
    /// Sends the request back.
    Trace,
    /// Opens a tunnel.
    Connect,
    /// Another method of the [IANA registry](https://www.iana.org/assignments/http-methods), such
    /// as PROPFIND and LOCK.
    Registered,
    /// Any other method.
    Other,
}

impl Method {
    /// The method of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "OPTIONS" => Self::Options,
            "TRACE" => Self::Trace,
            "CONNECT" => Self::Connect,
            "ACL" | "BASELINE-CONTROL" | "BIND" | "CHECKIN" | "CHECKOUT" | "COPY" | "LABEL"
            | "LINK" | "LOCK" | "MERGE" | "MKACTIVITY" | "MKCALENDAR" | "MKCOL"
            | "MKREDIRECTREF" | "MKWORKSPACE" | "MOVE" | "ORDERPATCH" | "PRI" | "PROPFIND"
            | "PROPPATCH" | "QUERY" | "REBIND" | "REPORT" | "SEARCH" | "UNBIND" | "UNCHECKOUT"
            | "UNLINK" | "UNLOCK" | "UPDATE" | "UPDATEREDIRECTREF" | "VERSION-CONTROL" => {
                Self::Registered
            }
            _ => Self::Other,
        }
    }

    /// Whether the method reads the selected representation: GET and HEAD.
    ///
    /// These are the methods that a 304 can answer.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }

    /// Whether the method involves the selection or modification of a selected representation: all
    /// but OPTIONS, TRACE and CONNECT, on which preconditions are ignored.
    ///
    /// [RFC 9110 section 13.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-13.2.1)
    #[must_use]
    pub fn selects(self) -> bool {
        !matches!(self, Self::Options | Self::Trace | Self::Connect)
    }
}

impl From<&str> for Method {
    fn from(name: &str) -> Self {
        Self::from_name(name)
    }
}
