//! The door of hyper. Its threads:
//!
//! - the first accepts connections, and serves its share of them on its event loop;
//! - `Workers`: an event loop each, for the other connections;
//! - `StoreThreads`: calls of the store that may block, and responses that take long.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use crate::server::address::{Address, ListeningSocket};
use crate::server::options::Limits;
use crate::server::service::Service;
use crate::server::stopper::Stopper;

mod connection;
mod content;
mod head;
mod listener;
mod responder;
mod store_threads;
mod workers;

use listener::{Accepted, AsyncListener};
use responder::Responder;
use store_threads::StoreThreads;
use workers::Workers;

/// The pause after `accept` has failed, as it does when no descriptor is left. Without it the loop
/// would use a whole processor.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Serves on this thread until the server is stopped.
///
/// # Errors
///
/// When a thread or a runtime cannot be started.
pub(super) fn serve(
    service: Arc<Service>,
    mut limits: Limits,
    timeout: Duration,
    stopper: &Stopper,
    listener: ListeningSocket,
    address: &Address,
) -> io::Result<()> {
    let max_permits = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
    limits.connections = limits.connections.clamp(1, max_permits);
    limits.waiting = limits.waiting.min(max_permits);
    let (stop_sender, stop) = watch::channel(false);
    // The stopper may outlive the server.
    let weak = Arc::downgrade(&service);
    stopper.on_stop(move || {
        stop_sender.send_replace(true);
        if let Some(service) = weak.upgrade() {
            service.waiters().close();
        }
    });
    let runtime = workers::runtime().build()?;
    let store_threads = StoreThreads::new()?;
    let (workers, threads) = Workers::start(limits.threads)?;
    let acceptor = Acceptor {
        responder: Responder::new(
            service,
            timeout,
            limits,
            store_threads.queues(),
            stop.clone(),
        ),
        workers,
        timeout,
    };
    runtime.block_on(acceptor.run(listener, stop))?;
    #[cfg(unix)]
    if let Address::Unix(path) = address {
        // It may have been removed already.
        let _ = std::fs::remove_file(path);
    }
    // Connections and calls of the store that have not ended by now are abandoned.
    runtime.shutdown_background();
    threads.join();
    store_threads.abandon();
    Ok(())
}

/// Accepts connections and gives each to a worker.
struct Acceptor {
    responder: Responder,
    workers: Workers,
    timeout: Duration,
}

impl Acceptor {
    /// Accepts connections while there are permits, until the server is stopped. Then waits for open
    /// connections to end, for the timeout at most.
    async fn run(
        self,
        listener: ListeningSocket,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()> {
        let listener = AsyncListener::try_from(listener)?;
        let accepting = async {
            while let Some(permit) = self.responder.connection_permit().await {
                match listener.accept(self.timeout).await {
                    Ok(accepted) => self.dispatch(accepted, permit),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => sleep(ACCEPT_RETRY_PAUSE).await,
                }
            }
        };
        tokio::select! {
            () = accepting => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        drop(listener);
        let _ = timeout(self.timeout, self.responder.wait_until_all_ended()).await;
        Ok(())
    }

    /// Starts to serve a connection on the next worker.
    fn dispatch(&self, accepted: Accepted, permit: OwnedSemaphorePermit) {
        let responder = self.responder.clone();
        let Some(worker) = self.workers.next() else {
            tokio::spawn(responder.serve(accepted, permit));
            return;
        };
        // A connection that cannot be moved to the runtime of the worker is closed.
        if let Ok(detached) = accepted.detach() {
            worker.spawn(async move {
                if let Ok(accepted) = detached.attach() {
                    responder.serve(accepted, permit).await;
                }
            });
        }
    }
}
