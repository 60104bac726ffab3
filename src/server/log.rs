use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use time::UtcDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::message::Response;

/// How many lines may wait to be written before further ones are left out.
const BACKLOG: usize = 4096;

/// A log: of answers, a line for each in the Common Log Format, with the microseconds from the head
/// of the request to its answer at the end; or of what else is to be told.
///
/// A thread of its own writes it, so that no answer waits for whoever reads the log. Lines that it
/// cannot keep up with are counted, and the count is written when it can.
pub(super) struct Log {
    entries: SyncSender<Entry>,
    left_out: Arc<AtomicU64>,
}

/// What the log's thread is sent.
enum Entry {
    Line(String),
    /// To say so when it comes to this.
    Mark(SyncSender<()>),
}

/// How long a server that ends waits for what is still to be written.
const FAREWELL: Duration = Duration::from_secs(1);

const CLOCK: &[BorrowedFormatItem<'static>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

impl Log {
    /// Begins a log that is written to `sink`.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub(super) fn to(sink: Box<dyn Write + Send>) -> io::Result<Self> {
        let (entries, written) = sync_channel(BACKLOG);
        let left_out = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&left_out);
        let thread = thread::Builder::new().name("ifmatch-log".into());
        thread.spawn(move || write(sink, &written, &counter))?;
        Ok(Self { entries, left_out })
    }

    /// Waits until all that was noted is written, if somebody reads it.
    pub(super) fn finish(&self) {
        let (mark, reached) = sync_channel(1);
        if self.entries.try_send(Entry::Mark(mark)).is_ok() {
            let _ = reached.recv_timeout(FAREWELL);
        }
    }

    /// Writes a line that tells of something else than an answer.
    pub(super) fn tell(&self, what: &str) {
        self.add(format!("{what}\n"));
    }

    /// Notes the answer to the request line `request`, which came at `since`.
    pub(super) fn note(
        &self,
        peer: Option<IpAddr>,
        request: &str,
        response: &Response,
        since: Instant,
    ) {
        let peer = peer.map_or("-".into(), |peer| peer.to_string());
        let at = UtcDateTime::from(SystemTime::now())
            .format(CLOCK)
            .unwrap_or_default();
        let length = match response.content().len() {
            0 => "-".into(),
            length => length.to_string(),
        };
        let (request, status) = (escaped(request), response.status());
        let duration = since.elapsed().as_micros();
        let line = format!("{peer} - - [{at}] \"{request}\" {status} {length} {duration}\n");
        self.add(line);
    }

    fn add(&self, line: String) {
        if self.entries.try_send(Entry::Line(line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(mut sink: Box<dyn Write + Send>, entries: &Receiver<Entry>, left_out: &AtomicU64) {
    for entry in entries {
        let line = match entry {
            Entry::Line(line) => line,
            Entry::Mark(mark) => {
                let _ = mark.try_send(());
                continue;
            }
        };
        // Where nobody reads the log any more, nobody misses it.
        let _ = sink.write_all(line.as_bytes());
        let missing = left_out.swap(0, Ordering::Relaxed);
        if missing > 0 {
            let _ = writeln!(sink, "({missing} lines left out)");
        }
    }
}

/// The request line with what could be taken for the end of the quotes, or do something to a
/// terminal, escaped.
fn escaped(request: &str) -> String {
    let mut escaped = String::with_capacity(request.len());
    for c in request.chars() {
        match c {
            '"' | '\\' => escaped.extend(['\\', c]),
            c if c.is_control() || !c.is_ascii() => escaped.extend(c.escape_default()),
            c => escaped.push(c),
        }
    }
    escaped
}
