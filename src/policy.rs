//! What is left to whoever runs the server.

use crate::access::Access;
use crate::collection::Collections;

/// What whoever runs the server decides about its answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Whose habits the answers follow.
    pub profile: Profile,
    /// Whether PUT, PATCH and DELETE are also performed without If-Match.
    pub unconditional_writes: bool,
    /// The longest content of a request that is read, in bytes, and the longest representation of a
    /// document; 64 KiB unless set.
    pub max_content: u64,
    /// Who may ask, and from where.
    pub access: Access,
    /// What is served.
    pub collections: Collections,
    /// Whether `/` shows a page to browsers, from which documents can be edited. The page itself is
    /// sent without a token; the documents are not.
    pub page: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            unconditional_writes: false,
            max_content: 64 * 1024,
            access: Access::default(),
            collections: Collections::default(),
            page: true,
        }
    }
}

/// Whose habits the answers follow, where those of the older service and the RFCs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Those of the older service: its clients go on working.
    #[default]
    Compatible,
    /// Those of the RFCs: 428 for a missing If-Match, 409 for an id that is taken, tags only in
    /// quotes, and problems told as `application/problem+json`
    /// ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
    Strict,
}
