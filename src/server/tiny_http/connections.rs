use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::lock::lock;
use crate::server::tiny_http::answer::{After, Answer};
use crate::server::tiny_http::incoming::Incoming;
use crate::server::tiny_http::{Peer, Shared, TICK};

/// Enough for the deepest JSON that is read, even in an unoptimised build.
const STACK: usize = 512 * 1024;

/// The connections that have a worker, and those that are closing.
///
/// A worker is a short-lived thread that does what would make the queue's thread wait. While a
/// connection has one, everything that comes from it goes there, in order. So the queue's thread
/// never writes to a connection whose previous answer is not yet written, which would block.
pub(super) struct Connections {
    connections: Mutex<HashMap<Peer, Connection>>,
    /// After how long a silence a connection has ended.
    silence: Duration,
}

#[derive(Default)]
struct Connection {
    jobs: VecDeque<Job>,
    has_worker: bool,
    /// If nothing that comes from it is performed any more, when it will have ended.
    closing: Option<Instant>,
}

/// What a worker does.
pub(super) enum Job {
    /// To read the content, answer, and write the answer.
    Request(Incoming),
    /// To write what is left of an answer.
    Answer(Answer),
}

impl Connection {
    fn start_worker(&mut self, shared: &Arc<Shared>, peer: Peer) {
        if !self.has_worker && !self.jobs.is_empty() {
            let shared = Arc::clone(shared);
            let thread = thread::Builder::new()
                .name("ifmatch-worker".into())
                .stack_size(STACK);
            self.has_worker = thread.spawn(move || work(&shared, peer)).is_ok();
        }
    }
}

impl Connections {
    pub(super) fn new(silence: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            silence,
        }
    }

    /// Whether the connection has a worker, or is closing.
    pub(super) fn contains(&self, peer: Peer) -> bool {
        lock(&self.connections).contains_key(&peer)
    }

    /// Leaves something to the worker of a connection, and starts one if it has none.
    pub(super) fn leave(&self, shared: &Arc<Shared>, peer: Peer, job: Job) {
        let mut connections = lock(&self.connections);
        let connection = connections.entry(peer).or_default();
        connection.jobs.push_back(job);
        connection.start_worker(shared, peer);
    }

    /// From now on, and until the connection has ended, none of its requests is performed.
    ///
    /// `tiny_http` does not tell when a connection ends. It has, when nothing came for the timeout.
    pub(super) fn close(&self, peer: Peer) {
        let mut connections = lock(&self.connections);
        connections.entry(peer).or_default().closing = Some(Instant::now() + self.silence);
    }

    /// Starts the workers that could not be started, and forgets the connections that have ended.
    pub(super) fn maintain(&self, shared: &Arc<Shared>) {
        let now = Instant::now();
        lock(&self.connections).retain(|peer, connection| {
            connection.start_worker(shared, *peer);
            let is_open = connection.closing.is_none_or(|end| now < end);
            is_open || !connection.jobs.is_empty() || connection.has_worker
        });
    }

    /// Whether no answer is under way any more.
    pub(super) fn is_idle(&self) -> bool {
        let connections = lock(&self.connections);
        connections.values().all(|it| it.closing.is_some())
    }

    /// The next thing to do for a connection, and whether that is closing.
    fn next(&self, peer: Peer) -> Option<(Job, bool)> {
        let mut connections = lock(&self.connections);
        let connection = connections.get_mut(&peer)?;
        let job = connection.jobs.pop_front()?;
        Some((job, connection.closing.is_some()))
    }

    /// Ends the worker of a connection if there is nothing left to do.
    fn end_worker(&self, peer: Peer) -> bool {
        let mut connections = lock(&self.connections);
        let Some(connection) = connections.get_mut(&peer).filter(|it| it.jobs.is_empty()) else {
            return false;
        };
        connection.has_worker = false;
        match &mut connection.closing {
            Some(end) => *end = Instant::now() + self.silence,
            None => drop(connections.remove(&peer)),
        }
        true
    }
}

fn work(shared: &Arc<Shared>, peer: Peer) {
    while !shared.connections.end_worker(peer) {
        let answer = match shared.connections.next(peer) {
            Some((Job::Request(incoming), true)) => shared.turn_away(incoming),
            Some((Job::Request(incoming), false)) => shared.answer(incoming),
            Some((Job::Answer(answer), _)) => Some(answer),
            None => None,
        };
        if let Some(answer) = answer {
            write(shared, peer, answer);
        }
    }
}

/// Writes an answer, waiting for its client, and lets go of the connection.
fn write(shared: &Shared, peer: Peer, mut answer: Answer) {
    let mut last = (answer.written, Instant::now());
    while answer.is_blocked() {
        if answer.written > last.0 {
            last = (answer.written, Instant::now());
        }
        if shared.is_overdue() || last.1.elapsed() > shared.timeout {
            return give_up(shared, peer, answer);
        }
    }
    if answer.after == After::Leak {
        return answer.leak();
    }
    if answer.closes() {
        shared.connections.close(peer);
    }
    if !answer.drain() {
        shared.connections.close(peer);
        if !peer.has_timeouts() {
            // Nothing else would keep what follows from being performed.
            answer.leak();
        }
    }
}

/// Ends a connection whose client does not read: until `tiny_http` has, nothing must be written
/// behind the part of the answer that was.
fn give_up(shared: &Shared, peer: Peer, answer: Answer) {
    shared.connections.close(peer);
    let mut quiet = Duration::ZERO;
    while quiet < shared.timeout + TICK && !shared.stopper.is_stopping() {
        if let Some((job, _)) = shared.connections.next(peer) {
            quiet = Duration::ZERO;
            if let Job::Request(incoming) = job {
                incoming.discard(shared.service.max_content());
            }
        } else {
            quiet += TICK;
            thread::sleep(TICK);
        }
    }
    if shared.stopper.is_stopping() {
        answer.leak();
    }
}
