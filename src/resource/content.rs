//! The checks of a request's content.

use serde::de::IgnoredAny;

use crate::document::ContentError;
use crate::field::{list_members, trim};
use crate::method::Method;
use crate::problem::{MERGE_PATCH, Problem};
use crate::resource::Handler;

/// The media types in which browsers send forms; curl sends all content as the first.
const FORMS: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

impl Handler<'_> {
    /// Refuses content with a Content-Encoding, which the server does not decode.
    ///
    /// [RFC 9110 section 15.5.16](https://www.rfc-editor.org/rfc/rfc9110#section-15.5.16)
    pub(super) fn refuse_encoded(&self) -> Result<(), Problem> {
        let lines = self.request.field_lines("Content-Encoding");
        let mut codings = lines.flat_map(list_members);
        if codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
            Ok(())
        } else {
            Err(Problem::Encoded)
        }
    }

    /// Refuses a PUT with Content-Range, because its content is only a part of the representation.
    ///
    /// [RFC 9110 section 14.5](https://www.rfc-editor.org/rfc/rfc9110#section-14.5)
    pub(super) fn refuse_partial(&self) -> Result<(), Problem> {
        match self.request.field_lines("Content-Range").next() {
            Some(_) => Err(Problem::PartialPut),
            None => Ok(()),
        }
    }

    /// Whether the request is a PATCH whose content is not a merge patch.
    ///
    /// [RFC 5789 section 2.2](https://www.rfc-editor.org/rfc/rfc5789#section-2.2)
    pub(super) fn has_unsupported_patch(&self) -> bool {
        if self.request.method != Method::Patch {
            return false;
        }
        let mut types = self.media_types();
        let only = (types.next(), types.next());
        !matches!(only, (Some(it), None) if it.eq_ignore_ascii_case(MERGE_PATCH.as_bytes()))
    }

    /// The error of content that is not admitted. If it is a form, the error says so.
    ///
    /// Content that begins as JSON does is taken for JSON with a mistake, whatever its Content-Type is.
    pub(super) fn not_admitted(&self, error: ContentError) -> ContentError {
        let content = self.request.content;
        let is_json = matches!(content.trim_ascii_start(), [] | [b'{' | b'[', ..])
            || serde_json::from_slice::<IgnoredAny>(content).is_ok();
        let form = self.media_types().find_map(|given| {
            let is_given = |form: &&str| given.eq_ignore_ascii_case(form.as_bytes());
            FORMS.into_iter().find(is_given)
        });
        match form {
            Some(form) if !is_json => {
                error.with_detail(format!("the content is a form ({form}); send JSON instead"))
            }
            _ => error,
        }
    }

    /// The media types of the content, without their parameters.
    fn media_types(&self) -> impl Iterator<Item = &[u8]> {
        let types = self.request.field_lines("Content-Type");
        types.filter_map(|value| value.split(|byte| *byte == b';').next().map(trim))
    }
}
