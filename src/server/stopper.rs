use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Stops a server from wherever it is kept.
#[derive(Clone)]
pub struct Stopper {
    word: Arc<Word>,
}

/// The word to stop, once it has been said, and who has to be told.
#[derive(Default)]
struct Word {
    said: OnceLock<Instant>,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Stopper {
    pub(super) fn new() -> Self {
        Self {
            word: Arc::default(),
        }
    }

    /// Ends [`Server::serve`](super::Server::serve), now or as soon as it begins.
    pub fn stop(&self) {
        self.word.said.get_or_init(Instant::now);
        if let Some(wake) = self.word.wake.get() {
            wake();
        }
    }

    /// Has `wake` called when the server is to stop, or at once if it already is.
    pub(super) fn on_stop(&self, wake: impl Fn() + Send + Sync + 'static) {
        let _ = self.word.wake.set(Box::new(wake));
        if self.is_stopping() {
            self.stop();
        }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.word.said.get().is_some()
    }

    /// Whether the server was to stop as long ago as this.
    pub(super) fn has_waited(&self, grace_period: Duration) -> bool {
        let said = self.word.said.get();
        said.is_some_and(|said| said.elapsed() > grace_period)
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stopper").finish_non_exhaustive()
    }
}
