//! The metrics for Prometheus.

use std::collections::BTreeMap;

use ifmatch::{Profile, Token};

use crate::support::client::{RawResponse, request};
use crate::support::serving::{Program, Serving, is_hyper};

/// The samples by name and labels. Checks that every line has the text format 0.0.4.
fn samples(response: &RawResponse) -> BTreeMap<String, u64> {
    assert_eq!(response.status, 200, "{response:?}");
    let format = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(response.field("Content-Type"), Some(format));
    assert_eq!(response.field("Cache-Control"), Some("no-store"));
    let mut samples = BTreeMap::new();
    let (mut family, mut kind) = (String::new(), String::new());
    let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    for line in response.content.split_terminator('\n') {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').unwrap();
            assert!(
                is_name(name) && !help.is_empty() && !help.contains('\\'),
                "{line}"
            );
            assert!(
                !samples.keys().any(|it: &String| it.starts_with(name)),
                "{line}"
            );
            name.clone_into(&mut family);
            kind = String::new();
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, of) = typed.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert!(["counter", "gauge", "histogram"].contains(&of), "{line}");
            of.clone_into(&mut kind);
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let suffix = name.strip_prefix(&*family).expect(line);
            let of_histogram = ["_bucket", "_sum", "_count"].contains(&suffix);
            assert_eq!(of_histogram, kind == "histogram", "{line}");
            assert!(of_histogram || suffix.is_empty(), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|it| !it.is_empty()) {
                let labels = labels.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
                for label in labels.split(',') {
                    let (name, value) = label.split_once('=').unwrap();
                    let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                    assert!(is_name(name) && !value.contains(['"', '\\']), "{line}");
                }
            }
            let number: f64 = value.parse().unwrap();
            assert!(number >= 0.0, "{line}");
            // Only the sum has a fraction. Without the point, its digits still show whether it is zero.
            let digits = value.replace('.', "").parse().unwrap();
            let before = samples.insert(series.to_owned(), digits);
            assert_eq!(before, None, "{line}");
        }
    }
    assert!(response.content.ends_with('\n'));
    samples
}

fn serving() -> Serving {
    Serving::configured(|options| options.metrics = true)
}

#[test]
fn the_requests_are_counted_by_method_and_status() {
    let serving = serving();
    let tag = serving.create("1");
    let same = format!("If-None-Match: {tag}\r\n");
    let person = r#"{"person_name": "Tim"}"#;
    let requests = [
        ("GET /persons/1", "", "", 200, 3),
        ("GET /persons/1", &*same, "", 304, 4),
        ("HEAD /persons/9", "", "", 404, 1),
        ("PUT /persons/1", "If-Match: \"old\"\r\n", person, 412, 2),
        ("DELETE /persons/1", "If-Match: \"old\"\r\n", "", 412, 1),
        ("PATCH /persons", "", "", 405, 1),
        ("OPTIONS /persons", "", "", 200, 1),
        ("TRACE /persons", "", "", 405, 2),
        ("BREW /persons", "", "", 501, 1),
    ];
    for (line, fields, content, status, times) in requests {
        for _ in 0..times {
            assert_eq!(serving.ask(line, fields, content).status, status, "{line}");
        }
    }
    let samples = samples(&serving.ask("GET /metrics", "", ""));
    let count = |method: &str, status: u16| {
        let series = format!("ifmatch_requests_total{{method=\"{method}\",status=\"{status}\"}}");
        samples.get(&series).copied().unwrap_or_default()
    };
    assert_eq!(count("POST", 201), 1);
    assert_eq!(count("GET", 200), 3);
    assert_eq!(count("GET", 304), 4);
    assert_eq!(count("HEAD", 404), 1);
    assert_eq!(count("PUT", 412), 2);
    assert_eq!(count("DELETE", 412), 1);
    assert_eq!(count("PATCH", 405), 1);
    assert_eq!(count("OPTIONS", 200), 1);
    assert_eq!(count("other", 405), 2);
    assert_eq!(count("other", 501), 1);
    let requests = samples.iter();
    let requests = requests.filter(|(series, _)| series.starts_with("ifmatch_requests_total"));
    assert_eq!(requests.map(|(_, count)| count).sum::<u64>(), 17);

    // Each read and each failed write of a document calls `get` once, and the POST calls `swap` once.
    // PATCH, OPTIONS and unknown methods do not call the store.
    let name = "ifmatch_store_call_duration_seconds";
    assert_eq!(samples[&format!("{name}_count")], 12);
    assert!(samples[&format!("{name}_sum")] > 0);
    let bounds = [
        "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",
        "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
    ];
    let bucket = |bound: &&str| samples[&format!("{name}_bucket{{le=\"{bound}\"}}")];
    let buckets: Vec<_> = bounds.iter().map(bucket).collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(buckets.last(), Some(&12));
    let all = samples.keys().filter(|it| it.contains("_bucket")).count();
    assert_eq!(all, bounds.len());
}

#[test]
fn connections_and_requests_that_wait_are_counted() {
    let serving = serving();
    let tag = serving.create("1");
    let mut waiting = serving.client();
    let fields = format!("If-None-Match: {tag}\r\nPrefer: wait=50\r\n");
    waiting.send(request("GET /persons/1", &fields, ""));
    let mut client = serving.client();
    // The server counts the end of earlier connections after a moment.
    loop {
        let samples = samples(&client.ask(request("GET /metrics", "", "")));
        let connections = samples.get("ifmatch_connections").copied();
        assert_eq!(connections.is_some(), is_hyper());
        if samples["ifmatch_waiting_requests"] == 1 && connections.is_none_or(|it| it == 2) {
            break;
        }
    }
    let change = request(
        "PUT /persons/1",
        "If-Match: *\r\n",
        r#"{"person_name": "Tim"}"#,
    );
    assert_eq!(client.ask(change).status, 200);
    assert_eq!(waiting.receive().status, 200);
    let samples = samples(&client.ask(request("GET /metrics", "", "")));
    assert_eq!(samples["ifmatch_waiting_requests"], 0);
}

#[test]
fn metrics_are_off_by_default_and_need_the_token() {
    let plain = Serving::start();
    for line in ["GET /metrics", "OPTIONS /metrics", "PUT /metrics"] {
        let response = plain.ask(line, "", "");
        let nothing = plain.ask(&line.replace("metrics", "nothing"), "", "");
        assert_eq!(
            (response.status, response.content),
            (404, nothing.content),
            "{line}"
        );
    }
    let guarded = Serving::configured(|options| {
        options.metrics = true;
        options.policy.profile = Profile::Strict;
        let token = Token::new("secret").unwrap();
        options.policy.access.require_token(token);
    });
    assert_eq!(guarded.ask("GET /metrics", "", "").status, 401);
    let token = "Authorization: Bearer secret\r\n";
    let samples = samples(&guarded.ask("GET /metrics", token, ""));
    assert_eq!(
        samples["ifmatch_requests_total{method=\"GET\",status=\"401\"}"],
        1
    );
    let head = guarded.ask("HEAD /metrics", token, "");
    assert_eq!((head.status, &*head.content), (200, ""));
    let put = guarded.ask("PUT /metrics", token, "");
    assert_eq!(
        (put.status, put.field("Allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
    // A request with content, and with an expectation, gets the metrics, too.
    let mut client = guarded.client();
    let fields = format!("{token}Expect: 100-continue\r\n");
    client.send(request("GET /metrics", &fields, "{}"));
    assert_eq!(client.receive_head().status, 100);
    assert_eq!(client.receive().status, 200);
}

#[test]
fn the_program_has_metrics_if_the_flag_is_set() {
    for (flags, status) in [(&["--metrics"][..], 200), (&[], 404)] {
        let program = Program::start(flags);
        let mut client = crate::support::client::Client::connect(program.address);
        let response = client.ask(request("GET /metrics", "", ""));
        assert_eq!(response.status, status);
    }
}
