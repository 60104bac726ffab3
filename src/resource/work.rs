//! Work: how long it takes to make a response, and whether it blocks.

use crate::endpoint::Endpoint;
use crate::message::Request;
use crate::method::Method;
use crate::page::Page;
use crate::preference::Return;
use crate::resource::Policy;
use crate::target::Target;

/// The most documents of a list that takes about as long as other responses. A list of 1,000 takes
/// 30 times as long.
const SHORT_PAGE: usize = 100;

/// The longest content that is parsed about as fast as other requests are answered, in bytes.
const SHORT_CONTENT: usize = 16 * 1024;

/// How long it takes to make a response, and whether it blocks. A server with an event loop chooses the
/// thread by this value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Some microseconds.
    Short,
    /// Much computing, without a call that blocks: a long list, or long content.
    Long,
    /// A check of a store that may block.
    HealthCheck,
    /// Calls of the store that may block, to read.
    Read,
    /// Calls of the store that may block, to write.
    Write,
}

impl Work {
    /// The work for the response to this request. `store_blocks` says whether its calls of the store
    /// may block.
    ///
    /// Most requests with If-None-Match get 304, which is short. `has_changed` says that this one does
    /// not, since its wait has ended by a change.
    pub(crate) fn of(
        policy: &Policy,
        request: &Request<'_>,
        store_blocks: bool,
        has_changed: bool,
    ) -> Self {
        let is_read = request.method.is_read();
        match Target::parse(request.target, &policy.collections) {
            _ if request.method == Method::Options => Self::Short,
            Ok(Target::Endpoint(Endpoint::Health)) if store_blocks && is_read => Self::HealthCheck,
            Ok(Target::Collection(_) | Target::Document(..)) if store_blocks && is_read => {
                Self::Read
            }
            Ok(Target::Collection(_) | Target::Document(..)) if store_blocks => Self::Write,
            Ok(Target::Collection(_)) if may_be_long_list(request, has_changed) => Self::Long,
            Ok(Target::Collection(_) | Target::Document(..))
                if request.content.len() > SHORT_CONTENT =>
            {
                Self::Long
            }
            _ => Self::Short,
        }
    }
}

/// Whether the response to a request for a collection may be a long list. The client of a POST may
/// prefer to get the list if the POST fails.
fn may_be_long_list(request: &Request<'_>, has_changed: bool) -> bool {
    let is_long = || Page::from_target(request.target).is_ok_and(|it| it.limit > SHORT_PAGE);
    let is_current = || !has_changed && request.field_lines("If-None-Match").next().is_some();
    match request.method {
        Method::Get | Method::Head => !is_current() && is_long(),
        Method::Post => Return::of(request) == Some(Return::Representation),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_and_long_content_are_long() {
        use Method::{Delete, Get, Options, Post, Put};
        let (list, known) = ("/persons?limit=101", [("If-None-Match", "\"a\"")]);
        let prefers = [("Prefer", "return=representation")];
        for (method, target, fields, content, has_changed, expected) in [
            (Get, "/persons", &[][..], 0, false, Work::Long),
            (Get, "/persons?limit=100", &[], 0, false, Work::Short),
            (Get, list, &[], 0, false, Work::Long),
            (Get, list, &known, 0, false, Work::Short),
            (Get, list, &known, 0, true, Work::Long),
            (Options, list, &[], 0, false, Work::Short),
            (Get, "/persons/1", &[], 0, true, Work::Short),
            (Post, "/persons", &[], SHORT_CONTENT, false, Work::Short),
            (Post, "/persons", &prefers, 9, false, Work::Long),
            (Post, "/persons", &[], SHORT_CONTENT + 1, false, Work::Long),
            (Put, "/persons/1", &[], SHORT_CONTENT, false, Work::Short),
            (Put, "/persons/1", &[], SHORT_CONTENT + 1, false, Work::Long),
            (Delete, "/persons/1", &[], 0, false, Work::Short),
            (Get, "/health", &[], 0, false, Work::Short),
            (Put, "/nothing", &[], SHORT_CONTENT + 1, false, Work::Short),
        ] {
            let content = vec![b' '; content];
            let mut request = Request::new(method, target).with_content(&content);
            for (name, value) in fields {
                request = request.with_field(name, value);
            }
            let work = Work::of(&Policy::default(), &request, false, has_changed);
            assert_eq!(
                work, expected,
                "{method:?} {target} {fields:?} {has_changed}"
            );
        }
    }

    #[test]
    fn calls_that_block_are_reads_writes_and_checks() {
        for (method, target, expected) in [
            (Method::Get, "/persons/1", Work::Read),
            (Method::Head, "/persons", Work::Read),
            (Method::Post, "/persons", Work::Write),
            (Method::Delete, "/persons/1", Work::Write),
            (Method::Get, "/health", Work::HealthCheck),
            (Method::Put, "/health", Work::Short),
            (Method::Options, "/persons", Work::Short),
            (Method::Get, "/", Work::Short),
            (Method::Get, "/nothing", Work::Short),
        ] {
            let request = Request::new(method, target);
            let work = Work::of(&Policy::default(), &request, true, false);
            assert_eq!(work, expected, "{method:?} {target}");
        }
    }
}
