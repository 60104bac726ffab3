use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, PipeReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::Result;
use crate::connection::Connection;
use crate::request::page;

/// The unit of processor time in `/proc`: Linux reports 100 ticks per second on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// A child process, which is ended when it is dropped.
pub struct Process {
    child: Child,
    /// Stays open, because the process may print more.
    output: BufReader<PipeReader>,
}

impl Process {
    /// Starts the process, and waits until `find` finds a value in its output.
    pub fn start<T>(command: &mut Command, find: impl Fn(&str) -> Option<T>) -> Result<(Self, T)> {
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut process = Self {
            child: command.spawn()?,
            output: BufReader::new(reader),
        };
        // The command must not keep its ends of the pipe: they would keep the pipe open after the
        // end of the program.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut printed = String::new();
        while process.output.read_line(&mut printed)? > 0 {
            if let Some(found) = find(&printed) {
                return Ok((process, found));
            }
        }
        Err(format!("{command:?} does not serve: {printed}").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A server and its address.
pub struct Program {
    process: Process,
    pub address: SocketAddr,
}

impl Program {
    /// Starts the server, and waits for the line with its address and for its first response.
    /// Before that response the server may not have finished its start.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (process, address) = Process::start(command, address_in)?;
        let mut request = Vec::new();
        page(&mut request, 1, "")?;
        Connection::open(address)?.ask(&request)?;
        Ok(Self { process, address })
    }

    /// The processor time of all its threads and processes, including those that have ended.
    pub fn processor_time(&self) -> Result<Duration> {
        processor_time(self.process.child.id())
    }

    /// Its resident memory, in bytes.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next());
        Ok(kilobytes.ok_or("no VmRSS in /proc")?.parse::<u64>()? * 1024)
    }
}

/// Ends a process. A process with children gets SIGQUIT first, so that it ends them.
fn end(child: &mut Child) {
    if !children(child.id()).is_empty() {
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-QUIT", &id]).status();
        if sent.is_ok_and(|status| status.success()) {
            let _ = child.wait();
        }
    }
    // The process may have ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn children(id: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// The processor time of a process and of its children.
fn processor_time(id: u32) -> Result<Duration> {
    let below = children(id).into_iter().map(processor_time);
    below
        .sum::<Result<Duration>>()
        .and_then(|below| Ok(below + time_of(id)?))
}

fn time_of(id: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in brackets, may contain any character. The 14th and 15th fields are the user and
    // the system time.
    let fields = stat.rsplit_once(") ").ok_or("/proc has no stat")?.1;
    let times = fields.split(' ').skip(11).take(2);
    let ticks = times
        .map(str::parse::<u32>)
        .sum::<std::result::Result<u32, _>>()?;
    Ok(TICK * ticks)
}

/// The processor time of this process, which makes the load.
pub fn own_time() -> Result<Duration> {
    time_of(std::process::id())
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
    rest.get(..end?)?.parse().ok()
}

/// One of the programs that were built together with this one.
pub fn built(name: &str) -> Result<PathBuf> {
    Ok(env::current_exe()?.with_file_name(name))
}

/// A command whose process the kernel ends when this process ends in any way. `options` are those
/// of `setpriv`.
pub fn bound(options: &[&str], program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig=TERM"])
        .args(options)
        .arg(program);
    command
}

/// Runs a command without its output. An error if it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    if command.status()?.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed").into())
}
