//! The vectors against the running server, and the program that runs them against any server.

#[cfg(feature = "hyper")]
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ifmatch::{Collection, Collections, Document, Id, Profile, Store, Swap};

use crate::conformance::id;
use crate::support::client::Client;
#[cfg(feature = "hyper")]
use crate::support::serving::Program;
use crate::support::serving::{self, Serving, is_hyper};

#[path = "../judgement/vectors.rs"]
mod model;

use model::{Case, cases};

#[test]
fn s13_the_vectors() {
    for unconditional_writes in [false, true] {
        let (store, kept) = serving::store();
        let mut options = serving::options();
        options.policy.profile = Profile::Strict;
        options.policy.unconditional_writes = unconditional_writes;
        let notes = Collection::new("notes").unwrap();
        options.policy.collections = Collections::new([notes]).unwrap();
        let serving = Serving::with(store.clone(), options);
        // No document of this server can be in the other states.
        let cases: Vec<_> = cases()
            .into_iter()
            .filter(|it| ["strong", "absent"].contains(&it.state.as_str()))
            .collect();
        let ids: Vec<_> = (0..cases.len()).map(|it| id(&it.to_string())).collect();
        for (case, id) in cases.iter().zip(&ids) {
            if case.state == "strong" {
                create_an_hour_ago(&*store, id);
            }
        }
        let mut client = serving.client();
        let run = cases.iter().zip(&ids);
        let run = run.filter(|(case, id)| responds_as_allowed(&mut client, &*store, id, case));
        let run = run.count();
        assert!(run > 350, "{run}");
        drop((serving, kept));
    }
}

/// Some cases have a date one second after the change, which must not be in the future.
fn create_an_hour_ago(store: &dyn Store, id: &Id) {
    let document = Document::from_stored(r#"{"title":"Milk"}"#).unwrap();
    let hour_ago = SystemTime::now() - Duration::from_secs(3600);
    let swap = Swap::create("notes", id, &document);
    store.swap(&swap, hour_ago).unwrap();
}

/// Sends the request of the case and checks the response. Returns `false` if the door cannot read
/// the request.
fn responds_as_allowed(client: &mut Client, store: &dyn Store, id: &Id, case: &Case) -> bool {
    let state = || store.get("notes", id).unwrap().map(|it| it.version);
    let seconds = |at: SystemTime| {
        let seconds = at.duration_since(UNIX_EPOCH).unwrap().as_secs();
        i64::try_from(seconds).unwrap()
    };
    let (before, now) = (state(), seconds(SystemTime::now()));
    let tag = before.map(|it| it.entity_tag().opaque().to_owned());
    let modified = before.map_or(now - 3600, |it| seconds(it.into()));
    let lines = case.lines(tag.as_deref().unwrap_or("never"), modified, now);
    if !is_hyper() && !lines.iter().all(|(_, value)| value.is_ascii()) {
        // tiny_http closes the connection if a field line is not ASCII.
        return false;
    }
    let content = if case.method == "PUT" {
        r#"{"title":"Tea"}"#
    } else {
        ""
    };
    let mut request = format!("{} /notes/{id} HTTP/1.1\r\nHost: x\r\n", case.method).into_bytes();
    for (name, value) in lines {
        request.extend([name.as_bytes(), b": ", &value, b"\r\n"].concat());
    }
    let length = content.len();
    request.extend(format!("Content-Length: {length}\r\n\r\n{content}").into_bytes());
    client.send(request);
    let response = match case.method.as_str() {
        "HEAD" => client.receive_head(),
        _ => client.receive(),
    };
    let performed = match case.method.as_str() {
        "PUT" | "DELETE" => state() != before,
        _ => response.status == 200,
    };
    let names: Vec<_> = response.fields.into_iter().map(|(name, _)| name).collect();
    case.allows(response.status, performed, &names);
    true
}

/// No case fails, whether a write without If-Match gets 428 or is performed. The README shows lines
/// of the output.
#[cfg(feature = "hyper")]
#[test]
#[expect(clippy::print_stderr, reason = "the output names what is skipped")]
fn run_py_finds_nothing() {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|it| it.status.success()) {
        return eprintln!("skipped: python3 is not installed");
    }
    for flags in [&["--strict"][..], &["--strict", "--unconditional-writes"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
        command.args([
            "--door",
            "hyper",
            "--listen",
            "127.0.0.1:0",
            "--collection",
            "notes",
        ]);
        let program = Program::spawn(command.args(flags));
        let url = format!("http://{}/notes/{{n}}", program.address);
        let run = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/run.py");
        let output = Command::new("python3")
            .args([run, "--strong", &url, "--absent", &url])
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{printed}{errors}");
        assert!(!printed.contains("FAILED"), "{printed}");
        let readme = include_str!("../../README.md");
        let shown = readme.split("$ python3 vectors/run.py").nth(1).unwrap();
        let shown = shown.split("```").next().unwrap();
        let rows = shown
            .lines()
            .skip(1)
            .filter(|line| !["", "..."].contains(line));
        let strict = flags.len() == 1;
        for row in rows.filter(|_| strict) {
            assert!(printed.contains(row), "{row} is not in {printed}");
        }
    }
}
