//! The counters of the server, in the text format of Prometheus.

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::method::Method;

/// The methods that are counted by name; all others are counted as "other".
const METHODS: [(Method, &str); 7] = [
    (Method::Get, "GET"),
    (Method::Head, "HEAD"),
    (Method::Post, "POST"),
    (Method::Put, "PUT"),
    (Method::Patch, "PATCH"),
    (Method::Delete, "DELETE"),
    (Method::Options, "OPTIONS"),
];

/// The statuses that are counted: those from 200 to 599.
const STATUSES: usize = 400;

/// The upper bounds of the histogram's buckets, in microseconds.
const BOUNDS: [u64; 16] = [
    100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Counters for Prometheus.
///
/// Failed preconditions (412) and unmodified representations (304) have no counters of their own: Prometheus
/// sums the counter of the requests over these statuses.
pub(super) struct Metrics {
    /// The responses by method, the other methods last, and by status from 200.
    requests: [[AtomicU64; STATUSES]; METHODS.len() + 1],
    /// The calls of the store that took at most as long as each bound and longer than the one before;
    /// last, those that took longer than all bounds.
    store_calls: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of their durations in nanoseconds.
    store_time: AtomicU64,
    /// Open connections; `None` at a door that cannot count them.
    connections: Option<Arc<AtomicU64>>,
}

impl Metrics {
    pub(super) fn new(counts_connections: bool) -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            store_calls: std::array::from_fn(|_| AtomicU64::new(0)),
            store_time: AtomicU64::new(0),
            connections: counts_connections.then(Arc::default),
        }
    }

    /// Counts a response to a request of this method.
    pub(super) fn count(&self, method: Method, status: u16) {
        let index = METHODS.iter().position(|(it, _)| *it == method);
        let row = self.requests.get(index.unwrap_or(METHODS.len()));
        let column = usize::from(status).checked_sub(200);
        if let (Some(row), Some(column)) = (row, column) {
            if let Some(counter) = row.get(column) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Counts a call of the store that took this long.
    pub(super) fn count_store_call(&self, duration: Duration) {
        let fits = |bound: &u64| duration <= Duration::from_micros(*bound);
        let bucket = BOUNDS.iter().position(fits).unwrap_or(BOUNDS.len());
        if let Some(bucket) = self.store_calls.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.store_time.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Counts a connection as open until the value is dropped.
    #[cfg(feature = "hyper")]
    pub(super) fn count_connection(&self) -> Option<CountedConnection> {
        let connections = Arc::clone(self.connections.as_ref()?);
        connections.fetch_add(1, Ordering::Relaxed);
        Some(CountedConnection(connections))
    }

    /// All counters in the text format of Prometheus, version 0.0.4; `waiting` is the number of
    /// requests that wait for a change.
    ///
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>
    pub(super) fn text(&self, waiting: usize) -> String {
        let mut text = String::with_capacity(4096);
        self.write_requests(&mut text);
        self.write_store_calls(&mut text);
        if let Some(connections) = &self.connections {
            let open = connections.load(Ordering::Relaxed);
            gauge(
                &mut text,
                "ifmatch_connections",
                "Connections that are open.",
                open,
            );
        }
        let help = "Requests that wait for a change.";
        gauge(&mut text, "ifmatch_waiting_requests", help, waiting);
        text
    }

    fn write_requests(&self, text: &mut String) {
        let name = "ifmatch_requests_total";
        let help =
            "Requests by method and status: 304 is not modified, 412 is a failed precondition.";
        head(text, name, "counter", help);
        let methods = METHODS.iter().map(|(_, name)| *name).chain(["other"]);
        for (method, row) in methods.zip(&self.requests) {
            for (status, counter) in (200..).zip(row) {
                let count = counter.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = format!("{{method=\"{method}\",status=\"{status}\"}}");
                    sample(text, &format!("{name}{labels}"), count);
                }
            }
        }
    }

    fn write_store_calls(&self, text: &mut String) {
        let name = "ifmatch_store_call_duration_seconds";
        let help = "Time of each call of the store that a request makes.";
        head(text, name, "histogram", help);
        let mut count = 0;
        let bounds = BOUNDS.iter().map(|micros| seconds(micros * 1000));
        for (bound, bucket) in bounds.chain(["+Inf".to_owned()]).zip(&self.store_calls) {
            count += bucket.load(Ordering::Relaxed);
            sample(text, &format!("{name}_bucket{{le=\"{bound}\"}}"), count);
        }
        let total = seconds(self.store_time.load(Ordering::Relaxed));
        sample(text, &format!("{name}_sum"), total);
        sample(text, &format!("{name}_count"), count);
    }
}

/// A connection that is counted as open until this is dropped.
#[cfg(feature = "hyper")]
pub(super) struct CountedConnection(Arc<AtomicU64>);

#[cfg(feature = "hyper")]
impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn gauge(text: &mut String, name: &str, help: &str, value: impl Display) {
    head(text, name, "gauge", help);
    sample(text, name, value);
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String cannot fail.
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn sample(text: &mut String, name: &str, value: impl Display) {
    let _ = writeln!(text, "{name} {value}");
}

/// Nanoseconds as a decimal number of seconds without trailing zeros.
fn seconds(nanoseconds: u64) -> String {
    let (whole, rest) = (nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000);
    let exact = format!("{whole}.{rest:09}");
    exact.trim_end_matches('0').trim_end_matches('.').to_owned()
}
