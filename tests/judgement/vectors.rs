//! The vectors of `vectors/conditional.json`, whose format its README describes.

use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

/// A request in a state, and what may come of it.
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
    pub fn allows(&self, status: u16, performed: bool, answered: &[String]) {
        let fits = |outcome: &Outcome| {
            let mut names = outcome.fields.iter();
            outcome.status.contains(&status)
                && outcome.performed == performed
                && names.all(|name| answered.iter().any(|it| it.eq_ignore_ascii_case(name)))
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
            "{id}: {status}, performed: {performed}, {answered:?}; allowed are {:?}, because ({section} {level}) {why}",
            self.allowed
        );
    }
}

/// The value with the placeholders filled in; any other brace stands for itself.
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

/// The date of so many seconds after the epoch.
fn date(form: &str, seconds: i64) -> Option<String> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    const WEEKDAYS: [&str; 7] = [
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
    ];
    let weekday = WEEKDAYS[usize::try_from(seconds / 86_400 % 7).unwrap()];
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let (mut year, mut month, mut days) = (1970, 0, seconds / 86_400);
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    for length in [
        31,
        28 + i64::from(is_leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
    ] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (day, name, short) = (days + 1, MONTHS[month], &weekday[..3]);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    Some(match form {
        "imf" => format!("{short}, {day:02} {name} {year} {time} GMT"),
        "stem" => format!("{short}, {day:02} {name} {year} {time}"),
        "rfc850" => format!("{weekday}, {day:02}-{name}-{:02} {time} GMT", year % 100),
        "asctime" => format!("{short} {name} {day:2} {time} {year}"),
        "iso" => format!("{year}-{:02}-{day:02}T{time}Z", month + 1),
        "epoch" => seconds.to_string(),
        _ => return None,
    })
}
