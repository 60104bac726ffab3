//! The program `ifmatch`, a server. `ifmatch --help` lists its flags.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::panic;
use std::process::ExitCode;
use std::sync::Arc;

#[cfg(all(feature = "hyper", unix))]
use ifmatch::Stopper;
use ifmatch::cli::{self, Command, Config};
use ifmatch::{Address, Collections, Door, Server, Store};

fn main() -> ExitCode {
    let default_hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // A thread of tiny_http panics when its client resets the connection. That is not an error
        // of the server, so that it is not printed.
        if !panic
            .location()
            .is_some_and(|it| is_in_tiny_http(it.file()))
        {
            default_hook(panic);
        }
    }));
    let command = match Command::from_arguments(env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => return fail(&error, 2),
    };
    if let Command::Serve(config) | Command::Dump(config) = &command {
        if config.shows_password() {
            warn(
                "the password in --store can be read by every user of this machine, in the list of \
                 processes; put it into the environment variable PGPASSWORD",
            );
        }
    }
    match command {
        Command::Help => print(&cli::help()),
        Command::Man => print(&cli::man()),
        Command::Version => print(concat!("ifmatch ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Serve(config) => return exit_code(serve(&config)),
        Command::Dump(config) => return exit_code(dump(&config)),
    }
    ExitCode::SUCCESS
}

fn exit_code(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error, 1),
    }
}

/// Writes the documents of a store to stdout.
fn dump(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    Ok(config.dump(&mut stdout)?)
}

/// Serves until a signal stops the server.
fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    let (address, logs) = (config.address.clone(), config.access_log);
    let (door, has_token) = (config.options.door, config.token_file.is_some());
    let path = start_path(&config.options.policy.collections);
    let options = config.clone().into_options()?;
    let store = config.open_store()?;
    // Only the store in memory does not block. It fails only after the year 9999, when there is no
    // later version.
    let can_fail = store.writes_block();
    let server = Server::bind(address, Arc::clone(&store), options)?;
    // This is done after the address is bound, so that a start that fails changes no documents.
    config.record_id_members(&store)?;
    for warning in config.load_into(&store)? {
        warn(&warning);
    }
    if logs {
        server.log_to(io::stderr())?;
    }
    if can_fail {
        server.log_failures_to(io::stderr())?;
    }
    let address = server.local_addr();
    if !address.is_local() {
        warn_of_remote_clients(address, door, has_token);
    }
    #[cfg(all(feature = "hyper", unix))]
    stop_on_signals(server.stopper())?;
    print(&match address {
        Address::Tcp(address) => format!("ifmatch serves http://{address}{path}\n"),
        address => format!("ifmatch serves {address}\n"),
    });
    Ok(server.serve()?)
}

/// Warns of what clients on other machines can do.
fn warn_of_remote_clients(address: &Address, door: Door, has_token: bool) {
    if door == Door::TinyHttp {
        warn(&format!(
            "{address} can be reached from other machines, and a hostile client can stop this \
             server; use `--door hyper`, or listen on loopback behind a reverse proxy"
        ));
    }
    if !has_token {
        warn(&format!(
            "{address} can be reached from other machines, and every client may read and write; ask \
             for a token with --token-file, or listen on loopback behind a reverse proxy that knows \
             its users"
        ));
    }
}

/// The path to begin with: the only collection, or `/`, which has links to all of them.
fn start_path(collections: &Collections) -> String {
    let mut collections = collections.iter();
    match (collections.next(), collections.next()) {
        (Some(one), None) => format!("/{}", one.name()),
        _ => "/".to_owned(),
    }
}

/// The first SIGTERM or SIGINT stops the server, which finishes the requests under way; the second
/// one ends the process at once.
#[cfg(all(feature = "hyper", unix))]
fn stop_on_signals(stopper: Stopper) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
    let thread = std::thread::Builder::new().name("ifmatch-signals".into());
    thread.spawn(move || {
        for (number, signal) in signals.forever().enumerate() {
            stopper.stop();
            if number > 0 {
                let _ = signal_hook::low_level::emulate_default_handler(signal);
            }
        }
    })?;
    Ok(())
}

/// Whether a source file belongs to the crate `tiny_http`, and not to the door of that name.
fn is_in_tiny_http(file: &str) -> bool {
    let own = file!().trim_end_matches("main.rs");
    file.contains("tiny_http") && !file.starts_with(own)
}

/// Writes to stdout. Ignores errors: a closed stdout must not stop the server.
fn print(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}

#[expect(
    clippy::print_stderr,
    reason = "the command line is where errors are printed"
)]
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    eprintln!("ifmatch: {error}");
    ExitCode::from(code)
}

#[expect(
    clippy::print_stderr,
    reason = "the command line is where warnings are printed"
)]
fn warn(warning: &str) {
    eprintln!("ifmatch: warning: {warning}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_the_door_are_printed() {
        assert!(is_in_tiny_http(
            "/home/ann/.cargo/tiny_http-0.12.0/src/client.rs"
        ));
        assert!(is_in_tiny_http("vendor/tiny_http/src/client.rs"));
        assert!(!is_in_tiny_http(file!()));
        let door = file!().replace("main.rs", "server/tiny_http/raw_request.rs");
        assert!(!is_in_tiny_http(&door));
    }
}
