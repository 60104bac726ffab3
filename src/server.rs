//! The doors.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::policy::Policy;
use crate::store::Store;

mod address;
mod health;
#[cfg(feature = "hyper")]
mod hyper;
mod log;
mod metrics;
mod service;
mod stopper;
mod tiny_http;
mod waiters;

pub use address::Address;
use address::Listener;
use log::Log;
use service::Service;
pub use stopper::Stopper;

/// How a [`Server`] answers. Begin with `Options::default()`, and change what is to be otherwise.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What is decided about the answers.
    pub policy: Policy,
    /// What takes the connections.
    pub door: Door,
    /// How long a client may take, 10 seconds unless set: for the head of its next request, for the
    /// content, and to take more of an answer. Less than a second counts as a second.
    ///
    /// At the hyper door the head and the content each have to arrive as a whole in that time. At the
    /// `tiny_http` door, on Linux, it is how long a client may be silent; on other systems and on
    /// Unix-domain sockets no connection ends for it there.
    pub timeout: Duration,
    /// Whether requests are counted, and `/metrics` shows the counters to Prometheus.
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

/// The shortest timeout: the `tiny_http` door connects to itself several times in it.
const MIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest timeout: short enough to be added to the time of day.
const MAX_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

#[doc = include_str!("server/doors.md")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Door {
    /// `tiny_http`: small, without a runtime, and for callers that are trusted, on the loopback
    /// interface or behind a reverse proxy.
    ///
    /// No client waits for another one, and on Linux a silent one is let go after
    /// [`Options::timeout`]. But there are no limits, and header lines may be of any length: whoever
    /// can connect can use up its memory, threads and descriptors. Outside Unix the sockets have no
    /// write timeout either, and one client that does not read can stop it.
    #[default]
    TinyHttp,
    /// hyper, on one thread or several: for networks that are not trusted, and for high load.
    /// With the cargo feature `hyper`.
    ///
    /// It costs some twenty crates and half a megabyte more.
    #[cfg(feature = "hyper")]
    Hyper(Limits),
}

/// What one client may take from the others at the hyper door.
#[cfg(feature = "hyper")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most connections that are open at once, at least one; 256 unless set. Others wait until
    /// one of them ends.
    pub connections: u32,
    /// The most requests that wait for a change at once; 1,000 unless set. They do not count as
    /// connections. Others get their 304 at once.
    pub waiting: u32,
    /// How many threads serve the connections, at least one; one unless set. Connections go to them
    /// in turn. The other limits are for all of them together.
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

/// A server on an address.
///
/// ```
/// use ifmatch::{MemoryStore, Options, Server};
///
/// let server = Server::bind("127.0.0.1:0".parse()?, MemoryStore::new(), Options::default())?;
/// println!("http://{}/persons", server.local_addr());
/// let running = server.spawn()?; // or server.serve(), on this thread
/// running.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Server {
    service: Arc<Service>,
    listener: Listener,
    address: Address,
    stopper: Stopper,
    door: Door,
    timeout: Duration,
}

impl Server {
    /// Listens on `address`; port 0 picks a free one. Connections wait until the server serves.
    ///
    /// A Unix-domain socket that nobody listens on any more is replaced; any other file is not.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub fn bind(
        address: Address,
        store: impl Store + 'static,
        mut options: Options,
    ) -> Result<Self, ServeError> {
        let (listener, address) =
            Listener::bind(&address).map_err(|cause| ServeError { address, cause })?;
        options.timeout = options.timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        if options.door == Door::TinyHttp {
            tiny_http::tune(&listener, options.timeout).map_err(ServeError::at(&address))?;
        }
        options.policy.access.know_as(address.own_names());
        let (door, timeout) = (options.door, options.timeout);
        Ok(Self {
            service: Arc::new(Service::new(Arc::new(store), options)),
            listener,
            address,
            stopper: Stopper::new(),
            door,
            timeout,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Writes one line for each answer to `sink`, from a thread of its own: the Common Log Format,
    /// with the microseconds the answer took at the end. The first sink counts.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub fn log_to(&self, sink: impl io::Write + Send + 'static) -> Result<(), ServeError> {
        let log = Log::start(Box::new(sink)).map_err(ServeError::at(&self.address))?;
        self.service.log_to(log);
        Ok(())
    }

    /// Writes a sentence to `sink`, from a thread of its own, when the store fails; the same one
    /// again after ten seconds. Clients are told no more than that it did. The first sink counts.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub fn tell_failures_to(
        &self,
        sink: impl io::Write + Send + 'static,
    ) -> Result<(), ServeError> {
        let log = Log::start(Box::new(sink)).map_err(ServeError::at(&self.address))?;
        self.service.log_failures_to(log);
        Ok(())
    }

    /// What stops it, to be kept while it serves.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves on this thread until a [`Stopper`] ends it.
    ///
    /// The requests under way are finished then, and no new connections are taken. That takes at most
    /// the timeout. At the hyper door every connection ends. At the `tiny_http` door those that are
    /// open cannot be closed: what clients still send on them stays unanswered.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left to begin with.
    pub fn serve(self) -> Result<(), ServeError> {
        let Self {
            service,
            listener,
            address,
            stopper,
            door,
            timeout,
        } = self;
        let served = match door {
            Door::TinyHttp => {
                tiny_http::serve(Arc::clone(&service), timeout, &stopper, listener, &address)
            }
            #[cfg(feature = "hyper")]
            Door::Hyper(limits) => hyper::serve(
                Arc::clone(&service),
                limits,
                timeout,
                &stopper,
                listener,
                &address,
            ),
        };
        service.flush_logs();
        served.map_err(ServeError::at(&address))
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub fn spawn(self) -> Result<Running, ServeError> {
        let (address, stopper) = (self.address.clone(), self.stopper());
        let thread = thread::Builder::new()
            .name("ifmatch".into())
            .spawn(move || self.serve())
            .map_err(ServeError::at(&address))?;
        Ok(Running {
            address,
            stopper,
            thread,
        })
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// A server on a thread of its own. Dropping this leaves it running.
#[derive(Debug)]
pub struct Running {
    address: Address,
    stopper: Stopper,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Stops the server and waits until it has ended; at the `tiny_http` door a connection that is
    /// still open may keep a thread until its timeout.
    pub fn stop(self) {
        self.stopper.stop();
        // A panic in there has been printed; stopped it is in any case.
        let _ = self.thread.join();
    }
}

/// The server cannot listen, or has no thread left to serve or to log.
#[derive(Debug)]
pub struct ServeError {
    address: Address,
    cause: io::Error,
}

impl ServeError {
    fn at(address: &Address) -> impl FnOnce(io::Error) -> Self {
        |cause| Self {
            address: address.clone(),
            cause,
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, cause } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "another program is already listening on {address}; stop it, or use another address"
                )
            }
            _ => write!(f, "cannot serve on {address}: {cause}"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.cause)
    }
}

/// Locks what no panic leaves half-changed: each change is one call on a list, a map or a field.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
