//! A database that hangs: the test stops some or all of its processes, and continues them later.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::{Swap, SwapError};
use postgres::Client as Shell;

use crate::conformance::{PERSONS, create, id, now, person};
use crate::support::client::{Client, request};
use crate::support::cluster::{Cluster, Schema};
use crate::support::serving::Program;

/// The limit for the time of any response.
const BOUND: Duration = Duration::from_secs(8);

/// A wait that takes longer than this has failed.
const STUCK: Duration = Duration::from_secs(20);

/// Stopped processes of the test's own cluster. They continue when this is dropped.
struct Stopped(Vec<String>);

impl Stopped {
    fn new(processes: &[u32]) -> Self {
        let stopped = Self(processes.iter().map(u32::to_string).collect());
        assert!(stopped.signal("STOP"));
        stopped
    }

    /// Stops all processes of a cluster.
    fn all(cluster: &Cluster, schema: &Schema) -> Self {
        let others = "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()";
        let others = schema.rows(others);
        let mut processes = vec![cluster.postmaster()];
        processes.extend(others.lines().map(|pid| pid.parse::<u32>().unwrap()));
        Self::new(&processes)
    }

    fn signal(&self, signal: &str) -> bool {
        let kill = Command::new("kill")
            .args(["-s", signal])
            .args(&self.0)
            .status();
        kill.unwrap().success()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Some processes may have ended.
        self.signal("CONT");
    }
}

#[track_caller]
fn wait_until(condition: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < STUCK, "{condition}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn start(schema: &Schema) -> Program {
    let mut arguments = vec!["--collection", "notes"];
    arguments.extend(schema.arguments());
    let program = Program::start(&arguments);
    for id in 0..100 {
        put(&program, &id.to_string());
    }
    // Concurrent requests make the program open several connections.
    ask_all(&program, 100, |id| {
        request(&format!("GET /notes/{id}"), "", "")
    });
    program
}

fn put(program: &Program, id: &str) {
    let put = request(&format!("PUT /notes/{id}"), "If-None-Match: *\r\n", "{}");
    let response = Client::connect(program.address).ask(put);
    assert_eq!(response.status, 201, "{response:?}");
}

/// Sends requests of several clients at once, and returns the number of responses by status. Checks
/// that each arrives within `BOUND`, and that only those with 503 have Retry-After.
fn ask_all(
    program: &Program,
    clients: usize,
    line: impl Fn(usize) -> String + Sync,
) -> BTreeMap<u16, usize> {
    let mut statuses = BTreeMap::new();
    thread::scope(|scope| {
        let ask = |client| {
            let request = line(client);
            scope.spawn(move || {
                let start = Instant::now();
                let response = Client::connect(program.address).ask(request);
                (response, start.elapsed())
            })
        };
        let asking: Vec<_> = (0..clients).map(ask).collect();
        for asked in asking {
            let (response, took) = asked.join().unwrap();
            assert!(took < BOUND, "{took:?}: {response:?}");
            let retry = (response.status == 503).then_some("1");
            assert_eq!(response.field("Retry-After"), retry);
            *statuses.entry(response.status).or_default() += 1;
        }
    });
    statuses
}

fn all_kinds(id: usize) -> String {
    match id % 4 {
        0 => request(&format!("GET /notes/{id}"), "", ""),
        1 => request("GET /notes", "", ""),
        2 => request(&format!("DELETE /notes/{id}"), "If-Match: *\r\n", ""),
        _ => request(&format!("PUT /notes/{id}"), "If-Match: *\r\n", "{}"),
    }
}

/// The number of descriptors of a program.
fn descriptors(program: &Program) -> usize {
    let open = format!("/proc/{}/fd", program.child.id());
    fs::read_dir(open).unwrap().count()
}

/// The number of threads of a program that call the store. They exist for a while after the call.
fn callers(program: &Program) -> usize {
    let threads = format!("/proc/{}/task", program.child.id());
    let threads = fs::read_dir(threads).unwrap();
    // A thread may end in the meantime.
    let names = threads.map(|it| fs::read_to_string(it.unwrap().path().join("comm")));
    let calls = ["ifmatch-job\n", "ifmatch-store\n"];
    names
        .filter(|name| name.as_ref().is_ok_and(|it| calls.contains(&it.as_str())))
        .count()
}

fn connections(shell: &mut Shell) -> i64 {
    let count = "SELECT count(*) FROM pg_stat_activity \
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    shell.query_one(count, &[]).unwrap().get(0)
}

/// Waits until the program uses the database again, and has released the threads, descriptors and
/// connections of the calls that hung.
fn wait_until_it_recovers(program: &Program, schema: &Schema, before: usize) {
    wait_until("the program serves again", || {
        let get = request("GET /notes/0", "", "");
        [200, 404].contains(&Client::connect(program.address).ask(get).status)
    });
    put(program, "new");
    let mut shell = schema.shell();
    wait_until("spare connections are closed", || {
        connections(&mut shell) <= 8
    });
    // The hyper door keeps its threads for ten seconds. A connection to the database has four
    // descriptors.
    wait_until("threads and descriptors are released", || {
        callers(program) == 0 && descriptors(program) <= before + 8
    });
}

#[test]
fn all_processes_are_stopped() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    for tagged in [true, false] {
        let schema = Schema::on(&cluster).tagged(tagged);
        let program = start(&schema);
        let before = descriptors(&program);
        let stopped = Stopped::all(&cluster, &schema);
        thread::scope(|scope| {
            let asked = scope.spawn(|| ask_all(&program, 100, all_kinds));
            let mut client = Client::connect(program.address);
            while !asked.is_finished() {
                for target in ["/", "/openapi.json"] {
                    let get = request(&format!("GET {target}"), "", "");
                    assert_eq!(client.ask(get).status, 200);
                }
                thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(asked.join().unwrap(), BTreeMap::from([(503, 100)]));
        });
        let statuses = ask_all(&program, 100, all_kinds);
        assert_eq!(statuses, BTreeMap::from([(503, 100)]));
        drop(stopped);
        wait_until_it_recovers(&program, &schema, before);
    }
}

#[test]
fn a_server_is_stopped_while_the_database_hangs() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let mut program = start(&schema);
    let stopped = Stopped::all(&cluster, &schema);
    let mut clients: Vec<_> = (0..100).map(|_| Client::connect(program.address)).collect();
    for (id, client) in clients.iter_mut().enumerate() {
        client.send(all_kinds(id));
    }
    let pid = program.child.id().to_string();
    let kill = Command::new("kill").arg(pid).status();
    assert!(kill.unwrap().success());
    let mut status = None;
    wait_until("the program ends", || {
        status = program.child.try_wait().unwrap();
        status.is_some()
    });
    // In a build without signal handling, the signal ends the process.
    let orderly = cfg!(feature = "hyper").then_some(0);
    assert_eq!(status.unwrap().code(), orderly);
    drop(stopped);
}

/// The database process of a write is stopped in the middle of its transaction, in which it has locked
/// the row of the collection.
#[test]
fn the_process_of_a_write_is_stopped() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let program = start(&schema);
    let before = descriptors(&program);
    let mut shell = schema.shell();
    let (stopped, lock) = thread::scope(|scope| {
        let (process, lock) = hold(&schema, &mut shell, "BEFORE", "", || {
            scope.spawn(|| {
                let put = |_| request("PUT /notes/1", "If-Match: *\r\n", r#"{"is": "new"}"#);
                assert_eq!(ask_all(&program, 1, put), BTreeMap::from([(503, 1)]));
            });
        });
        (Stopped::new(&[process]), lock)
    });
    lock.rollback().unwrap();
    for _ in 0..2 {
        let statuses = ask_all(&program, 100, |id| match id % 2 {
            0 => request(&format!("GET /notes/{id}"), "", ""),
            _ => request(&format!("PUT /notes/{id}"), "If-Match: *\r\n", "{}"),
        });
        assert_eq!(statuses, BTreeMap::from([(200, 50), (503, 50)]));
    }
    drop((stopped, shell));
    wait_until_it_recovers(&program, &schema, before);
    let one = Client::connect(program.address).ask(request("GET /notes/1", "", ""));
    assert!(!one.content.contains("new"), "{one:?}");
}

/// Makes the write of document 1 wait for a lock at this point of its transaction. Returns the database
/// process that waits, and the transaction that holds the lock.
fn hold<'a>(
    schema: &Schema,
    shell: &'a mut Shell,
    when: &str,
    deferred: &str,
    write: impl FnOnce(),
) -> (u32, postgres::Transaction<'a>) {
    let constraint = if deferred.is_empty() {
        ""
    } else {
        "CONSTRAINT"
    };
    schema.sql(&format!(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = '1' THEN PERFORM pg_advisory_xact_lock(1); END IF;
             RETURN NEW;
         END $$;
         CREATE {constraint} TRIGGER wait {when} UPDATE ON document {deferred}
             FOR EACH ROW EXECUTE FUNCTION wait()"
    ));
    let mut lock = shell.transaction().unwrap();
    lock.execute("SELECT pg_advisory_xact_lock(1)", &[])
        .unwrap();
    write();
    let blocked = "SELECT pid FROM pg_stat_activity \
        WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))";
    let mut process = None;
    wait_until("the write waits", || {
        let row = lock.query_opt(blocked, &[]).unwrap();
        process = row.map(|row| row.get::<_, i32>(0).unsigned_abs());
        process.is_some()
    });
    (process.unwrap(), lock)
}

/// The process is stopped during its commit, and performs it when it continues.
#[test]
fn a_commit_without_a_response_is_unconfirmed() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    let version = create(&*store, "1");
    let (one, wim) = (id("1"), person("Wim"));
    let mut shell = schema.shell();
    thread::scope(|scope| {
        let mut swapped = None;
        let deferred = "DEFERRABLE INITIALLY DEFERRED";
        let (process, lock) = hold(&schema, &mut shell, "AFTER", deferred, || {
            let swap = || store.swap(&Swap::replace(PERSONS, &one, version, &wim), now());
            swapped = Some(scope.spawn(swap));
        });
        let stopped = Stopped::new(&[process]);
        lock.rollback().unwrap();
        let Err(SwapError::Store(error)) = swapped.unwrap().join().unwrap() else {
            panic!("the swap did not fail");
        };
        let reason = " failed: it does not answer, while a write was being confirmed";
        assert!(error.to_string().ends_with(reason), "{error}");
        drop(stopped);
    });
    wait_until("the write is performed", || {
        store
            .get(PERSONS, &one)
            .is_ok_and(|it| it.unwrap().document == wim)
    });
}

/// The process of an idle connection is stopped. At most one call fails, and the others go on.
#[test]
fn an_idle_process_is_stopped() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let program = start(&schema);
    let before = descriptors(&program);
    let idle = "SELECT pid FROM pg_stat_activity WHERE state = 'idle' AND pid <> pg_backend_pid() \
        AND backend_type = 'client backend' LIMIT 1";
    let stopped = Stopped::new(&[schema.rows(idle).parse().unwrap()]);
    let get = |id| request(&format!("GET /notes/{id}"), "", "");
    let mut failed = 0;
    for _ in 0..5 {
        let statuses = ask_all(&program, 100, get);
        failed += statuses.get(&503).copied().unwrap_or_default();
    }
    assert!(failed <= 1, "{failed}");
    drop(stopped);
    wait_until_it_recovers(&program, &schema, before);
}
