//! The store in a `PostgreSQL` database.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::postgres::client::{Client, Limit, Type};
use crate::store::postgres::connections::{Connections, Failure};
use crate::store::queue::{NoOutcome, Queue};
use crate::store::{
    List, Observer, Observers, OpenError, Outcome, OwnedSwap, Portion, Store, StoreError, Swap,
    SwapError,
};
use crate::version::Version;

mod breaker;
mod client;
mod collection_row;
mod connections;
mod fill;
mod keys;
mod migration;
mod page;
mod row;
mod row_changes;
mod ssl_mode;
mod swap;
mod tables;
mod tls;
mod transaction;
mod url;

pub use url::{ParsePostgresUrlError, PostgresUrl};

/// A store in a `PostgreSQL` database, which any number of servers on any number of machines can serve
/// at the same time, however much their clocks differ. In this documentation a *server* is one of
/// `ifmatch`, and the *database server* is that of `PostgreSQL`.
///
/// A write is one short transaction: it locks the row that has the version of the collection, mostly by
/// setting the new version, and compares and swaps. Because of the lock, the transactions of
/// a collection commit in the order of their versions, and no version is used twice.
///
/// The lock also makes all writes of a collection wait for each other. So the writes that come to a
/// server during a transaction are performed together, in the next one. Each is compared for itself.
/// But if the connection is lost while that transaction is committed, all of them fail.
///
/// If this is too slow, use [`open_without_collection_tag`](Self::open_without_collection_tag). Then
/// collections have no versions, and only writes of the same document wait for each other. The row of a
/// removed document stays, with its id and its last change date, so that no version of a document is
/// used twice. Writes of other ids do not wait for [`fill`](Store::fill): a document that another
/// server creates while the fill commits remains, together with the documents of the fill.
///
/// The contents are the text of JSON objects. Other programs can query their members:
///
/// ```text
/// => SELECT id, content::json->>'title' FROM document WHERE collection = 'notes' AND NOT removed;
///  id | ?column?
/// ----+----------
///  1  | Milk
///  2  | Say "hi"
/// ```
///
/// The database stores a string with `\u0000`, but refuses `->>` for it.
///
/// ```no_run
/// use ifmatch::{Options, PostgresStore, Server};
///
/// let store = PostgresStore::open("postgres://ifmatch@localhost/documents".parse()?)?;
/// Server::bind("127.0.0.1:5000".parse()?, store, Options::default())?.serve()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # A database of ifmatch 0.1.0
///
/// The first server that opens it migrates it: in one transaction, each person becomes a document of
/// the collection `persons`, with its change date and tag. This drops the old tables, so that only
/// their owner can do it. Grant the rights of other roles again, on `ifmatch`, `collection` and
/// `document`. From then on, a server of 0.1.0 that still runs answers 503.
///
/// A database without the columns and indexes for idempotency keys gets them in the same way.
///
/// # Failover
///
/// With several hosts and `target_session_attrs=read-write` in the URL, connections go to the host that
/// accepts writes. No acknowledged write is lost and no version is used twice, if the promoted standby
/// has every commit that the primary has confirmed. So `synchronous_standby_names` must name it,
/// `synchronous_commit` be `on` or `remote_apply`, and `fsync` be on. Then a commit waits while no
/// standby is connected, without a timeout, and the other writes of the collection fail.
///
/// There are three exceptions. `pg_cancel_backend` ends the wait for the standby, and `PostgreSQL`
/// confirms a commit that the standby does not have. After a restart of the primary, commits that waited
/// can be read before the standby has them. And an old primary that is not stopped when the standby is
/// promoted still answers reads.
///
/// After a loss, the next version is the time, or one microsecond after the latest version that is
/// left, whichever is later. So if the clock of one server was ahead of another's, a lost version can
/// be used twice, and a swap that expects the lost state replaces the new one.
///
/// A pooler may share its connections between transactions, because the two timeouts are the only state
/// of a session. Set both to 5 seconds for the role, and use the role for no other program: a pooler
/// may give a connection without them to a server, and a connection with them to another program.
///
/// # SQL that the database must support
///
/// Databases with the same protocol, such as `CockroachDB`, may work; they are not tested. The store
/// uses only:
///
/// - `SELECT` by a key or by a range of keys of two columns, with `ORDER BY`, `LIMIT`, `LEFT JOIN`,
///   `CASE`, `VALUES` as a table, `count`, `coalesce`, `octet_length`, the window functions `row_number`
///   and `sum`, and `FOR UPDATE` of one row; by `id = ANY` of an array while requests wait for changes of
///   documents.
/// - `UPDATE`, `DELETE`, and `INSERT ... ON CONFLICT` with `DO NOTHING` and `DO UPDATE`, in transactions
///   that are `READ COMMITTED` or stricter, and with `RETURNING`. For several rows: `INSERT ... SELECT`,
///   `UPDATE ... FROM` and `DELETE ... USING` an `unnest` of arrays.
/// - `ANALYZE` after [`fill`](Store::fill), which may fail.
/// - Transactions that are `REPEATABLE READ, READ ONLY`, for [`visit`](Store::visit) and
///   [`collections`](Store::collections), and `SET LOCAL` of a timeout.
/// - `SET` of two timeouts for each connection.
/// - At the start: `SHOW server_encoding`, a query of `pg_catalog` (`pg_namespace`, `pg_class`,
///   `pg_attribute`, `pg_type`), three `CREATE TABLE`, three `CREATE INDEX`, one of them unique and all
///   partial, and one `ALTER TABLE`. `LOCK TABLE` and `DROP TABLE` only for a database of ifmatch 0.1.0.
///
/// There are no procedures, no sequences, no `LISTEN` and no advisory locks, and no statement stays
/// prepared after its use. Names and ids are `COLLATE "C"`, the only collation that orders them by
/// their bytes in every database.
///
/// # A database that does not answer
///
/// Each call ends within six seconds, with its waits for a connection and for other writes. The
/// database ends a statement after five seconds. If it does not, the connection is closed and the call
/// fails; then nothing has changed, unless the commit was under way. If no other call was answered
/// meanwhile, from then on one call at a time tries to connect, and the others fail within a second,
/// until the database answers. [`fill`](Store::fill), [`visit`](Store::visit) and opening a store may
/// take longer, but each of their statements has six seconds, or ten minutes for a migration.
///
/// Connections to other machines are encrypted, and the certificate of the database server is verified,
/// unless the URL says otherwise: see [`PostgresUrl`]. A file of root certificates is read once, when
/// the store is opened.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Connections,
    /// Whether collections have versions: without them lists have no tag. It is the column `tagged` of
    /// the table `ifmatch`, and is false with `--no-collection-tag`.
    has_collection_versions: bool,
    queue: Queue<OwnedSwap, Outcome>,
    observers: Observers,
}

/// The interval of polling for the changes of other servers while a request waits for one. A poll takes
/// one short query for each collection.
///
/// `NOTIFY` would report changes at once. But it serializes the commits of the database, needs a
/// connection of its own that no pooler may share, and reports nothing while this connection is lost.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl PostgresStore {
    /// Connects to a database, and creates the tables if there are none.
    ///
    /// # Errors
    ///
    /// When the database cannot be reached, or has tables of another program with the same names, tables
    /// of a newer ifmatch, or collections without versions. Then it is not changed. And when the file
    /// that the URL names, or the system, has no root certificates.
    pub fn open(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, true)
    }

    /// Connects to a database only if it has the tables of this version.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and when the database has no tables, or those of an earlier version.
    /// Then it is not changed. Collections need not have versions.
    pub fn open_existing(url: PostgresUrl) -> Result<Self, OpenError> {
        let connections = Connections::new(url)?;
        let has_collection_versions =
            connections.run(Connections::statement_limit(), tables::check_existing);
        Self::new(connections, has_collection_versions)
    }

    /// Connects to a database whose collections have no versions, so that lists have no tag. Creates the
    /// tables if there are none.
    ///
    /// Whether collections have versions is decided when the tables are created, for all servers.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but when collections have versions.
    pub fn open_without_collection_tag(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, false)
    }

    fn open_with(url: PostgresUrl, has_collection_versions: bool) -> Result<Self, OpenError> {
        let connections = Connections::new(url)?;
        let limit = Connections::statement_limit();
        let prepared = connections.run(limit, |client| {
            migration::prepare(client, has_collection_versions)
        });
        Self::new(connections, prepared.map(|()| has_collection_versions))
    }

    fn new(
        connections: Connections,
        has_collection_versions: Result<bool, String>,
    ) -> Result<Self, OpenError> {
        match has_collection_versions {
            Ok(has_collection_versions) => Ok(Self {
                connections,
                has_collection_versions,
                queue: Queue::new(),
                observers: Observers::default(),
            }),
            Err(reason) => Err(OpenError::new(&connections.url, reason)),
        }
    }

    /// Performs swaps of one collection: in one transaction, or if the database refuses that, each in a
    /// transaction of its own. The recursion ends there, because a single swap always has an outcome.
    fn perform(&self, collection: &str, swaps: &[OwnedSwap], limit: Limit) -> Vec<Outcome> {
        match self.run_within(limit, |client| {
            swap::perform(client, collection, swaps, self.has_collection_versions)
        }) {
            Ok(Some(outcomes)) => outcomes,
            Ok(None) => {
                let alone = swaps.chunks(1);
                alone
                    .flat_map(|it| self.perform(collection, it, limit))
                    .collect()
            }
            Err(error) => vec![Err(error.into()); swaps.len()],
        }
    }

    /// The error of a swap that has no outcome.
    fn error_without_outcome(why: NoOutcome) -> StoreError {
        StoreError::new(match why {
            NoOutcome::TimedOut => "the writes before it have not ended",
            NoOutcome::Missing => "the thread that performed the write has ended",
        })
    }

    fn run<R>(&self, work: impl FnMut(&mut Client) -> Result<R, Failure>) -> Result<R, StoreError> {
        self.run_within(Connections::call_limit(), work)
    }

    fn run_within<R>(
        &self,
        limit: Limit,
        work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, StoreError> {
        self.connections.run(limit, work).map_err(|reason| {
            StoreError::new(format!(
                "the store {} failed: {reason}",
                self.connections.url
            ))
        })
    }
}

impl Store for PostgresStore {
    fn get(&self, collection: &str, id: &Id) -> Result<Option<Record>, StoreError> {
        self.run(|client| {
            let row = client.query_typed_opt(
                "SELECT id, content, change_date, dated, idempotency_key, request_digest, created \
                 FROM document WHERE collection = $1 AND id = $2 AND NOT removed",
                &[(&collection, Type::TEXT), (&id.as_str(), Type::TEXT)],
            )?;
            let Some(row) = row else { return Ok(None) };
            let keyed_write = keys::keyed_write(&row, 4)?.map(Arc::new);
            Ok(Some(Record {
                keyed_write,
                ..row::record(&row, 0)?
            }))
        })
    }

    fn collection_version(&self, collection: &str) -> Result<Option<Version>, StoreError> {
        if !self.has_collection_versions {
            return Ok(None);
        }
        self.run(|client| {
            let row = client.query_typed_opt(
                "SELECT change_date, dated FROM collection WHERE name = $1",
                &[(&collection, Type::TEXT)],
            )?;
            row::collection_version(row.as_ref()).map(Some)
        })
    }

    fn list(&self, collection: &str, portion: Portion<'_>) -> Result<List, StoreError> {
        let list = self.run(|client| page::list(client, collection, portion))?;
        Ok(List {
            version: list.version.filter(|_| self.has_collection_versions),
            ..list
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        let (collection, owned) = (swap.collection(), OwnedSwap::new(swap, now));
        let limit = Connections::call_limit();
        let perform = |swaps: &[OwnedSwap]| self.perform(collection, swaps, limit);
        let outcome = if self.has_collection_versions {
            let timeout = Connections::queue_timeout(limit);
            self.queue.submit(collection, owned, timeout, |permit| {
                permit.take(swap::fits);
                perform(permit.writes())
            })
        } else {
            // Writes of different documents do not wait for each other, as they would in a batch.
            perform(&[owned]).pop().ok_or(NoOutcome::Missing)
        };
        let version = outcome.map_err(Self::error_without_outcome)??;
        self.observers.notify(swap.collection(), Some(swap.id()));
        Ok(version)
    }

    fn removal(
        &self,
        collection: &str,
        id: &Id,
        now: SystemTime,
    ) -> Result<Option<KeyedWrite>, StoreError> {
        self.run(|client| keys::removal(client, collection, id, now))
    }

    fn fill(
        &self,
        collection: &str,
        documents: &[(Id, Document)],
        now: SystemTime,
    ) -> Result<(), SwapError> {
        self.run_within(Connections::statement_limit(), |client| {
            fill::fill(
                client,
                collection,
                documents,
                self.has_collection_versions,
                now,
            )
        })??;
        self.observers.notify(collection, None);
        Ok(())
    }

    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut has_begun = false;
        self.run_within(Connections::statement_limit(), |client| {
            let mut visit = |record: &Record| {
                has_begun = true;
                visit(record)
            };
            let visited = page::visit(client, collection, &mut visit);
            // Another try would visit documents twice.
            visited.map_err(|failure| {
                if has_begun {
                    failure.without_retry()
                } else {
                    failure
                }
            })
        })
    }

    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        self.run(|client| collection_row::id_member(client, collection))
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        if let Some(recorded) = self.id_member(collection)? {
            return Ok(recorded);
        }
        self.run(|client| collection_row::record_id_member(client, collection, name))
    }

    /// In one query.
    fn document_versions(
        &self,
        collection: &str,
        ids: &[Id],
    ) -> Result<Vec<Option<Version>>, StoreError> {
        self.run(|client| page::versions(client, collection, ids))
    }

    fn observe(&self, observer: Weak<dyn Observer>) -> Option<Duration> {
        self.observers.add(observer);
        Some(POLL_INTERVAL)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.run(page::collections)
    }
}
