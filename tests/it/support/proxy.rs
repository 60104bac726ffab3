//! A proxy in front of servers: an installed program, configured as a page of `docs` shows.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::directory::Directory;

/// A running proxy, which ends when it is dropped.
pub struct Proxy {
    child: Child,
    pub address: SocketAddr,
    _directory: Directory,
}

impl Proxy {
    /// Starts a proxy. `command` makes its command for a free address and an empty directory. Waits
    /// at most `timeout` until the proxy listens. `None` if the program is not installed.
    pub fn start(
        name: &str,
        timeout: Duration,
        command: impl FnOnce(SocketAddr, &Directory) -> Command,
    ) -> Option<Self> {
        // The proxy does not report which port it has taken. This port was free a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let directory = Directory::new(&format!("{name}-{}", address.port()));
        let mut command = command(address, &directory);
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let deadline = Instant::now() + timeout;
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
        // After SIGTERM the proxy ends its own child processes. After SIGKILL they would go on.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.child.wait();
    }
}

/// The first block in this language of `docs/proxies.md` and `docs/postgresql.md`.
pub fn block(language: &str) -> &'static str {
    let pages = concat!(
        include_str!("../../../docs/proxies.md"),
        include_str!("../../../docs/postgresql.md")
    );
    let block = pages.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap()
}

/// Prints that a test is skipped. Panics if `IFMATCH_TEST_PROXIES` is set.
#[expect(clippy::print_stderr, reason = "the output names what is skipped")]
pub fn skipped(proxy: &str) {
    let needed = std::env::var_os("IFMATCH_TEST_PROXIES").is_some();
    assert!(!needed, "{proxy} is not installed");
    eprintln!("skipped: {proxy} is not installed");
}
