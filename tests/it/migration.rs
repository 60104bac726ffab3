//! The migration of files of earlier versions, such as ifmatch 0.1.0, which had persons only.

use std::fs;
use std::path::PathBuf;
use std::thread;

use ifmatch::{
    IdempotencyKey, KeyedWrite, SqliteStore, Store, Swap, SwapError, Synchronous, Version,
};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::conformance::{PERSONS, Place, all, create, id, now, person};
use crate::sqlite::File;
use crate::support::client::{Client, request};
use crate::support::serving::Program;

/// A file that ifmatch 0.1.0 made.
const OLD: &[u8] = include_bytes!("fixtures/persons-0.1.0.db");

/// The content of the response of ifmatch 0.1.0 to `GET /persons`.
const LIST: &str = include_str!("fixtures/persons-0.1.0.json");

/// The tag of that response.
const LIST_TAG: &str = r#""a0fd2d3d2c67f693d3da08b6dc7e8214""#;

/// The version of that tag. It is from a removal after the clock had been set back.
const LIST_VERSION: &str = "2024-03-01T00:00:00.000002";

/// The id of each person, its tag in ifmatch 0.1.0, and whether its version is dated.
const TAGS: [(&str, &str, bool); 12] = [
    (" ", "cbbb5ed7fbec888912e9efa8665e6a66", true),
    ("%41?x#y", "be2fe5da27d462801b2458f4f1705e9e", true),
    ("1", "db3a8507427f63c90c65050b25edbb61", true),
    ("2", "e3c83836fbdcc737f430be7a41307b24", true),
    ("a/b", "b2048027943a7ca7172cf762c84cbdbe", true),
    ("late", "6ead39940efad2b3d7e3814c188c874a", false),
    ("long", "4cbad33add37a64ee75ce0853f79689a", true),
    ("null", "3150951cd2641b504df39ffb080c5b00", true),
    ("twice", "95bcb6db67d2a29e024e193981ea3c33", true),
    (
        r#"{"person_name":"x"}"#,
        "580f3aa501838218370938fb178e5bf8",
        true,
    ),
    ("ü", "229623c6da13bcb4200955844cdae821", true),
    ("😀", "34502eb220d645790599596e75d0731c", true),
];

/// A copy of the old file.
pub fn old_file() -> File {
    let file = File::default();
    fs::write(file.path(), OLD).unwrap();
    file
}

/// An old file with this number of further persons.
fn old_file_with(count: usize) -> File {
    let file = old_file();
    let sql = "INSERT INTO person \
               WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?1) \
               SELECT printf('n%06d', i), 'Wim ' || i, '2024-02-01T00:00:00.000000', 1 FROM n";
    file.shell()
        .execute(sql, [i64::try_from(count).unwrap()])
        .unwrap();
    file
}

/// Checks that a store has each person of the old file unchanged, and this number of further persons.
#[track_caller]
fn assert_has_all(store: &dyn Store, more: usize) {
    let list = all(store);
    let version: Version = LIST_VERSION.parse().unwrap();
    assert_eq!(list.version, Some(version.undated()));
    assert_eq!(list.version.unwrap().entity_tag().to_string(), LIST_TAG);
    assert_eq!(list.records.len(), TAGS.len() + more);
    let persons: Vec<serde_json::Value> = serde_json::from_str(LIST).unwrap();
    assert_eq!(persons.len(), TAGS.len());
    for ((text, tag, dated), old) in TAGS.into_iter().zip(persons) {
        let record = store.get(PERSONS, &id(text)).unwrap().unwrap();
        assert!(list.records.contains(&record));
        assert_eq!(old["person_id"], text);
        assert_eq!(old["change_date"], record.version.to_string());
        assert_eq!(record.version.is_dated(), dated, "{text}");
        assert_eq!(record.version.entity_tag().opaque(), tag, "{text}");
        let name = old["person_name"].as_str().unwrap();
        assert_eq!(record.document, person(name), "{text}");
    }
    assert_eq!(store.collections(), Ok(vec![PERSONS.to_owned()]));
}

#[test]
fn persons_and_tags_are_unchanged() {
    let file = old_file();
    for _ in 0..2 {
        assert_has_all(&*file.open(), 0);
    }
    let shell = file.shell();
    let tables: String = shell
        .query_row(
            "SELECT group_concat(name, ' ' ORDER BY name) FROM sqlite_schema WHERE type = 'table'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(tables, "collection document removal");
    let new = File::default();
    drop(new.open());
    let schema = |shell: &Connection| -> String {
        let sql = "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_schema";
        shell.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(
        schema(&shell),
        schema(&new.shell()),
        "the tables are those of a new file"
    );
}

#[test]
fn old_versions_match_and_do_not_come_back() {
    let file = old_file();
    let store = file.open();
    let latest = store.collection_version(PERSONS).unwrap().unwrap();
    let mut last = latest;
    for (text, ..) in TAGS {
        let id = id(text);
        let old = store.get(PERSONS, &id).unwrap().unwrap().version;
        let wim = person("Wim");
        let replace = Swap::replace(PERSONS, &id, old, &wim);
        // The clock shows the time of the latest old version.
        let new = store.swap(&replace, last.into()).unwrap();
        assert!(last < new, "{text}");
        assert_eq!(store.swap(&replace, now()), Err(SwapError::Conflict));
        last = new;
    }
    let gone = id("gone");
    assert_eq!(store.get(PERSONS, &gone), Ok(None));
    assert_eq!(store.collection_version("notes"), Ok(Some(Version::FIRST)));
}

#[test]
fn responses_are_unchanged() {
    let file = old_file();
    let program = Program::start(&["--store", &file.argument()]);
    let mut client = Client::connect(program.address);
    let list = client.ask(request("GET /persons", "", ""));
    assert_eq!((list.status, &*list.content), (200, LIST));
    assert_eq!(list.field("ETag"), Some(LIST_TAG));
    let known = format!("If-None-Match: {LIST_TAG}\r\n");
    assert_eq!(client.ask(request("GET /persons", &known, "")).status, 304);
    for (text, tag, _) in TAGS {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let target = format!("/persons/{encoded}");
        let tag = format!("\"{tag}\"");
        let read = client.ask(request(&format!("GET {target}"), "", ""));
        assert_eq!(read.status, 200, "{text}");
        assert_eq!(read.field("ETag"), Some(&*tag), "{text}");
        let expected = format!("If-Match: {tag}\r\n");
        let put = request(
            &format!("PUT {target}"),
            &expected,
            r#"{"person_name":"Tim"}"#,
        );
        assert_eq!(client.ask(&put).status, 200, "{text}");
        assert_eq!(client.ask(&put).status, 412, "{text}");
    }
}

/// The old server was killed, so its latest writes are in the WAL and not yet in the file.
#[test]
fn writes_in_the_wal_are_migrated() {
    let file = old_file();
    let shell = file.shell();
    shell
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    shell
        .execute_batch(
            "BEGIN; INSERT INTO person VALUES ('new', 'Kim', '2024-03-02T00:00:00.000000', 1); \
             UPDATE collection SET change_date = '2024-03-02T00:00:00.000000', dated = 1; COMMIT",
        )
        .unwrap();
    drop(shell);
    assert_eq!(
        fs::read(file.path()).unwrap(),
        OLD,
        "the write is in the WAL"
    );
    let store = file.open();
    let record = store.get(PERSONS, &id("new")).unwrap().unwrap();
    assert_eq!(record.document, person("Kim"));
    assert_eq!(store.collection_version(PERSONS), Ok(Some(record.version)));
    assert_eq!(all(&*store).records.len(), TAGS.len() + 1);
}

#[test]
fn several_stores_migrate_one_file_at_once() {
    const MORE: usize = 5000;
    for _ in 0..5 {
        let file = old_file_with(MORE);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert_has_all(&*file.open(), MORE));
            }
        });
    }
}

/// A server of 0.1.0 has the file open and has prepared its statements. After the migration they fail.
#[test]
fn an_old_server_cannot_write_any_more() {
    let file = old_file();
    let old = file.shell();
    let statements = [
        "UPDATE person SET person_name = 'x' WHERE person_id = '1' AND change_date IS NOT NULL",
        "INSERT INTO person VALUES ('new', 'x', '2030-01-01T00:00:00.000000', 1) \
         ON CONFLICT DO NOTHING",
        "DELETE FROM person WHERE person_id = '1'",
    ];
    for sql in statements {
        drop(old.prepare_cached(sql).unwrap());
    }
    let mut read = old.prepare("SELECT * FROM person").unwrap();
    let mut reading = read.query([]).unwrap();
    assert!(reading.next().unwrap().is_some());
    let store = file.open();
    assert!(reading.next().unwrap().is_some(), "the open read goes on");
    drop(reading);
    drop(read);
    for sql in statements {
        let refused = old.prepare_cached(sql).and_then(|mut it| it.execute([]));
        let error = refused.unwrap_err().to_string();
        assert!(error.starts_with("no such table: person"), "{error}");
    }
    assert_has_all(&*store, 0);
    create(&*store, "new");
}

/// A migration was killed. The WAL has the pages that it had written, without a commit.
#[test]
fn an_interrupted_migration_starts_again() {
    const MORE: usize = 5000;
    let (file, killed) = (old_file_with(MORE), File::default());
    let shell = file.shell();
    shell
        .execute_batch(
            "PRAGMA cache_size = 9; BEGIN IMMEDIATE; DROP TABLE collection; \
             CREATE TABLE document (id TEXT, name TEXT); \
             INSERT INTO document SELECT person_id, person_name FROM person; \
             DROP TABLE person; PRAGMA user_version = 3",
        )
        .unwrap();
    let beside = |file: &File, ending| PathBuf::from(format!("{}{ending}", file.path().display()));
    for ending in ["", "-wal", "-shm"] {
        fs::copy(beside(&file, ending), beside(&killed, ending)).unwrap();
    }
    let written = fs::metadata(beside(&killed, "-wal")).unwrap().len();
    assert!(written > 50_000, "{written} bytes are in the WAL");
    assert_has_all(&*killed.open(), MORE);
    shell.execute_batch("ROLLBACK").unwrap();
    assert_has_all(&*file.open(), MORE);
}

#[cfg(unix)]
#[test]
fn a_program_killed_at_any_moment_has_migrated_all_or_nothing() {
    use std::process::{Child, Stdio};
    use std::time::Instant;

    use crate::support::serving::program;
    const MORE: usize = 10_000;
    const ROUNDS: u32 = 20;
    let whole = old_file_with(MORE);
    let copy = || {
        let file = File::default();
        fs::copy(whole.path(), file.path()).unwrap();
        file
    };
    let spawn = |file: &File| -> Child {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--store", &file.argument()]);
        command.stdout(Stdio::null()).spawn().unwrap()
    };
    let schema = |file: &File| -> u32 {
        let sql = "PRAGMA user_version";
        file.shell().query_row(sql, [], |row| row.get(0)).unwrap()
    };
    let (file, start) = (copy(), Instant::now());
    let mut child = spawn(&file);
    while schema(&file) == 1 {
        assert!(child.try_wait().unwrap().is_none(), "the server has ended");
        thread::yield_now();
    }
    let takes = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    let mut before = 0;
    for round in 0..ROUNDS {
        let file = copy();
        let mut child = spawn(&file);
        thread::sleep(takes * round / (ROUNDS - 2));
        child.kill().unwrap();
        child.wait().unwrap();
        before += u32::from(schema(&file) == 1);
        assert_has_all(&*file.open(), MORE);
    }
    assert!(before > 0);
}

/// Without the version of the collection, old versions of persons could be used again.
#[test]
fn a_file_that_cannot_be_migrated_is_unchanged() {
    for (damage, reason) in [
        ("DELETE FROM collection", "Query returned no rows"),
        ("CREATE TABLE document (x)", "table document already exists"),
    ] {
        let file = old_file();
        file.shell().execute_batch(damage).unwrap();
        let before = fs::read(file.path()).unwrap();
        let error = SqliteStore::open(file.path(), Synchronous::Full).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(fs::read(file.path()).unwrap(), before);
        let persons: u32 = file
            .shell()
            .query_row("SELECT count(*) FROM person", [], |row| row.get(0))
            .unwrap();
        assert_eq!(persons, 12);
    }
}

/// The tables of schema version 2, which had no keys, with two documents. A third one was removed.
const WITHOUT_KEYS: &str = "
CREATE TABLE document (
    collection TEXT NOT NULL,
    id TEXT NOT NULL,
    content TEXT NOT NULL, -- a JSON object, without the members that the server adds
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1, -- 0: the clock was behind, nothing happened at that date
    PRIMARY KEY (collection, id)
) STRICT;
CREATE TABLE collection ( -- the latest change of any document, the removed ones included
    name TEXT NOT NULL PRIMARY KEY,
    change_date TEXT NOT NULL,
    dated INTEGER NOT NULL DEFAULT 1,
    id_member TEXT -- what holds the ids in a representation
) STRICT, WITHOUT ROWID;
INSERT INTO document VALUES ('notes', 'a', '{\"n\":1.0}', '2024-02-01T00:00:00.000000', 1),
    ('persons', '1', '{\"person_name\":\"Wim\"}', '2024-02-01T00:00:00.000001', 0);
INSERT INTO collection VALUES ('notes', '2024-02-01T00:00:00.000000', 1, 'slug'),
    ('persons', '2024-03-01T00:00:00.000002', 0, NULL);
PRAGMA application_id = 1768320353;
PRAGMA user_version = 2;
";

fn file_without_keys() -> File {
    let file = File::default();
    file.shell().execute_batch(WITHOUT_KEYS).unwrap();
    file
}

#[test]
fn a_file_without_keys_gets_them_and_keeps_its_tags() {
    let file = file_without_keys();
    let version = |text: &str| text.parse::<Version>().unwrap();
    let known = |store: &dyn Store| {
        let note = store.get("notes", &id("a")).unwrap().unwrap();
        assert_eq!(note.document.as_str(), "{\"n\":1.0}");
        assert_eq!(note.version, version("2024-02-01T00:00:00.000000"));
        assert_eq!(note.keyed_write, None);
        let wim = store.get(PERSONS, &id("1")).unwrap().unwrap();
        assert_eq!(wim.document, person("Wim"));
        assert_eq!(wim.version, version("2024-02-01T00:00:00.000001").undated());
        let latest = version(LIST_VERSION).undated();
        assert_eq!(store.collection_version(PERSONS), Ok(Some(latest)));
        let slug = Ok(Some("slug".to_owned()));
        assert_eq!(store.id_member("notes"), slug);
        assert_eq!(all(store).records.len(), 1);
    };
    // A dump does not migrate the file.
    let before = fs::read(file.path()).unwrap();
    let error = SqliteStore::open_existing(file.path()).unwrap_err();
    let reason = "an earlier ifmatch made it; a server of this version migrates it when it starts";
    assert!(error.to_string().ends_with(reason), "{error}");
    assert_eq!(fs::read(file.path()).unwrap(), before);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| known(&*file.open()));
        }
    });
    known(&SqliteStore::open_existing(file.path()).unwrap());
    let new = File::default();
    drop(new.open());
    let schema = |shell: &Connection| -> String {
        let sql = "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_schema";
        shell.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(schema(&file.shell()), schema(&new.shell()));
    let key = IdempotencyKey::new("one").unwrap();
    let write = KeyedWrite::new(key, 7, false);
    let (store, tim) = (file.open(), person("Tim"));
    let one = id("1");
    let old = store.get(PERSONS, &one).unwrap().unwrap().version;
    let swap = Swap::replace(PERSONS, &one, old, &tim).with_keyed_write(&write);
    assert!(store.swap(&swap, now()).unwrap() > old);
    drop(store);
    let record = file.open().get(PERSONS, &one).unwrap().unwrap();
    assert_eq!(record.keyed_write.as_deref(), Some(&write));
}
