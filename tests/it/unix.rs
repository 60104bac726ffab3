//! Unix-domain sockets.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use ifmatch::{Address, MemoryStore, Running, ServeError, Server};

use crate::support::directory::Directory;
use crate::support::serving::{options, program};

fn serve(socket: &Path) -> Result<Running, ServeError> {
    Server::bind(
        Address::Unix(socket.to_owned()),
        MemoryStore::new(),
        options(),
    )?
    .spawn()
}

/// Sends requests on one connection, and returns the statuses. The last request must end the
/// connection.
fn ask(socket: &Path, requests: &str) -> Vec<String> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut responses = String::new();
    stream.read_to_string(&mut responses).unwrap();
    let lines = responses
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "));
    lines.map(|line| line[..3].to_owned()).collect()
}

const LAST: &str = "GET /persons HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[test]
fn requests_over_a_unix_socket() {
    let directory = Directory::new("serve");
    let socket = directory.0.join("sock");
    let running = serve(&socket).unwrap();
    assert_eq!(
        running.local_addr().to_string(),
        format!("unix:{}", socket.display())
    );
    for round in 0..20 {
        let short = format!(r#"{{"person_id": "{round}", "person_name": "Wim"}}"#);
        let long = format!(r#"{{"person_name": "{}"}}"#, "x".repeat(3000));
        let requests = format!(
            "POST /persons HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{short}\
             PUT /persons/{round} HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Length: {}\r\n\r\n{long}\
             PUT /persons/{round} HTTP/1.1\r\nHost: x\r\nIf-Match: \"x\"\r\nContent-Length: {}\r\n\r\n{long}\
             GET /persons/{round} HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n{LAST}",
            short.len(),
            long.len(),
            long.len(),
        );
        assert_eq!(ask(&socket, &requests), ["201", "200", "412", "304", "200"]);
    }
    // Clients that stall or do not read delay no other client.
    let mut stalled = UnixStream::connect(&socket).unwrap();
    stalled
        .write_all(b"PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\n{")
        .unwrap();
    let mut blocked = UnixStream::connect(&socket).unwrap();
    blocked
        .write_all(
            "GET /persons HTTP/1.1\r\nHost: x\r\n\r\n"
                .repeat(100)
                .as_bytes(),
        )
        .unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&socket, LAST), ["200"]);
    }
    drop((stalled, blocked));
    running.stop();
    assert!(!socket.exists(), "removed at the end");
}

#[test]
fn only_a_stale_socket_is_replaced() {
    let directory = Directory::new("stale");
    let socket = directory.0.join("sock");
    let name = format!("unix:{}", socket.display());

    // The file of a server that was killed.
    drop(UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    // A process that another test starts has the socket open until it executes its program.
    while UnixStream::connect(&socket).is_ok() {}
    let running = serve(&socket).unwrap();
    assert_eq!(ask(&socket, LAST), ["200"]);

    let taken = serve(&socket).unwrap_err().to_string();
    assert_eq!(
        taken,
        format!("another program is already listening on {name}; stop it, or use another address")
    );
    assert_eq!(ask(&socket, LAST), ["200"], "the first server still serves");
    running.stop();

    fs::write(&socket, "a letter").unwrap();
    let file = serve(&socket).unwrap_err().to_string();
    assert_eq!(
        file,
        format!("cannot serve on {name}: there is a file that is no socket")
    );
    assert_eq!(fs::read_to_string(&socket).unwrap(), "a letter");
    fs::remove_file(&socket).unwrap();
    std::os::unix::fs::symlink("nowhere", &socket).unwrap();
    assert!(serve(&socket).is_err(), "a link is not replaced");
}

#[test]
fn the_program_listens_on_a_unix_socket() {
    let directory = Directory::new("program");
    let socket = directory.0.join("sock");
    let name = format!("unix:{}", socket.display());
    for _ in 0..2 {
        // The killed program leaves its file, and the next program replaces it.
        let mut child = program()
            .args(["--listen", &name])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let expected = format!("ifmatch serves {name}\n");
        let mut line = vec![0; expected.len()];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut line)
            .unwrap();
        assert_eq!(String::from_utf8(line).unwrap(), expected);
        assert_eq!(ask(&socket, LAST), ["200"]);
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "",
            "there are no warnings"
        );
    }
}

/// The kernel has no timeout for a Unix-domain socket.
#[cfg(feature = "hyper")]
#[test]
fn a_client_that_does_not_read_times_out_at_the_hyper_door() {
    let directory = Directory::new("timeout");
    let socket = directory.0.join("sock");
    let mut limits = ifmatch::Limits::default();
    limits.connections = 1;
    let mut options = ifmatch::Options::default();
    options.door = ifmatch::Door::Hyper(limits);
    options.timeout = std::time::Duration::from_secs(1);
    let address = Address::Unix(socket.clone());
    let server = Server::bind(address, MemoryStore::new(), options).unwrap();
    let running = server.spawn().unwrap();
    let mut blocked = UnixStream::connect(&socket).unwrap();
    // The server reads only as many requests as it can write responses.
    let requests = "GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100_000);
    assert!(blocked.write_all(requests.as_bytes()).is_err());
    assert_eq!(ask(&socket, LAST), ["200"]);
    running.stop();
}
