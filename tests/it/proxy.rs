//! A proxy in front of servers: a program of its own, set up as a page of `docs` shows.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::directory::Directory;

/// A proxy, ended when it is no longer needed.
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
    _directory: Directory,
}

impl Proxy {
    /// Starts the program that `command` makes of a free address and an empty directory, and waits
    /// so long until it listens there; nothing where it is not installed.
    pub fn start(
        name: &str,
        patience: Duration,
        command: impl FnOnce(SocketAddr, &Directory) -> Command,
    ) -> Option<Self> {
        // It cannot be asked which port it took. This one is free, or was a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let directory = Directory::new(&format!("{name}-{}", address.port()));
        let mut command = command(address, &directory);
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let deadline = Instant::now() + patience;
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "{name} has ended");
            assert!(Instant::now() < deadline, "{name} does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            child,
            address,
            _directory: directory,
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its processes end with it when it is told, and not when it is killed.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.child.wait();
    }
}

/// The first block in this language of `docs/proxies.md` and `docs/postgresql.md`.
pub fn block(language: &str) -> &'static str {
    let pages = concat!(
        include_str!("../../docs/proxies.md"),
        include_str!("../../docs/postgresql.md")
    );
    let block = pages.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap()
}

/// Tells that a test was skipped, unless `IFMATCH_TEST_PROXIES` says that none may be.
#[expect(clippy::print_stderr, reason = "so that nobody takes it for tested")]
pub fn skipped(proxy: &str) {
    let needed = std::env::var_os("IFMATCH_TEST_PROXIES").is_some();
    assert!(!needed, "{proxy} is not installed");
    eprintln!("skipped: {proxy} is not installed");
}
