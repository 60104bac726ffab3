use std::io::{self, IoSlice};
#[cfg(unix)]
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

#[cfg(unix)]
use socket2::SockRef;
#[cfg(unix)]
use tokio::io::Interest;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::server::lock;

/// What is known about a connection.
pub(super) struct Connection {
    /// The machine it comes from, where that is known.
    pub(super) peer: Option<IpAddr>,
    pub(super) ended: Ended,
    permit: Mutex<Permit>,
}

/// Why a connection may be open.
enum Permit {
    Place(#[expect(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit),
    Waiting(#[expect(dead_code, reason = "it is given back when dropped")] OwnedSemaphorePermit),
}

impl Connection {
    pub(super) fn new(peer: Option<IpAddr>, place: OwnedSemaphorePermit, ended: Ended) -> Self {
        Self {
            peer,
            ended,
            permit: Mutex::new(Permit::Place(place)),
        }
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
pub(super) struct Shared<S>(Arc<Mutex<S>>);

/// Is ready when the client sends no more. Not polled while hyper reads.
pub(super) type Ended = Box<dyn Fn(&mut Context<'_>) -> Poll<()> + Send + Sync>;

impl<S: Observed + Send + 'static> Shared<S> {
    pub(super) fn new(stream: S) -> (Self, Ended) {
        let stream = Arc::new(Mutex::new(stream));
        let observed = Arc::clone(&stream);
        let ended = move |context: &mut Context<'_>| lock(&observed).poll_ended(context);
        (Self(stream), Box::new(ended))
    }
}

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

impl<S: AsyncRead + Unpin> AsyncRead for Shared<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shared<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *lock(&self.0)).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        lock(&self.0).is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *lock(&self.0)).poll_shutdown(context)
    }
}
