//! Measures `ifmatch`: the speed, compared with a minimal program on the same HTTP library (the
//! floor), the latency during a long read, memory, and growth. `make bench` builds everything and
//! runs this program. `make bench-peers` runs it with the argument `peers`, which compares the
//! server with programs that do the same.
//!
//! The table goes to the standard output and to `target/bench.md`. Ratios compare requests per
//! second, in slices that alternate between the two servers; the spread is that of the pairs of
//! slices. The table shows the goals. The bench does not fail if a goal is missed. It ends with an
//! error if a response has another status than the expected one.
//!
//! `BENCH_ONLY` selects the rows with this text in their name; `p99`, `waiting`, `contention`,
//! `growth` and `footprint` each select a whole part. `BENCH_QUICK` leaves out most rows, and
//! reduces the million to a hundred thousand. Use it to test the bench, not for figures.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{self, Write};
use std::time::{Duration, Instant};
use std::{env, fs};

use crate::figure::quotient;
use crate::table::{Row, table};

mod connection;
mod contention;
mod door;
mod duel;
mod figure;
mod footprint;
mod growth;
mod latency;
mod matrix;
mod place;
mod program;
mod request;
mod table;
mod waiting;

/// Every error ends the bench.
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The duration and the number of the measurements.
#[derive(Clone, Copy, Debug)]
struct Pace {
    slice: Duration,
    pairs: usize,
    quick: bool,
}

impl Pace {
    fn new(quick: bool) -> Self {
        Self {
            slice: Duration::from_millis(if quick { 100 } else { 200 }),
            pairs: if quick { 3 } else { 9 },
            quick,
        }
    }

    /// The number of persons in rows about a million persons.
    fn million(self) -> usize {
        if self.quick { 100_000 } else { 1_000_000 }
    }
}

/// The data that all parts of the bench use.
struct Bench {
    pace: Pace,
    /// Only rows with this text in their name are measured, if there is one.
    only: Option<String>,
    rows: Vec<Row>,
}

impl Bench {
    fn wants(&self, what: &str) -> bool {
        self.only.as_ref().is_none_or(|only| what.contains(only))
    }

    /// Adds a row, and prints its figure as progress.
    fn add(&mut self, row: Row) -> Result<()> {
        writeln!(io::stderr(), "{}: {}", row.what, row.figure)?;
        self.rows.push(row);
        Ok(())
    }
}

fn main() -> Result<()> {
    let begin = Instant::now();
    let quick = env::var_os("BENCH_QUICK").is_some_and(|it| !it.is_empty());
    let pace = Pace::new(quick);
    let peers = env::args().nth(1).is_some_and(|it| it == "peers");
    let mut bench = Bench {
        pace,
        only: env::var("BENCH_ONLY").ok().filter(|only| !only.is_empty()),
        rows: Vec::new(),
    };
    let path = if peers {
        matrix::measure_flask(&mut bench)?;
        "target/bench-peers.md"
    } else {
        matrix::measure(&mut bench)?;
        latency::measure(&mut bench)?;
        waiting::measure(&mut bench)?;
        contention::measure(&mut bench)?;
        growth::measure(&mut bench)?;
        footprint::measure(&mut bench)?;
        "target/bench.md"
    };
    let took = begin.elapsed().as_secs();
    let text = format!("{}\n{}", table(&bench.rows), note(pace, took)?);
    fs::write(path, &text)?;
    io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// The conditions under which the figures were measured.
fn note(pace: Pace, took: u64) -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let share = 100.0 * program::own_time()?.as_secs_f64() / quotient(took.max(1), 1);
    Ok(format!(
        "Slices of {:?}, {} pairs. The load runs on the same {processors} processors as the servers, \
        and took {share:.0} % of one; {took} s in all.\n",
        pace.slice, pace.pairs
    ))
}
