use std::io;
use std::net::{self, IpAddr};
#[cfg(unix)]
use std::os::unix::net as net_unix;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};

use crate::server::address::ListeningSocket;

/// How much of an answer the machine may hold for a client that has not taken it yet, in bytes. The
/// kernel doubles it. Many times this, its own choice, is much to hold for nothing, and so much to
/// wait for between two signs of progress that a slow client passes for one that does not read.
const SEND_BUFFER: usize = 64 * 1024;

/// A listener on the runtime.
pub(super) enum AsyncListener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

/// A connection, and the machine it comes from.
pub(super) enum Accepted {
    Tcp(TcpStream, IpAddr),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// A connection that no runtime looks after.
pub(super) enum Detached {
    Tcp(net::TcpStream, IpAddr),
    #[cfg(unix)]
    Unix(net_unix::UnixStream),
}

impl Accepted {
    /// Takes the connection from the runtime that accepted it.
    pub(super) fn detach(self) -> io::Result<Detached> {
        Ok(match self {
            Self::Tcp(stream, peer) => Detached::Tcp(stream.into_std()?, peer),
            #[cfg(unix)]
            Self::Unix(stream) => Detached::Unix(stream.into_std()?),
        })
    }
}

impl Detached {
    /// Gives the connection to the runtime of this thread.
    pub(super) fn attach(self) -> io::Result<Accepted> {
        Ok(match self {
            Self::Tcp(stream, peer) => Accepted::Tcp(TcpStream::from_std(stream)?, peer),
            #[cfg(unix)]
            Self::Unix(stream) => Accepted::Unix(UnixStream::from_std(stream)?),
        })
    }
}

impl AsyncListener {
    /// Waits for the next connection, whose client may take so long to take more of an answer.
    pub(super) async fn accept(&self, patience: Duration) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                tune(&stream, patience);
                Ok(Accepted::Tcp(stream, peer.ip()))
            }
            #[cfg(unix)]
            Self::Unix(listener) => Ok(Accepted::Unix(listener.accept().await?.0)),
        }
    }
}

/// Has answers leave at once, and bounds what is held for the client: how much, and for how long
/// once it takes no more, even if the connection has been closed from here.
fn tune(stream: &TcpStream, patience: Duration) {
    let socket = socket2::SockRef::from(stream);
    // What a socket cannot do, or will not do because it is closed, is not worth refusing it.
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(patience));
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
