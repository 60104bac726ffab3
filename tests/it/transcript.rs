//! The documented session of the older service, byte for byte.

use ifmatch::Response;

use crate::api::Api;

#[track_caller]
fn check(response: &Response, status: u16, length: usize, tag: &str, content: &str) {
    assert_eq!(response.status(), status);
    assert_eq!(response.field("ETag"), Some(&*format!("\"{tag}\"")));
    assert_eq!(response.field("Content-Length"), Some(&*length.to_string()));
    assert_eq!(String::from_utf8_lossy(response.content()), content);
    assert_eq!(response.content().len(), length);
}

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");
const ONE: &str = "{\n  \"change_date\": \"2020-12-24T10:11:52.200311\", \n  \"person_id\": \"1\", \n  \"person_name\": \"Wim\"\n}\n";
const TWO: &str = "{\n  \"change_date\": \"2020-12-24T14:01:26.095555\", \n  \"person_id\": \"2\", \n  \"person_name\": \"Wim\"\n}\n";
const TWO_1: &str = "{\n  \"change_date\": \"2020-12-24T14:02:40.897605\", \n  \"person_id\": \"2\", \n  \"person_name\": \"Wim - update 1\"\n}\n";
const TWO_2: &str = "{\n  \"change_date\": \"2020-12-24T14:09:19.086225\", \n  \"person_id\": \"2\", \n  \"person_name\": \"Wim - update 2\"\n}\n";
const CHANGED: &str =
    "{\n  \"message\": \"Data already changed, get recent resource data and ETag first\"\n}\n";

#[test]
fn the_documented_session() {
    let mut api = Api::compatible();
    let tags = [
        "42e98b50d35eb07fc6d595d019cc91c7",
        "5f190e4939a582ca96aeefb8e2d5ee2c",
        "b90595e3eae35cf10cc427cd85b264da",
        "3e2b0cb26be62a4287c33054f51a1974",
    ];

    api.set_clock("2020-12-24T10:11:52.200311");
    let one = r#"{"person_id": "1", "person_name": "Wim"}"#;
    check(
        &api.ask("POST /persons", &[FORM], one),
        201,
        96,
        tags[0],
        ONE,
    );
    check(&api.ask("GET /persons/1", &[], ""), 200, 96, tags[0], ONE);

    let unmodified = api.ask("GET /persons/1", &[("If-None-Match", tags[0])], "");
    assert_eq!((unmodified.status(), unmodified.content()), (304, &b""[..]));
    assert_eq!(unmodified.field("Content-Length"), None);

    api.set_clock("2020-12-24T14:01:26.095555");
    let two = r#"{"person_id": "2", "person_name": "Wim"}"#;
    check(
        &api.ask("POST /persons", &[FORM], two),
        201,
        96,
        tags[1],
        TWO,
    );

    api.set_clock("2020-12-24T14:02:40.897605");
    let update = r#"{"person_name": "Wim - update 1"}"#;
    let fields = [FORM, ("If-Match", tags[1])];
    check(
        &api.ask("PUT /persons/2", &fields, update),
        200,
        107,
        tags[2],
        TWO_1,
    );
    check(
        &api.ask("PUT /persons/2", &fields, update),
        412,
        81,
        tags[2],
        CHANGED,
    );
    check(
        &api.ask("GET /persons/2", &[], ""),
        200,
        107,
        tags[2],
        TWO_1,
    );

    api.set_clock("2020-12-24T14:09:19.086225");
    let update = r#"{"person_name": "Wim - update 2"}"#;
    let fields = [FORM, ("If-Match", tags[2])];
    check(
        &api.ask("PUT /persons/2", &fields, update),
        200,
        107,
        tags[3],
        TWO_2,
    );
}

#[test]
fn the_layout_of_lists() {
    let mut api = Api::compatible();
    assert_eq!(api.state().1, "[]\n");
    api.set_clock("2020-12-24T10:11:52.200311");
    api.create("2", "Zoë \u{1f600} \"q\" \\ / \u{7f} ,\n");
    api.create("1", "Wim");
    let expected = "[\n  {\n    \"change_date\": \"2020-12-24T10:11:52.200312\", \n    \"person_id\": \"1\", \n    \"person_name\": \"Wim\"\n  }, \n  {\n    \"change_date\": \"2020-12-24T10:11:52.200311\", \n    \"person_id\": \"2\", \n    \"person_name\": \"Zoë \u{1f600} \\\"q\\\" \\\\ / \u{7f} ,\\n\"\n  }\n]\n";
    assert_eq!(api.state().1, expected);
}
