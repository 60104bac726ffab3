//! A naive and strict reader of JSON, and the pseudo code of RFC 7396 for merge patches.

use serde_json::{Map, Value};

/// The limit of nested arrays and objects.
const MAX_DEPTH: usize = 100;

/// Reads JSON text. `None` if two readers might read the text differently.
///
/// The result has each number, boolean and string as a string of its JSON text, with quotes and
/// escapes. So two values are equal only if nothing was converted. `null` is null.
pub fn read(data: &[u8]) -> Option<Value> {
    let mut reader = Reader {
        rest: std::str::from_utf8(data).ok()?,
        depth: 0,
    };
    let value = reader.value()?;
    reader.skip_space();
    reader.rest.is_empty().then_some(value)
}

/// [RFC 7396 section 2](https://www.rfc-editor.org/rfc/rfc7396#section-2), line by line.
pub fn merge_patch(target: Value, patch: &Value) -> Value {
    if let Value::Object(patch) = patch {
        let mut target = match target {
            Value::Object(target) => target,
            _ => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let old = target.get(name).cloned().unwrap_or_default();
                target.insert(name.clone(), merge_patch(old, value));
            }
        }
        Value::Object(target)
    } else {
        patch.clone()
    }
}

/// Decodes the JSON text of a string.
pub fn string(token: &str) -> Option<String> {
    let inside = token.strip_prefix('"')?.strip_suffix('"')?;
    let (mut units, mut chars) = (Vec::new(), inside.chars());
    while let Some(char) = chars.next() {
        if char != '\\' {
            units.extend(char.encode_utf16(&mut [0; 2]).iter());
            continue;
        }
        units.push(match chars.next()? {
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                let is_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                u16::from_str_radix(is_hex.then_some(&digits)?, 16).ok()?
            }
            'b' => 8,
            'f' => 12,
            'n' => 10,
            'r' => 13,
            't' => 9,
            same @ ('"' | '\\' | '/') => same as u16,
            _ => return None,
        });
    }
    // This refuses a surrogate that is not part of a pair.
    String::from_utf16(&units).ok()
}

struct Reader<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes this text, if it comes next.
    fn take(&mut self, text: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// Takes the text of one value, of this length.
    fn token(&mut self, length: usize) -> &'a str {
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.rest.chars().next()? {
            '{' | '[' if self.depth == MAX_DEPTH => None,
            '{' => self.object(),
            '[' => self.array(),
            '"' => Some(self.quoted()?.into()),
            '-' | '0'..='9' => Some(self.number()?.into()),
            _ => {
                for word in ["true", "false"] {
                    if self.take(word).is_some() {
                        return Some(word.into());
                    }
                }
                self.take("null").map(|()| Value::Null)
            }
        }
    }

    fn object(&mut self) -> Option<Value> {
        self.take("{")?;
        self.depth += 1;
        let mut members = Map::new();
        self.skip_space();
        if self.take("}").is_none() {
            loop {
                self.skip_space();
                let name = string(self.quoted()?)?;
                self.skip_space();
                self.take(":")?;
                if members.insert(name, self.value()?).is_some() {
                    return None;
                }
                self.skip_space();
                if self.take(",").is_none() {
                    break;
                }
            }
            self.take("}")?;
        }
        self.depth -= 1;
        Some(members.into())
    }

    fn array(&mut self) -> Option<Value> {
        self.take("[")?;
        self.depth += 1;
        let mut elements = Vec::new();
        self.skip_space();
        if self.take("]").is_none() {
            loop {
                elements.push(self.value()?);
                self.skip_space();
                if self.take(",").is_none() {
                    break;
                }
            }
            self.take("]")?;
        }
        self.depth -= 1;
        Some(elements.into())
    }

    /// The text of a string.
    fn quoted(&mut self) -> Option<&'a str> {
        let mut chars = self.rest.char_indices();
        chars.next().filter(|(_, first)| *first == '"')?;
        loop {
            match chars.next()? {
                (end, '"') => {
                    let token = self.token(end + 1);
                    return string(token).map(|_| token);
                }
                (_, '\\') => drop(chars.next()),
                (_, '\0'..='\u{1f}') => return None,
                _ => {}
            }
        }
    }

    /// `number = [ minus ] int [ frac ] [ exp ]`
    fn number(&mut self) -> Option<&'a str> {
        let all = self.rest;
        let end = |rest: &str| all.len() - rest.len();
        let digits = |text: &'a str| -> Option<&'a str> {
            let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < text.len()).then_some(rest)
        };
        let mut rest = all.strip_prefix('-').unwrap_or(all);
        rest = match rest.strip_prefix('0') {
            Some(rest) => rest,
            None => digits(rest)?,
        };
        if let Some(fraction) = rest.strip_prefix('.') {
            rest = digits(fraction)?;
        }
        if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
            rest = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))?;
        }
        Some(self.token(end(rest)))
    }
}
