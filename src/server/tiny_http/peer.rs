//! What requests are grouped by, so that those of one connection are handled in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};

/// The connection of a request, as far as `tiny_http` shows it. Requests of the same peer are handled
/// in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// The address and port of the client. A later connection can have the same ones.
    Tcp(SocketAddr),
    /// A number for each request, since clients of Unix-domain sockets have no address. So each of
    /// these requests has a job thread of its own; `tiny_http` keeps their responses in order.
    Unix(u64),
}

impl Peer {
    pub(super) fn of(request: &tiny_http::Request) -> Self {
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        match request.remote_addr() {
            Some(address) => Self::Tcp(*address),
            None => Self::Unix(REQUESTS.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// The address of the client without its port.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Whether reads and writes on its socket time out, on Linux. On other systems connections inherit no
    /// timeouts from their listener.
    pub(super) fn has_timeouts(self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}
