use std::time::Duration;

use crate::figure::{Spread, grouped, microseconds, quotient};
use crate::load::Load;
use crate::program::Program;
use crate::request::Ask;
use crate::table::Row;
use crate::{Pace, Result};

/// A server under load.
pub struct Side<'a> {
    program: &'a Program,
    load: Load,
    begun: Duration,
    requests: u64,
    rates: Vec<f64>,
}

impl<'a> Side<'a> {
    /// `status` is what it is to answer, which a floor does with 200 to everything.
    pub fn new(program: &'a Program, ask: Ask, clients: usize, status: u16) -> Result<Self> {
        Ok(Self {
            load: Load::new(program.address, ask, clients, status)?,
            program,
            begun: Duration::ZERO,
            requests: 0,
            rates: Vec::new(),
        })
    }

    /// Gets it going, and begins to count.
    pub fn warm_up(&mut self, pace: Pace) -> Result<()> {
        self.load.run(pace.slice / 2)?;
        self.begun = self.program.processor_time()?;
        Ok(())
    }

    /// One slice of the load. Gives back the requests a second.
    pub fn slice(&mut self, pace: Pace) -> Result<f64> {
        let run = self.load.run(pace.slice)?;
        let rate = quotient(run.requests, 1) / run.time.as_secs_f64();
        self.requests += run.requests;
        self.rates.push(rate);
        Ok(rate)
    }

    pub fn rate(&self) -> f64 {
        Spread::of(self.rates.clone()).median
    }

    /// Microseconds of processor time for a request, in all slices together.
    pub fn cost(&self) -> Result<f64> {
        let spent = self.program.processor_time()?.saturating_sub(self.begun);
        Ok(spent.as_secs_f64() * 1e6 / quotient(self.requests, 1))
    }
}

/// What came of a duel.
pub struct Outcome {
    pub row: Row,
    /// Our requests a second, as a ratio to those of the other.
    pub ratio: f64,
    /// Our processor time for a request, as a ratio to that of the other.
    pub cost: f64,
}

/// Loads two servers in turn, A B A B, so that what drifts, drifts for both.
pub fn duel(what: &str, mut ours: Side<'_>, mut other: Side<'_>, pace: Pace) -> Result<Outcome> {
    ours.warm_up(pace)?;
    other.warm_up(pace)?;
    let pairs = (0..pace.pairs).map(|_| Ok(ours.slice(pace)? / other.slice(pace)?));
    let ratio = Spread::of(pairs.collect::<Result<_>>()?);
    let (cost, its) = (ours.cost()?, other.cost()?);
    let row = Row {
        what: what.into(),
        figure: format!("{:.2}", ratio.median),
        spread: ratio.to_string(),
        rates: [grouped(ours.rate()), grouped(other.rate())],
        times: [microseconds(cost), microseconds(its)],
        goal: String::new(),
    };
    Ok(Outcome {
        row,
        ratio: ratio.median,
        cost: cost / its,
    })
}
