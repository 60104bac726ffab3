//! The validators of a representation.

use crate::entity_tag::EntityTag;
use crate::http_date::HttpDate;

/// The validators of a selected representation, against which preconditions are evaluated.
///
/// Either may be missing. That is not the same as a missing representation.
///
/// [RFC 9110 section 8.8](https://www.rfc-editor.org/rfc/rfc9110#section-8.8)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// Its current entity tag.
    pub entity_tag: Option<EntityTag>,
    /// When it was last modified.
    pub last_modified: Option<HttpDate>,
}

impl From<EntityTag> for Validators {
    /// The validators of a representation whose date of modification is not known.
    fn from(entity_tag: EntityTag) -> Self {
        Self {
            entity_tag: Some(entity_tag),
            last_modified: None,
        }
    }
}

impl Validators {
    /// `ETag` and `Last-Modified` as field lines, name and value.
    ///
    /// Send them with the representation, and in a 304. `Last-Modified` is never later than `now`,
    /// which is the Date of the response, even if the clock of the machine was set back
    /// ([RFC 9110 section 8.8.2.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.2.1)).
    #[must_use]
    pub fn fields(&self, now: impl Into<HttpDate>) -> Vec<(&'static str, String)> {
        self.field_lines(now.into()).collect()
    }

    /// The same without a `Vec`.
    pub(crate) fn field_lines(
        &self,
        now: HttpDate,
    ) -> impl Iterator<Item = (&'static str, String)> {
        let tag = self.entity_tag.as_ref();
        let date = self.last_modified.map(|date| date.min(now));
        let tag = tag.map(etag_line);
        let date = date.map(|date| ("Last-Modified", date.field_value()));
        tag.into_iter().chain(date)
    }
}

/// The field line `ETag`, name and value.
pub(crate) fn etag_line(entity_tag: &EntityTag) -> (&'static str, String) {
    ("ETag", entity_tag.field_value())
}
