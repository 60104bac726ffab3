//! Checks whether the store answers, without a thread for each check.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::resource::{Policy, check_store};
use crate::server::waiters::block_until;
use crate::store::{Store, StoreError, lock};

/// How long a health check waits for the store.
pub(super) const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

/// Whether the store answers.
pub(super) type Health = Result<(), StoreError>;

/// Checks whether a store answers whose calls may block.
///
/// One thread calls the store, and one call is made at a time: all checks that begin during a call
/// share its result. So a store that hangs holds one thread, however many checks there are.
pub(super) struct HealthChecker {
    store: Arc<dyn Store>,
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_calling: bool,
    /// The number of calls that have returned, and the result of the last one.
    results: u64,
    last_result: Option<Health>,
    /// The number of the check that began last.
    last_check: u64,
    /// By the numbers of their checks.
    wakers: HashMap<u64, Waker>,
}

impl HealthChecker {
    pub(super) fn new(store: Arc<dyn Store>, policy: Policy) -> Arc<Self> {
        Arc::new(Self {
            store,
            policy,
            state: Mutex::default(),
        })
    }

    /// Begins a check, and calls the store unless a call is under way.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub(super) fn begin(self: &Arc<Self>) -> Result<HealthCheck, StoreError> {
        let mut state = lock(&self.state);
        if !state.is_calling {
            let checker = Arc::clone(self);
            let thread = thread::Builder::new().name("ifmatch-health".into());
            thread
                .spawn(move || checker.call())
                .map_err(|error| StoreError::new(format!("no health check: {error}")))?;
            state.is_calling = true;
        }
        state.last_check += 1;
        Ok(HealthCheck {
            checker: Arc::clone(self),
            number: state.last_check,
            results_before: state.results,
        })
    }

    fn call(&self) {
        let called = catch_unwind(AssertUnwindSafe(|| check_store(&*self.store, &self.policy)));
        let health = called.unwrap_or_else(|_| Err(StoreError::new("the store panicked")));
        let mut state = lock(&self.state);
        state.is_calling = false;
        state.results += 1;
        state.last_result = Some(health);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// A check under way.
pub(super) struct HealthCheck {
    checker: Arc<HealthChecker>,
    number: u64,
    results_before: u64,
}

impl HealthCheck {
    /// Waits on this thread for the result, for [`CHECK_TIMEOUT`] at most.
    pub(super) fn block(&self) -> Health {
        let end = Instant::now() + CHECK_TIMEOUT;
        block_until(end, |context| self.poll(context)).unwrap_or_else(Self::timed_out)
    }

    /// The result of a check that has not ended after [`CHECK_TIMEOUT`].
    pub(super) fn timed_out() -> Health {
        Err(StoreError::new("the store has not answered for a second"))
    }

    /// Is ready when a call has returned since the check began.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Health> {
        let mut state = lock(&self.checker.state);
        match &state.last_result {
            Some(health) if state.results > self.results_before => Poll::Ready(health.clone()),
            _ => {
                state.wakers.insert(self.number, context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for HealthCheck {
    fn drop(&mut self) {
        lock(&self.checker.state).wakers.remove(&self.number);
    }
}
