/// The pool, and what is done again when it fails.
mod connections;

/// The URL, without its password where it is shown.
mod url;

use std::error::Error;
use std::time::SystemTime;

use postgres::types::Type;
use postgres::{Client, IsolationLevel, Row, Transaction};

use crate::person::{Person, PersonId};
use crate::store::postgres::connections::{Connections, Failure, reason};
use crate::store::{Collection, OpenError, Record, Store, StoreError, Swap, SwapError};
use crate::version::{Version, VersionClock};

pub use url::{ParsePostgresUrlError, PostgresUrl};

/// The persons in a `PostgreSQL` database, which any number of servers on any number of machines
/// may serve at once, however much their clocks differ.
///
/// A write is one short transaction: it locks the one row that holds the version of the collection,
/// compares and swaps in one statement, and sets the version. The lock is what makes the version
/// right: no commit is overtaken by one with an earlier version, and no version comes back.
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
/// for than `SELECT` (by key, by key range with `ORDER BY` and `LIMIT`, one `LEFT JOIN`, and
/// `FOR UPDATE` of the one row), `INSERT ... ON CONFLICT DO NOTHING`, `UPDATE` and `DELETE` in a
/// transaction that is `READ COMMITTED` or stricter. A connection begins with `SET` of two timeouts;
/// at the start come `SHOW server_encoding`, a look at `information_schema.columns`, and `CREATE TABLE
/// IF NOT EXISTS`. There are no procedures, no sequences, no `LISTEN` and no advisory locks, and no
/// statement is prepared for longer than one use. The ids are `COLLATE "C"`: it is the one collation
/// that orders them byte for byte, whatever the database's own is, and so does their index.
///
/// Connections are not encrypted.
#[derive(Debug)]
pub struct PostgresStore {
    connections: Connections,
}

/// The tables, in an order that can be broken off anywhere: as long as there is no table of persons,
/// nothing has begun. Who looks on finds in `collection` the latest change of any person, those
/// that were removed included; what is not dated did not happen at that moment.
const SCHEMA: &str = r#"
CREATE TABLE IF NOT EXISTS collection (
    only_row BOOLEAN NOT NULL PRIMARY KEY CHECK (only_row),
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL
);
INSERT INTO collection VALUES (true, '1970-01-01T00:00:00.000000', true) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS person (
    person_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    person_name TEXT NOT NULL,
    change_date TEXT NOT NULL,
    dated BOOLEAN NOT NULL
);
"#;

/// The columns of the tables, as the database tells them.
const COLLECTION: &str = "only_row boolean, change_date text, dated boolean";
const PERSON: &str = "person_id text, person_name text, change_date text, dated boolean";

impl PostgresStore {
    /// Connects to a database, and creates the tables if there are none.
    ///
    /// # Errors
    ///
    /// When it cannot be reached, or has tables of these names that are not ours. They stay as they
    /// are.
    pub fn open(url: PostgresUrl) -> Result<Self, OpenError> {
        let connections = Connections::new(url);
        match connections.ask(prepare) {
            Ok(()) => Ok(Self { connections }),
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
                "SELECT person_id, person_name, change_date, dated FROM person WHERE person_id = $1",
                &[(&id.as_str(), Type::TEXT)],
            )?;
            row.map(|row| record(&row, 0)).transpose()
        })
    }

    fn version(&self) -> Result<Version, StoreError> {
        self.ask(|client| {
            let row = client.query_typed_opt("SELECT change_date, dated FROM collection", &[])?;
            collection_version(row.as_ref())
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
                     FROM person WHERE person_id > $1 ORDER BY person_id LIMIT $2 \
                 ) AS page ON true ORDER BY page.person_id",
                &[(&after, Type::TEXT), (&most, Type::INT8)],
            )?;
            let version = collection_version(rows.first())?;
            // The version stands alone where there is nobody.
            let somebody = |row: &&Row| !matches!(row.try_get(2), Ok(None::<&str>));
            let records = rows.iter().filter(somebody).map(|row| record(row, 2));
            let records = records.collect::<Result<_, _>>()?;
            Ok(Collection { version, records })
        })
    }

    fn swap(&self, swap: &Swap<'_>, now: SystemTime) -> Result<Version, SwapError> {
        self.ask(|client| write(client, swap, now))?
    }
}

/// Performs `swap` in one transaction. Whatever ends it before the commit, it is rolled back.
fn write(
    client: &mut Client,
    swap: &Swap<'_>,
    now: SystemTime,
) -> Result<Result<Version, SwapError>, Failure> {
    let transaction = client.build_transaction();
    let level = IsolationLevel::ReadCommitted;
    let mut transaction = transaction.isolation_level(level).start()?;
    // From here on nobody else writes, on whatever server.
    let lock = "SELECT change_date, dated FROM collection FOR UPDATE";
    let latest = collection_version(transaction.query_typed_opt(lock, &[])?.as_ref())?;
    if swap.expected_collection().is_some_and(|it| it != latest) {
        return Ok(Err(SwapError::Conflict));
    }
    let Some(version) = VersionClock::after(latest).next(now) else {
        return Ok(Err(StoreError::exhausted().into()));
    };
    if !compare_and_swap(&mut transaction, swap, version)? {
        return Ok(Err(SwapError::Conflict));
    }
    let (new, dated) = (version.to_string(), version.is_dated());
    transaction.execute_typed(
        "UPDATE collection SET change_date = $1, dated = $2",
        &[(&new, Type::TEXT), (&dated, Type::BOOL)],
    )?;
    transaction.commit().map_err(|error| match error.into() {
        Failure::Lost(reason) => {
            Failure::Unconfirmed(format!("{reason}, while a write was being confirmed"))
        }
        failure => failure,
    })?;
    Ok(Ok(version))
}

/// Changes the person to what is wanted if it is what is expected; whether it was.
fn compare_and_swap(
    transaction: &mut Transaction<'_>,
    swap: &Swap<'_>,
    version: Version,
) -> Result<bool, postgres::Error> {
    let id = swap.id().as_str();
    let (new, dated) = (version.to_string(), version.is_dated());
    let old = swap.expected().map(|version| version.to_string());
    let name = swap.new_state().map(|person| encoded(person.name()));
    let changed = match (&old, &name) {
        (None, Some(name)) => transaction.execute_typed(
            "INSERT INTO person (person_id, person_name, change_date, dated) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            &[
                (&id, Type::TEXT),
                (name, Type::TEXT),
                (&new, Type::TEXT),
                (&dated, Type::BOOL),
            ],
        )?,
        (Some(old), Some(name)) => transaction.execute_typed(
            "UPDATE person SET person_name = $2, change_date = $3, dated = $4 \
             WHERE person_id = $1 AND change_date = $5",
            &[
                (&id, Type::TEXT),
                (name, Type::TEXT),
                (&new, Type::TEXT),
                (&dated, Type::BOOL),
                (old, Type::TEXT),
            ],
        )?,
        (Some(old), None) => transaction.execute_typed(
            "DELETE FROM person WHERE person_id = $1 AND change_date = $2",
            &[(&id, Type::TEXT), (old, Type::TEXT)],
        )?,
        // There is no such swap.
        (None, None) => 0,
    };
    Ok(changed == 1)
}

/// Sees to it that there are our tables, or refuses those that are not.
fn prepare(client: &mut Client) -> Result<(), Failure> {
    let encoding = client.query_typed_one("SHOW server_encoding", &[])?;
    let encoding: String = encoding.try_get(0).map_err(unreadable)?;
    // To another one not every name can be converted, and it may order the ids in another way.
    if !["UTF8", "SQL_ASCII"].contains(&encoding.as_str()) {
        return Err(Failure::Refused(format!(
            "its encoding is {encoding}, not UTF8"
        )));
    }
    // In this order: who finds the persons finds the collection, which is created before.
    let whole = has(client, "person", PERSON)?;
    let begun = has(client, "collection", COLLECTION)?;
    if !whole {
        // Another server may be about to do the same; the database refuses the slower one.
        let created = client.batch_execute(SCHEMA);
        created.map_err(|error| Failure::Overtaken(reason(&error)))?;
    } else if !begun {
        return Err(Failure::Refused("its table collection is missing".into()));
    }
    let row = client.query_typed_opt("SELECT change_date, dated FROM collection", &[])?;
    collection_version(row.as_ref()).map(|_| ())
}

/// Whether there is such a table, with our columns; one with others is refused.
fn has(client: &mut Client, table: &str, ours: &str) -> Result<bool, Failure> {
    let rows = client.query_typed(
        "SELECT column_name, data_type FROM information_schema.columns \
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
        &[(&table, Type::TEXT)],
    )?;
    let column = |row: &Row| -> Result<String, postgres::Error> {
        let (name, kind): (&str, &str) = (row.try_get(0)?, row.try_get(1)?);
        Ok(format!("{name} {kind}"))
    };
    let columns = rows.iter().map(column).collect::<Result<Vec<_>, _>>();
    let columns = columns.map_err(unreadable)?.join(", ");
    if columns.is_empty() || columns == ours {
        return Ok(!columns.is_empty());
    }
    let reason = format!("its table {table} belongs to another program");
    Err(Failure::Refused(reason))
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
