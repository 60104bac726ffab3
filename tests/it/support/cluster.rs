//! A `PostgreSQL` server of the tests' own, from the installed package. The tests never use the
//! server of the machine.

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

/// A server. Its data and its socket are in a directory that is removed with it.
pub struct Cluster {
    bin: PathBuf,
    directory: Directory,
    /// A shell that stops the server and removes the directory when its standard input ends, which
    /// the end of this process causes in any case.
    watcher: Child,
}

impl Cluster {
    /// The directory of the server's programs. If it is not installed, prints that tests are
    /// skipped.
    #[expect(clippy::print_stderr, reason = "the output names what is skipped")]
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
        // The locale orders text in another way than by its bytes.
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
        // The server refuses to run as root.
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

    /// Starts a former primary again, as a standby of the new primary.
    pub fn follow(&self, primary: &Self) {
        let settings = self.data().join("postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).unwrap();
        let from = primary.directory.0.display();
        text += &format!("primary_conninfo = 'user=postgres host={from}'\n");
        fs::write(settings, text).unwrap();
        fs::write(self.data().join("standby.signal"), "").unwrap();
        self.go_on();
    }

    /// The server that several tests share. They must not stop it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Stops the server without a shutdown, as a crash does.
    pub fn crash(&self) {
        self.stop("immediate");
    }

    /// Stops the server in this mode of `pg_ctl`.
    pub fn stop(&self, mode: &str) {
        self.does("pg_ctl", &["-m", mode, "stop"]);
    }

    /// Starts the server again.
    pub fn go_on(&self) {
        assert!(self.starts("-c listen_addresses="));
    }

    /// Starts the server again with these options, on a port of 127.0.0.1. Returns the port.
    pub fn go_on_with_port(&self, options: &str) -> u16 {
        for _ in 0..10 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            drop(listener);
            // The server does not start if another process has taken the port meanwhile.
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

    /// Writes a file with this name and content to the data directory. Only the server may read the
    /// file.
    pub fn add_file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.data().join(name);
        fs::write(&file, content).unwrap();
        assert!(run(Command::new("chmod").arg("600").arg(&file)));
        if is_root() {
            assert!(run(Command::new("chown").arg("postgres").arg(&file)));
        }
        file
    }

    /// The id of the server's main process.
    pub fn postmaster(&self) -> u32 {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        file.lines().next().unwrap().parse().unwrap()
    }

    /// Runs SQL on this server, whether it is a primary or a standby.
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

    /// The directory of the socket, escaped for a URL.
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

/// The first words of a command that must not run as root.
fn unprivileged() -> Vec<&'static str> {
    if is_root() {
        "setpriv --reuid postgres --regid postgres --clear-groups"
            .split(' ')
            .collect()
    } else {
        Vec::new()
    }
}

/// A schema in a server, which one test uses.
pub struct Schema {
    /// The argument of `--store`.
    pub url: String,
    /// Whether its lists have a tag.
    tagged: bool,
}

impl Schema {
    /// A new schema in the shared server. `None` if the server is not installed.
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

    /// A schema that exists already.
    pub fn at(url: String) -> Self {
        Self { url, tagged: true }
    }

    /// The same schema, in whichever of these servers accepts writes.
    pub fn or_on(self, cluster: &Cluster, other: &Cluster) -> Self {
        let (host, other) = (cluster.host(), other.host());
        let url = self.url.replace(&host, &format!("{host},{other}"));
        let url = format!("{url}&target_session_attrs=read-write");
        Self { url, ..self }
    }

    /// The same schema, with lists that have a tag or not.
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

    /// The arguments for a program that serves this schema.
    pub fn arguments(&self) -> Vec<&str> {
        let flag = (!self.tagged).then_some("--no-collection-tag");
        ["--store", &self.url].into_iter().chain(flag).collect()
    }

    /// A connection of its own, such as psql or another program has.
    pub fn shell(&self) -> Client {
        Client::connect(&self.url, NoTls).unwrap()
    }

    pub fn sql(&self, sql: &str) {
        self.shell().batch_execute(sql).unwrap();
    }

    /// The rows that a statement returns: a line for each row, with a bar between columns.
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
