//! Addresses, and the sockets that listen on them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;

/// Where a server listens.
///
/// ```
/// use ifmatch::Address;
///
/// let address: Address = "127.0.0.1:5000".parse()?;
/// assert_eq!(address.to_string(), "127.0.0.1:5000");
/// # #[cfg(unix)]
/// assert!(matches!("unix:/run/ifmatch.sock".parse()?, Address::Unix(_)));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Address {
    /// An internet address and a port.
    Tcp(SocketAddr),
    /// A Unix-domain socket in the file system.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Address {
    /// Whether only processes on this machine can connect to it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }

    /// The authorities by which a browser on this machine may address a server here.
    pub(super) fn own_names(&self) -> Vec<String> {
        match self {
            Self::Tcp(address) => {
                let mut names = vec![address.to_string()];
                if address.ip().is_loopback() || address.ip().is_unspecified() {
                    let local = ["localhost", "127.0.0.1", "[::1]"];
                    names.extend(local.map(|name| format!("{name}:{}", address.port())));
                }
                names
            }
            #[cfg(unix)]
            Self::Unix(_) => Vec::new(),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = io::Error;

    /// Parses `ADDR:PORT`, where ADDR may be a host name to resolve, or `unix:PATH`.
    fn from_str(text: &str) -> io::Result<Self> {
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let mut addresses = text.to_socket_addrs()?;
        addresses
            .next()
            .map(Self::Tcp)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            #[cfg(unix)]
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// For `TcpStream::connect(address)`; an error for a Unix-domain socket.
impl ToSocketAddrs for Address {
    type Iter = std::option::IntoIter<SocketAddr>;

    fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
        match self {
            Self::Tcp(address) => Ok(Some(*address).into_iter()),
            #[cfg(unix)]
            Self::Unix(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// A socket that listens.
pub(super) enum ListeningSocket {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl ListeningSocket {
    /// Listens on `address`. Returns the address with the port that was picked as well.
    pub(super) fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = listener.local_addr()?.into();
                Ok((Self::Tcp(listener), address))
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                remove_stale(path)?;
                Ok((Self::Unix(UnixListener::bind(path)?), address.clone()))
            }
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(listener) => listener.try_clone().map(Self::Tcp),
            #[cfg(unix)]
            Self::Unix(listener) => listener.try_clone().map(Self::Unix),
        }
    }
}

/// Removes the file of a Unix-domain socket on which no process listens, and no other file.
#[cfg(unix)]
fn remove_stale(path: &PathBuf) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(file) if !file.file_type().is_socket() => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        )),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)
            }
            Err(error) => Err(error),
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        },
    }
}
