//! Writes that are repeated with the same `Idempotency-Key`.

use ifmatch::{Profile, Response};

use crate::documents::{serving, strict};
use crate::race::{WRITERS, race};
use crate::support::api::{Api, message, tag, text};
#[cfg(any(feature = "sqlite", feature = "postgres"))]
use crate::support::client::request;
use crate::support::serving::Serving;

const KEY: (&str, &str) = ("Idempotency-Key", "\"one\"");

const OTHER_KEY: (&str, &str) = ("Idempotency-Key", "\"two\"");

const PATCH: (&str, &str) = ("Content-Type", "application/merge-patch+json");

const REUSED: &str =
    "The Idempotency-Key was sent with another request; a new request needs a new key";

const MALFORMED: &str = "Idempotency-Key must be a string of printable ASCII in double quotes, \
    such as \"8e03978e-40d5-43dd-bc93-6894a57f9324\", and nothing else";

const LENGTH: &str = "Idempotency-Key must have 1 to 255 characters";

const REPEATED: &str = "Idempotency-Key must be sent in one field line";

/// A write, the status of its response, and the statuses of a repetition without a key.
struct Write {
    line: &'static str,
    /// `$1` is the tag of the document 1, and `$c` that of the collection.
    fields: Vec<(&'static str, String)>,
    content: &'static str,
    first: u16,
    /// The status of a repetition without a key, in the compatible profile and in the strict one.
    again: [u16; 2],
}

/// Every kind of write to a collection that has the document 1.
fn writes(api: &Api, collection: &str) -> Vec<Write> {
    let one = tag(&api.ask(&format!("GET /{collection}/1"), &[], ""));
    let all = tag(&api.ask(&format!("GET /{collection}"), &[], ""));
    let is_persons = collection == "persons";
    let pick = |person, note| if is_persons { person } else { note };
    let state = pick(r#"{"person_name": "Tim"}"#, r#"{"title": "Tea"}"#);
    let new = pick(
        r#"{"person_id": "2", "person_name": "Kim"}"#,
        r#"{"id": "2", "title": "Milk"}"#,
    );
    let write = |line, fields: &[(&'static str, &str)], content, first, again| Write {
        line,
        fields: fields
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        content,
        first,
        again,
    };
    let if_match = ("If-Match", &*one);
    let put = pick("PUT /persons/1", "PUT /notes/1");
    let create = pick("PUT /persons/3", "PUT /notes/3");
    let patch = pick("PATCH /persons/1", "PATCH /notes/1");
    let post = pick("POST /persons", "POST /notes");
    let delete = pick("DELETE /persons/1", "DELETE /notes/1");
    let mut writes = vec![
        write(put, &[if_match], state, 200, [412, 412]),
        write(create, &[("If-None-Match", "*")], state, 201, [412, 412]),
        write(patch, &[if_match, PATCH], state, 200, [412, 412]),
        write(post, &[], new, 201, [400, 409]),
        write(post, &[("If-Match", &*all)], new, 201, [412, 412]),
        write(delete, &[if_match], "", 204, [404, 404]),
    ];
    if !is_persons {
        // Without a key the repetition creates a second document.
        writes.push(write(post, &[], state, 201, [201, 201]));
    }
    writes
}

impl Write {
    fn ask(&self, api: &Api, more: &[(&str, &str)]) -> Response {
        self.ask_with(api, more, self.content)
    }

    fn ask_with(&self, api: &Api, more: &[(&str, &str)], content: &str) -> Response {
        let fields = self.fields.iter().map(|(name, value)| (*name, &**value));
        let fields: Vec<_> = fields.chain(more.iter().copied()).collect();
        api.ask(self.line, &fields, content)
    }
}

/// An API of each profile, with one document in each of two collections.
fn apis() -> [Api; 2] {
    [serving, strict].map(|serving| {
        let api = serving(&["persons", "notes"]);
        api.create("1", "Wim");
        let created = api.ask("POST /notes", &[], r#"{"id": "1", "title": "Milk"}"#);
        assert_eq!(created.status(), 201);
        api
    })
}

/// Calls `check` with every kind of write, each with a new API.
fn each(check: impl Fn(&Api, &Write, &str)) {
    for profile in 0..2 {
        for collection in ["persons", "notes"] {
            let count = writes(&apis()[profile], collection).len();
            for index in 0..count {
                let api = &apis()[profile];
                check(api, &writes(api, collection)[index], collection);
            }
        }
    }
}

/// The list and its tag.
fn state(api: &Api, collection: &str) -> Response {
    api.ask(&format!("GET /{collection}"), &[], "")
}

#[test]
fn a_repetition_gets_the_response_to_the_first_try_and_is_performed_once() {
    each(|api, write, collection| {
        let first = write.ask(api, &[KEY]);
        assert_eq!(first.status(), write.first, "{}", write.line);
        let after = state(api, collection);
        for _ in 0..3 {
            assert_eq!(write.ask(api, &[KEY]), first, "{}", write.line);
        }
        assert_eq!(state(api, collection), after, "{}", write.line);
    });
}

#[test]
fn without_a_key_a_repetition_is_a_new_request() {
    each(|api, write, _| {
        let strict = api.policy.profile == Profile::Strict;
        assert_eq!(write.ask(api, &[]).status(), write.first, "{}", write.line);
        let again = write.ask(api, &[]).status();
        assert_eq!(again, write.again[usize::from(strict)], "{}", write.line);
    });
}

/// The Prefer field of the first try does not matter.
#[test]
fn the_response_to_a_repetition_follows_its_own_prefer_field() {
    each(|api, write, _| {
        let first = write.ask(api, &[KEY]);
        let minimal = write.ask(api, &[KEY, ("Prefer", "return=minimal")]);
        let status = if write.first == 200 { 204 } else { write.first };
        assert_eq!(minimal.status(), status, "{}", write.line);
        assert_eq!(minimal.content(), b"");
        assert_eq!(minimal.field("ETag"), first.field("ETag"));
        assert_eq!(minimal.field("Location"), first.field("Location"));
    });
}

#[test]
fn a_key_is_not_sent_with_another_request() {
    each(|api, write, collection| {
        let first = write.ask(api, &[KEY]);
        let after = state(api, collection);
        let refused = |response: Response| {
            assert_eq!(response.status(), 422, "{} {}", write.line, text(&response));
            assert_eq!(message(&response), REUSED);
            assert_eq!(response.field("Cache-Control"), Some("no-store"));
            let strict = api.policy.profile == Profile::Strict;
            let problem = ["application/json", "application/problem+json"];
            let content_type = problem[usize::from(strict)];
            assert_eq!(response.field("Content-Type"), Some(content_type));
            assert_eq!(state(api, collection), after);
        };
        // Other content: another document, other white space, and malformed JSON.
        let new = format!(" {}", write.content);
        let spaced = new.replace("Kim", "Tim").replace("Milk", "Tea");
        refused(write.ask_with(api, &[KEY], &spaced));
        refused(write.ask_with(api, &[KEY], &new));
        if !write.line.starts_with("POST") {
            refused(write.ask_with(api, &[KEY], "["));
        }
        // Another method, and another document.
        let content = if collection == "persons" {
            r#"{"person_name": "Ann"}"#
        } else {
            r#"{"title": "Ann"}"#
        };
        let path = match first.field("Location") {
            Some(path) => path.to_owned(),
            None => format!("/{collection}/1"),
        };
        let any = ("If-Match", "*");
        let create = ("If-None-Match", "*");
        if write.first == 204 {
            refused(api.ask(&format!("PUT {path}"), &[create, KEY], content));
            refused(api.ask(&format!("PATCH {path}"), &[PATCH, KEY], content));
        } else {
            refused(api.ask(&format!("PUT {path}"), &[any, KEY], content));
            let fields = [any, PATCH, KEY];
            refused(api.ask(&format!("PATCH {path}"), &fields, r#"{"x": 1}"#));
        }
        if write.line.starts_with("DELETE") {
            refused(write.ask_with(api, &[KEY], "x"));
        } else {
            refused(api.ask(&format!("DELETE {path}"), &[any, KEY], ""));
        }
        refused(api.ask(&format!("PUT /{collection}/9"), &[create, KEY], content));
        let post = if collection == "persons" {
            r#"{"person_id": "9", "person_name": "Ann"}"#
        } else {
            r#"{"id": "9", "title": "Ann"}"#
        };
        refused(api.ask(&format!("POST /{collection}"), &[KEY], post));
        if collection == "notes" {
            refused(api.ask("POST /notes", &[KEY], "{}"));
        }
    });
}

/// Another collection may use the same key. Within a collection a key is taken as long as the last
/// write to a document has it.
#[test]
fn a_key_belongs_to_one_collection() {
    let [api, _] = apis();
    let any = ("If-Match", "*");
    let put = |line: &str, key, content: &str| api.ask(line, &[any, key], content).status();
    assert_eq!(put("PUT /persons/1", KEY, r#"{"person_name": "x"}"#), 200);
    assert_eq!(put("PUT /notes/1", KEY, r#"{"x": 1}"#), 200);
    assert_eq!(api.ask("POST /notes", &[], r#"{"id": "2"}"#).status(), 201);
    assert_eq!(put("PUT /notes/2", KEY, r#"{"x": 1}"#), 422);
    // After the next write to the first document the key can be used again.
    assert_eq!(put("PUT /notes/1", OTHER_KEY, r#"{"x": 1}"#), 200);
    assert_eq!(put("PUT /notes/2", KEY, r#"{"x": 1}"#), 200);
    assert_eq!(put("PUT /notes/1", KEY, r#"{"x": 1}"#), 422);
}

/// After another write to the document a repetition is a new request.
#[test]
fn a_key_holds_until_the_next_write_of_the_document() {
    for between in [&[("If-Match", "*")][..], &[("If-Match", "*"), OTHER_KEY]] {
        each(|api, write, collection| {
            let first = write.ask(api, &[KEY]);
            let path = match first.field("Location") {
                Some(path) => path.to_owned(),
                None => format!("/{collection}/1"),
            };
            let content = if collection == "persons" {
                r#"{"person_name": "Ann"}"#
            } else {
                r#"{"title": "Ann"}"#
            };
            let strict = api.policy.profile == Profile::Strict;
            let status = if write.first == 204 {
                let create = [&[("If-None-Match", "*")], &between[1..]].concat();
                let created = api.ask(&format!("PUT {path}"), &create, content);
                assert_eq!(created.status(), 201);
                412
            } else {
                let put = api.ask(&format!("PUT {path}"), between, content);
                assert_eq!(put.status(), 200, "{path}");
                match write.again[usize::from(strict)] {
                    // The id is derived from the key, so the document exists.
                    201 if strict => 409,
                    201 => 400,
                    status => status,
                }
            };
            let after = state(api, collection);
            assert_eq!(write.ask(api, &[KEY]).status(), status, "{}", write.line);
            assert_eq!(state(api, collection), after);
            // The next write may be a removal, too.
            let removed = api.ask(&format!("DELETE {path}"), &between[..1], "");
            assert_eq!(removed.status(), 204, "{path}");
            if write.line.starts_with("DELETE") || write.fields.iter().any(|it| it.0 == "If-Match")
            {
                let again = write.ask(api, &[KEY]).status();
                assert!([404, 412].contains(&again), "{} {again}", write.line);
            }
        });
    }
}

#[test]
fn a_removal_is_known_for_24_hours() {
    for (later, status) in [
        ("2026-11-23T12:00:00.000000", 204),
        ("2026-11-24T11:59:59.000000", 204),
        ("2026-11-24T12:00:01.000000", 404),
        // A clock that was set back does not end the 24 hours.
        ("2025-11-24T12:00:01.000000", 204),
    ] {
        for mut api in apis() {
            let any = ("If-Match", "*");
            let remove = |api: &Api, key| api.ask("DELETE /notes/1", &[any, key], "");
            assert_eq!(remove(&api, KEY).status(), 204);
            api.set_clock(later);
            assert_eq!(remove(&api, OTHER_KEY).status(), 404);
            assert_eq!(api.ask("DELETE /notes/1", &[any], "").status(), 404);
            let after = state(&api, "notes");
            assert_eq!(remove(&api, KEY).status(), status, "{later}");
            assert_eq!(state(&api, "notes"), after);
            assert_eq!(api.ask("GET /notes/1", &[KEY], "").status(), 404);
            let other = api.ask("PUT /notes/2", &[("If-None-Match", "*"), KEY], "{}");
            let is_free = status == 404;
            assert_eq!(other.status(), if is_free { 201 } else { 422 }, "{later}");
        }
    }
}

/// Field values, and the sentences about their errors.
#[test]
fn malformed_keys() {
    let long = [255, 256].map(|length| format!("\"{}\"", "x".repeat(length)));
    let escaped = format!("\"{}\"", r#"\""#.repeat(255));
    let rows: &[(&[u8], Option<&str>)] = &[
        (b"\"one\"", None),
        (b"\" ~!#[]a\"", None),
        (br#""a\"b\\""#, None),
        (b" \"one\"\t", None),
        (long[0].as_bytes(), None),
        (escaped.as_bytes(), None),
        (long[1].as_bytes(), Some(LENGTH)),
        (b"\"\"", Some(LENGTH)),
        (b"", Some(MALFORMED)),
        (b"one", Some(MALFORMED)),
        (b"8e03978e-40d5-43dd-bc93-6894a57f9324", Some(MALFORMED)),
        (b"'one'", Some(MALFORMED)),
        (b"\"one", Some(MALFORMED)),
        (b"one\"", Some(MALFORMED)),
        (b"\"", Some(MALFORMED)),
        (b"\"one\"x", Some(MALFORMED)),
        (b"\"one\" \"two\"", Some(MALFORMED)),
        (b"\"one\", \"two\"", Some(MALFORMED)),
        (b"\"one\";a=1", Some(MALFORMED)),
        (br#""a\b""#, Some(MALFORMED)),
        (br#""a\""#, Some(MALFORMED)),
        (br#""\"#, Some(MALFORMED)),
        (b"\"a\tb\"", Some(MALFORMED)),
        (b"\"\x7f\"", Some(MALFORMED)),
        ("\"é\"".as_bytes(), Some(MALFORMED)),
        (b"\"\xff\"", Some(MALFORMED)),
        (b"W/\"one\"", Some(MALFORMED)),
        (b":b25l:", Some(MALFORMED)),
        (b"1", Some(MALFORMED)),
    ];
    for api in apis() {
        let before = state(&api, "notes");
        for (value, sentence) in rows {
            for line in [
                "PUT /notes/1",
                "PATCH /notes/1",
                "DELETE /notes/1",
                "POST /notes",
                "PUT /notes/9",
                "GET /notes/1",
                "HEAD /notes/1",
                "OPTIONS /notes/1",
                "GET /notes",
            ] {
                let write = ["P", "D"].iter().any(|it| line.starts_with(it));
                let response = api.ask_with_key(line, &[value], "[");
                if let Some(sentence) = sentence.filter(|_| write) {
                    assert_eq!(response.status(), 400, "{line} {value:?}");
                    assert_eq!(&*message(&response), sentence, "{line} {value:?}");
                } else {
                    let ignored = api.ask_with_key(line, &[], "[");
                    assert_eq!(response, ignored, "{line} {value:?}");
                }
            }
        }
        for line in ["PUT /notes/1", "POST /notes"] {
            let twice = api.ask_with_key(line, &[b"\"one\"", b"\"one\""], "{}");
            assert_eq!((twice.status(), &*message(&twice)), (400, REPEATED));
        }
        assert_eq!(state(&api, "notes"), before);
    }
}

/// Two spellings of one key, and two spellings of one target.
#[test]
fn equivalent_field_values_are_one_key() {
    let [api, _] = apis();
    let create = ("If-None-Match", "*");
    let put = |target: &str, key: &str| {
        let key = ("Idempotency-Key", key);
        api.ask(&format!("PUT {target}"), &[create, key], "{}")
    };
    let first = put("/notes/a", r#""a\"""#);
    assert_eq!(first.status(), 201);
    assert_eq!(put("/notes/%61", r#" "a\""  "#), first);
    assert_eq!(
        put("/notes/a", r#""A\"""#).status(),
        412,
        "keys are case-sensitive"
    );
}

#[test]
fn the_id_is_made_from_the_key() {
    let apis = apis();
    let post = |api: &Api, key| api.ask("POST /notes", &[key], "{}");
    let [one, other] = [&apis[0], &apis[1]].map(|api| post(api, KEY));
    let path = one.field("Location").unwrap();
    assert_eq!(other.field("Location"), Some(path));
    let id = path.strip_prefix("/notes/").unwrap();
    assert_eq!(id, "7sfhejk50vzcdjzpnggx4gdaw2", "the id must never change");
    let two = post(&apis[0], OTHER_KEY);
    assert_ne!(two.field("Location"), Some(path));
    // Clients choose the ids of persons.
    let missing = apis[0].ask("POST /persons", &[KEY], r#"{"person_name": "x"}"#);
    assert_eq!(missing.status(), 400);
}

/// A key does not change the errors of a first try: its preconditions may be false, malformed or
/// missing.
#[test]
fn a_first_try_has_the_same_response_as_without_a_key() {
    for (api, missing) in apis().into_iter().zip([412, 428]) {
        let before = state(&api, "notes");
        let old = ("If-Match", "\"old\"");
        for (line, fields, content, status) in [
            ("PUT /notes/1", &[old][..], "{}", 412),
            ("PUT /notes/1", &[old], "[", 412),
            ("PUT /notes/1", &[], "{}", missing),
            ("PUT /notes/9", &[old], "{}", 404),
            ("PUT /notes/1", &[("If-Match", "*")], "[", 400),
            ("POST /notes", &[old], "{}", 412),
            ("POST /notes", &[old], "[", 412),
            ("POST /notes", &[], "[", 400),
            ("POST /notes", &[("If-None-Match", "\"x")], "{}", 400),
            ("DELETE /notes/9", &[old], "", 404),
            ("DELETE /notes/1", &[], "", missing),
            ("PATCH /notes/1", &[("If-Match", "*")], "{}", 415),
            ("PATCH /notes/1", &[("If-Match", "*"), PATCH], "1", 422),
        ] {
            for _ in 0..2 {
                let with_key = [fields, &[KEY]].concat();
                let response = api.ask(line, &with_key, content);
                assert_eq!(response.status(), status, "{line} {content}");
                assert_eq!(response, api.ask(line, fields, content), "{line}");
            }
        }
        assert_eq!(state(&api, "notes"), before);
        // The failed requests have not used the key.
        let put = api.ask("PUT /notes/1", &[("If-Match", "*"), KEY], "{}");
        assert_eq!(put.status(), 200);
    }
}

#[test]
fn of_repetitions_at_once_exactly_one_is_performed() {
    each(|api, write, collection| {
        for round in 0..10 {
            // Each round takes the current tags for its write.
            let key = format!("\"{round}\"");
            let fresh = &writes(api, collection);
            let write = fresh
                .iter()
                .find(|it| (it.line, it.content) == (write.line, write.content))
                .unwrap();
            let responses = race(|_| write.ask(api, &[("Idempotency-Key", &*key)]));
            for response in &responses {
                assert_eq!(response.status(), write.first, "{}", write.line);
                assert_eq!(response, &responses[0], "{}", write.line);
            }
            let after = state(api, collection);
            if let Some(tag) = responses[0]
                .field("ETag")
                .filter(|_| after.field("ETag").is_some())
            {
                assert_eq!(after.field("ETag"), Some(tag), "no other version was made");
            }
            let any = ("If-Match", "*");
            match responses[0].field("Location") {
                Some(path) => {
                    let removed = api.ask(&format!("DELETE {path}"), &[any], "");
                    assert_eq!(removed.status(), 204);
                }
                None if write.first == 204 => {
                    let path = write.line.replace("DELETE", "PUT");
                    let content = r#"{"person_name": "Wim"}"#;
                    let put = api.ask(&path, &[("If-None-Match", "*")], content);
                    assert_eq!(put.status(), 201);
                }
                None => {}
            }
        }
    });
}

/// All clients send equal content, each with a key of its own. Exactly one client creates the lock.
#[test]
fn of_clients_that_create_one_lock_exactly_one_wins() {
    for (api, taken) in apis().into_iter().zip([400, 409]) {
        for round in 0..20 {
            let target = format!("PUT /notes/lock{round}");
            let content = format!(r#"{{"id": "lock{round}", "locked": true}}"#);
            for (line, fields, late) in [
                (&*target, &[("If-None-Match", "*")][..], 412),
                ("POST /notes", &[], taken),
            ] {
                let responses = race(|client| {
                    let key = format!("\"{round} {client}\"");
                    let fields = [fields, &[("Idempotency-Key", &*key)]].concat();
                    // Each client repeats its write, as if the response was lost.
                    let responses = [0; 2].map(|_| api.ask(line, &fields, &content).status());
                    assert_eq!(responses[0], responses[1], "{line}");
                    responses[0]
                });
                let count = |status| responses.iter().filter(|it| **it == status).count();
                assert_eq!((count(201), count(late)), (1, WRITERS - 1), "{line}");
                let path = target.strip_prefix("PUT ").unwrap();
                let removed = api.ask(&format!("DELETE {path}"), &[("If-Match", "*")], "");
                assert_eq!(removed.status(), 204);
            }
        }
    }
}

/// The server responds to a false If-Match before it reads the content, unless the request may be a
/// repetition.
#[test]
fn s13_2_1_the_content_of_a_repetition_is_read() {
    let serving = Serving::start();
    let tag = serving.create("1");
    let content = format!(r#"{{"person_name": "{}"}}"#, "x".repeat(2000));
    let fields = format!("If-Match: {tag}\r\nIdempotency-Key: \"one\"\r\n");
    let first = serving.ask("PUT /persons/1", &fields, &content);
    assert_eq!(first.status, 200);
    let head = |line: &str, key: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: x\r\nIf-Match: {tag}\r\nIdempotency-Key: {key}\r\n\
             Expect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            content.len()
        )
    };
    for (line, key, status, message) in [
        (
            "PUT /persons/1",
            "\"two\"",
            412,
            "Data already changed, get recent resource data and ETag first",
        ),
        ("PUT /persons/1", "one", 400, MALFORMED),
        (
            "PUT /persons/9",
            "\"one\"",
            404,
            "Person with ID 9 not found",
        ),
        ("POST /persons", "one", 400, MALFORMED),
    ] {
        let mut client = serving.client();
        client.send(head(line, key));
        let refused = client.receive();
        assert_eq!((refused.status, &*refused.message()), (status, message));
    }
    let mut client = serving.client();
    client.send(head("PUT /persons/1", "\"one\""));
    assert_eq!(client.receive_head().status, 100);
    client.send(&content);
    let again = client.receive();
    assert_eq!((again.status, &again.content), (200, &first.content));
    // The server evaluates If-Match of the collection only after it has read the content.
    let mut client = serving.client();
    client.send(head("POST /persons", "\"new\""));
    assert_eq!(client.receive_head().status, 100);
    client.send(&content);
    assert_eq!(client.receive().status, 412);
}

/// The program is killed after the write, and the repetition is sent to another one.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
fn survives_a_restart(arguments: &[&str]) {
    use crate::support::client::Client;
    use crate::support::serving::{Program, program};

    let start = || {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--collection", "notes"]);
        Program::spawn(command.args(arguments))
    };
    let key = "Idempotency-Key: \"one\"\r\n";
    let patch = "If-Match: *\r\nContent-Type: application/merge-patch+json\r\n";
    for (line, fields, content, status) in [
        ("POST /notes", "", r#"{"id": "1"}"#, 201),
        ("POST /notes", "", "{}", 201),
        ("PUT /notes/1", "If-Match: *\r\n", "{}", 200),
        ("PATCH /notes/1", patch, r#"{"a": 1}"#, 200),
        ("PUT /notes/2", "If-None-Match: *\r\n", "{}", 201),
        ("DELETE /notes/1", "If-Match: *\r\n", "", 204),
        ("DELETE /notes/2", "If-Match: *\r\n", "", 204),
    ] {
        // Each write has a key of its own.
        let key = key.replace("one", &format!("{line} {content}").replace('"', ""));
        let write = request(line, &format!("{fields}{key}"), content);
        let first = Client::connect(start().address).ask(&write);
        assert_eq!(first.status, status, "{line}");
        let server = start();
        let list = Client::connect(server.address).ask(request("GET /notes", "", ""));
        let again = Client::connect(server.address).ask(&write);
        assert_eq!((again.status, &again.content), (status, &first.content));
        assert_eq!(again.field("ETag"), first.field("ETag"));
        assert_eq!(again.field("Location"), first.field("Location"));
        let after = Client::connect(server.address).ask(request("GET /notes", "", ""));
        assert_eq!(
            (after.field("ETag"), &after.content),
            (list.field("ETag"), &list.content)
        );
    }
}

#[cfg(feature = "sqlite")]
#[test]
fn a_key_survives_a_restart_on_sqlite() {
    let file = crate::sqlite::File::default();
    survives_a_restart(&["--store", &file.argument()]);
}

#[cfg(feature = "postgres")]
#[test]
fn a_key_survives_a_restart_on_postgres() {
    for tagged in [true, false] {
        let Some(schema) = crate::support::cluster::Schema::new() else {
            return;
        };
        survives_a_restart(&schema.tagged(tagged).arguments());
    }
}
