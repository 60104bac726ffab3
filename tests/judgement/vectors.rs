//! The vectors of `vectors/conditional.json`, whose format its README describes.

use ifmatch::HttpDate;
use serde::Deserialize;

use crate::oracle::at;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

/// A request in a state, and the allowed outcomes.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub state: String,
    pub method: String,
    pub fields: Vec<(String, String)>,
    allowed: Vec<Outcome>,
    section: String,
    level: String,
    why: String,
}

#[derive(Debug, Deserialize)]
struct Outcome {
    status: Vec<u16>,
    performed: bool,
    #[serde(default)]
    fields: Vec<String>,
}

pub fn cases() -> Vec<Case> {
    let text = include_str!("../../vectors/conditional.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    vectors.cases
}

impl Case {
    /// The field lines, with this tag and these seconds after the epoch in place of the
    /// placeholders.
    pub fn lines(&self, tag: &str, modified: i64, now: i64) -> Vec<(&str, Vec<u8>)> {
        let lines = self.fields.iter().map(|(name, value)| {
            let value = fill(value, tag, modified, now);
            let bytes = value.chars().map(|c| u8::try_from(c).unwrap());
            (name.as_str(), bytes.collect())
        });
        lines.collect()
    }

    #[track_caller]
    pub fn allows(&self, status: u16, performed: bool, sent: &[String]) {
        let fits = |outcome: &Outcome| {
            let mut names = outcome.fields.iter();
            outcome.status.contains(&status)
                && outcome.performed == performed
                && names.all(|name| sent.iter().any(|it| it.eq_ignore_ascii_case(name)))
        };
        let fits = self.allowed.iter().any(fits);
        let Self {
            id,
            section,
            level,
            why,
            ..
        } = self;
        assert!(
            fits,
            "{id}: {status}, performed: {performed}, {sent:?}; allowed are {:?}, because ({section} {level}) {why}",
            self.allowed
        );
    }
}

/// Replaces the placeholders in a value. Other braces stay as they are.
fn fill(value: &str, tag: &str, modified: i64, now: i64) -> String {
    let Some((before, rest)) = value.split_once('{') else {
        return value.to_owned();
    };
    let inside = rest.split_once('}');
    let filled =
        inside.and_then(|(name, after)| Some((placeholder(name, tag, modified, now)?, after)));
    match filled {
        Some((filled, after)) => format!("{before}{filled}{}", fill(after, tag, modified, now)),
        None => format!("{before}{{{}", fill(rest, tag, modified, now)),
    }
}

fn placeholder(name: &str, tag: &str, modified: i64, now: i64) -> Option<String> {
    let swapped = |c: char| {
        if c.is_lowercase() {
            c.to_ascii_uppercase()
        } else {
            c.to_ascii_lowercase()
        }
    };
    match name {
        "tag" => return Some(tag.to_owned()),
        "tag:head" => return Some(tag[..tag.len() - 1].to_owned()),
        "tag:tail" => return Some(tag[1..].to_owned()),
        "tag:swapcase" => return Some(tag.chars().map(swapped).collect()),
        _ => {}
    }
    let (name, start) = match name.strip_prefix("now-") {
        Some(name) => (name, now),
        None => (name, modified),
    };
    let (form, offset) = name.split_at(name.find(['+', '-'])?);
    date(form, start + offset.parse::<i64>().ok()?)
}

/// The date of this number of seconds after the epoch, in this form. Reorders the parts of an
/// IMF-fixdate, whose printing has tests of its own.
fn date(form: &str, seconds: i64) -> Option<String> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    const WEEKDAYS: [&str; 7] = [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let imf = HttpDate::from(at(seconds)).to_string();
    let (weekday, day, month) = (&imf[..3], &imf[5..7], &imf[8..11]);
    let (year, time) = (&imf[12..16], &imf[17..25]);
    let long = WEEKDAYS.iter().find(|it| it.starts_with(weekday)).unwrap();
    let number = MONTHS.find(month).unwrap() / 3 + 1;
    Some(match form {
        "stem" => imf[..25].to_owned(),
        "rfc850" => format!("{long}, {day}-{month}-{} {time} GMT", &year[2..]),
        "asctime" => format!(
            "{weekday} {month} {:>2} {time} {year}",
            day.trim_start_matches('0')
        ),
        "iso" => format!("{year}-{number:02}-{day}T{time}Z"),
        "epoch" => seconds.to_string(),
        "imf" => imf,
        _ => return None,
    })
}
