//! The built program on a file: two at once, a disk that is full, and SIGKILL.

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

    // The shell keeps the file locked for longer than a write waits.
    let shell = file.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    for client in &mut clients {
        is_503(&client.ask(put(&tag(&replaced), "Tom")));
        is_503(&client.ask(post(2)));
        let read = client.ask(get("/persons/1"));
        assert_eq!(read.content, replaced.content, "reads go on");
    }
    shell.execute_batch("ROLLBACK").unwrap();
    for (client, id) in clients.iter_mut().zip([2, 3]) {
        assert_eq!(client.ask(post(id)).status, 201);
    }
    assert_eq!(tag(&clients[0].ask(get("/persons/1"))), tag(&replaced));
}

/// Whichever of them is first makes the file, and the others find it whole.
#[test]
fn several_programs_begin_with_one_file() {
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

/// Not even where the name means something else to `SQLite`.
#[test]
fn what_is_kept_is_found_again_in_the_same_directory() {
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

/// Each client adds to a number: it reads it, writes it, and tries again after a 412.
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

/// What `then` runs is on a file system of its own, of a megabyte, mounted on `directory` where
/// nobody else sees it.
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
#[expect(clippy::print_stderr, reason = "what is skipped has to be known")]
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
        // The filler takes the rest of the space, and then the clients compete for it.
        assert!(
            std::fs::write(&filler, vec![0; 1 << 20]).is_err(),
            "it is full"
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
        assert_eq!(listed, ids, "those who were acknowledged, and no others");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_can_only_be_read() {
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

/// A person as one writer knows it.
#[derive(Clone, Debug, PartialEq)]
struct Known {
    tag: String,
    name: String,
}

/// What one writer knows of one id.
#[derive(Default)]
struct Fate {
    /// What was acknowledged last, or none when it was removed or never was there.
    acknowledged: Option<Known>,
    /// The name that was sent and not acknowledged; empty for a removal.
    under_way: Option<String>,
}

/// A client that writes while the program is killed. Its ids are its own.
struct Writer {
    fates: [(String, Fate); 3],
    /// Every tag that it got, with the name of that version.
    tags: HashMap<String, String>,
    count: usize,
}

impl Writer {
    fn new(writer: usize) -> Self {
        Self {
            fates: [0, 1, 2].map(|number| (format!("{writer}-{number}"), Fate::default())),
            tags: HashMap::new(),
            count: 0,
        }
    }

    /// Creates, replaces and removes as long as there are answers.
    fn write(&mut self, mut client: Client, written: &AtomicBool) {
        loop {
            self.count += 1;
            let name = format!("name {}", self.count);
            let (id, fate) = &mut self.fates[self.count % 3];
            let guard = match &fate.acknowledged {
                None => "If-None-Match: *\r\n".to_owned(),
                Some(known) => format!("If-Match: {}\r\n", known.tag),
            };
            let removes = fate.acknowledged.is_some() && self.count % 7 == 0;
            let (method, wanted, content) = if removes {
                ("DELETE", String::new(), String::new())
            } else {
                let content = format!(r#"{{"person_name": "{name}"}}"#);
                ("PUT", name, content)
            };
            fate.under_way = Some(wanted);
            let asked = request(&format!("{method} /persons/{id}"), &guard, &content);
            let Ok(response) = client.try_ask(asked) else {
                return;
            };
            assert!([200, 201, 204].contains(&response.status), "{response:?}");
            let name = fate.under_way.take().unwrap();
            fate.acknowledged = (!removes).then(|| {
                let tag = tag(&response);
                let before = self.tags.insert(tag.clone(), name.clone());
                assert_eq!(before, None, "a tag came back");
                Known { tag, name }
            });
            written.store(true, Ordering::SeqCst);
        }
    }

    /// Finds every person as acknowledged, or as was under way.
    fn check(&mut self, client: &mut Client) {
        for (id, fate) in &mut self.fates {
            let response = client.ask(get(&format!("/persons/{id}")));
            let found = (response.status == 200).then(|| {
                let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
                let name = value["person_name"].as_str().unwrap().to_owned();
                let tag = tag(&response);
                Known { tag, name }
            });
            let name = found.as_ref().map_or("", |found| &found.name);
            let done = fate.under_way.take().is_some_and(|wanted| wanted == name);
            if done && let Some(Known { tag, name }) = found.clone() {
                assert_eq!(self.tags.insert(tag, name), None, "a tag came back");
            }
            if !done {
                assert_eq!(
                    found, fate.acknowledged,
                    "{id}: what was acknowledged is lost"
                );
            }
            fate.acknowledged = found;
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
fn killed_at_any_moment_it_has_what_it_acknowledged() {
    let file = File::default();
    let mut random = random();
    let mut writers = [0, 1, 2, 3].map(Writer::new);
    for _ in 0..50 {
        let mut program = start(&file);
        let mut client = Client::connect(program.address);
        for writer in &mut writers {
            writer.check(&mut client);
        }
        let sound: String = file
            .shell()
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(sound, "ok");
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
    let told: usize = writers.iter().map(|writer| writer.tags.len()).sum();
    let mut tags: Vec<_> = writers
        .iter()
        .flat_map(|writer| writer.tags.keys())
        .collect();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), told, "no two writers have had one tag");
}

/// Killed while it makes the file, too.
#[cfg(unix)]
#[test]
fn killed_at_its_first_start_it_starts_again() {
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
