//! A response on its way to a socket that may be full.

use std::io::{self, Read, Write};

/// The most content that is read and discarded after its response, in bytes.
///
/// If the connection breaks in the middle of it, `tiny_http` allocates memory of the length that is
/// left. It touches little of that memory, but a larger allocation could fail and end the process.
pub(super) const MAX_DRAINED_BEFORE_END: u64 = 256 * 1024 * 1024;

/// A response that is being written, and what happens to the connection afterwards.
pub(super) struct ResponseWriter {
    stream: Stream,
    message: Vec<u8>,
    /// The number of bytes of the message that have been written.
    pub(super) written: usize,
    pub(super) after: After,
}

pub(super) enum Stream {
    /// The sending half of a connection, for one response.
    SendingHalf(Box<dyn Write + Send>),
    /// Both halves of a connection, with unread content.
    Both(Box<dyn tiny_http::ReadWrite + Send>),
}

/// What happens to the connection when the response has been written. `tiny_http` cannot be told to
/// close it, so that later requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// `tiny_http` continues or ends it as the request asks.
    Nothing,
    /// The rest of the content is read and discarded, then the connection continues.
    Drain,
    /// The rest of the content is read and discarded, and later requests are not performed.
    DrainAndRefuse,
    /// Later requests are not performed.
    Refuse,
    /// The stream is never dropped: the content stays unread and the connection stays open, for good.
    Forget,
}

impl ResponseWriter {
    pub(super) fn new(stream: Stream, message: Vec<u8>, after: After) -> Self {
        Self {
            stream,
            message,
            written: 0,
            after,
        }
    }

    /// Whether later requests on the connection are not performed.
    pub(super) fn refuses_later_requests(&self) -> bool {
        matches!(self.after, After::DrainAndRefuse | After::Refuse)
    }

    pub(super) fn is_longer_than(&self, max: usize) -> bool {
        self.message.len() > max
    }

    /// Writes as much as the socket takes within its write timeout.
    pub(super) fn write(&mut self) -> Progress {
        match self.write_rest() {
            Err(error) if is_timeout(&error) => Progress::Blocked,
            _ => Progress::Ended,
        }
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.message.get(self.written..) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // If this times out, the rest stays in the buffer for the next flush.
        self.stream.flush()
    }

    /// Reads and discards unread content, if that is to happen, until the client is silent for the
    /// timeout. Returns whether the end of the content has been found.
    pub(super) fn drain(&mut self) -> bool {
        match (self.after, &mut self.stream) {
            (After::Drain | After::DrainAndRefuse, Stream::Both(content)) => drain(content),
            _ => true,
        }
    }

    /// Never drops the stream, so that nothing can be written after this response.
    pub(super) fn forget(self) {
        std::mem::forget(self.stream);
    }
}

/// What has come of writing a response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The client has to read before more can be written.
    Blocked,
    /// All is written, or the connection is broken.
    Ended,
}

/// Reads until the content ends. Returns whether the end has been found.
fn drain(content: &mut impl Read) -> bool {
    let mut buffer = [0; 16 * 1024];
    let mut left = MAX_DRAINED_BEFORE_END;
    while left > 0 {
        match content.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => left = left.saturating_sub(read as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // No request follows on a broken connection.
            Err(error) => {
                return !is_timeout(&error) && error.kind() != io::ErrorKind::InvalidInput;
            }
        }
    }
    false
}

/// Whether a read or a write has reached the timeout of the socket.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::SendingHalf(half) => half.write(bytes),
            Self::Both(both) => both.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::SendingHalf(half) => half.flush(),
            Self::Both(both) => both.flush(),
        }
    }
}
