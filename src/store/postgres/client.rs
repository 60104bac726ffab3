//! A blocking connection whose calls end within a limit.

use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout_at;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Socket};

pub(super) use tokio_postgres::Row;
pub(super) use tokio_postgres::types::Type;

/// The parameters of a statement.
pub(super) type Parameters<'a> = [(&'a (dyn ToSql + Sync), Type)];

/// How long a statement of a migration may take. One second more than the `statement_timeout` of
/// [`Transaction::take_longer`], so that the database ends the statement first.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(601);

/// How long it may take to tell the database that a session ends.
const END_TIMEOUT: Duration = Duration::from_millis(100);

/// How long the database may take to answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Limit {
    /// All statements end before this moment.
    Until(Instant),
    /// Each statement takes no longer than this.
    Each(Duration),
}

impl Limit {
    /// All statements end within this time from now on.
    pub(super) fn within(time: Duration) -> Self {
        Self::Until(Instant::now() + time)
    }

    /// How long the next statement may take.
    pub(super) fn left(self) -> Duration {
        self.end().saturating_duration_since(Instant::now())
    }

    fn end(self) -> Instant {
        match self {
            Self::Until(end) => end,
            Self::Each(time) => Instant::now() + time,
        }
    }
}

/// Why a statement has no result.
#[derive(Debug)]
pub(super) enum Error {
    /// The database refused it, or the connection is lost.
    Database(tokio_postgres::Error),
    /// There was no answer within the limit. The connection is closed.
    NoAnswer,
    /// There is no connection, for this reason.
    NoConnection(String),
}

impl Error {
    /// The SQLSTATE of the error, if the database sent it.
    pub(super) fn code(&self) -> Option<&SqlState> {
        match self {
            Self::Database(error) => error.code(),
            Self::NoAnswer | Self::NoConnection(_) => None,
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

/// A connection to a database. Each call blocks its thread until the database answers, or until the
/// limit: then the connection is closed, and the database rolls back as soon as it runs again.
pub(super) struct Client {
    // Dropped before `session`, whose connection ends only then.
    sender: tokio_postgres::Client,
    session: Session,
}

impl Client {
    /// Connects within this limit.
    pub(super) fn connect<T>(config: &Config, tls: T, limit: Limit) -> Result<Self, Error>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| Error::NoConnection(error.to_string()))?;
        let Some(connected) = block_until(limit.end(), &runtime, config.connect(tls)) else {
            // This does not wait for the look-up of the host, which may still block another thread.
            runtime.shutdown_background();
            return Err(Error::NoAnswer);
        };
        let (sender, connection) = connected?;
        let session = Session {
            runtime,
            connection: Some(Box::pin(connection)),
            limit,
        };
        Ok(Self { sender, session })
    }

    /// Limits the statements from now on.
    pub(super) fn set_limit(&mut self, limit: Limit) {
        self.session.limit = limit;
    }

    /// Performs statements without parameters and results.
    pub(super) fn batch_execute(&mut self, sql: &str) -> Result<(), Error> {
        self.session.run(self.sender.batch_execute(sql))
    }

    /// Performs a statement, and returns how many rows it changed.
    pub(super) fn execute_typed(
        &mut self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<u64, Error> {
        self.session.run(self.sender.execute_typed(sql, parameters))
    }

    /// The rows of a query.
    pub(super) fn query_typed(
        &mut self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Vec<Row>, Error> {
        self.session.run(self.sender.query_typed(sql, parameters))
    }

    /// The only row of a query, if there is one.
    pub(super) fn query_typed_opt(
        &mut self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Option<Row>, Error> {
        self.session
            .run(self.sender.query_typed_opt(sql, parameters))
    }

    /// The only row of a query.
    pub(super) fn query_typed_one(
        &mut self,
        sql: &str,
        parameters: &Parameters<'_>,
    ) -> Result<Row, Error> {
        self.session
            .run(self.sender.query_typed_one(sql, parameters))
    }

    /// Begins a transaction of this isolation level.
    pub(super) fn transaction(&mut self, level: &str) -> Result<Transaction<'_>, Error> {
        self.batch_execute(&format!("START TRANSACTION ISOLATION LEVEL {level}"))?;
        Ok(Transaction {
            client: self,
            is_open: true,
        })
    }
}

/// A transaction, which is rolled back when it is dropped.
pub(super) struct Transaction<'a> {
    client: &'a mut Client,
    is_open: bool,
}

impl Transaction<'_> {
    pub(super) fn commit(mut self) -> Result<(), Error> {
        self.is_open = false;
        self.batch_execute("COMMIT")
    }

    /// Lets each of its statements take ten minutes.
    pub(super) fn take_longer(&mut self) -> Result<(), Error> {
        self.batch_execute("SET LOCAL statement_timeout = '10min'")?;
        self.set_limit(Limit::Each(MIGRATION_TIMEOUT));
        Ok(())
    }
}

impl Deref for Transaction<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client
    }
}

impl DerefMut for Transaction<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // If this fails, the connection is lost, and the database rolls back by itself.
            let _ = self.batch_execute("ROLLBACK");
        }
    }
}

type Connection = dyn Future<Output = Result<(), tokio_postgres::Error>> + Send;

/// Sends the statements of a client, and receives the answers. It runs only while a call waits.
struct Session {
    runtime: Runtime,
    connection: Option<Pin<Box<Connection>>>,
    limit: Limit,
}

impl Session {
    fn run<T>(
        &mut self,
        call: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Error> {
        let (mut call, connection) = (pin!(call), &mut self.connection);
        let answered = poll_fn(|context| {
            if let Some(Poll::Ready(ended)) =
                connection.as_mut().map(|it| it.as_mut().poll(context))
            {
                *connection = None;
                if let Err(error) = ended {
                    return Poll::Ready(Err(error));
                }
            }
            call.as_mut().poll(context)
        });
        let Some(result) = block_until(self.limit.end(), &self.runtime, answered) else {
            self.connection = None;
            return Err(Error::NoAnswer);
        };
        Ok(result?)
    }
}

impl Drop for Session {
    /// Tells the database that the session ends.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let end = Instant::now() + END_TIMEOUT;
            let _ = block_until(end, &self.runtime, connection);
        }
    }
}

/// Waits for a future on this thread. Returns `None` if it is not ready at `end`.
fn block_until<T>(end: Instant, runtime: &Runtime, future: impl Future<Output = T>) -> Option<T> {
    let _entered = runtime.enter();
    runtime.block_on(timeout_at(end.into(), future)).ok()
}
