use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use crate::framing::{Framing, Refusal};
use crate::message::Response;
use crate::server::address::{Address, Listener};
use crate::server::desk::Desk;
use crate::server::lock;
use crate::server::stopper::Stopper;

mod arrival;
mod caretaker;
mod delivery;
mod sideline;
mod visit;

use arrival::{Arrival, Unreadable};
use caretaker::Caretaker;
use delivery::{Delivery, Progress};
use sideline::{Job, Sideline};
use visit::visit;

/// The longest answer that the loop writes itself: what a socket takes without its client's help.
const SHORT_ANSWER: usize = 16 * 1024;

/// How long the loop waits for a client whose socket is full before it goes on with the others.
#[cfg(unix)]
const PATIENCE: Duration = Duration::from_millis(10);

/// How long a loop waits for requests from connections to which none are added any more.
const LINGER: Duration = Duration::from_secs(10);

/// The most requests that wait for a change: each has a thread.
const MAX_WAITING: usize = 64;

/// How long a stopping server waits for answers that are being written.
const FAREWELL: Duration = Duration::from_secs(5);

/// Serves on this thread until the word to stop.
///
/// # Errors
///
/// When the machine has no thread left to begin with.
pub(super) fn serve(
    desk: Arc<Desk>,
    stopper: &Stopper,
    listener: Listener,
    address: &Address,
) -> io::Result<()> {
    let door = Arc::new(Door {
        desk,
        stopper: stopper.clone(),
        sideline: Sideline::default(),
        queues: Mutex::default(),
        quiet: Mutex::default(),
        caretaker: OnceLock::new(),
        busy: AtomicBool::new(false),
        deaf: AtomicBool::new(false),
    });
    let queue = door.listen(&listener)?;
    let caretaker = Caretaker::new(Arc::clone(&door), listener, address.clone());
    let caretaker = thread::Builder::new()
        .name("ifmatch-caretaker".into())
        .spawn(move || caretaker.work())?;
    let _ = door.caretaker.set(caretaker.thread().clone());
    // The stopper may outlive the server.
    let woken = Arc::downgrade(&door);
    stopper.on_stop(move || {
        if let Some(door) = woken.upgrade() {
            door.wake();
        }
    });
    door.run(&queue);
    drop(queue);
    // A panic in there has been printed; there is nobody left to tell.
    let _ = caretaker.join();
    door.close(address);
    Ok(())
}

/// Sets what connections inherit from their listener, those that wait until the server serves
/// included: answers leave at once, and nobody waits long for a client that does not read.
pub(super) fn tune(listener: &Listener) -> io::Result<()> {
    #[cfg(unix)]
    if let Listener::Tcp(listener) = listener {
        use std::net::TcpStream;
        use std::os::fd::OwnedFd;
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(PATIENCE))?;
    }
    Ok(())
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

/// What the loop, the side threads and the caretaker of one server share.
struct Door {
    desk: Arc<Desk>,
    stopper: Stopper,
    sideline: Sideline,
    queues: Mutex<Vec<Arc<tiny_http::Server>>>,
    /// Those of them that are quiet, and have no loop.
    quiet: Mutex<Vec<Arc<tiny_http::Server>>>,
    caretaker: OnceLock<Thread>,
    /// Whether a request has come since the caretaker last looked.
    busy: AtomicBool,
    /// Whether an accept thread is known to have ended.
    deaf: AtomicBool,
}

impl Door {
    /// Has a `tiny_http` of its own accept the listener's connections.
    fn listen(&self, listener: &Listener) -> io::Result<Arc<tiny_http::Server>> {
        let queue = tiny_http::Server::from_listener(listener.try_clone()?, None)
            .map_err(io::Error::other)?;
        let queue = Arc::new(queue);
        lock(&self.queues).push(Arc::clone(&queue));
        Ok(queue)
    }

    /// The loop. It goes on when the accept thread behind the queue has ended: the connections
    /// that it took are still served from here. When nothing has come from them for a while, the
    /// queue is left to the caretaker.
    fn run(self: &Arc<Self>, queue: &Arc<tiny_http::Server>) {
        while !self.stopper.is_stopping() {
            match queue.recv_timeout(LINGER) {
                Ok(Some(request)) => self.receive(request),
                Ok(None) if self.stopper.is_stopping() || self.is_latest(queue) => {}
                Ok(None) => return lock(&self.quiet).push(Arc::clone(queue)),
                Err(_) => self.deaf.store(true, Ordering::SeqCst),
            }
        }
        // What has come is answered. Between two requests there may stand a word to stop.
        let mut nothing = 0;
        while nothing < 3 {
            match queue.try_recv() {
                Ok(Some(request)) if self.is_overdue() => std::mem::forget(request),
                Ok(Some(request)) => self.receive(request),
                Ok(None) | Err(_) => nothing += 1,
            }
        }
    }

    /// Whether connections still come in through this queue.
    fn is_latest(&self, queue: &Arc<tiny_http::Server>) -> bool {
        let queues = lock(&self.queues);
        queues.last().is_some_and(|last| Arc::ptr_eq(last, queue))
    }

    /// Gives a loop to each quiet queue in which a request has turned up.
    fn rouse(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let quiet = std::mem::take(&mut *lock(&self.quiet));
        let mut loops = Vec::new();
        for queue in quiet {
            let Ok(Some(request)) = queue.try_recv() else {
                lock(&self.quiet).push(queue);
                continue;
            };
            self.receive(request);
            let (door, roused) = (Arc::clone(self), Arc::clone(&queue));
            let thread = thread::Builder::new().name("ifmatch-loop".into());
            match thread.spawn(move || door.run(&roused)) {
                Ok(running) => loops.push(running),
                Err(_) => lock(&self.quiet).push(queue),
            }
        }
        loops
    }

    /// Answers at once what can be answered without waiting for its client or the store; leaves the
    /// rest, and whatever comes after it on the same connection, to a thread beside the loop.
    fn receive(self: &Arc<Self>, request: tiny_http::Request) {
        self.busy.store(true, Ordering::Relaxed);
        let arrival = Arrival::new(request, self.desk.arrival_time());
        let peer = arrival.peer();
        let Some(arrival) = self.sideline.join(peer, arrival) else {
            return;
        };
        let waits = self.desk.waits(arrival.method()) || arrival.may_wait();
        if waits || !arrival.content_is_here() {
            return self.sideline.open(self, peer, Job::Answer(arrival));
        }
        let Some(mut delivery) = self.answer(arrival) else {
            return;
        };
        let waits = !peer.has_send_timeout() || !delivery.is_short(SHORT_ANSWER);
        if waits || delivery.advance() == Progress::Blocked {
            self.sideline.open(self, peer, Job::Deliver(delivery));
        }
    }

    /// Answers a request, waiting for its content where that is still to come. Gives back what
    /// is to be delivered, unless the client is gone.
    fn answer(&self, mut arrival: Arrival) -> Option<Delivery> {
        let limit = self.desk.max_content();
        let framing = match self.framing(&arrival) {
            Ok(framing) => framing,
            Err(refusal) => return Some(self.refuse(arrival, refusal)),
        };
        let early = arrival
            .waits_for_answer()
            .then(|| self.desk.respond_early(&arrival.request()));
        if let Some(response) = early.flatten() {
            // After chunks that nobody read, nothing can be trusted.
            return Some(self.deliver(arrival, response, framing == Framing::Chunked));
        }
        match arrival.read_content(framing, limit) {
            Ok(content) => {
                let request = arrival.request().with_content(&content);
                let response = self.desk.respond_waiting(&request, MAX_WAITING);
                Some(self.deliver(arrival, response, false))
            }
            Err(Unreadable::Refused(refusal)) => Some(self.refuse(arrival, refusal)),
            Err(Unreadable::Gone) => {
                arrival.abandon();
                None
            }
        }
    }

    fn framing(&self, arrival: &Arrival) -> Result<Framing, Refusal> {
        if self.sideline.distrusts(arrival.peer()) {
            return Err(Refusal::FramingLost);
        }
        self.desk.framing(&arrival.request())
    }

    /// Answers a refused request. What comes after it on the connection is not performed if it is
    /// unclear where that begins.
    fn refuse(&self, arrival: Arrival, refusal: Refusal) -> Delivery {
        let response = self.desk.refuse(&arrival.request(), refusal);
        let lost = arrival.loses_framing(refusal);
        self.deliver(arrival, response, lost)
    }

    fn deliver(&self, arrival: Arrival, response: Response, lost: bool) -> Delivery {
        let (peer, since) = (arrival.peer().ip(), arrival.since());
        self.desk.note(
            peer,
            arrival.method(),
            || arrival.request_line(),
            &response,
            since,
        );
        arrival.answer(response, self.desk.max_content(), lost)
    }

    /// Whether a stopping server has waited long enough for its clients.
    fn is_overdue(&self) -> bool {
        self.stopper.has_waited(FAREWELL)
    }

    /// Ends every loop and wakes the caretaker.
    fn wake(&self) {
        self.desk.waiters().close();
        for queue in lock(&self.queues).iter() {
            queue.unblock();
        }
        if let Some(caretaker) = self.caretaker.get() {
            caretaker.unpark();
        }
    }

    /// Waits for the answers under way, then lets go of the address.
    fn close(&self, address: &Address) {
        while !self.sideline.is_idle() && !self.is_overdue() {
            thread::sleep(Duration::from_millis(5));
        }
        lock(&self.quiet).clear();
        lock(&self.queues).clear();
        // An accept thread only notices when somebody connects; it may not be the one that was
        // meant, where there are several.
        for _ in 0..100 {
            if visit(address, Duration::from_millis(100)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
