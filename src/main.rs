//! The `ifmatch` server. `ifmatch --help` tells how to call it.
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
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // A client that resets its connection ends a thread of tiny_http with a panic, which is of
        // no interest.
        if !panic
            .location()
            .is_some_and(|place| is_of_tiny_http(place.file()))
        {
            tell(panic);
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
        Command::Serve(config) => return finish(serve(&config)),
        Command::Dump(config) => return finish(dump(&config)),
    }
    ExitCode::SUCCESS
}

fn finish(done: Result<(), Box<dyn Error>>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error, 1),
    }
}

/// Writes what a store holds to stdout.
fn dump(config: &Config) -> Result<(), Box<dyn Error>> {
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    Ok(config.dump(&mut stdout)?)
}

/// Serves until it is told to stop.
fn serve(config: &Config) -> Result<(), Box<dyn Error>> {
    let (address, logs) = (config.address.clone(), config.access_log);
    let (door, token) = (config.options.door, config.token_file.is_some());
    let place = place(&config.options.policy.collections);
    let options = config.clone().into_options()?;
    let store = config.open_store()?;
    // What is in memory fails at the end of the calendar only.
    let can_fail = store.writes_block();
    let server = Server::bind(address, Arc::clone(&store), options)?;
    // Only now: a start that fails changes no documents.
    config.keep_id_members(&store)?;
    for left_out in config.load_into(&store)? {
        warn(&left_out);
    }
    if logs {
        server.log_to(io::stderr())?;
    }
    if can_fail {
        server.tell_failures_to(io::stderr())?;
    }
    let address = server.local_addr();
    if !address.is_local() {
        warn_of_others(address, door, token);
    }
    #[cfg(all(feature = "hyper", unix))]
    stop_on_signals(server.stopper())?;
    print(&match address {
        Address::Tcp(address) => format!("ifmatch serves http://{address}{place}\n"),
        address => format!("ifmatch serves {address}\n"),
    });
    Ok(server.serve()?)
}

/// Warns of what other machines may do here.
fn warn_of_others(address: &Address, door: Door, token: bool) {
    if door == Door::TinyHttp {
        warn(&format!(
            "{address} can be reached from other machines, and a hostile client can stop this \
             server; use `--door hyper`, or listen on loopback behind a reverse proxy"
        ));
    }
    if !token {
        warn(&format!(
            "{address} can be reached from other machines, and whoever reaches it may read and \
             write; ask for a token with --token-file, or listen on loopback behind a reverse proxy \
             that knows its users"
        ));
    }
}

/// Where to begin: at the one collection, or at the links to all of them.
fn place(served: &Collections) -> String {
    let mut collections = served.iter();
    match (collections.next(), collections.next()) {
        (Some(one), None) => format!("/{}", one.name()),
        _ => "/".to_owned(),
    }
}

/// Has the first SIGTERM or SIGINT stop the server, and the second one end it at once.
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

/// Whether a source file is one of the crate `tiny_http`, and not of the door of that name.
fn is_of_tiny_http(file: &str) -> bool {
    let own = file!().trim_end_matches("main.rs");
    file.contains("tiny_http") && !file.starts_with(own)
}

/// Ignores write errors: a closed stdout must not stop the server.
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
    fn panics_of_the_door_are_told_of() {
        assert!(is_of_tiny_http(
            "/home/ann/.cargo/tiny_http-0.12.0/src/client.rs"
        ));
        assert!(is_of_tiny_http("vendor/tiny_http/src/client.rs"));
        assert!(!is_of_tiny_http(file!()));
        let door = file!().replace("main.rs", "server/tiny_http/incoming.rs");
        assert!(!is_of_tiny_http(&door));
    }
}
