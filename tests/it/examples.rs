//! The examples. They run to their end, or serve writers that increment one note.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use crate::support::client::{Client, RawResponse};

#[cfg(feature = "http")]
#[path = "../../examples/axum.rs"]
#[expect(dead_code, reason = "a test takes a free port")]
mod axum;
#[path = "../../examples/blocking.rs"]
#[expect(dead_code, reason = "a test takes a free port")]
mod blocking;
#[path = "../../examples/embed.rs"]
mod embed;

#[test]
fn embed_runs() {
    embed::main().unwrap();
}

#[test]
fn no_update_is_lost_behind_a_blocking_server() {
    let server = Arc::new(tiny_http::Server::http("127.0.0.1:0").unwrap());
    let address = server.server_addr().to_ip().unwrap();
    let serving = {
        let server = Arc::clone(&server);
        thread::spawn(move || {
            let mut notes = Default::default();
            let requests = server.incoming_requests();
            requests.for_each(|request| blocking::respond(&mut notes, request).unwrap());
        })
    };
    keeps_every_update(address, |number| number.to_string());
    server.unblock();
    serving.join().unwrap();
}

#[cfg(feature = "http")]
#[test]
fn no_update_is_lost_behind_axum() {
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0");
    let listener = runtime.block_on(listener).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(async { ::axum::serve(listener, axum::router()).await });
    keeps_every_update(address, |number| format!("{{\"title\":\"{number}\"}}"));
    runtime.shutdown_background();
}

/// Each writer increments the number in one note: it reads the note, writes it, and tries again after
/// a 412.
fn keeps_every_update(address: SocketAddr, note: impl Fn(usize) -> String + Sync) {
    const WRITERS: usize = 4;
    const EACH: usize = 25;
    // Each request has its own connection and HTTP/1.0, so that both servers send Content-Length.
    let ask = |line: &str, field: &str, content: &str| -> RawResponse {
        let length = content.len();
        let fields = match length {
            0 => field.to_owned(),
            _ => format!("{field}Content-Type: application/json\r\nContent-Length: {length}\r\n"),
        };
        let mut client = Client::connect(address);
        client.send(format!("{line} HTTP/1.0\r\n{fields}\r\n{content}"));
        client.receive()
    };
    assert_eq!(ask("GET /notes/1", "", "").status, 404);
    assert_eq!(ask("DELETE /notes/1", "If-Match: *\r\n", "").status, 404);
    let created = ask("PUT /notes/1", "If-None-Match: *\r\n", &note(0));
    assert_eq!(created.status, 201);
    let tag = created.field("ETag").unwrap().to_owned();
    for (line, field, status) in [
        ("PUT /notes/1", "If-None-Match: *\r\n".to_owned(), 412),
        ("PUT /notes/1", String::new(), 428),
        ("DELETE /notes/1", String::new(), 428),
        ("PUT /notes/1", "If-Match: 1\r\n".to_owned(), 400),
        ("PUT /notes/1", format!("If-Match: W/{tag}\r\n"), 412),
        ("GET /notes/1", format!("If-None-Match: W/{tag}\r\n"), 304),
    ] {
        let content = if line.starts_with("PUT") {
            note(9)
        } else {
            String::new()
        };
        let response = ask(line, &field, &content);
        assert_eq!(response.status, status, "{line} {field}");
        assert_eq!(response.field("ETag"), Some(&*tag), "{line} {field}");
    }
    // The preconditions are checked before the content.
    assert_eq!(ask("PUT /notes/1", "If-Match: \"0\"\r\n", "{").status, 412);
    let conflicts: usize = thread::scope(|scope| {
        let write = || {
            let (mut performed, mut conflicts) = (0, 0);
            while performed < EACH {
                let read = ask("GET /notes/1", "", "");
                let digits: String = read.content.chars().filter(char::is_ascii_digit).collect();
                let next = note(digits.parse::<usize>().unwrap() + 1);
                let seen = format!("If-Match: {}\r\n", read.field("ETag").unwrap());
                match ask("PUT /notes/1", &seen, &next).status {
                    200 => performed += 1,
                    412 => conflicts += 1,
                    status => panic!("{status}"),
                }
            }
            conflicts
        };
        let writers: Vec<_> = (0..WRITERS).map(|_| scope.spawn(write)).collect();
        writers.into_iter().map(|it| it.join().unwrap()).sum()
    });
    let last = ask("GET /notes/1", "", "");
    assert_eq!(last.content, note(WRITERS * EACH), "{conflicts} conflicts");
    let removed = format!("If-Match: {}\r\n", last.field("ETag").unwrap());
    assert!(ask("DELETE /notes/1", &removed, "").status < 300);
    assert_eq!(ask("GET /notes/1", "", "").status, 404);
}
