//! Clients that exceed the timeout.

use std::thread;
use std::time::Duration;

use ifmatch::Server;

use crate::support::client::{Client, RawResponse, request};
use crate::support::serving::{Serving, is_hyper, options};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";
const PUT: &str = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n";

fn serve(seconds: u64) -> Serving {
    let serving = Serving::configured(|options| options.timeout = Duration::from_secs(seconds));
    serving.create("1");
    serving
}

fn connection(response: &RawResponse) -> Vec<&str> {
    let lines = response.fields.iter();
    lines
        .filter(|(name, value)| name == "Connection" && value != "upgrade")
        .map(|(_, value)| value.as_str())
        .collect()
}

/// The server responds if it can, and then ends the connection.
#[test]
fn silent_clients_time_out() {
    let serving = serve(1);
    let head = |fields: &str| format!("{PUT}{fields}\r\n\r\n");
    let long = head("Content-Length: 2000") + "{";
    let chunk = head("Transfer-Encoding: chunked") + "5\r\n{";
    let size = head("Transfer-Encoding: chunked") + "5";
    let lost = head("Content-Length: abc");
    let malformed = head("Transfer-Encoding: chunked") + "zz\r\n";
    let much = head("Content-Length: 70000000") + "{";
    let mut clients: Vec<_> = [
        ("", None, None),
        ("GET /persons/1 HTTP/1.1\r\nHo", None, None),
        (GET, Some(200), Some(200)),
        (&*(head("Content-Length: 900") + "{"), None, Some(408)),
        (&long, Some(408), Some(408)),
        (&chunk, Some(408), Some(408)),
        (&size, Some(408), Some(408)),
        (&lost, Some(400), Some(400)),
        (&malformed, Some(400), Some(400)),
        (&much, Some(413), Some(413)),
    ]
    .into_iter()
    .map(|(sent, tiny_http, hyper)| {
        let mut client = serving.client();
        client.send(sent);
        (
            sent.to_owned(),
            client,
            if is_hyper() { hyper } else { tiny_http },
        )
    })
    .collect();
    for (sent, client, status) in &mut clients {
        let response = client.try_receive().ok();
        assert_eq!(response.as_ref().map(|it| it.status), *status, "{sent}");
        if let Some(response) = response.filter(|it| it.status != 200 && !it.content.is_empty()) {
            assert_eq!(connection(&response), ["close"], "{sent}");
        }
        assert!(client.is_closed(), "{sent}");
    }
    assert_eq!(serving.client().ask(GET).status, 200);
}

/// With a shorter timeout the watchdog could not keep the acceptor from timing out. A longer
/// timeout could not be added to the current time.
#[test]
fn timeouts_are_between_a_second_and_a_year() {
    for timeout in [Duration::ZERO, Duration::MAX] {
        let serving = Serving::configured(|options| options.timeout = timeout);
        serving.create("1");
        let mut client = serving.client();
        for _ in 0..3 {
            assert_eq!(client.ask(GET).status, 200, "{timeout:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The job thread of the client ends, and so does the connection.
#[cfg(target_os = "linux")]
#[test]
fn a_client_that_does_not_read_times_out() {
    use crate::faults::{do_not_read, footprint, threads};
    // A database opens files of its own later.
    let program = crate::support::serving::Program::start(&["--timeout", "1", "--store", "memory"]);
    let descriptors = || footprint(&program).2;
    // After a response the program has opened all its files. A probe of the watchdog may open one
    // more for a moment.
    assert_eq!(Client::connect(program.address).ask(GET).status, 404);
    let before = (0..50).map(|_| {
        thread::sleep(Duration::from_millis(7));
        descriptors()
    });
    let before = before.min().unwrap();
    let client = do_not_read(program.address);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while descriptors() > before || !threads(&program, "ifmatch-job").is_empty() {
        assert!(std::time::Instant::now() < deadline, "it has not timed out");
        thread::sleep(Duration::from_millis(7));
    }
    drop(client);
}

/// `accept` has the timeout of the connections as well. The probes of the watchdog keep it from
/// ending while no client connects for several timeouts.
#[cfg(target_os = "linux")]
#[test]
fn probes_keep_an_acceptor_from_timing_out() {
    let program = crate::support::serving::Program::start(&["--timeout", "1"]);
    let receivers = || crate::faults::threads(&program, "ifmatch-receive");
    assert_eq!(Client::connect(program.address).ask(GET).status, 404);
    let before = receivers();
    // The tiny_http door ends this connection after three timeouts.
    let mut client = Client::connect(program.address);
    client.send(format!("{PUT}Content-Length: 70000000\r\n\r\n"));
    assert_eq!(client.receive().status, 413);
    assert!(client.is_closed());
    assert_eq!(Client::connect(program.address).ask(GET).status, 404);
    assert_eq!(receivers(), before, "another acceptor was started");
}

/// All content is read, since a client may send it before it reads the response.
#[test]
fn too_much_content_is_refused_and_the_connection_ends() {
    if is_hyper() {
        // The hyper door resets the connection after 16 MiB.
        return;
    }
    let serving = serve(1);
    let mebibyte = vec![b' '; 1024 * 1024];
    for (mebibytes, fields, option) in [
        (2, "Content-Length: 2097152", None),
        (17, "Content-Length: 17825792", Some("close")),
        (70, "Content-Length: 73400320", Some("close")),
        (
            70,
            "Connection: close\r\nContent-Length: 73400320",
            Some("close"),
        ),
        (70, "Transfer-Encoding: chunked", Some("close")),
    ] {
        let mut client = serving.client();
        client.send(format!("{PUT}{fields}\r\n\r\n"));
        let chunked = fields.contains("chunked");
        for _ in 0..mebibytes {
            if chunked {
                client.send("100000\r\n");
            }
            client.send(&mebibyte);
            if chunked {
                client.send("\r\n");
            }
        }
        if chunked {
            client.send("0\r\n\r\n");
        }
        let response = client.receive();
        assert_eq!(response.status, 413, "{fields}");
        assert_eq!(response.message(), "The content is longer than 65536 bytes");
        assert_eq!(
            connection(&response),
            option.into_iter().collect::<Vec<_>>()
        );
        if option.is_none() {
            assert_eq!(client.ask(GET).status, 200, "the connection goes on");
        }
        assert!(client.is_closed());
    }
}

/// `tiny_http` has ended the connection during the wait, since no request came.
#[test]
fn a_wait_beyond_the_timeout_ends_the_connection() {
    let serving = serve(1);
    let mut client = serving.client();
    let tag = client.ask(GET).field("ETag").unwrap().to_owned();
    for (seconds, option) in [(1, None), (2, Some("close"))] {
        let fields = format!("If-None-Match: {tag}\r\nPrefer: wait={seconds}\r\n");
        let mut client = serving.client();
        let response = client.ask(request("GET /persons/1", &fields, ""));
        assert_eq!(response.status, 304);
        if !is_hyper() && seconds == 2 {
            assert_eq!(response.field("Connection"), option);
        }
        assert!(client.is_closed());
    }
}

/// A request that has begun to arrive is performed.
#[test]
fn a_stopping_server_finishes_uploads() {
    let content = |length: usize| {
        let name = "x".repeat(length - r#"{"person_name": ""}"#.len());
        format!(r#"{{"person_name": "{name}"}}"#)
    };
    let chunked = format!("16\r\n{}\r\n0\r\n\r\n", content(22));
    for (fields, content) in [
        ("Content-Length: 22", content(22)),
        ("Content-Length: 2000", content(2000)),
        ("Content-Length: 60000", content(60_000)),
        ("Transfer-Encoding: chunked", chunked),
    ] {
        let (store, _kept) = crate::support::serving::store();
        crate::conformance::create(&*store, "1");
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(address, store, options()).unwrap();
        let stopper = server.stopper();
        let running = server.spawn().unwrap();
        let mut client = Client::connect(running.local_addr().clone());
        let (begin, rest) = content.split_at(10);
        client.send(format!("{GET}{PUT}{fields}\r\n\r\n{begin}"));
        assert_eq!(client.receive().status, 200);
        stopper.stop();
        client.send(rest);
        let replaced = client.receive();
        assert_eq!(replaced.status, 200, "{fields}");
        if is_hyper() {
            assert!(client.is_closed(), "{fields}");
        } else {
            assert_eq!(connection(&replaced), ["close"], "{fields}");
        }
        running.stop();
    }
}

#[cfg(all(feature = "hyper", unix))]
#[test]
fn a_signal_lets_uploads_finish() {
    for length in [22, 2000] {
        let mut program = crate::support::serving::Program::start(&[]);
        let mut client = Client::connect(program.address);
        let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
        let created = client.ask(request("POST /persons", "", person));
        assert_eq!(created.status, 201);
        let name = "x".repeat(length - r#"{"person_name": ""}"#.len());
        let content = format!(r#"{{"person_name": "{name}"}}"#);
        client.send(format!("{GET}{PUT}Content-Length: {length}\r\n\r\n{{"));
        assert_eq!(client.receive().status, 200);
        let id = program.child.id().to_string();
        let kill = std::process::Command::new("kill").arg(&id).status();
        assert!(kill.unwrap().success());
        client.send(&content[1..]);
        assert_eq!(client.receive().status, 200, "{length}");
        assert_eq!(program.child.wait().unwrap().code(), Some(0));
    }
}
