//! The access log and the log of failures.

use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::message::Response;

/// How many lines wait to be written at most; further ones are dropped.
const QUEUE_CAPACITY: usize = 4096;

/// How long a server that ends waits for its last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause before a flush tries again to enter a full queue.
const FLUSH_RETRY_PAUSE: Duration = Duration::from_millis(1);

const TIME_FORMAT: &[BorrowedFormatItem<'static>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// A log: either of responses, in the Common Log Format with the microseconds from the head of the
/// request to the response at the end of each line; or of failures.
///
/// A thread of its own writes it, so that a slow sink delays no response. Lines that do not fit into
/// the queue are dropped; the log then says how many.
pub(super) struct Log {
    entries: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

/// What the thread of the log receives.
enum Entry {
    Line(String),
    /// The thread replies when all lines before this one are written.
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts a log that is written to `sink`.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(super) fn start(sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let (entries, received) = sync_channel(QUEUE_CAPACITY);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&dropped);
        let thread = thread::Builder::new().name("ifmatch-log".into());
        thread.spawn(move || write_entries(sink, &received, &counter))?;
        Ok(Self { entries, dropped })
    }

    /// Waits until all lines so far are written, for [`FLUSH_TIMEOUT`] at most.
    pub(super) fn flush(&self) {
        let (reply, replied) = sync_channel(1);
        let (mut entry, end) = (Entry::Flush(reply), Instant::now() + FLUSH_TIMEOUT);
        // The queue may be full.
        while let Err(TrySendError::Full(refused)) = self.entries.try_send(entry) {
            if Instant::now() >= end {
                return;
            }
            entry = refused;
            thread::sleep(FLUSH_RETRY_PAUSE);
        }
        let _ = replied.recv_timeout(end.saturating_duration_since(Instant::now()));
    }

    /// Writes a line.
    pub(super) fn line(&self, text: &str) {
        self.send(format!("{text}\n"));
    }

    /// Writes the line of a response, to a request with this request line, received at
    /// `received_at`.
    pub(super) fn response(
        &self,
        peer: Option<IpAddr>,
        request_line: &str,
        response: &Response,
        received_at: Instant,
    ) {
        let peer = peer.map_or("-".into(), |peer| peer.to_string());
        let now = UtcDateTime::from(SystemTime::now())
            .format(TIME_FORMAT)
            .unwrap_or_default();
        let length = match response.content().len() {
            0 => "-".into(),
            length => length.to_string(),
        };
        let (request_line, status) = (escaped(request_line), response.status());
        let duration = received_at.elapsed().as_micros();
        let line = format!("{peer} - - [{now}] \"{request_line}\" {status} {length} {duration}\n");
        self.send(line);
    }

    fn send(&self, line: String) {
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_entries(mut sink: Box<dyn Write + Send>, entries: &Receiver<Entry>, dropped: &AtomicU64) {
    for entry in entries {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Flush(reply) => {
                let _ = reply.try_send(());
                continue;
            }
        };
        // A sink that fails, such as a closed stderr, must not stop the server.
        let _ = sink.write_all(line.as_bytes());
        let dropped = dropped.swap(0, Ordering::Relaxed);
        if dropped > 0 {
            let _ = writeln!(sink, "({dropped} lines left out)");
        }
    }
}

/// The text with quotes, backslashes and whatever is not printable ASCII escaped: it stands in
/// quotes, and control characters could change a terminal.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::channel;

    use super::*;

    /// A sink that blocks until its gate is dropped.
    struct Blocked {
        gate: Receiver<()>,
        is_written: Arc<AtomicBool>,
    }

    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.recv();
            if bytes == b"last\n" {
                self.is_written.store(true, Ordering::SeqCst);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_queue_is_flushed() -> io::Result<()> {
        let (open, gate) = channel::<()>();
        let is_written = Arc::new(AtomicBool::new(false));
        let log = Log::start(Box::new(Blocked {
            gate,
            is_written: Arc::clone(&is_written),
        }))?;
        // The thread of the log has taken the first line, and blocks.
        while log.dropped.load(Ordering::Relaxed) == 0 {
            log.line("last");
        }
        thread::scope(|scope| {
            let flushed = scope.spawn(|| {
                log.flush();
                is_written.load(Ordering::SeqCst)
            });
            // A flush that does not wait has ended by now.
            thread::sleep(Duration::from_millis(20));
            drop(open);
            assert!(flushed.join().unwrap_or_default());
        });
        Ok(())
    }
}
