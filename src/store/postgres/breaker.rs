//! A circuit breaker: limits the calls while the database does not answer.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::store::lock;

/// The reason why a call fails that gets no answer, or is not admitted.
pub(super) const NO_ANSWER: &str = "it does not answer";

/// How long a call waits for the result of the probe. A probe that can connect has connected by then.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// A circuit breaker. It opens when a call of the database gets no answer, and no other call has got an
/// answer meanwhile. It closes at the next answer. While it is open, it admits one call at a time.
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
    /// How often the database has answered.
    pub(super) fn answers(&self) -> u64 {
        lock(&self.state).answers
    }

    /// Admits a call. Returns `None` while the breaker is closed, and the probe while it is open.
    ///
    /// # Errors
    ///
    /// When the breaker is open, and another call is the probe.
    pub(super) fn admit(&self) -> Result<Option<Probe<'_>>, &'static str> {
        let is_probed = |state: &mut State| state.is_open && state.has_probe;
        let waited = self
            .changed
            .wait_timeout_while(lock(&self.state), PROBE_WAIT, is_probed);
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

    /// Counts an answer of the database, and closes the breaker.
    pub(super) fn record_answer(&self) {
        let mut state = lock(&self.state);
        state.answers += 1;
        if state.is_open {
            state.is_open = false;
            self.changed.notify_all();
        }
    }

    /// Opens the breaker after a call without an answer, if the count of answers is still that from
    /// before the call.
    pub(super) fn record_no_answer(&self, answers_before: u64) {
        let mut state = lock(&self.state);
        state.is_open |= state.answers == answers_before;
    }
}

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).has_probe = false;
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
        breaker.record_answer();
        breaker.record_no_answer(before);
        assert_eq!(is_probe(), Ok(false), "another call was answered");
        breaker.record_no_answer(breaker.answers());
        let probe = breaker.admit();
        assert!(matches!(probe, Ok(Some(_))));
        assert_eq!(is_probe(), Err(NO_ANSWER));
        drop(probe);
        assert_eq!(is_probe(), Ok(true), "the probe got no answer either");
        breaker.record_answer();
        assert_eq!(is_probe(), Ok(false));
    }
}
