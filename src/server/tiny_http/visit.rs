use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::server::address::Address;

/// Connects and goes again, as soon as somebody has answered.
///
/// An empty line is no request, and `tiny_http` says so. Leaving most of that unread resets the
/// connection, so that no port is left waiting.
///
/// # Errors
///
/// When nobody is there, or nobody answers for `patience`.
pub(super) fn visit(address: &Address, patience: Duration) -> io::Result<()> {
    match address {
        Address::Tcp(address) => {
            let mut stream = TcpStream::connect_timeout(&reachable(*address), patience)?;
            stream.set_read_timeout(Some(patience))?;
            knock(&mut stream)
        }
        #[cfg(unix)]
        Address::Unix(path) => {
            let mut stream = UnixStream::connect(path)?;
            stream.set_read_timeout(Some(patience))?;
            knock(&mut stream)
        }
    }
}

fn knock(stream: &mut (impl Read + Write)) -> io::Result<()> {
    stream.write_all(b"\r\n")?;
    stream.read_exact(&mut [0])
}

/// The address at which this machine reaches a listener on `address`.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}
