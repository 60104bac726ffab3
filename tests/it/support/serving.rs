//! Servers for the tests: one on a thread of the test, and the built program.
//!
//! All tests can run with each door and each store: `IFMATCH_TEST_DOOR` and `IFMATCH_TEST_STORE`
//! name them. A test that depends on the door calls [`is_hyper`].

use std::env;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use ifmatch::{Access, Door, MemoryStore, Options, Profile, Running, Server, Store};

use crate::conformance::Place;
use crate::support::client::{Client, RawResponse, request};

/// The door under test.
pub fn door() -> Door {
    match env::var("IFMATCH_TEST_DOOR").as_deref() {
        Err(_) | Ok("tiny_http") => Door::TinyHttp,
        #[cfg(feature = "hyper")]
        Ok("hyper") => {
            let mut limits = ifmatch::Limits::default();
            limits.threads = threads().unwrap_or(limits.threads);
            Door::Hyper(limits)
        }
        Ok(other) => panic!("there is no door {other} in this build"),
    }
}

/// The number of threads of the hyper door, if it is not one.
#[cfg(feature = "hyper")]
fn threads() -> Option<u32> {
    let threads = env::var("IFMATCH_TEST_THREADS").ok()?;
    Some(threads.parse().unwrap())
}

pub fn is_hyper() -> bool {
    door() != Door::TinyHttp
}

/// A place where the program can keep its store.
pub trait Served: Place {
    /// The argument of `--store`.
    fn argument(&self) -> String;
}

/// The place of the store under test.
pub type Kept = Option<Box<dyn Served + Send + Sync>>;

/// A new place for the store under test. `None` if the store is in memory.
fn kept() -> Kept {
    match env::var("IFMATCH_TEST_STORE").as_deref() {
        Err(_) | Ok("memory") => None,
        #[cfg(feature = "sqlite")]
        Ok("sqlite") => Some(Box::new(crate::sqlite::File::default())),
        // The store is in memory if no database server is installed.
        #[cfg(feature = "postgres")]
        Ok("postgres") => Some(Box::new(crate::support::cluster::Schema::new()?)),
        Ok(other) => panic!("there is no store {other} in this build"),
    }
}

/// An empty store of the kind under test, and its place, which must live as long as the store.
pub fn store() -> (Arc<dyn Store>, Kept) {
    match kept() {
        // `synchronous=normal` is faster, and no test cuts the power.
        Some(place) => (place.open_fast(), Some(place)),
        None => (Arc::new(MemoryStore::new()), None),
    }
}

/// The default options, for the door under test.
pub fn options() -> Options {
    let mut options = Options::default();
    options.door = door();
    options
}

/// The command of the built program with the door under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    command.args(["--door", if is_hyper() { "hyper" } else { "tiny_http" }]);
    #[cfg(feature = "hyper")]
    if let (true, Some(threads)) = (is_hyper(), threads()) {
        command.args(["--threads", &threads.to_string()]);
    }
    command
}

/// The command of the built program with these arguments. Serves the store at this place, on a free
/// port, unless the arguments name another store or address.
fn serve(kept: &Kept, arguments: &[&str]) -> Command {
    let mut command = program();
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    match kept {
        Some(place) if !arguments.contains(&"--store") => {
            command.args(["--store", &place.argument()]);
        }
        _ => {}
    }
    command.args(arguments);
    command
}

/// A server on a thread, which stops when it is dropped.
pub struct Serving {
    pub running: Option<Running>,
    pub address: SocketAddr,
    kept: Kept,
}

impl Serving {
    pub fn start() -> Self {
        Self::with_new_store(options())
    }

    fn with_new_store(options: Options) -> Self {
        let (store, kept) = store();
        Self::with_store_in(kept, store, options)
    }

    pub fn with(store: impl Store + 'static, options: Options) -> Self {
        Self::with_store_in(None, store, options)
    }

    fn with_store_in(kept: Kept, store: impl Store + 'static, options: Options) -> Self {
        let server = Server::bind("127.0.0.1:0".parse().unwrap(), store, options).unwrap();
        let running = server.spawn().unwrap();
        let address = running
            .local_addr()
            .to_socket_addrs()
            .unwrap()
            .next()
            .unwrap();
        Self {
            address,
            running: Some(running),
            kept,
        }
    }

    /// Keeps the place of the store as long as the server.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// A server with this profile, and with the access rules that `configure` sets.
    pub fn guarded(profile: Profile, configure: impl FnOnce(&mut Access)) -> Self {
        Self::configured(|options| {
            options.policy.profile = profile;
            configure(&mut options.policy.access);
        })
    }

    /// A server with the options that `configure` makes of the default ones.
    pub fn configured(configure: impl FnOnce(&mut Options)) -> Self {
        let mut options = options();
        configure(&mut options);
        Self::with_new_store(options)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Sends a request on a new connection.
    pub fn ask(&self, line: &str, fields: &str, content: &str) -> RawResponse {
        self.client().ask(request(line, fields, content))
    }

    /// Creates a person and returns the tag.
    pub fn create(&self, id: &str) -> String {
        let content = serde_json::json!({"person_id": id, "person_name": "Wim"}).to_string();
        let created = self.ask("POST /persons", "", &content);
        assert_eq!(created.status, 201, "{created:?}");
        created.field("ETag").unwrap().to_owned()
    }

    /// The list and its tag, by which tests see that nothing has changed.
    pub fn state(&self) -> (Option<String>, String) {
        let list = self.ask("GET /persons", "", "");
        assert_eq!(list.status, 200, "{list:?}");
        (list.field("ETag").map(str::to_owned), list.content)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

/// The built program, which is killed when it is dropped.
pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    kept: Kept,
}

impl Program {
    /// Starts the program with an empty store of the kind under test, unless `arguments` name
    /// another store.
    pub fn start(arguments: &[&str]) -> Self {
        let kept = kept();
        let mut command = serve(&kept, arguments);
        Self::spawn_in(kept, &mut command)
    }

    /// Starts the program with this limit of descriptors.
    pub fn limited(descriptors: usize, arguments: &[&str]) -> Self {
        let kept = kept();
        let unlimited = serve(&kept, arguments);
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
            .arg(descriptors.to_string())
            .arg(unlimited.get_program())
            .args(unlimited.get_args())
            // tiny_http prints an error when its accept thread ends, which does not matter here.
            .stderr(Stdio::null());
        Self::spawn_in(kept, &mut command)
    }

    /// Starts the program again on the same store, after it has ended. `None` if the store was in
    /// memory.
    pub fn start_again(&mut self) -> Option<Self> {
        self.child.wait().unwrap();
        let kept = Some(self.kept.take()?);
        let mut command = serve(&kept, &[]);
        Some(Self::spawn_in(kept, &mut command))
    }

    /// Starts `command` and waits for the line that names its address.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_in(None, command)
    }

    fn spawn_in(kept: Kept, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let rest = line.strip_prefix("ifmatch serves http://").expect(&line);
        let (address, _) = rest.split_once('/').expect(&line);
        let address = address.parse().unwrap();
        Self {
            child,
            address,
            kept,
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // The program may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
