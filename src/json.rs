//! JSON as text: checked, written without white space, merged. No value is converted.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

/// The deepest nesting of arrays and objects.
pub(crate) const MAX_DEPTH: usize = 100;

/// JSON text that all parsers read alike: no object has a member twice, and no string has an unpaired
/// surrogate.
///
/// Numbers and strings are as they were sent. There is no white space between tokens.
///
/// [RFC 8259](https://www.rfc-editor.org/rfc/rfc8259), and
/// [RFC 7493](https://www.rfc-editor.org/rfc/rfc7493) without its limits of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Json(String);

impl Json {
    /// Checks `content`.
    ///
    /// # Errors
    ///
    /// When it is not JSON, or is JSON that two parsers could read differently.
    pub(crate) fn read(content: &[u8]) -> Result<Self, JsonError> {
        Self::read_to(content, MAX_DEPTH)
    }

    /// Checks `content`, whose arrays and objects may be nested `depth` levels deep.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn read_to(content: &[u8], depth: usize) -> Result<Self, JsonError> {
        let raw: &RawValue = serde_json::from_slice(content).map_err(JsonError::malformed)?;
        compact(raw.get(), depth).map(Self)
    }

    /// The object that has these members.
    pub(crate) fn object<'a>(members: impl IntoIterator<Item = &'a Member<'a>>) -> Self {
        let mut text = String::from("{");
        for member in members {
            begin_member(&mut text, member.raw_name);
            text.push_str(member.value);
        }
        text.push('}');
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The type of the value, with its article, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.0.as_bytes() {
            [b'{', ..] => "an object",
            [b'[', ..] => "an array",
            [b'"', ..] => "a string",
            [b't' | b'f', ..] => "a boolean",
            [b'n', ..] => "null",
            _ => "a number",
        }
    }

    /// The members, if it is an object.
    pub(crate) fn members(&self) -> Option<Vec<Member<'_>>> {
        match Node::read(&self.0).0 {
            Node::Object(members) => Some(members.into_iter().map(|(member, _)| member).collect()),
            Node::Other => None,
        }
    }

    /// The elements, if it is an array.
    pub(crate) fn elements(&self) -> Option<Vec<Self>> {
        let elements: Vec<&RawValue> = serde_json::from_str(&self.0).ok()?;
        let elements = elements.into_iter();
        Some(elements.map(|it| Self(it.get().to_owned())).collect())
    }

    /// The string, if it is one.
    pub(crate) fn string(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }

    /// This value, changed by a merge patch. Members keep their order, and new ones are added at the
    /// end.
    ///
    /// [RFC 7396 section 2](https://www.rfc-editor.org/rfc/rfc7396#section-2)
    pub(crate) fn merged(&self, patch: &Self) -> Self {
        let mut text = String::with_capacity(self.0.len() + patch.0.len());
        let (target, change) = (Node::read(&self.0).0, Node::read(&patch.0).0);
        merge(Some(target), change, &patch.0, &mut text);
        Self(text)
    }
}

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member<'a> {
    /// The name, without quotes and escapes.
    pub(crate) name: Cow<'a, str>,
    /// The name as it is in the text, with quotes and escapes.
    pub(crate) raw_name: &'a str,
    /// The value, as JSON text.
    pub(crate) value: &'a str,
}

impl Member<'_> {
    /// The value as JSON of its own.
    pub(crate) fn json(&self) -> Json {
        Json(self.value.to_owned())
    }
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serializes into memory")
}

/// Writes the text as a JSON string. A text without characters to escape, as most are, is copied.
pub(crate) fn write_quoted(text: &str, content: &mut Vec<u8>) {
    let is_escaped = |byte: u8| matches!(byte, 0..b' ' | b'"' | b'\\');
    if text.bytes().any(is_escaped) {
        content.extend_from_slice(quoted(text).as_bytes());
    } else {
        content.push(b'"');
        content.extend_from_slice(text.as_bytes());
        content.push(b'"');
    }
}

/// Writes `value` in the layout of the older service, whose clients compare it byte for byte: two
/// spaces of indentation, a comma *and a space* before each line break, a line break at the end.
pub(crate) fn to_pretty_json(value: &impl Serialize) -> Vec<u8> {
    let text = serde_json::to_string_pretty(value)
        .expect("strings, and lists and objects of them, always serialize into memory");
    // No line ends within a string, because line breaks in strings are escaped.
    let mut spaced = String::with_capacity(text.len() + 16);
    for line in text.lines() {
        spaced.push_str(line);
        spaced.push_str(if line.ends_with(',') { " \n" } else { "\n" });
    }
    spaced.into_bytes()
}

/// Writes the name of the next member of the object that is being written to `text`.
fn begin_member(text: &mut String, raw_name: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    text.push_str(raw_name);
    text.push(':');
}

/// The first value of valid JSON without white space, and what follows it.
fn split_value(text: &str) -> (&str, &str) {
    let (mut end, mut depth) = (0, 0_usize);
    while let Some(rest @ [first, ..]) = text.as_bytes().get(end..) {
        match first {
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b'}' | b']' | b',' if depth == 0 => break,
            _ => {}
        }
        end += token_length(rest);
        if depth == 0 && matches!(first, b'}' | b']' | b'"') {
            break;
        }
    }
    text.split_at(end)
}

/// Copies valid JSON without its white space. Checks what the grammar allows and [`Json`] does not:
/// repeated names, unpaired surrogates, any depth. It does not recurse, so the depth is no danger.
fn compact(mut rest: &str, depth: usize) -> Result<String, JsonError> {
    let mut text = String::with_capacity(rest.len());
    // An entry for each array and object that is open: the names of an object, `None` for an array.
    let mut open: Vec<Option<Vec<Cow<'_, str>>>> = Vec::new();
    while let Some(first) = rest.bytes().next() {
        let (token, after) = rest.split_at(token_length(rest));
        rest = after;
        match first {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'{' | b'[' if open.len() == depth => return Err(JsonError::TooDeep),
            b'{' => open.push(Some(Vec::new())),
            b'[' => open.push(None),
            b'}' | b']' => check_names(open.pop().flatten().unwrap_or_default())?,
            b'"' => {
                let string = unescaped(token)?;
                match open.last_mut() {
                    Some(Some(names)) if text.ends_with(['{', ',']) => names.push(string),
                    _ => {}
                }
            }
            _ => {}
        }
        text.push_str(token);
    }
    Ok(text)
}

/// The length of the first token of valid JSON, in bytes: a whole string, or one other byte.
fn token_length(rest: impl AsRef<[u8]>) -> usize {
    let [b'"', inside @ ..] = rest.as_ref() else {
        return 1;
    };
    let mut escaped = false;
    let end = inside.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    end.map_or(inside.len() + 1, |end| end + 2)
}

fn check_names(mut names: Vec<Cow<'_, str>>) -> Result<(), JsonError> {
    names.sort_unstable();
    let mut neighbours = names.iter().zip(names.iter().skip(1));
    match neighbours.find(|(one, other)| one == other) {
        Some((name, _)) => Err(JsonError::Repeated(shortened(name))),
        None => Ok(()),
    }
}

/// The text, or its beginning if it is too long for a sentence.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(64) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The value of a JSON string: without its quotes and escapes.
fn unescaped(quoted: &str) -> Result<Cow<'_, str>, JsonError> {
    let inside = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    match inside {
        Some(inside) if !inside.contains('\\') => Ok(inside.into()),
        // The grammar has been checked, so the only error can be an unpaired surrogate.
        _ => serde_json::from_str::<String>(quoted)
            .map(Cow::from)
            .map_err(|_| JsonError::Surrogate(shortened(quoted))),
    }
}

/// A value, and its members if it is an object, so that a merge reads each byte once.
enum Node<'a> {
    Object(Vec<(Member<'a>, Self)>),
    /// Any other value.
    Other,
}

impl<'a> Node<'a> {
    /// Reads the first value of `text`. Also returns its length in bytes.
    fn read(text: &'a str) -> (Self, usize) {
        let Some(mut rest) = text.strip_prefix('{') else {
            return (Self::Other, split_value(text).0.len());
        };
        let mut members = Vec::new();
        while rest.starts_with('"') {
            let (raw_name, after) = rest.split_at(token_length(rest));
            let after = after.strip_prefix(':').unwrap_or(after);
            let (node, length) = Self::read(after);
            let (value, after) = after.split_at(length);
            let member = Member {
                name: unescaped(raw_name).unwrap_or(raw_name.into()),
                raw_name,
                value,
            };
            members.push((member, node));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        // The closing brace is counted, too.
        (Self::Object(members), text.len() - rest.len() + 1)
    }

    fn into_members(self) -> Vec<(Member<'a>, Self)> {
        match self {
            Self::Object(members) => members,
            Self::Other => Vec::new(),
        }
    }
}

/// Applies a patch, whose text is `value`, to the target, and writes the result to `text`.
///
/// [RFC 7396 section 2](https://www.rfc-editor.org/rfc/rfc7396#section-2)
fn merge(target: Option<Node<'_>>, patch: Node<'_>, value: &str, text: &mut String) {
    let Node::Object(changes) = patch else {
        return text.push_str(value);
    };
    let names: Vec<_> = changes
        .iter()
        .map(|(change, _)| change.name.clone())
        .collect();
    let mut changes: HashMap<_, _> = names.iter().zip(changes).collect();
    text.push('{');
    for (member, node) in target.map(Node::into_members).unwrap_or_default() {
        match changes.remove(&member.name) {
            None => {
                begin_member(text, member.raw_name);
                text.push_str(member.value);
            }
            Some((change, _)) if change.value == "null" => {}
            Some((change, patch)) => {
                begin_member(text, member.raw_name);
                merge(Some(node), patch, change.value, text);
            }
        }
    }
    // The remaining changes are of members that the target does not have.
    for name in &names {
        match changes.remove(name) {
            Some((change, patch)) if change.value != "null" => {
                begin_member(text, change.raw_name);
                merge(None, patch, change.value, text);
            }
            _ => {}
        }
    }
    text.push('}');
}

/// Why content is not JSON that all parsers read alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// It is not JSON; the text says what is wrong, and where.
    Malformed(String),
    /// An object has this member twice.
    Repeated(String),
    /// This string has an unpaired surrogate.
    Surrogate(String),
    /// It is nested more deeply than [`MAX_DEPTH`].
    TooDeep,
}

impl JsonError {
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
    fn malformed(error: serde_json::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(detail) => write!(f, "The content must be JSON: {detail}"),
            Self::Repeated(name) => {
                write!(
                    f,
                    "The content must not have the member `{name}` twice in one object"
                )
            }
            Self::Surrogate(string) => {
                write!(
                    f,
                    "The string {string} has one half of a surrogate pair without the other"
                )
            }
            Self::TooDeep => {
                write!(
                    f,
                    "The content must not be nested more than {MAX_DEPTH} levels deep"
                )
            }
        }
    }
}

impl Error for JsonError {}
