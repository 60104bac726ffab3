use std::thread;
use std::time::{Duration, Instant};

use crate::figure::{in_turn, quotient};
use crate::program::Program;
use crate::request::{Ask, Client};
use crate::table::Row;
use crate::{Pace, Result};

/// The number of threads of the clients. On two processors, all floors and peers were fastest with
/// two: one thread is too slow for servers with several threads, and four threads take processor
/// time from the servers.
const THREADS: usize = 2;

/// A server under load, and its clients. Each client waits for its response before it sends the
/// next request.
pub struct Side<'a> {
    program: &'a Program,
    clients: Vec<Client>,
    begun: Duration,
    requests: u64,
}

impl<'a> Side<'a> {
    /// Connects one client after the other, because `tiny_http` may delay some connections of a
    /// burst. `status` is the expected status; a floor responds with 200 to every request.
    pub fn new(program: &'a Program, ask: Ask, clients: usize, status: u16) -> Result<Self> {
        let clients = (0..clients).map(|person| Client::new(program.address, person, ask, status));
        Ok(Self {
            program,
            clients: clients.collect::<Result<_>>()?,
            begun: Duration::ZERO,
            requests: 0,
        })
    }

    /// Sends requests for this duration. Returns the number of responses per second.
    fn run(&mut self, duration: Duration) -> Result<f64> {
        let share = self.clients.len().div_ceil(THREADS);
        let (requests, rate) = run(self.clients.chunks_mut(share), duration, drive)?;
        self.requests += requests;
        Ok(rate)
    }

    /// Microseconds of processor time for a request, over all slices.
    fn cost(&self) -> Result<f64> {
        let spent = self.program.processor_time()?.saturating_sub(self.begun);
        Ok(spent.as_secs_f64() * 1e6 / quotient(self.requests, 1))
    }
}

/// Works on a thread for each part, for this duration. Returns the sum of the counts, and that sum
/// per second.
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

/// Sends a request on every connection, and then receives in turn, and sends the next request at
/// once. So each client always has one request in progress, and one thread is enough for all.
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

/// Loads the servers in turn. Returns a row for each server except the first one, which compares
/// the first one with it.
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
