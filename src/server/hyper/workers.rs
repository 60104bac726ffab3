use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// Threads with a runtime each, beside the one that accepts the connections.
///
/// Connections go to all of them in turn, and stay where they are. That is even, where sockets of
/// their own (`SO_REUSEPORT`) would be dealt connections by a hash, and one listener in several
/// runtimes would leave most to the thread that wakes first.
pub(super) struct Workers {
    others: Vec<Handle>,
    next: AtomicUsize,
}

/// The threads that are to be ended.
pub(super) struct Threads {
    end: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts all threads but this one.
    ///
    /// # Errors
    ///
    /// When the machine has no thread or descriptor left.
    pub(super) fn start(threads: u32) -> io::Result<(Self, Threads)> {
        let (end, ended) = watch::channel(());
        let (mut others, mut started) = (Vec::new(), Vec::new());
        for number in 2..=threads {
            let runtime = runtime().build()?;
            others.push(runtime.handle().clone());
            let ended = ended.clone();
            let name = format!("ifmatch-{number}");
            let thread = thread::Builder::new().name(name);
            started.push(thread.spawn(move || serve_until(runtime, ended))?);
        }
        let next = AtomicUsize::new(0);
        let threads = Threads {
            end,
            threads: started,
        };
        Ok((Self { others, next }, threads))
    }

    /// The thread whose turn it is; none if that is the one that accepts.
    pub(super) fn next(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(turn.checked_sub(1)?)
    }
}

impl Threads {
    /// Ends what is still served on them, and waits for them.
    pub(super) fn end(self) {
        drop(self.end);
        for thread in self.threads {
            // A panic in there has been printed.
            let _ = thread.join();
        }
    }
}

/// A runtime of one thread.
pub(super) fn runtime() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time();
    builder
}

fn serve_until(runtime: Runtime, mut ended: watch::Receiver<()>) {
    // There is never a value: it ends when the sender is gone.
    let _ = runtime.block_on(ended.changed());
    runtime.shutdown_timeout(Duration::ZERO);
}
