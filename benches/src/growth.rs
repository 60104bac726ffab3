//! Memory and speed with many persons, and the time to the first response.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::door::Door;
use crate::duel::{Side, duel};
use crate::figure::{Spread, grouped, mebibytes, milliseconds, quotient};
use crate::place::Place;
use crate::program::{Program, built};
use crate::request::{Ask, Collections, PERSONS, fill};
use crate::table::Row;
use crate::{Bench, Pace, Result};

const THREE: Collections = &["notes", "tasks", "files"];

/// The bytes of text in each document of these collections.
const TEXT: u64 = 100;

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("growth") {
        return Ok(());
    }
    for door in Door::BOTH {
        let idle = door.serve("memory", &[])?.memory()?;
        let what = format!("idle memory, all features, {}", door.name());
        bench.add(Row::figure(what, mebibytes(idle)))?;
    }
    let most = bench.pace.million();
    let asks: [Asks; 3] = [Ask::GetAny, Ask::PutAny, Ask::ListAny];
    grow(bench, PERSONS, &[1000, most / 10, most], &asks)?;
    let asks: [Asks; 2] = [Ask::GetAny, Ask::PutAny];
    grow(bench, THREE, &[1000, most], &asks)?;
    start_up(bench, most)
}

/// Makes the request to a server with this number of documents in these collections.
type Asks = fn(usize, Collections) -> Ask;

/// Measures the memory of each document, and compares the speed of each request with few documents
/// to that with many.
fn grow(bench: &mut Bench, of: Collections, sizes: &[usize], asks: &[Asks]) -> Result<()> {
    let name = match of {
        PERSONS => "persons",
        _ => "documents in three collections",
    };
    let collections: Vec<_> = of.iter().flat_map(|name| ["--collection", name]).collect();
    let mut servers = Vec::new();
    for size in sizes {
        let server = Door::TinyHttp.serve("memory", &collections)?;
        let idle = server.memory()?;
        fill(server.address, of, *size)?;
        let each = (server.memory()? - idle) / *size as u64;
        let what = format!("memory of each of {} {name}", many(*size));
        let mut row = Row::figure(what, format!("{each} bytes"));
        if of == THREE && *size == bench.pace.million() {
            row = row.goal("at most 260 beside the 100 of its text", each <= TEXT + 260);
        }
        bench.add(row)?;
        servers.push(server);
    }
    for ask in asks {
        let (mut loads, mut names) = (Vec::new(), Vec::new());
        for (size, server) in sizes.iter().zip(&servers) {
            let ask = ask(*size, of);
            loads.push(Side::new(server, ask, 16, 200)?);
            names.push(format!(
                "{} with 1,000 {name} to {}",
                ask.name(),
                many(*size)
            ));
        }
        for row in duel(names.get(1..).unwrap_or_default(), loads, bench.pace)? {
            let is_list = matches!(ask(1000, of), Ask::ListAny(..));
            bench.add(if is_list { row } else { row.at_most(1.25) })?;
        }
    }
    Ok(())
}

/// Measures the time from the start of the program to the end of its first response.
fn start_up(bench: &mut Bench, most: usize) -> Result<()> {
    let place = Place::new("sqlite normal")?.ok_or("SQLite is in every build")?;
    let first = first_response(&built("ifmatch")?, &place.argument, bench.pace)?;
    let what = "first response, sqlite, empty";
    bench.add(Row::figure(what, milliseconds(first)))?;
    let begin = Instant::now();
    let server = Door::Hyper.serve(&place.argument, &[])?;
    fill(server.address, PERSONS, most)?;
    let rate = quotient(most as u64, 1) / begin.elapsed().as_secs_f64();
    let idle = mebibytes(server.memory()?);
    drop(server);
    let first = first_response(&built("ifmatch")?, &place.argument, bench.pace)?;
    let what = |what: &str| format!("{what}, sqlite, {} persons", many(most));
    bench.add(Row::figure(what("first response"), milliseconds(first)))?;
    bench.add(Row::figure(what("created a second"), grouped(rate)))?;
    bench.add(Row::figure(what("memory after creating"), idle))
}

/// The median of the seconds from the start of a program to the end of its first response.
pub fn first_response(program: &Path, store: &str, pace: Pace) -> Result<f64> {
    let times = (0..pace.pairs).map(|_| {
        let begin = Instant::now();
        // Starts the program directly: the start of `setpriv` must not be measured.
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0", "--store", store]);
        let _server = Program::start(&mut command)?;
        Ok(begin.elapsed().as_secs_f64())
    });
    Ok(Spread::of(&times.collect::<Result<Vec<_>>>()?).median)
}

fn many(count: usize) -> String {
    grouped(quotient(count as u64, 1))
}
