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

use crate::server::lock::lock;

/// What is known about a connection.
pub(super) struct Connection {
    /// The machine it comes from, where that is known.
    pub(super) peer: Option<IpAddr>,
    pub(super) ended: Ended,
    permit: Mutex<Permit>,
    activity: Arc<Mutex<Activity>>,
}

/// What a connection is at.
struct Activity {
    phase: Phase,
    /// Wakes the timer that has run out while there was a request, so that it begins again.
    timer: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Phase {
    /// It waits for the head of a request to be complete, since then.
    Idle(Instant),
    /// It has a request.
    Busy,
    /// The request has its answer, which is not sent yet.
    Answered,
}

/// Why a connection may be open.
enum Permit {
    Place(#[expect(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit),
    Waiting(#[expect(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit),
}

impl Connection {
    /// The connection that is open on `stream`, and the stream for hyper.
    pub(super) fn new<S: Observed + Send + 'static>(
        stream: S,
        peer: Option<IpAddr>,
        place: OwnedSemaphorePermit,
    ) -> (Self, Shared<S>) {
        let stream = Arc::new(Mutex::new(stream));
        let activity = Arc::new(Mutex::new(Activity {
            phase: Phase::Idle(Instant::now()),
            timer: None,
        }));
        let observed = Arc::clone(&stream);
        let ended = move |context: &mut Context<'_>| lock(&observed).poll_ended(context);
        let connection = Self {
            peer,
            ended: Box::new(ended),
            permit: Mutex::new(Permit::Place(place)),
            activity: Arc::clone(&activity),
        };
        (connection, Shared { stream, activity })
    }

    /// Notes that a request has begun.
    pub(super) fn begin_request(&self) {
        lock(&self.activity).phase = Phase::Busy;
    }

    /// Notes that the request has its answer.
    pub(super) fn end_request(&self) {
        lock(&self.activity).phase = Phase::Answered;
    }

    /// Ends when no request has begun for so long after the last answer was sent.
    ///
    /// This is one timer for each connection, where hyper takes one for each request. The time begins
    /// when an answer has been sent, so that a slow client gets a long one to its end.
    pub(super) async fn idle_for(&self, timeout: Duration) {
        loop {
            let end = poll_fn(|context| self.poll_idle(context)).await + timeout;
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Is ready when there is no request, with the moment since which there is none.
    fn poll_idle(&self, context: &mut Context<'_>) -> Poll<Instant> {
        let mut activity = lock(&self.activity);
        if let Phase::Idle(since) = activity.phase {
            return Poll::Ready(since);
        }
        activity.timer = Some(context.waker().clone());
        Poll::Pending
    }

    /// Gives the connection's place to others while its request waits; whether there is a permit to
    /// wait.
    pub(super) fn begin_to_wait(&self, waiting: &Arc<Semaphore>) -> bool {
        let mut held = lock(&self.permit);
        if matches!(*held, Permit::Place(_)) {
            let Ok(permit) = Arc::clone(waiting).try_acquire_owned() else {
                return false;
            };
            *held = Permit::Waiting(permit);
        }
        true
    }

    /// Takes a place again if there is one. If not, the connection keeps the permit to wait, so
    /// that there are never more connections than permits.
    pub(super) fn end_to_wait(&self, places: &Arc<Semaphore>) {
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            *lock(&self.permit) = Permit::Place(place);
        }
    }
}

/// The stream of a connection, shared with the request on it that waits.
///
/// While an answer is being made, hyper does not look whether the client has left, since a client
/// may end its side once it has sent everything.
pub(super) struct Shared<S> {
    stream: Arc<Mutex<S>>,
    activity: Arc<Mutex<Activity>>,
}

/// Is ready when the client sends no more. Not polled while hyper reads.
type Ended = Box<dyn Fn(&mut Context<'_>) -> Poll<()> + Send + Sync>;

/// A stream of which one can find out whether its other side has ended it, without reading.
pub(super) trait Observed: AsyncRead + AsyncWrite + Unpin {
    /// Is ready when it has. Pending for ever once there are bytes to be read.
    fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()>;
}

impl Observed for TcpStream {
    fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        match self.poll_peek(context, &mut ReadBuf::new(&mut byte)) {
            Poll::Ready(Ok(1..)) | Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(()),
        }
    }
}

#[cfg(unix)]
impl Observed for UnixStream {
    fn poll_ended(&self, context: &mut Context<'_>) -> Poll<()> {
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

/// The longest answer that is sent in one piece, in bytes. Up to there it costs less to copy the
/// content behind the head than to have the kernel collect two pieces.
const SHORT: usize = 1024;

/// Copies pieces one after the other, if they fit. Gives back how long they are together.
fn copy_short(slices: &[IoSlice<'_>], piece: &mut [u8; SHORT]) -> Option<usize> {
    let mut length = 0;
    for slice in slices {
        let end = length + slice.len();
        piece.get_mut(length..end)?.copy_from_slice(slice);
        length = end;
    }
    Some(length)
}

impl<S: AsyncRead + Unpin> AsyncRead for Shared<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shared<S> {
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
        let mut piece = [0; SHORT];
        if let Some(length) = copy_short(slices, &mut piece) {
            let piece = piece.get(..length).unwrap_or_default();
            return Pin::new(&mut *lock(&self.stream)).poll_write(context, piece);
        }
        Pin::new(&mut *lock(&self.stream)).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.stream).is_write_vectored()
    }

    /// hyper flushes when it has written everything.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut activity = lock(&self.activity);
        if let Phase::Answered = activity.phase {
            activity.phase = Phase::Idle(Instant::now());
            if let Some(timer) = activity.timer.take() {
                timer.wake();
            }
        }
        Pin::new(&mut *lock(&self.stream)).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.stream)).poll_shutdown(context)
    }
}
