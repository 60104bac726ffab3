//! Against what one would use instead: the same routes with Flask.

use std::path::Path;
use std::process::Command;

use crate::connection::Connection;
use crate::door::Door;
use crate::duel::{Side, duel};
use crate::program::{Program, bound};
use crate::request::{Ask, PERSONS, fill};
use crate::{Bench, Result};

/// How many clients ask.
const CLIENTS: usize = 16;

/// Where `make bench-peers` installs Flask.
const BIN: &str = "target/flask/bin";

pub fn measure(bench: &mut Bench) -> Result<()> {
    for (name, command) in [
        ("Flask's own server", development as fn() -> Command),
        ("Flask on gunicorn", gunicorn),
    ] {
        for ask in [Ask::Get, Ask::Unchanged, Ask::Put, Ask::PutChanged] {
            let what = format!("tiny_http against {name}: {}, {CLIENTS}", ask.name());
            if !bench.wants(&what) {
                continue;
            }
            let server = Door::TinyHttp.serve("memory")?;
            let peer = Program::start(&mut command())?;
            for program in [&server, &peer] {
                fill(
                    &mut Connection::open(program.address)?,
                    &PERSONS,
                    CLIENTS,
                    1,
                )?;
            }
            let [ours, its] = [&server, &peer].map(|it| Side::new(it, ask, CLIENTS, ask.status()));
            bench.add(duel(&what, ours?, its?, bench.pace)?.row)?;
        }
    }
    Ok(())
}

fn development() -> Command {
    let mut command = bound(&[], Path::new(BIN).join("python"));
    command.arg("benches/flask/app.py");
    command
}

/// One process, because the persons are in it, with a few threads.
fn gunicorn() -> Command {
    let mut command = bound(&[], Path::new(BIN).join("gunicorn"));
    command.args(["--chdir", "benches/flask", "--bind", "127.0.0.1:0"]);
    command.args([
        "--workers",
        "1",
        "--threads",
        "4",
        "--keep-alive",
        "30",
        "app:app",
    ]);
    command
}
