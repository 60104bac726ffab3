//! The access log.

use std::io::{self, Read, Write};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ifmatch::{MemoryStore, Server, StoreError};

use crate::support::client::{Client, request};
use crate::support::serving::{Program, is_hyper, options, program};
use crate::support::watched::{Call, Watched};

/// A sink that sends every line to a channel.
struct Lines(Sender<String>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The next line without its date and duration. Checks the format of both.
fn next(lines: &Receiver<String>) -> String {
    let line = lines.recv_timeout(Duration::from_secs(20)).unwrap();
    let (before, rest) = line.split_once('[').unwrap();
    let (date, rest) = rest.split_once(']').unwrap();
    assert!(date.len() == 26 && date.ends_with(" +0000"), "{date}");
    let (rest, duration) = rest.trim_end().rsplit_once(' ').unwrap();
    assert!(duration.parse::<u64>().unwrap() < 20_000_000);
    format!("{before}[]{rest}")
}

#[test]
fn each_response_is_a_line() {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, MemoryStore::new(), options()).unwrap();
    let (sender, lines) = channel();
    server.log_to(Lines(sender)).unwrap();
    let running = server.spawn().unwrap();
    let long = "x".repeat(2000);
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    for (sent, expected) in [
        (
            request("POST /persons", "", person),
            "\"POST /persons HTTP/1.1\" 201 96",
        ),
        (
            request("GET /persons/1", "If-None-Match: *\r\n", ""),
            "\"GET /persons/1 HTTP/1.1\" 304 -",
        ),
        (
            request("HEAD /persons/1", "", ""),
            "\"HEAD /persons/1 HTTP/1.1\" 200 -",
        ),
        (
            request("PUT /persons/1", "If-Match: \"x\"\r\n", &long),
            "\"PUT /persons/1 HTTP/1.1\" 412 81",
        ),
        (
            request("PUT /persons/1", "If-Match: *\r\n", &long),
            "\"PUT /persons/1 HTTP/1.1\" 400 ",
        ),
        (
            request("GET /\u{1b}[31m\"\\", "", ""),
            "\"GET /\\u{1b}[31m\\\"\\\\ HTTP/1.1\" 400 ",
        ),
        (
            request("BR\u{7}EW /", "", ""),
            "\"BR\\u{7}EW / HTTP/1.1\" 501 ",
        ),
        (
            "GET / HTTP/1.0\r\n\r\n".into(),
            "\"GET / HTTP/1.0\" 200 109",
        ),
        (
            "GET /persons HTTP/1.1\r\n\r\n".into(),
            "\"GET /persons HTTP/1.1\" 400 ",
        ),
        (
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n".into(),
            "\"POST / HTTP/1.1\" 413 58",
        ),
    ] {
        // hyper refuses some requests itself. These are not logged.
        if is_hyper() && (sent.contains('\u{1b}') || sent.contains('\u{7}')) {
            continue;
        }
        Client::connect(running.local_addr()).ask(sent);
        let line = next(&lines);
        assert!(
            line.starts_with(&format!("127.0.0.1 - - [] {expected}")),
            "{line}"
        );
    }
    running.stop();
    assert!(
        lines.try_recv().is_err(),
        "the watchdog's probes are no requests"
    );
}

/// Load balancers send health checks every few seconds.
#[test]
fn health_checks_are_logged_only_if_they_fail() {
    let address = "127.0.0.1:0".parse().unwrap();
    let calls = AtomicUsize::new(0);
    let second_fails = move |_: Call<'_>| match calls.fetch_add(1, Ordering::SeqCst) {
        1 => Err(StoreError::new("out of order")),
        _ => Ok(()),
    };
    let store = Watched::new(MemoryStore::new(), second_fails);
    let server = Server::bind(address, store, options()).unwrap();
    let (sender, lines) = channel();
    server.log_to(Lines(sender)).unwrap();
    let running = server.spawn().unwrap();
    let mut client = Client::connect(running.local_addr());
    for (line, status) in [
        ("GET /health", 200),
        ("GET /health", 503),
        ("HEAD /health", 200),
        ("PUT /health", 405),
    ] {
        assert_eq!(client.ask(request(line, "", "")).status, status, "{line}");
    }
    running.stop();
    for expected in ["GET /health HTTP/1.1\" 503", "PUT /health HTTP/1.1\" 405"] {
        let line = next(&lines);
        assert!(line.contains(expected), "{line}");
    }
    assert!(
        lines.try_recv().is_err(),
        "successful checks are not logged"
    );
}

/// A sink whose `write` never returns.
struct Stuck;

impl Write for Stuck {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        loop {
            std::thread::park();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The server responds and ends, whether or not the queue of the log is full.
#[test]
fn a_sink_that_blocks_delays_no_response() {
    // More lines than the queue of the log holds, and fewer.
    for requests in [5_000, 10] {
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, MemoryStore::new(), options()).unwrap();
        server.log_to(Stuck).unwrap();
        let running = server.spawn().unwrap();
        let mut client = Client::connect(running.local_addr());
        // Few requests at a time, so that the buffers of the sockets hold the responses.
        for _ in 0..requests / 10 {
            client.send(request("GET /persons", "", "").repeat(10));
            for _ in 0..10 {
                assert_eq!(client.receive().status, 200);
            }
        }
        running.stop();
    }
}

#[test]
fn the_program_logs_to_stderr_if_the_flag_is_set() {
    for (flag, expected) in [(&["--access-log"][..], 1), (&[], 0)] {
        let mut command = program();
        command
            .args(["--listen", "127.0.0.1:0"])
            .args(flag)
            .stderr(Stdio::piped());
        let mut program = Program::spawn(&mut command);
        let mut client = Client::connect(program.address);
        assert_eq!(client.ask(request("GET /persons", "", "")).status, 200);
        let mut text = String::new();
        let mut stderr = program.child.stderr.take().unwrap();
        if expected == 1 {
            let mut first = [0; 9];
            stderr.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"127.0.0.1");
        }
        program.child.kill().unwrap();
        stderr.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), expected, "{text}");
    }
}

/// The client gets a 503 without the reason, and the log has the reason.
#[test]
fn failures_are_logged_once() {
    let address = "127.0.0.1:0".parse().unwrap();
    // Each call that reads a whole collection fails with another reason.
    let count = AtomicUsize::new(0);
    let fail = move |call: Call<'_>| match call {
        Call::Get(_) | Call::Swap | Call::Fill => Err(StoreError::new("the disk is full")),
        Call::Version | Call::List | Call::Visit | Call::Collections => {
            let count = count.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::new(format!("reason {count}")))
        }
    };
    let store = Watched::new(MemoryStore::new(), fail);
    let server = Server::bind(address, store, options()).unwrap();
    let (sender, lines) = channel();
    server.log_failures_to(Lines(sender)).unwrap();
    let running = server.spawn().unwrap();
    let mut client = Client::connect(running.local_addr());
    for target in [
        "/persons/1",
        "/persons/2",
        "/",
        "/persons",
        "/persons",
        "/persons/1",
    ] {
        let response = client.ask(request(&format!("GET {target}"), "", ""));
        let expected = if target == "/" { 200 } else { 503 };
        assert_eq!(response.status, expected);
        assert!(!response.content.contains("disk") && !response.content.contains("reason"));
    }
    running.stop();
    let logged: Vec<_> = lines.try_iter().collect();
    let expected = [
        "the disk is full",
        "reason 0",
        "reason 1",
        "the disk is full",
    ];
    assert_eq!(
        logged,
        expected.map(|reason| format!("ifmatch: {reason}\n"))
    );
}

/// A slow sink.
struct Slow(Sender<()>);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(2));
        let _ = self.0.send(());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_server_flushes_its_log_before_it_ends() {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(address, MemoryStore::new(), options()).unwrap();
    let (sender, written) = channel();
    server.log_to(Slow(sender)).unwrap();
    let running = server.spawn().unwrap();
    let mut client = Client::connect(running.local_addr());
    for _ in 0..100 {
        assert_eq!(client.ask(request("GET /persons", "", "")).status, 200);
    }
    running.stop();
    assert_eq!(written.try_iter().count(), 100);
}
