//! The state of a connection: its permit, its idle time, its stream.

use std::future::poll_fn;
use std::io::{self, IoSlice};
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

#[cfg(unix)]
use socket2::SockRef;
#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::store::lock;

/// The state of a connection.
pub(super) struct Connection {
    /// The address of the client; `None` on a Unix-domain socket.
    pub(super) peer: Option<IpAddr>,
    pub(super) peer_closed: PollPeerClosed,
    permit: Mutex<Permit>,
    activity: Arc<Mutex<Activity>>,
}

struct Activity {
    phase: Phase,
    /// Wakes the idle timer when the next idle period begins.
    timer_waker: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// No head of a request has been read since then.
    Idle(Instant),
    /// A response is being made.
    Busy,
    /// A response is being written.
    Writing,
}

/// The permit that a connection holds.
enum Permit {
    Connection(#[expect(dead_code, reason = "it is released when dropped")] OwnedSemaphorePermit),
    Waiting(#[expect(dead_code, reason = "it is released when dropped")] OwnedSemaphorePermit),
}

impl Connection {
    /// The state of the connection that is open on `stream`, and the stream for hyper.
    pub(super) fn new<S: ClientStream + Send + 'static>(
        stream: S,
        peer: Option<IpAddr>,
        permit: OwnedSemaphorePermit,
    ) -> (Self, SharedStream<S>) {
        let stream = Arc::new(Mutex::new(stream));
        let activity = Arc::new(Mutex::new(Activity {
            phase: Phase::Idle(Instant::now()),
            timer_waker: None,
        }));
        let shared = Arc::clone(&stream);
        let peer_closed = move |context: &mut Context<'_>| lock(&shared).poll_peer_closed(context);
        let connection = Self {
            peer,
            peer_closed: Box::new(peer_closed),
            permit: Mutex::new(Permit::Connection(permit)),
            activity: Arc::clone(&activity),
        };
        (connection, SharedStream { stream, activity })
    }

    pub(super) fn begin_request(&self) {
        lock(&self.activity).phase = Phase::Busy;
    }

    pub(super) fn begin_response(&self) {
        lock(&self.activity).phase = Phase::Writing;
    }

    /// Returns when the connection has been idle for `timeout`.
    ///
    /// This takes one timer for each connection; hyper's own header timeout takes one for each
    /// request. An idle period begins when a response has been written, so that a slow client gets
    /// the whole of a long response.
    pub(super) async fn idle_for(&self, timeout: Duration) {
        loop {
            let end = poll_fn(|context| self.poll_idle(context)).await + timeout;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Is ready when the connection is idle, with the time since when.
    fn poll_idle(&self, context: &mut Context<'_>) -> Poll<Instant> {
        let mut activity = lock(&self.activity);
        if let Phase::Idle(since) = activity.phase {
            return Poll::Ready(since);
        }
        activity.timer_waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Exchanges the connection's permit for one to wait. Returns false if no permit to wait is free.
    pub(super) fn begin_wait(&self, waiting: &Arc<Semaphore>) -> bool {
        let mut held = lock(&self.permit);
        if matches!(*held, Permit::Connection(_)) {
            let Ok(permit) = Arc::clone(waiting).try_acquire_owned() else {
                return false;
            };
            *held = Permit::Waiting(permit);
        }
        true
    }

    /// Exchanges the permit to wait for one of `connections`. If there is none, the connection keeps
    /// its permit to wait, so that every open connection holds a permit.
    pub(super) fn end_wait(&self, connections: &Arc<Semaphore>) {
        if let Ok(permit) = Arc::clone(connections).try_acquire_owned() {
            *lock(&self.permit) = Permit::Connection(permit);
        }
    }
}

/// The stream that hyper reads and writes.
///
/// While a request waits for a change, [`Connection::peer_closed`] peeks at the stream: hyper does not
/// read then, and so does not notice that the client has closed its side of the connection.
pub(super) struct SharedStream<S> {
    stream: Arc<Mutex<S>>,
    activity: Arc<Mutex<Activity>>,
}

/// Is ready when the client has closed its side. Not polled while hyper reads.
type PollPeerClosed = Box<dyn Fn(&mut Context<'_>) -> Poll<()> + Send + Sync>;

/// A stream from a client.
pub(super) trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Is ready when the client has closed its side; reads nothing. Stays pending while there are
    /// unread bytes.
    fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl ClientStream for TcpStream {
    fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
        }
    }
}

#[cfg(unix)]
impl ClientStream for UnixStream {
    fn poll_peer_closed(&self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.poll_read_ready(context).is_pending() {
                return Poll::Pending;
            }
            let peek = || SockRef::from(self).peek(&mut [MaybeUninit::uninit()]);
            match self.try_io(Interest::READABLE, peek) {
                Ok(1..) => return Poll::Pending,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// The longest response whose head and content are copied into one buffer, in bytes. For a longer
/// one a vectored write of both costs less.
const MAX_COALESCED: usize = 1024;

/// Copies the slices into one buffer if they fit, and returns their total length.
fn coalesce(slices: &[IoSlice<'_>], buffer: &mut [u8; MAX_COALESCED]) -> Option<usize> {
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        buffer.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    Some(length)
}

impl<S: AsyncRead + Unpin> AsyncRead for SharedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SharedStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.stream)).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = [0; MAX_COALESCED];
        if let Some(length) = coalesce(slices, &mut buffer) {
            let bytes = buffer.get(..length).unwrap_or_default();
            return Pin::new(&mut *lock(&self.stream)).poll_write(context, bytes);
        }
        Pin::new(&mut *lock(&self.stream)).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.stream).is_write_vectored()
    }

    /// hyper flushes when it has written a whole response: then the idle period begins.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut activity = lock(&self.activity);
        if let Phase::Writing = activity.phase {
            activity.phase = Phase::Idle(Instant::now());
            if let Some(waker) = activity.timer_waker.take() {
                waker.wake();
            }
        }
        Pin::new(&mut *lock(&self.stream)).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_shutdown(context)
    }
}
