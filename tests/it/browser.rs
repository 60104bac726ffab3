//! The page for browsers: when it is served, and with which fields.

use ifmatch::{Collections, Profile, Token};

use crate::support::api::{Api, tag, text};
use crate::support::client::{Client, request};
use crate::support::serving::{Program, Serving};

/// The Accept field of Chromium and Firefox for an address that a user enters.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,\
                       image/webp,*/*;q=0.8";

const FILES: [(&str, &str); 3] = [
    ("/", "text/html; charset=utf-8"),
    ("/page.js", "text/javascript; charset=utf-8"),
    ("/page.css", "text/css; charset=utf-8"),
];

#[test]
fn s12_5_1_html_is_for_clients_that_prefer_it() {
    let api = Api::compatible();
    for (accept, html) in [
        (BROWSER, true),
        ("text/html", true),
        ("TEXT/HTML", true),
        ("text/*", true),
        ("text/html;level=1", true),
        ("text/html, application/json;q=0.9", true),
        ("text/html;q=0.001", true),
        ("text/html;q=0.5, */*;q=0.4", true),
        ("application/json;q=0.999, text/html;q=1.000", true),
        ("", false),
        ("*/*", false),
        ("text/plain", false),
        ("application/json", false),
        ("application/*, text/html;q=0.9", false),
        ("text/html, application/json", false),
        ("text/html;q=0.8, */*;q=0.9", false),
        ("text/html;q=0, */*;q=0", false),
        ("text/html;q=0, text/*", false),
        ("text/html;q=2", false),
        ("text/html;q=", false),
        ("text/html;q=1.001", false),
        ("text/html;q=é", false),
        ("x/text/html", false),
        ("\"text/html\"", false),
    ] {
        let response = api.ask("GET /", &[("Accept", accept)], "");
        let expected = if html { FILES[0].1 } else { "application/json" };
        assert_eq!(response.field("Content-Type"), Some(expected), "{accept}");
        assert_eq!(response.field("Vary"), Some("Accept"), "{accept}");
    }
    let lines = [
        ("Accept", "application/json;q=0.5"),
        ("Accept", "text/html"),
    ];
    let response = api.ask("GET /", &lines, "");
    assert_eq!(response.field("Content-Type"), Some(FILES[0].1));
    // Documents are JSON for browsers, too.
    for target in ["/persons", "/openapi.json"] {
        let response = api.ask(&format!("GET {target}"), &[("Accept", BROWSER)], "");
        assert_eq!(response.field("Content-Type"), Some("application/json"));
        assert_eq!(response.field("Vary"), None);
    }
}

#[test]
fn each_file_has_a_tag_and_strict_fields() {
    let serving = Serving::start();
    let accept = format!("Accept: {BROWSER}\r\n");
    let mut tags = vec![
        serving
            .ask("GET /", "", "")
            .field("ETag")
            .unwrap()
            .to_owned(),
    ];
    for (target, content_type) in FILES {
        let get = serving.ask(&format!("GET {target}"), &accept, "");
        assert_eq!(
            (get.status, get.field("Content-Type")),
            (200, Some(content_type))
        );
        assert_eq!(get.field("X-Content-Type-Options"), Some("nosniff"));
        assert_eq!(get.field("Cache-Control"), Some("no-cache"));
        let tag = get.field("ETag").unwrap().to_owned();
        let known = format!("{accept}If-None-Match: {tag}\r\n");
        let unchanged = serving.ask(&format!("GET {target}"), &known, "");
        assert_eq!(
            (unchanged.status, unchanged.field("ETag")),
            (304, Some(&*tag))
        );
        assert_eq!(unchanged.field("Vary"), (target == "/").then_some("Accept"));
        let head = serving.ask(&format!("HEAD {target}"), &accept, "");
        let of_get = |name: &str| get.field(name).map(str::to_owned);
        for name in [
            "Content-Type",
            "Content-Length",
            "ETag",
            "Content-Security-Policy",
        ] {
            assert_eq!(head.field(name), of_get(name).as_deref(), "{target} {name}");
        }
        let options = serving.ask(&format!("OPTIONS {target}"), "", "");
        assert_eq!(options.field("Allow"), Some("GET, HEAD, OPTIONS"));
        for method in ["POST", "PUT", "DELETE"] {
            let refused = serving.ask(&format!("{method} {target}"), &accept, "{}");
            assert_eq!(
                (refused.status, refused.field("Allow")),
                (405, Some("GET, HEAD, OPTIONS"))
            );
        }
        tags.push(tag);
    }
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), 4, "each representation has its own tag");
    let page = serving.ask("GET /", &accept, "");
    assert_eq!(
        page.field("Content-Security-Policy"),
        Some(
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
    );
    assert_eq!(page.field("Referrer-Policy"), Some("no-referrer"));
}

/// The page is small, loads nothing from other sites, and has nothing that its Content-Security-Policy
/// forbids.
#[test]
fn the_files_are_small_and_load_nothing_else() {
    let api = Api::compatible();
    let files = FILES
        .map(|(target, _)| text(&api.ask(&format!("GET {target}"), &[("Accept", BROWSER)], "")));
    let size: usize = files.iter().map(String::len).sum();
    assert!(size <= 40_000, "{size}");
    for file in &files {
        for foreign in [
            "http://",
            "https://",
            "src=\"/",
            "href=\"/",
            " style=",
            "innerHTML",
        ] {
            assert!(!file.contains(foreign), "{foreign}");
        }
    }
    assert_eq!(files[0].matches("<script").count(), 1);
    assert!(files[0].contains("<script type=\"module\" src=\"page.js\"></script>"));
    assert!(!files[0].contains("<style") && !files[0].contains(" onclick"));
}

#[test]
fn the_page_is_served_under_the_prefix() {
    let mut api = Api::compatible();
    api.policy.collections = Collections::default().under("/api/v1").unwrap();
    for (target, content_type) in FILES {
        let ask = |target: &str| api.ask(&format!("GET {target}"), &[("Accept", BROWSER)], "");
        let response = ask(&format!("/api/v1{target}"));
        assert_eq!(response.field("Content-Type"), Some(content_type));
        assert_eq!(ask(target).status(), 404);
    }
}

/// A browser loads the page before it can ask for the token.
#[test]
fn the_page_needs_no_token_and_the_documents_do() {
    for profile in [Profile::Compatible, Profile::Strict] {
        let serving = Serving::guarded(profile, |access| {
            access.require_token(Token::new("secret").unwrap());
        });
        let accept = format!("Accept: {BROWSER}\r\n");
        for (target, _) in FILES {
            for method in ["GET", "HEAD"] {
                let response = serving.ask(&format!("{method} {target}"), &accept, "");
                assert_eq!(response.status, 200, "{method} {target}");
            }
        }
        for (line, fields) in [
            ("GET /", ""),
            ("GET /", "Accept: application/json\r\n"),
            ("GET /persons", &*accept),
            ("GET /persons/1", &accept),
            ("GET /openapi.json", &accept),
            ("GET /page.js/1", &accept),
            ("GET /nothing", &accept),
            ("PUT /page.js", &accept),
            ("POST /", &accept),
        ] {
            assert_eq!(serving.ask(line, fields, "").status, 401, "{line}");
        }
    }
}

#[test]
fn the_page_can_be_switched_off() {
    let program = Program::start(&["--no-page"]);
    let mut client = Client::connect(program.address);
    let accept = format!("Accept: {BROWSER}\r\n");
    let root = client.ask(request("GET /", &accept, ""));
    assert_eq!(root.field("Content-Type"), Some("application/json"));
    assert_eq!(root.field("Vary"), None);
    for target in ["/page.js", "/page.css"] {
        for method in ["GET", "OPTIONS", "PUT"] {
            let response = client.ask(request(&format!("{method} {target}"), &accept, ""));
            assert_eq!(response.status, 404, "{method} {target}");
        }
    }
    let guarded = Serving::configured(|options| {
        options.policy.browser_page = false;
        let token = Token::new("secret").unwrap();
        options.policy.access.require_token(token);
    });
    for (target, _) in FILES {
        let response = guarded.ask(&format!("GET {target}"), &accept, "");
        assert_eq!(response.status, 401, "{target}");
    }
}

#[test]
fn vary_names_accept_and_origin() {
    let mut api = Api::compatible();
    api.policy
        .access
        .allow_origin("https://app.example")
        .unwrap();
    let root = api.ask("GET /", &[("Accept", BROWSER)], "");
    assert_eq!(root.field("Vary"), Some("Accept, Origin"));
    let known = tag(&root);
    let json = api.ask("GET /", &[("If-None-Match", &known)], "");
    assert_eq!(
        json.status(),
        200,
        "the tag is that of the other representation"
    );
}
