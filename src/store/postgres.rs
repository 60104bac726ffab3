/// The pool, and what is done again when it fails.
mod connections;

/// The tables: ours, or none yet.
mod tables;

/// The URL, without its password where it is shown.
mod url;

use std::error::Error;
use std::time::SystemTime;

use postgres::types::Type;
use postgres::{Client, IsolationLevel, Row, Transaction};

use crate::person::{Person, PersonId};
use crate::store::postgres::connections::{Connections, Failure};
use crate::store::{Change, Collection, OpenError, Record, Store, StoreError, Swap, SwapError};
use crate::version::{Version, VersionClock};

pub use url::{ParsePostgresUrlError, PostgresUrl};

/// The persons in a `PostgreSQL` database, which any number of servers on any number of machines
/// may serve at once, however much their clocks differ.
///
/// A write is one short transaction: it locks the one row that holds the version of the collection,
/// compares and swaps in one statement, and sets the version. The lock is what makes the version
/// right: no commit is overtaken by one with an earlier version, and no version comes back.
///
/// It also makes every write wait for every other. Where that is too slow,
/// [`open_without_collection_tag`](Self::open_without_collection_tag) does without the version of
/// the collection: only writes of one person wait for each other then. So that no version of a
/// person comes back, one that is removed leaves its id and its last change date behind.
///
/// ```no_run
/// use ifmatch::{Options, PostgresStore, Server};
///
/// let store = PostgresStore::open("postgres://ifmatch@localhost/persons".parse()?)?;
/// Server::bind("127.0.0.1:5000".parse()?, store, Options::default())?.serve()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # What the database has to understand
///
/// Its distributed relatives, which speak the same protocol, should do as well. No more is asked
/// for than `SELECT` (by key, by key range with `ORDER BY` and `LIMIT`, one `LEFT JOIN`, and `FOR
/// UPDATE` of one row), `INSERT ... ON CONFLICT` with `DO NOTHING` and `DO UPDATE`, `UPDATE` and
/// `DELETE` in a transaction that is `READ COMMITTED` or stricter, and one partial index. A
/// connection begins with `SET` of two timeouts; at the start come `SHOW server_encoding`, a look
/// at `information_schema.columns`, and `CREATE TABLE IF NOT EXISTS`. There are no procedures, no
/// sequences, no `LISTEN` and no advisory locks, and no statement is prepared for longer than one
/// use. The ids are `COLLATE "C"`: it is the one collation that orders them byte for byte, whatever
/// the database's own is, and so does their index.
///
/// Connections are not encrypted.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Connections,
    /// Whether there is a version of the collection, and so a tag of the list.
    tagged: bool,
}

impl PostgresStore {
    /// Connects to a database, and creates the tables if there are none.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or has tables of these names that are not ours, or whose lists have
    /// no tag. They stay as they are.
    pub fn open(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, true)
    }

    /// Connects to a database whose lists have no tag, and creates the tables if there are none.
    ///
    /// Which of both it is, is decided when they are created, and for all servers.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); and when the lists have a tag.
    pub fn open_without_collection_tag(url: PostgresUrl) -> Result<Self, OpenError> {
        Self::open_with(url, false)
    }

    fn open_with(url: PostgresUrl, tagged: bool) -> Result<Self, OpenError> {
        let connections = Connections::new(url);
        match connections.ask(|client| tables::prepare(client, tagged)) {
            Ok(()) => Ok(Self {
                connections,
                tagged,
            }),
            Err(reason) => Err(OpenError::new(&connections.url, reason)),
        }
    }

    fn ask<R>(&self, work: impl Fn(&mut Client) -> Result<R, Failure>) -> Result<R, StoreError> {
        self.connections.ask(work).map_err(|reason| {
            StoreError::new(format!(
                "the store {} failed: {reason}",
                self.connections.url
            ))
        })
    }
}

impl Store for PostgresStore {
    fn get(&self, id: &PersonId) -> Result<Option<Record>, StoreError> {
        self.ask(|client| {
            let row = client.query_typed_opt(
                "SELECT person_id, person_name, change_date, dated FROM person \
                 WHERE person_id = $1 AND NOT removed",
                &[(&id.as_str(), Type::TEXT)],
            )?;
            row.map(|row| record(&row, 0)).transpose()
        })
    }

    fn version(&self) -> Result<Option<Version>, StoreError> {
        if !self.tagged {
            return Ok(None);
        }
        self.ask(|client| {
            let row = client.query_typed_opt("SELECT change_date, dated FROM collection", &[])?;
            collection_version(row.as_ref()).map(Some)
        })
    }

    fn list(&self, after: Option<&str>, most: usize) -> Result<Collection, StoreError> {
        // No id is empty: all of them sort after that. None has a NUL: those after it come after
        // what is before it.
        let after = after.and_then(|it| it.split('\0').next()).unwrap_or("");
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.ask(|client| {
            // One statement, so that all of it is of one moment.
            let rows = client.query_typed(
                "SELECT collection.change_date, collection.dated, page.* \
                 FROM collection LEFT JOIN ( \
                     SELECT person_id, person_name, change_date, dated \
                     FROM person WHERE person_id > $1 AND NOT removed \
                     ORDER BY person_id LIMIT $2 \
                 ) AS page ON true ORDER BY page.person_id",
                &[(&after, Type::TEXT), (&most, Type::INT8)],
            )?;
            let version = collection_version(rows.first())?;
            // The version stands alone where there is nobody.
            let somebody = |row: &&Row| !matches!(row.try_get(2), Ok(None::<&str>));
            let records = rows.iter().filter(somebody).map(|row| record(row, 2));
            let records = records.collect::<Result<_, _>>()?;
            Ok(Collection {
                version: self.tagged.then_some(version),
                records,
            })
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.ask(|client| write(client, swap, self.tagged, now))?
    }
}

/// Performs `swap` in one transaction. Whatever ends it before the commit, it is rolled back.
fn write(
    client: &mut Client,
    swap: &Swap<'_>,
    tagged: bool,
    now: SystemTime,
) -> Result<Result<Version, SwapError>, Failure> {
    let transaction = client.build_transaction();
    let level = IsolationLevel::ReadCommitted;
    let mut transaction = transaction.isolation_level(level).start()?;
    // From here on nobody else writes, on whatever server: nothing, or not this person.
    let latest = if tagged {
        lock_collection(&mut transaction)?
    } else {
        lock_person(&mut transaction, swap.id())?
    };
    let stands_still = |expected| tagged && expected == latest;
    if !swap.expected_collection().is_none_or(stands_still) {
        return Ok(Err(SwapError::Conflict));
    }
    let Some(version) = VersionClock::after(latest).next(now) else {
        return Ok(Err(StoreError::exhausted().into()));
    };
    let changed = match swap.change() {
        Change::Create(person) => put(&mut transaction, person, None, latest, version)?,
        Change::Replace(person, old) => put(&mut transaction, person, Some(old), latest, version)?,
        Change::Remove(id, old) => remove(&mut transaction, id, old, tagged, version)?,
    };
    if !changed {
        return Ok(Err(SwapError::Conflict));
    }
    if tagged {
        transaction.execute_typed(
            "UPDATE collection SET change_date = $1, dated = $2",
            &[
                (&version.to_string(), Type::TEXT),
                (&version.is_dated(), Type::BOOL),
            ],
        )?;
    }
    transaction.commit().map_err(|error| match error.into() {
        Failure::Lost(reason) => {
            Failure::Unconfirmed(format!("{reason}, while a write was being confirmed"))
        }
        failure => failure,
    })?;
    Ok(Ok(version))
}

/// The latest version of all, which stays that until the end of the transaction.
fn lock_collection(transaction: &mut Transaction<'_>) -> Result<Version, Failure> {
    let lock = "SELECT change_date, dated FROM collection FOR UPDATE";
    collection_version(transaction.query_typed_opt(lock, &[])?.as_ref())
}

/// The latest version of this person, removed or not, which stays that until the end of the
/// transaction; the first of all where there never was one.
fn lock_person(transaction: &mut Transaction<'_>, id: &PersonId) -> Result<Version, Failure> {
    let lock = "SELECT change_date, dated FROM person WHERE person_id = $1 FOR UPDATE";
    let row = transaction.query_typed_opt(lock, &[(&id.as_str(), Type::TEXT)])?;
    row.map_or(Ok(Version::FIRST), |row| version(&row, 0))
}

/// Puts a person in the place of what is expected, if that is there; whether it was.
///
/// A person who was removed can be created if nobody did so since `latest` was read.
fn put(
    transaction: &mut Transaction<'_>,
    person: &Person,
    expected: Option<Version>,
    latest: Version,
    version: Version,
) -> Result<bool, postgres::Error> {
    let id = person.id().as_str();
    let name = encoded(person.name());
    let (new, dated) = (version.to_string(), version.is_dated());
    let (statement, old) = match expected {
        None => (
            "INSERT INTO person VALUES ($1, $2, $3, $4, false) \
             ON CONFLICT (person_id) DO UPDATE \
             SET person_name = $2, change_date = $3, dated = $4, removed = false \
             WHERE person.removed AND person.change_date = $5",
            latest,
        ),
        Some(old) => (
            "UPDATE person SET person_name = $2, change_date = $3, dated = $4 \
             WHERE person_id = $1 AND change_date = $5 AND NOT removed",
            old,
        ),
    };
    let changed = transaction.execute_typed(
        statement,
        &[
            (&id, Type::TEXT),
            (&name, Type::TEXT),
            (&new, Type::TEXT),
            (&dated, Type::BOOL),
            (&old.to_string(), Type::TEXT),
        ],
    )?;
    Ok(changed == 1)
}

/// Removes a person if it is the one that is expected; whether it was.
fn remove(
    transaction: &mut Transaction<'_>,
    id: &PersonId,
    old: Version,
    tagged: bool,
    version: Version,
) -> Result<bool, postgres::Error> {
    let (id, old) = (id.as_str(), old.to_string());
    let changed = if tagged {
        transaction.execute_typed(
            "DELETE FROM person WHERE person_id = $1 AND change_date = $2",
            &[(&id, Type::TEXT), (&old, Type::TEXT)],
        )?
    } else {
        transaction.execute_typed(
            "UPDATE person SET person_name = '', change_date = $3, dated = $4, removed = true \
             WHERE person_id = $1 AND change_date = $2 AND NOT removed",
            &[
                (&id, Type::TEXT),
                (&old, Type::TEXT),
                (&version.to_string(), Type::TEXT),
                (&version.is_dated(), Type::BOOL),
            ],
        )?
    };
    Ok(changed == 1)
}

fn collection_version(row: Option<&Row>) -> Result<Version, Failure> {
    let missing = || Failure::Refused("its table collection is empty".into());
    version(row.ok_or_else(missing)?, 0)
}

/// The person in the columns from `first` on.
fn record(row: &Row, first: usize) -> Result<Record, Failure> {
    let id: String = row.try_get(first).map_err(unreadable)?;
    let id = PersonId::new(id).map_err(unreadable)?;
    let name = decoded(row.try_get(first + 1).map_err(unreadable)?);
    Ok(Record {
        person: Person::new(id, name).map_err(unreadable)?,
        version: version(row, first + 2)?,
    })
}

fn version(row: &Row, first: usize) -> Result<Version, Failure> {
    let change_date: &str = row.try_get(first).map_err(unreadable)?;
    let version: Version = change_date.parse().map_err(unreadable)?;
    let dated = row.try_get(first + 1).map_err(unreadable)?;
    Ok(if dated { version } else { version.undated() })
}

/// A name as the database holds it: as it is, but for NUL, which no text can hold there, and the
/// character that stands for it.
fn encoded(name: &str) -> String {
    name.replace('\u{10}', "\u{10}1").replace('\0', "\u{10}0")
}

fn decoded(name: &str) -> String {
    name.replace("\u{10}0", "\0").replace("\u{10}1", "\u{10}")
}

/// Somebody else has written it.
fn unreadable(error: impl Error) -> Failure {
    Failure::Refused(
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    )
}
