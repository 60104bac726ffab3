//! The size of the program, the time to its first response, and the time to build it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::figure::{mebibytes, milliseconds};
use crate::growth::first_response;
use crate::place::Directory;
use crate::program::{Program, bound, built, run};
use crate::table::Row;
use crate::{Bench, Result};

pub fn measure(bench: &mut Bench) -> Result<()> {
    if !bench.wants("footprint") {
        return Ok(());
    }
    for features in ["", "hyper", "sqlite", "postgres"] {
        let what = match features {
            "" => "crates, default build".into(),
            feature => format!("crates, with {feature}"),
        };
        bench.add(Row::figure(what, crates(features)?.to_string()))?;
    }
    let directory = Directory::new()?;
    // The time of the build must not include downloads.
    run(Command::new("cargo").args(["fetch", "--quiet", "--locked"]))?;
    let begin = Instant::now();
    let mut build = Command::new("cargo");
    build.args(["build", "--quiet", "--release", "--locked", "--target-dir"]);
    run(build.arg(&directory.path))?;
    let time = format!("{:.0} s", begin.elapsed().as_secs_f64());
    bench.add(Row::figure("clean release build, default", time))?;
    let default = directory.path.join("release/ifmatch");
    let size = fs::metadata(&default)?.len();
    let row = Row::figure("binary, default build", mebibytes(size));
    bench.add(row.goal("at most 1 MiB", size <= 1 << 20))?;
    let all = fs::metadata(built("ifmatch")?)?.len();
    bench.add(Row::figure("binary, all features", mebibytes(all)))?;
    let server = Program::start(bound(&[], &default).args(["--listen", "127.0.0.1:0"]))?;
    let idle = server.memory()?;
    let row = Row::figure("idle memory, default build", mebibytes(idle));
    bench.add(row.goal("at most 4 MiB", idle <= 4 << 20))?;
    let first = first_response(&default, "memory", bench.pace)?;
    let row = Row::figure("first response, default build", milliseconds(first));
    bench.add(row.goal("within 10 ms", first <= 0.01))
}

/// The number of crates in the program, including its own.
fn crates(features: &str) -> Result<usize> {
    let mut tree = Command::new("cargo");
    tree.args("tree --locked --edges normal --prefix none --features".split(' '));
    let output = tree.arg(features).output()?;
    if !output.status.success() {
        return Err(format!("{tree:?} failed").into());
    }
    let tree = String::from_utf8(output.stdout)?;
    let crates = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    Ok(crates.collect::<BTreeSet<_>>().len())
}
