//! The `PostgreSQL` store behind pgbouncer, configured as in `docs/postgresql.md`: the connections
//! of the stores share fewer connections to the database, each for one transaction at a time.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ifmatch::Store;

use crate::conformance::{Place, suite};
use crate::servers;
use crate::support::cluster::{Cluster, Schema, is_root};
use crate::support::proxy::{Proxy, block, skipped};

/// A schema of a role of its own, behind a pgbouncer of its own.
struct Pooled {
    schema: Schema,
    _pgbouncer: Proxy,
}

impl Pooled {
    /// On the database server that tests share.
    fn new() -> Option<Self> {
        Self::on(Cluster::shared()?, "")
    }

    /// On this database server, with these lines added to the configuration.
    fn on(cluster: &Cluster, lines: &str) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let role = format!("pooled{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // PostgreSQL looks for tables in the schema with the name of the role first.
        cluster.sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; \
             CREATE SCHEMA {role} AUTHORIZATION {role}; \
             ALTER ROLE {role} SET statement_timeout = '5s'; \
             ALTER ROLE {role} SET idle_in_transaction_session_timeout = '5s'"
        ));
        let host = cluster.socket_directory();
        let timeout = Duration::from_secs(20);
        let Some(pgbouncer) = Proxy::start("pgbouncer", timeout, |address, directory| {
            let path = directory.0.to_str().unwrap();
            let mut text = block("ini").to_owned();
            for (shown, here) in [
                ("data = host=db.example", format!("postgres = host={host}")),
                (
                    "listen_port = 6432",
                    format!("listen_port = {}\nunix_socket_dir =", address.port()),
                ),
                ("/etc/pgbouncer", path.to_owned()),
            ] {
                assert!(text.contains(shown), "{shown}");
                text = text.replace(shown, &here);
            }
            // Fewer connections than there are clients.
            text += &format!("default_pool_size = 3\n{lines}\n");
            let file = directory.0.join("pgbouncer.ini");
            fs::write(&file, text).unwrap();
            fs::write(
                directory.0.join("userlist.txt"),
                format!("\"{role}\" \"secret\"\n"),
            )
            .unwrap();
            let mut command = Command::new("pgbouncer");
            if is_root() {
                command.args(["--user", "postgres"]);
            }
            command.arg(file).stdout(Stdio::null());
            command
        }) else {
            skipped("pgbouncer");
            return None;
        };
        let url = format!("postgres://{role}:secret@{}/postgres", pgbouncer.address);
        Some(Self {
            schema: Schema::at(url),
            _pgbouncer: pgbouncer,
        })
    }
}

impl Place for Pooled {
    fn open(&self) -> Arc<dyn Store> {
        self.schema.store()
    }

    fn many(&self) -> usize {
        500
    }

    fn keeps_id_member(&self) -> bool {
        true
    }
}

mod pooled {
    use super::*;
    suite!(Pooled::new());
}

/// Every tenth round ends the connections between pgbouncer and the database.
#[test]
fn of_clients_of_three_servers_exactly_one_wins_through_pgbouncer() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let Some(pooled) = Pooled::on(&cluster, "") else {
        return;
    };
    let servers = servers::start(&pooled.schema);
    let [won, _, unavailable, _] = servers::race(&servers, 100, |round| {
        thread::sleep(Duration::from_millis(round as u64 % 17));
        if round % 10 == 9 {
            cluster.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE usename LIKE 'pooled%'",
            );
        }
    });
    assert!(won >= 80, "{won} {unavailable}");
}
