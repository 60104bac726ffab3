//! The grammar of entity tags and of their lists, transcribed literally; speed does not matter.

use ifmatch::{MAX_ENTITY_TAGS, MAX_FIELD_VALUE, TagSyntax};

use crate::oracle::Meaning;

/// Whether the tag is weak, and the text between the quotes.
pub type Tag<'a> = (bool, &'a str);

/// `entity-tag = [ "W/" ] DQUOTE *etagc DQUOTE`
///
/// [RFC 9110 section 8.8.3](https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3)
pub fn entity_tag(text: &str) -> Option<Tag<'_>> {
    let weak = text.starts_with("W/");
    let quoted = if weak { &text[2..] } else { text };
    if quoted.len() < 2 || !quoted.starts_with('"') || !quoted.ends_with('"') {
        return None;
    }
    let opaque = &quoted[1..quoted.len() - 1];
    opaque.bytes().all(is_etagc).then_some((weak, opaque))
}

/// `etagc = %x21 / %x23-7E / obs-text`, `obs-text = %x80-FF`
fn is_etagc(byte: u8) -> bool {
    byte == 0x21 || (0x23..=0x7e).contains(&byte) || byte >= 0x80
}

/// `[ entity-tag ] *( OWS "," OWS [ entity-tag ] )`, by trying each comma as the end of a member.
///
/// [RFC 9110 section 5.6.1.2](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.1.2)
pub fn list(text: &str) -> Option<Vec<Tag<'_>>> {
    let (mut members, mut rest) = (Vec::new(), text);
    loop {
        let commas = rest.match_indices(',').map(|(at, _)| at);
        let ends = commas.chain([rest.len()]);
        let (end, member) = ends
            .map(|end| (end, without_space(&rest[..end])))
            .find(|(_, member)| member.is_empty() || entity_tag(member).is_some())?;
        members.extend(entity_tag(member));
        match rest.get(end + 1..) {
            Some(after) => rest = after,
            None => return Some(members),
        }
    }
}

/// A value of If-Match or If-None-Match, which may be malformed.
#[derive(Debug, PartialEq)]
pub enum Reading<'a> {
    Absent,
    Any,
    /// The well-formed members, and the number of malformed ones.
    Listed(Vec<Tag<'a>>, usize),
    /// More members than the limit.
    TooMuch,
}

impl<'a> Reading<'a> {
    /// Reads the combined value of all field lines.
    pub fn of(value: Option<&'a str>, syntax: TagSyntax) -> Self {
        let Some(value) = value else {
            return Self::Absent;
        };
        if without_space(value) == "*" {
            return Self::Any;
        }
        let (mut tags, mut malformed) = (Vec::new(), 0);
        for piece in pieces(value) {
            match member(piece, syntax) {
                Some(tag) => tags.push(tag),
                None => malformed += 1,
            }
        }
        if tags.len() + malformed > MAX_ENTITY_TAGS {
            return Self::TooMuch;
        }
        Self::Listed(tags, malformed)
    }

    /// The input of the naive evaluation.
    pub fn meaning(&self) -> Meaning<'_> {
        match self {
            Self::Absent => Meaning::Absent,
            Self::Any => Meaning::Any,
            Self::Listed(tags, malformed) if tags.is_empty() && *malformed > 0 => {
                Meaning::Malformed
            }
            Self::Listed(tags, 0) => Meaning::Members(tags),
            Self::Listed(tags, _) => Meaning::Partly(tags),
            Self::TooMuch => panic!("this has no meaning"),
        }
    }
}

/// Combines the lines of one field. `None` if there are no lines.
///
/// [RFC 9110 section 5.3](https://www.rfc-editor.org/rfc/rfc9110#section-5.3)
pub fn combined(lines: &[&str]) -> Option<String> {
    let mut value = String::from(*lines.first()?);
    for line in &lines[1..] {
        value += ", ";
        value += line;
    }
    Some(value)
}

/// Whether the lines of one field together exceed the limit.
pub fn is_too_long(lines: &[&str]) -> bool {
    lines.concat().len() > MAX_FIELD_VALUE
}

/// Splits a value at the commas outside quotes, without empty parts.
fn pieces(value: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut quotes) = (Vec::new(), 0, 0);
    for (at, byte) in value.bytes().chain([b',']).enumerate() {
        quotes += usize::from(byte == b'"');
        if at == value.len() || (byte == b',' && quotes % 2 == 0) {
            pieces.push(without_space(&value[start..at]));
            start = at + 1;
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

fn member(piece: &str, syntax: TagSyntax) -> Option<Tag<'_>> {
    let bare = piece != "*" && piece.bytes().all(is_etagc);
    match syntax {
        TagSyntax::QuotedOrBare if bare => Some((false, piece)),
        _ => entity_tag(piece),
    }
}

/// `OWS = *( SP / HTAB )`
pub fn without_space(text: &str) -> &str {
    let is_space = |c| c == ' ' || c == '\t';
    text.trim_start_matches(is_space).trim_end_matches(is_space)
}
