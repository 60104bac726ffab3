//! The door of `tiny_http`. Its threads:
//!
//! - the watchdog, on the thread of `Server::serve`: starts acceptors, probes them, stops them;
//! - the acceptor, a thread of `tiny_http`: accepts connections;
//! - one thread of `tiny_http` for each connection: parses the heads of its requests;
//! - the receiver: takes each request, and answers it if nothing blocks;
//! - job threads: one for each connection whose request blocks, for as long as it does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::server::address::{Address, ListeningSocket};
use crate::server::service::Service;
use crate::server::stopper::Stopper;

mod connections;
mod job_thread;
mod peer;
mod raw_request;
mod receiver;
mod responder;
mod response_writer;
mod watchdog;

use responder::Responder;
use watchdog::Watchdog;

/// How long one write to a full socket blocks.
#[cfg(unix)]
const WRITE_TIMEOUT: Duration = Duration::from_millis(10);

/// Serves on this thread until the server is stopped.
///
/// # Errors
///
/// When a thread cannot be started.
pub(super) fn serve(
    service: Arc<Service>,
    timeout: Duration,
    stopper: &Stopper,
    listener: ListeningSocket,
    address: &Address,
) -> io::Result<()> {
    // The stopper may outlive the server.
    let weak = Arc::downgrade(&service);
    stopper.on_stop(move || {
        if let Some(service) = weak.upgrade() {
            service.waiters().close();
        }
    });
    let responder = Responder::new(service, stopper.clone(), timeout);
    Watchdog::run(Arc::new(responder), listener, address.clone())
}

/// Sets the options that connections inherit from their listener: their timeouts, and that small
/// packets are sent at once. On Linux a connection inherits them when it is established, which may be
/// before the server serves.
///
/// The read timeout also ends `accept`, and with it the acceptor: see [`watchdog`]. The sockets of a
/// Unix-domain listener inherit nothing.
pub(super) fn configure(listener: &ListeningSocket, timeout: Duration) -> io::Result<()> {
    #[cfg(unix)]
    if let ListeningSocket::Tcp(listener) = listener {
        use std::net::TcpStream;
        use std::os::fd::OwnedFd;
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(WRITE_TIMEOUT))?;
    }
    Ok(())
}

impl From<ListeningSocket> for tiny_http::Listener {
    fn from(listener: ListeningSocket) -> Self {
        match listener {
            ListeningSocket::Tcp(listener) => listener.into(),
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => listener.into(),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_inherit_options() -> io::Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let timeout = Duration::from_secs(7);
        configure(&ListeningSocket::Tcp(listener.try_clone()?), timeout)?;
        let _client = TcpStream::connect(listener.local_addr()?)?;
        let (stream, _) = listener.accept()?;
        assert!(stream.nodelay()?);
        assert_eq!(stream.read_timeout()?, Some(timeout));
        assert!(stream.write_timeout()?.is_some_and(|it| it < timeout));
        Ok(())
    }
}
