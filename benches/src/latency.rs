//! The latency of small reads while another client reads all documents.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::door::Door;
use crate::figure::{Spread, in_turn};
use crate::request::{Ask, Client, PERSONS, fill, page};
use crate::table::Row;
use crate::{Bench, Result};

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("p99") {
        return Ok(());
    }
    let persons = bench.pace.million();
    for (door, goal) in [(Door::TinyHttp, 3.0), (Door::Hyper, 2.0)] {
        let server = door.serve("memory", &[])?;
        let address = server.address;
        fill(address, PERSONS, persons)?;
        let mut client = Client::new(address, 0, Ask::GetAny(persons, PERSONS), 200)?;
        let slice = bench.pace.slice;
        let figures = in_turn(&mut [true, false], bench.pace.pairs, |beside| {
            let reads = beside.then_some(persons);
            Ok(beside_pages(address, reads, || response_times(&mut client, slice))?.p99)
        })?;
        let (beside, alone) = figures.split_first().ok_or("nothing was measured")?;
        let alone = alone.concat();
        let what = format!("{}: p99 of a GET beside paging, to alone", door.name());
        bench.add(Row::ratio(what, beside, &alone).of_times().at_most(goal))?;
    }
    Ok(())
}

/// Sends one request after the other for this duration. Returns the seconds until each response.
pub fn response_times(client: &mut Client, duration: Duration) -> Result<Spread> {
    let end = Instant::now() + duration;
    let mut times = Vec::new();
    while times.is_empty() || Instant::now() < end {
        let begin = Instant::now();
        client.ask()?;
        times.push(begin.elapsed().as_secs_f64());
    }
    Ok(Spread::of(&times))
}

/// Calls `work` while another client reads this number of persons, page after page. Without a
/// number there is no other client.
fn beside_pages<R>(
    address: SocketAddr,
    persons: Option<usize>,
    work: impl FnOnce() -> Result<R>,
) -> Result<R> {
    let Some(persons) = persons else {
        return work();
    };
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
                page(&mut request, 1000, &format!("&after={after:07}"))?;
                connection.ask(&request)?.expect(200)?;
            }
            Ok(())
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        reader.join().map_err(|_| "the reader panicked")??;
        done
    })
}
