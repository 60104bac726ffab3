//! Sockets, threads and the clock: what serves requests over connections.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::store::Store;

mod address;
mod health;
#[cfg(feature = "hyper")]
mod hyper;
mod log;
mod metrics;
mod options;
mod service;
mod stopper;
mod timed_store;
mod tiny_http;
mod waiters;

pub use address::Address;
use address::ListeningSocket;
use log::Log;
#[cfg(feature = "hyper")]
pub use options::Limits;
pub use options::{Door, Options};
use options::{MAX_TIMEOUT, MIN_TIMEOUT};
use service::Service;
pub use stopper::Stopper;

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
    listener: ListeningSocket,
    address: Address,
    stopper: Stopper,
    door: Door,
    timeout: Duration,
}

impl Server {
    /// Listens on `address`; port 0 picks a free one. Connections wait until the server serves.
    ///
    /// The file of a Unix-domain socket is replaced if no process listens on it; any other file is
    /// kept, and is an error.
    ///
    /// # Errors
    ///
    /// When the server cannot listen on the address.
    pub fn bind(
        address: Address,
        store: impl Store + 'static,
        mut options: Options,
    ) -> Result<Self, ServeError> {
        let (listener, address) =
            ListeningSocket::bind(&address).map_err(|cause| ServeError { address, cause })?;
        options.timeout = options.timeout.clamp(MIN_TIMEOUT, MAX_TIMEOUT);
        if options.door == Door::TinyHttp {
            tiny_http::configure(&listener, options.timeout).map_err(ServeError::at(&address))?;
        }
        options.policy.access.set_own_names(address.own_names());
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

    /// The address on which the server listens, with the port that was picked.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Logs the responses to `sink`, in the Common Log Format with the duration in microseconds at the
    /// end of each line. A thread of its own writes the log. A second call has no effect.
    ///
    /// Not logged are successful health checks, and the responses that the HTTP implementation of the
    /// door makes itself. Lines that come faster than `sink` takes them are dropped; a line says how
    /// many.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn log_to(&self, sink: impl io::Write + Send + 'static) -> Result<(), ServeError> {
        let log = Log::start(Box::new(sink)).map_err(ServeError::at(&self.address))?;
        self.service.log_to(log);
        Ok(())
    }

    /// Writes the reason of each failure of the store to `sink`, unless the previous line has the same
    /// reason and is less than ten seconds old. Responses do not contain the reason. A thread of its own
    /// writes. A second call has no effect.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn log_failures_to(&self, sink: impl io::Write + Send + 'static) -> Result<(), ServeError> {
        let log = Log::start(Box::new(sink)).map_err(ServeError::at(&self.address))?;
        self.service.log_failures_to(log);
        Ok(())
    }

    /// A handle that stops the server, for another thread while this one serves.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Serves on this thread until a [`Stopper`] ends it.
    ///
    /// A stopping server accepts no connections and finishes the requests under way, which takes
    /// [`Options::timeout`] at most. The hyper door then closes every connection. The `tiny_http`
    /// door cannot close open ones: later requests on them are not answered.
    ///
    /// # Errors
    ///
    /// When a thread or a runtime cannot be started.
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

    /// Serves on a new thread.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
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

/// A server that serves on a thread of its own. Dropping this value does not stop it.
#[derive(Debug)]
pub struct Running {
    address: Address,
    stopper: Stopper,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// The address on which the server listens.
    #[must_use]
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Stops the server and waits until it has ended. At the `tiny_http` door each connection that
    /// is still open keeps its thread until [`Options::timeout`].
    ///
    /// An error of [`Server::serve`] is not reported; call that on a thread of your own to get it.
    pub fn stop(self) {
        self.stopper.stop();
        let _ = self.thread.join();
    }
}

/// The server cannot listen, or cannot start a thread.
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
