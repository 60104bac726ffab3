//! The pool of connections, and what is repeated after a failure.

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

/// In milliseconds, how long a statement may take, a wait for the lock included; and for how long a
/// server that hangs may keep the lock from the others.
const TIMEOUTS: &str =
    "SET statement_timeout = 5000; SET idle_in_transaction_session_timeout = 5000";

/// The most connections of one server.
const MAX_CONNECTIONS: u32 = 8;

/// How long to wait for a connection: for an idle one, and for a new one.
const CONNECTED: Duration = Duration::from_secs(2);

/// How long a call may take: a statement, and what is before and after it. A database that hangs
/// enforces no timeout itself.
const CALL: Duration = Duration::from_secs(6);

/// How much time a call has left at least when it begins to perform the swaps that wait. The swaps
/// may be those of younger calls, which fail with it when its time is over.
const RESERVE: Duration = Duration::from_secs(2);

/// How long a connection may be silent before it counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a transaction is repeated after a conflict with another one.
const MAX_OVERTAKEN: usize = 10;

/// The connections to one database.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) url: PostgresUrl,
    tls: ClientConfig,
    pool: Pool<Slots>,
    breaker: Breaker,
}

impl Connections {
    /// None are made yet. By itself the pool ends a connection that was idle for ten minutes, or
    /// that is half an hour old.
    pub(super) fn new(url: PostgresUrl) -> Result<Self, OpenError> {
        let tls = url.encryption.client_config();
        let tls = tls.map_err(|reason| OpenError::new(&url, reason))?;
        let pool = Pool::builder()
            .max_size(MAX_CONNECTIONS)
            .connection_timeout(CONNECTED)
            .build_unchecked(Slots);
        Ok(Self {
            url,
            tls,
            pool,
            breaker: Breaker::default(),
        })
    }

    /// The limit of a call that begins now.
    pub(super) fn limit() -> Limit {
        Limit::within(CALL)
    }

    /// How long a call with this limit may wait until its swap is performed.
    pub(super) fn time_to_wait(limit: Limit) -> Duration {
        limit.left().saturating_sub(RESERVE)
    }

    /// The limit of a call that may take long, but each of its statements may not.
    pub(super) fn limit_of_each() -> Limit {
        Limit::Each(CALL)
    }

    /// Does `work` on a connection, within this limit. If that fails, the error is the reason.
    ///
    /// It is done again if it has changed nothing: after a conflict with another transaction, if the
    /// connection was lost while it was idle, or if its server takes no writes any more. It is not
    /// done again if it may have changed something, or took too long.
    ///
    /// After a call that got no answer, one call at a time tries to connect, and the others fail within
    /// a second, until the database answers. They would wait in vain, and occupy threads and
    /// connections that other calls need.
    pub(super) fn ask<R>(
        &self,
        limit: Limit,
        work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, String> {
        let asked = self.try_ask(limit, work);
        asked.map_err(|reason| self.url.encryption.explain(reason))
    }

    fn try_ask<R>(
        &self,
        limit: Limit,
        mut work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, String> {
        if limit.left().is_zero() {
            return Err(NO_ANSWER.to_owned());
        }
        let answers = self.breaker.answers();
        let probe = self.breaker.admit()?;
        let busy = |_| "all connections to it are in use";
        let place = self.pool.get_timeout(CONNECTED.min(limit.left()));
        let mut slot = place.map_err(busy)?;
        if probe.is_some() {
            *slot = None;
            *slot = Some(self.connect(limit).map_err(|error| reason(&error))?);
            self.breaker.close();
        }
        let mut overtaken = 0;
        loop {
            let fresh = slot.is_none();
            let done = self.open(&mut slot, limit).and_then(&mut work);
            match &done {
                Err(Failure::NoAnswer(_)) => self.breaker.open_after(answers),
                Err(Failure::Lost(_) | Failure::Unconfirmed(_)) => {}
                _ => self.breaker.close(),
            }
            match done {
                Ok(done) => return Ok(done),
                Err(Failure::Overtaken(_)) if overtaken < MAX_OVERTAKEN => overtaken += 1,
                Err(Failure::Lost(_)) if !fresh => *slot = None,
                Err(
                    Failure::Refused(reason)
                    | Failure::Duplicate(reason)
                    | Failure::TimedOut(reason)
                    | Failure::Overtaken(reason),
                ) => return Err(reason),
                Err(
                    Failure::NoAnswer(reason)
                    | Failure::Lost(reason)
                    | Failure::Unconfirmed(reason),
                ) => {
                    *slot = None;
                    return Err(reason);
                }
            }
        }
    }

    /// The connection of this place, which is made if there is none.
    fn open<'a>(
        &self,
        slot: &'a mut Option<Client>,
        limit: Limit,
    ) -> Result<&'a mut Client, Failure> {
        let client = match slot {
            Some(client) => client,
            none => none.insert(self.connect(limit)?),
        };
        client.set_limit(limit);
        Ok(client)
    }

    fn connect(&self, limit: Limit) -> Result<Client, client::Error> {
        let mut config = self.url.config.clone();
        config.connect_timeout(CONNECTED);
        config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
        let mut connected = self.connect_with(&config, limit);
        if let Err(error) = &connected {
            let encrypted = reason(error);
            if self.url.encryption.gives_up_tls(&encrypted) {
                let plain = self.connect_with(config.ssl_mode(SslMode::Disable), limit);
                connected = plain.map_err(|plain| match plain {
                    client::Error::NoAnswer => plain,
                    plain => {
                        let plain = reason(&plain);
                        client::Error::NoConnection(format!("{encrypted}; without TLS: {plain}"))
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

/// Why something was not done.
pub(super) enum Failure {
    /// The database does not do it, or holds what cannot be read.
    Refused(String),
    /// A unique index has the value already.
    Duplicate(String),
    /// A statement took too long, the wait for a lock included.
    TimedOut(String),
    /// The database did not answer within the limit, and the connection is closed. What was not
    /// committed is rolled back when it goes on.
    NoAnswer(String),
    /// A serialization failure or a deadlock. Nothing was changed, and the transaction can be
    /// repeated.
    Overtaken(String),
    /// There is no connection any more, or none that takes writes: its server has become a standby.
    /// What was not committed is rolled back.
    Lost(String),
    /// The connection was lost before the commit was confirmed, or after the caller has used a part
    /// of the result. The work must not be repeated.
    Unconfirmed(String),
}

impl Failure {
    /// The same failure of work that must not be done again.
    pub(super) fn not_again(self) -> Self {
        match self {
            Self::Overtaken(reason) => Self::Refused(reason),
            Self::Lost(reason) | Self::Unconfirmed(reason) => Self::Unconfirmed(reason),
            failure => failure,
        }
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        let reason = reason(&error);
        let told = match &error {
            client::Error::NoAnswer => return Self::NoAnswer(reason),
            client::Error::NoConnection(_) => None,
            client::Error::Database(error) => error.as_db_error(),
        };
        let Some(told) = told else {
            return Self::Lost(reason);
        };
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        match told.parsed_severity() {
            Some(Severity::Fatal | Severity::Panic) => Self::Lost(reason),
            // pgbouncer sends no other severity than this text.
            None if told.severity() == "FATAL" => Self::Lost(reason),
            _ if again.contains(told.code()) => Self::Overtaken(reason),
            _ if *told.code() == SqlState::UNIQUE_VIOLATION => Self::Duplicate(reason),
            _ if *told.code() == SqlState::READ_ONLY_SQL_TRANSACTION => Self::Lost(reason),
            _ if *told.code() == SqlState::QUERY_CANCELED => Self::TimedOut(reason),
            _ => Self::Refused(reason),
        }
    }
}

/// What the database says, or else the error and its causes, in one line.
pub(super) fn reason(error: &client::Error) -> String {
    let error = match error {
        client::Error::NoAnswer => return NO_ANSWER.to_owned(),
        client::Error::NoConnection(reason) => return reason.clone(),
        client::Error::Database(error) => error,
    };
    let mut reason = match error.as_db_error() {
        Some(told) => return told.message().replace('\n', " "),
        None => error.to_string(),
    };
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    reason.replace('\n', " ")
}

/// Places for connections, of which the pool has no more than it may. A place is empty until it is
/// used, and its first user connects: so the first call on it returns the error of connecting.
#[derive(Debug)]
struct Slots;

impl ManageConnection for Slots {
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
            let time = Connections::time_to_wait(Limit::Each(left));
            assert_eq!(!time.is_zero(), may_wait, "{left:?}");
            assert!(time <= left.saturating_sub(Duration::from_secs(2)));
        }
    }
}
