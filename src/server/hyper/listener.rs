//! Accepting connections of either kind of socket.

use std::io;
use std::net::{self, IpAddr};
#[cfg(unix)]
use std::os::unix::net as net_unix;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::server::address::ListeningSocket;

/// The size of a socket's send buffer in bytes, which the kernel doubles. The kernel's own choice is
/// many times larger: much memory for a client that does not read; and a slow client takes so long
/// to make room in it that the write timeout ends its connection.
const SEND_BUFFER: usize = 64 * 1024;

/// A listening socket of the runtime.
pub(super) enum AsyncListener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection with its client's address.
pub(super) enum Accepted {
    Tcp(TcpStream, IpAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A connection without a runtime.
pub(super) enum Detached {
    Tcp(net::TcpStream, IpAddr),
    #[cfg(unix)]
    Unix(net_unix::UnixStream),
}

impl Accepted {
    /// Deregisters the connection from the runtime that accepted it.
    pub(super) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream, peer) => Detached::Tcp(stream.into_std()?, peer),
            #[cfg(unix)]
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }
}

impl Detached {
    /// Registers the connection with the runtime of this thread.
    pub(super) fn attach(self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(stream, peer) => Accepted::Tcp(TcpStream::from_std(stream)?, peer),
            #[cfg(unix)]
            Self::Unix(stream) => Accepted::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncListener {
    /// Waits for the next connection. On Linux the kernel closes it if the client acknowledges
    /// nothing for `timeout`.
    pub(super) async fn accept(&self, timeout: Duration) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                configure(&stream, timeout);
                Ok(Accepted::Tcp(stream, peer.ip()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// Sets the options of a socket: small packets are sent at once, and unsent bytes are limited in
/// number and in time, also after the server has closed the connection.
fn configure(stream: &TcpStream, timeout: Duration) {
    let socket = socket2::SockRef::from(stream);
    // A connection without one of these options can still be served.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(timeout));
}

impl TryFrom<ListeningSocket> for AsyncListener {
    type Error = io::Error;

    fn try_from(listener: ListeningSocket) -> io::Result<Self> {
        match listener {
            ListeningSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Self::Tcp)
            }
            #[cfg(unix)]
            ListeningSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener).map(Self::Unix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::hyper::workers;

    #[test]
    fn sockets_have_options() -> io::Result<()> {
        let (runtime, timeout) = (workers::runtime().build()?, Duration::from_secs(7));
        runtime.block_on(async {
            let listener = net::TcpListener::bind("127.0.0.1:0")?;
            let _client = net::TcpStream::connect(listener.local_addr()?)?;
            let listener = AsyncListener::try_from(ListeningSocket::Tcp(listener))?;
            let Accepted::Tcp(stream, _) = listener.accept(timeout).await? else {
                unreachable!()
            };
            let socket = socket2::SockRef::from(&stream);
            assert!(socket.tcp_nodelay()?);
            assert!((SEND_BUFFER..=2 * SEND_BUFFER).contains(&socket.send_buffer_size()?));
            #[cfg(target_os = "linux")]
            assert_eq!(socket.tcp_user_timeout()?, Some(timeout));
            Ok(())
        })
    }
}
