use std::io::{self, Write};

/// An answer on its way to its client, of which so much has been written.
pub(super) struct Delivery {
    writer: Box<dyn Write + Send>,
    message: Vec<u8>,
    written: usize,
}

/// How far a delivery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing is left to do: it has been written, or its client is gone.
    Done,
    /// The client must read before more can be written.
    Blocked,
}

impl Delivery {
    pub(super) fn new(writer: Box<dyn Write + Send>, message: Vec<u8>) -> Self {
        Self {
            writer,
            message,
            written: 0,
        }
    }

    /// The length of the whole answer in bytes.
    pub(super) fn len(&self) -> usize {
        self.message.len()
    }

    /// Writes on, for no longer than the socket's send timeout.
    pub(super) fn advance(&mut self) -> Progress {
        match self.write_on() {
            Err(error) if is_full(&error) => Progress::Blocked,
            Ok(()) | Err(_) => Progress::Done,
        }
    }

    fn write_on(&mut self) -> io::Result<()> {
        while let Some(rest @ [_, ..]) = self.message.get(self.written..) {
            match self.writer.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What a flush did not get rid of stays in the buffer for the next one.
        self.writer.flush()
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}
