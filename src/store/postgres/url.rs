use std::error::Error;
use std::fmt;
use std::str::FromStr;

use postgres::Config;
use postgres::config::Host;

/// Where a `PostgreSQL` database is, and who asks it: `postgres://USER@HOST/DATABASE`.
///
/// A password may stand behind the user, after a colon. It is never shown. A host that begins with
/// a percent-encoded slash is the directory of a Unix-domain socket.
///
/// ```
/// let url: ifmatch::PostgresUrl = "postgres://ann:secret@%2Frun%2Fpostgresql/persons".parse()?;
/// assert_eq!(url.to_string(), "postgres://ann@/run/postgresql:5432/persons");
/// # Ok::<(), ifmatch::ParsePostgresUrlError>(())
/// ```
#[derive(Clone, Debug)]
pub struct PostgresUrl(pub(super) Config);

impl PostgresUrl {
    /// Whether there is a password in it.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.0.get_password().is_some()
    }

    /// The same with this password, unless it has one already.
    #[must_use]
    pub fn or_password(mut self, password: impl AsRef<[u8]>) -> Self {
        if self.0.get_password().is_none() {
            self.0.password(password);
        }
        self
    }
}

impl FromStr for PostgresUrl {
    type Err = ParsePostgresUrlError;

    fn from_str(text: &str) -> Result<Self, ParsePostgresUrlError> {
        let scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
        // An `@` in a password has to be encoded, or what follows it would pass for the host.
        let clear = text.matches('@').count() <= 1;
        match text.parse::<Config>() {
            Ok(config) if scheme && clear && !config.get_hosts().is_empty() => Ok(Self(config)),
            _ => Err(ParsePostgresUrlError),
        }
    }
}

impl fmt::Display for PostgresUrl {
    /// The user, every host with its port, and the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.0.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.0.get_ports();
        for (index, host) in self.0.get_hosts().iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) if name.contains(':') => write!(f, "[{name}]")?,
                Host::Tcp(name) => f.write_str(name)?,
                #[cfg(unix)]
                Host::Unix(directory) => directory.display().fmt(f)?,
            }
            let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.0.get_dbname().unwrap_or_default())?;
        for (index, address) in self.0.get_hostaddrs().iter().enumerate() {
            f.write_str(if index == 0 { "?hostaddr=" } else { "," })?;
            address.fmt(f)?;
        }
        Ok(())
    }
}

/// The text is no URL of a `PostgreSQL` database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsePostgresUrlError;

impl fmt::Display for ParsePostgresUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a URL such as `postgres://user@host/database`")
    }
}

impl Error for ParsePostgresUrlError {}
