//! The options of a server.

use std::time::Duration;

use crate::resource::Policy;

/// How a [`Server`](super::Server) serves. Begin with `Options::default()` and set fields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How requests are answered.
    pub policy: Policy,
    /// The HTTP implementation that accepts connections.
    pub door: Door,
    /// The longest time for a client to send the head of its next request, to send the content, and
    /// to read more of a response; 10 seconds unless set, from one second to a year.
    ///
    /// At the hyper door the whole head, and then the whole content, has to arrive in this time. At
    /// the `tiny_http` door it is the longest time between two bytes, over TCP on Linux; on other
    /// systems and on Unix-domain sockets that door has no timeout.
    pub timeout: Duration,
    /// Whether `/metrics` exists and requests are counted for it, in the format of Prometheus.
    pub metrics: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            door: Door::default(),
            timeout: Duration::from_secs(10),
            metrics: false,
        }
    }
}

/// The shortest timeout. The watchdog of the `tiny_http` door has to probe several times within it.
pub(super) const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest timeout. The sum of a longer one and the current time could overflow.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[doc = include_str!("doors.md")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// `tiny_http`: small, without an async runtime; for trusted clients, on the loopback interface
    /// or behind a reverse proxy.
    ///
    /// No client waits for another one, and on Linux the connection of a silent client ends after
    /// [`Options::timeout`]. But there are no limits on connections or on the length of heads: a
    /// hostile client can exhaust memory, threads and descriptors. Outside Linux the sockets have no
    /// write timeout: one client that does not read can block the server.
    #[default]
    TinyHttp,
    /// hyper, on one thread or several; for untrusted networks and high load. Needs the cargo
    /// feature `hyper`, which adds some twenty crates and half a megabyte.
    #[cfg(feature = "hyper")]
    Hyper(Limits),
}

/// The limits of the hyper door.
#[cfg(feature = "hyper")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections that are open at once, at least one; 256 unless set. Further ones are
    /// accepted when another one ends.
    pub connections: u32,
    /// The most requests that wait for a change at once; 1,000 unless set. Their connections do not
    /// count as open ones. Further requests get 304 at once.
    pub waiting: u32,
    /// The number of threads that serve connections, at least one; one unless set. Each new
    /// connection goes to the next thread. The other limits are for all threads together.
    pub threads: u32,
}

#[cfg(feature = "hyper")]
impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            waiting: 1000,
            threads: 1,
        }
    }
}
