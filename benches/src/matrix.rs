//! Every method, status and length, with few and many clients, with each door and each store; and
//! the comparison with other servers.

use std::path::Path;
use std::process::Command;

use crate::door::Door;
use crate::duel::{Side, duel};
use crate::place::Place;
use crate::program::{Program, bound, built};
use crate::request::{Ask, Client, PERSONS, fill};
use crate::table::Row;
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

/// The requests of the comparison with other servers.
const COMPARED: [Ask; 4] = [Ask::Get, Ask::Unchanged, Ask::Put, Ask::PutChanged];

pub fn measure(bench: &mut Bench) -> Result<()> {
    let counts = if bench.pace.quick { 1 } else { 3 };
    let clients: Vec<usize> = [64, 16, 1].into_iter().take(counts).collect();
    for door in Door::BOTH {
        for ask in ALL {
            for clients in &clients {
                row(bench, door, "memory", ask, *clients)?;
            }
        }
    }
    for store in ["sqlite", "sqlite normal", "postgres"] {
        for door in Door::BOTH {
            for ask in [Ask::Get, Ask::Put, Ask::PutChanged] {
                row(bench, door, store, ask, 16)?;
            }
        }
    }
    // The writes of one client alone. The writes of several clients share transactions.
    for store in ["sqlite", "sqlite normal"] {
        row(bench, Door::Hyper, store, Ask::Put, 1)?;
    }
    let hyper = |more: &[&str]| Door::Hyper.command("memory", more);
    for ask in COMPARED {
        for clients in clients.iter().filter(|clients| **clients > 1) {
            let commands = [hyper(&[])?, bound(&[], built("axum_peer")?)];
            compare(bench, "hyper against axum", ask, *clients, commands)?;
        }
    }
    for ask in [Ask::Get, Ask::Put] {
        let commands = [hyper(&["--threads", "2"])?, hyper(&[])?];
        compare(bench, "hyper, --threads 2 against 1", ask, 64, commands)?;
    }
    Ok(())
}

/// Measures a request, compared with each floor of the same door. Adds no row if the store is not
/// installed.
fn row(bench: &mut Bench, door: Door, store: &str, ask: Ask, clients: usize) -> Result<()> {
    let what = format!("{}, {store}: {}, {clients}", door.name(), ask.name());
    let mut names = vec![what.clone()];
    let fair = matches!(ask, Ask::Get | Ask::Unchanged | Ask::Put);
    if fair && (door, store) == (Door::Hyper, "memory") {
        names.push(format!("{what}, to the same fields"));
    }
    if !names.iter().any(|name| bench.wants(name)) {
        return Ok(());
    }
    let Some(place) = Place::new(store)? else {
        return Ok(());
    };
    let server = door.serve(&place.argument, &[])?;
    let (plain, persons) = match ask {
        Ask::List(persons) => (ask, persons),
        _ => (Ask::Get, clients),
    };
    fill(server.address, PERSONS, persons)?;
    let mut floors = vec![(door.floor(sample(&server, plain)?.0, &[])?, 200)];
    if names.len() > 1 {
        let (length, head) = sample(&server, ask)?;
        floors.push((door.floor(length, &head)?, ask.status()));
    }
    let mut sides = vec![Side::new(&server, ask, clients, ask.status())?];
    for (floor, status) in &floors {
        sides.push(Side::new(floor, ask, clients, *status)?);
    }
    let rows = duel(&names, sides, bench.pace)?;
    for (index, mut row) in rows.into_iter().enumerate() {
        if store == "memory" && index == 0 && clients > 1 {
            row = with_goals(row, door, ask);
        }
        bench.add(row)?;
    }
    Ok(())
}

/// The length of the content of the expected response, and its status and field lines without that
/// length.
fn sample(server: &Program, ask: Ask) -> Result<(usize, Vec<String>)> {
    let mut client = Client::new(server.address, 0, ask, ask.status())?;
    let length = client.ask()?.length;
    let lines = client.connection.head.lines().skip(1).map(String::from);
    let fields = lines.filter(|line| !line.is_empty() && !line.starts_with("Content-Length"));
    let mut head = vec![ask.status().to_string()];
    head.extend(fields);
    Ok((length, head))
}

fn with_goals(row: Row, door: Door, ask: Ask) -> Row {
    let [ours, its] = row.times.unwrap_or_default();
    let within = |row: Row, most: f64| {
        let more = ours - its;
        row.goal(&format!("{more:+.2} us, at most {most}"), more <= most)
    };
    match (door, ask) {
        (_, Ask::List(100)) => row.at_least(0.7),
        (_, Ask::List(_)) => row.at_least(0.5),
        (Door::TinyHttp, Ask::Get | Ask::Unchanged) => row.at_least(0.97),
        (Door::Hyper, Ask::Get | Ask::Unchanged) => within(row.at_least(0.92), 0.8),
        (Door::Hyper, Ask::Put) => within(row.at_least(0.85), 1.5),
        (Door::Hyper, Ask::PutChanged) => row.at_least(0.85),
        _ => row,
    }
}

/// Compares two servers with the same routes.
fn compare(
    bench: &mut Bench,
    name: &str,
    ask: Ask,
    clients: usize,
    commands: [Command; 2],
) -> Result<()> {
    let what = format!("{name}: {}, {clients}", ask.name());
    if !bench.wants(&what) {
        return Ok(());
    }
    let mut servers = Vec::new();
    for mut command in commands {
        let server = Program::start(&mut command)?;
        fill(server.address, PERSONS, clients)?;
        servers.push(server);
    }
    let sides = servers
        .iter()
        .map(|it| Side::new(it, ask, clients, ask.status()));
    for mut row in duel(&[what], sides.collect::<Result<_>>()?, bench.pace)? {
        if name.ends_with("axum") {
            let met = row.ratio > 1.0;
            row = row.goal("above 1", met);
        }
        bench.add(row)?;
    }
    Ok(())
}

/// Compares the server with a program that has the same routes in Flask, which `make bench-peers`
/// installs.
pub fn measure_flask(bench: &mut Bench) -> Result<()> {
    let bin = Path::new("target/flask/bin");
    for ask in COMPARED {
        let mut development = bound(&[], bin.join("python"));
        development.arg("benches/flask/app.py");
        // One process, because its memory holds the persons, with a few threads.
        let mut gunicorn = bound(&[], bin.join("gunicorn"));
        gunicorn.args(["--chdir", "benches/flask", "--bind", "127.0.0.1:0"]);
        gunicorn.args("--workers 1 --threads 4 --keep-alive 30 app:app".split(' '));
        for (name, peer) in [("its own server", development), ("gunicorn", gunicorn)] {
            let name = format!("tiny_http against Flask on {name}");
            let commands = [Door::TinyHttp.command("memory", &[])?, peer];
            compare(bench, &name, ask, 16, commands)?;
        }
    }
    Ok(())
}
