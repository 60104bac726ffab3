use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::method::Method;
use crate::problem::Problem;
use crate::server::service::Service;
use crate::store::StoreError;

/// The most reads that may be blocked in the store at once, and the most writes: reads continue while
/// all writes wait for each other.
const MAX_CALLS: usize = 16;

/// The most threads that call the store.
pub(super) const MAX_THREADS: usize = 2 * MAX_CALLS;

/// The most long lists that are made at once of a store whose calls do not block. Each takes a core
/// and up to a megabyte: more at once would only need more memory.
const MAX_LISTS: usize = 2;

/// How long a request waits for its permit if calls of the store may block. If each call of a store
/// that hangs times out, the requests in the queue get 503 and do not call it one after the other.
const PERMIT_TIMEOUT: Duration = Duration::from_millis(1500);

/// The permits to call the store on a thread for such calls.
pub(super) struct CallPermits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    lists: Arc<Semaphore>,
}

impl CallPermits {
    pub(super) fn new() -> Self {
        let of = |max| Arc::new(Semaphore::new(max));
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
    /// When there is none after [`PERMIT_TIMEOUT`].
    pub(super) async fn acquire(
        &self,
        service: &Service,
        method: Method,
    ) -> Result<Option<OwnedSemaphorePermit>, Problem> {
        if !service.store_waits(method) {
            return Ok(Arc::clone(&self.lists).acquire_owned().await.ok());
        }
        let permits = match method {
            Method::Get | Method::Head | Method::Options => &self.reads,
            _ => &self.writes,
        };
        let permit = timeout(PERMIT_TIMEOUT, Arc::clone(permits).acquire_owned()).await;
        permit.map(Result::ok).map_err(|_| {
            let reason = format!("{MAX_CALLS} requests wait for the store, which has not answered");
            StoreError::new(reason).into()
        })
    }
}
