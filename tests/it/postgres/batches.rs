//! Several swaps in one transaction: each has its own outcome, unless the whole transaction fails.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use ifmatch::{Document, Id, IdempotencyKey, KeyedWrite, Portion, Store, Swap, SwapError, Version};

use super::{reason_of, reason_of_swap};
use crate::conformance::{id, now};
use crate::support::cluster::{Cluster, Schema};

const NOTES: &str = "notes";

fn number(number: usize) -> Document {
    Document::from_stored(format!(r#"{{"number":{number}}}"#)).unwrap()
}

fn create(store: &dyn Store, name: &str) -> Version {
    let (id, document) = (id(name), number(0));
    store
        .swap(&Swap::create(NOTES, &id, &document), now())
        .unwrap()
}

fn keyed(key: &str) -> KeyedWrite {
    KeyedWrite::new(IdempotencyKey::new(key).unwrap(), 1, false)
}

/// Performs these swaps so that most often they make one batch: another program locks the row of
/// the collection, a swap of the document `first` waits for that lock, and these swaps wait for
/// that swap.
fn swap_together(
    schema: &Schema,
    store: &dyn Store,
    swaps: &[Swap<'_>],
) -> Vec<Result<Version, SwapError>> {
    let (first, document) = (id("first"), number(1));
    let current = store.get(NOTES, &first).unwrap().unwrap().version;
    let mut shell = schema.shell();
    let mut lock = shell.transaction().unwrap();
    lock.execute("UPDATE collection SET dated = dated", &[])
        .unwrap();
    let blocked = "SELECT count(*) FROM pg_stat_activity \
        WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))";
    thread::scope(|scope| {
        let swap = Swap::replace(NOTES, &first, current, &document);
        let leading = scope.spawn(move || store.swap(&swap, now()));
        while lock.query_one(blocked, &[]).unwrap().get::<_, i64>(0) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let swapped: Vec<_> = swaps
            .iter()
            .map(|swap| scope.spawn(move || store.swap(swap, now())))
            .collect();
        // The test cannot see whether the swaps wait, so the callers repeat this until they did.
        thread::sleep(Duration::from_millis(20));
        lock.rollback().unwrap();
        leading.join().unwrap().unwrap();
        swapped.into_iter().map(|it| it.join().unwrap()).collect()
    })
}

/// Calls `is_batch` with new numbers until it returns that the swaps made one batch.
fn until_batched(is_batch: impl FnMut(usize) -> bool) {
    assert!((0..100).any(is_batch), "no batch in 100 rounds");
}

#[test]
fn a_conflict_in_a_batch_does_not_affect_the_other_swaps() {
    let Some(schema) = Schema::new() else { return };
    let store = &*schema.store();
    create(store, "first");
    let key = keyed("removal");
    until_batched(|round| {
        let ids: Vec<Id> = (0..8).map(|it| id(&format!("{round}-{it}"))).collect();
        let versions: Vec<_> = ids[..6]
            .iter()
            .map(|it| create(store, it.as_str()))
            .collect();
        let stale = versions[0];
        let one = number(1);
        let swaps = [
            Swap::replace(NOTES, &ids[0], versions[0], &one),
            Swap::replace(NOTES, &ids[1], stale, &one),
            Swap::remove(NOTES, &ids[2], versions[2]),
            Swap::remove(NOTES, &ids[3], stale),
            Swap::remove(NOTES, &ids[4], versions[4]).with_keyed_write(&key),
            Swap::create(NOTES, &ids[5], &one),
            Swap::create(NOTES, &ids[6], &one),
            Swap::replace(NOTES, &ids[7], stale, &one),
        ];
        let outcomes = swap_together(&schema, store, &swaps);
        let performed = [true, false, true, false, true, false, true, false];
        let is_ok: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        assert_eq!(is_ok, performed, "{outcomes:?}");
        for error in outcomes.iter().filter_map(|it| it.as_ref().err()) {
            assert_eq!(*error, SwapError::Conflict);
        }
        let made: Vec<_> = outcomes.iter().filter_map(|it| it.as_ref().ok()).collect();
        assert_eq!(made.iter().collect::<HashSet<_>>().len(), 4);
        assert_eq!(
            store.collection_version(NOTES).unwrap().as_ref(),
            made.into_iter().max()
        );
        let found = store.document_versions(NOTES, &ids).unwrap();
        let expected = [
            outcomes[0].clone().ok(),
            Some(versions[1]),
            None,
            Some(versions[3]),
            None,
            Some(versions[5]),
            outcomes[6].clone().ok(),
            None,
        ];
        assert_eq!(found, expected);
        assert_eq!(
            store.removal(NOTES, &ids[4], now()).unwrap().as_ref(),
            Some(&key)
        );
        let transactions = format!(
            "SELECT count(DISTINCT xmin::text) FROM document \
             WHERE id IN ('{}', '{}', '{}')",
            ids[0], ids[4], ids[6]
        );
        schema.rows(&transactions) == "1"
    });
}

/// Creates triggers that count the writes of documents, committed or not, and that run the
/// statement `what` for a write of the document `bad`.
fn trigger(schema: &Schema, when: &str, what: &str) {
    schema.sql(&format!(
        "CREATE SEQUENCE writes;
         CREATE SEQUENCE bad;
         CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             PERFORM nextval('writes');
             RETURN NEW;
         END $$;
         CREATE FUNCTION act() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.id = 'bad' THEN {what}; END IF;
             RETURN NULL;
         END $$;
         CREATE TRIGGER count BEFORE INSERT OR UPDATE ON document
             FOR EACH ROW EXECUTE FUNCTION count_write();
         CREATE CONSTRAINT TRIGGER act AFTER INSERT OR UPDATE ON document
             DEFERRABLE INITIALLY {when} FOR EACH ROW EXECUTE FUNCTION act()"
    ));
}

/// If the database refuses one swap, it undoes the whole batch. Then the store performs the other
/// swaps again.
#[test]
fn a_refused_swap_in_a_batch_does_not_affect_the_others() {
    let refuse = "RAISE EXCEPTION 'not this one'";
    for (when, what, is_key) in [
        ("IMMEDIATE", "NULL", true),
        ("IMMEDIATE", refuse, false),
        ("DEFERRED", refuse, false),
    ] {
        let Some(schema) = Schema::new() else { return };
        let store = &*schema.store();
        create(store, "first");
        let (holder, document) = (id("holder"), number(0));
        let taken = keyed("taken");
        let create_holder = Swap::create(NOTES, &holder, &document).with_keyed_write(&taken);
        store.swap(&create_holder, now()).unwrap();
        trigger(&schema, when, what);
        let bad = id("bad");
        until_batched(|round| {
            schema.sql("ALTER SEQUENCE writes RESTART");
            let ids = ["a", "b", "c"].map(|it| id(&format!("{it}{round}")));
            let mut swaps: Vec<_> = ids
                .iter()
                .map(|it| Swap::create(NOTES, it, &document))
                .collect();
            let create_bad = Swap::create(NOTES, &bad, &document);
            swaps.push(if is_key {
                create_bad.with_keyed_write(&taken)
            } else {
                create_bad
            });
            let outcomes = swap_together(&schema, store, &swaps);
            let (bad_outcome, others) = outcomes.split_last().unwrap();
            let bad_outcome = bad_outcome.clone().unwrap_err();
            if is_key {
                assert_eq!(bad_outcome, SwapError::KeyTaken);
            } else {
                assert_eq!(reason_of_swap(bad_outcome), "not this one");
            }
            assert_eq!(store.get(NOTES, &bad), Ok(None));
            for (id, outcome) in ids.iter().zip(others) {
                let found = store.get(NOTES, id).unwrap().map(|it| it.version);
                assert_eq!(found.as_ref(), outcome.as_ref().ok(), "{outcomes:?}");
                assert!(found.is_some(), "{outcomes:?}");
            }
            // If there are more writes than swaps, `first` included, some documents were written
            // twice.
            let written: usize = schema
                .rows("SELECT last_value FROM writes")
                .parse()
                .unwrap();
            written > ids.len() + 2
        });
    }
}

/// If the connection is lost during the commit, the batch may have been performed: all its swaps
/// fail, and none is repeated. If the connection is lost before that, the whole batch is repeated.
#[test]
fn a_batch_whose_commit_was_not_confirmed_is_not_repeated() {
    for (when, tries) in [("IMMEDIATE", 2), ("DEFERRED", 1)] {
        let Some(schema) = Schema::new() else { return };
        let store = &*schema.store();
        create(store, "first");
        create(store, "bad");
        let end =
            "IF nextval('bad') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF";
        trigger(&schema, when, end);
        let document = number(1);
        until_batched(|round| {
            schema.sql("ALTER SEQUENCE bad RESTART");
            let mut ids = ["a", "b", "c"]
                .map(|it| id(&format!("{it}{round}")))
                .to_vec();
            ids.push(id("bad"));
            let before: Vec<_> = ids[..3]
                .iter()
                .map(|it| create(store, it.as_str()))
                .collect();
            let bad = store.get(NOTES, &ids[3]).unwrap().unwrap().version;
            let before: Vec<_> = before.into_iter().chain([bad]).collect();
            let swaps: Vec<_> = ids
                .iter()
                .zip(&before)
                .map(|(id, version)| Swap::replace(NOTES, id, *version, &document))
                .collect();
            let outcomes = swap_together(&schema, store, &swaps);
            let tried = schema.rows("SELECT last_value FROM bad");
            assert_eq!(tried, tries.to_string(), "{when}");
            let found = store.document_versions(NOTES, &ids).unwrap();
            let mut failed = 0;
            for ((outcome, before), found) in outcomes.into_iter().zip(before).zip(found) {
                match outcome {
                    Ok(version) => assert_eq!(found, Some(version)),
                    Err(error) => {
                        let text = reason_of_swap(error);
                        let unclear = ", while a write was being confirmed";
                        assert!(text.ends_with(unclear), "{text}");
                        assert_eq!(found, Some(before), "it was performed again");
                        failed += 1;
                    }
                }
            }
            if tries == 1 {
                assert!(failed > 0);
                return failed == ids.len();
            }
            assert_eq!(failed, 0);
            let list = ids.iter().map(Id::as_str).collect::<Vec<_>>().join("', '");
            let transactions =
                format!("SELECT count(DISTINCT xmin::text) FROM document WHERE id IN ('{list}')");
            schema.rows(&transactions) == "1"
        });
    }
}

/// Increments the number in the document `own` until `turns` swaps have succeeded. Returns the last
/// number.
fn count(store: &dyn Store, own: &Id, mut version: Version, turns: usize) -> usize {
    let mut current = 0;
    let mut done = 0;
    while done < turns {
        let next = number(current + 1);
        match store.swap(&Swap::replace(NOTES, own, version, &next), now()) {
            Ok(made) => {
                assert!(made > version);
                (version, current, done) = (made, current + 1, done + 1);
            }
            Err(SwapError::Store(_)) => {
                let found = loop {
                    match store.get(NOTES, own) {
                        Ok(found) => break found.unwrap(),
                        Err(_) => thread::sleep(Duration::from_millis(5)),
                    }
                };
                if found.document == next {
                    current += 1;
                } else {
                    assert_eq!(
                        found.document,
                        number(current),
                        "an acknowledged write is lost"
                    );
                    assert_eq!(found.version, version);
                }
                version = found.version;
            }
            Err(error) => panic!("{error}: no other writer has this document"),
        }
    }
    current
}

/// The database crashes several times while 16 writers write through two servers. No acknowledged
/// write is lost, and no two states of the list have the same version.
#[test]
fn acknowledged_batches_survive_crashes() {
    const WRITERS: usize = 16;
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let schema = Schema::on(&cluster);
    let stores: [Arc<dyn Store>; 2] = [schema.store(), schema.store()];
    let ids: Vec<Id> = (0..WRITERS).map(|it| id(&format!("{it:02}"))).collect();
    let created: Vec<_> = ids
        .iter()
        .map(|it| create(&*stores[0], it.as_str()))
        .collect();
    let done = AtomicBool::new(false);
    let counted: Vec<usize> = thread::scope(|scope| {
        let writers: Vec<_> = ids
            .iter()
            .zip(created)
            .zip(stores.iter().cycle())
            .map(|((own, created), store)| scope.spawn(move || count(&**store, own, created, 150)))
            .collect();
        scope.spawn(|| {
            let mut states = HashMap::new();
            while !done.load(Ordering::SeqCst) {
                if let Ok(list) = stores[0].list(NOTES, Portion::ALL) {
                    let state: Vec<_> = list.records.iter().map(|it| it.version).collect();
                    let before = states.insert(list.version, state.clone());
                    assert!(
                        before.is_none_or(|it| it == state),
                        "one version, two states"
                    );
                }
            }
        });
        while !writers.iter().all(ScopedJoinHandle::is_finished) {
            thread::sleep(Duration::from_millis(100));
            cluster.crash();
            cluster.go_on();
        }
        done.store(true, Ordering::SeqCst);
        writers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    for (own, count) in ids.iter().zip(counted) {
        let found = stores[0].get(NOTES, own).unwrap().unwrap();
        assert_eq!(found.document, number(count), "{own}");
    }
    assert_eq!(
        stores[1]
            .collection_version(NOTES)
            .map_err(|it| reason_of(&it))
            .unwrap(),
        {
            let versions = stores[0].document_versions(NOTES, &ids).unwrap();
            versions.into_iter().max().unwrap()
        }
    );
}
