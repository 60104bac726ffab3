//! Rules that each response must follow by itself.

use ifmatch::{EntityTag, Method, Record, Request, Response};
use serde_json::Value;

use super::http_date::Moment;

/// The statuses that `respond` can choose. 503 is missing, because the memory store does not fail.
const STATUSES: [(u16, &str); 16] = [
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (304, "304"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (409, "409"),
    (412, "412"),
    (415, "415"),
    (421, "421"),
    (422, "422"),
    (428, "428"),
    (501, "501"),
];

/// A request and its response, for the message of a failure.
#[derive(Debug)]
struct Asked<'a> {
    request: &'a Request<'a>,
    response: &'a Response,
}

/// Checks that the response is well-formed. Returns its status.
pub fn is_well_formed(request: &Request<'_>, response: &Response, now: i64) -> &'static str {
    let context = &Asked { request, response };
    let now = Moment::of(now);
    let known = STATUSES
        .iter()
        .find(|(status, _)| *status == response.status());
    let (status, name) = known.unwrap_or_else(|| panic!("{context:?}"));
    assert_eq!(response.failure(), None, "{context:?}");
    fields(context);
    framing(context);
    let date = response.field("Date").unwrap_or_default();
    assert_eq!(Moment::read(date, now), Some(now), "{context:?}");
    assert!(response.field("Server").is_some(), "{context:?}");
    if let Some(tag) = response.field("ETag") {
        assert!(
            tag.parse().is_ok_and(|tag: EntityTag| !tag.is_weak()),
            "{context:?}"
        );
    }
    if let Some(modified) = response.field("Last-Modified") {
        let modified = Moment::read(modified, now);
        assert!(
            modified.is_some_and(|modified| modified <= now),
            "{context:?}"
        );
    }
    for (with, needed) in [
        (201, "Location"),
        (401, "WWW-Authenticate"),
        (405, "Allow"),
        (415, "Accept-Patch"),
        (428, "ETag"),
    ] {
        assert!(
            *status != with || response.field(needed).is_some(),
            "{context:?}"
        );
    }
    if *status >= 400 {
        assert_eq!(
            response.field("Cache-Control"),
            Some("no-store"),
            "{context:?}"
        );
    }
    name
}

/// Checks that names are tokens, that each occurs once, and that no value has a line break or white
/// space around it.
///
/// [RFC 9110 section 5.5](https://www.rfc-editor.org/rfc/rfc9110#section-5.5)
fn fields(context: &Asked<'_>) {
    let response = context.response;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    for (index, (name, value)) in response.fields().iter().enumerate() {
        assert!(
            !name.is_empty() && name.bytes().all(is_token),
            "{name:?} in {context:?}"
        );
        let visible = value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        assert!(
            visible && value.trim() == value,
            "{name}: {value:?} in {context:?}"
        );
        let mut others = response.fields()[..index].iter();
        assert!(
            !others.any(|(other, _)| other.eq_ignore_ascii_case(name)),
            "{context:?}"
        );
    }
}

/// [RFC 9110 section 8.6](https://www.rfc-editor.org/rfc/rfc9110#section-8.6)
fn framing(context: &Asked<'_>) {
    let Asked { request, response } = context;
    let length = response.field("Content-Length");
    if [204, 304].contains(&response.status()) {
        assert_eq!(
            (length, response.field("Content-Type")),
            (None, None),
            "{context:?}"
        );
        assert_eq!(response.content(), b"", "{context:?}");
    } else if request.method == Method::Head {
        assert!(
            length.is_some_and(|length| length.parse::<u64>().is_ok()),
            "{context:?}"
        );
        assert_eq!(response.content(), b"", "{context:?}");
    } else {
        assert_eq!(
            length,
            Some(&*response.content().len().to_string()),
            "{context:?}"
        );
        let typed = response.field("Content-Type");
        assert_eq!(
            typed.is_some(),
            !response.content().is_empty(),
            "{context:?}"
        );
        if let Some(typed) = typed {
            assert!(["application/json", "application/problem+json"].contains(&typed));
            let json = serde_json::from_slice::<Value>(response.content());
            assert!(json.is_ok(), "{context:?}");
        }
    }
}

/// Checks that the response to HEAD is that to GET without the content.
pub fn is_head_of(head: &Response, get: &Response) {
    assert_eq!((head.status(), head.fields()), (get.status(), get.fields()));
}

/// The content as JSON.
pub fn content(response: &Response) -> Value {
    serde_json::from_slice(response.content()).unwrap()
}

/// The JSON that clients must see of a stored person.
pub fn shown(record: &Record) -> Value {
    let document: Value = serde_json::from_str(record.document.as_str()).unwrap();
    serde_json::json!({
        "change_date": record.version.to_string(),
        "person_id": record.id.as_str(),
        "person_name": document["person_name"],
    })
}

/// The name of a stored person.
pub fn name(record: &Record) -> String {
    let name = &shown(record)["person_name"];
    name.as_str().unwrap().to_owned()
}
