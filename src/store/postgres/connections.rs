//! The pool of connections, and which failures are followed by a retry.

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use r2d2::{ManageConnection, Pool};
use rustls::ClientConfig;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::{Severity, SqlState};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::OpenError;
use crate::store::postgres::breaker::{Breaker, NO_ANSWER};
use crate::store::postgres::client::{self, Client, Limit};
use crate::store::postgres::url::PostgresUrl;

/// In milliseconds: the longest time of a statement, with its waits for row locks; and the longest
/// time for which a server that hangs in a transaction keeps its row locks.
const TIMEOUTS: &str =
    "SET statement_timeout = 5000; SET idle_in_transaction_session_timeout = 5000";

/// The most connections of one server.
const MAX_CONNECTIONS: u32 = 8;

/// How long a call waits until the pool has a connection for it, and how long for a new connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long a call may take: its statements, and all waits before and between them. It is longer than
/// the timeout of a statement, which a database that hangs does not enforce.
const CALL_TIMEOUT: Duration = Duration::from_secs(6);

/// The least time that a call must have left when it begins to perform a batch. The batch may have swaps
/// of later calls, which fail when the time of this call is over.
const MIN_TIME_FOR_BATCH: Duration = Duration::from_secs(2);

/// How long a connection may be idle before TCP checks it, and how long sent data may stay without an
/// acknowledgement before the connection counts as lost.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a transaction is repeated after a conflict with another one.
const MAX_RETRIES: usize = 10;

/// The connections to one database.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) url: PostgresUrl,
    tls: ClientConfig,
    pool: Pool<Manager>,
    breaker: Breaker,
}

impl Connections {
    /// Makes no connection yet. The pool closes a connection that was idle for ten minutes, or that is
    /// half an hour old.
    pub(super) fn new(url: PostgresUrl) -> Result<Self, OpenError> {
        let tls = url.encryption.client_config();
        let tls = tls.map_err(|reason| OpenError::new(&url, reason))?;
        let pool = Pool::builder()
            .max_size(MAX_CONNECTIONS)
            .connection_timeout(CONNECT_TIMEOUT)
            .build_unchecked(Manager);
        Ok(Self {
            url,
            tls,
            pool,
            breaker: Breaker::default(),
        })
    }

    /// The limit of a call that begins now.
    pub(super) fn call_limit() -> Limit {
        Limit::within(CALL_TIMEOUT)
    }

    /// How long a call with this limit may wait until its swap is performed.
    pub(super) fn queue_timeout(limit: Limit) -> Duration {
        limit.left().saturating_sub(MIN_TIME_FOR_BATCH)
    }

    /// The limit of each statement of a call that may take long. The call itself has none.
    pub(super) fn statement_limit() -> Limit {
        Limit::Each(CALL_TIMEOUT)
    }

    /// Runs `work` on a connection, within this limit. If that fails, the error is the reason.
    ///
    /// `work` is run again if it had no effect: after a serialization failure or a deadlock, and if the
    /// connection was already lost or leads to a standby. It is not run again after a timeout, or if
    /// its transaction may have been committed.
    ///
    /// After a call that got no answer, one call at a time tries to connect, and the others fail within
    /// a second, until the database answers. Otherwise all calls would wait, and occupy the threads and
    /// connections.
    pub(super) fn run<R>(
        &self,
        limit: Limit,
        work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, String> {
        let result = self.try_run(limit, work);
        result.map_err(|reason| self.url.encryption.explain(reason))
    }

    fn try_run<R>(
        &self,
        limit: Limit,
        mut work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, String> {
        if limit.left().is_zero() {
            return Err(NO_ANSWER.to_owned());
        }
        let answers_before = self.breaker.answers();
        // Held until this function returns: dropping it admits the next probe.
        let probe = self.breaker.admit()?;
        let busy = |_| "all connections to it are in use";
        let pooled = self.pool.get_timeout(CONNECT_TIMEOUT.min(limit.left()));
        let mut pooled = pooled.map_err(busy)?;
        if probe.is_some() {
            // A connection from before the fault may be dead: the probe makes a new one.
            *pooled = None;
            *pooled = Some(self.connect(limit).map_err(|error| reason(&error))?);
            self.breaker.record_answer();
        }
        let mut retries = 0;
        loop {
            let is_new = pooled.is_none();
            let result = self.client(&mut pooled, limit).and_then(&mut work);
            match &result {
                Err(Failure::NoAnswer(_)) => self.breaker.record_no_answer(answers_before),
                Err(Failure::Lost(_) | Failure::Unconfirmed(_)) => {}
                _ => self.breaker.record_answer(),
            }
            match result {
                Ok(value) => return Ok(value),
                Err(Failure::Retry(_)) if retries < MAX_RETRIES => retries += 1,
                Err(Failure::Lost(_)) if !is_new => *pooled = None,
                Err(
                    Failure::Refused(reason)
                    | Failure::Duplicate(reason)
                    | Failure::TimedOut(reason)
                    | Failure::Retry(reason),
                ) => return Err(reason),
                Err(
                    Failure::NoAnswer(reason)
                    | Failure::Lost(reason)
                    | Failure::Unconfirmed(reason),
                ) => {
                    *pooled = None;
                    return Err(reason);
                }
            }
        }
    }

    /// The pooled connection. Connects if it is `None`.
    fn client<'a>(
        &self,
        pooled: &'a mut Option<Client>,
        limit: Limit,
    ) -> Result<&'a mut Client, Failure> {
        let client = match pooled {
            Some(client) => client,
            none => none.insert(self.connect(limit)?),
        };
        client.set_limit(limit);
        Ok(client)
    }

    fn connect(&self, limit: Limit) -> Result<Client, client::Error> {
        let mut config = self.url.config.clone();
        config.connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(KEEPALIVE_TIMEOUT);
        config.tcp_user_timeout(KEEPALIVE_TIMEOUT);
        let mut connected = self.connect_with(&config, limit);
        if let Err(error) = &connected {
            let tls_reason = reason(error);
            if self.url.encryption.may_connect_without_tls(&tls_reason) {
                let without_tls = self.connect_with(config.ssl_mode(SslMode::Disable), limit);
                connected = without_tls.map_err(|error| match error {
                    client::Error::NoAnswer => error,
                    error => {
                        let reason = reason(&error);
                        client::Error::NoConnection(format!("{tls_reason}; without TLS: {reason}"))
                    }
                });
            }
        }
        let mut client = connected?;
        client.batch_execute(TIMEOUTS)?;
        Ok(client)
    }

    fn connect_with(&self, config: &Config, limit: Limit) -> Result<Client, client::Error> {
        Client::connect(config, MakeRustlsConnect::new(self.tls.clone()), limit)
    }
}

/// Why a call of the database failed.
pub(super) enum Failure {
    /// The database refused the statement, or has a value that cannot be read.
    Refused(String),
    /// The statement violated a unique index.
    Duplicate(String),
    /// The database ended the statement after its timeout, which includes waits for row locks.
    TimedOut(String),
    /// The database did not answer within the limit, and the connection is closed. As soon as the
    /// database runs again, it rolls back the transaction if that was not committed.
    NoAnswer(String),
    /// A conflict with another transaction, such as a serialization failure or a deadlock. Nothing was
    /// changed, and the transaction can be repeated.
    Retry(String),
    /// The connection is lost, or takes no writes, because its database server has become a standby. The
    /// transaction is rolled back if it was not committed.
    Lost(String),
    /// The connection was lost before the commit was confirmed, or after the caller has used a part
    /// of the result. The work must not be repeated.
    Unconfirmed(String),
}

impl Failure {
    /// The same failure of work that must not be repeated.
    pub(super) fn without_retry(self) -> Self {
        match self {
            Self::Retry(reason) => Self::Refused(reason),
            Self::Lost(reason) | Self::Unconfirmed(reason) => Self::Unconfirmed(reason),
            failure => failure,
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let reason = reason(&error);
        let db_error = match &error {
            client::Error::NoAnswer => return Self::NoAnswer(reason),
            client::Error::NoConnection(_) => None,
            client::Error::Database(error) => error.as_db_error(),
        };
        let Some(db_error) = db_error else {
            return Self::Lost(reason);
        };
        let conflicts = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        match db_error.parsed_severity() {
            Some(Severity::Fatal | Severity::Panic) => Self::Lost(reason),
            // pgbouncer sends no other severity than this text.
            None if db_error.severity() == "FATAL" => Self::Lost(reason),
            _ if conflicts.contains(db_error.code()) => Self::Retry(reason),
            _ if *db_error.code() == SqlState::UNIQUE_VIOLATION => Self::Duplicate(reason),
            _ if *db_error.code() == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Lost(reason),
            _ if *db_error.code() == SqlState::QUERY_CANCELED => Self::TimedOut(reason),
            _ => Self::Refused(reason),
        }
    }
}

/// The message of the database, or else the error and its causes, in one line.
pub(super) fn reason(error: &client::Error) -> String {
    let error = match error {
        client::Error::NoAnswer => return NO_ANSWER.to_owned(),
        client::Error::NoConnection(reason) => return reason.clone(),
        client::Error::Database(error) => error,
    };
    let mut reason = match error.as_db_error() {
        Some(db_error) => return db_error.message().replace('\n', " "),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    reason.replace('\n', " ")
}

/// Fills the pool with `None`. The first call that gets it connects, and returns the error of that; if
/// the pool connected, it would try again until its timeout.
#[derive(Debug)]
struct Manager;

impl ManageConnection for Manager {
    type Connection = Option<Client>;
    type Error = Infallible;

    fn connect(&self) -> Result<Option<Client>, Infallible> {
        Ok(None)
    }

    fn is_valid(&self, _: &mut Option<Client>) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Option<Client>) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_does_not_wait_with_the_time_of_its_batch() {
        for (left, may_wait) in [(0, false), (1, false), (2, false), (4, true)] {
            let left = Duration::from_secs(left);
            let time = Connections::queue_timeout(Limit::Each(left));
            assert_eq!(!time.is_zero(), may_wait, "{left:?}");
            assert!(time <= left.saturating_sub(Duration::from_secs(2)));
        }
    }
}
