//! The values of `sslmode`, and the default.

use std::fmt;
use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{self, Host};

/// The values of the parameter `sslmode`: whether connections are encrypted, and what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SslMode {
    /// Nothing is encrypted.
    Disable,
    /// TLS, unless the database server has none.
    Prefer,
    /// TLS. The certificate is checked only against a file of roots, if one is named.
    Require,
    /// TLS, with a certificate that one of the roots has signed, for any host.
    VerifyCa,
    /// TLS, with a certificate that one of the roots has signed for this host.
    VerifyFull,
}

impl SslMode {
    /// The mode of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Disable,
            Self::Prefer,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ];
        all.into_iter().find(|mode| mode.to_string() == name)
    }

    /// The mode for a URL without `sslmode`, and the host that decides it.
    ///
    /// `None` if every host is a Unix-domain socket: `PostgreSQL` has no TLS there.
    pub(super) fn by_default(config: &Config) -> Option<(Self, String)> {
        let mut hosts = Vec::new();
        if config.get_hostaddrs().is_empty() {
            for host in config.get_hosts() {
                match host {
                    Host::Tcp(name) => hosts.push((is_loopback(name), name.clone())),
                    #[cfg(unix)]
                    Host::Unix(_) => {}
                }
            }
        } else {
            // Connections go to these addresses, whatever the names of the hosts are.
            for address in config.get_hostaddrs() {
                let name = address.to_string();
                hosts.push((is_loopback(&name), name));
            }
        }
        let remote = hosts.iter().position(|(loopback, _)| !loopback);
        let mode = match remote {
            Some(_) => Self::VerifyFull,
            None => Self::Prefer,
        };
        let (_, decisive) = hosts.into_iter().nth(remote.unwrap_or(0))?;
        Some((mode, decisive))
    }

    /// The mode of the `tokio-postgres` crate, which leaves the certificate to rustls.
    pub(super) fn of_crate(self) -> config::SslMode {
        match self {
            Self::Disable => config::SslMode::Disable,
            Self::Prefer => config::SslMode::Prefer,
            Self::Require | Self::VerifyCa | Self::VerifyFull => config::SslMode::Require,
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        })
    }
}

fn is_loopback(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, mode: SslMode, host: &str) {
        let config = url.parse::<Config>().expect(url);
        let decided = (mode, host.to_owned());
        assert_eq!(SslMode::by_default(&config), Some(decided), "{url}");
    }

    #[test]
    fn loopback_hosts_prefer_tls_and_others_are_verified() {
        use SslMode::{Prefer, VerifyFull};
        check("postgres://localhost/x", Prefer, "localhost");
        check("postgres://ann:b@LocalHost:1/x", Prefer, "LocalHost");
        check("postgres://127.0.0.1/x", Prefer, "127.0.0.1");
        check("postgres://127.9.8.7/x", Prefer, "127.9.8.7");
        check("postgres://[::1]/x", Prefer, "::1");
        check(
            "postgres://[::ffff:127.0.0.1]/x",
            Prefer,
            "::ffff:127.0.0.1",
        );
        check("postgres:///x?host=localhost", Prefer, "localhost");
        check("postgres://db.example/x", VerifyFull, "db.example");
        check("postgres://10.0.0.2/x", VerifyFull, "10.0.0.2");
        check("postgres://128.0.0.1/x", VerifyFull, "128.0.0.1");
        check("postgres://0.0.0.0/x", VerifyFull, "0.0.0.0");
        check("postgres://[::]/x", VerifyFull, "::");
        check("postgres://[fe80::1]/x", VerifyFull, "fe80::1");
        // Only the resolver could tell that these are loopback addresses.
        check("postgres://127.1/x", VerifyFull, "127.1");
        check(
            "postgres://localhost.example/x",
            VerifyFull,
            "localhost.example",
        );
        check("postgres://localhost./x", VerifyFull, "localhost.");
    }

    #[test]
    fn one_host_that_is_not_loopback_is_enough() {
        use SslMode::{Prefer, VerifyFull};
        check("postgres://localhost,[::1]/x", Prefer, "localhost");
        check("postgres://localhost,a,b/x", VerifyFull, "a");
        check("postgres://a,localhost/x", VerifyFull, "a");
        check("postgres://%2Frun,localhost/x", Prefer, "localhost");
        check("postgres://%2Frun,a/x", VerifyFull, "a");
    }

    #[test]
    fn an_address_counts_and_not_its_name() {
        use SslMode::{Prefer, VerifyFull};
        check("postgres://a/x?hostaddr=127.0.0.1", Prefer, "127.0.0.1");
        check("postgres://a/x?hostaddr=::1", Prefer, "::1");
        check(
            "postgres://localhost/x?hostaddr=10.0.0.2",
            VerifyFull,
            "10.0.0.2",
        );
        check(
            "postgres://a,b/x?hostaddr=127.0.0.1,10.0.0.2",
            VerifyFull,
            "10.0.0.2",
        );
        check(
            "postgres://%2Frun/x?hostaddr=10.0.0.2",
            VerifyFull,
            "10.0.0.2",
        );
    }

    #[test]
    fn a_socket_has_no_tls() {
        for url in ["postgres://%2Frun/x", "postgres://%2Frun,%2Ftmp/x"] {
            let config = url.parse::<Config>().expect(url);
            assert_eq!(SslMode::by_default(&config), None, "{url}");
        }
    }

    #[test]
    fn names() {
        for name in ["disable", "prefer", "require", "verify-ca", "verify-full"] {
            assert_eq!(SslMode::named(name).expect(name).to_string(), name);
        }
        for name in ["", "allow", "Require", "verify_full", "none"] {
            assert_eq!(SslMode::named(name), None);
        }
    }
}
