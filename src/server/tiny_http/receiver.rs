//! Receiving requests from `tiny_http`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::server::tiny_http::connections::Job;
use crate::server::tiny_http::job_thread;
use crate::server::tiny_http::raw_request::RawRequest;
use crate::server::tiny_http::responder::{POLL_INTERVAL, Responder};
use crate::server::tiny_http::response_writer::Progress;

/// The longest response that a receiver writes itself, in bytes. A socket has room for it even if its
/// client does not read; a longer one is left to a job thread.
const MAX_RECEIVER_RESPONSE: usize = 16 * 1024;

/// The state of the latest acceptor, shared by the watchdog and the receivers.
#[derive(Default)]
pub(super) struct AcceptorState {
    /// The number of the latest acceptor.
    pub(super) latest_acceptor: AtomicUsize,
    /// Whether the latest acceptor is known to have ended.
    pub(super) acceptor_ended: AtomicBool,
    /// Whether a request has been received since the watchdog last reset this.
    pub(super) has_received: AtomicBool,
}

/// Receives the requests on the connections of the acceptor with this number, until the server
/// stops, or until the acceptor has been replaced and none of its connections has sent a request for so
/// long that all have ended.
pub(super) fn receive_all(
    responder: &Arc<Responder>,
    state: &AcceptorState,
    number: usize,
    server: &tiny_http::Server,
) {
    let mut quiet = Duration::ZERO;
    while !responder.is_grace_period_over() {
        let is_latest = number == state.latest_acceptor.load(Ordering::SeqCst);
        let connections = &responder.connections;
        match server.recv_timeout(POLL_INTERVAL) {
            Ok(Some(request)) => {
                quiet = Duration::ZERO;
                state.has_received.store(true, Ordering::Relaxed);
                receive(responder, request);
            }
            // Until then, tiny_http may hand over a request whose content it was still reading.
            Ok(None) if responder.stopper.has_been_stopping_for(POLL_INTERVAL) => return,
            Ok(None) if !is_latest && quiet > connections.end_after && connections.is_idle() => {
                return;
            }
            Ok(None) => quiet += POLL_INTERVAL,
            Err(_) if is_latest => state.acceptor_ended.store(true, Ordering::SeqCst),
            Err(_) => {}
        }
    }
    // tiny_http would respond to a request that is dropped, and read its content, which may block.
    while let Ok(Some(request)) = server.try_recv() {
        std::mem::forget(request);
    }
}

/// Answers a request at once if that does not block. Gives any other request, and the following ones on
/// the same connection, to a job thread.
fn receive(responder: &Arc<Responder>, request: tiny_http::Request) {
    let request = RawRequest::new(request, responder.service.receive_time());
    let peer = request.peer;
    let making_blocks = responder.service.store_blocks(request.method())
        || request.may_wait_for_change()
        || !request.content_is_buffered();
    if making_blocks || responder.connections.contains(peer) {
        return job_thread::hand_over(responder, peer, Job::Request(request));
    }
    let mut writer = responder.make_response(request);
    let writing_may_block = !peer.has_timeouts() || writer.is_longer_than(MAX_RECEIVER_RESPONSE);
    if writing_may_block || writer.write() == Progress::Blocked {
        job_thread::hand_over(responder, peer, Job::Write(writer));
    } else if writer.refuses_later_requests() {
        responder.connections.refuse_later_requests(peer);
    }
}
