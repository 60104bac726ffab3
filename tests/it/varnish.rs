//! Varnish as a cache, configured as in `docs/proxies.md`: it revalidates a stored response for
//! each request.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Client, RawResponse, request};
use crate::support::proxy::{Proxy, block, skipped};
use crate::support::serving::{Program, program};

/// A test that waits longer than this has failed. Without a Cache-Control field, Varnish would
/// store a response longer than this.
const STUCK: Duration = Duration::from_secs(30);

/// Sends a request and returns the response. Does not compare the response with the description of
/// the API, which lacks the fields of Varnish.
fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> RawResponse {
    client.send(request);
    client.receive()
}

/// Starts Varnish in front of this program. `None` if Varnish is not installed.
fn in_front(program: &Program) -> Option<Proxy> {
    let block = block("vcl");
    assert!(block.contains("\"5000\""));
    let port = program.address.port().to_string();
    Proxy::start("varnish", STUCK, |address, directory| {
        let file = directory.0.join("ifmatch.vcl");
        fs::write(&file, block.replace("5000", &port)).unwrap();
        let mut command = Command::new("varnishd");
        command.args(["-F", "-j", "none", "-s", "malloc,16m", "-a"]);
        command.arg(address.to_string());
        command.arg("-n").arg(&directory.0).arg("-f").arg(&file);
        command.stdout(Stdio::null());
        command
    })
}

/// A server, and the request line and the status of each response in its access log.
fn logged() -> (Program, Receiver<String>) {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--access-log"]);
    let mut program = Program::spawn(command.stderr(Stdio::piped()));
    let (sender, receiver) = channel();
    let lines = BufReader::new(program.child.stderr.take().unwrap()).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut parts = line.split('"').skip(1);
            let asked = parts.next().unwrap_or_default().to_owned();
            let status = parts.next().unwrap_or_default().trim_start();
            let status = status.split(' ').next().unwrap_or_default();
            if sender.send(format!("{asked} {status}")).is_err() {
                return;
            }
        }
    });
    (program, receiver)
}

#[test]
fn varnish_revalidates_each_response() {
    let (program, log) = logged();
    let Some(varnish) = in_front(&program) else {
        return skipped("varnish");
    };
    let next = || log.recv_timeout(STUCK).unwrap();
    let mut client = Client::connect(varnish.address);
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    assert_eq!(
        ask(&mut client, request("POST /persons", "", person)).status,
        201
    );
    assert_eq!(next(), "POST /persons HTTP/1.1 201");
    let mut get = |fields: &str| ask(&mut client, request("GET /persons/1", fields, ""));
    let first = get("");
    assert_eq!(next(), "GET /persons/1 HTTP/1.1 200");
    let tag = first.field("ETag").unwrap().to_owned();
    // From now on Varnish sends the tag, and the server responds with 304 without content. Within
    // the first millisecond Varnish does not ask the server, and exactly at its end Varnish 7.1
    // asks without a precondition.
    for (fields, status, content) in [
        (String::new(), 200, &*first.content),
        (format!("If-None-Match: {tag}\r\n"), 304, ""),
        (String::new(), 200, &*first.content),
    ] {
        thread::sleep(Duration::from_millis(10));
        let again = get(&fields);
        assert_eq!((again.status, &*again.content), (status, content));
        assert_eq!(again.field("ETag"), Some(&*tag));
        assert_eq!(next(), "GET /persons/1 HTTP/1.1 304");
    }
    // Varnish forwards the preconditions of a write, and later reads get the new state.
    let guard = format!("If-Match: {tag}\r\n");
    let put = request("PUT /persons/1", &guard, r#"{"person_name": "Tim"}"#);
    let mut writer = Client::connect(varnish.address);
    assert_eq!(ask(&mut writer, &put).status, 200);
    assert_eq!(ask(&mut writer, &put).status, 412);
    let deadline = Instant::now() + STUCK;
    let mut changed = get("");
    while changed.field("ETag") == Some(&*tag) {
        assert!(
            Instant::now() < deadline,
            "Varnish still serves the old state"
        );
        changed = get("");
    }
    assert!(changed.content.contains("Tim"), "{changed:?}");
    assert_eq!(get(&guard).status, 412);
}

/// Varnish merges equal requests into one. A request that waits must not delay other requests.
#[test]
fn varnish_does_not_delay_reads_behind_one_that_waits() {
    let (program, log) = logged();
    let Some(varnish) = in_front(&program) else {
        return skipped("varnish");
    };
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    let mut client = Client::connect(varnish.address);
    let created = ask(&mut client, request("POST /persons", "", person));
    let tag = created.field("ETag").unwrap();
    let mut waiter = Client::connect(varnish.address);
    let fields = format!("If-None-Match: {tag}\r\nPrefer: wait=50\r\n");
    waiter.send(request("GET /persons/1", &fields, ""));
    assert_eq!(
        ask(&mut client, request("GET /persons/1", "", "")).status,
        200
    );
    let put = format!("If-Match: {tag}\r\n");
    let put = request("PUT /persons/1", &put, r#"{"person_name": "Tim"}"#);
    assert_eq!(ask(&mut client, put).status, 200);
    let woken = waiter.receive();
    assert_eq!(woken.status, 200);
    assert!(woken.content.contains("Tim"), "{woken:?}");
    drop(log);
}
