//! The threads for responses that block or take long, and their queues.

use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::problem::Problem;
use crate::resource::Work;
use crate::store::StoreError;

/// The most reads that may be blocked in the store at once, and the most writes: reads continue while
/// all writes wait for each other.
const MAX_CALLS: usize = 16;

/// The most long responses that are made at once from a store whose calls do not block. Each takes a
/// core and up to some megabytes: more at once would only need more memory.
const MAX_LONG: usize = 2;

/// How long a call that may block waits for its thread at most. If each call of a store that hangs
/// times out, the calls in the queue fail then, and do not time out one after the other.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(1500);

/// The threads that call the store where that may block or take long. They serve all workers.
///
/// Each kind of call has the threads of a runtime, which takes the calls from its queue. A limit by
/// permits instead would let a thread sleep and wake after each call.
pub(super) struct StoreThreads {
    reads: Runtime,
    writes: Runtime,
    long: Runtime,
}

impl StoreThreads {
    /// Starts no thread yet.
    ///
    /// # Errors
    ///
    /// When a runtime cannot be made.
    pub(super) fn new() -> io::Result<Self> {
        let of = |max| {
            let mut builder = Builder::new_current_thread();
            builder.max_blocking_threads(max);
            builder.thread_name("ifmatch-store").build()
        };
        Ok(Self {
            reads: of(MAX_CALLS)?,
            writes: of(MAX_CALLS)?,
            long: of(MAX_LONG)?,
        })
    }

    pub(super) fn queues(&self) -> StoreQueues {
        StoreQueues {
            reads: self.reads.handle().clone(),
            writes: self.writes.handle().clone(),
            long: self.long.handle().clone(),
        }
    }

    /// Abandons the calls that have not ended.
    pub(super) fn abandon(self) {
        for runtime in [self.reads, self.writes, self.long] {
            runtime.shutdown_background();
        }
    }
}

/// The queues in front of these threads.
#[derive(Clone)]
pub(super) struct StoreQueues {
    reads: Handle,
    writes: Handle,
    long: Handle,
}

impl StoreQueues {
    /// Runs `call` on one of the threads for this work.
    ///
    /// # Errors
    ///
    /// When its turn comes after [`QUEUE_TIMEOUT`]: it does not run then. Or when it panics, or the
    /// server ends meanwhile.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: Work,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, Problem> {
        // `Short` and `HealthCheck` are not sent here.
        let (queue, may_be_late) = match work {
            Work::Short | Work::Long => (&self.long, true),
            Work::HealthCheck | Work::Read => (&self.reads, false),
            Work::Write => (&self.writes, false),
        };
        let queued_at = Instant::now();
        let call = move || (may_be_late || queued_at.elapsed() < QUEUE_TIMEOUT).then(call);
        let result = queue.spawn_blocking(call).await;
        result.map_err(|_| Problem::Panicked)?.ok_or_else(|| {
            let reason = format!("{MAX_CALLS} calls before this one have not ended in time");
            StoreError::new(reason).into()
        })
    }
}
