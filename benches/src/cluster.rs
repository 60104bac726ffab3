use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Result;
use crate::place::Directory;
use crate::program::{Process, bound, run};

/// A `PostgreSQL` of the bench's own, from the installed package: never the machine's.
///
/// It is set up as it comes, but for the address: it flushes what is committed.
pub struct Cluster {
    /// Ends before its directory goes.
    _server: Process,
    bin: PathBuf,
    directory: Directory,
    schemas: AtomicUsize,
}

impl Cluster {
    /// Starts one; none where it is not installed, and whoever reads the output is told.
    pub fn start() -> Result<Option<Self>> {
        let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        let bins = versions.flatten().map(|version| version.path().join("bin"));
        let Some(bin) = bins.filter(|bin| bin.join("initdb").exists()).max() else {
            let why = "postgres is skipped: there is no /usr/lib/postgresql/*/bin/initdb";
            writeln!(io::stderr(), "{why}")?;
            return Ok(None);
        };
        let directory = Directory::new()?;
        let data = directory.path.join("data");
        if is_root()? {
            run(Command::new("chown").arg("postgres").arg(&directory.path))?;
        }
        let mut initdb = command(&bin.join("initdb"))?;
        initdb.args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        run(initdb.arg("--no-sync").arg("-D").arg(&data))?;
        let mut postgres = command(&bin.join("postgres"))?;
        postgres
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-k"]);
        let ready = |printed: &str| printed.contains("ready to accept").then_some(());
        let (server, ()) = Process::start(postgres.arg(&directory.path), ready)?;
        Ok(Some(Self {
            _server: server,
            bin,
            directory,
            schemas: AtomicUsize::new(0),
        }))
    }

    /// A schema of its own for one server. Gives back what `--store` is given.
    pub fn schema(&self) -> Result<String> {
        let name = format!("bench{}", self.schemas.fetch_add(1, Ordering::Relaxed));
        let mut psql = command(&self.bin.join("psql"))?;
        psql.arg("-h")
            .arg(&self.directory.path)
            .args(["-qU", "postgres", "-c"]);
        run(psql.arg(format!("CREATE SCHEMA {name}")))?;
        let host = self
            .directory
            .path
            .display()
            .to_string()
            .replace('/', "%2F");
        Ok(format!(
            "postgres://postgres@{host}/postgres?options=-c%20search_path%3D{name}"
        ))
    }
}

/// One of its programs, which root must not run.
fn command(program: &Path) -> Result<Command> {
    let other = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let mut command = bound(if is_root()? { &other } else { &[] }, program);
    command.current_dir("/");
    Ok(command)
}

fn is_root() -> Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout == b"0\n")
}
