//! The job threads: short-lived threads for the jobs of one connection.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::server::tiny_http::connections::Job;
use crate::server::tiny_http::peer::Peer;
use crate::server::tiny_http::responder::{POLL_INTERVAL, Responder};
use crate::server::tiny_http::response_writer::{After, Progress, ResponseWriter};

/// The size of a job thread's stack in bytes: enough to read the most deeply nested JSON that is
/// accepted, even in an unoptimised build.
const STACK_SIZE: usize = 512 * 1024;

/// Gives a job to the job thread of a connection, and starts that thread if there is none.
pub(super) fn hand_over(responder: &Arc<Responder>, peer: Peer, job: Job) {
    let connections = &responder.connections;
    connections.add(peer, job, || start(responder, peer));
}

/// Starts a job thread. Returns false if that fails.
pub(super) fn start(responder: &Arc<Responder>, peer: Peer) -> bool {
    let responder = Arc::clone(responder);
    let thread = thread::Builder::new()
        .name("ifmatch-job".into())
        .stack_size(STACK_SIZE);
    thread.spawn(move || run(&responder, peer)).is_ok()
}

fn run(responder: &Responder, peer: Peer) {
    while let Some((job, is_refused)) = responder.connections.next_or_end_thread(peer) {
        let writer = match job {
            Job::Request(request) if is_refused => responder.refuse_or_discard(request),
            Job::Request(request) => Some(responder.make_response(request)),
            Job::Write(writer) => Some(writer),
        };
        if let Some(writer) = writer {
            write(responder, peer, writer);
        }
    }
}

/// Writes a response, which blocks while the client does not read.
fn write(responder: &Responder, peer: Peer, mut writer: ResponseWriter) {
    let (mut written, mut progress) = (writer.written, Instant::now());
    while writer.write() == Progress::Blocked {
        if writer.written > written {
            (written, progress) = (writer.written, Instant::now());
        }
        if responder.is_grace_period_over() || progress.elapsed() > responder.timeout {
            return end_blocked(responder, peer, writer);
        }
    }
    if writer.after == After::Forget {
        return writer.forget();
    }
    if writer.refuses_later_requests() {
        responder.connections.refuse_later_requests(peer);
    }
    if !writer.drain() {
        responder.connections.refuse_later_requests(peer);
        if !peer.has_timeouts() {
            // Later requests on a Unix-domain socket would be performed.
            writer.forget();
        }
    }
}

/// Ends a connection whose client does not read. Until `tiny_http` has ended it, nothing may be
/// written after the unfinished response.
fn end_blocked(responder: &Responder, peer: Peer, writer: ResponseWriter) {
    responder.connections.refuse_later_requests(peer);
    let mut quiet = Duration::ZERO;
    while quiet < responder.timeout + POLL_INTERVAL && !responder.stopper.is_stopping() {
        if let Some((job, _)) = responder.connections.next(peer) {
            quiet = Duration::ZERO;
            if let Job::Request(request) = job {
                request.discard(responder.service.max_content());
            }
        } else {
            quiet += POLL_INTERVAL;
            thread::sleep(POLL_INTERVAL);
        }
    }
    if responder.stopper.is_stopping() {
        writer.forget();
    }
}
