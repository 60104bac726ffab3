use std::thread;
use std::time::{Duration, Instant};

use crate::figure::{in_turn, quotient};
use crate::program::Program;
use crate::request::{Ask, Client};
use crate::table::Row;
use crate::{Pace, Result};

/// How many threads drive the clients. With two every floor and peer was at its fastest on two
/// processors: one lets servers of several threads wait, four take the processors from them.
const THREADS: usize = 2;

/// A server under load: so many clients, each of which waits for its response before it asks again.
pub struct Side<'a> {
    program: &'a Program,
    clients: Vec<Client>,
    begun: Duration,
    requests: u64,
}

impl<'a> Side<'a> {
    /// Connects one client after the other, because `tiny_http` may leave some of a burst waiting.
    /// `status` is what the server is to answer, which a floor does with 200 to everything.
    pub fn new(program: &'a Program, ask: Ask, clients: usize, status: u16) -> Result<Self> {
        let clients = (0..clients).map(|person| Client::new(program.address, person, ask, status));
        Ok(Self {
            program,
            clients: clients.collect::<Result<_>>()?,
            begun: Duration::ZERO,
            requests: 0,
        })
    }

    /// Asks for so long. Gives back how many requests were answered a second.
    fn run(&mut self, duration: Duration) -> Result<f64> {
        let share = self.clients.len().div_ceil(THREADS);
        let (requests, rate) = run(self.clients.chunks_mut(share), duration, drive)?;
        self.requests += requests;
        Ok(rate)
    }

    /// Microseconds of processor time for a request, in all slices together.
    fn cost(&self) -> Result<f64> {
        let spent = self.program.processor_time()?.saturating_sub(self.begun);
        Ok(spent.as_secs_f64() * 1e6 / quotient(self.requests, 1))
    }
}

/// Works on a thread for each part until so much time is over. Gives back how much was done, and how
/// much a second.
pub fn run<T: Send>(
    parts: impl Iterator<Item = T>,
    duration: Duration,
    work: impl Fn(T, Instant) -> Result<u64> + Sync,
) -> Result<(u64, f64)> {
    let begin = Instant::now();
    let (end, work) = (begin + duration, &work);
    let done = thread::scope(|scope| {
        let threads: Vec<_> = parts
            .map(|part| scope.spawn(move || work(part, end)))
            .collect();
        let counts = threads
            .into_iter()
            .map(|it| it.join().map_err(|_| "a thread panicked")?);
        counts.sum::<Result<u64>>()
    })?;
    Ok((done, quotient(done, 1) / begin.elapsed().as_secs_f64()))
}

/// Asks on all connections at once, and waits for the one that has waited longest: so as many
/// requests are under way as there are clients, and one thread is enough for them.
fn drive(clients: &mut [Client], end: Instant) -> Result<u64> {
    let mut requests = 0;
    for client in &mut *clients {
        client.send()?;
    }
    while Instant::now() < end {
        for client in &mut *clients {
            client.receive()?;
            client.send()?;
            requests += 1;
        }
    }
    for client in clients {
        client.receive()?;
        requests += 1;
    }
    Ok(requests)
}

/// Loads servers in turn. Gives back a row for each but the first, which is compared with it.
pub fn duel(names: &[String], mut sides: Vec<Side<'_>>, pace: Pace) -> Result<Vec<Row>> {
    for side in &mut sides {
        side.run(pace.slice / 2)?;
        side.begun = side.program.processor_time()?;
        side.requests = 0;
    }
    let rates = in_turn(&mut sides, pace.pairs, |side| side.run(pace.slice))?;
    let mut measured = sides.iter().zip(&rates);
    let (first, ours) = measured.next().ok_or("there is no server")?;
    let rows = names.iter().zip(measured).map(|(name, (other, its))| {
        Ok(Row {
            times: Some([first.cost()?, other.cost()?]),
            ..Row::ratio(name, ours, its)
        })
    });
    rows.collect()
}
