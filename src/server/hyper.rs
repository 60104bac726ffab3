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
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use crate::framing::{DRAINABLE, Framing, Refusal};
use crate::message::{Request, Response};
use crate::server::Limits;
use crate::server::address::{Address, Listener};
use crate::server::desk::Desk;
use crate::server::stopper::Stopper;

mod connection;
mod head;
mod listener;
mod waiting;

use connection::{Connection, Observed, Shared};
use head::Head;
use listener::{Accepted, AsyncListener};

/// The longest head of a request, in bytes: target, fields and all.
const MAX_HEAD: usize = 32 * 1024;

/// The most calls of a store that waits which are under way at once.
const MAX_CALLS: usize = 16;

/// The most long lists that are made at once of a store that does not wait. Each takes a core and up
/// to a megabyte, so that more would gain nothing.
const MAX_LISTS: usize = 2;

/// More connections than any machine has descriptors for.
const MOST: u32 = 1_000_000;

/// How long to wait when the machine has no descriptor for another connection.
const RESPITE: Duration = Duration::from_millis(50);

/// Serves on this thread until the word to stop.
///
/// # Errors
///
/// When the machine has nothing left to begin with.
pub(super) fn serve(
    desk: Arc<Desk>,
    mut limits: Limits,
    timeout: Duration,
    stopper: &Stopper,
    listener: Listener,
    address: &Address,
) -> io::Result<()> {
    limits.connections = limits.connections.clamp(1, MOST);
    limits.waiting = limits.waiting.min(MOST);
    let (word, stop) = watch::channel(false);
    let woken = Arc::downgrade(&desk);
    stopper.on_stop(move || {
        word.send_replace(true);
        if let Some(desk) = woken.upgrade() {
            desk.waiters().close();
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(MAX_CALLS)
        .thread_name("ifmatch-store")
        .build()?;
    let door = Door {
        desk,
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
    Ok(())
}

/// What all connections share.
#[derive(Clone)]
struct Door {
    desk: Arc<Desk>,
    limits: Limits,
    timeout: Duration,
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
    async fn run(self, listener: Listener) -> io::Result<()> {
        let listener = AsyncListener::try_from(listener)?;
        let mut stop = self.stop.clone();
        let accepting = async {
            while let Ok(place) = Arc::clone(&self.places).acquire_owned().await {
                match listener.accept(self.timeout).await {
                    Ok(Accepted::Tcp(stream, peer)) => self.welcome(stream, Some(peer), place),
                    #[cfg(unix)]
                    Ok(Accepted::Unix(stream)) => self.welcome(stream, None, place),
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

    /// Serves a connection beside the others, and gives back its place when it ends.
    fn welcome<S>(&self, stream: S, peer: Option<IpAddr>, place: OwnedSemaphorePermit)
    where
        S: Observed + Send + 'static,
    {
        let door = self.clone();
        let (stream, ended) = Shared::new(stream);
        let connection = Connection::new(peer, place, ended);
        tokio::spawn(door.attend(stream, connection));
    }

    /// Answers the requests of one connection, until it ends or the server stops.
    async fn attend(self, stream: impl AsyncRead + AsyncWrite, connection: Connection) {
        let mut stop = self.stop.clone();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.timeout));
        let stream = pin!(stream);
        let (door, connection) = (&self, &connection);
        let service = service_fn(|request| async move {
            // hyper goes on to the next request as long as there is one. Others have a turn between
            // two of them.
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(door.answer(request, connection).await)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            // From one answer to the end of the next head: idle connections end by it, too.
            .header_read_timeout(self.timeout)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_HEAD)
            .half_close(true)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut served = pin!(served);
        tokio::select! {
            // Why it ended is of no interest: its client is gone, or was told.
            _ = served.as_mut() => return,
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
        let since = self.desk.arrival_time();
        let (head, mut content) = request.into_parts();
        let head = Arc::new(Head(head));
        let read = self.read(&head, &mut content).await;
        // Chunks that were read to their end do not say so themselves.
        let unread = !matches!(read, Ok(Read::Content(_))) && !content.is_end_stream();
        // A client that waits for 100, or has not come to its end in time, is not waited for.
        let patient = !head.expects_continue() && !matches!(read, Err(Refusal::ContentLate));
        // Where the next request begins is too far away, or unclear.
        let far = content.size_hint().upper().is_none_or(|it| it > DRAINABLE);
        let unclear = matches!(&read, Err(refusal) if !refusal.leaves_framing_clear());
        let last = unclear || unread && (far || !patient);
        let response = match read {
            Ok(Read::Content(content)) => {
                let response = self.respond(&head, content).await;
                self.wait(response, &head, connection).await
            }
            Ok(Read::Answered(response)) => response,
            Err(refusal) => head.with(|request| self.desk.refuse(&request, refusal)),
        };
        self.desk
            .note(connection.peer, || head.request_line(), &response, since);
        if patient && unread {
            tokio::spawn(timeout(self.timeout, drain(content)));
        }
        let mut response = response.into();
        if last {
            head.end_with(&mut response);
        }
        response
    }

    /// Judges a request and reads its content, unless the client waits to be told first, and there
    /// is something to tell.
    async fn read(&self, head: &Arc<Head>, content: &mut Incoming) -> Result<Read, Refusal> {
        let framing = head.with(|request| self.desk.framing(&request))?;
        if framing == Framing::Empty {
            return Ok(Read::Content(Vec::new()));
        }
        if head.expects_continue() {
            let early = |desk: &Desk, request: Request<'_>| desk.respond_early(&request);
            if let Some(response) = self.beside(head, early).await.flatten() {
                return Ok(Read::Answered(response));
            }
        }
        let limit = self.desk.max_content();
        match timeout(self.timeout, collect(content, limit)).await {
            Ok(collected) => collected.map(Read::Content),
            Err(_) => Err(Refusal::ContentLate),
        }
    }

    async fn respond(&self, head: &Arc<Head>, content: Vec<u8>) -> Response {
        let respond =
            move |desk: &Desk, request: Request<'_>| desk.respond(&request.with_content(&content));
        let answered = self.beside(head, respond).await;
        answered.unwrap_or_else(|| head.with(|request| self.desk.fail(&request)))
    }

    /// Does something with a request that asks the store: here, or beside the loop if it may have
    /// to wait, or take long. Nothing comes back when the server is going meanwhile.
    async fn beside<R: Send + 'static>(
        &self,
        head: &Arc<Head>,
        work: impl FnOnce(&Desk, Request<'_>) -> R + Send + 'static,
    ) -> Option<R> {
        let mut work = Some(work);
        let mut permit = None;
        if !self.desk.waits(head.method()) {
            let here = head.with(|request| {
                let is_short = !self.desk.may_list_much(&request);
                let work = work.take_if(|_| is_short)?;
                Some(work(&self.desk, request))
            });
            if here.is_some() {
                return here;
            }
            permit = Arc::clone(&self.lists).acquire_owned().await.ok();
        }
        let work = work?;
        let (desk, head) = (Arc::clone(&self.desk), Arc::clone(head));
        let call = move || {
            let _permit = permit;
            head.with(|request| work(&desk, request))
        };
        tokio::task::spawn_blocking(call).await.ok()
    }
}

/// What came of reading the content.
enum Read {
    Content(Vec<u8>),
    /// It was not read: the answer does not depend on it.
    Answered(Response),
}

/// Reads content of no more than `limit` bytes.
async fn collect(content: &mut Incoming, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut collected = Vec::new();
    while let Some(frame) = content.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        // Trailer fields say nothing here.
        let Some(data) = frame.data_ref() else {
            continue;
        };
        if (collected.len() + data.len()) as u64 > limit {
            return Err(Refusal::ContentTooLong { limit });
        }
        collected.extend_from_slice(data);
    }
    Ok(collected)
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
