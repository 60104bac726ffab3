//! From a request of `tiny_http` to the response that is to be written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::framing::{Framing, Refusal};
use crate::message::Response;
use crate::server::service::Service;
use crate::server::stopper::Stopper;
use crate::server::tiny_http::connections::Connections;
use crate::server::tiny_http::raw_request::{Persistence, RawRequest};
use crate::server::tiny_http::response_writer::ResponseWriter;

/// The interval at which a thread that waits for requests checks whether the server is stopping.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How much later than its timeout a connection may end.
const TIMEOUT_MARGIN: Duration = Duration::from_secs(1);

/// The most requests that wait for a change: each of them blocks a thread.
const MAX_WAITING: usize = 64;

/// Answers requests. The receivers and the job threads share it.
pub(super) struct Responder {
    pub(super) service: Arc<Service>,
    pub(super) stopper: Stopper,
    pub(super) timeout: Duration,
    pub(super) connections: Connections,
}

impl Responder {
    pub(super) fn new(service: Arc<Service>, stopper: Stopper, timeout: Duration) -> Self {
        Self {
            service,
            stopper,
            timeout,
            connections: Connections::new(timeout + TIMEOUT_MARGIN),
        }
    }

    /// Answers a request, which may block until the client has sent the content. Returns the response to
    /// be written.
    pub(super) fn make_response(&self, mut request: RawRequest) -> ResponseWriter {
        let framing = match self.service.check_head(&request.head()) {
            Ok(framing) => framing,
            Err(refusal) => return self.refuse(request, refusal),
        };
        let early = request
            .awaits_continue()
            .then(|| self.service.refuse_early(&request.head()));
        if let Some(response) = early.flatten() {
            // Chunks that have not been read may be malformed.
            let persistence = match framing {
                Framing::Chunked => Persistence::FramingLost,
                _ => Persistence::KeepAlive,
            };
            return self.finish(request, response, persistence);
        }
        match request.read_content(framing, self.service.max_content()) {
            Ok(content) => {
                let start = request.may_wait_for_change().then(Instant::now);
                let whole = request.head().with_content(&content);
                let response = self.service.respond_waiting(&whole, MAX_WAITING);
                // During a wait, tiny_http ends the connection when no further request comes in time.
                let persistence = match start {
                    Some(start) if start.elapsed() + POLL_INTERVAL > self.timeout => {
                        Persistence::Close
                    }
                    _ => Persistence::KeepAlive,
                };
                self.finish(request, response, persistence)
            }
            Err(refusal) => self.refuse(request, refusal),
        }
    }

    /// Refuses a request on a connection whose later requests are not performed. If the server is
    /// stopping, makes no response: an earlier response may have announced the close.
    pub(super) fn refuse_or_discard(&self, request: RawRequest) -> Option<ResponseWriter> {
        if self.stopper.is_stopping() {
            request.discard(self.service.max_content());
            return None;
        }
        Some(self.refuse(request, Refusal::Closing))
    }

    fn refuse(&self, request: RawRequest, refusal: Refusal) -> ResponseWriter {
        let response = self.service.refuse(&request.head(), refusal);
        let persistence = request.persistence_after(refusal);
        self.finish(request, response, persistence)
    }

    fn finish(
        &self,
        request: RawRequest,
        response: Response,
        persistence: Persistence,
    ) -> ResponseWriter {
        let method = request.method();
        self.service.log_and_count(
            request.peer.ip(),
            method,
            || request.request_line(),
            &response,
            request.received_at,
        );
        let persistence = match persistence {
            // tiny_http may not have found the `close` of the request.
            Persistence::KeepAlive if request.has_close_option() || self.stopper.is_stopping() => {
                Persistence::Close
            }
            persistence => persistence,
        };
        request.into_response_writer(response, self.service.max_content(), persistence)
    }

    /// Whether a stopping server has waited for its clients for the timeout.
    pub(super) fn is_grace_period_over(&self) -> bool {
        self.stopper.has_been_stopping_for(self.timeout)
    }
}
