use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::policy::Policy;
use crate::resource;
use crate::server::Options;
use crate::server::log::Log;
use crate::store::Store;

/// What is behind every door: the store, what was decided about the answers, and the log.
pub(super) struct Desk {
    store: Box<dyn Store>,
    options: Options,
    log: OnceLock<Log>,
}

impl Desk {
    pub(super) fn new(store: Box<dyn Store>, options: Options) -> Self {
        Self {
            store,
            options,
            log: OnceLock::new(),
        }
    }

    /// Has every answer from now on noted in `log`, unless there is one already.
    pub(super) fn log_to(&self, log: Log) {
        let _ = self.log.set(log);
    }

    /// The longest content that is read, in bytes.
    pub(super) fn max_content(&self) -> u64 {
        self.options.max_content
    }

    /// Judges the head of a request.
    pub(super) fn framing(&self, request: &Request<'_>) -> Result<Framing, Refusal> {
        Framing::of(request, self.options.max_content)
    }

    /// Answers a request whose content is all there.
    pub(super) fn respond(&self, request: &Request<'_>) -> Response {
        self.guarded(resource::respond, request)
            .unwrap_or_else(|failed| failed)
    }

    /// Answers a request whose content has not been read, if that needs no content.
    pub(super) fn respond_early(&self, request: &Request<'_>) -> Option<Response> {
        self.guarded(resource::respond_early, request)
            .unwrap_or_else(Some)
    }

    /// Answers a request that is refused for its framing.
    pub(super) fn refuse(&self, request: &Request<'_>, refusal: Refusal) -> Response {
        resource::refuse(refusal, request, &self.options.policy, SystemTime::now())
    }

    /// Answers a request during which the server itself failed.
    #[cfg(feature = "hyper")]
    pub(super) fn fail(&self, request: &Request<'_>) -> Response {
        resource::fail(request, &self.options.policy, SystemTime::now())
    }

    /// Whether the store waits, for a disk or a network.
    #[cfg(feature = "hyper")]
    pub(super) fn store_waits(&self) -> bool {
        self.store.waits()
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

    /// When a request arrives now. The clock is read for the log alone.
    pub(super) fn arrival_time(&self) -> Option<Instant> {
        self.log.get().map(|_| Instant::now())
    }

    /// Has the log written to its end.
    pub(super) fn finish_log(&self) {
        if let Some(log) = self.log.get() {
            log.finish();
        }
    }

    /// Notes the answer to the request line that `request` makes, which came at `since`.
    pub(super) fn note(
        &self,
        peer: Option<IpAddr>,
        request: impl FnOnce() -> String,
        response: &Response,
        since: Option<Instant>,
    ) {
        if let (Some(log), Some(since)) = (self.log.get(), since) {
            log.note(peer, &request(), response, since);
        }
    }
}
