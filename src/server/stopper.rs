//! Stopping a server from another thread.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Stops a server; clones stop the same one.
#[derive(Clone)]
pub struct Stopper {
    shutdown: Arc<Shutdown>,
}

/// Whether the server is stopping, and the function to call when it is.
#[derive(Default)]
struct Shutdown {
    requested_at: OnceLock<Instant>,
    callback: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self {
            shutdown: Arc::default(),
        }
    }

    /// Ends [`Server::serve`](super::Server::serve), now or as soon as it begins.
    pub fn stop(&self) {
        self.shutdown.requested_at.get_or_init(Instant::now);
        if let Some(callback) = self.shutdown.callback.get() {
            callback();
        }
    }

    /// Calls `callback` when the server is to stop, or at once if it is stopping already.
    pub(super) fn on_stop(&self, callback: impl Fn() + Send + Sync + 'static) {
        let _ = self.shutdown.callback.set(Box::new(callback));
        if self.is_stopping() {
            self.stop();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.shutdown.requested_at.get().is_some()
    }

    /// Whether the server has been stopping for longer than this.
    pub(super) fn is_stopping_since(&self, duration: Duration) -> bool {
        let requested_at = self.shutdown.requested_at.get();
        requested_at.is_some_and(|it| it.elapsed() > duration)
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
