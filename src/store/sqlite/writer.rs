//! The connection that writes.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use crate::document::{Document, Id};
use crate::store::queue::{Queue, WritePermit};
use crate::store::sqlite::batch::Batch;
use crate::store::{Outcome, OwnedSwap, StoreError, SwapError, lock};

/// The partition of all swaps in the queue: one transaction at a time writes to the file.
const PARTITION: &str = "";

/// The most bytes of the ids and documents of one batch. Other processes cannot write to the file
/// until the batch is committed.
const MAX_BYTES: usize = 1024 * 1024;

/// The only connection that writes, and the queue of the swaps that wait for it.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Mutex<Connection>,
    queue: Queue<OwnedSwap, Outcome>,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection: Mutex::new(connection),
            queue: Queue::new(),
        }
    }

    /// Performs a swap, in one transaction with others that wait at the same time.
    pub(super) fn swap(
        &self,
        swap: OwnedSwap,
        to_store_error: impl Fn(&rusqlite::Error) -> StoreError,
    ) -> Outcome {
        // The swap needs no timeout: a batch waits for other processes no longer than the busy
        // timeout of the connection.
        let outcome = self.queue.submit(PARTITION, swap, Duration::MAX, |permit| {
            self.perform(permit, &to_store_error)
        });
        let panicked = || StoreError::new("the thread that wrote to the store panicked").into();
        outcome.unwrap_or_else(|_| Err(panicked()))
    }

    /// Creates documents in a collection that has none, in a transaction of their own.
    pub(super) fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> rusqlite::Result<Result<(), SwapError>> {
        let mut connection = self.lock();
        Batch::begin(&mut connection)?.fill(collection, documents, now)
    }

    /// Waits until no other thread of this process writes.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        // After a panic no transaction is open: it was rolled back when it was dropped.
        lock(&self.connection)
    }

    /// Performs swaps that wait, in one transaction. Returns their outcomes after the commit.
    fn perform(
        &self,
        permit: &mut WritePermit<'_, OwnedSwap, Outcome>,
        to_store_error: &dyn Fn(&rusqlite::Error) -> StoreError,
    ) -> Vec<Outcome> {
        let mut connection = self.lock();
        let waiting = self.queue.waiting(PARTITION);
        let outcomes = match Batch::begin(&mut connection) {
            Ok(batch) => {
                permit.take(|batch, next| next.fits(batch, MAX_BYTES));
                perform_all(batch, permit.writes(), to_store_error)
            }
            Err(error) => {
                // The swaps that waited before `begin` fail, too: they have waited for the other
                // process as long as the swap of this thread.
                permit.take(|taken, _| taken.len() <= waiting);
                Err(error)
            }
        };
        outcomes.unwrap_or_else(|error| {
            let error = SwapError::from(to_store_error(&error));
            vec![Err(error); permit.writes().len()]
        })
    }
}

fn perform_all(
    mut batch: Batch<'_>,
    swaps: &[OwnedSwap],
    to_store_error: &dyn Fn(&rusqlite::Error) -> StoreError,
) -> rusqlite::Result<Vec<Outcome>> {
    let outcomes = swaps.iter().map(|swap| match batch.swap(swap) {
        // Another program has written a value that cannot be read. Only this swap fails, and it
        // has changed nothing.
        Err(error @ rusqlite::Error::FromSqlConversionFailure(..)) => {
            Ok(Err(to_store_error(&error).into()))
        }
        outcome => outcome,
    });
    let outcomes = outcomes.collect::<Result<_, _>>()?;
    batch.commit()?;
    Ok(outcomes)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::sync_channel;
    use std::sync::{Arc, Weak};
    use std::{env, fs, process, thread};

    use super::*;
    use crate::store::{Observer, SqliteStore, Store, Swap, Synchronous};
    use crate::version::Version;

    /// No batch that creates the document 1 can be committed.
    const REFUSE: &str = "
        CREATE TABLE t (x REFERENCES t (y) DEFERRABLE INITIALLY DEFERRED, y UNIQUE);
        CREATE TRIGGER r INSERT ON document WHEN NEW.id = '1' BEGIN INSERT INTO t VALUES (1, 2); END";

    /// A store in a directory of the test's own.
    struct TestStore {
        directory: PathBuf,
        store: SqliteStore,
    }

    impl TestStore {
        fn new(test: &str) -> Self {
            let name = format!("ifmatch-{test}-{}", process::id());
            let directory = env::temp_dir().join(name);
            fs::create_dir(&directory).unwrap();
            let store = SqliteStore::open(directory.join("it.db"), Synchronous::Full).unwrap();
            Self { directory, store }
        }

        /// The error of the swap as text; empty if the document was created.
        fn create(&self, collection: &str, number: usize) -> String {
            self.create_of(2, collection, number)
        }

        /// As `create`, with a document of so many bytes.
        fn create_of(&self, bytes: usize, collection: &str, number: usize) -> String {
            let id = Id::new(number.to_string()).unwrap();
            let document = Document::from_stored(format!("{{{}}}", " ".repeat(bytes - 2))).unwrap();
            let create = Swap::create(collection, &id, &document);
            let outcome = self.store.swap(&create, SystemTime::UNIX_EPOCH);
            outcome.map_or_else(|error| error.to_string(), |_| String::new())
        }

        /// Creates a document in each collection, all of them in one batch.
        fn create_together(&self, collections: &[&str]) -> Vec<String> {
            self.create_together_of(2, collections)
        }

        fn create_together_of(&self, bytes: usize, collections: &[&str]) -> Vec<String> {
            let writer = self.store.writer.lock();
            thread::scope(|scope| {
                let create =
                    |number, name| scope.spawn(move || self.create_of(bytes, name, number));
                let creators = collections.iter().enumerate();
                let creators: Vec<_> = creators.map(|(it, name)| create(it, *name)).collect();
                self.wait_for(creators.len() - 1);
                drop(writer);
                creators.into_iter().map(|it| it.join().unwrap()).collect()
            })
        }

        fn wait_for(&self, waiting: usize) {
            while self.store.writer.queue.waiting(PARTITION) < waiting {
                thread::yield_now();
            }
        }

        fn shell(&self) -> Connection {
            Connection::open(&self.store.path).unwrap()
        }

        fn error(&self, reason: &str) -> String {
            format!("the store {} failed: {reason}", self.store.path.display())
        }
    }

    impl Drop for TestStore {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Observer for Count {
        fn changed(&self, _: &str, _: Option<&Id>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// The first waits for the other process, and the others for the first. Then all of them wait
    /// for the other process together.
    #[test]
    fn writes_wait_together_for_another_process() {
        let store = TestStore::new("together");
        let (attempt, attempts) = sync_channel(8);
        let (release, released) = sync_channel::<()>(1);
        let busy = move |_| {
            attempt.send(()).unwrap();
            let _ = released.recv();
            false
        };
        store.store.writer.lock().busy_handler(Some(busy)).unwrap();
        let shell = store.shell();
        shell.execute_batch("BEGIN IMMEDIATE").unwrap();
        thread::scope(|scope| {
            let store = &store;
            let create = |number| scope.spawn(move || store.create("notes", number));
            let first = create(0);
            attempts.recv().unwrap();
            let others = [1, 2, 3, 4, 5, 6, 7].map(create);
            store.wait_for(others.len());
            drop(release);
            let locked = store.error("database is locked");
            assert_eq!(first.join().unwrap(), locked);
            assert!(others.into_iter().all(|it| it.join().unwrap() == locked));
        });
        assert_eq!(attempts.try_iter().count(), 1, "after the first");
        shell.execute_batch("ROLLBACK").unwrap();
        assert_eq!(store.create("notes", 0), "");
    }

    #[test]
    fn a_commit_that_fails_acknowledges_no_write() {
        let store = TestStore::new("commit");
        let count = Arc::new(Count::default());
        let observer: Weak<dyn Observer> = Arc::downgrade(&count) as _;
        store.store.observe(observer);
        let shell = store.shell();
        shell.execute_batch(REFUSE).unwrap();
        let error = store.error("FOREIGN KEY constraint failed");
        assert_eq!(store.create_together(&["a", "b", "c"]), [&*error; 3]);
        assert_eq!(store.store.collections(), Ok(Vec::new()));
        assert_eq!(
            store.store.collection_version("a"),
            Ok(Some(Version::FIRST))
        );
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        shell.execute_batch("DROP TRIGGER r").unwrap();
        assert_eq!(store.create_together(&["a", "b", "c"]), [""; 3]);
        assert_eq!(count.0.load(Ordering::SeqCst), 3);
    }

    /// All writes of one of the two batches fail.
    #[test]
    fn a_batch_is_bounded_by_count_and_bytes() {
        let store = TestStore::new("bounded");
        store.shell().execute_batch(REFUSE).unwrap();
        for (bytes, collections, batches) in [
            (2, &["many"; 66][..], [64, 2]),
            (MAX_BYTES * 2 / 5, &["long"; 3], [2, 1]),
        ] {
            let outcomes = store.create_together_of(bytes, collections);
            let failed = outcomes.iter().filter(|it| !it.is_empty()).count();
            assert!(batches.contains(&failed), "{failed} of {batches:?}");
        }
    }

    #[test]
    fn a_collection_that_another_program_broke_fails_alone() {
        let store = TestStore::new("broken");
        let broken = "INSERT INTO collection (name, change_date) VALUES ('b', 'today')";
        store.shell().execute_batch(broken).unwrap();
        let outcomes = store.create_together(&["a", "b", "c"]);
        let are_broken: Vec<_> = outcomes
            .iter()
            .map(|it| it.contains("not a change date"))
            .collect();
        assert_eq!(are_broken, [false, true, false], "{outcomes:?}");
        assert_eq!(store.store.collections(), Ok(vec!["a".into(), "c".into()]));
    }
}
