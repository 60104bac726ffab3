//! Servers to be asked: one inside the test, and the built program beside it.
//!
//! The one suite runs once for each door. `IFMATCH_TEST_DOOR` says which; a test that has to know
//! asks [`is_hyper`].

use std::env;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::{Child, Command, Stdio};

use ifmatch::{Access, Door, MemoryStore, Options, Profile, Running, Server, Store};

use crate::client::{Answer, Client, request};

/// The door under test.
pub fn door() -> Door {
    match env::var("IFMATCH_TEST_DOOR").as_deref() {
        Err(_) | Ok("tiny_http") => Door::TinyHttp,
        #[cfg(feature = "hyper")]
        Ok("hyper") => Door::Hyper(ifmatch::Limits::default()),
        Ok(other) => panic!("there is no door {other} in this build"),
    }
}

pub fn is_hyper() -> bool {
    door() != Door::TinyHttp
}

/// The default options, for the door under test.
pub fn options() -> Options {
    Options {
        door: door(),
        ..Options::default()
    }
}

/// The built program, told to use the door under test.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
    command.args(["--door", if is_hyper() { "hyper" } else { "tiny_http" }]);
    command
}

/// A server on a thread, stopped when it is no longer needed.
pub struct Serving {
    pub running: Option<Running>,
    pub address: SocketAddr,
}

impl Serving {
    pub fn start() -> Self {
        Self::with(MemoryStore::new(), options())
    }

    pub fn with(store: impl Store + 'static, options: Options) -> Self {
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
        }
    }

    /// A server of this profile, that lets in whom `configure` says.
    pub fn guarded(profile: Profile, configure: impl FnOnce(&mut Access)) -> Self {
        let mut options = options();
        options.policy.profile = profile;
        configure(&mut options.policy.access);
        Self::with(MemoryStore::new(), options)
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Asks on a connection of its own.
    pub fn ask(&self, line: &str, fields: &str, content: &str) -> Answer {
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
        assert_eq!(list.status, 200);
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
}

impl Program {
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::spawn(&mut command)
    }

    /// Starts `command` and waits for the line that says where it serves.
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let rest = line.strip_prefix("ifmatch serves http://").expect(&line);
        let address = rest
            .strip_suffix("/persons\n")
            .expect(&line)
            .parse()
            .unwrap();
        Self { child, address }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
