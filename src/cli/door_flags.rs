//! The flags that only one door has.

use crate::cli::usage::UsageError;
use crate::server::Door;
#[cfg(feature = "hyper")]
use crate::server::Limits;

/// The flag `--door` and those of the hyper door, which every build parses.
#[derive(Clone, Debug, Default)]
pub(super) struct DoorFlags {
    hyper: bool,
    pub(super) max_connections: Option<u32>,
    pub(super) max_waiting: Option<u32>,
    pub(super) threads: Option<u32>,
}

impl DoorFlags {
    /// Sets the value of `--door`.
    pub(super) fn set_door(&mut self, name: &str) -> Option<()> {
        self.hyper = match name {
            "tiny_http" => false,
            "hyper" => true,
            _ => return None,
        };
        Some(())
    }

    /// The door that the flags name.
    pub(super) fn door(&self) -> Result<Door, UsageError> {
        #[cfg(feature = "hyper")]
        if self.hyper {
            let limits = Limits::default();
            return Ok(Door::Hyper(Limits {
                connections: self.max_connections.unwrap_or(limits.connections),
                waiting: self.max_waiting.unwrap_or(limits.waiting),
                threads: self.threads.unwrap_or(limits.threads),
            }));
        }
        if self.hyper {
            return Err(UsageError::NotBuilt("hyper"));
        }
        let given = [
            ("--max-connections", self.max_connections.is_some()),
            ("--max-waiting", self.max_waiting.is_some()),
            ("--threads", self.threads.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(UsageError::Needs(flag, "--door hyper")),
            None => Ok(Door::TinyHttp),
        }
    }
}
