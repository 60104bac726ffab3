//! The `PostgreSQL` store: the tests that are not among those of every store.

mod batches;
mod migration;
#[cfg(unix)]
mod pooler;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::{
    Document, Id, OpenError, ParsePostgresUrlError, Portion, PostgresStore, PostgresUrl, Store,
    StoreError, Swap, SwapError, Version,
};

use crate::conformance::{PERSONS, all, at, create, id, now, person};
use crate::support::cluster::{Cluster, Schema};

fn open(url: &str) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(url.parse().unwrap())
}

/// The reason of an error, without the name of the store.
#[track_caller]
fn reason_of(error: &StoreError) -> String {
    let text = error.to_string();
    let (_, reason) = text.split_once(" failed: ").expect(&text);
    reason.to_owned()
}

#[track_caller]
fn reason_of_swap(error: SwapError) -> String {
    let SwapError::Store(error) = error else {
        panic!("{error}");
    };
    reason_of(&error)
}

#[test]
fn a_store_that_is_opened_again_has_all_documents() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.store();
    for id in ["1", "2", "3"] {
        create(&*store, id);
    }
    let two = store.get(PERSONS, &id("2")).unwrap().unwrap();
    let remove = Swap::remove(PERSONS, &two.id, two.version);
    store
        .swap(&remove, at("2016-11-23T12:00:00.000000"))
        .unwrap();
    let before = all(&*store);
    assert!(!before.version.unwrap().is_dated());
    drop(store);
    assert_eq!(all(&*schema.store()), before);
}

/// The first server creates the tables, and the others find them complete.
#[test]
fn several_servers_open_an_empty_database() {
    for _ in 0..10 {
        let Some(schema) = Schema::new() else { return };
        let stores: Vec<_> = thread::scope(|scope| {
            let opened = [0; 4].map(|_| scope.spawn(|| schema.store()));
            opened.map(|it| it.join().unwrap()).into()
        });
        for (id, store) in stores.iter().enumerate() {
            create(&**store, &id.to_string());
        }
        assert_eq!(all(&*stores[0]).records.len(), 4);
    }
}

/// Versions increase even if the clocks of the servers differ by years.
#[test]
fn clocks_of_servers_may_differ() {
    for tagged in [true, false] {
        let Some(schema) = Schema::new() else { return };
        let schema = schema.tagged(tagged);
        clocks_differ(&[schema.store(), schema.store(), schema.store()], tagged);
    }
}

fn clocks_differ(stores: &[Arc<dyn Store>; 3], tagged: bool) {
    let clocks = [
        at("2026-11-23T12:00:00.000000"),
        at("2036-11-23T12:00:00.000000"),
        at("2016-11-23T12:00:00.000000"),
    ];
    let (one, wim) = (id("1"), person("Wim"));
    let mut last = Version::FIRST;
    for round in 0..30 {
        let (store, now) = (&stores[round % 3], clocks[round / 2 % 3]);
        let created = store.swap(&Swap::create(PERSONS, &one, &wim), now).unwrap();
        let replaced = store
            .swap(&Swap::replace(PERSONS, &one, created, &wim), now)
            .unwrap();
        let removed = store
            .swap(&Swap::remove(PERSONS, &one, replaced), now)
            .unwrap();
        assert!(last < created && created < replaced && replaced < removed);
        for store in stores {
            assert_eq!(
                store.collection_version(PERSONS),
                Ok(tagged.then_some(removed))
            );
            let stale = store.swap(&Swap::replace(PERSONS, &one, replaced, &wim), now);
            assert_eq!(stale, Err(SwapError::Conflict));
        }
        last = removed;
    }
    assert!(!last.is_dated());
}

/// The first server decides whether lists have a tag. A server that is configured otherwise does
/// not start.
#[test]
fn lists_have_a_tag_at_all_servers_or_at_none() {
    for tagged in [true, false] {
        let Some(schema) = Schema::new() else { return };
        let schema = schema.tagged(tagged);
        create(&*schema.store(), "1");
        let (open, reason): (fn(_) -> _, _) = if tagged {
            (
                PostgresStore::open_without_collection_tag,
                "it was begun without `--no-collection-tag`, and its lists have a tag",
            )
        } else {
            (
                PostgresStore::open,
                "it was begun with `--no-collection-tag`, and needs that from all servers",
            )
        };
        let url: PostgresUrl = schema.url.parse().unwrap();
        let error: OpenError = open(url.clone()).unwrap_err();
        let sentence = format!("cannot use the store {url}: {reason}");
        assert_eq!(error.to_string(), sentence);
        assert_eq!(all(&*schema.store()).records.len(), 1);
    }
}

/// Without a tag of the list, writes to different persons do not wait for each other. The row of a
/// removed person stays, with its last change date.
#[test]
fn without_a_tag_of_the_list() {
    let Some(schema) = Schema::new() else { return };
    let schema = schema.tagged(false);
    let store = schema.store();
    let (one, wim) = (id("1"), person("Wim"));
    let first = create(&*store, "1");
    let second = create(&*store, "2");
    let mut shell = schema.shell();
    let mut lock = shell.transaction().unwrap();
    lock.execute("SELECT * FROM document WHERE id = '2' FOR UPDATE", &[])
        .unwrap();
    let first = store
        .swap(&Swap::replace(PERSONS, &one, first, &wim), now())
        .unwrap();
    let late = store.swap(&Swap::remove(PERSONS, &id("2"), second), now());
    let reason = "canceling statement due to statement timeout";
    assert_eq!(late.map_err(reason_of_swap), Err(reason.to_owned()));
    drop(lock);

    let earlier = at("2016-11-23T12:00:00.000000");
    let removed = store
        .swap(&Swap::remove(PERSONS, &one, first), earlier)
        .unwrap();
    assert!(removed > first && !removed.is_dated());
    assert_eq!(store.get(PERSONS, &one), Ok(None));
    assert_eq!(all(&*store).records.len(), 1);
    let rows = schema.rows(
        "SELECT collection, id, content, change_date, dated, removed FROM document WHERE removed",
    );
    assert_eq!(rows, format!("persons|1|{{}}|{removed}|f|t"));
    for stale in [first, removed] {
        for swap in [
            Swap::replace(PERSONS, &one, stale, &wim),
            Swap::remove(PERSONS, &one, stale),
        ] {
            assert_eq!(store.swap(&swap, now()), Err(SwapError::Conflict));
        }
    }
    let again = store
        .swap(&Swap::create(PERSONS, &one, &wim), earlier)
        .unwrap();
    assert!(again > removed);
    let last = store.swap(
        &Swap::replace(PERSONS, &one, again, &wim),
        Version::LAST.into(),
    );
    let swap = store.swap(&Swap::remove(PERSONS, &one, last.unwrap()), now());
    let reason = "no change date is left before the end of the calendar";
    assert_eq!(swap.unwrap_err().to_string(), reason);
}

/// In each round four writers create the same person, or remove it. The lock on its row lets
/// exactly one of them succeed, and no version occurs twice.
#[test]
fn a_removed_person_is_created_again_only_once() {
    for tagged in [true, false] {
        let Some(schema) = Schema::new() else { return };
        let schema = schema.tagged(tagged);
        let stores = [schema.store(), schema.store()];
        let (one, wim) = (id("1"), person("Wim"));
        let mut versions = Vec::new();
        for _ in 0..50 {
            let expected = stores[0].get(PERSONS, &one).unwrap().map(|it| it.version);
            let swap = match expected {
                None => Swap::create(PERSONS, &one, &wim),
                Some(version) => Swap::remove(PERSONS, &one, version),
            };
            let made: Vec<_> = thread::scope(|scope| {
                let writers = [0, 1, 2, 3].map(|writer| {
                    let store = &stores[writer % 2];
                    scope.spawn(move || store.swap(&swap, now()))
                });
                let made = writers.map(|writer| writer.join().unwrap());
                made.into_iter().filter_map(Result::ok).collect()
            });
            assert_eq!(made.len(), 1, "{made:?}");
            versions.extend(made);
        }
        assert!(versions.is_sorted_by(|one, next| one < next));
    }
}

#[test]
fn tables_of_other_programs_are_refused_and_not_changed() {
    let columns = "SELECT table_name, column_name, data_type FROM information_schema.columns \
        WHERE table_schema = current_schema() ORDER BY 1, ordinal_position";
    let old = "CREATE TABLE collection \
        (only_row boolean, change_date text, dated boolean, tagged boolean)";
    let person = "CREATE TABLE person \
        (person_id text, person_name text, change_date text, dated boolean, removed boolean)";
    let mark = "CREATE TABLE ifmatch \
        (only_row boolean, schema_version integer, tagged boolean)";
    let marked = format!("{mark}; INSERT INTO ifmatch VALUES (true, 3, true)");
    let collection = "CREATE TABLE collection \
        (name text, change_date text, dated boolean, id_member text)";
    for (sql, reason) in [
        (
            "CREATE TABLE person (person_id text)".to_owned(),
            "its table person belongs to another program",
        ),
        (
            "CREATE TABLE collection (title text); INSERT INTO collection VALUES ('x')".to_owned(),
            "its table collection belongs to another program",
        ),
        (
            "CREATE TABLE document (title text)".to_owned(),
            "its table document belongs to another program",
        ),
        (
            "CREATE TABLE ifmatch (title text)".to_owned(),
            "its table ifmatch belongs to another program",
        ),
        (
            format!("{old}; CREATE TABLE person (person_id integer, person_name text)"),
            "its table person belongs to another program",
        ),
        (
            format!("{old}; {person}; CREATE TABLE document (title text)"),
            "its table document belongs to another program",
        ),
        (
            "CREATE VIEW person AS SELECT 1 AS person_id".to_owned(),
            "its table person belongs to another program",
        ),
        (person.to_owned(), "its table collection is missing"),
        (format!("{person}; {old}"), "its table collection is empty"),
        (
            collection.to_owned(),
            "its table collection belongs to another program",
        ),
        (mark.to_owned(), "its table ifmatch is empty"),
        (marked.clone(), "its table collection is missing"),
        (
            format!("{marked}; {collection}"),
            "its table document is missing",
        ),
        (
            format!("{marked}; {collection}; CREATE VIEW document AS SELECT 1 AS id"),
            "its table document belongs to another program",
        ),
        (
            format!("{mark}; INSERT INTO ifmatch VALUES (true, 4, true)"),
            "a newer ifmatch made it; its schema version is 4, and this one knows 3",
        ),
        (
            format!("{mark}; INSERT INTO ifmatch VALUES (true, 1, true)"),
            "its schema version is 1, which no ifmatch has made",
        ),
    ] {
        let Some(schema) = Schema::new() else { return };
        schema.sql(&sql);
        let before = schema.rows(columns);
        let url: PostgresUrl = schema.url.parse().unwrap();
        let error = PostgresStore::open(url.clone()).unwrap_err();
        let sentence = format!("cannot use the store {url}: {reason}");
        assert_eq!(error.to_string(), sentence);
        assert_eq!(
            schema.rows(columns),
            before,
            "{reason}: the tables have changed"
        );
    }
}

/// psql shows the documents. If psql writes an invalid document, reads fail with the reason.
#[test]
fn what_psql_reads_and_writes() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.store();
    create(&*store, "1");
    let (two, wim) = (id("2"), person("Wim"));
    let earlier = at("2016-11-23T12:00:00.000000");
    store
        .swap(&Swap::create(PERSONS, &two, &wim), earlier)
        .unwrap();
    let documents = "SELECT id, content::json->>'person_name', change_date, dated, removed \
        FROM document WHERE collection = 'persons' AND NOT removed ORDER BY id";
    assert_eq!(
        schema.rows(documents),
        "1|x|2026-11-23T12:00:00.000000|t|f\n2|Wim|2026-11-23T12:00:00.000001|f|f"
    );
    assert_eq!(
        schema.rows("SELECT * FROM collection"),
        "persons|2026-11-23T12:00:00.000001|f|"
    );
    assert_eq!(schema.rows("SELECT * FROM ifmatch"), "t|3|t");
    assert_eq!(
        schema.rows(
            "SELECT string_agg(concat(table_name, '.', column_name), ' ' ORDER BY 1) \
             FROM information_schema.columns \
             WHERE table_schema = current_schema() AND collation_name = 'C'"
        ),
        "collection.name document.collection document.id document.idempotency_key \
         document.removed_at"
    );
    let refused = |change: &str, sentence: &str| {
        schema.sql(&format!("UPDATE document SET {change} WHERE id = '2'"));
        let expected = Err(sentence.to_owned());
        assert_eq!(
            store.get(PERSONS, &two).map_err(|it| reason_of(&it)),
            expected.clone().map(|()| None)
        );
        let list = store.list(PERSONS, Portion::ALL);
        assert_eq!(list.map_err(|it| reason_of(&it)).map(|_| ()), expected);
        assert!(store.get(PERSONS, &id("1")).unwrap().is_some());
    };
    refused("content = 'Wim'", "the content of `2` is not a JSON object");
    refused(
        "content = '{}', change_date = 'today'",
        "not a change date such as `2020-12-24T10:11:52.200311`",
    );
    schema.sql("DELETE FROM document WHERE id = '2'");
    assert_eq!(all(&*store).records.len(), 1);
}

/// A text of the database may have all characters that a document may have.
#[test]
fn a_content_is_kept_as_it_is() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.store();
    let text = r#"{"b":1.0,"a":"\u0000\n\\ 'x' \"y\" \u00e9 é","c":1e400}"#;
    let document = Document::from_stored(text).unwrap();
    store
        .swap(&Swap::create("notes", &id("1"), &document), now())
        .unwrap();
    let stored = schema.shell();
    let row = { stored }
        .query_one("SELECT content FROM document", &[])
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), text);
    let record = store.get("notes", &id("1")).unwrap().unwrap();
    assert_eq!(record.document, document);
}

/// While another program locks the row of one collection, the other collections can be written to.
#[test]
fn collections_do_not_wait_for_each_other() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.store();
    create(&*store, "1");
    let mut shell = schema.shell();
    let mut lock = shell.transaction().unwrap();
    let held = "SELECT * FROM collection WHERE name = 'persons' FOR UPDATE";
    lock.execute(held, &[]).unwrap();
    // The row of a new collection that is not committed yet.
    let begun = "INSERT INTO collection VALUES ('begun', '1970-01-01T00:00:00.000000', true)";
    lock.execute(begun, &[]).unwrap();
    let since = Instant::now();
    let (one, wim) = (id("1"), person("Wim"));
    let create = Swap::create("notes", &one, &wim);
    let version = store.swap(&create, now()).unwrap();
    let remove = Swap::remove("notes", &one, version);
    store.swap(&remove, now()).unwrap();
    store
        .fill("notes", &[(one.clone(), wim.clone())], now())
        .unwrap();
    assert!(since.elapsed() < Duration::from_secs(4), "{since:?}");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.swap(&Swap::create("begun", &one, &wim), now()));
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        lock.rollback().unwrap();
        assert!(waiting.join().unwrap().is_ok());
    });
}

/// A page in the middle of many documents is read from the index, also before the database has
/// statistics of the table.
#[test]
fn a_page_is_read_from_the_index() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    schema.sql("ALTER TABLE document SET (autovacuum_enabled = false)");
    store.fill(PERSONS, &documents(100_000), now()).unwrap();
    let after = |after, count, bytes| {
        let portion = Portion {
            after: Some(after),
            count,
            bytes,
        };
        let list = store.list(PERSONS, portion).unwrap();
        assert!(list.more);
        let first = list.records.first().map(|it| it.id.to_string());
        (list.records.len(), first.unwrap_or_default())
    };
    assert_eq!(after("050000", 1000, 65_536), (1000, "050001".to_owned()));
    assert_eq!(after("050000", 1000, 250), (10, "050001".to_owned()));
    assert_eq!(
        after("050000", usize::MAX, 2500),
        (100, "050001".to_owned())
    );
    assert_eq!(after("05", 1, 1), (1, "050000".to_owned()));
    assert_eq!(after("05", 0, 1), (0, String::new()));
    drop(store);
    // A connection reports how many rows it has read when it ends.
    let read = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables \
        WHERE relname = 'document'";
    for _ in 0..200 {
        let row = schema.shell().query_one(read, &[]).unwrap();
        let (scanned, fetched): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(scanned, 0, "read without the index");
        assert!(fetched < 3000, "{fetched}");
        if fetched > 1800 {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing was read");
}

/// `count` documents, with ids of six digits.
fn documents(count: usize) -> Vec<(Id, Document)> {
    let numbers = 0..count;
    numbers
        .map(|number| (id(&format!("{number:06}")), person("x")))
        .collect()
}

/// A visit is not repeated if its connection is lost, and may take longer than a write.
#[test]
fn a_visit_shows_no_document_twice() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    store.fill("notes", &documents(2500), now()).unwrap();
    let mut seen = Vec::new();
    let slow = store.visit("notes", &mut |record| {
        if seen.is_empty() {
            thread::sleep(Duration::from_secs(6));
        }
        seen.push(record.id.clone());
        ControlFlow::Continue(())
    });
    assert_eq!(slow, Ok(()));
    let ids = documents(2500).into_iter().map(|(id, _)| id);
    assert!(seen.iter().cloned().eq(ids));
    end_connections(&schema);
    seen.clear();
    let lost = store.visit("notes", &mut |record| {
        seen.push(record.id.clone());
        if seen.len() == 7 {
            end_connections(&schema);
        }
        ControlFlow::Continue(())
    });
    let reason = "terminating connection due to administrator command";
    assert_eq!(lost.map_err(|it| reason_of(&it)), Err(reason.to_owned()));
    assert!(seen.is_sorted_by(|one, next| one < next) && (7..2500).contains(&seen.len()));
    assert_eq!(store.collections(), Ok(vec!["notes".to_owned()]));
}

/// Without a tag of the list, a fill waits for a write that creates one of its documents, and then
/// fails with a conflict.
#[test]
fn a_fill_conflicts_with_a_write_without_a_tag_of_the_list() {
    let Some(schema) = Schema::new() else { return };
    let schema = schema.tagged(false);
    let store = schema.store();
    let (many, wim) = (documents(1200), person("Wim"));
    let ahead = at("2036-11-23T12:00:00.000000");
    let last = &many[1199].0;
    let made = store
        .swap(&Swap::create("notes", last, &wim), ahead)
        .unwrap();
    let removed = store
        .swap(&Swap::remove("notes", last, made), ahead)
        .unwrap();
    let mut shell = schema.shell();
    let mut begun = shell.transaction().unwrap();
    let create = format!("UPDATE document SET removed = false WHERE id = '{last}'");
    begun.execute(&create, &[]).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| store.fill("notes", &many, now()));
        thread::sleep(Duration::from_millis(500));
        assert!(!waiting.is_finished());
        begun.commit().unwrap();
        assert_eq!(waiting.join().unwrap(), Err(SwapError::Conflict));
    });
    assert_eq!(store.get("notes", &many[0].0), Ok(None));
    store
        .swap(&Swap::remove("notes", last, removed), now())
        .unwrap();
    assert_eq!(store.fill("notes", &many, now()), Ok(()));
    let filled = store.list("notes", Portion::ALL).unwrap();
    let versions: Vec<Version> = filled.records.iter().map(|record| record.version).collect();
    assert_eq!(versions.len(), 1200);
    assert!(removed < versions[0] && versions.is_sorted_by(|one, next| one < next));
}

#[test]
fn a_swap_fails_if_another_program_keeps_the_lock() {
    let Some(schema) = Schema::new() else { return };
    let store = schema.store();
    let version = create(&*store, "1");
    let mut shell = schema.shell();
    let mut lock = shell.transaction().unwrap();
    lock.execute("UPDATE collection SET dated = dated", &[])
        .unwrap();
    let before = all(&*store);
    let (one, wim) = (id("1"), person("Wim"));
    let late = store.swap(&Swap::replace(PERSONS, &one, version, &wim), now());
    assert_eq!(
        late.map_err(reason_of_swap),
        Err("canceling statement due to statement timeout".to_owned())
    );
    assert_eq!(all(&*store), before, "reads are not blocked");
    lock.rollback().unwrap();
    assert!(
        store
            .swap(&Swap::replace(PERSONS, &one, version, &wim), now())
            .is_ok()
    );
}

/// Ends all connections to the database except its own.
fn end_connections(schema: &Schema) {
    let mut shell = schema.shell();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    let ended = shell.query(others, &[]).unwrap();
    assert!(!ended.is_empty());
}

#[test]
fn a_lost_connection_is_replaced() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    let mut version = create(&*store, "1");
    let (one, wim) = (id("1"), person("Wim"));
    for _ in 0..5 {
        end_connections(&schema);
        version = store
            .swap(&Swap::replace(PERSONS, &one, version, &wim), now())
            .unwrap();
        end_connections(&schema);
        assert_eq!(store.get(PERSONS, &one).unwrap().unwrap().version, version);
        end_connections(&schema);
        assert_eq!(all(&*store).version, Some(version));
        end_connections(&schema);
        assert_eq!(store.collection_version(PERSONS), Ok(Some(version)));
    }
}

/// Creates a trigger that runs the statement `how` for the first `times` updates of a document.
/// `IMMEDIATE` is during the update, `DEFERRED` is during the commit.
fn fail(schema: &Schema, times: usize, when: &str, how: &str) {
    schema.sql(&format!(
        "CREATE SEQUENCE fails;
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF nextval('fails') <= {times} THEN {how}; END IF;
             RETURN NULL;
         END $$;
         CREATE CONSTRAINT TRIGGER fail AFTER UPDATE ON document
             DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION fail()"
    ));
}

/// The database aborts the transaction in favour of another one, in the middle or at the end.
#[test]
fn an_aborted_transaction_is_repeated() {
    for when in ["IMMEDIATE", "DEFERRED"] {
        for code in ["40001", "40P01"] {
            let Some(schema) = Schema::new() else { return };
            let store = schema.store();
            let version = create(&*store, "1");
            let how = format!("RAISE EXCEPTION 'too slow' USING ERRCODE = '{code}'");
            fail(&schema, 3, when, &how);
            let (one, wim) = (id("1"), person("Wim"));
            let swap = Swap::replace(PERSONS, &one, version, &wim);
            let version = store.swap(&swap, now()).unwrap();
            assert_eq!(store.get(PERSONS, &one).unwrap().unwrap().version, version);
            assert_eq!(schema.rows("SELECT last_value FROM fails"), "4");
            // The number of repetitions is limited.
            schema.sql("ALTER SEQUENCE fails RESTART MINVALUE -1000 START -1000");
            let swap = store.swap(&Swap::replace(PERSONS, &one, version, &wim), now());
            assert_eq!(swap.map_err(reason_of_swap), Err("too slow".to_owned()));
            assert_eq!(schema.rows("SELECT last_value FROM fails"), "-990");
            assert_eq!(store.collection_version(PERSONS), Ok(Some(version)));
        }
    }
}

/// If the connection is lost during the commit, the write may have been performed and is not
/// repeated. If the connection is lost before that, the write is repeated.
#[test]
fn a_write_whose_commit_was_not_confirmed_is_not_repeated() {
    for (when, tries) in [("IMMEDIATE", 2), ("DEFERRED", 1)] {
        let Some(schema) = Schema::new() else { return };
        let store = schema.store();
        let version = create(&*store, "1");
        fail(
            &schema,
            1,
            when,
            "PERFORM pg_terminate_backend(pg_backend_pid())",
        );
        let (one, wim) = (id("1"), person("Wim"));
        let swap = store.swap(&Swap::replace(PERSONS, &one, version, &wim), now());
        if tries == 1 {
            // The store may read the reason that the database sends, or the connection ends before
            // that.
            let text = reason_of_swap(swap.unwrap_err());
            let (reason, when) = text.split_once(", ").expect(&text);
            let reasons = [
                "terminating connection due to administrator command",
                "connection closed",
            ];
            assert!(reasons.contains(&reason), "{text}");
            assert_eq!(when, "while a write was being confirmed");
            assert_eq!(
                store.collection_version(PERSONS),
                Ok(Some(version)),
                "the write was not performed"
            );
        } else {
            assert_eq!(store.collection_version(PERSONS), Ok(Some(swap.unwrap())));
        }
        let tried = schema.rows("SELECT last_value FROM fails");
        assert_eq!(tried, tries.to_string(), "{when}");
    }
}

#[test]
fn the_number_of_connections_is_limited() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    thread::scope(|scope| {
        for thread in 0..32 {
            let store = &store;
            scope.spawn(move || {
                for number in 0..20 {
                    create(&**store, &format!("{thread}-{number}"));
                }
            });
        }
        scope.spawn(|| {
            let mut shell = schema.shell();
            let count =
                "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
            for _ in 0..50 {
                let open: i64 = shell.query_one(count, &[]).unwrap().get(0);
                assert!(open <= 8 + 1, "{open}");
            }
        });
    });
    assert_eq!(all(&*store).records.len(), 640);
}

/// While the database is stopped, every call fails at once. After the database has started again,
/// every call succeeds.
#[test]
fn a_database_that_crashes_and_starts_again() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let store = schema.store();
    let mut version = create(&*store, "1");
    let (one, wim) = (id("1"), person("Wim"));
    for _ in 0..3 {
        thread::scope(|scope| {
            // This opens several connections, which the crash ends.
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(store.collection_version(PERSONS), Ok(Some(version))));
            }
        });
        cluster.crash();
        let since = Instant::now();
        for _ in 0..20 {
            let reason = "error connecting to server: No such file or directory (os error 2)";
            let reason = reason.to_owned();
            assert_eq!(
                store
                    .collection_version(PERSONS)
                    .map_err(|it| reason_of(&it)),
                Err(reason.clone())
            );
            let swap = store.swap(&Swap::replace(PERSONS, &one, version, &wim), now());
            assert_eq!(swap.map_err(reason_of_swap), Err(reason));
        }
        assert!(since.elapsed() < Duration::from_secs(2), "{since:?}");
        let error = open(&schema.url).unwrap_err().to_string();
        assert!(
            error.ends_with(": error connecting to server: No such file or directory (os error 2)"),
            "{error}"
        );
        cluster.go_on();
        version = store
            .swap(&Swap::replace(PERSONS, &one, version, &wim), now())
            .unwrap();
        assert_eq!(all(&*store).version, Some(version));
    }
}

#[test]
fn urls() {
    for (url, shown) in [
        (
            "postgres://ann@localhost/persons",
            "postgres://ann@localhost:5432/persons",
        ),
        (
            "postgresql://ann:secret@db.example:5433/persons",
            "postgres://ann@db.example:5433/persons",
        ),
        (
            "postgres://ann:secret@a,b:5433/persons",
            "postgres://ann@a:5432,b:5433/persons",
        ),
        (
            "postgres://ann:se%40cret@[::1]/persons?connect_timeout=9",
            "postgres://ann@[::1]:5432/persons",
        ),
        (
            "postgres://ann@%2Ftmp/persons",
            "postgres://ann@/tmp:5432/persons",
        ),
        (
            "postgres:///persons?host=/tmp&user=ann&password=secret&port=5433",
            "postgres://ann@/tmp:5433/persons",
        ),
        (
            "postgres:///persons?host=a&host=b&user=ann&password=secret",
            "postgres://ann@a:5432,b:5432/persons",
        ),
        ("postgres://localhost", "postgres://localhost:5432/"),
        (
            "postgres://ann:secret@a,b/persons?hostaddr=127.0.0.1,::1",
            "postgres://ann@a:5432,b:5432/persons?hostaddr=127.0.0.1,::1",
        ),
        (
            "postgres://ann:secret?sslmode=x@db.example/persons?sslmode=require",
            "postgres://ann@db.example:5432/persons",
        ),
        (
            "postgres://db.example/persons?ssl%6Dode=verify%2Dca&user=ann&sslrootcert=%2Fca&",
            "postgres://ann@db.example:5432/persons",
        ),
        (
            "postgres://ann@db.example/persons?sslmode=disable&target_session_attrs=read-write",
            "postgres://ann@db.example:5432/persons",
        ),
    ] {
        let url: PostgresUrl = url.parse().expect(url);
        assert_eq!(url.to_string(), shown);
        let url = url.or_password("secret");
        let debugged = format!("{url:?}");
        assert!(
            !debugged.contains("secret") && !debugged.contains("cret"),
            "{debugged}"
        );
    }
}

#[test]
fn invalid_urls_are_refused() {
    use ParsePostgresUrlError::{SslMode, SslRootCert, Url};
    for (url, error) in [
        ("", Url),
        ("postgres:", Url),
        ("postgres://", Url),
        ("postgres:///persons", Url),
        ("host=localhost user=ann", Url),
        ("postgres://ann:se@cret@localhost/persons", Url),
        ("postgres://ann@localhost:many/persons", Url),
        ("postgres://ann@localhost/persons?colour=red", Url),
        ("postgres://ann@localhost/persons?sslcert=ann.pem", Url),
        ("postgres://ann@localhost/persons?sslmode=%FF", Url),
        ("mysql://ann@localhost/persons", Url),
        ("sqlite:x?sslmode=red", Url),
        ("postgres://ann@localhost/persons?sslmode", SslMode),
        ("postgres://ann@localhost/persons?sslmode=", SslMode),
        ("postgres://ann@localhost/persons?sslmode=allow", SslMode),
        ("postgres://ann@localhost/persons?sslmode=Require", SslMode),
        ("postgres://ann@%2Ftmp/persons?sslmode=verify", SslMode),
        (
            "postgres://ann@db.example/persons?sslmode=verify-ca",
            SslRootCert,
        ),
    ] {
        assert_eq!(url.parse::<PostgresUrl>().unwrap_err(), error, "{url}");
    }
    for (error, sentence) in [
        (Url, "not a URL such as `postgres://user@host/database`"),
        (
            SslMode,
            "sslmode is none of `disable`, `prefer`, `require`, `verify-ca` and `verify-full`",
        ),
        (
            SslRootCert,
            "sslmode=verify-ca needs `sslrootcert=FILE`; `verify-full` does without",
        ),
    ] {
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn databases_that_cannot_be_opened() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let schema = Schema::on(cluster);
    schema.sql("CREATE ROLE ann LOGIN PASSWORD 'right'; CREATE ROLE bob LOGIN PASSWORD 'right'");
    schema.sql("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc TEMPLATE template0");
    let host = cluster.host();
    let shown = cluster.socket_directory();
    let refused = |url: &str, place: &str, reason: &str| {
        let error = open(url).unwrap_err().to_string();
        let sentence = format!("cannot use the store postgres://{place}: {reason}");
        assert_eq!(error, sentence);
    };
    let [ann, postgres] = ["ann", "postgres"].map(|user| format!("{user}@{shown}:5432"));
    refused(
        &format!("postgres://ann:wrong@{host}/postgres"),
        &format!("{ann}/postgres"),
        "password authentication failed for user \"ann\"",
    );
    refused(
        &format!("postgres://ann@{host}/postgres"),
        &format!("{ann}/postgres"),
        "invalid configuration: password missing",
    );
    refused(
        &format!("postgres://ann:right@{host}/nowhere"),
        &format!("{ann}/nowhere"),
        "database \"nowhere\" does not exist",
    );
    refused(
        &format!("postgres://ann:right@{host}/postgres"),
        &format!("{ann}/postgres"),
        "permission denied for schema public",
    );
    refused(
        &format!("postgres://postgres@{host}/latin"),
        &format!("{postgres}/latin"),
        "its encoding is LATIN1, not UTF8",
    );
    refused(
        "postgres://ann@127.0.0.1:1/persons",
        "ann@127.0.0.1:1/persons",
        "error connecting to server: Connection refused (os error 111)",
    );
    refused(
        "postgres://ann:secret@[::1]:1,127.0.0.1:2/persons",
        "ann@[::1]:1,127.0.0.1:2/persons",
        "error connecting to server: Connection refused (os error 111)",
    );
    // The name is invalid, so no resolver is asked.
    refused(
        "postgres://ann:secret@db..example/persons",
        "ann@db..example:5432/persons",
        "error connecting to server: failed to lookup address information: Name or service not known",
    );
    // If the tables exist, the role needs no right to create tables.
    let store: Arc<dyn Store> = schema.store();
    create(&*store, "1");
    schema.sql(
        "DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO bob', current_schema()); END $$; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON document, collection, ifmatch TO bob",
    );
    let bob = schema.url.replace("postgres@", "bob@");
    let url: PostgresUrl = bob.parse().unwrap();
    let store = PostgresStore::open(url.or_password("right")).unwrap();
    create(&store, "2");
}
