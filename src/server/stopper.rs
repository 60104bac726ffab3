//! Stopping a server from another thread.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Stops a server; clones stop the same one.
#[derive(Clone)]
pub struct Stopper {
    state: Arc<StopState>,
}

/// Since when the server is stopping, and the function to call then.
#[derive(Default)]
struct StopState {
    requested_at: OnceLock<Instant>,
    callback: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self {
            state: Arc::default(),
        }
    }

    /// Ends [`Server::serve`](super::Server::serve), now or as soon as it begins.
    pub fn stop(&self) {
        self.state.requested_at.get_or_init(Instant::now);
        if let Some(callback) = self.state.callback.get() {
            callback();
        }
    }

    /// Calls `callback` at each [`stop`](Self::stop), which may be more than once, or at once if the
    /// server is stopping already.
    pub(super) fn on_stop(&self, callback: impl Fn() + Send + Sync + 'static) {
        let _ = self.state.callback.set(Box::new(callback));
        if self.is_stopping() {
            self.stop();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.requested_at.get().is_some()
    }

    /// Whether the server has been stopping for longer than this.
    pub(super) fn has_been_stopping_for(&self, duration: Duration) -> bool {
        let requested_at = self.state.requested_at.get();
        requested_at.is_some_and(|it| it.elapsed() > duration)
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
