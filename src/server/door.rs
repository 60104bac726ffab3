use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::resource;
use crate::server::arrival::{Arrival, Unread, Unreadable};
use crate::server::delivery::{Delivery, Progress};
use crate::server::sideline::{Job, Sideline};
use crate::server::{Options, lock};
use crate::store::Store;

/// The longest answer that the loop writes itself: what a socket takes without its client's help.
const SHORT_ANSWER: usize = 16 * 1024;

/// How long a stopping server waits for answers that are being written.
const FAREWELL: Duration = Duration::from_secs(5);

/// What the loop, the side threads and the caretaker of one server share.
pub(super) struct Door {
    store: Box<dyn Store>,
    options: Options,
    pub(super) sideline: Sideline,
    queues: Mutex<Vec<Arc<tiny_http::Server>>>,
    caretaker: Mutex<Option<Thread>>,
    stopping: AtomicBool,
    /// Whether a request has come since the caretaker last looked.
    pub(super) busy: AtomicBool,
    /// Whether an accept thread is known to have ended.
    pub(super) deaf: AtomicBool,
}

impl Door {
    pub(super) fn new(store: Box<dyn Store>, options: Options) -> Self {
        Self {
            store,
            options,
            sideline: Sideline::default(),
            queues: Mutex::default(),
            caretaker: Mutex::default(),
            stopping: AtomicBool::new(false),
            busy: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        }
    }

    /// Has a `tiny_http` of its own accept the listener's connections.
    pub(super) fn listen(&self, listener: &TcpListener) -> io::Result<Arc<tiny_http::Server>> {
        let queue = tiny_http::Server::from_listener(listener.try_clone()?, None)
            .map_err(io::Error::other)?;
        let queue = Arc::new(queue);
        lock(&self.queues).push(Arc::clone(&queue));
        Ok(queue)
    }

    /// The loop. It goes on when the accept thread behind the queue has ended: the connections
    /// that it took are still served from here.
    pub(super) fn run(self: &Arc<Self>, queue: &tiny_http::Server) {
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
    pub(super) fn answer(&self, mut arrival: Arrival) -> Option<Delivery> {
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
        match arrival.unread(self.options.max_content) {
            Unread::Nothing => return Some(self.deliver(arrival, response)),
            Unread::Drained => arrival.answer_and_drain(response),
            Unread::Undrainable(hold) => {
                // Nothing comes on this connection while it is held, so nothing is to wait for it;
                // and what may come when it is let go is part of the content.
                let peer = arrival.peer();
                self.sideline.leave(peer);
                arrival.answer_and_hold(response, hold);
                self.sideline.distrust(peer);
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

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Has this thread woken when the server stops.
    pub(super) fn is_kept_by(&self, caretaker: &Thread) {
        *lock(&self.caretaker) = Some(caretaker.clone());
    }

    /// Ends every loop and wakes the caretaker.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for queue in lock(&self.queues).iter() {
            queue.unblock();
        }
        if let Some(caretaker) = lock(&self.caretaker).as_ref() {
            caretaker.unpark();
        }
    }

    /// Waits for the answers under way, then lets go of the address.
    pub(super) fn close(&self, address: SocketAddr) {
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
