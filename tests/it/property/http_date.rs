//! Dates, compared with a naive reader of the grammar and of the calendar.

use ifmatch::HttpDate;

use super::Reached;
use crate::oracle::{NOON, at};

pub const EXAMPLES: [&str; 14] = [
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "Wed Nov 16 08:49:37 1994",
    "Tue, 29 Feb 2000 23:59:59 GMT",
    "Sat, 31 Dec 2016 23:59:60 GMT",
    "Sat, 01 Jan 0000 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Monday, 23-Nov-76 12:00:00 GMT",
    "Tuesday, 23-Nov-76 12:00:01 GMT",
    "Thursday, 29-Feb-96 00:00:00 GMT\nWed, 01 Jan 2020 00:00:00 GMT",
    "Wednesday, 01-Jan-00 00:00:00 GMT\nFri, 31 Dec 1999 23:59:59 GMT",
    "Mon, 29 Feb 1999 08:49:37 GMT",
    "784111777",
];

const IMF_FIXDATE: &str = "w, D m Y h:i:s GMT";
const RFC_850: &str = "W, D-m-y h:i:s GMT";
const ASCTIME: &str = "w m d h:i:s Y";

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// The first second of the year 0, and the last second of the year 9999.
const REPRESENTABLE: [i64; 2] = [-62_167_219_200, 253_402_300_799];

/// The first line is a date, and the second one the present. The first bytes are also a date, as a
/// number.
pub fn check(bytes: &[u8]) -> Reached {
    let [first, last] = REPRESENTABLE;
    let number = bytes.iter().take(6);
    let number = number.fold(0, |number, byte| number << 8 | i64::from(*byte));
    in_all_forms(first + number % (last - first + 1));

    let text = String::from_utf8_lossy(bytes);
    let (date, present) = text.split_once('\n').unwrap_or((&text, ""));
    let present = Moment::read_as(present, IMF_FIXDATE).filter(|moment| moment.exists());
    // Clocks start at the epoch. A date with a year of two digits may be fifty years ahead, and
    // must be within the calendar.
    let present = present.map_or(NOON, |moment| {
        moment.seconds().clamp(0, last - 51 * 31_622_400)
    });
    let (present, now) = (Moment::of(present), HttpDate::from(at(present)));

    let read = HttpDate::parse(date, now).ok();
    let moment = Moment::read(date, present);
    // A date after the end of the calendar is read as its end.
    let expected = moment.map(|moment| HttpDate::from(at(moment.seconds().min(last))));
    assert_eq!(read, expected, "{date:?} at {now}");
    let Some(read) = read else {
        return vec!["rejected"];
    };
    assert_eq!(
        HttpDate::parse(&read.to_string(), now),
        Ok(read),
        "{date:?}"
    );
    vec!["accepted"]
}

/// Prints the date, and reads it in each form that can express it.
fn in_all_forms(seconds: i64) {
    let date = HttpDate::from(at(seconds));
    let printed = date.to_string();
    let moment = Moment::read_as(&printed, IMF_FIXDATE).expect(&printed);
    assert_eq!(moment.seconds(), seconds, "{printed}");
    let weekday = (seconds.div_euclid(86_400) + 4).rem_euclid(7);
    let weekday = usize::try_from(weekday).unwrap();
    let Moment {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = moment;
    let long = WEEKDAYS[weekday];
    let short = &long[..3];
    let month = MONTHS[usize::try_from(month).unwrap() - 1];
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    assert_eq!(
        printed,
        format!("{short}, {day:02} {month} {year:04} {time} GMT")
    );
    for form in [
        printed,
        format!("{short} {month} {day:2} {time} {year:04}"),
        format!("{long}, {day:02}-{month}-{:02} {time} GMT", year % 100),
    ] {
        // If the date is the present, two digits of a year mean the year of the present.
        assert_eq!(HttpDate::parse(&form, date), Ok(date), "{form}");
    }
}

const WEEKDAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A date and a time, in the order in which they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Moment {
    /// The date of this number of seconds since the epoch.
    pub fn of(seconds: i64) -> Self {
        let printed = HttpDate::from(at(seconds)).to_string();
        let moment = Self::read_as(&printed, IMF_FIXDATE).expect(&printed);
        assert_eq!(moment.seconds(), seconds, "{printed}");
        moment
    }

    /// Reads a date in any of the three forms.
    ///
    /// [RFC 9110 section 5.6.7](https://www.rfc-editor.org/rfc/rfc9110#section-5.6.7)
    pub fn read(text: &str, now: Self) -> Option<Self> {
        let full = [IMF_FIXDATE, ASCTIME];
        let full = full.iter().find_map(|form| Self::read_as(text, form));
        let read = full.or_else(|| Some(Self::read_as(text, RFC_850)?.in_century(now)));
        read.filter(|moment| moment.exists())
    }

    /// Reads a text in this form. Letters stand for parts of the date, other characters for
    /// themselves.
    fn read_as(text: &str, form: &str) -> Option<Self> {
        let (mut moment, mut rest) = (Self::default(), text);
        for letter in form.chars() {
            let length = match letter {
                'Y' => 4,
                'm' | 'w' => 3,
                'W' => WEEKDAYS.iter().find(|day| rest.starts_with(**day))?.len(),
                'D' | 'd' | 'y' | 'h' | 'i' | 's' => 2,
                _ => 1,
            };
            let (part, after) = (rest.get(..length)?, rest.get(length..)?);
            rest = after;
            match letter {
                'Y' | 'y' => moment.year = digits(part)?,
                'm' => {
                    let before = MONTHS.iter().position(|month| *month == part)?;
                    moment.month = 1 + i64::try_from(before).unwrap();
                }
                'D' => moment.day = digits(part)?,
                'd' => moment.day = digits(part.strip_prefix(' ').unwrap_or(part))?,
                'h' => moment.hour = digits(part)?,
                'i' => moment.minute = digits(part)?,
                's' => moment.second = digits(part)?,
                'w' if WEEKDAYS.iter().any(|day| day.starts_with(part)) => {}
                'W' => {}
                _ if part == letter.to_string() => {}
                _ => return None,
            }
        }
        rest.is_empty().then_some(moment)
    }

    /// Completes a year of two digits: the latest year with which the moment is at most 50 years
    /// ahead.
    fn in_century(self, now: Self) -> Self {
        let horizon = Self {
            year: now.year + 50,
            ..now
        };
        let years = (0..100).map(|century| Self {
            year: self.year + 100 * century,
            ..self
        });
        years.rev().find(|date| *date <= horizon).unwrap_or(self)
    }

    fn exists(self) -> bool {
        let time = self.hour < 24 && self.minute < 60 && self.second <= 60;
        (1..=12).contains(&self.month)
            && (1..=days_in(self.year, self.month)).contains(&self.day)
            && time
    }

    /// The seconds since the epoch.
    pub fn seconds(self) -> i64 {
        let leaps = |year: i64| year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let years = 365 * self.year + leaps(self.year - 1);
        let epoch = 365 * 1970 + leaps(1969);
        let months: i64 = (1..self.month).map(|month| days_in(self.year, month)).sum();
        let days = years - epoch + months + self.day - 1;
        ((days * 24 + self.hour) * 60 + self.minute) * 60 + self.second
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// `1*DIGIT`
fn digits(text: &str) -> Option<i64> {
    let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().unwrap())
}
