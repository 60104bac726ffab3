//! The documents in a file: what holds of it beyond what holds of every store.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use ifmatch::{
    Document, Method, Policy, Portion, Request, SqliteStore, Store, StoreError, Swap, SwapError,
    Synchronous, Version, respond,
};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::conformance::{PERSONS, Place, all, at, create, id, now, person};
use crate::support::directory::Directory;
use crate::support::serving::Served;

/// The store in this file.
pub fn open(path: &Path) -> Arc<dyn Store> {
    Arc::new(SqliteStore::open(path, Synchronous::Full).unwrap())
}

/// A file of the test's own.
pub struct File(Directory);

impl Default for File {
    fn default() -> Self {
        Self(Directory::new("sqlite"))
    }
}

impl File {
    pub fn path(&self) -> PathBuf {
        self.0.0.join("persons.db")
    }

    /// What `--store` is given.
    pub fn argument(&self) -> String {
        format!("sqlite:{}", self.path().display())
    }

    /// A connection beside those of the store, as the shell or another program has it.
    pub fn shell(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// Every file there is, with its content.
    pub fn contents(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files = fs::read_dir(&self.0.0)
            .unwrap()
            .map(|it| it.unwrap().path());
        files
            .map(|it| (it.clone(), fs::read(it).unwrap()))
            .collect()
    }
}

impl Place for File {
    fn open(&self) -> Arc<dyn Store> {
        open(&self.path())
    }

    fn open_fast(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(self.path(), Synchronous::Normal).unwrap())
    }

    fn keeps_id_member(&self) -> bool {
        true
    }
}

impl Served for File {
    fn argument(&self) -> String {
        format!("{}?synchronous=normal", self.argument())
    }
}

#[test]
fn everything_is_there_when_it_is_opened_again() {
    let file = File::default();
    let store = file.open();
    for id in ["1", "2", "3"] {
        create(&*store, id);
    }
    let two = store.get(PERSONS, &id("2")).unwrap().unwrap();
    store
        .swap(
            &Swap::remove(PERSONS, &two.id, two.version),
            at("2016-11-23T12:00:00.000000"),
        )
        .unwrap();
    let before = all(&*store);
    assert!(!before.version.unwrap().is_dated());
    drop(store);
    let left: Vec<_> = file.contents().into_keys().collect();
    assert_eq!(left, [file.path()], "all of it is in one file");
    assert_eq!(all(&*file.open()), before);
}

/// Documents are removed, the file is opened again, and the clock is set to other times.
#[test]
fn s8_8_1_a_version_never_comes_back() {
    let file = File::default();
    let mut tags = HashSet::new();
    let mut last = Version::FIRST;
    for now in [now(), now(), at("2016-11-23T12:00:00.000000"), now()] {
        let store = file.open();
        let (one, wim) = (id("1"), person("Wim"));
        for _ in 0..2 {
            let create = Swap::create(PERSONS, &one, &wim);
            let created = store.swap(&create, now).unwrap();
            let remove = Swap::remove(PERSONS, &one, created);
            let removed = store.swap(&remove, now).unwrap();
            assert!(last < created && created < removed);
            assert!(tags.insert(created.entity_tag()) && tags.insert(removed.entity_tag()));
            let stale = Swap::replace(PERSONS, &one, created, &wim);
            assert_eq!(store.swap(&stale, now), Err(SwapError::Conflict));
            last = removed;
        }
    }
}

#[cfg(unix)]
#[test]
fn a_new_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::default();
    let store = file.open();
    create(&*store, "1");
    let contents = file.contents();
    assert_eq!(
        contents.len(),
        3,
        "with two beside it: {:?}",
        contents.keys()
    );
    for path in contents.keys() {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
    }
    drop(store);
    // A file that exists keeps its permissions.
    let file = File::default();
    fs::write(file.path(), "").unwrap();
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
    create(&*file.open(), "1");
    let mode = fs::metadata(file.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

/// None of these means to `SQLite` what it means to the file system.
#[test]
fn a_file_may_have_any_name() {
    let file = File::default();
    for name in [":memory:", "file:x?mode=memory", "a?b#c%41", "'", "名 😀"] {
        let path = file.0.0.join(name);
        create(&*open(&path), "1");
        assert!(path.exists(), "{name}");
        assert_eq!(all(&*open(&path)).records.len(), 1);
    }
    assert_eq!(file.contents().len(), 5);
}

#[track_caller]
fn refused(file: &File, reason: &str) {
    let lasting = || {
        let mut contents = file.contents();
        // The index of the WAL is made again by the next process.
        contents.retain(|path, _| !path.to_string_lossy().ends_with("-shm"));
        contents
    };
    let before = lasting();
    let error = SqliteStore::open(file.path(), Synchronous::Full).unwrap_err();
    let path = file.path();
    assert_eq!(
        error.to_string(),
        format!("cannot use the store {}: {reason}", path.display())
    );
    let after = lasting();
    assert!(before == after, "{reason}: it was touched");
    let left = file.contents().len();
    assert!(
        before.len() > 1 || left == 1,
        "{reason}: something was left beside it"
    );
}

#[test]
fn what_is_not_ours_is_refused_and_left_as_it_is() {
    let newer = "a newer ifmatch made it; its schema version is 4, and this one knows 3";
    let foreign = "it belongs to another program";
    let none = "file is not a database";
    let ours = "PRAGMA user_version = 4";
    let marked = "PRAGMA application_id = 7; CREATE TABLE t (x)";
    let unmarked = "CREATE TABLE person (person_id TEXT PRIMARY KEY)";
    for (begun, changes, reason) in [
        (true, ours, newer),
        (true, "PRAGMA user_version = 0", foreign),
        (true, "PRAGMA application_id = 7", foreign),
        (false, marked, foreign),
        (false, unmarked, foreign),
        (false, "PRAGMA user_version = 1", foreign),
    ] {
        // Where it belongs, and still in its WAL.
        for folded in [true, false] {
            let file = File::default();
            if begun {
                create(&*file.open(), "1");
            }
            let shell = file.shell();
            shell.pragma_update(None, "journal_mode", "wal").unwrap();
            let keep = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
            shell.set_db_config(keep, !folded).unwrap();
            shell.execute_batch(changes).unwrap();
            drop(shell);
            let files = file.contents();
            assert_eq!(
                files.len(),
                if folded { 1 } else { 3 },
                "{changes}: {:?}",
                files.keys()
            );
            refused(&file, reason);
        }
    }
    let magic = [b"SQLite format 3\0", &[0; 200][..]].concat();
    for content in [&b"a letter\n"[..], &[0; 100], &[0; 4096], &magic] {
        let file = File::default();
        fs::write(file.path(), content).unwrap();
        refused(&file, none);
    }
}

/// Left behind by a program that was killed in the middle of a change.
#[test]
fn a_foreign_journal_is_not_rolled_back() {
    let (file, killed) = (File::default(), File::default());
    let shell = file.shell();
    shell
        .execute_batch(
            "CREATE TABLE t (x); PRAGMA cache_size = 1; BEGIN; \
             INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 999) \
             SELECT zeroblob(1000) FROM n",
        )
        .unwrap();
    for (path, content) in file.contents() {
        fs::write(killed.0.0.join(path.file_name().unwrap()), content).unwrap();
    }
    assert_eq!(killed.contents().len(), 2);
    refused(&killed, "it belongs to another program");
    // It is a hot one, indeed.
    let rows = |shell: &Connection| {
        shell.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
    };
    assert_eq!(rows(&killed.shell()), Ok(0));
    assert_eq!(killed.contents().len(), 1);
}

/// Of eight pages one was written when it was killed, and the journal says that there were none.
#[test]
fn a_file_half_made_is_made_again() {
    let file = File::default();
    create(&*file.open(), "1");
    let mut first = fs::read(file.path()).unwrap();
    assert_eq!(first.len(), 8 * 4096);
    first.truncate(4096);
    first[18..20].copy_from_slice(&[1, 1]); // before it had a WAL
    fs::write(file.path(), first).unwrap();
    let magic = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    // No records, a nonce, no pages, sectors of 512 bytes, pages of 4096.
    let numbers = [0_u32, 7, 0, 512, 4096].map(u32::to_be_bytes).concat();
    let mut journal = [&magic[..], &numbers].concat();
    journal.resize(512, 0);
    fs::write(file.0.0.join("persons.db-journal"), journal).unwrap();
    let store = file.open();
    assert_eq!(all(&*store).records, []);
    create(&*store, "1");
}

#[test]
fn what_cannot_be_opened() {
    let file = File::default();
    fs::create_dir(file.path()).unwrap();
    let open = |path: &Path| SqliteStore::open(path, Synchronous::Full);
    let told = open(&file.path()).unwrap_err().to_string();
    let path = file.path();
    let path = path.display();
    assert_eq!(told, format!("cannot use the store {path}: it is no file"));
    let inside = file.path().join("none/persons.db");
    assert_eq!(
        open(&inside).unwrap_err().to_string(),
        format!(
            "cannot use the store {}: No such file or directory (os error 2)",
            inside.display()
        )
    );
}

#[test]
fn another_program_writes_meanwhile() {
    let file = File::default();
    let store = file.open();
    let version = create(&*store, "1");
    let shell = file.shell();
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    shell
        .execute("UPDATE document SET content = '{\"half\":\"done\"}'", [])
        .unwrap();
    let before = all(&*store);
    let (one, two, wim) = (id("1"), id("2"), person("Wim"));
    let replace = Swap::replace(PERSONS, &one, version, &wim);
    let create = Swap::create(PERSONS, &two, &wim);
    for swap in [replace, create] {
        let Err(SwapError::Store(error)) = store.swap(&swap, now()) else {
            panic!("it is locked");
        };
        let path = file.path();
        let locked = format!("the store {} failed: database is locked", path.display());
        assert_eq!(error.to_string(), locked);
        assert_eq!(all(&*store), before, "reads go on");
    }
    shell.execute_batch("ROLLBACK").unwrap();
    assert_eq!(all(&*store), before);
    assert!(store.swap(&replace, now()).is_ok());
    assert!(store.swap(&create, now()).is_ok());
}

/// The shell shows what there is; if it writes what is no document, the store says so.
#[test]
fn what_the_shell_reads_and_writes() {
    let file = File::default();
    let store = file.open();
    create(&*store, "1");
    let milk = Document::from_json(br#"{"title": "Milk", "litres": 1.0}"#).unwrap();
    store
        .swap(&Swap::create("notes", &id("milk"), &milk), now())
        .unwrap();
    store
        .swap(
            &Swap::create(PERSONS, &id("2"), &person("Wim")),
            at("2016-11-23T12:00:00.000000"),
        )
        .unwrap();
    let shell = file.shell();
    let row = |sql: &str| {
        shell
            .query_row(sql, [], |row| row.get::<_, String>(0))
            .unwrap()
    };
    let columns = "collection || '|' || id || '|' || content || '|' || change_date || '|' || dated";
    assert_eq!(
        row(&format!(
            "SELECT group_concat({columns}, ' ' ORDER BY collection, id) FROM document"
        )),
        "notes|milk|{\"litres\":1.0,\"title\":\"Milk\"}|2026-11-23T12:00:00.000000|1 \
         persons|1|{\"person_name\":\"x\"}|2026-11-23T12:00:00.000000|1 \
         persons|2|{\"person_name\":\"Wim\"}|2026-11-23T12:00:00.000001|0"
    );
    assert_eq!(
        row("SELECT group_concat(name || '|' || change_date || '|' || dated, ' ') FROM collection"),
        "notes|2026-11-23T12:00:00.000000|1 persons|2026-11-23T12:00:00.000001|0"
    );
    assert_eq!(
        row("SELECT content->>'title' FROM document WHERE collection = 'notes'"),
        "Milk"
    );
    assert_eq!(row("PRAGMA journal_mode"), "wal");

    let unreadable = |update: &str, reason: &str| {
        shell.execute_batch(update).unwrap();
        let path = file.path();
        let sentence = format!(
            "the store {} failed: Conversion error from type Text at index: 0, {reason}",
            path.display()
        );
        let told = |error: StoreError| error.to_string();
        let got = store.get(PERSONS, &id("2")).map_err(told);
        assert_eq!(got, Err(sentence.clone()));
        let list = store.list(PERSONS, Portion::ALL).map_err(told);
        assert_eq!(list, Err(sentence.clone()));
        let visited = store.visit(PERSONS, &mut |_| ControlFlow::Continue(()));
        assert_eq!(visited.map_err(told), Err(sentence));
        assert!(store.get(PERSONS, &id("1")).unwrap().is_some());
    };
    unreadable(
        "UPDATE document SET content = 'Wim' WHERE id = '2'",
        "not a JSON object",
    );
    unreadable(
        "UPDATE document SET content = '{}', change_date = 'today' WHERE id = '2'",
        "not a change date such as `2020-12-24T10:11:52.200311`",
    );
    shell
        .execute("DELETE FROM document WHERE id = '2'", [])
        .unwrap();
    assert_eq!(all(&*store).records.len(), 1);
}

/// Each visit reads by a connection of its own, however many there are.
#[test]
fn a_visitor_may_read_and_write() {
    let file = File::default();
    let store = file.open();
    create(&*store, "1");
    let mut visits = 0;
    visit_deeper(&*store, 9, &mut visits);
    assert_eq!(visits, 10);
    assert_eq!(all(&*store).records.len(), 11);
}

fn visit_deeper(store: &dyn Store, deeper: u32, visits: &mut u32) {
    store
        .visit(PERSONS, &mut |record| {
            *visits += 1;
            assert!(store.get(PERSONS, &record.id).unwrap().is_some());
            create(store, &format!("deeper {deeper}"));
            if deeper > 0 {
                visit_deeper(store, deeper - 1, visits);
            }
            ControlFlow::Break(())
        })
        .unwrap();
}

/// Of a thousand documents that are longer than a page of the file, the list reads no more than it
/// returns, whatever bounds it.
#[cfg(target_os = "linux")]
#[test]
fn a_list_reads_no_more_than_it_returns() {
    const LONG: usize = 60_000;
    let file = File::default();
    let store = file.open_fast();
    let long = person(&"x".repeat(LONG));
    let documents: Vec<_> = (0..1001)
        .map(|it| (id(&format!("{it:04}")), long.clone()))
        .collect();
    store.fill(PERSONS, &documents, now()).unwrap();
    drop(store);
    // Nothing is in memory yet.
    let read = |portion: Portion<'_>| {
        let store = file.open();
        let before = bytes_read();
        let list = store.list(PERSONS, portion).unwrap();
        (list, bytes_read() - before)
    };
    let bounds = [
        (Some("0100"), 1000, 512 * 1024, 8),
        (None, 3, usize::MAX, 3),
        (Some("0500"), 1000, 7, 1),
        (Some("0998"), 1000, usize::MAX, 2),
        (None, 0, usize::MAX, 0),
    ];
    for (after, count, bytes, returned) in bounds {
        let portion = Portion {
            after,
            count,
            bytes,
        };
        let (list, bytes) = read(portion);
        assert_eq!(list.records.len(), returned, "{portion:?}");
        let ends = list.records.last().is_some_and(|it| it.id == id("1000"));
        assert_eq!(list.more, !ends);
        // The documents, whole pages of the file, and those of the tree above them.
        let bound = (returned + 1) * (LONG + 2 * 4096);
        assert!(bytes < bound, "{portion:?}: {bytes} bytes");
    }
}

/// How many bytes this thread has read from files.
#[cfg(target_os = "linux")]
fn bytes_read() -> usize {
    let counters = fs::read_to_string("/proc/thread-self/io").unwrap();
    let read = counters.lines().find_map(|it| it.strip_prefix("rchar: "));
    read.unwrap().parse().unwrap()
}

/// What it wrote is shown, and a patch of it fails with the reason.
#[test]
fn another_program_breaks_a_document() {
    let file = File::default();
    let store = file.open();
    let broken = r#"{"a":}"#;
    create(&*store, "1");
    let shell = file.shell();
    let changed = shell.execute("UPDATE document SET content = ?1", [broken]);
    assert_eq!(changed, Ok(1));
    let record = store.get(PERSONS, &id("1")).unwrap().unwrap();
    assert_eq!(record.document.as_str(), broken);
    let policy = Policy::default();
    let patch = Request::new(Method::Patch, "/persons/1")
        .with_field("Content-Type", "application/merge-patch+json")
        .with_field("If-Match", "*")
        .with_content(br#"{"person_name": "Tim"}"#);
    let failed = respond(&store, &policy, &patch, now());
    let reason = "the document 1 of persons cannot be read: The content must be JSON: \
                  expected value at line 1 column 6";
    assert_eq!((failed.status(), failed.failure()), (503, Some(reason)));
    assert_eq!(store.get(PERSONS, &id("1")), Ok(Some(record)));
}

/// Locks the index of the WAL to write and to recover, and makes its header invalid.
const RECOVER: &str = "
import fcntl, sys
index = open(sys.argv[1], 'r+b')
for lock in 0, 2:
    fcntl.lockf(index, fcntl.LOCK_EX, 1, 120 + lock)
index.write(bytes(96))
index.flush()
print('locked', flush=True)
sys.stdin.read()
";

/// The unit tests of the store have the time after which it fails.
#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_read_fails_while_another_process_recovers_the_file() {
    let file = File::default();
    let store = open(&file.path());
    create(&*store, "1");
    let mut python = Command::new("python3");
    python.args(["-c", RECOVER, &format!("{}-shm", file.path().display())]);
    let python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        return eprintln!("skipped: python3 is not installed");
    };
    let mut line = String::new();
    let mut output = BufReader::new(python.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    let told = store.get(PERSONS, &id("1")).unwrap_err().to_string();
    assert!(told.ends_with(": database is locked"), "{told}");
    drop(python.stdin.take());
    python.wait().unwrap();
    let read = store.get(PERSONS, &id("1")).unwrap().unwrap();
    assert_eq!(read.document, person("x"));
}
