//! Serving a connection: from a request of hyper to its response.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::hyper::body::{Body, Bytes, Incoming};
use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::framing::{Framing, MAX_DRAINED_FOR_REUSE, Refusal};
use crate::message::{Request, Response};
use crate::problem::Problem;
use crate::resource::Work;
use crate::server::health::{CHECK_TIMEOUT, Health, HealthCheck};
use crate::server::hyper::connection::{ClientStream, Connection};
use crate::server::hyper::content;
use crate::server::hyper::head::Head;
use crate::server::hyper::listener::Accepted;
use crate::server::hyper::store_threads::StoreQueues;
use crate::server::options::Limits;
use crate::server::service::Service;

/// The longest head of a request, in bytes: the request line and all fields.
const MAX_HEAD: usize = 32 * 1024;

/// Serves connections: answers the requests on them. Each connection has a clone.
#[derive(Clone)]
pub(super) struct Responder {
    service: Arc<Service>,
    timeout: Duration,
    limits: Limits,
    store_queues: StoreQueues,
    /// A permit for each connection without a request that waits for a change.
    connection_permits: Arc<Semaphore>,
    /// A permit for each connection whose request waits for a change.
    waiting_permits: Arc<Semaphore>,
    /// True when the server is stopping.
    stop: watch::Receiver<bool>,
}

impl Responder {
    pub(super) fn new(
        service: Arc<Service>,
        timeout: Duration,
        limits: Limits,
        store_queues: StoreQueues,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            service,
            timeout,
            limits,
            store_queues,
            connection_permits: Arc::new(Semaphore::new(limits.connections as usize)),
            waiting_permits: Arc::new(Semaphore::new(limits.waiting as usize)),
            stop,
        }
    }

    /// Waits until another connection may be accepted.
    pub(super) async fn connection_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connection_permits)
            .acquire_owned()
            .await
            .ok()
    }

    /// Waits until no connection is open, by acquiring all permits.
    ///
    /// The permits to wait come first: a request that ends its wait exchanges its permit for that of a
    /// connection, and none can begin to wait any more.
    pub(super) async fn wait_until_all_ended(&self) {
        let (connections, waiting) = (self.limits.connections, self.limits.waiting);
        let _waiting = self.waiting_permits.acquire_many(waiting).await;
        let _connections = self.connection_permits.acquire_many(connections).await;
    }

    /// Answers the requests on one connection until it ends or the server stops.
    pub(super) async fn serve(self, accepted: Accepted, permit: OwnedSemaphorePermit) {
        match accepted {
            Accepted::Tcp(stream, peer) => self.serve_stream(stream, Some(peer), permit).await,
            #[cfg(unix)]
            Accepted::Unix(stream) => self.serve_stream(stream, None, permit).await,
        }
    }

    async fn serve_stream<S: ClientStream + Send + 'static>(
        self,
        stream: S,
        peer: Option<IpAddr>,
        permit: OwnedSemaphorePermit,
    ) {
        let _counted = self.service.count_connection();
        let (connection, stream) = Connection::new(stream, peer, permit);
        let mut stop = self.stop.clone();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.timeout));
        let stream = pin!(stream);
        let (responder, connection) = (&self, &connection);
        let serve_request = service_fn(|request| async move {
            connection.begin_request();
            let response = responder.serve_request(request, connection).await;
            connection.begin_response();
            Ok::<_, Infallible>(response)
        });
        let served = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .half_close(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), serve_request);
        let mut served = pin!(served);
        tokio::select! {
            biased;
            // An error needs no report: the client has disconnected or has got a response.
            _ = served.as_mut() => return,
            () = connection.idle_for(self.timeout) => return,
            _ = stop.wait_for(|stop| *stop) => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }

    /// Answers one request.
    async fn serve_request(
        &self,
        request: ::hyper::Request<Incoming>,
        connection: &Connection,
    ) -> ::hyper::Response<Full<Bytes>> {
        let received_at = self.service.receive_time();
        let (request, mut body) = request.into_parts();
        let head = Head(request);
        let target = head.target();
        let request = head.request(&target);
        let method = request.method;
        let read = self.read(&head, &request, &mut body).await;
        let after = After::of(&head, &read, &body);
        let response = match read {
            Ok(Read::Content(content)) => {
                let request = request.with_content(&content);
                let response = self.respond(&head, &request, &content, false).await;
                self.wait(response, &head, &request, &content, connection)
                    .await
            }
            Ok(Read::Refused(response)) => response,
            Err(refusal) => self.service.refuse(&request, refusal),
        };
        self.service.log_and_count(
            connection.peer,
            method,
            || head.request_line(),
            &response,
            received_at,
        );
        if after.drains {
            tokio::spawn(timeout(self.timeout, content::drain(body)));
        }
        head.into_response(response, after.closes)
    }

    /// Checks the head of a request and reads its content. If the client expects 100 and the request can
    /// be refused without its content, returns that response instead.
    async fn read(
        &self,
        head: &Head,
        request: &Request<'_>,
        body: &mut Incoming,
    ) -> Result<Read, Refusal> {
        if self.service.check_head(request)? == Framing::Empty {
            return Ok(Read::Content(Bytes::new()));
        }
        if head.expects_continue() {
            let early = match self.service.work(request, false) {
                Work::Short | Work::HealthCheck => self.service.refuse_early(request),
                work => {
                    let early =
                        |service: &Service, request: Request<'_>| service.refuse_early(&request);
                    let early = self.on_store_thread(work, head, early).await;
                    early.unwrap_or_else(|it| Some(self.service.problem_response(it, request)))
                }
            };
            if let Some(response) = early {
                return Ok(Read::Refused(response));
            }
        }
        let limit = self.service.max_content();
        match timeout(self.timeout, content::read(body, limit)).await {
            Ok(collected) => collected.map(Read::Content),
            Err(_) => Err(Refusal::ContentLate),
        }
    }

    /// Makes the response on this thread if that takes microseconds, otherwise on a store thread.
    async fn respond(
        &self,
        head: &Head,
        request: &Request<'_>,
        content: &Bytes,
        has_changed: bool,
    ) -> Response {
        let work = self.service.work(request, has_changed);
        match work {
            Work::Short => return self.service.respond(request),
            Work::HealthCheck => {
                let health = self.check_health().await;
                return self.service.respond_with_health(request, Some(health));
            }
            Work::Long | Work::Read | Work::Write => {}
        }
        let content = content.clone();
        let respond = move |service: &Service, request: Request<'_>| {
            service.respond(&request.with_content(&content))
        };
        let response = self.on_store_thread(work, head, respond).await;
        response.unwrap_or_else(|problem| self.service.problem_response(problem, request))
    }

    /// Checks whether the store answers. The call is not made on a thread for calls of the store: all
    /// of these may be blocked in a store that hangs.
    async fn check_health(&self) -> Health {
        let check = self.service.health_checker().begin()?;
        let checked = timeout(CHECK_TIMEOUT, poll_fn(|context| check.poll(context))).await;
        checked.unwrap_or_else(|_| HealthCheck::timed_out())
    }

    /// Holds a 304 back until there is a change, if the client prefers that and there is a permit.
    ///
    /// A client that has closed its side of the connection is answered at once: it has left, or can
    /// ask again on another connection.
    async fn wait(
        &self,
        first: Response,
        head: &Head,
        request: &Request<'_>,
        content: &Bytes,
        connection: &Connection,
    ) -> Response {
        let Some(wait) = first.wait().cloned() else {
            return first;
        };
        if !connection.begin_wait(&self.waiting_permits) {
            return first;
        }
        let Some(subscription) = self.service.waiters().subscribe(&wait, usize::MAX) else {
            connection.end_wait(&self.connection_permits);
            return first;
        };
        let end = Instant::now() + wait.limit;
        let (mut is_over, mut has_changed) = (false, false);
        loop {
            is_over |= self.service.waiters().is_closed();
            let response = self.respond(head, request, content, has_changed).await;
            match response.wait() {
                Some(unchanged) if !is_over => subscription.set_version(unchanged.version),
                _ => {
                    connection.end_wait(&self.connection_permits);
                    return response.waited(&wait);
                }
            }
            tokio::select! {
                () = poll_fn(|context| subscription.poll(context)) => has_changed = true,
                () = sleep_until(end) => is_over = true,
                () = poll_fn(&connection.peer_closed) => is_over = true,
            }
        }
    }

    /// Calls `respond` on a thread for this work.
    ///
    /// # Errors
    ///
    /// When its turn comes too late: it is not called then. Or when it panics, or the server ends
    /// meanwhile.
    async fn on_store_thread<R: Send + 'static>(
        &self,
        work: Work,
        head: &Head,
        respond: impl FnOnce(&Service, Request<'_>) -> R + Send + 'static,
    ) -> Result<R, Problem> {
        let (service, sent) = (Arc::clone(&self.service), head.clone());
        let call = move || respond(&service, sent.request(&sent.target()));
        self.store_queues.run(work, call).await
    }
}

/// The result of reading the content.
enum Read {
    Content(Bytes),
    /// The request was refused before its content was read.
    Refused(Response),
}

/// What happens after a response.
struct After {
    /// Whether unread content is read and discarded.
    drains: bool,
    /// Whether the connection is closed.
    closes: bool,
}

impl After {
    fn of(head: &Head, read: &Result<Read, Refusal>, body: &Incoming) -> Self {
        // hyper does not report the end of chunks that have been read to their end.
        let is_unread = !matches!(read, Ok(Read::Content(_))) && !body.is_end_stream();
        // A client that expects 100 does not send the content, and a late client may never send it.
        let drains =
            is_unread && !head.expects_continue() && !matches!(read, Err(Refusal::ContentLate));
        let length = body.size_hint().upper();
        let is_too_long = length.is_none_or(|it| it > MAX_DRAINED_FOR_REUSE);
        let is_framing_lost = matches!(read, Err(refusal) if !refusal.leaves_framing_clear());
        Self {
            drains,
            closes: is_framing_lost || is_unread && (is_too_long || !drains),
        }
    }
}
