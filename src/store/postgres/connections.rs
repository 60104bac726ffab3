use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use postgres::config::SslMode;
use postgres::error::{Severity, SqlState};
use postgres::{Client, Config};
use r2d2::{ManageConnection, Pool};
use rustls::ClientConfig;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::store::OpenError;
use crate::store::postgres::url::PostgresUrl;

/// In milliseconds, how long a statement may take, a wait for the lock included; and for how long a
/// server that hangs may keep the lock from the others.
const TIMEOUTS: &str =
    "SET statement_timeout = 5000; SET idle_in_transaction_session_timeout = 5000";

/// The most connections of one server.
const MAX_CONNECTIONS: u32 = 8;

/// How long to wait for a connection: for an idle one, and for a new one.
const CONNECTED: Duration = Duration::from_secs(2);

/// How long a connection may be silent before it counts as lost.
const SILENCE: Duration = Duration::from_secs(5);

/// How often a transaction is begun again because the database let another one pass.
const MAX_OVERTAKEN: usize = 10;

/// The connections to one database.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) url: PostgresUrl,
    tls: ClientConfig,
    pool: Pool<Slots>,
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
        Ok(Self { url, tls, pool })
    }

    /// Does `work` on a connection. If that fails, the error is the reason.
    ///
    /// It is done again if nothing came of it: the database let another one pass, or the connection
    /// was lost while it was idle. If it is unclear what came of it, it is not done again.
    pub(super) fn ask<R>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<R, Failure>,
    ) -> Result<R, String> {
        let busy = |_| "all connections to it are in use";
        let mut slot = self.pool.get().map_err(busy)?;
        let mut overtaken = 0;
        loop {
            let fresh = slot.is_none();
            let client = match &mut *slot {
                Some(client) => client,
                none => none.insert(connect(&self.url, &self.tls)?),
            };
            match work(client) {
                Ok(done) => return Ok(done),
                Err(Failure::Overtaken(_)) if overtaken < MAX_OVERTAKEN => overtaken += 1,
                Err(Failure::Lost(_)) if !fresh => *slot = None,
                Err(
                    Failure::Refused(reason)
                    | Failure::Duplicate(reason)
                    | Failure::TimedOut(reason)
                    | Failure::Overtaken(reason),
                ) => return Err(reason),
                Err(Failure::Lost(reason) | Failure::Unconfirmed(reason)) => {
                    *slot = None;
                    return Err(reason);
                }
            }
        }
    }
}

fn connect(url: &PostgresUrl, tls: &ClientConfig) -> Result<Client, String> {
    let mut config = url.config.clone();
    config.connect_timeout(CONNECTED);
    config.keepalives_idle(SILENCE).tcp_user_timeout(SILENCE);
    let mut connected = connect_with(&config, tls);
    if let Err(reason) = &connected {
        if url.encryption.gives_up_tls(reason) {
            let plain = connect_with(config.ssl_mode(SslMode::Disable), tls);
            connected = plain.map_err(|plain| format!("{reason}; without TLS: {plain}"));
        }
    }
    let mut client = connected.map_err(|reason| url.encryption.explain(reason))?;
    let begun = client.batch_execute(TIMEOUTS);
    begun.map_err(|error| reason(&error))?;
    Ok(client)
}

fn connect_with(config: &Config, tls: &ClientConfig) -> Result<Client, String> {
    let connected = config.connect(MakeRustlsConnect::new(tls.clone()));
    connected.map_err(|error| reason(&error))
}

/// Why something was not done.
pub(super) enum Failure {
    /// The database does not do it, or holds what cannot be read.
    Refused(String),
    /// A unique index has the value already.
    Duplicate(String),
    /// A statement took too long, the wait for a lock included.
    TimedOut(String),
    /// The database let another transaction pass, and nothing has come of this one.
    Overtaken(String),
    /// There is no connection any more. What was not committed is rolled back.
    Lost(String),
    /// The connection was lost before the commit was confirmed, or when it is too late to begin again.
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

impl From<postgres::Error> for Failure {
    fn from(error: postgres::Error) -> Self {
        let reason = reason(&error);
        let Some(told) = error.as_db_error() else {
            return Self::Lost(reason);
        };
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ];
        match told.parsed_severity() {
            Some(Severity::Fatal | Severity::Panic) => Self::Lost(reason),
            _ if again.contains(told.code()) => Self::Overtaken(reason),
            _ if *told.code() == SqlState::UNIQUE_VIOLATION => Self::Duplicate(reason),
            _ if *told.code() == SqlState::QUERY_CANCELED => Self::TimedOut(reason),
            _ => Self::Refused(reason),
        }
    }
}

/// What the database says, or else the error and its causes, in one line.
pub(super) fn reason(error: &postgres::Error) -> String {
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
/// used, and its first user connects: so a caller learns at once that the database is gone.
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
