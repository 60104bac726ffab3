//! The Varnish of `docs/proxies.md` in front: it asks the server each time, and is spared what it has.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Client, RawResponse, request};
use crate::support::proxy::{Proxy, block, skipped};
use crate::support::serving::{Program, program};

/// Longer than anything takes that is not stuck, and shorter than Varnish keeps what it is told
/// nothing about.
const STUCK: Duration = Duration::from_secs(30);

/// The response, with fields of Varnish that the description of the API does not have.
fn ask(client: &mut Client, request: impl AsRef<[u8]>) -> RawResponse {
    client.send(request);
    client.receive()
}

/// Varnish in front of it; nothing where it is not installed.
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

/// A server, and what it tells of each response: the request line and the status.
fn logged() -> (Program, Receiver<String>) {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--access-log"]);
    let mut program = Program::spawn(command.stderr(Stdio::piped()));
    let (tell, told) = channel();
    let lines = BufReader::new(program.child.stderr.take().unwrap()).lines();
    thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut parts = line.split('"').skip(1);
            let asked = parts.next().unwrap_or_default().to_owned();
            let status = parts.next().unwrap_or_default().trim_start();
            let status = status.split(' ').next().unwrap_or_default();
            if tell.send(format!("{asked} {status}")).is_err() {
                return;
            }
        }
    });
    (program, told)
}

#[test]
fn varnish_in_front_revalidates() {
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
    // From now on the server is asked whether it has changed; what has not, it does not send. Within
    // the first millisecond it is not asked, and at the instant of its end Varnish 7.1 asks without
    // a precondition.
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
    // The preconditions of a write come through, and everybody sees what it did.
    let guard = format!("If-Match: {tag}\r\n");
    let put = request("PUT /persons/1", &guard, r#"{"person_name": "Tim"}"#);
    let mut writer = Client::connect(varnish.address);
    assert_eq!(ask(&mut writer, &put).status, 200);
    assert_eq!(ask(&mut writer, &put).status, 412);
    let deadline = Instant::now() + STUCK;
    let mut changed = get("");
    while changed.field("ETag") == Some(&*tag) {
        assert!(Instant::now() < deadline, "the old one is kept");
        changed = get("");
    }
    assert!(changed.content.contains("Tim"), "{changed:?}");
    assert_eq!(get(&guard).status, 412);
}

/// Varnish asks once for all that ask for the same; a request that waits must not hold up others.
#[test]
fn varnish_in_front_lets_a_reader_wait() {
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
