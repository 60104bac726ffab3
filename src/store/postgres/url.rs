//! The URL of a database.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::store::postgres::ssl_mode::SslMode;
use crate::store::postgres::tls::Encryption;

/// The address of a `PostgreSQL` database, and the user: `postgres://USER@HOST/DATABASE`.
///
/// A password may follow the user, after a colon. It is never shown. A host that begins with a
/// percent-encoded slash is the directory of a Unix-domain socket.
///
/// ```
/// let url: ifmatch::PostgresUrl = "postgres://ann:secret@%2Frun%2Fpostgresql/persons".parse()?;
/// assert_eq!(url.to_string(), "postgres://ann@/run/postgresql:5432/persons");
/// # Ok::<(), ifmatch::ParsePostgresUrlError>(())
/// ```
///
/// # TLS
///
/// The parameter `sslmode` has the meanings that libpq gives it:
///
/// - `disable`: no TLS.
/// - `prefer`: TLS with any certificate; no TLS if that fails, or if the database server has none.
/// - `require`: TLS with any certificate.
/// - `verify-ca`: TLS, with a certificate from an authority in the PEM file `sslrootcert=FILE`.
/// - `verify-full`: the same, and the certificate names the host in its `subjectAltName`. Without
///   `sslrootcert`, the certificate is from an authority that the system trusts.
///
/// With `sslrootcert`, `require` and `prefer` check the certificate as `verify-ca` does, and `prefer`
/// does not connect without TLS. A certificate that is checked must not be that of an authority, as
/// `openssl req -x509` makes it. In each mode the certificate must be of version 3.
///
/// Without `sslmode` the mode is `prefer` if every host is `localhost`, `::1` or in `127.0.0.0/8`, and
/// `verify-full` otherwise. With `hostaddr`, the addresses decide it, and not the hosts. On Unix-domain
/// sockets there is no TLS in any mode.
#[derive(Clone, Debug)]
pub struct PostgresUrl {
    pub(super) config: Config,
    pub(super) encryption: Encryption,
}

impl PostgresUrl {
    /// Whether the URL has a password.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// The same URL with this password, unless it already has one.
    #[must_use]
    pub fn or_password(mut self, password: impl AsRef<[u8]>) -> Self {
        if self.config.get_password().is_none() {
            self.config.password(password);
        }
        self
    }
}

impl FromStr for PostgresUrl {
    type Err = ParsePostgresUrlError;

    fn from_str(text: &str) -> Result<Self, ParsePostgresUrlError> {
        let has_scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
        // An `@` in a password must be encoded: otherwise the text after it would be the host.
        let has_clear_host = text.matches('@').count() <= 1;
        if !has_scheme || !has_clear_host {
            return Err(ParsePostgresUrlError::Url);
        }
        let (text, mode, roots) = split(text)?;
        let config = text.parse::<Config>();
        let mut config = config.map_err(|_| ParsePostgresUrlError::Url)?;
        if config.get_hosts().is_empty() {
            return Err(ParsePostgresUrlError::Url);
        }
        if mode == Some(SslMode::VerifyCa) && roots.is_none() {
            return Err(ParsePostgresUrlError::SslRootCert);
        }
        let encryption = Encryption::new(mode, roots, &config);
        config.ssl_mode(encryption.mode.of_crate());
        Ok(Self { config, encryption })
    }
}

/// The URL without the parameters that the `tokio-postgres` crate does not know, and their values.
fn split(text: &str) -> Result<(String, Option<SslMode>, Option<PathBuf>), ParsePostgresUrlError> {
    let (mut mode, mut roots) = (None, None);
    // A question mark in the password does not begin the parameters.
    let (user, place) = text.split_at(text.find('@').unwrap_or(0));
    let Some((place, parameters)) = place.split_once('?') else {
        return Ok((text.to_owned(), mode, roots));
    };
    let mut others = Vec::new();
    for parameter in parameters.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let decoded = |text| percent_decode_str(text).decode_utf8();
        let (Ok(name), Ok(value)) = (decoded(name), decoded(value)) else {
            return Err(ParsePostgresUrlError::Url);
        };
        match &*name {
            "sslmode" => {
                let named = SslMode::named(&value);
                mode = Some(named.ok_or(ParsePostgresUrlError::SslMode)?);
            }
            "sslrootcert" => roots = Some(PathBuf::from(&*value)),
            _ => others.push(parameter),
        }
    }
    let others = others.join("&");
    Ok((format!("{user}{place}?{others}"), mode, roots))
}

impl fmt::Display for PostgresUrl {
    /// The user, every host with its port, and the database.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (index, host) in self.config.get_hosts().iter().enumerate() {
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
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())?;
        for (index, address) in self.config.get_hostaddrs().iter().enumerate() {
            f.write_str(if index == 0 { "?hostaddr=" } else { "," })?;
            address.fmt(f)?;
        }
        Ok(())
    }
}

/// The text is no URL of a `PostgreSQL` database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParsePostgresUrlError {
    /// The text is no such URL, or has a parameter that is not known.
    Url,
    /// The value of `sslmode` is not known.
    SslMode,
    /// The URL has `sslmode=verify-ca` without `sslrootcert`. This would be no check, because the
    /// authorities that the system trusts sign certificates for any host.
    SslRootCert,
}

impl fmt::Display for ParsePostgresUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Url => "not a URL such as `postgres://user@host/database`",
            Self::SslMode => {
                "sslmode is none of `disable`, `prefer`, `require`, `verify-ca` and `verify-full`"
            }
            Self::SslRootCert => {
                "sslmode=verify-ca needs `sslrootcert=FILE`; `verify-full` does without"
            }
        })
    }
}

impl Error for ParsePostgresUrlError {}
