//! The nginx of `docs/proxies.md` in front, with the faults that the `tiny_http` door leaves open.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use crate::faults::{Witness, announce_terabytes, do_not_read, drip, send_without_end, stall};
use crate::support::client::{Client, request};
use crate::support::proxy::{Proxy, block, skipped};
use crate::support::serving::Program;

/// The configuration of `docs/proxies.md`, with these servers each in a line of its own, in a file that says
/// no more than nginx has to know.
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
    // Many configurations compress whatever they can, for all servers.
    let gzip = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;";
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n    access_log off;\n    {gzip}\n{paths}{shown}}}\n"
    )
}

/// nginx in front of these; nothing where it is not installed.
fn in_front(programs: &[&Program]) -> Option<Proxy> {
    in_front_below("/", programs)
}

/// The same, with what it passes on below this path, which the servers do not see.
pub fn in_front_below(place: &str, programs: &[&Program]) -> Option<Proxy> {
    Proxy::start("nginx", Duration::from_secs(20), |address, directory| {
        let path = directory.0.to_str().unwrap();
        let file = directory.0.join("nginx.conf");
        let backends: Vec<_> = programs.iter().map(|program| program.address).collect();
        let text = configuration(path, &backends, address.port());
        let text = match place {
            "/" => text,
            _ => text
                .replace("location / {", &format!("location {place} {{"))
                .replace("http://ifmatch;", "http://ifmatch/;"),
        };
        fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(path).arg("-c").arg(&file);
        command
    })
}

#[test]
fn nginx_in_front_closes_what_tiny_http_leaves_open() {
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
    // None of that has come through.
    let after = crate::faults::footprint(&program);
    assert!(
        after.1 <= threads + 32 && after.2 <= descriptors + 64,
        "{after:?}"
    );
    Witness::again(address).assert_unchanged();
}

#[test]
fn nginx_in_front_reads_what_others_do_not() {
    let program = Program::start(&[]);
    let Some(nginx) = in_front(&[&program]) else {
        return skipped("nginx");
    };
    drop(do_not_read(nginx.address));
    // The preconditions come through, and so do the responses.
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

/// The server of a page may set a cookie in any bytes, and then the browser sends them.
#[test]
fn nginx_in_front_serves_all_but_what_tiny_http_cannot_read() {
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
            // nginx sends it to the one, and because that does not answer, to the other.
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

/// nginx makes the tag of what it compresses weak, and If-Match is never true for a weak tag.
#[test]
fn nginx_in_front_leaves_the_tags_strong() {
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

/// Everybody adds to a number, whichever server gets it; one of them is killed meanwhile.
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
