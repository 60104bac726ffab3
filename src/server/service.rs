//! What both doors do with a request: respond to it, log and count the response.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::framing::{Framing, Refusal};
use crate::message::{Request, Response};
use crate::method::Method;
use crate::problem::Problem;
#[cfg(feature = "hyper")]
use crate::resource::Work;
use crate::resource::{self, Handler, Monitor};
use crate::server::health::{Health, HealthChecker};
use crate::server::log::Log;
#[cfg(feature = "hyper")]
use crate::server::metrics::CountedConnection;
use crate::server::metrics::Metrics;
use crate::server::options::{Door, Options};
use crate::server::timed_store::TimedStore;
use crate::server::waiters::Waiters;
use crate::store::{Store, StoreError, lock};

/// How long the same failure is not logged again.
const FAILURE_REPEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Answers requests for every door, and logs and counts the responses.
pub(super) struct Service {
    store: Arc<dyn Store>,
    waiters: Arc<Waiters>,
    health_checker: Arc<HealthChecker>,
    /// `None` unless the option is set.
    metrics: Option<Arc<Metrics>>,
    options: Options,
    access_log: OnceLock<Log>,
    failure_log: OnceLock<Log>,
    /// The failure that was logged last, and when.
    last_failure: Mutex<Option<(String, Instant)>>,
}

impl Service {
    pub(super) fn new(store: Arc<dyn Store>, options: Options) -> Self {
        // tiny_http does not report its connections.
        let metrics = || Arc::new(Metrics::new(options.door != Door::TinyHttp));
        let metrics = options.metrics.then(metrics);
        Self {
            waiters: Waiters::new(Arc::clone(&store)),
            health_checker: HealthChecker::new(Arc::clone(&store), options.policy.clone()),
            store: match &metrics {
                Some(metrics) => Arc::new(TimedStore::new(store, Arc::clone(metrics))),
                None => store,
            },
            metrics,
            options,
            access_log: OnceLock::new(),
            failure_log: OnceLock::new(),
            last_failure: Mutex::default(),
        }
    }

    /// Logs the responses from now on, unless there is an access log already.
    pub(super) fn log_to(&self, log: Log) {
        let _ = self.access_log.set(log);
    }

    /// Logs failures of the store from now on, unless there is a log of them already.
    pub(super) fn log_failures_to(&self, log: Log) {
        let _ = self.failure_log.set(log);
    }

    /// The longest content that is read, in bytes.
    pub(super) fn max_content(&self) -> u64 {
        self.options.policy.max_content
    }

    /// Checks the head of a request, and returns how its content is delimited.
    pub(super) fn check_head(&self, request: &Request<'_>) -> Result<Framing, Refusal> {
        Framing::of(request, self.options.policy.max_content)
    }

    /// Answers a request whose content has been read.
    pub(super) fn respond(&self, request: &Request<'_>) -> Response {
        self.respond_with_health(request, None)
    }

    /// Answers as [`respond`](Self::respond), with the result of a check of the store if the caller
    /// has made one.
    pub(super) fn respond_with_health(
        &self,
        request: &Request<'_>,
        health: Option<Health>,
    ) -> Response {
        let monitor = self.monitor(health);
        let handler = self.handler(&monitor, request);
        self.catch_panic(request, || handler.respond())
            .unwrap_or_else(|panicked| panicked)
    }

    pub(super) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// Answers as [`respond`](Self::respond), but holds a 304 back on this thread until there is a
    /// change, if the client prefers that and fewer than `max_waiting` requests wait.
    pub(super) fn respond_waiting(&self, request: &Request<'_>, max_waiting: usize) -> Response {
        let first = self.respond(request);
        let Some(wait) = first.wait().cloned() else {
            return first;
        };
        let Some(subscription) = self.waiters.subscribe(&wait, max_waiting) else {
            return first;
        };
        let end = Instant::now() + wait.limit;
        loop {
            // Also before the first wait: a change before the subscription is not notified.
            let is_over = self.waiters.is_closed() || Instant::now() >= end;
            let response = self.respond(request);
            match response.wait() {
                Some(unchanged) if !is_over => subscription.set_version(unchanged.version),
                _ => return response.waited(&wait),
            }
            subscription.block_until(end);
        }
    }

    /// Logs why the store failed, unless it has just failed for the same reason.
    fn log_failure(&self, reason: &str) {
        let Some(log) = self.failure_log.get() else {
            return;
        };
        let mut last = lock(&self.last_failure);
        let is_repeated = last.as_ref().is_some_and(|(last, logged_at)| {
            last == reason && logged_at.elapsed() < FAILURE_REPEAT_INTERVAL
        });
        if !is_repeated {
            log.line(&format!("ifmatch: {reason}"));
            *last = Some((reason.to_owned(), Instant::now()));
        }
    }

    /// Refuses a request before its content is read, if that can be decided without the content.
    pub(super) fn refuse_early(&self, request: &Request<'_>) -> Option<Response> {
        // A refusal never depends on the health.
        let monitor = self.monitor(Some(Ok(())));
        let handler = self.handler(&monitor, request);
        self.catch_panic(request, || handler.refuse_early())
            .unwrap_or_else(Some)
    }

    /// Answers a request that is refused for its framing.
    pub(super) fn refuse(&self, request: &Request<'_>, refusal: Refusal) -> Response {
        self.problem_response(Problem::Refused(refusal), request)
    }

    /// Answers a request with a problem of the server.
    pub(super) fn problem_response(&self, problem: Problem, request: &Request<'_>) -> Response {
        resource::respond_with_problem(problem, request, &self.options.policy, SystemTime::now())
    }

    /// Whether a request of this method may call the store in a way that blocks.
    pub(super) fn store_blocks(&self, method: Method) -> bool {
        match method {
            Method::Get | Method::Head | Method::Options => self.store.reads_block(),
            _ => self.store.writes_block() || self.store.reads_block(),
        }
    }

    fn monitor(&self, health: Option<Health>) -> ServiceMonitor<'_> {
        ServiceMonitor {
            service: self,
            health,
        }
    }

    fn handler<'a>(
        &'a self,
        monitor: &'a ServiceMonitor<'a>,
        request: &'a Request<'a>,
    ) -> Handler<'a> {
        Handler {
            store: &*self.store,
            monitor,
            policy: &self.options.policy,
            request,
            now: SystemTime::now(),
        }
    }

    /// Calls `respond`; answers 500 if it panics.
    fn catch_panic<R>(
        &self,
        request: &Request<'_>,
        respond: impl FnOnce() -> R,
    ) -> Result<R, Response> {
        // A store has to stay usable after a panic: it serves the next request.
        catch_unwind(AssertUnwindSafe(respond))
            .map_err(|_| self.problem_response(Problem::Panicked, request))
    }

    /// The current time; `None` without an access log, which alone needs it.
    pub(super) fn receive_time(&self) -> Option<Instant> {
        self.access_log.get().map(|_| Instant::now())
    }

    pub(super) fn flush_logs(&self) {
        let logs = [&self.access_log, &self.failure_log];
        logs.into_iter()
            .filter_map(OnceLock::get)
            .for_each(Log::flush);
    }

    /// Logs and counts the response to a request that was received at `received_at`. The doors call
    /// it for every response that they make.
    pub(super) fn log_and_count(
        &self,
        peer: Option<IpAddr>,
        method: Method,
        request_line: impl FnOnce() -> String,
        response: &Response,
        received_at: Option<Instant>,
    ) {
        if let Some(reason) = response.failure() {
            self.log_failure(reason);
        }
        if let Some(metrics) = &self.metrics {
            metrics.count(method, response.status());
        }
        match (self.access_log.get(), received_at) {
            (Some(log), Some(received_at)) if !response.is_unlogged() => {
                log.response(peer, &request_line(), response, received_at);
            }
            _ => {}
        }
    }
}

#[cfg(feature = "hyper")]
impl Service {
    /// Counts a connection as open until the value is dropped.
    pub(super) fn count_connection(&self) -> Option<CountedConnection> {
        self.metrics.as_ref()?.count_connection()
    }

    /// The work for the response to this request; see [`Work::of`].
    pub(super) fn work(&self, request: &Request<'_>, has_changed: bool) -> Work {
        let store_blocks = self.store_blocks(request.method);
        Work::of(&self.options.policy, request, store_blocks, has_changed)
    }

    pub(super) fn health_checker(&self) -> &Arc<HealthChecker> {
        &self.health_checker
    }
}

/// What the resources `/health` and `/metrics` show of a service.
struct ServiceMonitor<'a> {
    service: &'a Service,
    /// The result of a check that was made before.
    health: Option<Health>,
}

impl Monitor for ServiceMonitor<'_> {
    fn check_store(&self) -> Result<(), StoreError> {
        let Service {
            store,
            health_checker,
            options,
            ..
        } = self.service;
        match &self.health {
            Some(health) => health.clone(),
            None if store.reads_block() => health_checker.begin()?.block(),
            None => resource::check_store(&**store, &options.policy),
        }
    }

    fn has_metrics(&self) -> bool {
        self.service.metrics.is_some()
    }

    fn metrics(&self) -> Option<String> {
        let metrics = self.service.metrics.as_ref()?;
        Some(metrics.text(self.service.waiters.count()))
    }
}
