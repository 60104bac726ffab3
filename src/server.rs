use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::policy::Policy;
use crate::resource;
use crate::store::Store;

mod arrival;
mod caretaker;
mod delivery;
mod sideline;

use arrival::{Arrival, Unread, Unreadable};
use caretaker::Caretaker;
use delivery::{Delivery, Progress};
use sideline::{Job, Sideline};

/// How long the loop waits for a client whose socket is full before it goes on with the others.
const PATIENCE: Duration = Duration::from_millis(10);

/// The longest answer that the loop writes itself: what a socket takes without its client's help.
const SHORT_ANSWER: usize = 16 * 1024;

/// How long a stopping server waits for answers that are being written.
const FAREWELL: Duration = Duration::from_secs(5);

/// How a [`Server`] answers.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What is decided about the answers.
    pub policy: Policy,
    /// The longest content of a request that is read, in bytes; 64 KiB unless set.
    pub max_content: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            max_content: 64 * 1024,
        }
    }
}

/// A server on a TCP address.
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
    door: Arc<Door>,
    queue: Arc<tiny_http::Server>,
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`; port 0 picks a free one. Connections wait until the server serves.
    ///
    /// # Errors
    ///
    /// When the address cannot be listened on.
    pub fn bind(
        address: SocketAddr,
        store: impl Store + 'static,
        options: Options,
    ) -> Result<Self, ServeError> {
        let fail = |cause| ServeError { address, cause };
        let listener = TcpListener::bind(address).map_err(fail)?;
        tune(&listener).map_err(fail)?;
        let door = Arc::new(Door {
            store: Box::new(store),
            options,
            sideline: Sideline::default(),
            queues: Mutex::default(),
            caretaker: Mutex::default(),
            stopping: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        });
        let queue = door.listen(&listener).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self {
            door,
            queue,
            listener,
            address,
        })
    }

    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What stops it, to be kept while it serves.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        Stopper {
            door: Arc::clone(&self.door),
        }
    }

    /// Serves on this thread until a [`Stopper`] ends it.
    ///
    /// The answers under way are finished then, for at most five seconds, and no new connections
    /// are taken. Connections that are open already cannot be closed from here; what clients
    /// still send on them stays unanswered.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left to begin with.
    pub fn serve(self) -> Result<(), ServeError> {
        let Self {
            door,
            queue,
            listener,
            address,
        } = self;
        let caretaker = Caretaker::new(Arc::clone(&door), listener, reachable(address));
        let caretaker = thread::Builder::new()
            .name("ifmatch-caretaker".into())
            .spawn(move || caretaker.work())
            .map_err(|cause| ServeError { address, cause })?;
        *lock(&door.caretaker) = Some(caretaker.thread().clone());
        door.run(&queue);
        drop(queue);
        // A panic in there has been printed; there is nobody left to tell.
        let _ = caretaker.join();
        door.close(reachable(address));
        Ok(())
    }

    /// Serves on a thread of its own.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub fn spawn(self) -> Result<Running, ServeError> {
        let (address, stopper) = (self.address, self.stopper());
        let thread = thread::Builder::new()
            .name("ifmatch".into())
            .spawn(move || self.serve())
            .map_err(|cause| ServeError { address, cause })?;
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

/// Stops a server from wherever it is kept.
#[derive(Clone)]
pub struct Stopper {
    door: Arc<Door>,
}

impl Stopper {
    /// Ends [`Server::serve`], now or as soon as it begins.
    pub fn stop(&self) {
        self.door.stopping.store(true, Ordering::SeqCst);
        for queue in lock(&self.door.queues).iter() {
            queue.unblock();
        }
        if let Some(caretaker) = lock(&self.door.caretaker).as_ref() {
            caretaker.unpark();
        }
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}

/// A server on a thread of its own.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stopper: Stopper,
    thread: JoinHandle<Result<(), ServeError>>,
}

impl Running {
    /// The address it listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server and waits until it has ended.
    pub fn stop(self) {
        self.stopper.stop();
        // A panic in there has been printed; stopped it is in any case.
        let _ = self.thread.join();
    }
}

/// The server cannot listen, or not begin to serve.
#[derive(Debug)]
pub struct ServeError {
    address: SocketAddr,
    cause: io::Error,
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, cause } = self;
        match cause.kind() {
            io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "another program listens on {address}; stop it, or take another port"
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

/// What the loop, the side threads and the caretaker of one server share.
struct Door {
    store: Box<dyn Store>,
    options: Options,
    sideline: Sideline,
    queues: Mutex<Vec<Arc<tiny_http::Server>>>,
    caretaker: Mutex<Option<Thread>>,
    stopping: AtomicBool,
    /// Whether a request has come since the caretaker last looked.
    busy: AtomicBool,
    /// Whether an accept thread is known to have ended.
    deaf: AtomicBool,
}

impl Door {
    fn listen(&self, listener: &TcpListener) -> io::Result<Arc<tiny_http::Server>> {
        let queue = tiny_http::Server::from_listener(listener.try_clone()?, None)
            .map_err(io::Error::other)?;
        let queue = Arc::new(queue);
        lock(&self.queues).push(Arc::clone(&queue));
        Ok(queue)
    }

    /// The loop. It goes on when the accept thread behind the queue has ended: the connections
    /// that it took are still served from here.
    fn run(self: &Arc<Self>, queue: &tiny_http::Server) {
        while !self.stopping() {
            match queue.recv() {
                Ok(request) => self.receive(Arrival::new(request)),
                Err(_) => self.deaf.store(true, Ordering::SeqCst),
            }
        }
    }

    /// Answers at once what can be answered without waiting for its client; leaves the rest, and
    /// whatever comes after it on the same connection, to a thread beside the loop.
    fn receive(self: &Arc<Self>, arrival: Arrival) {
        self.busy.store(true, Ordering::Relaxed);
        let peer = arrival.peer();
        let Some(arrival) = self.sideline.join(peer, arrival) else {
            return;
        };
        if !arrival.content_is_here() {
            return self.sideline.open(self, peer, Job::Answer(arrival));
        }
        let Some(mut delivery) = self.answer(arrival) else {
            return;
        };
        if delivery.len() > SHORT_ANSWER || delivery.advance() == Progress::Blocked {
            self.sideline.open(self, peer, Job::Deliver(delivery));
        }
    }

    /// Answers a request, waiting for its content where that is still to come. Gives back what
    /// is to be delivered, unless that is done already, or cannot be done.
    fn answer(&self, mut arrival: Arrival) -> Option<Delivery> {
        if let Some(response) = self.respond_early(&arrival) {
            return self.turn_away(arrival, &response);
        }
        match self.read(&mut arrival) {
            Ok(content) => {
                let response = self.respond(&arrival.request().with_content(&content));
                Some(self.deliver(arrival, &response))
            }
            Err(Unreadable::Refused(refusal)) => {
                let response = self.refuse(&arrival, refusal);
                self.turn_away(arrival, &response)
            }
            Err(Unreadable::Gone) => {
                arrival.abandon();
                None
            }
        }
    }

    /// Answers a request although its content may not have been read.
    fn turn_away(&self, arrival: Arrival, response: &Response) -> Option<Delivery> {
        match arrival.unread() {
            Unread::Nothing => return Some(self.deliver(arrival, response)),
            Unread::Drained => arrival.answer_and_drain(response),
            Unread::Undrainable(hold) => {
                // Nothing will come on this connection any more, so nothing is to wait for it.
                self.sideline.leave(arrival.peer());
                arrival.answer_and_hold(response, hold);
            }
        }
        None
    }

    fn read(&self, arrival: &mut Arrival) -> Result<Vec<u8>, Unreadable> {
        let framing = self.framing(arrival).map_err(Unreadable::Refused)?;
        arrival.read_content(framing, self.options.max_content)
    }

    fn framing(&self, arrival: &Arrival) -> Result<Framing, Refusal> {
        if self.sideline.distrusts(arrival.peer()) {
            return Err(Refusal::FramingLost);
        }
        Framing::of(&arrival.request(), self.options.max_content)
    }

    /// The answer to a refused request. What comes after it on the connection is not performed
    /// if it is unclear where that begins.
    fn refuse(&self, arrival: &Arrival, refusal: Refusal) -> Response {
        if arrival.loses_framing(refusal) {
            self.sideline.distrust(arrival.peer());
        }
        resource::refuse(refusal, self.options.policy, SystemTime::now())
    }

    fn respond(&self, request: &Request<'_>) -> Response {
        let (policy, now) = (self.options.policy, SystemTime::now());
        let respond = || resource::respond(&*self.store, policy, request, now);
        // Whatever a panic left behind is the store's to mend; it is used on.
        catch_unwind(AssertUnwindSafe(respond)).unwrap_or_else(|_| resource::fail(policy, now))
    }

    fn respond_early(&self, arrival: &Arrival) -> Option<Response> {
        let framing = self.framing(arrival).ok()?;
        if !arrival.wants_early_answer(framing) {
            return None;
        }
        let (policy, now) = (self.options.policy, SystemTime::now());
        let request = arrival.request();
        let respond = || resource::respond_early(&*self.store, policy, &request, now);
        catch_unwind(AssertUnwindSafe(respond))
            .unwrap_or_else(|_| Some(resource::fail(policy, now)))
    }

    fn deliver(&self, arrival: Arrival, response: &Response) -> Delivery {
        let last = self.sideline.distrusts(arrival.peer());
        arrival.deliver(response, last)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Waits for the answers under way, then lets go of the address.
    fn close(&self, address: SocketAddr) {
        let deadline = Instant::now() + FAREWELL;
        while !self.sideline.is_idle() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        lock(&self.queues).clear();
        // An accept thread only notices when somebody connects; it may not be the one that was
        // meant, where there are several.
        for _ in 0..100 {
            if TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
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

/// The address at which this machine reaches a listener on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        _ => address.ip(),
    };
    SocketAddr::new(ip, address.port())
}

/// Locks what no panic can leave half-changed: lists that grow and shrink by whole items.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
