//! The connections that have a job thread, and those whose requests are refused.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::server::tiny_http::peer::Peer;
use crate::server::tiny_http::raw_request::RawRequest;
use crate::server::tiny_http::response_writer::ResponseWriter;
use crate::store::lock;

/// The connections that have a job thread, and those whose requests are refused.
///
/// While a connection has a job thread, that does everything that comes from it, in order. So the
/// receiver never writes to a connection whose previous response is unfinished, which would block.
pub(super) struct Connections {
    connections: Mutex<HashMap<Peer, Connection>>,
    /// After this time without a request a connection has ended.
    pub(super) end_after: Duration,
}

#[derive(Default)]
struct Connection {
    jobs: VecDeque<Job>,
    has_thread: bool,
    /// Set if its requests are refused: when it has ended for sure, since none has come.
    refused_until: Option<Instant>,
}

/// What a job thread does, which would block the receiver.
pub(super) enum Job {
    /// Reads the content of a request, makes the response and writes it.
    Request(RawRequest),
    /// Writes the rest of a response.
    Write(ResponseWriter),
}

impl Connection {
    /// Starts a job thread if there are jobs and no such thread; `start` returns whether it could.
    fn start_thread(&mut self, start: impl FnOnce() -> bool) {
        if !self.has_thread && !self.jobs.is_empty() {
            self.has_thread = start();
        }
    }

    /// The next job, and whether the requests of the connection are refused.
    fn next_job(&mut self) -> Option<(Job, bool)> {
        let job = self.jobs.pop_front()?;
        Some((job, self.refused_until.is_some()))
    }
}

impl Connections {
    pub(super) fn new(end_after: Duration) -> Self {
        Self {
            connections: Mutex::default(),
            end_after,
        }
    }

    /// Whether the connection has a job thread, or its requests are refused.
    pub(super) fn contains(&self, peer: Peer) -> bool {
        lock(&self.connections).contains_key(&peer)
    }

    /// Adds a job to a connection, and calls `start` if it needs a job thread.
    pub(super) fn add(&self, peer: Peer, job: Job, start: impl FnOnce() -> bool) {
        let mut connections = lock(&self.connections);
        let connection = connections.entry(peer).or_default();
        connection.jobs.push_back(job);
        connection.start_thread(start);
    }

    /// From now on, requests on this connection are not performed.
    ///
    /// `tiny_http` does not report the end of a connection. When no request has come for the timeout,
    /// the connection has ended.
    pub(super) fn refuse_later_requests(&self, peer: Peer) {
        let mut connections = lock(&self.connections);
        connections.entry(peer).or_default().refused_until = Some(Instant::now() + self.end_after);
    }

    /// Starts the job threads that could not be started before, and removes connections that have
    /// ended.
    pub(super) fn maintain(&self, start: impl Fn(Peer) -> bool) {
        let now = Instant::now();
        lock(&self.connections).retain(|peer, connection| {
            connection.start_thread(|| start(*peer));
            let is_open = connection.refused_until.is_none_or(|end| now < end);
            is_open || !connection.jobs.is_empty() || connection.has_thread
        });
    }

    /// Whether no response is being made or written, except on connections whose requests are refused.
    pub(super) fn is_idle(&self) -> bool {
        let connections = lock(&self.connections);
        connections.values().all(|it| it.refused_until.is_some())
    }

    /// The next job of a connection, and whether the requests of the connection are refused.
    pub(super) fn next(&self, peer: Peer) -> Option<(Job, bool)> {
        lock(&self.connections).get_mut(&peer)?.next_job()
    }

    /// As [`next`](Self::next). If there is no job, records that the job thread ends.
    pub(super) fn next_or_end_thread(&self, peer: Peer) -> Option<(Job, bool)> {
        let mut connections = lock(&self.connections);
        let connection = connections.get_mut(&peer)?;
        if let Some(next) = connection.next_job() {
            return Some(next);
        }
        connection.has_thread = false;
        match &mut connection.refused_until {
            Some(end) => *end = Instant::now() + self.end_after,
            None => drop(connections.remove(&peer)),
        }
        None
    }
}
