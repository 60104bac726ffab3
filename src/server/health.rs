use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::policy::Policy;
use crate::resource::check;
use crate::server::lock;
use crate::server::waiters::block_until;
use crate::store::{Store, StoreError};

/// How long a health check waits for the store.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// Whether the store answers.
pub(super) type Health = Result<(), StoreError>;

/// Checks whether a store answers that may let its callers wait.
///
/// The store is asked on a thread of its own, and by one at a time: all checks that begin before it
/// answers share what it says. So a store that hangs holds one thread, whatever asks for the health.
pub(super) struct Checker {
    store: Arc<dyn Store>,
    policy: Policy,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    is_asking: bool,
    /// How often the store has answered, and what it said last.
    answers: u64,
    latest: Option<Health>,
    /// The number of the check that began last.
    checks: u64,
    wakers: HashMap<u64, Waker>,
}

impl Checker {
    pub(super) fn new(store: Arc<dyn Store>, policy: Policy) -> Arc<Self> {
        Arc::new(Self {
            store,
            policy,
            state: Mutex::default(),
        })
    }

    /// Begins a check; asks the store unless that is under way.
    ///
    /// # Errors
    ///
    /// When the machine has no thread left.
    pub(super) fn begin(self: &Arc<Self>) -> Result<Check, StoreError> {
        let mut state = lock(&self.state);
        if !state.is_asking {
            let checker = Arc::clone(self);
            let thread = thread::Builder::new().name("ifmatch-health".into());
            thread
                .spawn(move || checker.ask())
                .map_err(|error| StoreError::new(format!("no health check: {error}")))?;
            state.is_asking = true;
        }
        state.checks += 1;
        Ok(Check {
            checker: Arc::clone(self),
            number: state.checks,
            answers: state.answers,
        })
    }

    fn ask(&self) {
        let asked = catch_unwind(AssertUnwindSafe(|| check(&*self.store, &self.policy)));
        let health = asked.unwrap_or_else(|_| Err(StoreError::new("the store panicked")));
        let mut state = lock(&self.state);
        state.is_asking = false;
        state.answers += 1;
        state.latest = Some(health);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_values().for_each(Waker::wake);
    }
}

/// A check under way.
pub(super) struct Check {
    checker: Arc<Checker>,
    number: u64,
    /// How often the store had answered when it began.
    answers: u64,
}

impl Check {
    /// Waits on this thread until the store answers, for [`PATIENCE`] at most.
    pub(super) fn block(&self) -> Health {
        let end = Instant::now() + PATIENCE;
        block_until(end, |context| self.poll(context)).unwrap_or_else(Self::late)
    }

    /// What is said of a store that has not answered for [`PATIENCE`].
    pub(super) fn late() -> Health {
        Err(StoreError::new("the store has not answered for a second"))
    }

    /// Is ready when the store has answered.
    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<Health> {
        let mut state = lock(&self.checker.state);
        match &state.latest {
            Some(health) if state.answers > self.answers => Poll::Ready(health.clone()),
            _ => {
                state.wakers.insert(self.number, context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        lock(&self.checker.state).wakers.remove(&self.number);
    }
}
