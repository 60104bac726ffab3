//! Servers to be asked: one inside the test, and the built program beside it.
//!
//! The one suite runs once for each door and each store. `IFMATCH_TEST_DOOR` and
//! `IFMATCH_TEST_STORE` say which; a test that has to know the door asks [`is_hyper`].

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

/// How many threads the hyper door has under test, if not one.
#[cfg(feature = "hyper")]
fn threads() -> Option<u32> {
    let threads = env::var("IFMATCH_TEST_THREADS").ok()?;
    Some(threads.parse().unwrap())
}

pub fn is_hyper() -> bool {
    door() != Door::TinyHttp
}

/// The place of a store that the program can be told to serve.
pub trait Served: Place {
    /// What `--store` is given for it.
    fn argument(&self) -> String;
}

/// Where the store under test keeps the persons.
pub type Kept = Option<Box<dyn Served + Send + Sync>>;

/// A place for the store under test, if it is not in memory.
fn kept() -> Kept {
    match env::var("IFMATCH_TEST_STORE").as_deref() {
        Err(_) | Ok("memory") => None,
        #[cfg(feature = "sqlite")]
        Ok("sqlite") => Some(Box::new(crate::sqlite::File::default())),
        // In memory, too, where there is no database.
        #[cfg(feature = "postgres")]
        Ok("postgres") => Some(Box::new(crate::support::cluster::Schema::new()?)),
        Ok(other) => panic!("there is no store {other} in this build"),
    }
}

/// An empty store of the kind under test, and the place that has to stay as long.
pub fn store() -> (Arc<dyn Store>, Kept) {
    match kept() {
        // In a hurry: no power fails here.
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

/// The built program, told to use the door under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    command.args(["--door", if is_hyper() { "hyper" } else { "tiny_http" }]);
    #[cfg(feature = "hyper")]
    if let (true, Some(threads)) = (is_hyper(), threads()) {
        command.args(["--threads", &threads.to_string()]);
    }
    command
}

/// The built program with these arguments, told to serve the store that is kept there on a free port,
/// unless they say otherwise.
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

/// A server on a thread, stopped when it is no longer needed.
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

    /// Has the place of the store stay as long as the server.
    pub fn keep(&mut self, kept: Kept) {
        self.kept = kept;
    }

    /// A server of this profile, that lets in whom `configure` says.
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

    /// Asks on a connection of its own.
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

    /// The list and its tag: what must not change when nothing may.
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

/// The built program, ended when it is no longer needed.
pub struct Program {
    pub child: Child,
    pub address: SocketAddr,
    kept: Kept,
}

impl Program {
    /// Starts it on an empty store of the kind under test, unless `arguments` say otherwise.
    pub fn start(arguments: &[&str]) -> Self {
        let kept = kept();
        let mut command = serve(&kept, arguments);
        Self::spawn_in(kept, &mut command)
    }

    /// Starts it with no more than so many descriptors.
    pub fn limited(descriptors: usize, arguments: &[&str]) -> Self {
        let kept = kept();
        let unlimited = serve(&kept, arguments);
        let mut command = Command::new("sh");
        command
            .args(["-c", "ulimit -n \"$0\" && exec \"$@\""])
            .arg(descriptors.to_string())
            .arg(unlimited.get_program())
            .args(unlimited.get_args())
            // What tiny_http prints when its accept thread ends is of no interest here.
            .stderr(Stdio::null());
        Self::spawn_in(kept, &mut command)
    }

    /// Starts it again on the same store, once it has ended; nothing if its store ended with it.
    pub fn start_again(&mut self) -> Option<Self> {
        self.child.wait().unwrap();
        let kept = Some(self.kept.take()?);
        let mut command = serve(&kept, &[]);
        Some(Self::spawn_in(kept, &mut command))
    }

    /// Starts `command` and waits for the line that says where it serves.
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
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
