use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::connection::Connection;
use crate::request::{Ask, Client};

/// How many threads drive the clients. With two every floor and peer was at its fastest on two
/// processors: one lets servers of several threads wait, four take the processors from them.
const THREADS: usize = 2;

/// So many clients, each of which waits for its answer before it asks again.
pub struct Load {
    clients: Vec<Client>,
}

impl Load {
    /// Connects one client after the other, because `tiny_http` may leave some of a burst waiting.
    pub fn new(address: SocketAddr, ask: Ask, clients: usize, status: u16) -> Result<Self> {
        let clients =
            (0..clients).map(|person| Client::new(Connection::open(address)?, person, ask, status));
        Ok(Self {
            clients: clients.collect::<Result<_>>()?,
        })
    }

    /// Asks for so long. Gives back how many were answered a second.
    pub fn run(&mut self, duration: Duration) -> Result<Run> {
        let share = self.clients.len().div_ceil(THREADS);
        let begin = Instant::now();
        let end = begin + duration;
        let requests = thread::scope(|scope| {
            let drivers = self.clients.chunks_mut(share);
            let drivers: Vec<_> = drivers
                .map(|part| scope.spawn(move || drive(part, end)))
                .collect();
            let counts = drivers.into_iter().map(|driver| match driver.join() {
                Ok(count) => count,
                Err(_) => Err("a driver of clients panicked".into()),
            });
            counts.sum::<Result<u64>>()
        })?;
        Ok(Run {
            requests,
            time: begin.elapsed(),
        })
    }
}

/// What was done in a stretch of time.
pub struct Run {
    pub requests: u64,
    pub time: Duration,
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
