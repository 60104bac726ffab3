use std::fmt;

/// A line of the table.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What was measured, with how many clients, and against what.
    pub what: String,
    /// The ratio, or a figure of its own.
    pub figure: String,
    pub spread: String,
    /// Requests a second, and those of what it is compared with.
    pub rates: [String; 2],
    /// Microseconds of processor time for a request, and those of what it is compared with.
    pub times: [String; 2],
    pub goal: String,
}

impl Row {
    /// A figure that is compared with nothing.
    pub fn figure(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            figure: figure.into(),
            ..Self::default()
        }
    }

    fn cells(&self) -> [String; 8] {
        let Self {
            what,
            figure,
            spread,
            goal,
            ..
        } = self.clone();
        let ([rate, other], [time, its]) = (self.rates.clone(), self.times.clone());
        [what, figure, spread, rate, other, time, its, goal]
    }
}

/// What a figure ought to be, and whether it is. Nothing depends on it.
pub fn verdict(goal: &str, met: bool) -> String {
    format!("{goal}: {}", if met { "met" } else { "**missed**" })
}

/// The rows, as Markdown that can be read as it is.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub rows: Vec<Row>,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "",
            "figure",
            "spread",
            "requests/s",
            "other's",
            "us each",
            "other's",
            "goal",
        ];
        let mut lines = vec![head.map(String::from)];
        lines.extend(self.rows.iter().map(Row::cells));
        let mut widths = [3; 8];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.len().max(*width);
            }
        }
        let rule = ["--", "-:", "-:", "-:", "-:", "-:", "-:", "--"];
        lines.insert(1, rule.map(String::from));
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
                // Text begins where its column does, and numbers end there.
                if column == 0 || column == 7 {
                    write!(f, "| {cell:<width$} ")?;
                } else {
                    write!(f, "| {cell:>width$} ")?;
                }
            }
            writeln!(f, "|")?;
        }
        Ok(())
    }
}
