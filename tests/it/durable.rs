//! The built program on an `SQLite` file: two servers on one file, a full disk, and SIGKILL.

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::sqlite::File;
use crate::support::client::{Client, RawResponse, request};
use crate::support::directory::Directory;
use crate::support::serving::{Program, program};

fn start(file: &File) -> Program {
    Program::start(&["--store", &file.argument()])
}

fn put(tag: &str, name: &str) -> String {
    let content = format!(r#"{{"person_name": "{name}"}}"#);
    request("PUT /persons/1", &format!("If-Match: {tag}\r\n"), &content)
}

fn post(id: impl std::fmt::Display) -> String {
    let content = format!(r#"{{"person_id": "{id}", "person_name": "Wim"}}"#);
    request("POST /persons", "", &content)
}

fn get(target: &str) -> String {
    request(&format!("GET {target}"), "", "")
}

fn tag(response: &RawResponse) -> String {
    response.field("ETag").unwrap().to_owned()
}

/// The response is 503 with Retry-After.
#[track_caller]
fn is_503(response: &RawResponse) {
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.field("Retry-After"), Some("1"));
    let message = "The store failed; try again in a second";
    assert_eq!(response.message(), message);
}

#[test]
fn two_programs_serve_one_file() {
    let file = File::default();
    let programs = [start(&file), start(&file)];
    let mut clients = programs.each_ref().map(|it| Client::connect(it.address));
    let [one, two] = &mut clients;
    let created = one.ask(post(1));
    assert_eq!(created.status, 201);
    let read = two.ask(get("/persons/1"));
    assert_eq!((read.status, tag(&read)), (200, tag(&created)));
    let replaced = two.ask(put(&tag(&created), "Tim"));
    assert_eq!(replaced.status, 200);
    let late = one.ask(put(&tag(&created), "Tom"));
    assert_eq!((late.status, tag(&late)), (412, tag(&replaced)));
    let lists = [one, two].map(|client| client.ask(get("/persons")));
    assert_eq!(tag(&lists[0]), tag(&lists[1]));
    assert_eq!(lists[0].content, lists[1].content);

    // The shell locks the file for longer than a write waits.
    let shell = file.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    for client in &mut clients {
        is_503(&client.ask(put(&tag(&replaced), "Tom")));
        is_503(&client.ask(post(2)));
        let read = client.ask(get("/persons/1"));
        assert_eq!(read.content, replaced.content, "reads need no lock");
    }
    shell.execute_batch("ROLLBACK").unwrap();
    for (client, id) in clients.iter_mut().zip([2, 3]) {
        assert_eq!(client.ask(post(id)).status, 201);
    }
    assert_eq!(tag(&clients[0].ask(get("/persons/1"))), tag(&replaced));
}

/// The first program creates the file, and the others find it complete.
#[test]
fn several_programs_start_on_one_new_file() {
    for _ in 0..10 {
        let file = File::default();
        let programs: Vec<_> = thread::scope(|scope| {
            let started = [0; 4].map(|_| scope.spawn(|| start(&file)));
            started.map(|it| it.join().unwrap()).into()
        });
        for (id, program) in programs.iter().enumerate() {
            assert_eq!(Client::connect(program.address).ask(post(id)).status, 201);
        }
        for program in &programs {
            let list = Client::connect(program.address).ask(get("/persons"));
            assert_eq!(list.content.matches("person_id").count(), 4);
        }
    }
}

/// Also with relative names that have a special meaning for `SQLite`.
#[test]
fn a_relative_file_is_found_again_in_the_same_directory() {
    let directory = Directory::new("relative");
    for name in [":memory:", "file:x", "persons.db"] {
        for found in ["[]\n", "[\n  {\n"] {
            let mut command = program();
            command.args([
                "--listen",
                "127.0.0.1:0",
                "--store",
                &format!("sqlite:{name}"),
            ]);
            let program = Program::spawn(command.current_dir(&directory.0));
            let mut client = Client::connect(program.address);
            let list = client.ask(get("/persons")).content;
            assert!(list.starts_with(found), "{name}: {list}");
            client.ask(post(1));
        }
        assert!(directory.0.join(name).exists(), "{name}");
    }
}

/// Each client increments a number: it reads the number, writes it, and tries again after a 412.
#[test]
fn no_update_is_lost_between_two_programs() {
    const EACH: usize = 50;
    let file = File::default();
    let programs = [start(&file), start(&file)];
    let person = r#"{"person_id": "1", "person_name": "0"}"#;
    let created = Client::connect(programs[0].address).ask(request("POST /persons", "", person));
    assert_eq!(created.status, 201);
    let number = |response: &RawResponse| {
        let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
        value["person_name"]
            .as_str()
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    thread::scope(|scope| {
        for writer in 0..4 {
            let mut client = Client::connect(programs[writer % 2].address);
            scope.spawn(move || {
                let mut done = 0;
                while done < EACH {
                    let read = client.ask(get("/persons/1"));
                    let next = (number(&read) + 1).to_string();
                    match client.ask(put(&tag(&read), &next)).status {
                        200 => done += 1,
                        status => assert_eq!(status, 412),
                    }
                }
            });
        }
    });
    for program in &programs {
        let read = Client::connect(program.address).ask(get("/persons/1"));
        assert_eq!(number(&read), 4 * EACH);
    }
}

/// Runs `then` with a file system of a megabyte mounted on `directory`. Only this command sees the
/// mount.
#[cfg(target_os = "linux")]
fn on_a_small_disk(directory: &Directory, then: &str) -> Command {
    let script = format!("mount -t tmpfs -o size=1m none \"$0\" && {then}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    command.arg(&directory.0);
    command
}

/// Whether a test may mount a file system; if not, it prints that it is skipped.
#[cfg(target_os = "linux")]
#[expect(
    clippy::print_stderr,
    reason = "the output must say that a test is skipped"
)]
fn may_mount(directory: &Directory) -> bool {
    match on_a_small_disk(directory, "true").output() {
        Ok(output) if output.status.success() => true,
        refused => {
            eprintln!("skipped: a test may not mount a file system here: {refused:?}");
            false
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk() {
    let directory = Directory::new("full");
    if !may_mount(&directory) {
        return;
    }
    let mut command = on_a_small_disk(&directory, "exec \"$@\"");
    command
        .arg(program().get_program())
        .args(program().get_args());
    let store = format!("sqlite:{}/persons.db", directory.0.display());
    command.args(["--listen", "127.0.0.1:0", "--store", &store]);
    let program = Program::spawn(&mut command);
    let inside = format!("/proc/{}/root{}", program.child.id(), directory.0.display());
    let filler = format!("{inside}/filler");
    let mut client = Client::connect(program.address);
    let mut ids = Vec::new();
    for round in 0..3 {
        // The filler takes the free space, so most writes fail.
        assert!(
            std::fs::write(&filler, vec![0; 1 << 20]).is_err(),
            "the disk is full"
        );
        let mut full = 0;
        for number in 0..100 {
            let id = format!("{round}-{number:02}");
            let before = client.ask(get("/persons"));
            let created = client.ask(post(&id));
            if created.status == 201 {
                ids.push(id);
                continue;
            }
            is_503(&created);
            full += 1;
            let after = client.ask(get("/persons"));
            assert_eq!((tag(&after), after.content), (tag(&before), before.content));
        }
        assert!(full > 50, "{full}");
        std::fs::remove_file(&filler).unwrap();
        for number in 0..5 {
            let id = format!("{round}-free-{number}");
            assert_eq!(client.ask(post(&id)).status, 201);
            ids.push(id);
        }
        let list = client.ask(get("/persons"));
        let list: Vec<serde_json::Value> = serde_json::from_str(&list.content).unwrap();
        let listed: Vec<_> = list
            .iter()
            .map(|it| it["person_id"].as_str().unwrap())
            .collect();
        ids.sort();
        assert_eq!(listed, ids, "exactly the acknowledged persons exist");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_disk() {
    let directory = Directory::new("read-only");
    if !may_mount(&directory) {
        return;
    }
    let file = File::default();
    drop(start(&file));
    let then = "cp \"$1\" \"$0\" && mount -o remount,ro \"$0\" && shift && exec \"$@\"";
    let mut command = on_a_small_disk(&directory, then);
    command.arg(file.path()).arg(env!("CARGO_BIN_EXE_ifmatch"));
    let path = format!("{}/persons.db", directory.0.display());
    let output = command
        .args(["--store", &format!("sqlite:{path}")])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!("ifmatch: cannot use the store {path}: it can only be read\n")
    );
    assert_eq!(output.status.code(), Some(1));
}

/// A version of a person that a writer has seen.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    tag: String,
    name: String,
}

/// The writes of one writer to one id.
#[derive(Default)]
struct Writes {
    /// The last acknowledged version, or `None` if the person was removed or never created.
    acknowledged: Option<Known>,
    /// The name of a write without a response. It is empty for a removal.
    under_way: Option<String>,
}

/// A client that writes while the program is killed. No other writer uses its ids.
struct Writer {
    writes: [(String, Writes); 3],
    /// Every tag of a response, with the name of that version.
    tags: HashMap<String, String>,
    count: usize,
}

impl Writer {
    fn new(writer: usize) -> Self {
        Self {
            writes: [0, 1, 2].map(|number| (format!("{writer}-{number}"), Writes::default())),
            tags: HashMap::new(),
            count: 0,
        }
    }

    /// Creates, replaces and removes persons as long as responses arrive.
    fn write(&mut self, mut client: Client, written: &AtomicBool) {
        loop {
            self.count += 1;
            let name = format!("name {}", self.count);
            let (id, writes) = &mut self.writes[self.count % 3];
            let guard = match &writes.acknowledged {
                None => "If-None-Match: *\r\n".to_owned(),
                Some(known) => format!("If-Match: {}\r\n", known.tag),
            };
            let removes = writes.acknowledged.is_some() && self.count % 7 == 0;
            let (method, wanted, content) = if removes {
                ("DELETE", String::new(), String::new())
            } else {
                let content = format!(r#"{{"person_name": "{name}"}}"#);
                ("PUT", name, content)
            };
            writes.under_way = Some(wanted);
            let asked = request(&format!("{method} /persons/{id}"), &guard, &content);
            let Ok(response) = client.try_ask(asked) else {
                return;
            };
            assert!([200, 201, 204].contains(&response.status), "{response:?}");
            let name = writes.under_way.take().unwrap();
            writes.acknowledged = (!removes).then(|| {
                let tag = tag(&response);
                let before = self.tags.insert(tag.clone(), name.clone());
                assert_eq!(before, None, "a tag came back");
                Known { tag, name }
            });
            written.store(true, Ordering::SeqCst);
        }
    }

    /// Checks that every person is in the acknowledged state, or in that of the write without a
    /// response.
    fn check(&mut self, client: &mut Client) {
        for (id, writes) in &mut self.writes {
            let response = client.ask(get(&format!("/persons/{id}")));
            let found = (response.status == 200).then(|| {
                let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
                let name = value["person_name"].as_str().unwrap().to_owned();
                let tag = tag(&response);
                Known { tag, name }
            });
            let name = found.as_ref().map_or("", |found| &found.name);
            let done = writes.under_way.take().is_some_and(|wanted| wanted == name);
            if done && let Some(Known { tag, name }) = found.clone() {
                assert_eq!(self.tags.insert(tag, name), None, "a tag came back");
            }
            if !done {
                assert_eq!(
                    found, writes.acknowledged,
                    "{id}: an acknowledged write is lost"
                );
            }
            writes.acknowledged = found;
        }
    }
}

/// Unpredictable numbers, from the time of day.
fn random() -> impl FnMut(u64) -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut state = u64::from(since.unwrap().subsec_nanos()) + 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    }
}

#[cfg(unix)]
#[test]
fn acknowledged_writes_survive_sigkill_at_any_moment() {
    let file = File::default();
    let mut random = random();
    let mut writers = [0, 1, 2, 3].map(Writer::new);
    for _ in 0..50 {
        let mut program = start(&file);
        let mut client = Client::connect(program.address);
        for writer in &mut writers {
            writer.check(&mut client);
        }
        let integrity: String = file
            .shell()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(integrity, "ok");
        let written = AtomicBool::new(false);
        thread::scope(|scope| {
            for writer in &mut writers {
                let (client, written) = (Client::connect(program.address), &written);
                scope.spawn(move || writer.write(client, written));
            }
            let deadline = Instant::now() + Duration::from_secs(20);
            while !written.load(Ordering::SeqCst) && Instant::now() < deadline {
                thread::yield_now();
            }
            thread::sleep(Duration::from_micros(random(100_000)));
            program.child.kill().unwrap();
        });
        assert!(written.into_inner(), "no write was acknowledged");
    }
    let count: usize = writers.iter().map(|writer| writer.tags.len()).sum();
    let mut tags: Vec<_> = writers
        .iter()
        .flat_map(|writer| writer.tags.keys())
        .collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count, "two writers never get the same tag");
}

/// The program is killed before, while and after it creates the file.
#[cfg(unix)]
#[test]
fn a_program_killed_at_its_first_start_starts_again() {
    let mut random = random();
    for _ in 0..50 {
        let file = File::default();
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--store", &file.argument()]);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(random(30_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let program = start(&file);
        let mut client = Client::connect(program.address);
        assert_eq!(client.ask(get("/persons")).content, "[]\n");
        assert_eq!(client.ask(post(1)).status, 201);
    }
}
