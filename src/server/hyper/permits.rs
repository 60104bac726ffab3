use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::method::Method;
use crate::problem::Problem;
use crate::server::desk::Desk;
use crate::store::StoreError;

/// The most requests that read from a store that waits, and as many that write to it, at once:
/// where writes wait for each other, reads go on.
const MAX_CALLS: usize = 16;

/// The most threads that call the store.
pub(super) const MAX_THREADS: usize = 2 * MAX_CALLS;

/// The most long lists that are made at once of a store that does not wait. Each takes a core and up
/// to a megabyte, so that more would gain nothing.
const MAX_LISTS: usize = 2;

/// How long a request waits for its permit to ask a store that waits. A store that hangs, but gives
/// up each call in time, is not asked again and again for those that came long before.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The permits to call the store on a thread of its own.
pub(super) struct Permits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

impl Permits {
    pub(super) fn new() -> Self {
        let of = |most| Arc::new(Semaphore::new(most));
        Self {
            reads: of(MAX_CALLS),
            writes: of(MAX_CALLS),
            lists: of(MAX_LISTS),
        }
    }

    /// Waits for the permit of a request of this method.
    ///
    /// # Errors
    ///
    /// When there is none in time.
    pub(super) async fn acquire(
        &self,
        desk: &Desk,
        method: Method,
    ) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if !desk.waits(method) {
            return Ok(Arc::clone(&self.lists).acquire_owned().await.ok());
        }
        let permits = match method {
            Method::Get | Method::Head | Method::Options => &self.reads,
            _ => &self.writes,
        };
        let permit = timeout(PATIENCE, Arc::clone(permits).acquire_owned()).await;
        permit.map(Result::ok).map_err(|_| {
            let reason = format!("{MAX_CALLS} requests wait for the store, which has not answered");
            StoreError::new(reason).into()
        })
    }
}
