use std::process::Command;

use crate::Result;
use crate::program::{Program, bound, built};

/// The part of the server that accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    TinyHttp,
    Hyper,
}

impl Door {
    pub const BOTH: [Self; 2] = [Self::TinyHttp, Self::Hyper];

    pub fn name(self) -> &'static str {
        match self {
            Self::TinyHttp => "tiny_http",
            Self::Hyper => "hyper",
        }
    }

    /// The server under test, behind this door.
    pub fn command(self, store: &str, more: &[&str]) -> Result<Command> {
        let mut command = bound(&[], built("ifmatch")?);
        command.args(["--listen", "127.0.0.1:0", "--door", self.name()]);
        command.args(["--store", store]).args(more);
        Ok(command)
    }

    pub fn serve(self, store: &str, more: &[&str]) -> Result<Program> {
        Program::start(&mut self.command(store, more)?)
    }

    /// The minimal program on the library of this door. `length` is the length of its content.
    /// `head` has the status and the field lines of its response; only the program on hyper reads
    /// it.
    pub fn floor(self, length: usize, head: &[String]) -> Result<Program> {
        let program = built(&format!("{}_floor", self.name()))?;
        Program::start(bound(&[], program).arg(length.to_string()).args(head))
    }
}
