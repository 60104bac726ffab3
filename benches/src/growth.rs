//! What becomes of memory and speed with many persons, and how long the first answer takes.

use std::process::Command;
use std::time::Instant;

use crate::connection::Connection;
use crate::door::Door;
use crate::duel::Side;
use crate::figure::{Spread, grouped, megabytes, microseconds, milliseconds, quotient};
use crate::place::{Kind, Place};
use crate::program::{Program, built};
use crate::request::{Ask, FLIGHT, PERSONS, THREE, fill};
use crate::table::{Row, verdict};
use crate::{Bench, Pace, Result};

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("growth") {
        return Ok(());
    }
    for door in Door::BOTH {
        let idle = door.serve("memory")?.memory()?;
        let what = format!("idle memory, all features, {}", door.name());
        bench.add(Row::figure(what, megabytes(idle)))?;
    }
    let most = if bench.pace.quick { 100_000 } else { 1_000_000 };
    let sizes = [1_000, most / 10, most];
    let mut servers = Vec::new();
    for size in sizes {
        let server = Door::TinyHttp.serve("memory")?;
        let idle = server.memory()?;
        fill(
            &mut Connection::open(server.address)?,
            &PERSONS,
            size,
            FLIGHT,
        )?;
        let each = (server.memory()? - idle) / size as u64;
        let what = format!("memory of each of {} persons", many(size));
        bench.add(Row::figure(what, format!("{each} bytes")))?;
        servers.push((size, server));
    }
    for ask in [Ask::GetAny as Asks, Ask::PutAny, Ask::ListAny] {
        grow(bench, &servers, ask)?;
    }
    drop(servers);
    let few = three_collections(sizes[0])?;
    let many = three_collections(most)?;
    let servers = [(sizes[0], few), (most, many)];
    for ask in [Ask::GetOfThree as Asks, Ask::PutOfThree] {
        grow(bench, &servers, ask)?;
    }
    drop(servers);
    start_up(bench, most)
}

/// A server of so many documents in three collections.
fn three_collections(size: usize) -> Result<Program> {
    let mut command = Command::new(built("ifmatch")?);
    command.args(["--listen", "127.0.0.1:0"]);
    for collection in THREE {
        // Their ids are in the same member, so that the same requests do for all of them.
        let argument = match collection {
            "persons" => collection.to_owned(),
            other => format!("{other}:person_id"),
        };
        command.args(["--collection", &argument]);
    }
    let server = Program::start(&mut command)?;
    fill(&mut Connection::open(server.address)?, &THREE, size, FLIGHT)?;
    Ok(server)
}

/// What is asked of a server with so many persons.
type Asks = fn(usize) -> Ask;

/// What the same request costs with few and with many persons.
fn grow(bench: &mut Bench, servers: &[(usize, Program)], ask: Asks) -> Result<()> {
    let mut sides = Vec::new();
    for (size, server) in servers {
        sides.push(Side::new(server, ask(*size), 16, 200)?);
    }
    let ratios = ratios(&mut sides, bench.pace)?;
    let [few, ..] = sides.as_slice() else {
        return Ok(());
    };
    for (((size, _), side), ratios) in servers.iter().zip(&sides).zip(ratios).skip(1) {
        let (ask, persons) = (ask(*size), many(*size));
        let ratio = Spread::of(ratios);
        let mut row = Row {
            what: format!(
                "cost of {} with {persons} {} to 1,000",
                ask.name(),
                ask.what()
            ),
            figure: format!("{:.2}", ratio.median),
            spread: ratio.to_string(),
            rates: [grouped(side.rate()), grouped(few.rate())],
            times: [microseconds(side.cost()?), microseconds(few.cost()?)],
            goal: String::new(),
        };
        if !matches!(ask, Ask::ListAny(_)) {
            row.goal = verdict("at most 1.25", ratio.median <= 1.25);
        }
        bench.add(row)?;
    }
    Ok(())
}

/// How much slower than the first side each one is, in slices that alternate.
fn ratios(sides: &mut [Side<'_>], pace: Pace) -> Result<Vec<Vec<f64>>> {
    for side in &mut *sides {
        side.warm_up(pace)?;
    }
    let mut ratios = vec![Vec::new(); sides.len()];
    for _ in 0..pace.pairs {
        let rates = sides.iter_mut().map(|side| side.slice(pace));
        let rates = rates.collect::<Result<Vec<_>>>()?;
        for (ratios, rate) in ratios.iter_mut().zip(&rates) {
            ratios.extend(rates.first().map(|few| few / rate));
        }
    }
    Ok(ratios)
}

/// How long it takes from the start of the program to the end of its first answer.
fn start_up(bench: &mut Bench, most: usize) -> Result<()> {
    let empty = first_answer(bench.pace, "memory")?;
    bench.add(Row::figure("first answer after the start", empty))?;
    let place = Place::new(Kind::SqliteNormal, None)?.ok_or("SQLite is in every build")?;
    let first = first_answer(bench.pace, &place.argument)?;
    bench.add(Row::figure("the same, sqlite, empty", first))?;
    let begin = Instant::now();
    let server = Door::Hyper.serve(&place.argument)?;
    fill(
        &mut Connection::open(server.address)?,
        &PERSONS,
        most,
        FLIGHT,
    )?;
    let rate = quotient(most as u64, 1) / begin.elapsed().as_secs_f64();
    let idle = server.memory()?;
    drop(server);
    let first = first_answer(bench.pace, &place.argument)?;
    let persons = many(most);
    bench.add(Row::figure(
        format!("the same, sqlite, {persons} persons"),
        first,
    ))?;
    let mut row = Row::figure(
        format!("memory, sqlite, {persons} persons created"),
        megabytes(idle),
    );
    row.rates = [grouped(rate), String::new()];
    bench.add(row)
}

fn first_answer(pace: Pace, store: &str) -> Result<String> {
    let times = (0..pace.pairs).map(|_| {
        let begin = Instant::now();
        // Nothing in between that would have to start, too.
        let mut command = Command::new(built("ifmatch")?);
        command.args(["--listen", "127.0.0.1:0", "--store", store]);
        let _server = Program::start(&mut command)?;
        Ok(begin.elapsed().as_secs_f64())
    });
    let times = Spread::of(times.collect::<Result<_>>()?);
    Ok(milliseconds(times.median))
}

fn many(persons: usize) -> String {
    grouped(quotient(persons as u64, 1))
}
