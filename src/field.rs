//! Field values: white space and lists.

/// The members of a list that are not empty.
///
/// A comma between quotes belongs to its member. Quotes are paired from the left. A malformed member
/// is not split again, so that no part of it can match. A backslash does not escape a quote, as in an
/// entity tag.
///
/// [RFC 9110 section 5.6.1](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1)
pub(crate) fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let ends_member = move |byte: &u8| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    };
    value
        .split(ends_member)
        .map(trim)
        .filter(|member| !member.is_empty())
}

/// The value without the optional white space around it, which is spaces and tabs.
///
/// [RFC 9110 section 5.6.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.3)
pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = value.iter().position(is_text).unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    value.get(start..end).unwrap_or_default()
}

/// Bytes that are all ASCII, as text.
pub(crate) fn ascii(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}
