//! Connections to `PostgreSQL` over TLS. A connection to 0.0.0.0 reaches this machine, but the
//! store does not treat that as a loopback address.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use ifmatch::{PostgresStore, PostgresUrl};
use postgres::NoTls;

use crate::support::client::{Client, request};
use crate::support::cluster::Cluster;
use crate::support::directory::Directory;
use crate::support::serving::{Program, program};

const FAILED: &str = "error performing TLS handshake";
const UNKNOWN: &str = "error performing TLS handshake: invalid peer certificate: UnknownIssuer";
const WRONG_NAME: &str = "error performing TLS handshake: invalid peer certificate: certificate \
                          not valid for name \"other.example\"; certificate is only valid for \
                          DnsName(\"db.example\")";

const WRONG_PASSWORD: &str = "password authentication failed for user \"ann\"";

/// The part of the error that explains why the certificate is verified by default.
fn by_default(mode: &str, host: &str) -> String {
    format!(
        " (sslmode={mode} is the default for {host}; `sslmode=` in the URL sets another one, \
         `sslrootcert=FILE` the roots to trust)"
    )
}

#[expect(clippy::print_stderr, reason = "the output names what is skipped")]
fn has_openssl() -> bool {
    let has = Command::new("openssl").arg("version").output().is_ok();
    if !has {
        eprintln!("skipped: there is no openssl");
    }
    has
}

/// Makes a certificate for `db.example`. Its authority is in `ca.pem`, and not in `other.pem`.
fn certify(directory: &Path) {
    let openssl = |arguments: &str| {
        let mut command = Command::new("openssl");
        let command = command.args(arguments.split_whitespace());
        let output = command.current_dir(directory).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for name in ["ca", "other"] {
        let files = format!("-keyout {name}.key -out {name}.pem");
        openssl(&format!("req -x509 {key} {files} -days 2 -subj /CN={name}"));
    }
    let files = "-keyout server.key -out server.csr";
    openssl(&format!("req -new {key} {files} -subj /CN=server"));
    fs::write(directory.join("names"), "subjectAltName=DNS:db.example").unwrap();
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial \
         -days 2 -extfile names -out server.pem",
    );
}

/// A server on a port, whose only user is `ann` with the password `right`.
struct Server {
    cluster: Cluster,
    port: u16,
    /// The directory of the certificates.
    directory: PathBuf,
}

impl Server {
    /// The shared server with TLS.
    fn with_tls() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        let start =
            || Self::start("-c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key");
        SERVER.get_or_init(start).as_ref()
    }

    /// The shared server without TLS.
    fn without_tls() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        SERVER.get_or_init(|| Self::start("-c ssl=off")).as_ref()
    }

    fn start(options: &str) -> Option<Self> {
        if !has_openssl() {
            return None;
        }
        let cluster = Cluster::start()?;
        cluster.crash();
        let directory = PathBuf::from(cluster.socket_directory());
        certify(&directory);
        for file in ["server.pem", "server.key"] {
            cluster.add_file(file, &fs::read(directory.join(file)).unwrap());
        }
        let access = b"local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n";
        cluster.add_file("pg_hba.conf", access);
        let port = cluster.go_on_with_port(options);
        let server = Self {
            cluster,
            port,
            directory,
        };
        let mut shell = server.shell();
        for statement in [
            "CREATE ROLE ann LOGIN PASSWORD 'right'",
            "CREATE DATABASE data OWNER ann",
        ] {
            shell.batch_execute(statement).unwrap();
        }
        Some(server)
    }

    fn shell(&self) -> postgres::Client {
        let (host, port) = (self.cluster.host(), self.port);
        let url = format!("postgres://postgres@{host}:{port}/postgres");
        postgres::Client::connect(&url, NoTls).unwrap()
    }

    /// A URL of the server. In the parameters, `CA` and `OTHER` stand for the files of these
    /// authorities.
    fn url(&self, host: &str, parameters: &str) -> String {
        let directory = self.directory.to_str().unwrap();
        let parameters = parameters
            .replace("CA", &format!("{directory}/ca.pem"))
            .replace("OTHER", &format!("{directory}/other.pem"));
        let port = self.port;
        format!("postgres://ann:right@{host}:{port}/data?hostaddr={parameters}")
    }

    /// Opens the store, and checks whether the connection is encrypted.
    #[track_caller]
    fn check(&self, host: &str, parameters: &str, expected: Result<bool, &str>) {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("tls{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let url = self.url(host, parameters) + "&application_name=" + &name;
        let url: PostgresUrl = url.parse().unwrap();
        let case = format!("{host} {parameters}");
        let store = PostgresStore::open(url.clone());
        match (&store, expected) {
            (Ok(_), Ok(encrypted)) => {
                let mut shell = self.shell();
                let look = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                            WHERE application_name = $1";
                let rows = shell.query(look, &[&name]).unwrap();
                assert_eq!(rows.len(), 1, "{case}");
                assert_eq!(rows[0].get::<_, bool>(0), encrypted, "{case}");
            }
            (Err(error), Err(reason)) => {
                let sentence = format!("cannot use the store {url}: {reason}");
                assert_eq!(error.to_string(), sentence, "{case}");
            }
            _ => panic!("{case}: {store:?}"),
        }
    }
}

#[test]
fn a_server_with_tls() {
    let Some(server) = Server::with_tls() else {
        return;
    };
    for (host, parameters, expected) in [
        (
            "db.example",
            "127.0.0.1&sslmode=verify-full&sslrootcert=CA",
            Ok(true),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=verify-full&sslrootcert=OTHER",
            Err(UNKNOWN),
        ),
        (
            "other.example",
            "127.0.0.1&sslmode=verify-full&sslrootcert=CA",
            Err(WRONG_NAME),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=verify-ca&sslrootcert=CA",
            Ok(true),
        ),
        (
            "other.example",
            "127.0.0.1&sslmode=verify-ca&sslrootcert=CA",
            Ok(true),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=verify-ca&sslrootcert=OTHER",
            Err(UNKNOWN),
        ),
        (
            "other.example",
            "127.0.0.1&sslmode=require&sslrootcert=CA",
            Ok(true),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=require&sslrootcert=OTHER",
            Err(UNKNOWN),
        ),
        ("other.example", "127.0.0.1&sslmode=require", Ok(true)),
        (
            "other.example",
            "127.0.0.1&sslmode=require&channel_binding=require",
            Ok(true),
        ),
        ("other.example", "127.0.0.1&sslmode=prefer", Ok(true)),
        (
            "other.example",
            "127.0.0.1&sslmode=prefer&sslrootcert=CA",
            Ok(true),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=prefer&sslrootcert=OTHER",
            Err(UNKNOWN),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=disable&sslrootcert=OTHER",
            Ok(false),
        ),
        (
            "db.example",
            "127.0.0.1&sslmode=verify-full&sslrootcert=CA&password=wrong",
            Err(WRONG_PASSWORD),
        ),
        // By default.
        ("other.example", "127.0.0.1", Ok(true)),
        ("db.example", "0.0.0.0&sslrootcert=CA", Ok(true)),
        ("db.example", "0.0.0.0&sslmode=disable", Ok(false)),
    ] {
        server.check(host, parameters, expected);
    }
    let default = by_default("verify-full", "0.0.0.0");
    for (host, parameters, reason) in [
        ("db.example", "0.0.0.0&sslrootcert=OTHER", UNKNOWN),
        ("other.example", "0.0.0.0&sslrootcert=CA", WRONG_NAME),
    ] {
        server.check(host, parameters, Err(&format!("{reason}{default}")));
    }
    let default = by_default("prefer", "127.0.0.1");
    let reason = format!("{UNKNOWN}{default}");
    server.check("db.example", "127.0.0.1&sslrootcert=OTHER", Err(&reason));
}

#[test]
fn a_server_without_tls() {
    let Some(server) = Server::without_tls() else {
        return;
    };
    let without = format!("{FAILED}: server does not support TLS");
    let by_default = format!("{without}{}", by_default("verify-full", "0.0.0.0"));
    for (parameters, expected) in [
        (
            "127.0.0.1&sslmode=verify-full&sslrootcert=CA",
            Err(&*without),
        ),
        ("127.0.0.1&sslmode=verify-ca&sslrootcert=CA", Err(&without)),
        ("127.0.0.1&sslmode=require", Err(&without)),
        ("127.0.0.1&sslmode=prefer", Ok(false)),
        ("127.0.0.1&sslmode=disable", Ok(false)),
        ("127.0.0.1", Ok(false)),
        ("0.0.0.0&sslrootcert=CA", Err(&by_default)),
    ] {
        server.check("db.example", parameters, expected);
    }
}

/// The server knows only versions of TLS that are no longer safe.
#[test]
fn a_server_with_old_tls() {
    let Some(server) = Server::start(
        "-c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key \
         -c ssl_min_protocol_version=TLSv1 -c ssl_max_protocol_version=TLSv1.1",
    ) else {
        return;
    };
    let failed = format!("{FAILED}: received fatal alert: ProtocolVersion");
    let by_default = format!("{failed}{}", by_default("prefer", "127.0.0.1"));
    let twice = format!("{failed}; without TLS: {WRONG_PASSWORD}");
    for (parameters, expected) in [
        ("127.0.0.1", Ok(false)),
        ("127.0.0.1&sslmode=prefer&password=wrong", Err(&*twice)),
        ("127.0.0.1&sslmode=prefer", Ok(false)),
        ("127.0.0.1&sslmode=require", Err(&failed)),
        ("127.0.0.1&sslmode=prefer&sslrootcert=CA", Err(&failed)),
        ("127.0.0.1&sslrootcert=CA", Err(&by_default)),
    ] {
        server.check("db.example", parameters, expected);
    }
}

/// If the store can connect to none of several hosts, the error is that of the last one. The error
/// also names the host because of which certificates are verified.
#[test]
fn several_hosts() {
    let Some(server) = Server::with_tls() else {
        return;
    };
    let port = server.port;
    let several = "127.0.0.1,127.0.0.1&sslmode=verify-full&target_session_attrs=read-write";
    let hosts = format!("other.example:{port},db.example");
    server.check(&hosts, &format!("{several}&sslrootcert=CA"), Ok(true));
    server.check(
        &hosts,
        &format!("{several}&sslrootcert=OTHER"),
        Err(UNKNOWN),
    );
    let reason = format!("{UNKNOWN}{}", by_default("verify-full", "0.0.0.0"));
    let default = "127.0.0.1,0.0.0.0&sslrootcert=OTHER";
    server.check(&hosts, default, Err(&reason));
}

#[test]
fn roots_that_cannot_be_read() {
    let directory = Directory::new("roots");
    let place = directory.0.display();
    let damaged = "certificate 1 in it cannot be read";
    let none = "there is no `-----BEGIN CERTIFICATE-----` in it";
    for (name, content, reason) in [
        (
            "missing.pem",
            None,
            "No such file or directory (os error 2)",
        ),
        ("empty.pem", Some(""), none),
        ("text.pem", Some("these are my roots\n"), none),
        (
            "key.pem",
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            none,
        ),
        (
            "cut.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n"),
            damaged,
        ),
        (
            "no_base64.pem",
            Some("-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n"),
            damaged,
        ),
        (
            "no_der.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            damaged,
        ),
    ] {
        if let Some(content) = content {
            fs::write(directory.0.join(name), content).unwrap();
        }
        for mode in ["prefer", "require", "verify-ca", "verify-full"] {
            let url = format!("postgres://ann:secret@127.0.0.1:1/x?sslmode={mode}&sslrootcert=");
            let url: PostgresUrl = format!("{url}{place}/{name}").parse().unwrap();
            let error = PostgresStore::open(url).unwrap_err();
            let sentence = format!(
                "cannot use the store postgres://ann@127.0.0.1:1/x: sslrootcert={place}/{name}: {reason}"
            );
            assert_eq!(error.to_string(), sentence);
        }
    }
}

/// The root certificates of the system, or of the variables that replace them for OpenSSL.
#[test]
fn the_roots_of_the_system() {
    let Some(server) = Server::with_tls() else {
        return;
    };
    let configure = |command: &mut Command, host: &str, roots: &str| {
        let url = server.url(host, "0.0.0.0").replace(":right", "");
        command.args(["--store", &url]).env("PGPASSWORD", "right");
        command.env("SSL_CERT_FILE", server.directory.join(roots));
        command.env_remove("SSL_CERT_DIR");
    };
    let mut serve = program();
    serve.args(["--collection", "notes", "--listen", "127.0.0.1:0"]);
    configure(&mut serve, "db.example", "ca.pem");
    let started = Program::spawn(&mut serve);
    let mut client = Client::connect(started.address);
    let put = request(
        "PUT /notes/1",
        "If-None-Match: *\r\n",
        r#"{"title": "Milk"}"#,
    );
    assert_eq!(client.ask(&put).status, 201);
    assert_eq!(client.ask(request("GET /notes/1", "", "")).status, 200);
    let default = by_default("verify-full", "0.0.0.0");
    let nowhere = server.directory.join("nowhere");
    let none = "this machine has no root certificates for sslmode=verify-full";
    let names = "`sslrootcert=FILE` in the URL names some";
    for (host, roots, reason) in [
        ("db.example", "other.pem", format!("{UNKNOWN}{default}")),
        ("other.example", "ca.pem", format!("{WRONG_NAME}{default}")),
        ("db.example", "names", format!("{none}; {names}")),
        (
            "db.example",
            "nowhere",
            format!(
                "{none} (failed to read PEM from file: No such file or directory (os error 2) at \
                 '{}'); {names}",
                nowhere.display()
            ),
        ),
    ] {
        let mut dump = Command::new(env!("CARGO_BIN_EXE_ifmatch"));
        configure(dump.arg("dump"), host, roots);
        let output = dump.output().unwrap();
        let port = server.port;
        let store = format!("postgres://ann@{host}:{port}/data?hostaddr=0.0.0.0");
        let sentence = format!("ifmatch: cannot use the store {store}: {reason}\n");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), sentence);
    }
}
