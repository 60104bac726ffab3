//! Behaviour of the hyper door only.

use std::collections::HashSet;
use std::net::TcpStream;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ifmatch::{Door, Limits, MAX_PAGE, MemoryStore, Options, Store};

use crate::support::client::{Client, request};
use crate::support::serving::Serving;
use crate::support::watched::{Call, Watched};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";
const HALF: &str =
    "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nContent-Length: 22\r\n\r\n";

fn serve(store: impl Store + 'static, connections: u32, seconds: u64) -> Serving {
    let mut limits = Limits::default();
    limits.connections = connections;
    serve_within(limits, seconds, store)
}

fn serve_within(limits: Limits, seconds: u64, store: impl Store + 'static) -> Serving {
    let mut options = Options::default();
    options.timeout = Duration::from_secs(seconds);
    options.door = Door::Hyper(limits);
    Serving::with(store, options)
}

#[test]
fn connections_beyond_the_limit_wait_for_a_permit() {
    let serving = serve(MemoryStore::new(), 2, 1);
    serving.create("1");
    let mut idle = [serving.client(), serving.client()];
    for client in &mut idle {
        assert_eq!(client.ask(GET).status, 200);
    }
    // The new connection waits until an idle one times out.
    let mut late = serving.client();
    assert_eq!(late.ask(GET).status, 200);
    assert!(idle.iter_mut().any(|client| client.try_ask(GET).is_err()));
}

/// The idle timeout begins again with each response.
#[test]
fn a_connection_in_use_does_not_time_out() {
    let serving = serve(MemoryStore::new(), 256, 1);
    serving.create("1");
    let mut client = serving.client();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.ask(GET).status, 200);
    }
    // It also begins again after a request that waited for longer than the timeout.
    let waits = "If-None-Match: *\r\nPrefer: wait=2\r\n";
    let response = client.ask(request("GET /persons/1", waits, ""));
    assert_eq!(response.status, 304);
    assert_eq!(client.ask(GET).status, 200);
    assert!(client.is_closed(), "an idle connection times out");
}

/// A short response is written as one buffer, a longer one as head and content.
#[test]
fn responses_around_the_length_of_one_write_are_complete() {
    let serving = serve(MemoryStore::new(), 256, 20);
    serving.create("1");
    let mut client = serving.client();
    for length in 500..800 {
        let name = "x".repeat(length);
        let content = format!(r#"{{"person_name": "{name}"}}"#);
        let put = request("PUT /persons/1", "If-Match: *\r\n", &content);
        for response in [client.ask(put), client.ask(GET)] {
            assert_eq!(response.status, 200);
            assert!(response.content.contains(&format!("\"{name}\"")));
        }
    }
}

#[test]
fn connections_are_distributed_over_all_threads() {
    let (sender, threads) = channel();
    let record = move |_: Call<'_>| {
        let name = thread::current().name().map(str::to_owned);
        sender.send(name.unwrap_or_default()).unwrap();
        Ok(())
    };
    let mut store = Watched::new(MemoryStore::new(), record);
    store.waits = false;
    let mut limits = Limits::default();
    limits.threads = 3;
    let serving = serve_within(limits, 20, store);
    let mut clients: Vec<_> = (0..6).map(|_| serving.client()).collect();
    let served = |clients: &mut Vec<Client>| -> Vec<String> {
        let ask = |client: &mut Client| {
            assert_eq!(client.ask(GET).status, 404);
            threads.recv().unwrap()
        };
        clients.iter_mut().map(ask).collect()
    };
    let first = served(&mut clients);
    let (ones, others) = first.split_at(3);
    assert_eq!(HashSet::<&String>::from_iter(ones).len(), 3, "{first:?}");
    assert_eq!(ones, others);
    assert_eq!(
        served(&mut clients),
        first,
        "a connection stays on its thread"
    );
    drop(serving);
    assert!(clients.iter_mut().all(Client::is_closed));
}

#[test]
fn limits_can_be_as_high_as_their_types() {
    let serving = serve(MemoryStore::new(), u32::MAX, u64::MAX);
    serving.create("1");
    assert_eq!(serving.ask("GET /persons/1", "", "").status, 200);
}

#[test]
fn a_head_beyond_32_kib_is_refused() {
    let serving = serve(MemoryStore::new(), 256, 20);
    for (length, status) in [(30_000, 200), (33_000, 431)] {
        let field = "x".repeat(length);
        let mut client = serving.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {field}\r\n\r\n"));
        assert_eq!(client.receive().status, status, "{length}");
    }
}

/// Further calls wait for a thread, or for a permit to make a long list.
#[test]
fn calls_of_the_store_are_limited() {
    for (may_block, line, limit) in [(true, "GET /persons/1", 16), (false, "GET /persons", 2)] {
        let counts = Arc::new(Mutex::new((0, 0)));
        let counted = Arc::clone(&counts);
        let mut store = Watched::new(MemoryStore::new(), move |call: Call<'_>| {
            if matches!(call, Call::Get(_) | Call::List) {
                let (current, highest) = &mut *counted.lock().unwrap();
                *current += 1;
                *highest = (*current).max(*highest);
            } else {
                return Ok(());
            }
            // Without a limit, all other requests would call the store during this time.
            thread::sleep(Duration::from_millis(100));
            counted.lock().unwrap().0 -= 1;
            Ok(())
        });
        store.waits = may_block;
        let serving = serve(store, 256, 20);
        let mut clients: Vec<_> = (0..40).map(|_| serving.client()).collect();
        for client in &mut clients {
            client.send(request(line, "", ""));
        }
        for client in &mut clients {
            assert!([200, 404].contains(&client.receive().status));
        }
        assert_eq!(counts.lock().unwrap().1, limit, "{line}");
    }
}

#[test]
fn a_client_that_reads_nothing_times_out() {
    let serving = serve(MemoryStore::new(), 1, 1);
    let long = format!(
        r#"{{"person_id": "1", "person_name": "{}"}}"#,
        "x".repeat(60_000)
    );
    assert_eq!(serving.ask("POST /persons", "", &long).status, 201);
    let mut blocked = serving.client();
    let _ = blocked.try_send(GET.repeat(1000));
    // Its permit is free again.
    assert_eq!(serving.ask("GET /persons/1", "", "").status, 200);
}

#[test]
fn a_stopping_server_finishes_requests_under_way() {
    let mut serving = serve(MemoryStore::new(), 256, 20);
    serving.create("1");
    let mut client = serving.client();
    client.send(format!("{GET}{HALF}"));
    assert_eq!(client.receive().status, 200);
    let mut idle = serving.client();
    assert_eq!(idle.ask(GET).status, 200);
    let running = serving.running.take().unwrap();
    let stopping = thread::spawn(move || running.stop());
    assert!(idle.is_closed(), "an idle connection is closed at once");
    client.send(r#"{"person_name": "Tim"}"#);
    let replaced = client.receive();
    assert_eq!(replaced.status, 200);
    assert!(client.is_closed());
    stopping.join().unwrap();
    assert!(TcpStream::connect(serving.address).is_err());
}

#[test]
fn a_stopping_server_waits_no_longer_than_its_timeout() {
    let mut serving = serve(MemoryStore::new(), 256, 1);
    serving.create("1");
    let mut client = serving.client();
    client.send(format!("{GET}{HALF}"));
    assert_eq!(client.receive().status, 200);
    serving.running.take().unwrap().stop();
    // The server may send a 408 before it closes the connection.
    assert!(
        client
            .try_receive()
            .is_ok_and(|response| response.status == 408)
            || client.is_closed()
    );
}

#[test]
fn refused_content_is_read_up_to_a_limit() {
    let serving = serve(MemoryStore::new(), 256, 20);
    let mut client = serving.client();
    let head = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n";
    assert_eq!(client.ask(head).status, 413);
    let mebibyte = vec![b' '; 1024 * 1024];
    let taken = (0..100).take_while(|_| client.try_send(&mebibyte).is_ok());
    assert!(taken.count() < 100);
}

/// While a long list is made, the event loop answers other requests. Short responses are made on the
/// event loop.
#[test]
fn long_lists_are_made_on_store_threads() {
    let (sender, threads) = channel();
    let record = move |call: Call<'_>| {
        let thread = thread::current();
        if call == Call::List {
            sender.send(thread.name() == Some("ifmatch-store")).unwrap();
        }
        Ok(())
    };
    let mut store = Watched::new(MemoryStore::new(), record);
    store.waits = false;
    let serving = serve(store, 256, 20);
    let most = format!("/persons?limit={MAX_PAGE}");
    for (target, fields, beside) in [
        ("/persons", "", true),
        (most.as_str(), "", true),
        ("/persons?limit=101&after=a", "", true),
        // Other forms of the same target.
        ("/%70ersons", "", true),
        ("http://x/persons", "", true),
        ("/persons?limit=100", "", false),
        ("/persons", "If-None-Match: \"x\"\r\n", false),
    ] {
        let response = serving.ask(&format!("GET {target}"), fields, "");
        assert_eq!(response.status, 200, "{target}");
        assert_eq!(threads.try_recv(), Ok(beside), "{target} {fields}");
    }
    // A failed write with `Prefer: return=representation` gets the list, too.
    for (fields, status) in [
        ("If-Match: \"x\"\r\nPrefer: return=representation\r\n", 412),
        ("If-None-Match: *\r\nPrefer: return=representation\r\n", 412),
    ] {
        let response = serving.ask("POST /%70ersons", fields, "");
        assert_eq!(response.status, status);
        assert_eq!(threads.try_recv(), Ok(true), "{fields}");
    }
}
