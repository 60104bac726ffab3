use std::io::{self, Read, Write};

/// The most content that is read and thrown away after its answer, in bytes.
///
/// What `tiny_http` does when such content breaks off is set aside memory of its length: as much of
/// it as is touched is little, but a machine must have it.
pub(super) const DISCARDABLE: u64 = 256 * 1024 * 1024;

/// An answer of which a part has been written, and what is to be done with the connection then.
pub(super) struct Answer {
    stream: Stream,
    message: Vec<u8>,
    /// How many bytes of it have been written.
    pub(super) written: usize,
    pub(super) after: After,
}

/// Where an answer is written to.
pub(super) enum Stream {
    /// The writing side of a connection, for one answer.
    Writer(Box<dyn Write + Send>),
    /// Both sides of a connection, content still to be read.
    Both(Box<dyn tiny_http::ReadWrite + Send>),
}

/// What is done when an answer has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing: the connection goes on.
    Nothing,
    /// The rest of the content is read and thrown away.
    Drain,
    /// The same, and nothing that follows is performed.
    DrainAndClose,
    /// Nothing that follows is performed.
    Close,
    /// The content is left unread, and the connection as it is, for good.
    Leak,
}

impl Answer {
    pub(super) fn new(stream: Stream, message: Vec<u8>, after: After) -> Self {
        Self {
            stream,
            message,
            written: 0,
            after,
        }
    }

    /// Whether nothing that follows on the connection is to be performed.
    pub(super) fn closes(&self) -> bool {
        matches!(self.after, After::DrainAndClose | After::Close)
    }

    /// Whether no more than so many bytes are to be written, and nothing is to be read then.
    pub(super) fn is_short(&self, most: usize) -> bool {
        self.message.len() <= most && matches!(self.stream, Stream::Writer(_))
    }

    /// Writes on, for no longer than the socket's write timeout. Returns whether the client must read
    /// before more can be written; if not, all has been written, or the client is gone.
    pub(super) fn is_blocked(&mut self) -> bool {
        self.write_on().is_err_and(|error| is_timeout(&error))
    }

    fn write_on(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.message.get(self.written..) {
            match self.stream.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What a flush did not get rid of stays in the buffer for the next one.
        self.stream.flush()
    }

    /// Reads what is left of the content, where that is to be done, until its client is silent for
    /// the timeout. Returns whether the next request can be told from it.
    pub(super) fn drain(&mut self) -> bool {
        match (self.after, &mut self.stream) {
            (After::Drain | After::DrainAndClose, Stream::Both(content)) => drain(content),
            _ => true,
        }
    }

    /// Leaves the connection as it is, so that nothing can be written behind this answer.
    pub(super) fn leak(self) {
        std::mem::forget(self.stream);
    }
}

/// Reads until the content ends. Returns whether the next request can be told from it.
fn drain(content: &mut impl Read) -> bool {
    let mut buffer = [0; 16 * 1024];
    let mut left = DISCARDABLE;
    while left > 0 {
        match content.read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => left = left.saturating_sub(read as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // If the connection is broken, nothing follows.
            Err(error) => {
                return !is_timeout(&error) && error.kind() != io::ErrorKind::InvalidInput;
            }
        }
    }
    false
}

/// Whether a read or a write ended because of the socket's timeout.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Writer(writer) => writer.write(bytes),
            Self::Both(both) => both.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Writer(writer) => writer.flush(),
            Self::Both(both) => both.flush(),
        }
    }
}
