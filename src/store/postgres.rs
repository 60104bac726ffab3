//! Documents in a `PostgreSQL` database.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::postgres::client::{Client, Limit, Type};
use crate::store::postgres::connections::{Connections, Failure};
use crate::store::queue::{NoOutcome, Queue};
use crate::store::{
    List, Listener, Listeners, OpenError, Outcome, OwnedSwap, Portion, Store, StoreError, Swap,
    SwapError,
};
use crate::version::Version;

mod breaker;
mod client;
mod connections;
mod fill;
mod keys;
mod migration;
mod new_rows;
mod page;
mod row;
mod ssl_mode;
mod swap;
mod tables;
mod tls;
mod url;

pub use url::{ParsePostgresUrlError, PostgresUrl};

/// The documents in a `PostgreSQL` database, which any number of servers on any number of machines
/// may serve at once, however much their clocks differ.
///
/// A write is one short transaction: it locks the one row that holds the version of the collection,
/// compares and swaps in one statement, and sets the version. The lock is what makes the version
/// right: no commit is overtaken by one with an earlier version, and no version comes back.
///
/// It also makes every write wait for every other of the same collection. So the writes that come
/// to one server meanwhile are performed together, in the next transaction. Each is compared for
/// itself; but if the connection is lost while that transaction is committed, all of them fail.
///
/// Where this is too slow,
/// [`open_without_collection_tag`](Self::open_without_collection_tag) does without the versions of
/// the collections: only writes of one document wait for each other then. So that no version of a
/// document comes back, one that is removed leaves its id and its last change date behind. And
/// [`fill`](Store::fill) does not hold up writes of other ids: what another server creates while it
/// commits remains, together with the documents of the fill.
///
/// The contents are the text of JSON objects, whose members other programs can ask for:
///
/// ```text
/// => SELECT id, content::json->>'title' FROM document WHERE collection = 'notes' AND NOT removed;
///  id | ?column?
/// ----+----------
///  1  | Milk
///  2  | Say "hi"
/// ```
///
/// The database refuses `->>` for a string with `\u0000`, which it can keep, but not show.
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
/// The first server that opens it turns its persons into documents of the collection `persons`, in
/// one transaction: all of them or none, with their change dates and tags. Only the owner of the
/// tables can do that, because it drops them; rights that were granted to other roles have to be
/// granted again, on `ifmatch`, `collection` and `document`. A server of 0.1.0 that still runs
/// answers 503 from then on.
///
/// A database that was made before there were keys gets the columns and indexes for them in the same
/// way, from the owner of the tables.
///
/// # Failover
///
/// A URL with several hosts and `target_session_attrs=read-write` leads to the one that takes
/// writes. No acknowledged write is lost and no version comes back, if the standby that is promoted
/// has all that the primary has confirmed: if `synchronous_standby_names` names it,
/// `synchronous_commit` is `on` or `remote_apply`, and `fsync` is on. A commit then waits as long as
/// no standby is connected, and no timeout ends that; other writes of the collection fail meanwhile.
///
/// There are three ways to lose a commit nevertheless. `pg_cancel_backend` ends the wait, and
/// `PostgreSQL` confirms what the standby does not have. After a restart of the primary, commits that
/// waited can be read before the standby has them. And an old primary that is not stopped when the
/// standby is promoted still answers reads.
///
/// After a loss, the next version follows the latest one that is left: it is the time, or where that
/// is no later, one microsecond more. So where the clock of one server was ahead of another's, a
/// lost version comes back with another content, and a swap that expects the lost one is performed.
///
/// A pooler may share its connections between transactions, because a session holds nothing but the
/// two timeouts. For these the role should have settings of its own, of 5 seconds: a pooler may give
/// a connection to a client that has not set them, and one that has to other programs of the role.
///
/// # SQL that the database must support
///
/// Databases with the same protocol, such as `CockroachDB`, may work; they are not tested. The store
/// uses only `SELECT` (by key, by a range of keys, which two columns make up, with `ORDER BY` and
/// `LIMIT`, with `LEFT JOIN`, with the window functions `row_number` and `sum`, and `FOR UPDATE` of
/// one row), `INSERT ... ON CONFLICT`
/// with `DO NOTHING` and `DO UPDATE`, `UPDATE` and `DELETE` in a transaction that is `READ
/// COMMITTED` or stricter, and three partial indexes, one of them unique.
///
/// While requests wait for a change, `id = ANY` of an array asks for the versions of the documents
/// they wait for. Several writes are performed with `INSERT ... SELECT`, `UPDATE ... FROM` and
/// `DELETE ... USING` an `unnest` of several arrays, with `RETURNING`. [`fill`](Store::fill) inserts
/// in the same way, and asks for `ANALYZE` afterwards, which may fail. [`visit`](Store::visit) and
/// [`collections`](Store::collections) read in a transaction that is `REPEATABLE READ, READ ONLY`,
/// the former after `SET LOCAL` of a timeout.
///
/// A connection begins with `SET` of two timeouts; at the start come `SHOW server_encoding`, a query
/// of `pg_catalog` (`pg_namespace`, `pg_class`, `pg_attribute`, `pg_type`), and three `CREATE TABLE`,
/// three `CREATE INDEX` and one `ALTER TABLE` in one transaction. Only a database of ifmatch 0.1.0 is
/// asked for `LOCK TABLE` and `DROP TABLE`, in a transaction too. There are no procedures, no sequences, no `LISTEN`
/// and no advisory locks, and no statement is prepared for longer than one use. The names and ids
/// are `COLLATE "C"`: it is the one collation that orders them byte for byte, whatever the
/// database's own is, and so does their index.
///
/// # A database that does not answer
///
/// Each call ends within six seconds, whether the database answers or not: one that was waiting for
/// a connection or for other writes to end, too. A statement is given up by the database itself
/// after five. If it does not even do that, the connection is closed, and the call fails; nothing
/// has changed then, unless the commit was under way. If no other call was answered meanwhile, from
/// then on one call at a time tries to connect, and the others fail within a second, until the
/// database answers. [`fill`](Store::fill), [`visit`](Store::visit) and opening a store may take
/// longer, but each of their statements has six seconds, or ten minutes where tables of an earlier
/// version are changed.
///
/// Connections to other machines are encrypted, and the server's certificate is verified, unless the
/// URL says otherwise: see [`PostgresUrl`]. A file of roots is read once, when the store is opened.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Connections,
    /// Whether collections have versions, and so their lists a tag.
    has_collection_versions: bool,
    queue: Queue<OwnedSwap, Outcome>,
    listeners: Listeners,
}

/// The interval of polling for changes by other servers while a request waits for one. To look
/// takes one short query for each collection.
///
/// `NOTIFY` would report them at once. But it serializes the commits of the database, needs a
/// connection of its own that no pooler may share, and reports nothing while that is lost.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

impl PostgresStore {
    /// Connects to a database, and creates the tables if there are none.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or has tables of these names that are not ours, or that a newer
    /// ifmatch made, or whose lists have no tag. They stay as they are. And when there are no
    /// certificates to trust in the file that the URL names, or in the system.
    pub fn open(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, true)
    }

    /// Connects to a database that has our tables, and leaves any other as it is.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and when it has none of the tables, or those of an earlier version.
    pub fn open_existing(url: PostgresUrl) -> Result<Self, OpenError> {
        let connections = Connections::new(url)?;
        let has_collection_versions =
            connections.run(Connections::limit_of_each(), tables::check_existing);
        Self::new(connections, has_collection_versions)
    }

    /// Connects to a database whose lists have no tag, and creates the tables if there are none.
    ///
    /// Whether lists have a tag is decided when the tables are created, for all servers.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and when the lists have a tag.
    pub fn open_without_collection_tag(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, false)
    }

    fn open_with(url: PostgresUrl, has_collection_versions: bool) -> Result<Self, OpenError> {
        let connections = Connections::new(url)?;
        let limit = Connections::limit_of_each();
        let prepared = connections.run(limit, |client| {
            tables::prepare(client, has_collection_versions)
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
                listeners: Listeners::default(),
            }),
            Err(reason) => Err(OpenError::new(&connections.url, reason)),
        }
    }

    /// Performs swaps of one collection: together, or if the database refuses that, each alone. It
    /// calls itself only once, because one swap alone always has an outcome.
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

    /// The failure of a swap that has no outcome.
    fn no_outcome(why: NoOutcome) -> StoreError {
        StoreError::new(match why {
            NoOutcome::TimedOut => "the writes before it have not ended",
            NoOutcome::Missing => "the thread that performed the write has ended",
        })
    }

    fn run<R>(&self, work: impl FnMut(&mut Client) -> Result<R, Failure>) -> Result<R, StoreError> {
        self.run_within(Connections::limit(), work)
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
        let limit = Connections::limit();
        let perform = |swaps: &[OwnedSwap]| self.perform(collection, swaps, limit);
        let outcome = if self.has_collection_versions {
            let timeout = Connections::time_to_wait(limit);
            self.queue.submit(collection, owned, timeout, |permit| {
                permit.take(swap::fits);
                perform(permit.writes())
            })
        } else {
            // Writes of different documents do not wait for each other, as they would in a batch.
            perform(&[owned]).pop().ok_or(NoOutcome::Missing)
        };
        let version = outcome.map_err(Self::no_outcome)??;
        self.listeners.notify(swap.collection(), Some(swap.id()));
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
        self.run_within(Connections::limit_of_each(), |client| {
            fill::fill(
                client,
                collection,
                documents,
                self.has_collection_versions,
                now,
            )
        })??;
        self.listeners.notify(collection, None);
        Ok(())
    }

    fn visit(
        &self,
        collection: &str,
        visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let mut begun = false;
        self.run_within(Connections::limit_of_each(), |client| {
            let mut seen = |record: &Record| {
                begun = true;
                visit(record)
            };
            let visited = page::visit(client, collection, &mut seen);
            // Another try would visit documents twice.
            visited.map_err(|failure| {
                if begun {
                    failure.without_retry()
                } else {
                    failure
                }
            })
        })
    }

    fn id_member(&self, collection: &str) -> Result<Option<String>, StoreError> {
        self.run(|client| swap::id_member(client, collection))
    }

    fn record_id_member(&self, collection: &str, name: &str) -> Result<String, StoreError> {
        if let Some(recorded) = self.id_member(collection)? {
            return Ok(recorded);
        }
        self.run(|client| swap::record_id_member(client, collection, name))
    }

    /// In one query.
    fn document_versions(
        &self,
        collection: &str,
        ids: &[Id],
    ) -> Result<Vec<Option<Version>>, StoreError> {
        self.run(|client| page::versions(client, collection, ids))
    }

    fn listen(&self, listener: Weak<dyn Listener>) -> Option<Duration> {
        self.listeners.add(listener);
        Some(POLL_INTERVAL)
    }

    fn collections(&self) -> Result<Vec<String>, StoreError> {
        self.run(page::collections)
    }
}
