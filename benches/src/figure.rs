use crate::Result;

/// The distribution of a figure that was measured several times.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub least: f64,
    pub median: f64,
    /// One figure in a hundred is at least as high as this.
    pub p99: f64,
    pub most: f64,
}

impl Spread {
    /// Needs at least one figure.
    pub fn of(figures: &[f64]) -> Self {
        let mut figures = figures.to_vec();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        Self {
            least: at(0),
            median: at(figures.len() / 2),
            p99: at(figures.len() * 99 / 100),
            most: at(figures.len().wrapping_sub(1)),
        }
    }
}

/// Measures several things in turn, A B A B, so that a change of the machine's speed affects all of
/// them. Returns the figures of each.
pub fn in_turn<T>(
    things: &mut [T],
    rounds: usize,
    mut measure: impl FnMut(&mut T) -> Result<f64>,
) -> Result<Vec<Vec<f64>>> {
    let mut figures = vec![Vec::with_capacity(rounds); things.len()];
    for _ in 0..rounds {
        for (thing, figures) in things.iter_mut().zip(&mut figures) {
            figures.push(measure(thing)?);
        }
    }
    Ok(figures)
}

/// The quotient of two counts.
#[expect(clippy::cast_precision_loss, reason = "all counts are far below 2^52")]
pub fn quotient(of: u64, by: u64) -> f64 {
    of as f64 / by as f64
}

/// Formats a whole number with commas.
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

pub fn mebibytes(bytes: u64) -> String {
    format!("{:.2} MiB", quotient(bytes, 1 << 20))
}
