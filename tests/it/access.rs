//! The access rules: origins, hosts and tokens.

use ifmatch::{Access, Profile, Token};

use crate::support::client::{Client, RawResponse, request};
use crate::support::serving::Serving;

const WIM: &str = r#"{"person_id": "1", "person_name": "Wim"}"#;
const TIM: &str = r#"{"person_name": "Tim"}"#;

fn serve(configure: impl FnOnce(&mut Access)) -> Serving {
    Serving::guarded(Profile::Compatible, configure)
}

/// Sends a request with this Host field.
fn ask(serving: &Serving, line: &str, host: &str, fields: &str, content: &str) -> RawResponse {
    let request = request(line, fields, content).replace("Host: x", &format!("Host: {host}"));
    serving.client().ask(request)
}

/// After DNS rebinding, requests of a foreign page have the same name in Host and Origin.
#[test]
fn pages_of_foreign_origins_change_nothing() {
    let serving = Serving::start();
    serving.create("1");
    let port = serving.address.port();
    let before = serving.state();
    let foreign = [
        "http://evil.example".to_owned(),
        format!("http://evil.example:{port}"),
        "null".into(),
        "http://localhost".into(),
        "http://localhost:1".into(),
        format!("https://localhost:{port}"),
        format!("http://localhost.evil.example:{port}"),
        format!("http://localhost:{port}.evil.example"),
        format!("http://x@localhost:{port}"),
        format!("localhost:{port}"),
        String::new(),
    ];
    for origin in &foreign {
        for host in [
            "localhost",
            &format!("evil.example:{port}"),
            &format!("127.0.0.1:{port}"),
        ] {
            let fields = format!("Origin: {origin}\r\nIf-Match: *\r\n");
            for (line, content) in [
                (
                    "POST /persons",
                    r#"{"person_id": "2", "person_name": "Eve"}"#,
                ),
                ("PUT /persons/1", TIM),
                ("DELETE /persons/1", ""),
                ("PUT /nothing", TIM),
            ] {
                let response = ask(&serving, line, host, &fields, content);
                assert_eq!(response.status, 403, "{line} {origin} {host}");
                assert_eq!(
                    response.message(),
                    "Pages of this origin may not change anything here"
                );
                assert_eq!(response.field("Access-Control-Allow-Origin"), None);
            }
            // The server performs a read. The browser keeps the response from the page, because no
            // field of the response allows the origin.
            let response = ask(&serving, "GET /persons/1", host, &fields, "");
            assert_eq!(response.status, 200);
            assert_eq!(response.field("Access-Control-Allow-Origin"), None);
        }
    }
    assert_eq!(serving.state(), before);
    // One foreign origin among several is enough for a refusal.
    let two = format!("Origin: http://localhost:{port}\r\nOrigin: http://evil.example\r\n");
    assert_eq!(ask(&serving, "POST /persons", "x", &two, WIM).status, 403);
}

/// The message names the origin that is refused, and the flag that allows it.
#[test]
fn a_refusal_names_the_origin() {
    let flags = "--allow-origin with it lets its pages read and write here, and --allow-host is \
                 for a name of this server, such as that of a proxy in front of it";
    let none = "neither --allow-origin nor --allow-host can name it; a page that comes from a web \
                server, and not from a file, has an origin that can be named";
    for profile in [Profile::Compatible, Profile::Strict] {
        let serving = Serving::guarded(profile, |_| ());
        let own = format!("http://127.0.0.1:{}", serving.address.port());
        for (fields, origin, advice) in [
            (
                "Origin: http://localhost:5173",
                "http://localhost:5173",
                flags,
            ),
            ("Origin: null", "null", none),
            ("Origin:", "", none),
            (
                "Origin: x\", \"message\": \"<b>\\",
                "x\", \"message\": \"<b>\\",
                none,
            ),
            (
                &format!("Origin: {own}\r\nOrigin: https://evil.example"),
                "https://evil.example",
                flags,
            ),
        ] {
            let response = serving.ask("POST /persons", &format!("{fields}\r\n"), WIM);
            assert_eq!(response.status, 403);
            let message = "Pages of this origin may not change anything here";
            let detail = format!("the origin is `{origin}`; {advice}");
            let value: serde_json::Value = serde_json::from_str(&response.content).unwrap();
            let expected = match profile {
                Profile::Compatible => serde_json::json!({"detail": detail, "message": message}),
                Profile::Strict => serde_json::json!({
                    "detail": format!("{message}: {detail}"),
                    "status": 403,
                    "title": "Forbidden",
                    "type": "about:blank",
                }),
            };
            assert_eq!(value, expected);
        }
    }
}

#[test]
fn pages_of_the_server_and_clients_without_origin_may_write() {
    let serving = Serving::start();
    let port = serving.address.port();
    let own = ["localhost", "127.0.0.1", "[::1]", "LOCALHOST"];
    let own = own.map(|name| format!("Origin: http://{name}:{port}\r\n"));
    for (number, fields) in own.into_iter().chain([String::new()]).enumerate() {
        let content = format!(r#"{{"person_id": "{number}", "person_name": "Wim"}}"#);
        for host in ["anything.example", "localhost"] {
            let response = ask(&serving, "POST /persons", host, &fields, &content);
            assert_eq!(
                response.status,
                if host == "localhost" { 400 } else { 201 },
                "{fields}"
            );
        }
    }
}

#[test]
fn other_names_than_the_allowed_hosts_are_refused() {
    let serving = serve(|access| {
        access.allow_host("api.example").unwrap();
        access.allow_host("other.example:8080").unwrap();
    });
    let port = serving.address.port();
    for host in [
        "api.example",
        "API.example:80",
        "api.example:9999",
        "api.example:",
        "other.example:8080",
    ] {
        assert_eq!(
            ask(&serving, "GET /persons", host, "", "").status,
            200,
            "{host}"
        );
    }
    for host in [
        "evil.example",
        "localhost",
        "other.example",
        "other.example:80",
        "x.api.example",
    ] {
        for line in ["GET /persons", "OPTIONS /persons", "PUT /nothing"] {
            let response = ask(&serving, line, host, "", "");
            assert_eq!(response.status, 421, "{line} {host}");
            assert_eq!(
                response.message(),
                "The server is not known by this host name"
            );
        }
    }
    // The authority of a target in absolute form takes precedence over Host.
    let line = "GET http://evil.example/persons";
    assert_eq!(ask(&serving, line, "api.example", "", "").status, 421);
    let line = "GET http://api.example/persons";
    assert_eq!(ask(&serving, line, "evil.example", "", "").status, 200);
    // Pages of an allowed host are the server's own, on the port of the server and on the default
    // port, which a proxy has.
    for (origin, status) in [
        ("https://api.example".to_owned(), 201),
        ("http://api.example".into(), 400),
        (format!("http://api.example:{port}"), 400),
        ("http://api.example:1".into(), 403),
        ("http://other.example:8080".into(), 400),
        ("http://other.example".into(), 403),
    ] {
        let fields = format!("Origin: {origin}\r\n");
        let response = ask(&serving, "POST /persons", "api.example", &fields, WIM);
        assert_eq!(response.status, status, "{origin}");
    }
}

/// Section 7.4 of RFC 9110: the server has no TLS, so it accepts https targets only for a host that
/// `--allow-host` names. A proxy in front of the server has TLS for that host.
#[test]
fn s7_4_https_needs_tls() {
    let message = "The target is an https URI and this connection has no TLS; \
                behind a proxy with TLS, start the server with --allow-host";
    let unnamed = serve(|access| access.require_token(Token::new("secret").unwrap()));
    for line in [
        "GET https://x/",
        "GET https://x/persons",
        "HEAD HTTPS://x/persons",
        "PUT Https://x/persons/1",
        "OPTIONS https://x/persons",
        "GET https://x/nothing",
        "BREW https://x/persons",
    ] {
        let response = unnamed.ask(line, "If-Match: *\r\n", "");
        assert_eq!(response.status, 421, "{line}");
        if !line.starts_with("HEAD") {
            assert_eq!(response.message(), message, "{line}");
        }
        let http = line.replace("https", "http").replace("HTTPS", "HTTP");
        let response = unnamed.ask(&http.replace("Https", "Http"), "", "");
        assert_ne!(response.status, 421, "{http}");
    }
    let named = serve(|access| {
        access.allow_host("api.example").unwrap();
        access.allow_host("other.example:8443").unwrap();
    });
    for (target, status) in [
        ("https://api.example/persons", 200),
        ("https://API.example:443/persons", 200),
        ("https://other.example:8443/persons", 200),
        ("https://other.example/persons", 421),
        ("https://evil.example/persons", 421),
    ] {
        let response = named.ask(&format!("GET {target}"), "", "");
        assert_eq!(response.status, status, "{target}");
        if status == 421 {
            let unknown = "The server is not known by this host name";
            assert_eq!(response.message(), unknown, "{target}");
        }
    }
}

const EXPOSED: &str = "ETag, Location, Link, Preference-Applied, Content-Location, Accept-Patch, \
                       Allow, Date, Retry-After";

#[test]
fn pages_of_allowed_origins_read_every_response() {
    let serving = serve(|access| {
        access.allow_origin("https://APP.example:443").unwrap();
        access.allow_origin("http://localhost:3000").unwrap();
    });
    let tag = serving.create("1");
    for origin in ["https://app.example", "http://localhost:3000"] {
        for (line, fields, content, status) in [
            ("GET /persons/1", String::new(), "", 200),
            ("GET /persons/1", "If-None-Match: *\r\n".into(), "", 304),
            ("PUT /persons/1", "If-Match: \"old\"\r\n".into(), TIM, 412),
            (
                "PUT /persons/1",
                "If-Match: \"old\"\r\n".into(),
                &*TIM.repeat(100),
                412,
            ),
            ("GET /persons/9", String::new(), "", 404),
            ("PUT /persons", String::new(), "", 405),
            ("BREW /", String::new(), "", 501),
            ("GET /", "Host: y\r\n".into(), "", 400),
            (
                "POST /persons",
                "Content-Length: 99999999\r\n".into(),
                "",
                413,
            ),
            ("OPTIONS /persons", String::new(), "", 200),
        ] {
            let fields = format!("Origin: {origin}\r\n{fields}");
            let response = serving.ask(line, &fields, content);
            assert_eq!(response.status, status, "{line}");
            assert_eq!(
                response.field("Access-Control-Allow-Origin"),
                Some(origin),
                "{line}"
            );
            assert_eq!(
                response.field("Access-Control-Expose-Headers"),
                Some(EXPOSED)
            );
            assert_eq!(response.field("Vary"), Some("Origin"));
            assert_eq!(response.field("Access-Control-Allow-Methods"), None);
        }
        let fields = format!("Origin: {origin}\r\nIf-Match: {tag}\r\n");
        assert_eq!(
            serving.ask("PUT /persons/1", &fields, TIM).status,
            if origin.starts_with("https") {
                200
            } else {
                412
            }
        );
    }
    for origin in [
        "https://evil.example",
        "null",
        "http://app.example",
        "https://app.example.evil.example",
    ] {
        let response = serving.ask("GET /persons/1", &format!("Origin: {origin}\r\n"), "");
        assert_eq!(response.status, 200);
        assert_eq!(response.field("Access-Control-Allow-Origin"), None);
        assert_eq!(
            response.field("Vary"),
            Some("Origin"),
            "a cache must store a response for each origin"
        );
    }
}

#[test]
fn preflights_allow_what_the_target_has() {
    let accepted = "If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Prefer, \
                    Idempotency-Key, Content-Type, Authorization";
    let serving = serve(|access| {
        access.allow_origin("https://app.example").unwrap();
        access.require_token(Token::new("secret").unwrap());
    });
    for (target, methods) in [
        ("/persons", "GET, HEAD, POST, OPTIONS"),
        ("/persons/1", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let fields = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n\
                      Access-Control-Request-Headers: if-match\r\n";
        let response = serving.ask(&format!("OPTIONS {target}"), fields, "");
        assert_eq!(response.status, 200);
        assert_eq!(
            response.field("Access-Control-Allow-Origin"),
            Some("https://app.example")
        );
        assert_eq!(
            response.field("Access-Control-Allow-Methods"),
            Some(methods)
        );
        assert_eq!(
            response.field("Access-Control-Allow-Headers"),
            Some(accepted)
        );
        assert_eq!(response.field("Access-Control-Max-Age"), Some("600"));
        let foreign = fields.replace("app", "evil");
        let response = serving.ask(&format!("OPTIONS {target}"), &foreign, "");
        assert_eq!(
            (
                response.status,
                response.field("Access-Control-Allow-Methods")
            ),
            (200, None)
        );
    }
}

#[test]
fn any_origin_may_be_allowed() {
    let serving = serve(|access| access.allow_origin("*").unwrap());
    let response = serving.ask("POST /persons", "Origin: https://some.example\r\n", WIM);
    assert_eq!(response.status, 201);
    assert_eq!(response.field("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(response.field("Vary"), None);
    let response = serving.ask("GET /persons", "", "");
    assert_eq!(response.field("Access-Control-Allow-Origin"), None);
}

#[test]
fn rfc6750_requests_need_the_token() {
    let serving = serve(|access| access.require_token(Token::new("s3cr-e.t_~+/==").unwrap()));
    let missing = (401, Some("Bearer realm=\"ifmatch\""));
    let wrong = (
        401,
        Some("Bearer realm=\"ifmatch\", error=\"invalid_token\""),
    );
    for (fields, expected) in [
        ("", missing),
        ("Authorization: Basic czNjcjp4\r\n", missing),
        ("Authorization: s3cr-e.t_~+/==\r\n", missing),
        ("Authorization: Bearer\r\n", missing),
        (
            "Authorization: Bearer s3cr-e.t_~+/==\r\nAuthorization: Bearer s3cr-e.t_~+/==\r\n",
            missing,
        ),
        ("Authorization: Bearer s3cr-e.t_~+/=\r\n", wrong),
        ("Authorization: Bearer s3cr-e.t_~+/===\r\n", wrong),
        ("Authorization: Bearer S3cr-e.t_~+/==\r\n", wrong),
        ("Authorization: Bearer x\r\n", wrong),
        ("Authorization: Bearer s3cr-e.t_~+/==\r\n", (200, None)),
        ("authorization: bearer   s3cr-e.t_~+/==\r\n", (200, None)),
    ] {
        for line in [
            "GET /persons",
            "GET /",
            "DELETE /persons/9",
            "BREW /nothing",
        ] {
            let response = serving.ask(line, fields, "");
            let challenge = response.field("WWW-Authenticate");
            if expected.0 == 401 {
                assert_eq!((response.status, challenge), expected, "{line} {fields}");
                assert!(
                    !response.content.contains("s3cr"),
                    "the content must not show the token"
                );
            } else {
                assert_ne!(response.status, 401, "{line} {fields}");
            }
        }
    }
    assert_eq!(serving.ask("OPTIONS /persons", "", "").status, 200);
    // A request without a token is refused before its content is uploaded.
    let head = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\
                Content-Length: 5000\r\n\r\n";
    assert_eq!(Client::connect(serving.address).ask(head).status, 401);
    let secret = Token::new("secret").unwrap();
    assert_eq!(format!("{secret:?}"), "Token(..)");
}

#[test]
fn an_error_says_why_a_value_cannot_be_allowed() {
    let mut access = Access::default();
    let slash = "; it ends with the host or the port, without a path or a `/`";
    let star = "; `*` stands alone, for every origin, so name each one that is to be allowed";
    for (origin, hint) in [
        ("", ""),
        ("app.example", ""),
        ("https://", ""),
        ("https:///", ""),
        ("https://app.example/", slash),
        ("http://localhost:5173/notes?x", slash),
        ("ftp://x", ""),
        ("ftp://x/", ""),
        ("null", ""),
        ("https://a b", ""),
        ("http://*.example", star),
        ("http://*", star),
        ("https://app.example:*", star),
        ("**", star),
    ] {
        assert_eq!(
            access.allow_origin(origin).unwrap_err().to_string(),
            format!("an origin is `*` or such as https://example.com, not `{origin}`{hint}")
        );
    }
    for host in [
        "",
        "a b",
        "http://a",
        "a/b",
        "a:b",
        "a:",
        ":80",
        "[]",
        "[]:80",
        "*",
        "*.example",
    ] {
        assert_eq!(
            access.allow_host(host).unwrap_err().to_string(),
            format!("a host is such as example.com or example.com:8080, not `{host}`")
        );
    }
    for (token, expected) in [
        ("", "the token is empty"),
        ("==", "the token is empty"),
        (
            "a b",
            "a token has letters, digits and -._~+/ only, and = at its end",
        ),
        (
            "a=b",
            "a token has letters, digits and -._~+/ only, and = at its end",
        ),
        (
            "ü",
            "a token has letters, digits and -._~+/ only, and = at its end",
        ),
    ] {
        assert_eq!(Token::new(token).unwrap_err().to_string(), expected);
    }
}
