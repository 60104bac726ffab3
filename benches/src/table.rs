use crate::figure::{Spread, grouped};

/// A line of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What was measured, the number of clients, and the object of the comparison.
    pub what: String,
    /// The ratio, or another figure.
    pub figure: String,
    /// The ratio as a number, for the goals.
    pub ratio: f64,
    pub spread: String,
    /// Requests per second, of the server and of the object of the comparison.
    pub rates: Option<[f64; 2]>,
    /// Microseconds for a request, of the server and of the object of the comparison. They are
    /// processor time unless the row names another time.
    pub times: Option<[f64; 2]>,
    pub goals: Vec<String>,
}

impl Row {
    /// A figure without a comparison.
    pub fn figure(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            figure: figure.into(),
            ..Self::default()
        }
    }

    /// The ratio of two series of figures that were measured in turn. The median of each is its
    /// rate.
    pub fn ratio(what: impl Into<String>, of: &[f64], to: &[f64]) -> Self {
        let pairs: Vec<_> = of.iter().zip(to).map(|(of, to)| of / to).collect();
        let ratio = Spread::of(&pairs);
        Self {
            ratio: ratio.median,
            spread: format!("{:.2} to {:.2}", ratio.least, ratio.most),
            rates: Some([of, to].map(|figures| Spread::of(figures).median)),
            ..Self::figure(what, format!("{:.2}", ratio.median))
        }
    }

    /// Shows the figures, which are seconds, as times instead of rates.
    pub fn of_times(mut self) -> Self {
        self.times = self.rates.take().map(|it| it.map(|seconds| seconds * 1e6));
        self
    }

    /// Adds a goal, and whether it is met. A missed goal is not an error.
    pub fn goal(mut self, goal: &str, met: bool) -> Self {
        let verdict = if met { "met" } else { "**missed**" };
        self.goals.push(format!("{goal}: {verdict}"));
        self
    }

    pub fn at_least(self, least: f64) -> Self {
        let met = self.ratio >= least;
        self.goal(&format!("at least {least}"), met)
    }

    pub fn at_most(self, most: f64) -> Self {
        let met = self.ratio <= most;
        self.goal(&format!("at most {most}"), met)
    }

    fn cells(&self) -> [String; 8] {
        let [rate, its_rate] = self.rates.map(|it| it.map(grouped)).unwrap_or_default();
        let times = self.times.map(|it| it.map(|time| format!("{time:.1}")));
        let [time, its_time] = times.unwrap_or_default();
        let goals = self.goals.join("; ");
        let [what, figure, spread] = [&self.what, &self.figure, &self.spread].map(String::clone);
        [what, figure, spread, rate, its_rate, time, its_time, goals]
    }
}

const HEAD: [&str; 8] = [
    "", "figure", "spread", "a second", "other's", "us each", "other's", "goal",
];
const RULE: [&str; 8] = ["--", "-:", "-:", "-:", "-:", "-:", "-:", "--"];

/// The rows as Markdown, with aligned columns.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEAD.map(String::from), RULE.map(String::from)];
    lines.extend(rows.iter().map(Row::cells));
    let mut widths = [0; 8];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for line in &lines {
        for ((cell, width), rule) in line.iter().zip(widths).zip(RULE) {
            // Text is aligned to the left, and numbers are aligned to the right.
            let space = " ".repeat(width - cell.len());
            let cell = if rule == "--" {
                [cell, &*space]
            } else {
                [&*space, cell]
            };
            text += &["| ", &cell.concat(), " "].concat();
        }
        text += "|\n";
    }
    text
}
