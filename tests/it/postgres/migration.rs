//! Databases of ifmatch 0.1.0, which had persons and no other documents, are migrated.
//!
//! The fixtures were made by that program: a dump of its tables, and the versions and names that it
//! read from them.

use std::thread;
use std::time::Duration;

use ifmatch::{
    IdempotencyKey, KeyedWrite, PostgresStore, PostgresUrl, Record, Store, Swap, SwapError, Version,
};
use serde_json::Value;

use crate::conformance::{PERSONS, all, at, create, id, now, person};
use crate::support::cluster::{Cluster, Schema};

const FIXTURES: [(bool, &str, &str); 2] = [
    (
        true,
        include_str!("../fixtures/persons-0.1.0.sql"),
        include_str!("../fixtures/persons-0.1.0.jsonl"),
    ),
    (
        false,
        include_str!("../fixtures/persons-0.1.0-untagged.sql"),
        include_str!("../fixtures/persons-0.1.0-untagged.jsonl"),
    ),
];

/// The tables of 0.1.0, and this row of `collection`.
const TABLES: &str = r#"
    CREATE TABLE collection (only_row BOOLEAN NOT NULL PRIMARY KEY CHECK (only_row),
        change_date TEXT NOT NULL, dated BOOLEAN NOT NULL, tagged BOOLEAN NOT NULL);
    INSERT INTO collection VALUES (true, '2026-11-23T12:00:00.000000', true, true);
    CREATE TABLE person (person_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        person_name TEXT NOT NULL, change_date TEXT NOT NULL, dated BOOLEAN NOT NULL,
        removed BOOLEAN NOT NULL);
"#;

/// The names of the tables, and the number of persons or documents in them.
fn shape(schema: &Schema) -> String {
    let tables = "SELECT string_agg(table_name, ' ' ORDER BY table_name) \
        FROM information_schema.tables WHERE table_schema = current_schema()";
    let tables = schema.rows(tables);
    let table = if tables.contains("document") {
        "document"
    } else {
        "person"
    };
    let count = schema.rows(&format!("SELECT count(*) FROM {table}"));
    format!("{tables} {count}")
}

const OLD: &str = "collection person";

const NEW: &str = "collection document ifmatch";

/// Creates `count` persons, with ids of six digits.
fn persons(schema: &Schema, count: usize) {
    schema.sql(TABLES);
    schema.sql(&format!(
        "INSERT INTO person SELECT to_char(number, 'FM000000'), repeat('x', number % 1000 + 1), \
         to_char(timestamp '2020-01-01' + number * interval '1 second', \
             'YYYY-MM-DD\"T\"HH24:MI:SS.US'), true, false \
         FROM generate_series(1, {count}) AS number"
    ));
}

/// A version in the form of the fixtures: change date, whether it is dated, tag.
fn version_json(version: Version) -> Value {
    let tag = version.entity_tag().to_string();
    serde_json::json!([version.to_string(), version.is_dated(), tag])
}

#[test]
fn all_persons_become_documents_and_keep_their_tags() {
    for (tagged, tables, responses) in FIXTURES {
        let Some(schema) = Schema::new() else { return };
        schema.sql(tables);
        let schema = schema.tagged(tagged);
        let store = schema.store();
        let list = all(&*store);
        let mut responses = responses
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let first = responses.next().unwrap();
        assert_eq!(
            list.version.map_or(Value::Null, version_json),
            first["collection"],
            "{tagged}"
        );
        assert_eq!(store.collection_version(PERSONS), Ok(list.version));
        let shown = |record: &Record| {
            let content: Value = serde_json::from_str(record.document.as_str()).unwrap();
            let written = serde_json::to_string(&content["person_name"]).unwrap();
            let text = format!("{{\"person_name\":{written}}}");
            assert_eq!(record.document.as_str(), text);
            serde_json::json!({
                "id": record.id.as_str(),
                "name": content["person_name"],
                "version": version_json(record.version),
            })
        };
        let shown: Vec<Value> = list.records.iter().map(shown).collect();
        assert_eq!(shown, responses.collect::<Vec<_>>());
        assert_eq!(shown.len(), 11);
        assert_eq!(store.collections(), Ok(vec![PERSONS.to_owned()]));
        assert!(list.records.iter().any(|it| !it.version.is_dated()));
        writes_go_on(&*store, &list.records, &first["removed"]);
        let left = all(&*store);
        assert_eq!(all(&*schema.store()), left, "opened again");
        assert!(shape(&schema).starts_with(NEW));
    }
}

/// Writes with the versions that clients have seen. No version occurs a second time.
fn writes_go_on(store: &dyn Store, records: &[Record], removed: &Value) {
    let wim = person("Wim");
    for record in records {
        let (key, seen) = (&record.id, record.version);
        assert_eq!(store.get(PERSONS, key), Ok(Some(record.clone())));
        let swap = Swap::replace(PERSONS, key, seen, &wim);
        assert!(store.swap(&swap, now()).unwrap() > seen);
        assert_eq!(store.swap(&swap, now()), Err(SwapError::Conflict));
    }
    let gone = id("gone");
    assert_eq!(store.get(PERSONS, &gone), Ok(None));
    let earlier = at("2016-11-23T12:00:00.000000");
    let swap = Swap::create(PERSONS, &gone, &wim);
    let again = store.swap(&swap, earlier).unwrap();
    let before: Version = removed[0].as_str().unwrap().parse().unwrap();
    assert!(again > before && !again.is_dated());
}

/// A server of 0.1.0 may have been killed while it created its tables.
#[test]
fn incomplete_tables_are_migrated_as_empty_ones() {
    let (half, _) = TABLES.split_once("INSERT").unwrap();
    for (insert, tagged) in [
        ("", true),
        ("", false),
        (
            "INSERT INTO collection VALUES (true, '2026-11-23T12:00:00.000000', true, true)",
            true,
        ),
        (
            "INSERT INTO collection VALUES (true, '1970-01-01T00:00:00.000000', true, false)",
            false,
        ),
    ] {
        let Some(schema) = Schema::new() else { return };
        schema.sql(half);
        schema.sql(insert);
        let schema = schema.tagged(tagged);
        let before = schema.store().collection_version(PERSONS).unwrap();
        let expected = if insert.contains("2026") {
            now().into()
        } else {
            Version::FIRST
        };
        assert_eq!(before, tagged.then_some(expected));
        assert!(create(&*schema.store(), "1") > expected);
        assert_eq!(shape(&schema), format!("{NEW} 1"));
    }
}

#[test]
fn several_servers_migrate_one_database() {
    for round in 0..12 {
        let Some(schema) = Schema::new() else { return };
        let count = round % 3 * 700;
        persons(&schema, count);
        let half = round % 4 == 0;
        if half {
            schema.sql("DROP TABLE person");
        }
        thread::scope(|scope| {
            for opened in [0; 4].map(|_| scope.spawn(|| schema.store())) {
                let count = if half { 0 } else { count };
                assert_eq!(all(&*opened.join().unwrap()).records.len(), count);
            }
        });
    }
}

/// A migration that fails does not change the database.
#[test]
fn a_failed_migration_changes_nothing() {
    let unreadable = "UPDATE person SET change_date = 'today' WHERE person_id = '001200'";
    let view = "CREATE VIEW friend AS SELECT person_name FROM person";
    let untagged = "UPDATE collection SET tagged = false";
    for (damage, repair, tables, reason) in [
        (
            unreadable,
            "UPDATE person SET change_date = '2020-12-24T10:11:52.200311' \
             WHERE person_id = '001200'",
            OLD,
            "not a change date such as `2020-12-24T10:11:52.200311`",
        ),
        (
            view,
            "DROP VIEW friend",
            "collection friend person",
            "cannot drop table person because other objects depend on it",
        ),
        (
            untagged,
            "UPDATE collection SET tagged = true",
            OLD,
            "it was begun with `--no-collection-tag`, and needs that from all servers",
        ),
    ] {
        let Some(schema) = Schema::new() else { return };
        persons(&schema, 1200);
        schema.sql(damage);
        let url: PostgresUrl = schema.url.parse().unwrap();
        let error = PostgresStore::open(url.clone()).unwrap_err();
        let sentence = format!("cannot use the store {url}: {reason}");
        assert_eq!(error.to_string(), sentence);
        assert_eq!(shape(&schema), format!("{tables} 1200"));
        schema.sql(repair);
        assert_eq!(all(&*schema.store()).records.len(), 1200);
        assert_eq!(shape(&schema), format!("{NEW} 1200"));
    }
}

/// The database crashes during the migration. Afterwards all persons are in the old tables, or all
/// are in the new ones.
#[test]
fn a_crash_leaves_the_old_tables_or_the_new_ones() {
    const COUNT: usize = 20_000;
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let mut interrupted = 0;
    for delay in [30, 100, 200, 300, 450] {
        let schema = Schema::on(&cluster);
        persons(&schema, COUNT);
        let url: PostgresUrl = schema.url.parse().unwrap();
        thread::scope(|scope| {
            let opened = scope.spawn(|| PostgresStore::open(url));
            thread::sleep(Duration::from_millis(delay));
            cluster.crash();
            interrupted += usize::from(opened.join().unwrap().is_err());
        });
        cluster.go_on();
        let [old, new] = [OLD, NEW].map(|tables| format!("{tables} {COUNT}"));
        let left = shape(&schema);
        assert!(left == old || left == new, "{left}");
        assert_eq!(all(&*schema.store()).records.len(), COUNT);
        assert_eq!(shape(&schema), new);
    }
    assert!(interrupted > 0);
}

/// The migration waits for a write of 0.1.0 that has begun, and keeps its result. A later write of
/// 0.1.0 fails.
#[test]
fn a_server_of_0_1_0_that_still_runs_cannot_write() {
    let Some(schema) = Schema::new() else { return };
    persons(&schema, 3);
    let mut shell = schema.shell();
    let mut begun = shell.transaction().unwrap();
    let lock = "SELECT change_date, dated FROM collection FOR UPDATE";
    begun.query(lock, &[]).unwrap();
    let insert = "INSERT INTO person \
        VALUES ('4', 'Wim', '2026-11-23T12:00:00.000001', true, false)";
    thread::scope(|scope| {
        let opened = scope.spawn(|| schema.store());
        thread::sleep(Duration::from_millis(300));
        assert!(!opened.is_finished());
        begun.execute(insert, &[]).unwrap();
        begun.commit().unwrap();
        assert_eq!(all(&*opened.join().unwrap()).records.len(), 4);
    });
    let error = shell.execute(insert, &[]).unwrap_err();
    let reason = error.as_db_error().unwrap().message();
    assert_eq!(reason, "relation \"person\" does not exist");
}

/// The tables of version 2, which had no keys.
const WITHOUT_KEYS: &str = r#"
    CREATE TABLE ifmatch (only_row BOOLEAN NOT NULL PRIMARY KEY CHECK (only_row),
        schema_version INTEGER NOT NULL, tagged BOOLEAN NOT NULL);
    CREATE TABLE collection (name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
        change_date TEXT NOT NULL, dated BOOLEAN NOT NULL, id_member TEXT);
    CREATE TABLE document (collection TEXT COLLATE "C" NOT NULL, id TEXT COLLATE "C" NOT NULL,
        content TEXT NOT NULL, change_date TEXT NOT NULL, dated BOOLEAN NOT NULL,
        removed BOOLEAN NOT NULL, PRIMARY KEY (collection, id));
    CREATE INDEX present_document ON document (collection, id) WHERE NOT removed;
    INSERT INTO collection VALUES ('notes', '2024-03-01T00:00:00.000002', false, 'slug');
    INSERT INTO document VALUES
        ('notes', 'a', '{"n":1.0}', '2024-02-01T00:00:00.000000', true, false),
        ('notes', 'b', '{}', '2024-02-01T00:00:00.000001', false, false);
"#;

#[test]
fn a_database_without_keys_gets_them_and_keeps_its_tags() {
    for tagged in [true, false] {
        let Some(schema) = Schema::new() else { return };
        schema.sql(WITHOUT_KEYS);
        schema.sql(&format!("INSERT INTO ifmatch VALUES (true, 2, {tagged})"));
        let schema = schema.tagged(tagged);
        let columns = "SELECT count(*) FROM information_schema.columns \
            WHERE table_schema = current_schema()";
        let before = schema.rows(columns);
        let url: PostgresUrl = schema.url.parse().unwrap();
        let error = PostgresStore::open_existing(url.clone()).unwrap_err();
        let reason =
            "an earlier ifmatch made it; a server of this version migrates it when it starts";
        assert_eq!(
            error.to_string(),
            format!("cannot use the store {url}: {reason}")
        );
        assert_eq!(schema.rows(columns), before, "the tables have changed");
        let version = |text: &str| text.parse::<Version>().unwrap();
        thread::scope(|scope| {
            for opened in [0; 4].map(|_| scope.spawn(|| schema.store())) {
                let store = opened.join().unwrap();
                let list = store.list("notes", ifmatch::Portion::ALL).unwrap();
                let latest = version("2024-03-01T00:00:00.000002").undated();
                assert_eq!(list.version, tagged.then_some(latest));
                let [a, b] = &list.records[..] else {
                    panic!("{list:?}")
                };
                assert_eq!(a.document.as_str(), "{\"n\":1.0}");
                assert_eq!(a.version, version("2024-02-01T00:00:00.000000"));
                assert_eq!(b.version, version("2024-02-01T00:00:00.000001").undated());
                assert_eq!(store.id_member("notes"), Ok(Some("slug".to_owned())));
                assert_eq!(store.get("notes", &id("a")), Ok(Some(a.clone())));
            }
        });
        assert_eq!(schema.rows("SELECT schema_version FROM ifmatch"), "3");
        assert!(PostgresStore::open_existing(url).is_ok());
        let key = IdempotencyKey::new("one").unwrap();
        let write = KeyedWrite::new(key, 7, false);
        let (store, a) = (schema.store(), id("a"));
        let old = store.get("notes", &a).unwrap().unwrap();
        let swap = Swap::replace("notes", &a, old.version, &old.document);
        let new = store.swap(&swap.with_keyed_write(&write), now()).unwrap();
        assert!(new > old.version);
        let record = schema.store().get("notes", &a).unwrap().unwrap();
        assert_eq!(record.keyed_write.as_deref(), Some(&write));
    }
}

/// If another role opens the tables, it gets an error, and the tables do not change. The owner
/// migrates them.
#[test]
fn only_the_owner_adds_the_keys() {
    let Some(schema) = Schema::new() else { return };
    schema.sql(WITHOUT_KEYS);
    schema.sql(
        "INSERT INTO ifmatch VALUES (true, 2, true); CREATE ROLE guest LOGIN PASSWORD 'right'; \
         DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO guest', current_schema()); \
         END $$; GRANT SELECT, INSERT, UPDATE, DELETE ON document, collection, ifmatch TO guest",
    );
    let url: PostgresUrl = schema
        .url
        .replace("postgres@", "guest:right@")
        .parse()
        .unwrap();
    let error = PostgresStore::open(url.clone()).unwrap_err();
    let sentence = format!("cannot use the store {url}: must be owner of table document");
    assert_eq!(error.to_string(), sentence);
    assert_eq!(schema.rows("SELECT schema_version FROM ifmatch"), "2");
    drop(schema.store());
    let store = PostgresStore::open(url).unwrap();
    assert!(create(&store, "1") > Version::FIRST);
}

/// The columns of new tables and of those that were migrated are the same.
#[test]
fn the_tables_are_those_of_a_new_database() {
    let shape = |tables: &str| {
        let schema = Schema::new()?;
        schema.sql(tables);
        let url: PostgresUrl = schema.url.parse().unwrap();
        PostgresStore::open(url).unwrap();
        let columns = schema.rows(
            "SELECT table_name, column_name, data_type, collation_name, is_nullable \
             FROM information_schema.columns WHERE table_schema = current_schema() \
             ORDER BY table_name, ordinal_position",
        );
        let indexes = schema.rows(
            "SELECT replace(indexdef, current_schema(), '') FROM pg_indexes \
             WHERE schemaname = current_schema() ORDER BY indexname",
        );
        Some((columns, indexes))
    };
    let Some(new) = shape("") else { return };
    let marked = format!("{WITHOUT_KEYS}; INSERT INTO ifmatch VALUES (true, 2, true)");
    assert_eq!(shape(&marked).unwrap(), new);
    assert_eq!(shape(TABLES).unwrap(), new);
}
