//! nginx as a reverse proxy, configured as in `docs/proxies.md`, and the faults of clients that the
//! `tiny_http` door does not handle.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::faults::{Witness, announce_terabytes, do_not_read, drip, send_without_end, stall};
use crate::support::client::{Client, request};
use crate::support::proxy::{Proxy, block, skipped};
use crate::support::serving::Program;

/// A complete nginx configuration around the block of `docs/proxies.md`. Each of `backends` gets a
/// `server` line of its own.
fn configuration(directory: &str, backends: &[SocketAddr], port: u16) -> String {
    let block = block("nginx");
    let server = "    server 127.0.0.1:5000 max_fails=0;\n";
    assert!(block.contains(server));
    let servers = backends
        .iter()
        .map(|backend| server.replace("127.0.0.1:5000", &backend.to_string()));
    let mut shown = block.replace(server, &servers.collect::<String>());
    for (text, here) in [
        ("127.0.0.1:8080", format!("127.0.0.1:{port}")),
        ("10s", "2s".into()),
    ] {
        assert!(shown.contains(text), "{text}");
        shown = shown.replace(text, &here);
    }
    let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|name| format!("    {name}_temp_path {directory}/{name};\n"))
        .collect();
    // As in many installations, nginx compresses every response that it can.
    let gzip = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;";
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n    {gzip}\n{paths}{shown}}}\n"
    )
}

/// Starts nginx in front of these programs. `None` if nginx is not installed.
fn in_front(programs: &[&Program]) -> Option<Proxy> {
    in_front_below("/", programs)
}

/// Starts nginx in front of these programs. It forwards the requests below `prefix`, and removes
/// `prefix` from their targets.
pub fn in_front_below(prefix: &str, programs: &[&Program]) -> Option<Proxy> {
    Proxy::start("nginx", Duration::from_secs(20), |address, directory| {
        let path = directory.0.to_str().unwrap();
        let file = directory.0.join("nginx.conf");
        let backends: Vec<_> = programs.iter().map(|program| program.address).collect();
        let text = configuration(path, &backends, address.port());
        let text = match prefix {
            "/" => text,
            _ => text
                .replace("location / {", &format!("location {prefix} {{"))
                .replace("http://ifmatch;", "http://ifmatch/;"),
        };
        fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(path).arg("-c").arg(&file);
        command
    })
}

#[test]
fn nginx_closes_connections_that_tiny_http_leaves_open() {
    let program = Program::start(&[]);
    let Some(nginx) = in_front(&[&program]) else {
        return skipped("nginx");
    };
    let address = nginx.address;
    stall(address);
    let (_, threads, descriptors) = crate::faults::footprint(&program);
    drop(announce_terabytes(address));
    drip(address);
    send_without_end(address);
    // nginx has not forwarded any of these requests.
    let after = crate::faults::footprint(&program);
    assert!(
        after.1 <= threads + 32 && after.2 <= descriptors + 64,
        "{after:?}"
    );
    Witness::again(address).assert_unchanged();
}

#[test]
fn nginx_buffers_responses_that_a_client_does_not_read() {
    let program = Program::start(&[]);
    let Some(nginx) = in_front(&[&program]) else {
        return skipped("nginx");
    };
    drop(do_not_read(nginx.address));
    // nginx forwards the preconditions and the responses.
    let mut client = Client::connect(nginx.address);
    let fetched = client.ask(request("GET /persons/1", "", ""));
    let tag = fetched.field("ETag").unwrap();
    let guard = format!("If-None-Match: {tag}\r\n");
    assert_eq!(
        client.ask(request("GET /persons/1", &guard, "")).status,
        304
    );
    let content = r#"{"person_name": "Tim"}"#;
    let put = request("PUT /persons/1", &format!("If-Match: {tag}\r\n"), content);
    assert_eq!(client.ask(&put).status, 200);
    assert_eq!(client.ask(&put).status, 412);
}

/// A field value may have bytes outside ASCII: a site may set such a cookie, and browsers send it.
#[test]
fn nginx_serves_all_requests_that_the_door_can_read() {
    let start = |door: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
        Program::spawn(command.args(["--door", door, "--listen", "127.0.0.1:0"]))
    };
    let doors = [
        ("tiny_http", 502),
        #[cfg(feature = "hyper")]
        ("hyper", 200),
    ];
    for (door, status) in doors {
        let programs = [start(door), start(door)];
        let Some(nginx) = in_front(&[&programs[0], &programs[1]]) else {
            return skipped("nginx");
        };
        for field in ["X-Name: \u{e9}\r\n", "Cookie: name=\u{e9}\r\n"] {
            // nginx sends the request to one server and, because that server does not respond, to
            // the other.
            let mut client = Client::connect(nginx.address);
            let response = client.ask(request("GET /persons", field, ""));
            assert_eq!(response.status, status, "{door} {field}");
            for _ in 0..8 {
                let mut others = Client::connect(nginx.address);
                let response = others.ask(request("GET /persons", "", ""));
                assert_eq!(response.status, 200, "{door}, after {field}");
            }
        }
    }
}

/// nginx makes the tag of a response weak if it compresses the response, and If-Match is never true
/// for a weak tag.
#[test]
fn nginx_leaves_the_tags_strong() {
    let program = Program::start(&[]);
    let Some(nginx) = in_front(&[&program]) else {
        return skipped("nginx");
    };
    let mut client = Client::connect(nginx.address);
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    assert_eq!(client.ask(request("POST /persons", "", person)).status, 201);
    let accepts = "Accept-Encoding: gzip, br\r\n";
    let read = client.ask(request("GET /persons/1", accepts, ""));
    let tag = read.field("ETag").unwrap();
    let fields = format!("{accepts}If-Match: {tag}\r\n");
    let put = request("PUT /persons/1", &fields, r#"{"person_name": "Tim"}"#);
    assert_eq!(client.ask(put).status, 200, "{tag}");
}

/// Eight clients increment one number through nginx. After the first round one of the three servers
/// is killed.
#[cfg(feature = "postgres")]
#[test]
fn nginx_in_front_of_three_servers() {
    let Some(schema) = crate::support::cluster::Schema::new() else {
        return;
    };
    let mut programs = [0; 3].map(|_| Program::start(&["--store", &schema.url]));
    let Some(nginx) = in_front(&programs.each_ref()) else {
        return skipped("nginx");
    };
    let person = r#"{"person_id": "1", "person_name": "0"}"#;
    let created = Client::connect(nginx.address).ask(request("POST /persons", "", person));
    assert_eq!(created.status, 201);
    let add = |each: usize| {
        let mut client = Client::connect(nginx.address);
        let mut done = 0;
        loop {
            let read = client.ask(request("GET /persons/1", "", ""));
            let value: serde_json::Value = serde_json::from_str(&read.content).unwrap();
            let number: usize = value["person_name"].as_str().unwrap().parse().unwrap();
            if done == each {
                return number;
            }
            let guard = format!("If-Match: {}\r\n", read.field("ETag").unwrap());
            let content = format!(r#"{{"person_name": "{}"}}"#, number + 1);
            match client
                .ask(request("PUT /persons/1", &guard, &content))
                .status
            {
                200 => done += 1,
                status => assert_eq!(status, 412),
            }
        }
    };
    for round in 1..=2 {
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(25));
            }
        });
        assert_eq!(add(0), round * 8 * 25);
        programs[1].child.kill().unwrap();
    }
}
