use std::fmt;

/// What was measured several times.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    /// The middle of the figures, and the outermost ones. There must be one at least.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        Self {
            median: at(figures.len() / 2),
            least: at(0),
            most: at(figures.len().wrapping_sub(1)),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} to {:.2}", self.least, self.most)
    }
}

/// A quotient of counts, which are small enough for it.
#[expect(clippy::cast_precision_loss, reason = "nothing here comes near 2^52")]
pub fn quotient(of: u64, by: u64) -> f64 {
    of as f64 / by as f64
}

/// Whole numbers, with commas.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

pub fn milliseconds(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}

pub fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", quotient(bytes, 1_000_000))
}

pub fn microseconds(microseconds: f64) -> String {
    format!("{microseconds:.1}")
}
