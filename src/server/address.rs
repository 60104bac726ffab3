use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::fs::FileTypeExt;
#[cfg(unix)]
use std::os::unix::net::{UnixListener, UnixStream};
#[cfg(unix)]
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// How long the loop waits for a client whose socket is full before it goes on with the others.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(10);

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
    /// Whether nobody on another machine can reach it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            #[cfg(unix)]
            Self::Unix(_) => true,
        }
    }

    /// The names by which a browser on this machine may call a server here.
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

    /// Connects and goes again, as soon as somebody has answered.
    ///
    /// An empty line is no request, and `tiny_http` says so. Leaving most of that unread resets
    /// the connection, so that no port is left waiting.
    ///
    /// # Errors
    ///
    /// When nobody is there, or nobody answers for `patience`.
    pub(super) fn visit(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(address) => {
                let mut stream = TcpStream::connect_timeout(&reachable(*address), patience)?;
                stream.set_read_timeout(Some(patience))?;
                knock(&mut stream)
            }
            #[cfg(unix)]
            Self::Unix(path) => {
                let mut stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                knock(&mut stream)
            }
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

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl FromStr for Address {
    type Err = io::Error;

    /// Reads `ADDR:PORT`, where a name is looked up, or `unix:PATH`.
    fn from_str(text: &str) -> io::Result<Self> {
        #[cfg(unix)]
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let mut found = text.to_socket_addrs()?;
        found
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

/// So that a client can be connected to a server's address as it is; not to a Unix-domain socket.
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
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(UnixListener),
}

impl Listener {
    /// Listens on `address`. Gives the address back with the port that was taken.
    pub(super) fn bind(address: &Address) -> io::Result<(Self, Address)> {
        match address {
            Address::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                tune(&listener)?;
                let taken = listener.local_addr()?.into();
                Ok((Self::Tcp(listener), taken))
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

impl From<Listener> for tiny_http::Listener {
    fn from(listener: Listener) -> Self {
        match listener {
            Listener::Tcp(listener) => listener.into(),
            #[cfg(unix)]
            Listener::Unix(listener) => listener.into(),
        }
    }
}

/// Sets what accepted connections inherit from their listener: answers leave at once, and nobody
/// waits long for a client that does not read.
fn tune(listener: &TcpListener) -> io::Result<()> {
    #[cfg(unix)]
    {
        let socket = TcpStream::from(std::os::fd::OwnedFd::from(listener.try_clone()?));
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
    }
    Ok(())
}

/// Removes a socket that nobody listens on any more, and nothing else.
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
