use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::hyper::body::{Body, Bytes, Incoming};
use ::hyper::server::conn::http1;
use ::hyper::service::service_fn;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::framing::{DRAINABLE, Framing, Refusal};
use crate::message::{Request, Response};
use crate::server::address::{Address, ListeningSocket};
use crate::server::options::Limits;
use crate::server::service::Service;
use crate::server::stopper::Stopper;

mod connection;
mod head;
mod listener;
mod waiting;
mod workers;

use connection::{Connection, Observed};
use head::Head;
use listener::{Accepted, AsyncListener};
use workers::Workers;

/// The longest head of a request, in bytes: target, fields and all.
const MAX_HEAD: usize = 32 * 1024;

/// The most calls of a store that waits which are under way at once.
const MAX_CALLS: usize = 16;

/// The most long lists that are made at once of a store that does not wait. Each takes a core and up
/// to a megabyte, so that more would gain nothing.
const MAX_LISTS: usize = 2;

/// More connections than any machine has descriptors for.
const MOST: u32 = 1_000_000;

/// More threads than any machine has processors for.
const MOST_THREADS: u32 = 1024;

/// How long to wait when the machine has no descriptor for another connection.
const RESPITE: Duration = Duration::from_millis(50);

/// Serves on this thread until the word to stop.
///
/// # Errors
///
/// When the machine has nothing left to begin with.
pub(super) fn serve(
    service: Arc<Service>,
    mut limits: Limits,
    timeout: Duration,
    stopper: &Stopper,
    listener: ListeningSocket,
    address: &Address,
) -> io::Result<()> {
    limits.connections = limits.connections.clamp(1, MOST);
    limits.waiting = limits.waiting.min(MOST);
    limits.threads = limits.threads.clamp(1, MOST_THREADS);
    let (word, stop) = watch::channel(false);
    let woken = Arc::downgrade(&service);
    stopper.on_stop(move || {
        word.send_replace(true);
        if let Some(service) = woken.upgrade() {
            service.waiters().close();
        }
    });
    let runtime = workers::runtime()
        .max_blocking_threads(MAX_CALLS)
        .thread_name("ifmatch-store")
        .build()?;
    let (workers, threads) = Workers::start(limits.threads)?;
    let door = Door {
        calls: runtime.handle().clone(),
        workers: Arc::new(workers),
        service,
        limits,
        timeout,
        lists: Arc::new(Semaphore::new(MAX_LISTS)),
        places: Arc::new(Semaphore::new(limits.connections as usize)),
        waiting: Arc::new(Semaphore::new(limits.waiting as usize)),
        stop,
    };
    runtime.block_on(door.run(listener))?;
    #[cfg(unix)]
    if let Address::Unix(path) = address {
        // Somebody may have removed it already.
        let _ = std::fs::remove_file(path);
    }
    // Connections that took too long to end, and what the store still does for them.
    runtime.shutdown_timeout(Duration::ZERO);
    threads.end();
    Ok(())
}

/// What all connections share.
#[derive(Clone)]
struct Door {
    service: Arc<Service>,
    limits: Limits,
    timeout: Duration,
    workers: Arc<Workers>,
    /// The runtime on whose threads the calls of a store that waits are made, for all workers.
    calls: Handle,
    /// A permit for each long list that may be made.
    lists: Arc<Semaphore>,
    /// A permit for each connection that may be open, but for those whose request waits.
    places: Arc<Semaphore>,
    /// A permit for each connection whose request may wait.
    waiting: Arc<Semaphore>,
    /// Becomes true when the server is to stop.
    stop: watch::Receiver<bool>,
}

impl Door {
    /// Takes connections as long as there are places, until the word to stop; then waits for
    /// those that are open.
    async fn run(self, listener: ListeningSocket) -> io::Result<()> {
        let listener = AsyncListener::try_from(listener)?;
        let mut stop = self.stop.clone();
        let accepting = async {
            while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                match listener.accept(self.timeout).await {
                    Ok(accepted) => self.welcome(accepted, place),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => sleep(RESPITE).await,
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        drop(listener);
        let ended = async {
            let _ = self.places.acquire_many(self.limits.connections).await;
            let _ = self.waiting.acquire_many(self.limits.waiting).await;
        };
        let _ = timeout(self.timeout, ended).await;
        Ok(())
    }

    /// Serves a connection on the thread whose turn it is, and gives back its place when it ends.
    fn welcome(&self, accepted: Accepted, place: OwnedSemaphorePermit) {
        let door = self.clone();
        let Some(worker) = self.workers.next() else {
            tokio::spawn(door.attend(accepted, place));
            return;
        };
        // A connection that cannot be moved is closed.
        if let Ok(detached) = accepted.detach() {
            worker.spawn(async move {
                if let Ok(accepted) = detached.attach() {
                    door.attend(accepted, place).await;
                }
            });
        }
    }

    async fn attend(self, accepted: Accepted, place: OwnedSemaphorePermit) {
        match accepted {
            Accepted::Tcp(stream, peer) => self.answer_all(stream, Some(peer), place).await,
            #[cfg(unix)]
            Accepted::Unix(stream) => self.answer_all(stream, None, place).await,
        }
    }

    /// Answers the requests of one connection, until it ends or the server stops.
    async fn answer_all<S: Observed + Send + 'static>(
        self,
        stream: S,
        peer: Option<IpAddr>,
        place: OwnedSemaphorePermit,
    ) {
        let _connected = self.service.count_connection();
        let (connection, stream) = Connection::new(stream, peer, place);
        let mut stop = self.stop.clone();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.timeout));
        let stream = pin!(stream);
        let (door, connection) = (&self, &connection);
        // hyper itself lets other connections have a turn after every sixteen requests.
        let handler = service_fn(|request| async move {
            connection.begin_request();
            let response = door.answer(request, connection).await;
            connection.end_request();
            Ok::<_, Infallible>(response)
        });
        let served = http1::Builder::new()
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .half_close(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), handler);
        let mut served = pin!(served);
        tokio::select! {
            biased;
            // Why it ended is of no interest: its client is gone, or was told.
            _ = served.as_mut() => return,
            () = connection.idle_for(self.timeout) => return,
            _ = stop.wait_for(|stop| *stop) => {}
        }
        served.as_mut().graceful_shutdown();
        let _ = served.await;
    }

    /// Answers one request.
    async fn answer(
        &self,
        request: ::hyper::Request<Incoming>,
        connection: &Connection,
    ) -> ::hyper::Response<Full<Bytes>> {
        let since = self.service.receive_time();
        let (head, mut body) = request.into_parts();
        let head = Head(head);
        let target = head.target();
        let request = head.request(&target);
        let method = request.method;
        let read = self.read(&head, &request, &mut body).await;
        // Chunks that were read to their end do not say so themselves.
        let unread = !matches!(read, Ok(Read::Content(_))) && !body.is_end_stream();
        // A client that waits for 100, or has not come to its end in time, is not waited for.
        let patient = !head.expects_continue() && !matches!(read, Err(Refusal::ContentLate));
        // Where the next request begins is too far away, or unclear.
        let far = body.size_hint().upper().is_none_or(|it| it > DRAINABLE);
        let unclear = matches!(&read, Err(refusal) if !refusal.leaves_framing_clear());
        let last = unclear || unread && (far || !patient);
        let response = match read {
            Ok(Read::Content(content)) => {
                let request = request.with_content(&content);
                let response = self.respond(&head, &request, &content).await;
                self.wait(response, &head, &request, connection).await
            }
            Ok(Read::Answered(response)) => response,
            Err(refusal) => self.service.refuse(&request, refusal),
        };
        self.service.log_and_count(
            connection.peer,
            method,
            || head.request_line(),
            &response,
            since,
        );
        if patient && unread {
            tokio::spawn(timeout(self.timeout, drain(body)));
        }
        head.answer(response, last)
    }

    /// Judges a request and reads its content, unless the client waits to be told first, and there
    /// is something to tell.
    async fn read(
        &self,
        head: &Head,
        request: &Request<'_>,
        body: &mut Incoming,
    ) -> Result<Read, Refusal> {
        if self.service.framing(request)? == Framing::Empty {
            return Ok(Read::Content(Bytes::new()));
        }
        if head.expects_continue() {
            let early = if self.service.needs_check(request) || self.answers_here(request) {
                self.service.respond_early(request)
            } else {
                let early =
                    |service: &Service, request: Request<'_>| service.respond_early(&request);
                self.beside(head, early).await.flatten()
            };
            if let Some(response) = early {
                return Ok(Read::Answered(response));
            }
        }
        let limit = self.service.max_content();
        match timeout(self.timeout, collect(body, limit)).await {
            Ok(collected) => collected.map(Read::Content),
            Err(_) => Err(Refusal::ContentLate),
        }
    }

    async fn respond(&self, head: &Head, request: &Request<'_>, content: &Bytes) -> Response {
        if self.service.needs_check(request) {
            let health = self.check().await;
            return self.service.respond_with_health(request, Some(health));
        }
        if self.answers_here(request) {
            return self.service.respond(request);
        }
        let content = content.clone();
        let respond = move |service: &Service, request: Request<'_>| {
            service.respond(&request.with_content(&content))
        };
        let answered = self.beside(head, respond).await;
        answered.unwrap_or_else(|| self.service.fail(request))
    }

    /// Whether the answer is made on the thread of the loop: it takes microseconds then.
    fn answers_here(&self, request: &Request<'_>) -> bool {
        !self.service.store_waits(request.method) && !self.service.may_list_much(request)
    }

    /// Does something with a request that asks the store, beside the loop: it may have to wait, or
    /// take long. Nothing comes back when the server is going meanwhile.
    async fn beside<R: Send + 'static>(
        &self,
        head: &Head,
        work: impl FnOnce(&Service, Request<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        let permit = if self.service.store_waits(head.method()) {
            None
        } else {
            Arc::clone(&self.lists).acquire_owned().await.ok()
        };
        let (service, head) = (Arc::clone(&self.service), head.clone());
        let call = move || {
            let _permit = permit;
            work(&service, head.request(&head.target()))
        };
        self.calls.spawn_blocking(call).await.ok()
    }
}

/// What came of reading the content.
enum Read {
    Content(Bytes),
    /// It was not read: the answer does not depend on it.
    Answered(Response),
}

/// Reads content of no more than `limit` bytes. What comes in one piece is not copied.
async fn collect(body: &mut Incoming, limit: u64) -> Result<Bytes, Refusal> {
    let (mut first, mut all) = (Bytes::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        // Trailer fields say nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if (first.len() + all.len() + data.len()) as u64 > limit {
            return Err(Refusal::ContentTooLong { limit });
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
    }
    Ok(if all.is_empty() { first } else { all.into() })
}

/// Why content could not be read to its end.
fn broken(error: &::hyper::Error) -> Refusal {
    let cause =
        std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    match cause.map(io::Error::kind) {
        Some(io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => Refusal::ContentMalformed,
        _ => Refusal::ContentTruncated,
    }
}

/// Reads what is left of the content and throws it away. Beyond a bound hyper closes the
/// connection.
async fn drain(mut content: Incoming) {
    let mut left = DRAINABLE;
    while let Some(Ok(frame)) = content.frame().await {
        let read = frame.data_ref().map_or(0, Bytes::len) as u64;
        match left.checked_sub(read) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
