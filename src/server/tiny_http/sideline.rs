use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::server::lock;
use crate::server::tiny_http::Door;
use crate::server::tiny_http::arrival::Arrival;
use crate::server::tiny_http::delivery::{Delivery, Progress};

/// How long after a connection's end requests may still turn up that were left in its buffer.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Enough for the deepest JSON that is read, even in an unoptimised build.
const STACK: usize = 512 * 1024;

/// Where the loop leaves what would make it wait: short-lived threads, one for a connection.
///
/// While a connection has a lane here, everything that comes from it goes there, in order. So the
/// loop never writes to a connection whose previous answer is not yet written, which would block.
#[derive(Default)]
pub(super) struct Sideline {
    lanes: Mutex<HashMap<Peer, Lane>>,
}

/// By what a connection is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// Its client's address.
    Tcp(SocketAddr),
    /// Nothing: clients of Unix-domain sockets have no address. So each of their requests has a
    /// number, and a lane, of its own; `tiny_http` keeps their answers in order.
    Unix(u64),
}

impl Peer {
    /// Its client's machine, where that is known.
    pub(super) fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }

    /// Whether writing to it ends by itself after a while. The sockets of a Unix-domain listener
    /// do not inherit its timeout, so only a side thread may write to them.
    pub(super) fn has_send_timeout(self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// What is left to be done for one connection.
#[derive(Default)]
struct Lane {
    jobs: VecDeque<Job>,
    /// Whether a thread does it.
    staffed: bool,
    /// Whether what comes from the connection may be something other than it seems.
    distrusted: bool,
}

impl Lane {
    fn staff(&mut self, door: &Arc<Door>, peer: Peer) {
        if !self.staffed {
            let door = Arc::clone(door);
            let thread = thread::Builder::new()
                .name("ifmatch-side".into())
                .stack_size(STACK);
            self.staffed = thread.spawn(move || work(&door, peer)).is_ok();
        }
    }
}

/// One thing that may have to wait for its client.
pub(super) enum Job {
    /// To read the content, answer, and deliver the answer.
    Answer(Arrival),
    /// To deliver what is left of an answer.
    Deliver(Delivery),
}

impl Sideline {
    /// Adds the request to its connection's lane; gives it back when there is none.
    pub(super) fn join(&self, peer: Peer, arrival: Arrival) -> Option<Arrival> {
        match lock(&self.lanes).get_mut(&peer) {
            Some(lane) => {
                lane.jobs.push_back(Job::Answer(arrival));
                None
            }
            None => Some(arrival),
        }
    }

    /// Opens a lane for a connection.
    pub(super) fn open(&self, door: &Arc<Door>, peer: Peer, job: Job) {
        let mut lanes = lock(&self.lanes);
        let lane = lanes.entry(peer).or_default();
        lane.distrusted |= matches!(&job, Job::Deliver(delivery) if delivery.ends_trust());
        lane.jobs.push_back(job);
        lane.staff(door, peer);
    }

    /// Gives a thread to every lane that could not have one when it was opened.
    pub(super) fn staff(&self, door: &Arc<Door>) {
        for (peer, lane) in lock(&self.lanes).iter_mut() {
            lane.staff(door, *peer);
        }
    }

    /// Whether no answer is under way any more; connections that are only watched do not count.
    pub(super) fn is_idle(&self) -> bool {
        lock(&self.lanes).values().all(|lane| lane.distrusted)
    }

    /// From now on, and until its lane closes, no request of this connection is performed.
    fn distrust(&self, peer: Peer) {
        if let Some(lane) = lock(&self.lanes).get_mut(&peer) {
            lane.distrusted = true;
        }
    }

    /// Whether no request of this connection is to be performed.
    pub(super) fn distrusts(&self, peer: Peer) -> bool {
        lock(&self.lanes)
            .get(&peer)
            .is_some_and(|lane| lane.distrusted)
    }

    /// Closes a lane without doing what is left in it.
    fn abandon(&self, peer: Peer) {
        let lane = lock(&self.lanes).remove(&peer);
        for job in lane.into_iter().flat_map(|lane| lane.jobs) {
            std::mem::forget(job);
        }
    }

    /// The next thing to do for a connection; closes its lane when there is none.
    fn next(&self, peer: Peer) -> Option<Job> {
        let mut lanes = lock(&self.lanes);
        let job = lanes.get_mut(&peer)?.jobs.pop_front();
        if job.is_none() {
            lanes.remove(&peer);
        }
        job
    }
}

fn work(door: &Arc<Door>, peer: Peer) {
    while let Some(job) = door.sideline.next(peer) {
        let mut delivery = match job {
            Job::Answer(arrival) => match door.answer(arrival) {
                Some(delivery) => delivery,
                None => continue,
            },
            Job::Deliver(delivery) => delivery,
        };
        if delivery.ends_trust() {
            door.sideline.distrust(peer);
        }
        while delivery.advance() == Progress::Blocked {
            if door.is_overdue() {
                delivery.leak();
                return door.sideline.abandon(peer);
            }
        }
        delivery.conclude(|| door.stopper.is_stopping());
        if door.sideline.distrusts(peer) && !door.stopper.is_stopping() {
            thread::sleep(AFTERMATH);
        }
    }
}
