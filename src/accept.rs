//! Which representation of the service document a client prefers.

use crate::field::{list_members, trim};
use crate::message::Request;

/// Whether the client prefers HTML to JSON: it names HTML, or all of `text/`, with a higher weight.
///
/// Browsers name `text/html`. Programs send `*/*` or no Accept, and get JSON.
///
/// [RFC 9110 section 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1)
pub(crate) fn prefers_html(request: &Request<'_>) -> bool {
    weight(request, "text", "html") > weight(request, "application", "json")
}

/// The weight of a media type in thousandths: that of the most specific range it is in, or 0.
fn weight(request: &Request<'_>, kind: &str, subtype: &str) -> u16 {
    let (full, group) = (format!("{kind}/{subtype}"), format!("{kind}/*"));
    let ranges = request.field_lines("Accept").flat_map(list_members);
    let weights = ranges.filter_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(trim);
        let range = parts.next()?;
        let names = |known: &str| range.eq_ignore_ascii_case(known.as_bytes());
        let specific = if names(&full) {
            2
        } else if names(&group) {
            1
        } else if names("*/*") {
            0
        } else {
            return None;
        };
        Some((specific, parts.find_map(quality).unwrap_or(1000)))
    });
    weights.max().map_or(0, |(_, weight)| weight)
}

/// The value of the parameter `q` in thousandths; one that cannot be read counts as 0.
fn quality(parameter: &[u8]) -> Option<u16> {
    let value = match parameter {
        [b'q' | b'Q', b'=', value @ ..] => String::from_utf8_lossy(value),
        _ => return None,
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((&value, ""));
    let thousandths = format!("{fraction:0<3}").parse().ok();
    Some(match (whole, thousandths) {
        ("1", Some(0)) => 1000,
        ("0", Some(thousandths @ 0..1000)) => thousandths,
        _ => 0,
    })
}
