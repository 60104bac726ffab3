use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::policy::Policy;
use crate::problem::Problem;
use crate::resource::{self, Monitor};
use crate::server::health::{Checker, Health};
use crate::server::lock;
use crate::server::log::Log;
#[cfg(feature = "hyper")]
use crate::server::metrics::Connected;
use crate::server::metrics::Metrics;
use crate::server::waiters::Waiters;
use crate::server::{Door, Options};
use crate::store::{Store, StoreError};

/// What is behind every door: the store, what was decided about the answers, and the log.
pub(super) struct Desk {
    store: Arc<dyn Store>,
    waiters: Arc<Waiters>,
    checker: Arc<Checker>,
    /// None where nothing is to be counted.
    metrics: Option<Box<Metrics>>,
    options: Options,
    log: OnceLock<Log>,
    failures: OnceLock<Log>,
    /// The failure that was told of last, and when.
    told: Mutex<Option<(String, Instant)>>,
}

/// How long the same failure is not told of again.
const REMINDER: Duration = Duration::from_secs(10);

impl Desk {
    pub(super) fn new(store: Arc<dyn Store>, options: Options) -> Self {
        Self {
            waiters: Waiters::of(Arc::clone(&store)),
            checker: Checker::new(Arc::clone(&store), options.policy.clone()),
            // tiny_http does not tell of its connections.
            metrics: (options.metrics)
                .then(|| Box::new(Metrics::new(options.door != Door::TinyHttp))),
            store,
            options,
            log: OnceLock::new(),
            failures: OnceLock::new(),
            told: Mutex::default(),
        }
    }

    /// Has every answer from now on noted in `log`, unless there is one already.
    pub(super) fn log_to(&self, log: Log) {
        let _ = self.log.set(log);
    }

    /// Has failures of the store told of in `log`, unless there is one already.
    pub(super) fn tell_failures_to(&self, log: Log) {
        let _ = self.failures.set(log);
    }

    /// The longest content that is read, in bytes.
    pub(super) fn max_content(&self) -> u64 {
        self.options.policy.max_content
    }

    /// Judges the head of a request.
    pub(super) fn framing(&self, request: &Request<'_>) -> Result<Framing, Refusal> {
        Framing::of(request, self.options.policy.max_content)
    }

    /// Answers a request whose content is all there.
    pub(super) fn respond(&self, request: &Request<'_>) -> Response {
        self.respond_checked(request, None)
    }

    /// Answers as [`respond`](Self::respond), after a check of the store if there was one.
    pub(super) fn respond_checked(
        &self,
        request: &Request<'_>,
        checked: Option<Health>,
    ) -> Response {
        let begun = self.metrics.as_ref().map(|it| (it, Instant::now()));
        let response = self
            .guarded(resource::respond_monitored, checked, request)
            .unwrap_or_else(|failed| failed);
        if let Some((metrics, since)) = begun {
            metrics.observe(since);
        }
        response
    }

    /// Counts a connection, until what is returned is dropped.
    #[cfg(feature = "hyper")]
    pub(super) fn connect(&self) -> Option<Connected> {
        self.metrics.as_ref()?.connect()
    }

    /// Whether the answer depends on a check of a store that may wait.
    #[cfg(feature = "hyper")]
    pub(super) fn needs_check(&self, request: &Request<'_>) -> bool {
        self.store.reads_block() && resource::asks_health(&self.options.policy, request)
    }

    /// What checks the store.
    #[cfg(feature = "hyper")]
    pub(super) fn checker(&self) -> &Arc<Checker> {
        &self.checker
    }

    /// The requests that wait for a change.
    pub(super) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// Answers as [`respond`](Self::respond), but holds a 304 back on this thread until there is a
    /// change, if its client prefers that and less than `most` requests wait.
    pub(super) fn respond_waiting(&self, request: &Request<'_>, most: usize) -> Response {
        let first = self.respond(request);
        let Some(wait) = first.wait().cloned() else {
            return first;
        };
        let Some(ticket) = self.waiters.join(&wait, most) else {
            return first;
        };
        let end = Instant::now() + wait.limit;
        loop {
            let is_over = self.waiters.is_closed() || Instant::now() >= end;
            let response = self.respond(request);
            match response.wait() {
                Some(unchanged) if !is_over => ticket.expect(unchanged.version),
                _ => return response.waited(&wait),
            }
            ticket.block_until(end);
        }
    }

    /// Tells whoever runs the server why the store failed.
    fn tell(&self, reason: &str) {
        let Some(failures) = self.failures.get() else {
            return;
        };
        let mut told = lock(&self.told);
        let is_known = told
            .as_ref()
            .is_some_and(|(last, at)| last == reason && at.elapsed() < REMINDER);
        if !is_known {
            failures.tell(&format!("ifmatch: {reason}"));
            *told = Some((reason.to_owned(), Instant::now()));
        }
    }

    /// Answers a request whose content has not been read, if that needs no content.
    pub(super) fn respond_early(&self, request: &Request<'_>) -> Option<Response> {
        // How the store is has no part in it.
        self.guarded(resource::respond_early, Some(Ok(())), request)
            .unwrap_or_else(Some)
    }

    /// Answers a request that is refused for its framing.
    pub(super) fn refuse(&self, request: &Request<'_>, refusal: Refusal) -> Response {
        self.answer_problem(Problem::Refused(refusal), request)
    }

    /// Answers a request during which the server itself failed.
    #[cfg(feature = "hyper")]
    pub(super) fn fail(&self, request: &Request<'_>) -> Response {
        self.answer_problem(Problem::Panicked, request)
    }

    fn answer_problem(&self, problem: Problem, request: &Request<'_>) -> Response {
        resource::refuse(problem, request, &self.options.policy, SystemTime::now())
    }

    /// Whether a request of this method may have to wait for the store.
    pub(super) fn waits(&self, method: Method) -> bool {
        match method {
            Method::Get | Method::Head | Method::Options => self.store.reads_block(),
            _ => self.store.writes_block() || self.store.reads_block(),
        }
    }

    /// Whether the answer may list so much that making it would delay the others.
    #[cfg(feature = "hyper")]
    pub(super) fn may_list_much(&self, request: &Request<'_>) -> bool {
        resource::may_list_much(&self.options.policy, request)
    }

    /// What `respond` says to the request, or the answer that it panicked.
    fn guarded<R>(
        &self,
        respond: fn(&dyn Store, &dyn Monitor, &Policy, &Request<'_>, SystemTime) -> R,
        checked: Option<Health>,
        request: &Request<'_>,
    ) -> Result<R, Response> {
        let (policy, now) = (&self.options.policy, SystemTime::now());
        let monitor = DeskMonitor {
            desk: self,
            checked,
        };
        // Whatever a panic left behind is the store's to mend; it stays in use.
        catch_unwind(AssertUnwindSafe(|| {
            respond(&*self.store, &monitor, policy, request, now)
        }))
        .map_err(|_| self.answer_problem(Problem::Panicked, request))
    }

    /// When a request arrives now. The clock is read for the log alone.
    pub(super) fn arrival_time(&self) -> Option<Instant> {
        self.log.get().map(|_| Instant::now())
    }

    /// Has the logs written to their end.
    pub(super) fn finish_logs(&self) {
        for log in self.log.get().into_iter().chain(self.failures.get()) {
            log.finish();
        }
    }

    /// Notes the answer to the request line that `request` makes, which came at `since`. Every
    /// answer passes here, and with it the reason why the store failed.
    pub(super) fn note(
        &self,
        peer: Option<IpAddr>,
        method: Method,
        request: impl FnOnce() -> String,
        response: &Response,
        since: Option<Instant>,
    ) {
        if let Some(reason) = response.failure() {
            self.tell(reason);
        }
        if let Some(metrics) = &self.metrics {
            metrics.count(method, response.status());
        }
        match (self.log.get(), since) {
            (Some(log), Some(since)) if !response.is_routine() => {
                log.note(peer, &request(), response, since);
            }
            _ => {}
        }
    }
}

/// A monitor of the server.
struct DeskMonitor<'a> {
    desk: &'a Desk,
    /// What a check has said already.
    checked: Option<Health>,
}

impl Monitor for DeskMonitor<'_> {
    fn check(&self) -> Result<(), StoreError> {
        let Desk {
            store,
            checker,
            options,
            ..
        } = self.desk;
        match &self.checked {
            Some(health) => health.clone(),
            None if store.reads_block() => checker.begin()?.block(),
            None => resource::check(&**store, &options.policy),
        }
    }

    fn metrics(&self) -> Option<String> {
        let metrics = self.desk.metrics.as_ref()?;
        Some(metrics.text(self.desk.waiters.count()))
    }
}
