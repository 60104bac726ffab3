//! A `PostgreSQL` of the tests' own, from the installed package: never the machine's.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ifmatch::{PostgresStore, Store};
use postgres::{Client, NoTls};

use crate::conformance::Place;
use crate::support::directory::Directory;
use crate::support::serving::Served;

/// A server with its data and its socket in a directory that goes with it.
pub struct Cluster {
    bin: PathBuf,
    directory: Directory,
    /// Stops the server and clears up when its standard input ends, however this process does.
    watcher: Child,
}

impl Cluster {
    /// Where the server is installed; if it is not, whoever reads the output is told.
    #[expect(clippy::print_stderr, reason = "what is skipped has to be known")]
    fn bin() -> Option<PathBuf> {
        let versions = fs::read_dir("/usr/lib/postgresql").ok();
        let bins = versions.into_iter().flatten().map(|it| it.unwrap().path());
        let bins = bins.map(|it| it.join("bin"));
        let bin = bins.filter(|it| it.join("initdb").exists()).max();
        if bin.is_none() {
            eprintln!("skipped: there is no /usr/lib/postgresql/*/bin/initdb");
        }
        bin
    }

    pub fn start() -> Option<Self> {
        let cluster = Self::empty(Self::bin()?);
        // An order of text that is not that of its bytes.
        cluster.does(
            "initdb",
            &[
                "--username=postgres",
                "--auth=trust",
                "--no-sync",
                "--encoding=UTF8",
                "--locale-provider=icu",
                "--icu-locale=en-US",
                "--locale=C",
            ],
        );
        let access = "local all,replication postgres trust\nlocal all all scram-sha-256\n";
        fs::write(cluster.data().join("pg_hba.conf"), access).unwrap();
        cluster.go_on();
        Some(cluster)
    }

    /// A server without data, which is not started.
    fn empty(bin: PathBuf) -> Self {
        let directory = Directory::new("postgres");
        let path = directory.0.to_str().unwrap();
        // It will not run as root.
        if is_root() {
            assert!(run(Command::new("chown").args(["postgres", path])));
        }
        let stop = "trap '' INT TERM; cat >/dev/null; \"$@\"; rm -rf \"$0\"";
        let mut watcher = Command::new("sh");
        let ctl = bin.join("pg_ctl");
        watcher.args(["-c", stop, path]).args(unprivileged());
        watcher.args([ctl.to_str().unwrap(), "-D", &format!("{path}/data")]);
        watcher.args(["-m", "immediate", "stop"]);
        watcher.stdout(Stdio::null()).stderr(Stdio::null());
        let watcher = watcher.stdin(Stdio::piped()).spawn().unwrap();
        Self {
            bin,
            directory,
            watcher,
        }
    }

    /// A standby of this server, which begins with a copy of its data.
    pub fn standby(&self) -> Self {
        let standby = Self::empty(self.bin.clone());
        let from = self.directory.0.to_str().unwrap();
        let copy = [
            "--host",
            from,
            "--username=postgres",
            "--write-recovery-conf",
        ];
        standby.does(
            "pg_basebackup",
            &[&copy[..], &["--checkpoint=fast", "--no-sync"]].concat(),
        );
        standby.go_on();
        standby
    }

    /// Has a standby become a primary.
    pub fn promote(&self) {
        self.does("pg_ctl", &["-w", "promote"]);
    }

    /// Starts a former primary again, as the standby of the one in its place.
    pub fn follow(&self, primary: &Self) {
        let settings = self.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap();
        let from = primary.directory.0.display();
        text += &format!("primary_conninfo = 'user=postgres host={from}'\n");
        fs::write(settings, text).unwrap();
        fs::write(self.data().join("standby.signal"), "").unwrap();
        self.go_on();
    }

    /// The one that tests share which do not stop it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Stops it, as a crash does.
    pub fn crash(&self) {
        self.stop("immediate");
    }

    /// Stops it in this mode of `pg_ctl`.
    pub fn stop(&self, mode: &str) {
        self.does("pg_ctl", &["-m", mode, "stop"]);
    }

    /// Starts it again.
    pub fn go_on(&self) {
        assert!(self.starts("-c listen_addresses="));
    }

    /// Starts it again with these options, and on a port of 127.0.0.1, which is returned.
    pub fn go_on_with_port(&self, options: &str) -> u16 {
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            // It does not start if another process has taken the port meanwhile.
            if self.starts(&format!(
                "-c listen_addresses=127.0.0.1 -c port={port} {options}"
            )) {
                return port;
            }
        }
        panic!(
            "{}",
            fs::read_to_string(self.data().join("log")).unwrap_or_default()
        );
    }

    fn starts(&self, options: &str) -> bool {
        let options = format!(
            "{options} -c unix_socket_directories={} -c fsync=off -c max_connections=300 \
             -c wal_retrieve_retry_interval=100ms",
            self.directory.0.display()
        );
        let log = self.data().join("log");
        let log = log.to_str().unwrap();
        self.tries("pg_ctl", &["-w", "-l", log, "-o", &options, "start"])
    }

    /// Puts a file of this name and content among its data, where it alone may read it.
    pub fn add_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.data().join(name);
        fs::write(&file, content).unwrap();
        assert!(run(Command::new("chmod").arg("600").arg(&file)));
        if is_root() {
            assert!(run(Command::new("chown").arg("postgres").arg(&file)));
        }
        file
    }

    /// The process that starts all others.
    pub fn postmaster(&self) -> u32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// Does this on this server, whether it is a primary or a standby.
    pub fn sql(&self, sql: &str) {
        let url = format!("postgres://postgres@{}/postgres", self.host());
        let mut client = Client::connect(&url, NoTls).unwrap();
        client.batch_execute(sql).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.directory.0.join("data")
    }

    fn does(&self, program: &str, arguments: &[&str]) {
        assert!(self.tries(program, arguments), "{program} {arguments:?}");
    }

    fn tries(&self, program: &str, arguments: &[&str]) -> bool {
        let words = unprivileged();
        let program = self.bin.join(program);
        let mut words = words.into_iter().map(Path::new).chain([program.as_path()]);
        let mut command = Command::new(words.next().unwrap());
        let command = command.args(words).arg("-D").arg(self.data());
        run(command.args(arguments))
    }

    /// The socket's directory, as a URL has it.
    pub fn host(&self) -> String {
        self.socket_directory().replace('/', "%2F")
    }

    /// The directory of its Unix-domain socket.
    pub fn socket_directory(&self) -> &str {
        self.directory.0.to_str().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.watcher.stdin.take());
        let _ = self.watcher.wait();
    }
}

fn run(command: &mut Command) -> bool {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    command.status().unwrap().success()
}

pub fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// The words before a command that must not be run by root.
fn unprivileged() -> Vec<&'static str> {
    if is_root() {
        "setpriv --reuid postgres --regid postgres --clear-groups"
            .split(' ')
            .collect()
    } else {
        Vec::new()
    }
}

/// A schema of the test's own in a server.
pub struct Schema {
    /// What `--store` is given.
    pub url: String,
    /// Whether its lists have a tag.
    tagged: bool,
}

impl Schema {
    /// In the server that is shared, if there is one.
    pub fn new() -> Option<Self> {
        Cluster::shared().map(Self::on)
    }

    pub fn on(cluster: &Cluster) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let host = cluster.host();
        let url =
            format!("postgres://postgres@{host}/postgres?options=-c%20search_path%3Dtest{count}");
        let schema = Self::at(url);
        schema.sql(&format!("CREATE SCHEMA test{count}"));
        schema
    }

    /// One that is there already.
    pub fn at(url: String) -> Self {
        Self { url, tagged: true }
    }

    /// The same, in whichever of these servers takes writes.
    pub fn or_on(self, cluster: &Cluster, other: &Cluster) -> Self {
        let (host, other) = (cluster.host(), other.host());
        let url = self.url.replace(&host, &format!("{host},{other}"));
        let url = format!("{url}&target_session_attrs=read-write");
        Self { url, ..self }
    }

    /// The same, whose lists have a tag or not.
    pub fn tagged(self, tagged: bool) -> Self {
        Self { tagged, ..self }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        let url = self.url.parse().unwrap();
        let open = if self.tagged {
            PostgresStore::open
        } else {
            PostgresStore::open_without_collection_tag
        };
        Arc::new(open(url).unwrap())
    }

    /// How a program is told to serve it.
    pub fn arguments(&self) -> Vec<&str> {
        let flag = (!self.tagged).then_some("--no-collection-tag");
        ["--store", &self.url].into_iter().chain(flag).collect()
    }

    /// A connection beside those of the store, as psql or another program has it.
    pub fn shell(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    pub fn sql(&self, sql: &str) {
        self.shell().batch_execute(sql).unwrap();
    }

    /// What a statement finds: a row in a line, its columns with a bar between them.
    pub fn rows(&self, sql: &str) -> String {
        let all = format!(
            "SELECT string_agg(replace(replace(\
            trim('()' from t::text), ',', '|'), '\"', ''), '\n') FROM ({sql}) t"
        );
        let row = self.shell().query_one(&all, &[]).unwrap();
        row.get::<_, Option<String>>(0).unwrap_or_default()
    }
}

impl Place for Schema {
    fn open(&self) -> Arc<dyn Store> {
        self.store()
    }

    fn many(&self) -> usize {
        20_000
    }

    fn tags_lists(&self) -> bool {
        self.tagged
    }

    fn keeps_id_member(&self) -> bool {
        true
    }
}

impl Served for Schema {
    fn argument(&self) -> String {
        self.url.clone()
    }
}
