//! The settings of the responses, which the operator chooses.

use crate::access::Access;
use crate::collection::Collections;

/// The settings that the responses depend on.
///
/// Begin with `Policy::default()`, and change fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Policy {
    /// Whether responses are those of the older service or those of the RFCs, where these differ.
    pub profile: Profile,
    /// Whether PUT, PATCH and DELETE are also performed without If-Match.
    pub unconditional_writes: bool,
    /// The longest content of a request that is read, in bytes, and the longest representation of a
    /// document; 64 KiB unless set.
    pub max_content: u64,
    /// Which requests are allowed, by origin, host and token.
    pub access: Access,
    /// The collections that are served.
    pub collections: Collections,
    /// Whether `/` is an HTML page for browsers, which lists and edits documents. Reading the page needs no
    /// token; reading documents does.
    pub browser_page: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            unconditional_writes: false,
            max_content: 64 * 1024,
            access: Access::default(),
            collections: Collections::default(),
            browser_page: true,
        }
    }
}

/// Which answers are sent where the older service and the RFCs differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Those of the older service, so that its clients keep working.
    #[default]
    Compatible,
    /// Those of the RFCs: 428 for a missing If-Match, 409 for an id that exists, tags only in quotes,
    /// and problems as `application/problem+json`
    /// ([RFC 9457](https://www.rfc-editor.org/rfc/rfc9457)).
    Strict,
}
