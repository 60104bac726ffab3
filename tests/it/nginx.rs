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

/// The block of the README, in a file that says no more than nginx has to know.
fn configuration(directory: &str, backend: SocketAddr, port: u16) -> String {
    let readme = include_str!("../../README.md");
    let block = readme.split("```nginx\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let mut shown = block.to_owned();
    for (text, here) in [
        ("127.0.0.1:5000", backend.to_string()),
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

struct Nginx {
    child: Child,
    address: SocketAddr,
    _directory: Directory,
}

impl Nginx {
    /// nginx in front of the program; nothing where it is not installed.
    fn start(program: &Program) -> Option<Self> {
        // It cannot be asked which port it took. This one is free, or was a moment ago.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let directory = Directory::new(&format!("nginx-{}", address.port()));
        let path = directory.0.to_str().unwrap();
        let file = directory.0.join("nginx.conf");
        let text = configuration(path, program.address, address.port());
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
    let Some(nginx) = Nginx::start(&program) else {
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
    let Some(nginx) = Nginx::start(&program) else {
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

#[expect(clippy::print_stderr, reason = "so that nobody takes it for tested")]
fn skipped() {
    eprintln!("skipped: nginx is not installed");
}
