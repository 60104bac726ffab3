//! The README's nginx in front, with the faults that the `tiny_http` door leaves open.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, request};
use crate::directory::Directory;
use crate::faults::{Witness, announce_terabytes, do_not_read, drip, send_without_end, stall};
use crate::serving::Program;

/// The configuration of the README, with these servers each in a line of its own, in a file that says
/// no more than nginx has to know.
fn configuration(directory: &str, backends: &[SocketAddr], port: u16) -> String {
    let readme = include_str!("../../README.md");
    let block = readme.split("```nginx\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let server = "    server 127.0.0.1:5000;\n";
    assert!(block.contains(server));
    let servers = backends
        .iter()
        .map(|backend| format!("    server {backend};\n"));
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
    format!(
        "daemon off;\nworker_processes 1;\npid {directory}/pid;\nerror_log {directory}/log;\n\
         events {{ worker_connections 1024; }}\nhttp {{\n    access_log off;\n{paths}{shown}}}\n"
    )
}

pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    _directory: Directory,
}

impl Nginx {
    /// nginx in front of these; nothing where it is not installed.
    fn start(programs: &[&Program]) -> Option<Self> {
        Self::start_below("/", programs)
    }

    /// The same, with what it passes on below this path, which the servers do not see.
    pub fn start_below(place: &str, programs: &[&Program]) -> Option<Self> {
        // It cannot be asked which port it took. This one is free, or was a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let directory = Directory::new(&format!("nginx-{}", address.port()));
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
        let mut child = command.stderr(Stdio::null()).spawn().ok()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "nginx has ended");
            assert!(Instant::now() < deadline, "nginx does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self {
            child,
            address,
            _directory: directory,
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers end with it when it is told, and not when it is killed.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-s", "TERM", &id]).status();
        let _ = self.child.wait();
    }
}

#[test]
fn nginx_in_front_closes_what_tiny_http_leaves_open() {
    let program = Program::start(&[]);
    let Some(nginx) = Nginx::start(&[&program]) else {
        return skipped();
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
    Witness::again(address).finds_all_well();
}

#[test]
fn nginx_in_front_reads_what_others_do_not() {
    let program = Program::start(&[]);
    let Some(nginx) = Nginx::start(&[&program]) else {
        return skipped();
    };
    drop(do_not_read(nginx.address));
    // The preconditions come through, and so do the answers.
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

/// Everybody adds to a number, whichever server gets it; one of them is killed meanwhile.
#[cfg(feature = "postgres")]
#[test]
fn nginx_in_front_of_three_servers() {
    let Some(schema) = crate::cluster::Schema::new() else {
        return;
    };
    let mut programs = [0; 3].map(|_| Program::start(&["--store", &schema.url]));
    let Some(nginx) = Nginx::start(&programs.each_ref()) else {
        return skipped();
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
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| add(25));
            }
        });
        assert_eq!(add(0), round * 8 * 25);
        programs[1].child.kill().unwrap();
    }
}

#[expect(clippy::print_stderr, reason = "so that nobody takes it for tested")]
pub fn skipped() {
    eprintln!("skipped: nginx is not installed");
}
