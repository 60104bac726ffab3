use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::policy::Policy;
use crate::resource;
use crate::server::address::{Address, Listener};
use crate::server::arrival::{Arrival, Unreadable};
use crate::server::delivery::{Delivery, Progress};
use crate::server::log::Log;
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
    log: OnceLock<Log>,
    pub(super) sideline: Sideline,
    queues: Mutex<Vec<Arc<tiny_http::Server>>>,
    caretaker: Mutex<Option<Thread>>,
    stopping: AtomicBool,
    /// When a stopping server waits no longer.
    deadline: OnceLock<Instant>,
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
            log: OnceLock::new(),
            sideline: Sideline::default(),
            queues: Mutex::default(),
            caretaker: Mutex::default(),
            stopping: AtomicBool::new(false),
            deadline: OnceLock::new(),
            busy: AtomicBool::new(false),
            deaf: AtomicBool::new(false),
        }
    }

    /// Has every answer from now on noted in `log`, unless there is one already.
    pub(super) fn log_to(&self, log: Log) {
        let _ = self.log.set(log);
    }

    /// Has a `tiny_http` of its own accept the listener's connections.
    pub(super) fn listen(&self, listener: &Listener) -> io::Result<Arc<tiny_http::Server>> {
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
                Ok(request) => self.receive(request),
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

    /// Answers at once what can be answered without waiting for its client; leaves the rest, and
    /// whatever comes after it on the same connection, to a thread beside the loop.
    fn receive(self: &Arc<Self>, request: tiny_http::Request) {
        self.busy.store(true, Ordering::Relaxed);
        // The clock is read for the log alone.
        let arrival = Arrival::new(request, self.log.get().map(|_| Instant::now()));
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
        let waits = !peer.has_patience() || !delivery.is_short(SHORT_ANSWER);
        if waits || delivery.advance() == Progress::Blocked {
            self.sideline.open(self, peer, Job::Deliver(delivery));
        }
    }

    /// Answers a request, waiting for its content where that is still to come. Gives back what
    /// is to be delivered, unless the client is gone.
    pub(super) fn answer(&self, mut arrival: Arrival) -> Option<Delivery> {
        let limit = self.options.max_content;
        let framing = match self.framing(&arrival) {
            Ok(framing) => framing,
            Err(refusal) => return Some(self.refuse(arrival, refusal)),
        };
        if arrival.waits_for_answer()
            && let Some(response) = self.respond_early(&arrival.request())
        {
            // After chunks that nobody read, nothing can be trusted.
            return Some(self.deliver(arrival, &response, framing == Framing::Chunked));
        }
        match arrival.read_content(framing, limit) {
            Ok(content) => {
                let response = self.respond(&arrival.request().with_content(&content));
                Some(self.deliver(arrival, &response, false))
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
        Framing::of(&arrival.request(), self.options.max_content)
    }

    /// Answers a refused request. What comes after it on the connection is not performed if it is
    /// unclear where that begins.
    fn refuse(&self, arrival: Arrival, refusal: Refusal) -> Delivery {
        let (policy, now) = (&self.options.policy, SystemTime::now());
        let response = resource::refuse(refusal, &arrival.request(), policy, now);
        let lost = arrival.loses_framing(refusal);
        self.deliver(arrival, &response, lost)
    }

    fn deliver(&self, arrival: Arrival, response: &Response, lost: bool) -> Delivery {
        if let (Some(log), Some(since)) = (self.log.get(), arrival.since()) {
            log.note(arrival.peer(), &arrival.request_line(), response, since);
        }
        arrival.answer(response, self.options.max_content, lost)
    }

    fn respond(&self, request: &Request<'_>) -> Response {
        self.guarded(resource::respond, request)
            .unwrap_or_else(|failed| failed)
    }

    fn respond_early(&self, request: &Request<'_>) -> Option<Response> {
        self.guarded(resource::respond_early, request)
            .unwrap_or_else(Some)
    }

    /// What `respond` says to the request, or the answer that it panicked.
    fn guarded<R>(
        &self,
        respond: fn(&dyn Store, &Policy, &Request<'_>, SystemTime) -> R,
        request: &Request<'_>,
    ) -> Result<R, Response> {
        let (policy, now) = (&self.options.policy, SystemTime::now());
        // Whatever a panic left behind is the store's to mend; it stays in use.
        catch_unwind(AssertUnwindSafe(|| {
            respond(&*self.store, policy, request, now)
        }))
        .map_err(|_| resource::fail(request, policy, now))
    }

    /// Whether a stopping server has waited long enough for its clients.
    pub(super) fn is_overdue(&self) -> bool {
        self.deadline
            .get()
            .is_some_and(|deadline| Instant::now() > *deadline)
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Remembers the thread to wake when the server stops.
    pub(super) fn is_kept_by(&self, caretaker: &Thread) {
        *lock(&self.caretaker) = Some(caretaker.clone());
    }

    /// Ends every loop and wakes the caretaker.
    pub(super) fn stop(&self) {
        self.deadline.get_or_init(|| Instant::now() + FAREWELL);
        self.stopping.store(true, Ordering::SeqCst);
        for queue in lock(&self.queues).iter() {
            queue.unblock();
        }
        if let Some(caretaker) = lock(&self.caretaker).as_ref() {
            caretaker.unpark();
        }
    }

    /// Waits for the answers under way, then lets go of the address.
    pub(super) fn close(&self, address: &Address) {
        while !self.sideline.is_idle() && !self.is_overdue() {
            thread::sleep(Duration::from_millis(5));
        }
        drop(std::mem::take(&mut *lock(&self.queues)));
        // An accept thread only notices when somebody connects; it may not be the one that was
        // meant, where there are several.
        for _ in 0..100 {
            if address.visit(Duration::from_millis(100)).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}
