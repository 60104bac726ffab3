//! The framing of messages: where requests and responses begin and end on a connection.

use ifmatch::MemoryStore;

use crate::support::client::{Client, request};
use crate::support::serving::{Serving, is_hyper, options};

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n\r\n";
const TIM: &str = r#"{"person_name": "Tim"}"#;

#[test]
fn s15_4_5_a_304_ends_with_its_head() {
    let serving = Serving::start();
    let tag = serving.create("1");
    let mut client = serving.client();
    let unmodified = client.ask(request(
        "GET /persons/1",
        &format!("If-None-Match: {tag}\r\n"),
        "",
    ));
    assert_eq!(unmodified.status, 304);
    assert_eq!(
        (
            unmodified.field("Content-Length"),
            unmodified.field("Content-Type")
        ),
        (None, None)
    );
    assert_eq!(unmodified.field("ETag"), Some(&*tag));
    for name in ["Date", "Cache-Control", "Last-Modified"] {
        assert!(unmodified.field(name).is_some(), "{name}");
    }
    assert_eq!(
        client.ask(GET).status,
        200,
        "no bytes are between two responses"
    );
}

#[test]
fn s8_6_a_204_has_no_length() {
    let serving = Serving::start();
    serving.create("1");
    let mut client = serving.client();
    let removed = client.ask(request("DELETE /persons/1", "If-Match: *\r\n", ""));
    assert_eq!(
        (removed.status, removed.field("Content-Length")),
        (204, None)
    );
    assert_eq!(client.ask(GET).status, 404);
}

#[test]
fn s9_3_2_head_has_the_length_of_get_and_no_content() {
    let serving = Serving::start();
    serving.create("1");
    let mut client = serving.client();
    for (target, status) in [
        ("/persons/1", 200),
        ("/persons", 200),
        ("/", 200),
        ("/persons/2", 404),
    ] {
        let head = client.ask(request(&format!("HEAD {target}"), "", ""));
        let get = client.ask(request(&format!("GET {target}"), "", ""));
        assert_eq!((head.status, get.status), (status, status));
        let undated = |fields: &[(String, String)]| {
            fields
                .iter()
                .filter(|(name, _)| name != "Date")
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(undated(&head.fields), undated(&get.fields));
        assert_eq!(
            head.field("Content-Length"),
            Some(&*get.content.len().to_string())
        );
    }
}

#[test]
fn s9112_9_3_2_pipelined_requests_are_answered_in_order() {
    let serving = Serving::start();
    for id in 0..10 {
        serving.create(&id.to_string());
    }
    let mut client = serving.client();
    let requests: String = (0..10)
        .map(|id| request(&format!("GET /persons/{id}"), "", ""))
        .collect();
    client.send(requests);
    for id in 0..10 {
        let response = client.receive();
        assert!(
            response
                .content
                .contains(&format!("\"person_id\": \"{id}\""))
        );
    }
}

/// Some of these responses are not made on the event loop.
#[test]
fn s9112_9_3_2_pipelined_requests_of_all_kinds_are_answered_in_order() {
    let serving = Serving::start();
    serving.create("1");
    let long = format!(r#"{{"person_name": "{}"}}"#, "x".repeat(5_000));
    let put = request("PUT /persons/1", "If-Match: *\r\n", &long);
    let chunked = format!(
        "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{long}\r\n0\r\n\r\n",
        long.len()
    );
    let mut client = serving.client();
    for _ in 0..50 {
        let stale = request("PUT /persons/1", "If-Match: \"x\"\r\n", &long);
        client.send([&*put, GET, &chunked, GET, &stale, GET, GET].concat());
        for expected in [200, 200, 200, 200, 412, 200, 200] {
            assert_eq!(client.receive().status, expected);
        }
    }
}

#[test]
fn s9112_9_persistence() {
    let serving = Serving::start();
    serving.create("1");
    for (version, fields, connection, closed) in [
        ("HTTP/1.1", "", None, false),
        ("HTTP/1.1", "Connection: keep-alive\r\n", None, false),
        ("HTTP/1.1", "Connection: close\r\n", Some("close"), true),
        ("HTTP/1.1", "connection: Close\r\n", Some("close"), true),
        ("HTTP/1.1", "Connection: x, close\r\n", Some("close"), true),
        (
            "HTTP/1.1",
            "Connection: Upgrade\r\nUpgrade: h2c\r\n",
            (!is_hyper()).then_some("close"),
            !is_hyper(),
        ),
        ("HTTP/1.0", "", Some("close"), true),
        ("HTTP/1.0", "Connection: close\r\n", Some("close"), true),
        (
            "HTTP/1.0",
            "Connection: keep-alive\r\n",
            Some("keep-alive"),
            false,
        ),
    ] {
        // Over HTTP/1.0 hyper sends no `Connection: close`, because it is the default.
        let connection =
            connection.filter(|it| !is_hyper() || version != "HTTP/1.0" || *it != "close");
        let mut client = serving.client();
        let response = client.ask(format!(
            "GET /persons/1 {version}\r\nHost: x\r\n{fields}\r\n"
        ));
        assert_eq!(
            (response.status, response.field("Connection")),
            (200, connection),
            "{version} {fields}"
        );
        if closed {
            assert!(client.is_closed());
        } else {
            assert_eq!(client.ask(GET).status, 200);
        }
    }
}

/// `tiny_http` does not find this `close` in the second field line.
#[test]
fn s9112_9_6_close_has_a_response_field() {
    let serving = Serving::start();
    let fields = "Connection: keep-alive\r\nConnection: close\r\n";
    let response = serving.ask("GET /persons", fields, "");
    assert_eq!(
        (response.status, response.field("Connection")),
        (200, Some("close"))
    );
}

/// Responses that are sent before the content was read have Connection and Content-Length fields like
/// others.
#[test]
fn s9112_9_6_early_responses_are_framed_like_others() {
    let serving = Serving::start();
    serving.create("1");
    let expect = "Expect: 100-continue\r\nContent-Length: 2000";
    let chunked = "Expect: 100-continue\r\nTransfer-Encoding: chunked";
    for (version, fields, status, connection) in [
        ("HTTP/1.1", expect.to_owned(), 412, None),
        (
            "HTTP/1.1",
            format!("{expect}\r\nConnection: close"),
            412,
            Some("close"),
        ),
        ("HTTP/1.0", expect.to_owned(), 412, Some("close")),
        (
            "HTTP/1.0",
            format!("{expect}\r\nConnection: keep-alive"),
            412,
            Some("keep-alive"),
        ),
        ("HTTP/1.1", chunked.to_owned(), 412, Some("close")),
        (
            "HTTP/1.1",
            "Expect: 100-continue\r\nContent-Length: 200000".into(),
            413,
            None,
        ),
        (
            "HTTP/1.1",
            "Expect: 100-continue\r\nContent-Length: 20\r\nHost: y".into(),
            400,
            None,
        ),
        ("HTTP/1.1", "Content-Length: 200000".into(), 413, None),
        (
            "HTTP/1.1",
            "Content-Length: 200000000".into(),
            413,
            Some("close"),
        ),
        (
            "HTTP/1.1",
            "Transfer-Encoding: gzip".into(),
            400,
            Some("close"),
        ),
        ("HTTP/1.1", "Content-Length: x".into(), 400, Some("close")),
    ] {
        if is_hyper() && version == "HTTP/1.0" {
            // HTTP/1.0 has no expectations, so hyper waits for the content.
            continue;
        }
        let head =
            format!("/persons/1 {version}\r\nHost: x\r\nIf-Match: \"old\"\r\n{fields}\r\n\r\n");
        let get = serving.client().ask(format!("GET {head}"));
        for method in ["PUT", "HEAD"] {
            let response = serving.client().ask(format!("{method} {head}"));
            assert_eq!(response.status, status, "{method} {version} {fields}");
            let lines: Vec<_> = response
                .fields
                .iter()
                .filter(|(name, value)| name == "Connection" && value != "upgrade")
                .map(|(_, value)| value.as_str())
                .collect();
            // hyper closes the connection, so that it need not wait for content that is not needed.
            let ends = is_hyper() && fields.contains("Expect");
            let connection = if ends { Some("close") } else { connection };
            assert_eq!(
                lines,
                connection.into_iter().collect::<Vec<_>>(),
                "{method} {version} {fields}"
            );
            assert_eq!(
                response.field("Content-Length"),
                get.field("Content-Length"),
                "{method}"
            );
        }
    }
}

/// A refused request with `Connection: close` closes the connection, too.
#[test]
fn s9112_9_6_refusals_obey_close() {
    let serving = Serving::start();
    for fields in [
        "Content-Length: abc",
        "Transfer-Encoding: gzip",
        "Content-Length: 1, 1",
    ] {
        let mut client = serving.client();
        let head =
            format!("PUT /persons/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n\r\n");
        assert_eq!(client.ask(head).status, 400);
        assert!(client.is_closed());
    }
}

#[test]
fn s5_5_ambiguous_fields_are_refused() {
    let serving = Serving::start();
    serving.create("1");
    for field in [
        "X: a\nIf-None-Match: *",
        "X: a\rb",
        "X: a\0b",
        "X\0y: 1",
        ": x",
        "X(: 1",
        "X: \u{7f}",
    ] {
        let request = format!("GET /persons/1 HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
        let response = serving.client().ask(request);
        if is_hyper() {
            // hyper takes a bare line feed for the end of a line, as RFC 9112 allows. It refuses the
            // other fields without a message.
            let status = if field.contains('\n') { 304 } else { 400 };
            assert_eq!(
                (response.status, &*response.content),
                (status, ""),
                "{field:?}"
            );
            continue;
        }
        let message = "A field has a name that is not a token, or a control character in its value";
        assert_eq!(
            (response.status, &*response.message()),
            (400, message),
            "{field:?}"
        );
    }
    let response = serving.ask("GET /persons/1", "X-~1: a\tb\r\n", "");
    assert_eq!(response.status, 200);
}

/// After a request with invalid framing, later requests on the connection are not performed either.
#[test]
fn s9112_6_3_later_requests_after_invalid_framing_are_not_performed() {
    let serving = Serving::start();
    serving.create("1");
    // One connection is used throughout, because a new one could have the address and port of a
    // connection with invalid framing.
    let mut observer = serving.client();
    let mut state = || observer.ask(request("GET /persons", "", ""));
    let before = state();
    assert_eq!(before.status, 200);
    let smuggled = request("DELETE /persons/1", "If-Match: *\r\n", "");
    let long = request("PUT /persons/9", "If-Match: *\r\n", &"x".repeat(2000));
    let mut clients = Vec::new();
    for (fields, at_once) in [
        ("Content-Length: abc", ""),
        ("Transfer-Encoding: gzip", ""),
        ("Transfer-Encoding: gzip", &*format!("{long}{smuggled}")),
    ] {
        let mut client = serving.client();
        let head = format!("PUT /persons/1 HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{at_once}");
        assert_eq!(client.ask(head).status, 400);
        clients.push(client);
    }
    std::thread::sleep(std::time::Duration::from_millis(1500));
    for client in &mut clients {
        // The connection may be closed already.
        let _ = client.try_send(&smuggled);
    }
    std::thread::sleep(std::time::Duration::from_millis(100));
    drop(clients);
    // This takes longer than the server keeps track of closed connections.
    for _ in 0..80 {
        let now = state();
        assert_eq!(
            (now.status, now.field("ETag"), &now.content),
            (200, before.field("ETag"), &before.content)
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

/// After a refusal with `Connection: close` the server keeps the connection until the client closes it.
#[cfg(target_os = "linux")]
#[test]
fn a_refused_connection_is_released_when_the_client_closes_it() {
    let program = crate::support::serving::Program::start(&[]);
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{}/fd", program.child.id()))
            .unwrap()
            .count()
    };
    let mut client = Client::connect(program.address);
    let person = r#"{"person_id": "1", "person_name": "Wim"}"#;
    assert_eq!(client.ask(request("POST /persons", "", person)).status, 201);
    let before = descriptors();
    let list = client.ask(request("GET /persons", "", ""));
    let smuggled = request("DELETE /persons/1", "If-Match: *\r\n", "");
    for _ in 0..50 {
        for content in ["zz\r\n", "5\r\n{"] {
            let head = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut client = Client::connect(program.address);
            let smuggled = if content.ends_with('\n') {
                &*smuggled
            } else {
                ""
            };
            client.send(format!("{head}{content}{smuggled}"));
            client.finish_sending();
            assert_eq!(client.receive().status, 400);
        }
    }
    // The watchdog's probes need one or two descriptors at times.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while descriptors() > before + 4 {
        assert!(
            std::time::Instant::now() < deadline,
            "{} of {before}",
            descriptors()
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let after = client.ask(request("GET /persons", "", ""));
    assert_eq!(
        after.content, list.content,
        "no smuggled request was performed"
    );
}

/// The clients reset the connection before the server has sent a 413.
#[test]
fn announced_terabytes_and_a_reset_end_no_other_connection() {
    let program = crate::support::serving::Program::start(&[]);
    let announcement =
        "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000000\r\n\r\n";
    for _ in 0..300 {
        let mut client = Client::connect(program.address);
        client.send(GET);
        client.wait();
        client.send(announcement);
        // The connection is reset, because the client closes it with an unread response.
        drop(client);
    }
    let mut client = Client::connect(program.address);
    for _ in 0..50 {
        assert_eq!(client.ask(GET).status, 404);
    }
}

#[test]
fn s7_2_host() {
    let serving = Serving::start();
    serving.create("1");
    let needs = "An HTTP/1.1 request needs a Host field";
    let several = "A request must have exactly one Host field";
    let malformed = "Host must be a host name and an optional port";
    for (version, fields, message) in [
        ("HTTP/1.1", "Host: example.com\r\n", None),
        ("HTTP/1.1", "Host: example.com:5000\r\n", None),
        ("HTTP/1.1", "hOST:\t[::1]:5000\t\r\n", None),
        ("HTTP/1.1", "Host: [::1]\r\n", None),
        ("HTTP/1.1", "Host: 127.0.0.1:\r\n", None),
        ("HTTP/1.1", "Host: 127.0.0.1:0\r\n", None),
        ("HTTP/1.1", "Host:\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: \t \r\n", Some(malformed)),
        ("HTTP/1.1", "Host: :80\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: :\r\n", Some(malformed)),
        ("HTTP/1.1", "", Some(needs)),
        ("HTTP/1.1", "Host: a\r\nHost: b\r\n", Some(several)),
        ("HTTP/1.1", "Host: a\r\nHost: a\r\n", Some(several)),
        ("HTTP/1.1", "Host: a b\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: a, b\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: a/b\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: user@a\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: a:b\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: [::1\r\n", Some(malformed)),
        ("HTTP/1.1", "Host: http://a\r\n", Some(malformed)),
        ("HTTP/1.0", "", None),
        ("HTTP/1.0", "Host:\r\n", Some(malformed)),
        ("HTTP/1.0", "Host: a\r\nHost: b\r\n", Some(several)),
    ] {
        let response = serving
            .client()
            .ask(format!("GET /persons/1 {version}\r\n{fields}\r\n"));
        let (status, expected) = match message {
            None => (200, None),
            Some(message) => (400, Some(message.to_owned())),
        };
        let received = (response.status == 400).then(|| response.message());
        assert_eq!(
            (response.status, received),
            (status, expected),
            "{version} {fields}"
        );
    }
}

/// HTTP/0.9 has no fields and no statuses, so a client could not understand a response.
#[test]
fn s9112_2_3_http_0_9_is_refused() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    let message = "HTTP/0.9 is not supported; send the request as HTTP/1.1";
    let smuggled = request("DELETE /persons/1", "If-Match: *\r\n", "");
    for fields in [
        "",
        "Host: x\r\n",
        "Host: x\r\nConnection: keep-alive\r\n",
        "Host: x\r\nIf-Match: *\r\nContent-Length: 22\r\n",
        "Host: x\r\nConnection: close\r\n",
    ] {
        for method in ["GET", "PUT", "DELETE"] {
            let mut client = serving.client();
            let content = if fields.contains("Length") { TIM } else { "" };
            let head = format!("{method} /persons/1 HTTP/0.9\r\n{fields}\r\n{content}");
            client.send(format!("{head}{smuggled}"));
            let response = client.receive();
            assert_eq!(response.status, 400, "{head}");
            if is_hyper() {
                assert_eq!(response.content, "", "hyper refuses the request itself");
                assert!(client.is_closed());
            } else {
                let received = (&*response.message(), response.field("Connection"));
                assert_eq!(received, (message, Some("close")), "{head}");
            }
            assert_eq!(serving.state(), before, "{head}");
        }
    }
    // The HTTP library of each door refuses these requests and closes the connection.
    for line in ["GET /persons", "GET /persons HTTP/1.2", "GET / HTTP/1"] {
        let mut client = serving.client();
        client.send(format!("{line}\r\nHost: x\r\n\r\n{smuggled}"));
        let response = client.receive();
        assert_eq!((response.status, &*response.content), (400, ""), "{line}");
        assert!(client.is_closed(), "{line}");
        assert_eq!(serving.state(), before, "{line}");
    }
}

/// The requests are refused before the method is looked at.
#[test]
fn s9_3_2_head_is_never_answered_with_content() {
    let serving = Serving::start();
    serving.create("1");
    for fields in ["", "Host: a\r\nHost: b\r\n", "Host: a b\r\n"] {
        let mut client = serving.client();
        let response = client.ask(format!("HEAD /persons/1 HTTP/1.1\r\n{fields}\r\n"));
        assert_eq!(response.status, 400);
        assert_eq!(
            client.ask(GET).status,
            200,
            "no bytes are between two responses"
        );
    }
}

/// Content with lengths around the limits of buffers and of the server, with Content-Length and
/// chunked.
#[test]
fn s9112_6_content_of_any_length() {
    let serving = Serving::start();
    serving.create("1");
    let mut client = serving.client();
    for length in [
        60, 1023, 1024, 1025, 4096, 65_535, 65_536, 65_537, 200_000, 3_000_000,
    ] {
        let frame = r#"{"person_name": ""}"#.len();
        let name = "x".repeat(length - frame);
        let content = format!(r#"{{"person_name": "{name}"}}"#);
        let expected = if length > 65_536 { 413 } else { 200 };

        let response = client.ask(request("PUT /persons/1", "If-Match: *\r\n", &content));
        assert_eq!(response.status, expected, "{length}");
        if expected == 413 {
            assert_eq!(response.message(), "The content is longer than 65536 bytes");
        }

        let mut chunked = String::from(
            "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nTransfer-Encoding: Chunked\r\n\r\n",
        );
        for chunk in content.as_bytes().chunks(1000) {
            let chunk = std::str::from_utf8(chunk).unwrap();
            chunked += &format!("{:X};extension=x\r\n{chunk}\r\n", chunk.len());
        }
        chunked += "0\r\n\r\n";
        let mut other = serving.client();
        let response = other.ask(chunked);
        assert_eq!(response.status, expected, "{length}");
        match expected {
            200 => assert_eq!(
                other.ask(GET).status,
                200,
                "the connection stays open after chunks"
            ),
            _ => assert!(
                response
                    .fields
                    .contains(&("Connection".into(), "close".into()))
            ),
        }
        assert_eq!(client.ask(GET).status, 200, "the connection stays open");
    }
}

#[test]
fn content_that_is_not_needed_is_skipped() {
    let serving = Serving::start();
    serving.create("1");
    for content in ["x".repeat(10), "x".repeat(3000)] {
        let mut client = serving.client();
        for line in [
            "GET /persons/1",
            "HEAD /persons/1",
            "OPTIONS *",
            "GET /nothing",
        ] {
            let response = client.ask(request(line, "", &content));
            assert!([200, 404].contains(&response.status));
        }
        assert_eq!(
            client
                .ask(request("DELETE /persons/1", "If-Match: *\r\n", &content))
                .status,
            204
        );
        serving.create("1");
        assert_eq!(client.ask(GET).status, 200);
    }
}

#[test]
fn s10_1_1_expect_100_continue() {
    let serving = Serving::start();
    serving.create("1");
    let content = r#"{"person_name": "Tim"}"#;
    let head = |fields: &str| {
        format!(
            "PUT /persons/1 HTTP/1.1\r\nHost: x\r\n{fields}Expect: 100-continue\r\n\
             Content-Length: {}\r\n\r\n",
            content.len()
        )
    };
    // The server refuses the request at once, without a 100, so the client does not send the content.
    let before = serving.state();
    for (fields, status) in [
        ("If-Match: \"old\"\r\n", 412),
        ("If-None-Match: *\r\n", 412),
    ] {
        assert_eq!(serving.client().ask(head(fields)).status, status);
    }
    let missing = head("If-Match: *\r\n").replace("/persons/1", "/persons/2");
    assert_eq!(serving.client().ask(missing).status, 404);
    let long = head("").replace("Content-Length: ", "Content-Length: 9000");
    assert_eq!(serving.client().ask(long).status, 413);
    assert_eq!(serving.state(), before);

    let mut client = serving.client();
    client.send(head("If-Match: *\r\n"));
    assert_eq!(client.receive_head().status, 100);
    client.send(content);
    assert_eq!(client.receive().status, 200);
    assert_eq!(client.ask(GET).status, 200);

    let mut client = serving.client();
    client.send(
        "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\nExpect: 100-continue\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.receive_head().status, 100);
    client.send(format!("{:x}\r\n{content}\r\n0\r\n\r\n", content.len()));
    let replaced = client.receive();
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.field("Connection"), None);
    assert_eq!(client.ask(GET).status, 200);

    // The client sends its content after the refusal. tiny_http skips the content and goes on. hyper
    // has announced that it closes the connection, and has closed it.
    let mut client = serving.client();
    let response = client.ask(head("If-Match: \"old\"\r\n"));
    assert_eq!(response.status, 412);
    if is_hyper() {
        assert_eq!(response.field("Connection"), Some("close"));
        assert!(client.is_closed());
    } else {
        client.send(content);
        assert_eq!(client.ask(GET).status, 200);
    }
}

/// Heads that two servers could interpret as different requests. The bytes after the head are a
/// request that must never be performed.
#[test]
fn s9112_6_3_untrustworthy_framing() {
    let encoding = "Transfer-Encoding must be exactly `chunked`, and only in HTTP/1.1";
    let both = "A request must not have both Content-Length and Transfer-Encoding";
    let length = "Content-Length must be one decimal number";
    let malformed = "The chunked content is malformed";
    let long = "The content is longer than 65536 bytes";
    let empty = "0\r\n\r\n";
    let endless = format!("11000\r\n{}", "x".repeat(0x11000));
    for (fields, content, message) in [
        ("Transfer-Encoding: gzip", empty, encoding),
        ("Transfer-Encoding: gzip, chunked", empty, encoding),
        ("Transfer-Encoding: chunked, chunked", empty, encoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            empty,
            encoding,
        ),
        ("Transfer-Encoding: xchunked", empty, encoding),
        ("Transfer-Encoding: \"chunked\"", empty, encoding),
        ("Transfer-Encoding:", empty, encoding),
        ("Transfer-Encoding: identity", "", encoding),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            empty,
            both,
        ),
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            empty,
            both,
        ),
        ("Content-Length: 0\r\nTransfer-Encoding: gzip", "", both),
        ("Content-Length: 2\r\nContent-Length: 40", "{}", length),
        ("Content-Length: 2\r\nContent-Length: 2", "{}", length),
        (
            "Content-Length: 2000\r\nContent-Length: 40",
            &*"x".repeat(2000),
            length,
        ),
        ("Content-Length: +2000", &*"x".repeat(2000), length),
        (
            "Content-Length: 300000\r\nContent-Length: 40",
            &*"x".repeat(300_000),
            length,
        ),
        (
            "Content-Length: 4\r\nContent-Length: 2\r\nExpect: 100-continue",
            "{}  ",
            length,
        ),
        ("Content-Length: 2, 2", "{}", length),
        ("Content-Length: -1", "", length),
        ("Content-Length: +2", "{}", length),
        ("Content-Length: abc", "", length),
        ("Content-Length: 0x2", "{}", length),
        ("Content-Length: 2.0", "{}", length),
        ("Content-Length: 1 2", "{}", length),
        ("Content-Length:", "", length),
        ("Content-Length: 99999999999999999999", "", long),
        ("Content-Length: 99999999999999", "", long),
        ("Transfer-Encoding: chunked", "zz\r\n", malformed),
        ("Transfer-Encoding: chunked", "2\r\n{}x", malformed),
        ("Transfer-Encoding: chunked", "2{}\r\n", malformed),
        (
            "Transfer-Encoding: chunked",
            "-2\r\n{}\r\n0\r\n\r\n",
            malformed,
        ),
        (
            "Transfer-Encoding: chunked",
            "99999999999999999\r\n",
            malformed,
        ),
        ("Transfer-Encoding: chunked", &endless, long),
    ] {
        if is_hyper() && fields == "Content-Length: 2\r\nContent-Length: 2" {
            // hyper takes two equal lengths for one, as RFC 9110 section 8.6 allows.
            continue;
        }
        for method in ["PUT", "GET"] {
            let serving = Serving::start();
            serving.create("1");
            let before = serving.state();
            let smuggled = request("DELETE /persons/1", "If-Match: *\r\n", "");
            let mut client = serving.client();
            let head =
                format!("{method} /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n{fields}");
            let response = client.ask(format!("{head}\r\n\r\n{content}{smuggled}"));
            let status = if message == long { 413 } else { 400 };
            if is_hyper() && [both, length].contains(&message) {
                // RFC 9112 lets a server read chunked content and ignore Content-Length, if it closes
                // the connection afterwards. hyper refuses an invalid length itself.
                let known = [200, 400].contains(&response.status);
                assert!(known && client.is_closed(), "{fields}");
            } else if is_hyper() && response.content.is_empty() {
                assert_eq!(
                    (response.status, client.is_closed()),
                    (400, true),
                    "{fields}"
                );
            } else {
                assert_eq!(
                    (response.status, response.message().trim_end()),
                    (status, message),
                    "{fields}"
                );
            }
            for _ in 0..20 {
                assert_eq!(
                    serving.state(),
                    before,
                    "{method} {fields}: the smuggled request was performed"
                );
            }
        }
    }
    let serving = Serving::start();
    let response = serving
        .client()
        .ask("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    assert_eq!(response.status, 400);
    assert!(is_hyper() || response.message() == encoding);
}

#[test]
fn s15_5_15_target_too_long() {
    let serving = Serving::start();
    let target = |length: usize| format!("GET /{}", "x".repeat(length - 1));
    assert_eq!(serving.ask(&target(8192), "", "").status, 404);
    let response = serving.ask(&target(8193), "", "");
    assert_eq!(
        (response.status, &*response.message()),
        (414, "The request target is longer than 8192 bytes")
    );
}

/// A client may announce any length with any method. Other clients are still served.
#[test]
fn announced_terabytes_end_no_other_connection() {
    let serving = Serving::start();
    serving.create("1");
    let before = serving.state();
    let mut held: Vec<Client> = Vec::new();
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "BREW"] {
        for fields in [
            "",
            "Expect: 100-continue\r\n",
            "If-Match: \"old\"\r\n",
            "Connection: close\r\n",
        ] {
            let mut client = serving.client();
            let response = client.ask(format!(
                "{method} /persons/1 HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 10000000000000\r\n\r\n"
            ));
            assert_eq!(response.status, 413, "{method} {fields}");
            held.push(client);
        }
    }
    assert_eq!(serving.state(), before);
    drop(held);
    assert_eq!(serving.state(), before);
}

#[test]
fn the_limit_of_content_can_be_configured() {
    for limit in [0, 30, 2_000_000] {
        let mut options = options();
        options.policy.max_content = limit;
        let serving = Serving::with(MemoryStore::new(), options);
        for length in [20, 100_000, 1_999_999, 2_000_001] {
            let name = "x".repeat(length - r#"{"person_name": ""}"#.len());
            let content = format!(r#"{{"person_name": "{name}"}}"#);
            let response = serving.ask("PUT /persons/1", "If-None-Match: *\r\n", &content);
            let taken = length as u64 <= limit;
            assert_eq!(
                response.status == 413,
                !taken,
                "{length} of {limit}: {}",
                response.status
            );
        }
    }
}
