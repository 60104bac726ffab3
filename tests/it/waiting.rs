//! GET that waits for a change, with `Prefer: wait`.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use ifmatch::{MemoryStore, Method, Options, Policy, Request, Store, Swap, respond};

use crate::conformance::{PERSONS, create, id, now, person};
use crate::support::api::Api;
use crate::support::client::{Client, RawResponse, request};
use crate::support::serving::{Serving, is_hyper, options, store};
use crate::support::watched::{Call, Watched};

/// A test that waits longer than this has failed.
const STUCK: Duration = Duration::from_secs(20);

/// A server, and a signal after each read of the store for a request.
struct Observed {
    serving: Serving,
    store: Arc<dyn Store>,
    reads: Receiver<()>,
}

impl Observed {
    /// With the person 1.
    fn start(options: Options) -> Self {
        let (store, kept) = store();
        let mut observed = Self::on(store, options);
        observed.serving.keep(kept);
        observed
    }

    /// On this store, with the person 1.
    fn on(store: Arc<dyn Store>, options: Options) -> Self {
        create(&*store, "1");
        Self::beside(store, options)
    }

    /// On a store that has the person 1.
    fn beside(store: Arc<dyn Store>, options: Options) -> Self {
        let (read, reads) = channel();
        let mut watched = Watched::new(Arc::clone(&store), |_: Call<'_>| Ok(()));
        watched.after = Box::new(move || {
            if thread::current().name() != Some("ifmatch-poller") {
                let _ = read.send(());
            }
        });
        watched.waits = store.reads_block();
        Self {
            serving: Serving::with(watched, options),
            store,
            reads,
        }
    }

    fn tag(&self, target: &str) -> String {
        let response = self.serving.ask(&format!("GET {target}"), "", "");
        while self.reads.try_recv().is_ok() {}
        response.field("ETag").unwrap().to_owned()
    }

    /// A client whose request waits: the server has read the store twice, before and after the
    /// request subscribed.
    fn waiting(&self, target: &str, tag: &str, seconds: u32) -> Client {
        let mut client = self.serving.client();
        client.send(get(target, tag, seconds));
        for _ in 0..2 {
            self.reads.recv_timeout(STUCK).unwrap();
        }
        client
    }
}

fn get(target: &str, tag: &str, seconds: u32) -> String {
    let fields = format!("If-None-Match: {tag}\r\nPrefer: wait={seconds}\r\n");
    request(&format!("GET {target}"), &fields, "")
}

/// Replaces person 1 in the store, without the server.
fn replace(store: &dyn Store, name: &str) {
    let id = id("1");
    let version = store.get(PERSONS, &id).unwrap().unwrap().version;
    let person = person(name);
    let swap = Swap::replace(PERSONS, &id, version, &person);
    store.swap(&swap, now()).unwrap();
}

fn applied(response: &RawResponse) -> Option<&str> {
    response.field("Preference-Applied")
}

#[test]
fn a_change_of_the_document_ends_the_wait() {
    let observed = Observed::start(options());
    let tag = observed.tag("/persons/1");
    let mut waiting = observed.waiting("/persons/1", &format!("\"other\", W/{tag}"), 50);
    // A change of another document does not end the wait.
    create(&*observed.store, "2");
    let put = format!("If-Match: {tag}\r\n");
    let changed = observed
        .serving
        .ask("PUT /persons/1", &put, r#"{"person_name": "Tim"}"#);
    assert_eq!(changed.status, 200);
    let response = waiting.receive();
    assert_eq!(
        (response.status, applied(&response)),
        (200, Some("wait=50"))
    );
    assert_eq!(response.field("ETag"), changed.field("ETag"));
    assert_eq!(response.content, changed.content);
    // The connection stays open.
    let response = waiting.ask(request("GET /persons/1", "", ""));
    assert_eq!((response.status, applied(&response)), (200, None));
}

#[test]
fn a_change_in_the_store_ends_the_wait() {
    let observed = Observed::start(options());
    let tag = observed.tag("/persons/1");
    let mut waiting = observed.waiting("/persons/1", &tag, 50);
    replace(&*observed.store, "Tim");
    let response = waiting.receive();
    assert_eq!(
        (response.status, applied(&response)),
        (200, Some("wait=50"))
    );
}

#[test]
fn a_removal_ends_the_wait_with_404() {
    let observed = Observed::start(options());
    let tag = observed.tag("/persons/1");
    let mut waiting = observed.waiting("/persons/1", "*", 50);
    let remove = format!("If-Match: {tag}\r\n");
    let removed = observed.serving.ask("DELETE /persons/1", &remove, "");
    assert_eq!(removed.status, 204);
    let response = waiting.receive();
    assert_eq!(
        (response.status, applied(&response)),
        (404, Some("wait=50"))
    );
}

/// When any document is created, replaced or removed, each list that waits gets one response.
#[test]
fn a_change_in_the_list_ends_the_wait() {
    let observed = Observed::start(options());
    for (line, content) in [
        (
            "POST /persons",
            r#"{"person_id": "2", "person_name": "Wim"}"#,
        ),
        ("PUT /persons/1", r#"{"person_name": "Tim"}"#),
        ("DELETE /persons/2", ""),
    ] {
        let tag = observed.tag("/persons");
        let mut waiting = [
            observed.waiting("/persons", &tag, 50),
            observed.waiting("/persons?limit=1&after=1", &tag, 9),
        ];
        let fields = match line.split(' ').next() {
            Some("POST") => "",
            _ => "If-Match: *\r\n",
        };
        assert!(observed.serving.ask(line, fields, content).status < 300);
        for (waiting, seconds) in waiting.iter_mut().zip(["wait=50", "wait=9"]) {
            let response = waiting.receive();
            assert_eq!(
                (response.status, applied(&response)),
                (200, Some(seconds)),
                "{line}"
            );
            assert_ne!(response.field("ETag"), Some(&*tag));
        }
    }
}

#[test]
fn a_wait_without_a_change_ends_with_304() {
    let observed = Observed::start(options());
    for target in ["/persons/1", "/persons"] {
        let tag = observed.tag(target);
        let mut waiting = observed.waiting(target, &tag, 1);
        let response = waiting.receive();
        assert_eq!((response.status, applied(&response)), (304, Some("wait=1")));
        assert_eq!(response.field("ETag"), Some(&*tag));
    }
}

/// RFC 7240 section 4.3.
#[test]
fn s4_3_which_responses_may_wait() {
    let api = Api::strict();
    api.create("1", "Wim");
    let seconds = |line: &str, fields: &[(&str, &str)]| {
        let response = api.ask(line, fields, "");
        assert!(response.wait().is_none() || response.status() == 304);
        assert_eq!(response.field("Preference-Applied"), None);
        response.wait().map(|wait| wait.limit.as_secs())
    };
    let any = ("If-None-Match", "*");
    for (value, expected) in [
        ("wait=10", Some(10)),
        ("Wait = 10", Some(10)),
        ("wait=\"10\"", Some(10)),
        ("wait=10; foo=bar", Some(10)),
        ("respond-async, wait=010", Some(10)),
        ("wait=10, wait=20", Some(10)),
        ("wait=55", Some(55)),
        ("wait=56", Some(55)),
        ("wait=99999999999999999999999999", Some(55)),
        ("wait=0", None),
        ("wait", None),
        ("wait=", None),
        ("wait=x", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=1s", None),
        ("waiting=10", None),
        ("return=minimal", None),
    ] {
        for target in ["/persons/1", "/persons"] {
            for method in ["GET", "HEAD"] {
                let line = format!("{method} {target}");
                let waits = seconds(&line, &[any, ("Prefer", value)]);
                assert_eq!(waits, expected, "{line} {value}");
            }
        }
    }
    let wait = ("Prefer", "wait=10");
    // Only a 304 because of If-None-Match waits.
    let date = ("If-Modified-Since", "Mon, 23 Nov 2026 12:00:00 GMT");
    for (line, field) in [
        ("GET /persons/1", ("If-None-Match", "\"other\"")),
        ("GET /persons/1", ("If-Match", "\"other\"")),
        ("GET /persons/1", date),
        ("GET /persons/9", any),
        ("GET /", any),
        ("GET /openapi.json", any),
        ("PUT /persons/1", any),
        ("POST /persons", any),
        ("DELETE /persons/1", any),
        ("OPTIONS /persons/1", any),
    ] {
        assert_eq!(seconds(line, &[field, wait]), None, "{line} {field:?}");
    }
    assert_eq!(seconds("GET /persons/1", &[wait]), None);
}

/// The response has the data with which an embedder can delay it.
#[test]
fn the_response_says_what_it_waits_for() {
    let store = MemoryStore::new();
    let version = create(&store, "1");
    let ask = |target: &str| {
        let request = Request::new(Method::Get, target)
            .with_field("If-None-Match", "*")
            .with_field("Prefer", "wait=10");
        respond(&store, &Policy::default(), &request, now())
    };
    for (target, id) in [("/persons/1", Some(id("1"))), ("/persons", None)] {
        let response = ask(target);
        let wait = response.wait().unwrap().clone();
        assert_eq!((wait.collection.as_str(), &wait.id), (PERSONS, &id));
        assert_eq!((wait.version, wait.limit.as_secs()), (version, 10));
        let sent = response.waited(&wait);
        assert_eq!(sent.field("Preference-Applied"), Some("wait=10"));
    }
}

#[test]
fn a_stopping_server_responds_to_requests_that_wait() {
    let mut observed = Observed::start(options());
    let tag = observed.tag("/persons/1");
    let mut waiting: Vec<_> = (0..5)
        .map(|_| observed.waiting("/persons/1", &tag, 50))
        .collect();
    let running = observed.serving.running.take().unwrap();
    let stopping = thread::spawn(move || running.stop());
    for client in &mut waiting {
        assert_eq!(client.receive().status, 304);
    }
    drop(waiting);
    stopping.join().unwrap();
}

/// Requests beyond the limit get their 304 at once, and other requests get their responses.
#[test]
fn requests_beyond_the_limit_do_not_wait() {
    let mut options = options();
    let most = set_waiting_limit(&mut options, 5);
    let observed = Observed::start(options);
    let tag = observed.tag("/persons/1");
    let mut waiting: Vec<_> = (0..most)
        .map(|_| observed.waiting("/persons/1", &tag, 50))
        .collect();
    for _ in 0..3 {
        let mut client = observed.serving.client();
        let response = client.ask(get("/persons/1", &tag, 50));
        assert_eq!((response.status, applied(&response)), (304, None));
    }
    replace(&*observed.store, "Tim");
    for client in &mut waiting {
        assert_eq!(client.receive().status, 200);
    }
}

/// Sets the limit of the hyper door to `most`. Returns the limit, which is fixed at the `tiny_http`
/// door.
fn set_waiting_limit(options: &mut Options, most: u32) -> u32 {
    #[cfg(feature = "hyper")]
    if let ifmatch::Door::Hyper(limits) = &mut options.door {
        limits.waiting = most;
        return most;
    }
    let _ = options;
    assert!(!is_hyper(), "{most}");
    64
}

/// Each reader sees the states in their order, and the last state, although changes happen between
/// its requests.
#[test]
fn no_change_is_missed() {
    const CHANGES: usize = 100;
    let observed = Observed::start(options());
    let serving = &observed.serving;
    let last = CHANGES.to_string();
    let follow = |target: &str| {
        let mut client = serving.client();
        let mut response = client.ask(request(&format!("GET {target}"), "", ""));
        let mut seen = Vec::new();
        while !response.content.contains(&format!("\"{last}\"")) {
            let tag = response.field("ETag").unwrap().to_owned();
            response = client.ask(get(target, &tag, 55));
            assert_eq!(response.status, 200);
            let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
            let person = value.get(0).unwrap_or(&value);
            seen.push(person["change_date"].as_str().unwrap().to_owned());
        }
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        seen.len()
    };
    thread::scope(|scope| {
        let follow = &follow;
        let readers: Vec<_> = (0..8)
            .map(|it| scope.spawn(move || follow(["/persons/1", "/persons"][it % 2])))
            .collect();
        let mut writer = serving.client();
        for change in 1..=CHANGES {
            let content = format!(r#"{{"person_name": "{change}"}}"#);
            let put = request("PUT /persons/1", "If-Match: *\r\n", &content);
            assert_eq!(writer.ask(put).status, 200);
        }
        for reader in readers {
            assert!(reader.join().unwrap() <= CHANGES);
        }
    });
}

/// The responses to later requests on the same connection follow the response that waits, in order.
#[test]
fn a_pipelined_request_is_answered_afterwards() {
    let observed = Observed::start(options());
    let tag = observed.tag("/persons/1");
    let mut client = observed.serving.client();
    let other = request("GET /persons/2", "", "");
    client.send(get("/persons/1", &tag, 1) + &other);
    assert_eq!(client.receive().status, 304);
    assert_eq!(client.receive().status, 404);
}

/// No observer is called: the versions are compared while a request waits.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn a_change_by_another_process_ends_the_wait(place: &dyn crate::conformance::Place) {
    let observed = Observed::on(place.open(), options());
    // This server has a store of its own, so that the poller of one server does not read for the
    // other.
    let lists = Observed::beside(place.open(), options());
    let other = place.open();
    for name in ["Tim", "Tom", "Wim"] {
        let tag = observed.tag("/persons/1");
        let mut document = observed.waiting("/persons/1", &tag, 50);
        let mut list = place.tags_lists().then(|| {
            let tag = lists.tag("/persons");
            lists.waiting("/persons", &tag, 50)
        });
        replace(&*other, name);
        for client in std::iter::once(&mut document).chain(list.as_mut()) {
            let response = client.receive();
            assert_eq!(
                (response.status, applied(&response)),
                (200, Some("wait=50"))
            );
            assert!(response.content.contains(name));
        }
    }
    let mut removed = observed.waiting("/persons/1", "*", 50);
    let id = id("1");
    let version = other.get(PERSONS, &id).unwrap().unwrap().version;
    other
        .swap(&Swap::remove(PERSONS, &id, version), now())
        .unwrap();
    assert_eq!(removed.receive().status, 404);
    if !place.tags_lists() {
        // Without a tag the server cannot recognise a change.
        let fields = "If-None-Match: *\r\nPrefer: wait=50\r\n";
        let response = observed.serving.ask("GET /persons", fields, "");
        assert_eq!((response.status, applied(&response)), (304, None));
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_change_by_another_process_ends_the_wait_on_sqlite() {
    a_change_by_another_process_ends_the_wait(&crate::sqlite::File::default());
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::*;
    use crate::support::cluster::{Cluster, Schema};

    #[test]
    fn a_change_by_another_server_ends_the_wait() {
        for tagged in [true, false] {
            if let Some(schema) = Schema::new() {
                a_change_by_another_process_ends_the_wait(&schema.tagged(tagged));
            }
        }
    }

    /// The database crashes and starts again while requests wait.
    #[test]
    fn a_wait_continues_after_a_crash_of_the_database() {
        let Some(cluster) = Cluster::start() else {
            return;
        };
        let schema = Schema::on(&cluster);
        let observed = Observed::on(schema.store(), options());
        let tag = observed.tag("/persons/1");
        let mut waiting = observed.waiting("/persons/1", &tag, 55);
        cluster.crash();
        cluster.go_on();
        replace(&*schema.store(), "Tim");
        let response = waiting.receive();
        assert_eq!(
            (response.status, applied(&response)),
            (200, Some("wait=55"))
        );
    }
}

#[cfg(feature = "hyper")]
mod hyper {
    use super::*;
    use ifmatch::{Door, Limits};

    fn limits(connections: u32, waiting: u32) -> Options {
        let mut limits = Limits::default();
        limits.connections = connections;
        limits.waiting = waiting;
        let mut options = Options::default();
        options.door = Door::Hyper(limits);
        options
    }

    #[test]
    fn requests_that_wait_do_not_count_as_connections() {
        let observed = Observed::start(limits(2, 8));
        let tag = observed.tag("/persons/1");
        let mut waiting: Vec<_> = (0..8)
            .map(|_| observed.waiting("/persons/1", &tag, 50))
            .collect();
        // Both permits for connections are free.
        let mut others = [observed.serving.client(), observed.serving.client()];
        for client in &mut others {
            assert_eq!(client.ask(request("GET /persons/1", "", "")).status, 200);
        }
        replace(&*observed.store, "Tim");
        for client in &mut waiting {
            let response = client.receive();
            let tag = response.field("ETag").unwrap().to_owned();
            assert_eq!(response.status, 200);
            // The requests continue and may wait again, although no permit for connections is free.
            client.send(get("/persons/1", &tag, 1));
        }
        for client in &mut waiting {
            let response = client.receive();
            assert_eq!((response.status, applied(&response)), (304, Some("wait=1")));
        }
    }

    /// The server gives its permit to another request.
    #[test]
    fn a_client_that_disconnects_ends_its_wait() {
        let observed = Observed::start(limits(8, 1));
        let tag = observed.tag("/persons/1");
        for _ in 0..3 {
            drop(observed.waiting("/persons/1", &tag, 50));
            let mut client = observed.serving.client();
            let start = std::time::Instant::now();
            let mut response = client.ask(get("/persons/1", &tag, 1));
            while applied(&response).is_none() {
                assert_eq!(response.status, 304);
                assert!(start.elapsed() < STUCK, "the permit is not returned");
                response = client.ask(get("/persons/1", &tag, 1));
            }
            while observed.reads.try_recv().is_ok() {}
        }
    }
}
