//! The threads with an event loop.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

/// The threads that serve connections, each with a runtime. The first is the one that accepts.
///
/// Each new connection goes to the next thread and stays there, so that all threads have equally
/// many. A listening socket for each thread (`SO_REUSEPORT`) would distribute connections by a hash,
/// and one socket in all runtimes would give most of them to the thread that wakes first.
pub(super) struct Workers {
    /// All but the first.
    others: Vec<Handle>,
    next: AtomicUsize,
}

/// The threads of the workers, to be joined.
pub(super) struct Threads {
    end: watch::Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts all workers but the first, which is this thread.
    ///
    /// # Errors
    ///
    /// When a thread or a runtime cannot be started.
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

    /// The worker for a new connection; `None` for the thread that accepts.
    pub(super) fn next(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % (self.others.len() + 1);
        self.others.get(turn.checked_sub(1)?)
    }
}

impl Threads {
    /// Ends the threads with the connections that are still open, and waits for them.
    pub(super) fn join(self) {
        drop(self.end);
        for thread in self.threads {
            // An error here is a panic of the thread, which the panic hook has printed.
            let _ = thread.join();
        }
    }
}

/// The builder of a runtime on one thread.
pub(super) fn runtime() -> Builder {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time();
    builder
}

fn serve_until(runtime: Runtime, mut ended: watch::Receiver<()>) {
    // No value is ever sent: this returns when the sender is dropped.
    let _ = runtime.block_on(ended.changed());
    runtime.shutdown_timeout(Duration::ZERO);
}
