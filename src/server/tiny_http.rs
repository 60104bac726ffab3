use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::framing::{Framing, Refusal};
use crate::message::Response;
use crate::server::address::{Address, ListeningSocket};
use crate::server::service::Service;
use crate::server::stopper::Stopper;

mod answer;
mod connections;
mod incoming;
mod watchdog;

use answer::Answer;
use connections::{Connections, Job};
use incoming::{Incoming, Persistence, Unreadable};
use watchdog::Watchdog;

/// The longest answer that a queue's thread writes itself: what a socket takes while its client does
/// not read.
const SHORT_ANSWER: usize = 16 * 1024;

/// How long one write waits for a client whose socket is full.
#[cfg(unix)]
const WRITE_TIMEOUT: Duration = Duration::from_millis(10);

/// How long a queue's thread waits for a request before it looks whether the server is stopping.
const TICK: Duration = Duration::from_millis(100);

/// How much later than its timeout a connection may end.
const MARGIN: Duration = Duration::from_secs(1);

/// The most requests that wait for a change: each has a thread.
const MAX_WAITING: usize = 64;

/// Serves on this thread until the server is stopped.
///
/// # Errors
///
/// When the machine has no thread left to begin with.
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
    let shared = Arc::new(Shared {
        service,
        stopper: stopper.clone(),
        timeout,
        connections: Connections::new(timeout + MARGIN),
        acceptor: AtomicUsize::new(0),
        acceptor_ended: AtomicBool::new(false),
        busy: AtomicBool::new(false),
    });
    Watchdog::run(&shared, listener, address.clone())
}

/// Sets what connections inherit from their listener, on Linux also those that wait until the server
/// serves: their timeouts, and that answers leave at once.
///
/// The read timeout ends `accept` as well, and with it the acceptor: see [`watchdog`]. The sockets
/// of a Unix-domain listener inherit nothing.
pub(super) fn tune(listener: &ListeningSocket, timeout: Duration) -> io::Result<()> {
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

/// By what a connection is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    /// Its client's address.
    Tcp(SocketAddr),
    /// Nothing: clients of Unix-domain sockets have no address. So each of their requests has a
    /// number, and a worker, of its own; `tiny_http` keeps their answers in order.
    Unix(u64),
}

impl Peer {
    /// Its client's machine, if that is known.
    fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Whether reads and writes on its socket end after a while.
    fn has_timeouts(self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// What the watchdog, the queues' threads and the workers of one server share.
struct Shared {
    service: Arc<Service>,
    stopper: Stopper,
    timeout: Duration,
    connections: Connections,
    /// The number of the latest acceptor.
    acceptor: AtomicUsize,
    /// Whether that one is known to have ended.
    acceptor_ended: AtomicBool,
    /// Whether a request has come since the watchdog last looked.
    busy: AtomicBool,
}

impl Shared {
    /// Receives the requests of one acceptor's connections until the server stops, or until the
    /// acceptor has been replaced and all its connections must have ended.
    fn receive_all(self: &Arc<Self>, acceptor: usize, queue: &tiny_http::Server) {
        let (mut quiet, silence) = (Duration::ZERO, self.timeout + MARGIN);
        while !self.is_overdue() {
            let is_latest = acceptor == self.acceptor.load(Ordering::SeqCst);
            match queue.recv_timeout(TICK) {
                Ok(Some(request)) => {
                    quiet = Duration::ZERO;
                    self.receive(request);
                }
                // Content may be on its way that tiny_http reads before it hands a request over.
                Ok(None) if self.stopper.is_stopping_since(TICK) => return,
                Ok(None) if !is_latest && quiet > silence && self.connections.is_idle() => return,
                Ok(None) => quiet += TICK,
                Err(_) if is_latest => self.acceptor_ended.store(true, Ordering::SeqCst),
                Err(_) => {}
            }
        }
        // If it were dropped, it would be answered, and its content read.
        while let Ok(Some(request)) = queue.try_recv() {
            std::mem::forget(request);
        }
    }

    /// Answers at once what can be answered without waiting for its client or the store; leaves the
    /// rest, and whatever comes after it on the same connection, to a worker.
    fn receive(self: &Arc<Self>, request: tiny_http::Request) {
        self.busy.store(true, Ordering::Relaxed);
        let incoming = Incoming::new(request, self.service.receive_time());
        let peer = incoming.peer();
        let waits = self.service.store_waits(incoming.method()) || incoming.may_wait();
        if waits || !incoming.content_is_here() || self.connections.contains(peer) {
            return self.connections.leave(self, peer, Job::Request(incoming));
        }
        let Some(mut answer) = self.answer(incoming) else {
            return;
        };
        let waits = !peer.has_timeouts() || !answer.is_short(SHORT_ANSWER);
        if waits || answer.is_blocked() {
            self.connections.leave(self, peer, Job::Answer(answer));
        } else if answer.closes() {
            self.connections.close(peer);
        }
    }

    /// Answers a request, waiting for its content where that is still to come. Returns what is to
    /// be written, unless the client is gone.
    fn answer(&self, mut incoming: Incoming) -> Option<Answer> {
        let framing = match self.service.framing(&incoming.request()) {
            Ok(framing) => framing,
            Err(refusal) => return Some(self.refuse(incoming, refusal)),
        };
        let early = incoming
            .waits_for_answer()
            .then(|| self.service.respond_early(&incoming.request()));
        if let Some(response) = early.flatten() {
            // Unread chunks may not even be any.
            let persistence = match framing {
                Framing::Chunked => Persistence::Lost,
                _ => Persistence::Open,
            };
            return Some(self.finish(incoming, response, persistence));
        }
        match incoming.read_content(framing, self.service.max_content()) {
            Ok(content) => {
                let start = incoming.may_wait().then(Instant::now);
                let request = incoming.request().with_content(&content);
                let response = self.service.respond_waiting(&request, MAX_WAITING);
                // Meanwhile tiny_http waits for the next request, as long as the timeout says.
                let persistence = match start {
                    Some(start) if start.elapsed() + TICK > self.timeout => Persistence::Close,
                    _ => Persistence::Open,
                };
                Some(self.finish(incoming, response, persistence))
            }
            Err(Unreadable::Refused(refusal)) => Some(self.refuse(incoming, refusal)),
            Err(Unreadable::Gone) => {
                incoming.discard(self.service.max_content());
                None
            }
        }
    }

    /// Answers a request of a connection that is closing, unless its client may have been told so
    /// in an answer that it got while the server was stopping.
    fn turn_away(&self, incoming: Incoming) -> Option<Answer> {
        if self.stopper.is_stopping() {
            incoming.discard(self.service.max_content());
            return None;
        }
        Some(self.refuse(incoming, Refusal::Closing))
    }

    fn refuse(&self, incoming: Incoming, refusal: Refusal) -> Answer {
        let response = self.service.refuse(&incoming.request(), refusal);
        let persistence = incoming.persistence_after(refusal);
        self.finish(incoming, response, persistence)
    }

    fn finish(&self, incoming: Incoming, response: Response, persistence: Persistence) -> Answer {
        let (ip, since) = (incoming.peer().ip(), incoming.since());
        let method = incoming.method();
        self.service
            .log_and_count(ip, method, || incoming.request_line(), &response, since);
        let persistence = match persistence {
            Persistence::Open if self.stopper.is_stopping() => Persistence::Close,
            persistence => persistence,
        };
        incoming.answer(response, self.service.max_content(), persistence)
    }

    /// Whether a stopping server has waited long enough for its clients.
    fn is_overdue(&self) -> bool {
        self.stopper.is_stopping_since(self.timeout)
    }
}
