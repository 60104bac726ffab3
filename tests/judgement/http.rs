//! The conversions from and to the types of the crate `http`.

use std::time::UNIX_EPOCH;

use http::header::{ETAG, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, LAST_MODIFIED};
use http::{Response, StatusCode};
use ifmatch::{EntityTag, HttpDate, Method, NotPerformed, Validators, WithoutIfMatch, judge};

fn current() -> Validators {
    Validators {
        entity_tag: Some(EntityTag::strong("café").unwrap()),
        last_modified: Some(HttpDate::from(UNIX_EPOCH)),
    }
}

fn judged(method: &http::Method, fields: &HeaderMap) -> Result<(), NotPerformed> {
    let (current, rule) = (current(), WithoutIfMatch::Perform);
    judge(method, fields, Some(&current), rule, UNIX_EPOCH)
}

/// All lines of a field are read, also those that `to_str` refuses.
#[test]
fn s5_5_a_header_map_is_read_as_it_is() {
    let mut fields = HeaderMap::new();
    assert_eq!(judged(&http::Method::PUT, &fields), Ok(()));
    let other = HeaderValue::from_bytes(b"\"caf\xe9\"").unwrap();
    assert!(other.to_str().is_err());
    fields.append(IF_MATCH, other);
    let failed = judged(&http::Method::PUT, &fields).unwrap_err();
    assert_eq!(failed.status(), 412);
    let same = HeaderValue::from_bytes("\"café\"".as_bytes()).unwrap();
    fields.append(IF_MATCH, same.clone());
    assert_eq!(judged(&http::Method::PUT, &fields), Ok(()));
    fields.append(IF_NONE_MATCH, same);
    let unchanged = judged(&http::Method::GET, &fields).unwrap_err();
    assert_eq!(unchanged.status(), 304);
}

#[test]
fn methods_keep_their_names() {
    for name in ["GET", "HEAD", "PUT", "OPTIONS", "PROPFIND", "BREW", "get"] {
        let method = http::Method::from_bytes(name.as_bytes()).unwrap();
        assert_eq!(Method::from(&method), Method::from_name(name), "{name}");
    }
}

#[test]
fn not_performed_becomes_a_response() {
    let mut fields = HeaderMap::new();
    fields.append(IF_NONE_MATCH, HeaderValue::from_static("*"));
    let refused = judged(&http::Method::PUT, &fields).unwrap_err();
    let response: Response<Vec<u8>> = refused.clone().into();
    assert_eq!(response.status(), StatusCode::PRECONDITION_FAILED);
    assert_eq!(response.body(), refused.content().as_bytes());
    assert_eq!(response.headers().len(), 3);
    assert_eq!(response.headers()[ETAG].as_bytes(), "\"café\"".as_bytes());
    assert_eq!(response.headers()["Cache-Control"], "no-store");

    let unchanged = judged(&http::Method::GET, &fields).unwrap_err();
    let response: Response<Vec<u8>> = unchanged.into();
    assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(response.body(), b"");
    assert_eq!(response.headers().len(), 2);
}

#[test]
fn validators_replace_existing_fields() {
    let mut fields = HeaderMap::new();
    fields.append(ETAG, HeaderValue::from_static("\"old\""));
    fields.append(ETAG, HeaderValue::from_static("\"older\""));
    current().insert_into(&mut fields, UNIX_EPOCH);
    let tags: Vec<_> = fields
        .get_all(ETAG)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    assert_eq!(tags, ["\"café\"".as_bytes()]);
    assert_eq!(fields[LAST_MODIFIED], "Thu, 01 Jan 1970 00:00:00 GMT");
}

#[cfg(feature = "server")]
#[test]
fn the_response_of_the_server_keeps_all_its_lines() {
    let store = ifmatch::MemoryStore::new();
    let request = ifmatch::Request::new(Method::Get, "/persons");
    let policy = ifmatch::Policy::default();
    let response = ifmatch::respond(&store, &policy, &request, UNIX_EPOCH);
    let converted: Response<Vec<u8>> = response.clone().into();
    assert_eq!(converted.status().as_u16(), response.status());
    let lines = converted.headers().iter();
    let lines: Vec<_> = lines
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let (status, fields, content) = response.into_parts();
    assert_eq!((status, converted.body()), (200, &content));
    assert_eq!(lines.len(), fields.len());
    for (name, value) in fields {
        assert!(
            lines.contains(&(&*name.to_ascii_lowercase(), &*value)),
            "{name}"
        );
    }
}
