//! The health and the counters of the server.

use serde_json::json;

use crate::collection::Collection;
use crate::endpoint::Endpoint;
use crate::json::to_pretty_json;
use crate::message::Response;
use crate::problem::JSON;
use crate::resource::{Handler, Policy, Unperformed};
use crate::store::{Store, StoreError};
use crate::target::Target;
use crate::validators::Validators;

/// The media type of the text format of Prometheus.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The source of the responses to `/health` and `/metrics`.
pub(crate) trait Monitor {
    /// Whether the store answers.
    ///
    /// # Errors
    ///
    /// When the store does not answer.
    fn check_store(&self) -> Result<(), StoreError>;

    /// Whether the server counts its requests.
    fn has_metrics(&self) -> bool;

    /// The counters of the server in the text format of Prometheus; `None` if it counts nothing.
    fn metrics(&self) -> Option<String>;
}

/// A monitor that knows only the store.
pub(super) struct StoreMonitor<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) policy: &'a Policy,
}

impl Monitor for StoreMonitor<'_> {
    fn check_store(&self) -> Result<(), StoreError> {
        check_store(self.store, self.policy)
    }

    fn has_metrics(&self) -> bool {
        false
    }

    fn metrics(&self) -> Option<String> {
        None
    }
}

/// Makes one cheap call of the store.
///
/// # Errors
///
/// When the call fails.
pub(crate) fn check_store(store: &dyn Store, policy: &Policy) -> Result<(), StoreError> {
    let first = policy.collections.iter().next().map(Collection::name);
    first.map_or(Ok(()), |name| store.collection_version(name).map(drop))
}

impl Handler<'_> {
    /// Whether the request needs no token: it reads the health, as load balancers do, or the page,
    /// which has to be loaded before it can ask its user for the token.
    pub(super) fn needs_no_token(&self) -> bool {
        let target = Target::parse(self.request.target, &self.policy.collections);
        self.request.method.is_read()
            && target.is_ok_and(|it| match it {
                Target::Endpoint(Endpoint::Health) => true,
                it => self.is_browser_page(&it),
            })
    }

    /// Reads the health: 200 while the store answers.
    pub(super) fn read_health(&self) -> Result<Response, Unperformed> {
        self.monitor.check_store()?;
        let response = self.uncacheable()?;
        let content = to_pretty_json(&json!({"message": "The store answers"}));
        Ok(response.with_content(JSON, content).unlogged())
    }

    /// Reads the counters.
    pub(super) fn read_metrics(&self) -> Result<Response, Unperformed> {
        let content = self.monitor.metrics().unwrap_or_default();
        let response = self.uncacheable()?;
        Ok(response.with_content(PROMETHEUS, content.into_bytes()))
    }

    /// A response that caches may not store, without validators. `If-Match: *` and `If-None-Match: *`
    /// are evaluated as for any representation.
    fn uncacheable(&self) -> Result<Response, Unperformed> {
        let unstored = |status| Response::new(status).with_field("Cache-Control", "no-store");
        match self.evaluate(&self.preconditions()?, Some(&Validators::default())) {
            Ok(()) => Ok(unstored(200)),
            Err(Unperformed::Response(unchanged)) => {
                Err(Unperformed::Response(unstored(unchanged.status())))
            }
            Err(problem) => Err(problem),
        }
    }
}
