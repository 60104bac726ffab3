use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

use crate::Result;
use crate::program::{Process, bound, run};

/// The place where one server keeps its persons. It is removed when it is dropped.
pub struct Place {
    /// The argument of `--store`.
    pub argument: String,
    /// Must end before its directory is removed, so it comes first.
    _server: Option<Process>,
    _directory: Directory,
}

impl Place {
    /// A new place. `None` if the store is not installed.
    pub fn new(store: &str) -> Result<Option<Self>> {
        let directory = Directory::new()?;
        let path = directory.path.display().to_string();
        let server = match store {
            "postgres" => postgres(&directory.path)?,
            _ => None,
        };
        let argument = match store {
            "sqlite" => format!("sqlite:{path}/persons.db"),
            "sqlite normal" => format!("sqlite:{path}/persons.db?synchronous=normal"),
            "postgres" if server.is_none() => return Ok(None),
            "postgres" => format!("postgres://postgres@{}/postgres", path.replace('/', "%2F")),
            _ => store.into(),
        };
        Ok(Some(Self {
            argument,
            _server: server,
            _directory: directory,
        }))
    }
}

/// Starts the installed `PostgreSQL` with all its files in this directory. Apart from the address
/// it has the default configuration, so it flushes each commit to disk.
///
/// Returns `None` and prints a message if it is not installed.
fn postgres(directory: &Path) -> Result<Option<Process>> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let bins = versions.flatten().map(|version| version.path().join("bin"));
    let Some(bin) = bins.filter(|bin| bin.join("initdb").exists()).max() else {
        let why = "postgres is skipped: there is no /usr/lib/postgresql/*/bin/initdb";
        writeln!(io::stderr(), "{why}")?;
        return Ok(None);
    };
    // The programs of PostgreSQL refuse to run as root.
    let mut options = &["--reuid=postgres", "--regid=postgres", "--clear-groups"][..];
    if fs::metadata(directory)?.uid() == 0 {
        run(Command::new("chown").arg("postgres").arg(directory))?;
    } else {
        options = &[];
    }
    let data = directory.join("data");
    let command = |program: &str| {
        let mut command = bound(options, bin.join(program));
        command.current_dir("/").arg("-D").arg(&data);
        command
    };
    let how = "--username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync";
    run(command("initdb").args(how.split(' ')))?;
    let mut server = command("postgres");
    server
        .args(["-c", "listen_addresses=", "-k"])
        .arg(directory);
    let ready = |printed: &str| printed.contains("ready to accept").then_some(());
    Ok(Some(Process::start(&mut server, ready)?.0))
}

/// A directory that is removed when it is dropped.
pub struct Directory {
    pub path: PathBuf,
}

impl Directory {
    pub fn new() -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("ifmatch-bench-{}-{count}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self { path })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The directory may have been removed already.
        let _ = fs::remove_dir_all(&self.path);
    }
}
