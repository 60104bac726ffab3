use std::io::{self, Read, Write};
use std::thread;
use std::time::Duration;

use crate::framing::DRAINABLE;

/// The least that `tiny_http` does not keep in its buffer, in bytes.
const UNBUFFERED: usize = 1024;

/// The longest pause between two looks whether a client has gone.
const PATROL: Duration = Duration::from_secs(4);

/// An answer on its way to its client, of which so much has been written, and what is to be done
/// with the connection then.
pub(super) struct Delivery {
    line: Line,
    message: Vec<u8>,
    written: usize,
    then: Then,
}

/// What is written to.
pub(super) enum Line {
    /// The writing end, for one answer.
    Writer(Box<dyn Write + Send>),
    /// Both ends of the connection, content still to be read.
    Ends(Box<dyn tiny_http::ReadWrite + Send>),
}

/// What is done when an answer has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: the connection goes on.
    Done,
    /// The rest of the content is read and thrown away.
    Drain,
    /// The connection is left as it is, with a thread and two descriptors, for good.
    Forget,
    /// It is kept from being used until the client has closed it, as it was told to.
    Outlast,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left to write: it has been written, or its client is gone.
    Written,
    /// The client must read before more can be written.
    Blocked,
}

impl Delivery {
    pub(super) fn new(line: Line, message: Vec<u8>, then: Then) -> Self {
        Self {
            line,
            message,
            written: 0,
            then,
        }
    }

    /// Whether nothing that follows on the connection is to be trusted.
    pub(super) fn ends_trust(&self) -> bool {
        self.then == Then::Outlast
    }

    /// Whether no more than this many bytes are to be written, and nothing done then.
    pub(super) fn is_short(&self, most: usize) -> bool {
        self.message.len() <= most && self.then == Then::Done
    }

    /// Writes on, for no longer than the socket's send timeout.
    pub(super) fn advance(&mut self) -> Progress {
        match self.write_on() {
            Err(error) if is_full(&error) => Progress::Blocked,
            Ok(()) | Err(_) => Progress::Written,
        }
    }

    fn write_on(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.message.get(self.written..) {
            match self.line.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What a flush did not get rid of stays in the buffer for the next one.
        self.line.flush()
    }

    /// Does what is to be done when all is written, however long the client takes.
    pub(super) fn conclude(self, stopping: impl Fn() -> bool) {
        match (self.then, self.line) {
            (Then::Drain, Line::Ends(mut ends)) => drain(&mut ends),
            (Then::Forget, line) => std::mem::forget(line),
            (Then::Outlast, mut line) => {
                if let Line::Ends(ends) = &mut line {
                    drain(&mut ends.take(DRAINABLE));
                }
                outlast(&mut line, stopping);
            }
            _ => {}
        }
    }

    /// Leaves an answer that was written in part, so that nothing can be written behind it.
    pub(super) fn leak(self) {
        std::mem::forget(self.line);
    }
}

/// Reads until the content ends, or its connection does.
fn drain(content: &mut impl Read) {
    let mut buffer = [0; 16 * 1024];
    while content.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Waits until the client has closed the connection.
///
/// Writing is the one way to notice. A client that obeyed `close` is gone and sees nothing of it;
/// another may see empty lines.
fn outlast(line: &mut Line, stopping: impl Fn() -> bool) {
    let mut pause = Duration::from_secs(1);
    while !stopping() {
        thread::sleep(pause);
        pause = PATROL.min(pause * 2);
        let looked = line
            .write_all(&[b'\n'; UNBUFFERED])
            .and_then(|()| line.flush());
        if looked.is_err_and(|error| !is_full(&error)) {
            break;
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Writer(writer) => writer.write(bytes),
            Self::Ends(ends) => ends.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Writer(writer) => writer.flush(),
            Self::Ends(ends) => ends.flush(),
        }
    }
}
