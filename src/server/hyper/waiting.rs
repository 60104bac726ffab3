use std::future::poll_fn;

use ::hyper::body::Bytes;
use tokio::time::{Instant, sleep_until, timeout};

use crate::message::{Request, Response};
use crate::server::health::{CHECK_TIMEOUT, Check, Health};
use crate::server::hyper::Door;
use crate::server::hyper::connection::Connection;
use crate::server::hyper::head::Head;

impl Door {
    /// Checks whether the store answers. It is not asked on one of the threads of the other calls,
    /// which may all be waiting for it.
    pub(super) async fn check(&self) -> Health {
        let check = self.service.checker().begin()?;
        let answered = poll_fn(|context| check.poll(context));
        let in_time = timeout(CHECK_TIMEOUT, answered).await;
        in_time.unwrap_or_else(|_| Check::timed_out())
    }

    /// Holds a 304 back until there is a change, if its client prefers that and not too many wait.
    ///
    /// A client that has ended its side of the connection is answered at once: it is gone, or sends
    /// nothing more and can ask again on another connection.
    pub(super) async fn wait(
        &self,
        first: Response,
        head: &Head,
        request: &Request<'_>,
        connection: &Connection,
    ) -> Response {
        let Some(wait) = first.wait().cloned() else {
            return first;
        };
        if !connection.begin_to_wait(&self.waiting) {
            return first;
        }
        let Some(subscription) = self.service.waiters().subscribe(&wait, usize::MAX) else {
            connection.end_to_wait(&self.places);
            return first;
        };
        let end = Instant::now() + wait.limit;
        let mut is_over = false;
        loop {
            is_over |= self.service.waiters().is_closed();
            let response = self.respond(head, request, &Bytes::new()).await;
            match response.wait() {
                Some(unchanged) if !is_over => subscription.set_version(unchanged.version),
                _ => {
                    connection.end_to_wait(&self.places);
                    return response.waited(&wait);
                }
            }
            tokio::select! {
                () = poll_fn(|context| subscription.poll(context)) => {}
                () = sleep_until(end) => is_over = true,
                () = poll_fn(&connection.ended) => is_over = true,
            }
        }
    }
}
