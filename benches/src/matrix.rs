//! Every method, status and length, with few and many clients, behind each door and with each store.

use crate::connection::Connection;
use crate::door::Door;
use crate::duel::{Outcome, Side, duel};
use crate::place::{Kind, Place};
use crate::program::{Program, bound, built};
use crate::request::{Ask, FLIGHT, PERSONS, content_length, fill};
use crate::table::verdict;
use crate::{Bench, Result};

const ALL: [Ask; 8] = [
    Ask::Get,
    Ask::Unchanged,
    Ask::GetChanged,
    Ask::Put,
    Ask::PutChanged,
    Ask::Post,
    Ask::List(100),
    Ask::List(1000),
];

pub fn measure(bench: &mut Bench) -> Result<()> {
    let clients: &[usize] = if bench.pace.quick {
        &[64]
    } else {
        &[1, 16, 64]
    };
    for door in Door::BOTH {
        for ask in ALL {
            for clients in clients {
                row(bench, door, Kind::Memory, ask, *clients)?;
            }
        }
    }
    for kind in [Kind::Sqlite, Kind::SqliteNormal, Kind::Postgres] {
        for door in Door::BOTH {
            for ask in [Ask::Get, Ask::Put, Ask::PutChanged] {
                row(bench, door, kind, ask, 16)?;
            }
        }
    }
    // What one client alone waits for, beside the writes that wait together.
    for kind in [Kind::Sqlite, Kind::SqliteNormal] {
        row(bench, Door::Hyper, kind, Ask::Put, 1)?;
    }
    across(bench)?;
    peer(bench)
}

/// One row against the floor of the same door, if the machine has the store.
fn row(bench: &mut Bench, door: Door, kind: Kind, ask: Ask, clients: usize) -> Result<()> {
    let what = format!(
        "{}, {}: {}, {clients}",
        door.name(),
        kind.name(),
        ask.name()
    );
    if !bench.wants(&what) {
        return Ok(());
    }
    let Some(place) = Place::new(kind, bench.cluster.as_ref())? else {
        return Ok(());
    };
    let server = door.serve(&place.argument)?;
    prepare(&server, ask, clients)?;
    let floor = door.floor(content_length(server.address, ask)?)?;
    let ours = Side::new(&server, ask, clients, ask.status())?;
    let mut outcome = duel(
        &what,
        ours,
        Side::new(&floor, ask, clients, 200)?,
        bench.pace,
    )?;
    if kind == Kind::Memory && clients == 64 {
        outcome.row.goal = goal(ask, &outcome);
    }
    bench.add(outcome.row)
}

/// Creates the persons that are asked for.
fn prepare(server: &Program, ask: Ask, clients: usize) -> Result<()> {
    let persons = ask.persons(clients);
    fill(
        &mut Connection::open(server.address)?,
        &PERSONS,
        persons,
        FLIGHT,
    )
}

fn goal(ask: Ask, outcome: &Outcome) -> String {
    let (ratio, cost) = (outcome.ratio, outcome.cost);
    match ask {
        Ask::Get | Ask::Unchanged => {
            let time = verdict("us at most the floor's", cost <= 1.0);
            format!("{}; {time}", verdict("at least 0.95", ratio >= 0.95))
        }
        Ask::Put | Ask::PutChanged => verdict("at least 0.85", ratio >= 0.85),
        _ => String::new(),
    }
}

/// The faster door against the floor of the slower one.
fn across(bench: &mut Bench) -> Result<()> {
    let what = "hyper against the tiny_http floor: GET 200, 64";
    if !bench.wants(what) {
        return Ok(());
    }
    let server = Door::Hyper.serve("memory")?;
    prepare(&server, Ask::Get, 64)?;
    let floor = Door::TinyHttp.floor(content_length(server.address, Ask::Get)?)?;
    let ours = Side::new(&server, Ask::Get, 64, 200)?;
    let mut outcome = duel(
        what,
        ours,
        Side::new(&floor, Ask::Get, 64, 200)?,
        bench.pace,
    )?;
    outcome.row.goal = verdict("at least 1.7", outcome.ratio >= 1.7);
    bench.add(outcome.row)
}

/// Against the same routes on axum, with two threads.
fn peer(bench: &mut Bench) -> Result<()> {
    for ask in [Ask::Get, Ask::Unchanged, Ask::Put, Ask::PutChanged] {
        let what = format!("hyper against axum: {}, 64", ask.name());
        if !bench.wants(&what) {
            continue;
        }
        let server = Door::Hyper.serve("memory")?;
        let peer = Program::start(&mut bound(&[], built("axum_peer")?))?;
        prepare(&server, ask, 64)?;
        prepare(&peer, ask, 64)?;
        let [ours, its] = [&server, &peer].map(|it| Side::new(it, ask, 64, ask.status()));
        let mut outcome = duel(&what, ours?, its?, bench.pace)?;
        outcome.row.goal = verdict("above 1", outcome.ratio > 1.0);
        bench.add(outcome.row)?;
    }
    Ok(())
}
