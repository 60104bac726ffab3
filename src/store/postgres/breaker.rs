//! A circuit breaker: limits the calls while the database does not answer.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The reason of a call that gets no answer, or is not admitted.
pub(super) const NO_ANSWER: &str = "it does not answer";

/// How long a call waits for the result of the probe: it has connected by then, if it can.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// A circuit breaker. It opens when a call of the database gets no answer, and no other call has got
/// one meanwhile; it closes at the next answer. While it is open, one call at a time is admitted.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_open: bool,
    has_probe: bool,
    /// How often the database has answered.
    answers: u64,
}

/// The one call that is admitted while the breaker is open.
pub(super) struct Probe<'a>(&'a Breaker);

impl Breaker {
    /// How often the database has answered by now.
    pub(super) fn answers(&self) -> u64 {
        self.lock().answers
    }

    /// Admits a call, which is the probe if the breaker is open.
    ///
    /// # Errors
    ///
    /// When it is open, and another call is the probe.
    pub(super) fn admit(&self) -> Result<Option<Probe<'_>>, &'static str> {
        let is_probed = |state: &mut State| state.is_open && state.has_probe;
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PROBE_WAIT, is_probed);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !state.is_open {
            return Ok(None);
        }
        if state.has_probe {
            return Err(NO_ANSWER);
        }
        state.has_probe = true;
        Ok(Some(Probe(self)))
    }

    /// Closes: the database has answered.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.answers += 1;
        if state.is_open {
            state.is_open = false;
            self.changed.notify_all();
        }
    }

    /// Opens if the database has not answered since the count of its answers was `answers`.
    pub(super) fn open_after(&self, answers: u64) {
        let mut state = self.lock();
        state.is_open |= state.answers == answers;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.lock().has_probe = false;
        self.0.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_at_a_time_finds_out_whether_the_database_answers() {
        let breaker = Breaker::default();
        let is_probe = || breaker.admit().map(|it| it.is_some());
        let before = breaker.answers();
        breaker.close();
        breaker.open_after(before);
        assert_eq!(is_probe(), Ok(false), "another call was answered");
        breaker.open_after(breaker.answers());
        let probe = breaker.admit();
        assert!(matches!(probe, Ok(Some(_))));
        assert_eq!(is_probe(), Err(NO_ANSWER));
        drop(probe);
        assert_eq!(is_probe(), Ok(true), "the probe got no answer either");
        breaker.close();
        assert_eq!(is_probe(), Ok(false));
    }
}
