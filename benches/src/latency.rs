//! What becomes of small reads while another client reads everything.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::door::Door;
use crate::figure::{Spread, milliseconds};
use crate::request::{Ask, Client, FLIGHT, PERSONS, fill, page};
use crate::table::{Row, verdict};
use crate::{Bench, Pace, Result};

pub fn measure(bench: &mut Bench) -> Result<()> {
    let persons = if bench.pace.quick { 100_000 } else { 1_000_000 };
    for door in Door::BOTH {
        if !bench.wants("p99") {
            break;
        }
        let server = door.serve("memory")?;
        fill(
            &mut Connection::open(server.address)?,
            &PERSONS,
            persons,
            FLIGHT,
        )?;
        let ask = Ask::GetAny(persons);
        let mut client = Client::new(Connection::open(server.address)?, 0, ask, 200)?;
        let (mut alone, mut beside, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.pace.pairs {
            let one = slowest(&mut client, bench.pace)?;
            let other = beside_pages(server.address, persons, || slowest(&mut client, bench.pace))?;
            ratios.push(other.as_secs_f64() / one.as_secs_f64());
            alone.push(one.as_secs_f64());
            beside.push(other.as_secs_f64());
        }
        let ratio = Spread::of(ratios);
        let [alone, beside] = [alone, beside].map(|it| milliseconds(Spread::of(it).median));
        let name = door.name();
        bench.add(Row {
            what: format!("{name}: p99 of a GET beside paging, {beside} to {alone} alone"),
            figure: format!("{:.2}", ratio.median),
            spread: ratio.to_string(),
            goal: verdict("at most 2", ratio.median <= 2.0),
            ..Row::default()
        })?;
    }
    Ok(())
}

/// The time that one in a hundred answers takes, or longer.
fn slowest(client: &mut Client, pace: Pace) -> Result<Duration> {
    let end = Instant::now() + pace.slice;
    let mut times = Vec::new();
    while Instant::now() < end {
        let begin = Instant::now();
        client.send()?;
        client.receive()?;
        times.push(begin.elapsed());
    }
    times.sort();
    Ok(times
        .get(times.len() * 99 / 100)
        .copied()
        .unwrap_or_default())
}

/// Does something while another client reads all persons, page after page, and begins again.
fn beside_pages<R>(
    address: SocketAddr,
    persons: usize,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| -> Result<()> {
            let mut connection = Connection::open(address)?;
            let mut request = Vec::new();
            for after in (0..persons - 1).step_by(1000).cycle() {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                request.clear();
                page(&mut request, 1000, Some(after))?;
                let answer = connection.ask(&request)?;
                if answer.status != 200 {
                    return Err(format!("a page was answered with {}", answer.status).into());
                }
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader panicked")??;
        done
    })
}
