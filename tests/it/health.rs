//! The health check for load balancers: whether calls of the store return.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use ifmatch::{Collection, Collections, MemoryStore, Profile, StoreError, Token};

use crate::support::api::Api;
use crate::support::client::{RawResponse, request};
use crate::support::serving::{Serving, is_hyper, options};
use crate::support::watched::{Call, Watched};

/// Blocks the calls of a store while it is closed.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The number of calls that are blocked.
    inside: usize,
    /// The number of calls for a version.
    versions: usize,
}

impl Gate {
    fn pass(&self, call: Call<'_>) {
        let mut state = self.state.lock().unwrap();
        state.versions += usize::from(call == Call::Version);
        state.inside += 1;
        self.changed.notify_all();
        while state.closed {
            state = self.changed.wait(state).unwrap();
        }
        state.inside -= 1;
        self.changed.notify_all();
    }

    fn set(&self, closed: bool) {
        self.state.lock().unwrap().closed = closed;
        self.changed.notify_all();
    }

    fn wait_until(&self, holds: impl Fn(&State) -> bool) {
        let state = self.state.lock().unwrap();
        drop(self.changed.wait_while(state, |state| !holds(state)));
    }

    fn versions(&self) -> usize {
        self.state.lock().unwrap().versions
    }
}

/// A server whose store blocks at the gate.
fn gated() -> (Serving, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let watched = Arc::clone(&gate);
    let store = Watched::new(MemoryStore::new(), move |call| {
        watched.pass(call);
        Ok(())
    });
    let serving = Serving::with(store, options());
    (serving, gate)
}

#[track_caller]
fn healthy(response: &RawResponse) {
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(response.field("Cache-Control"), Some("no-store"));
    assert_eq!(response.field("ETag"), None);
}

#[track_caller]
fn unhealthy(response: &RawResponse) {
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.field("Cache-Control"), Some("no-store"));
    assert_eq!(response.field("Retry-After"), Some("1"));
}

#[test]
fn a_store_that_hangs_is_unhealthy_until_it_returns() {
    let (serving, gate) = gated();
    let ask = || serving.ask("GET /health", "", "");
    healthy(&ask());
    assert_eq!(gate.versions(), 1);

    gate.set(true);
    // The hyper door has fewer threads for such calls.
    let mut lists: Vec<_> = (0..20).map(|_| serving.client()).collect();
    for client in &mut lists {
        client.send(request("GET /persons", "", ""));
    }
    gate.wait_until(|state| state.inside >= 16);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        for asked in asking {
            let response = asked.join().unwrap();
            unhealthy(&response);
            let message = "The store failed; try again in a second";
            assert_eq!(response.message(), message);
        }
    });
    unhealthy(&serving.ask("HEAD /health", "", ""));
    assert_eq!(gate.versions(), 2, "all checks share one call");

    gate.set(false);
    healthy(&ask());
    healthy(&serving.ask("HEAD /health", "", ""));
    // At the hyper door 16 requests have a thread. The other four waited for a thread until they timed
    // out, because the checks took longer than that.
    let mut statuses: Vec<_> = lists.iter_mut().map(|it| it.receive().status).collect();
    statuses.sort_unstable();
    let served = if is_hyper() { 16 } else { 20 };
    let expected = [vec![200; served], vec![503; 20 - served]].concat();
    assert_eq!(statuses, expected);
    gate.wait_until(|state| state.inside == 0);
}

#[test]
fn a_store_that_fails_is_unhealthy() {
    for waits in [true, false] {
        let fails = Arc::new(AtomicBool::new(false));
        let failing = Arc::clone(&fails);
        let mut store = Watched::new(MemoryStore::new(), move |_| {
            if failing.load(Ordering::SeqCst) {
                Err(StoreError::new("out of order"))
            } else {
                Ok(())
            }
        });
        store.waits = waits;
        let serving = Serving::with(store, options());
        healthy(&serving.ask("GET /health", "", ""));
        fails.store(true, Ordering::SeqCst);
        unhealthy(&serving.ask("GET /health", "", ""));
        fails.store(false, Ordering::SeqCst);
        healthy(&serving.ask("GET /health", "", ""));
    }
}

#[test]
fn a_check_follows_a_panic_of_the_store() {
    let calls = AtomicUsize::new(0);
    let store = Watched::new(MemoryStore::new(), move |_| {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        assert!(!first, "this panic is part of the test");
        Ok(())
    });
    let serving = Serving::with(store, options());
    unhealthy(&serving.ask("GET /health", "", ""));
    healthy(&serving.ask("GET /health", "", ""));
}

/// The interim response 100 is sent without a call of the store, which would block the event loop of
/// hyper.
#[test]
fn a_check_with_content_is_answered() {
    let (serving, gate) = gated();
    gate.set(true);
    let mut client = serving.client();
    client.send(request("GET /health", "Expect: 100-continue\r\n", "{}"));
    assert_eq!(client.receive_head().status, 100);
    assert_eq!(client.receive().status, 503);
    gate.set(false);
    gate.wait_until(|state| state.inside == 0);
}

#[test]
fn the_health_needs_no_token() {
    let serving = Serving::guarded(Profile::Strict, |access| {
        access.require_token(Token::new("secret").unwrap());
    });
    let get = serving.ask("GET /health", "", "");
    healthy(&get);
    assert_eq!(get.content, "{\n  \"message\": \"The store answers\"\n}\n");
    let head = serving.ask("HEAD /health", "", "");
    healthy(&head);
    assert_eq!(head.field("Content-Length"), get.field("Content-Length"));
    for line in ["GET /persons", "GET /openapi.json", "PUT /health"] {
        assert_eq!(serving.ask(line, "", "").status, 401, "{line}");
    }
    let put = serving.ask("PUT /health", "Authorization: Bearer secret\r\n", "");
    assert_eq!(put.status, 405);
    assert_eq!(put.field("Allow"), Some("GET, HEAD, OPTIONS"));
}

#[test]
fn the_health_has_no_validators_and_is_under_the_prefix() {
    let mut api = Api::compatible();
    let persons = Collections::new([Collection::persons()]).unwrap();
    api.policy.collections = persons.under("/api/v1").unwrap();
    for (line, fields, status) in [
        ("GET /api/v1/health", &[][..], 200),
        ("GET /api/v1/health?x", &[], 200),
        ("GET /health", &[], 404),
        ("GET /api/v1/health/", &[], 404),
        ("GET /api/v1/health", &[("If-Match", "*")], 200),
        ("GET /api/v1/health", &[("If-Match", "\"x\"")], 412),
        ("GET /api/v1/health", &[("If-None-Match", "\"x\"")], 200),
        ("HEAD /api/v1/health", &[("If-None-Match", "*")], 304),
    ] {
        let response = api.ask(line, fields, "");
        assert_eq!(response.status(), status, "{line} {fields:?}");
        assert_eq!(response.field("Cache-Control"), Some("no-store"));
        assert_eq!(response.field("ETag"), None);
    }
    // Without a collection the store is not called.
    api.policy.collections = Collections::new([]).unwrap();
    assert_eq!(api.ask("GET /health", &[], "").status(), 200);
}
