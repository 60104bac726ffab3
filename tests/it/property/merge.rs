//! PATCH: the result of a merge patch.

use ifmatch::{Collection, Collections, MemoryStore, Method, Policy, Request, Response, respond};
use serde_json::{Map, Value};

use super::{Reached, json};
use crate::oracle::{NOON, at};

pub const EXAMPLES: [&str; 20] = [
    "{\"a\":\"b\"}\n{\"a\":\"c\",\"b\":{\"c\":null}}",
    "{\"a\":{\"b\":\"c\",\"d\":{\"e\":1,\"f\":2}},\"g\":[1,{\"h\":null}]}\n{\"a\":{\"b\":\"d\",\"c\":null,\"d\":{\"e\":null,\"f\":{\"f\":2}}},\"g\":[null]}",
    "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1.0}}}}}\n{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":1.00,\"f\":{\"g\":null}}}}}}",
    "{\"a\":{\"b\":1},\"c\":{\"d\":2},\"e\":3}\n{\"e\":null,\"c\":{\"d\":null},\"a\":{\"b\":null,\"x\":{}}}",
    "{\"n\":1e400,\"o\":{\"z\":-0,\"a\":\"\\u00e9\"}}\n{\"o\":{\"b\":123456789012345678901234567890,\"z\":null},\"m\":0.10}",
    "{\"\\u0061\":{\"\\u0062\":1},\"c\":2}\n{\"a\":{\"b\":{\"c\":1}},\"\\u0063\":null}",
    "{\"\":{\"\":1}}\n{\"\":{\"\":null,\" \":\"\"}}",
    "{\"a\":[1,2,{\"b\":3}]}\n{\"a\":{\"0\":null,\"b\":[]}}",
    "{\"a\":{\"b\":1}}\n{\"a\":[{\"b\":null}]}",
    "{\"e\":null,\"f\":{\"g\":null}}\n{\"a\":1,\"f\":{\"h\":2}}",
    "{ \"a\" : { \"b\" : [ 1 , 2 ] } }\n{ \"a\" : { \"c\" : \" \\t , : } \" } }",
    "{\"a\":\"{\\\"b\\\":1}\",\"\\\\\":{\"\\\"\":1}}\n{\"a\":{\"b\":\"}\"},\"\\\\\":{\"\\\"\":null,\"]\":[]}}",
    "{\"id\":\"1\",\"_etag\":\"x\",\"a\":{\"_x\":1}}\n{\"id\":\"\\u0031\",\"_change_date\":null,\"a\":{\"_x\":{\"id\":null}}}",
    "{\"a\":1}\n{\"a\":2,\"a\":3}",
    "{\"a\":1}\n{\"_x\":2}",
    "{\"a\":1}\n{\"id\":\"2\"}",
    "{\"a\":{\"b\":1}}\n[1]",
    "{\"a\":1}\nnull",
    "{\"a\":{\"b\":\"0123456789\"}}\n{\"a\":{\"c\":\"01234567890123456789012345678901234567890123456789\",\"d\":\"01234567890123456789012345678901234567890123456789\"}}",
    "{\"a\":{\"😀\":\"é\"}}\n{\"a\":{\"\\ud83d\\ude00\":{\"é\":\"\\u00e9\"}},\"\\udc00\":1}",
];

/// The limit for representations, so low that inputs exceed it.
const LIMIT: usize = 150;

/// The first line is a document, and the rest is a patch.
pub fn check(data: &[u8]) -> Reached {
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (before, patch) = (parts.next().unwrap(), parts.next().unwrap_or_default());
    let unbounded = steps(before, patch, u64::MAX);
    let bounded = steps(before, patch, LIMIT as u64);
    // With a limit the responses are the same until a document exceeds the limit.
    for (all, response) in unbounded.iter().zip(&bounded) {
        if all.status() < 300 && all.content().len() > LIMIT {
            assert_eq!(response.status(), 413, "{response:?}");
            break;
        }
        let same = |response: &Response| (response.status(), response.content().to_vec());
        assert_eq!(same(response), same(all));
    }
    let mut reached: Vec<_> = [unbounded, bounded].iter().map(|it| end(it)).collect();
    if is_nested(before, patch) {
        reached.push("nested");
    }
    reached
}

fn end(responses: &[Response]) -> &'static str {
    match responses.last().map(Response::status) {
        Some(200) => "200",
        Some(400) => "400",
        Some(404) => "no document",
        Some(413) => "413",
        Some(422) => "422",
        other => panic!("{other:?}"),
    }
}

/// Creates the document and patches it. Returns both responses.
fn steps(before: &[u8], patch: &[u8], limit: u64) -> [Response; 2] {
    let place = Place::new(limit);
    let create = Request::new(Method::Put, "/notes/1").with_field("If-None-Match", "*");
    let created = place.ask(&create.with_content(before));
    let (status, held) = expected(before, None);
    let status = if status == 200 { 201 } else { status };
    let is_held = follows(&created, status, held.as_ref());
    let was = place.get();
    assert_eq!(was.status(), if is_held { 200 } else { 404 });
    let patched = place.patch(patch);
    let is = place.get();
    if !is_held {
        assert_eq!([patched.status(), is.status()], [404; 2]);
        return [created, patched];
    }
    assert_eq!(was.content(), created.content());
    let (status, held) = expected(patch, held);
    if follows(&patched, status, held.as_ref()) {
        assert_eq!(is.content(), patched.content());
        assert_ne!(is.field("ETag"), was.field("ETag"));
    } else {
        assert_eq!(is.content(), was.content(), "nothing has changed");
        assert_eq!(is.field("ETag"), was.field("ETag"), "nothing has changed");
    }
    [created, patched]
}

/// Whether a write was performed. Checks that the response has the expected status, or 413, and
/// that the document in the response has exactly the members of `held`, each once.
#[track_caller]
fn follows(response: &Response, status: u16, held: Option<&Value>) -> bool {
    if status < 300 && response.status() == 413 {
        return false;
    }
    assert_eq!(response.status(), status, "{response:?}");
    if status < 300 {
        let shown = json::read(response.content()).unwrap();
        assert_eq!(without_managed(shown).as_ref(), Ok(held.unwrap()));
    }
    status < 300
}

/// The status of a write without a limit of length, and the stored members after the write. The
/// content is a patch of `target`, or the new state if `target` is `None`.
fn expected(content: &[u8], target: Option<Value>) -> (u16, Option<Value>) {
    let Some(Ok(content)) = json::read(content).map(without_managed) else {
        return (400, target);
    };
    let result = match &target {
        None if content.is_object() => content,
        None => return (400, None),
        Some(target) => json::merge_patch(target.clone(), &content),
    };
    if result.is_object() {
        (200, Some(result))
    } else {
        (422, target)
    }
}

/// The value without the members that the server manages, or an error if the value has a reserved
/// member.
fn without_managed(content: Value) -> Result<Value, ()> {
    let Value::Object(mut members) = content else {
        return Ok(content);
    };
    if let Some(id) = members.remove("id")
        && id.as_str().and_then(json::string).as_deref() != Some("1")
    {
        return Err(());
    }
    members.remove("_etag");
    members.remove("_change_date");
    if members.keys().any(|name| name.starts_with('_')) {
        return Err(());
    }
    Ok(members.into())
}

/// Whether the patch changes a member of a member.
fn is_nested(before: &[u8], patch: &[u8]) -> bool {
    let (Some(before), Some(patch)) = (json::read(before), json::read(patch)) else {
        return false;
    };
    let members = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let has_in_common = |one: &Map<_, _>, other: &Map<String, Value>| {
        let mut names = one.keys();
        names.any(|name: &String| other.contains_key(name))
    };
    let (before, patch) = (members(&before), members(&patch));
    before.iter().any(|(name, value)| {
        let change = patch.get(name).unwrap_or(&Value::Null);
        has_in_common(&members(value), &members(change))
    })
}

struct Place {
    store: MemoryStore,
    policy: Policy,
}

impl Place {
    fn new(limit: u64) -> Self {
        let notes = Collection::new("notes").unwrap();
        let mut policy = Policy::default();
        policy.collections = Collections::new([notes]).unwrap();
        policy.max_content = limit;
        Self {
            store: MemoryStore::new(),
            policy,
        }
    }

    fn ask(&self, request: &Request<'_>) -> Response {
        respond(&self.store, &self.policy, request, at(NOON))
    }

    fn get(&self) -> Response {
        self.ask(&Request::new(Method::Get, "/notes/1"))
    }

    fn patch(&self, content: &[u8]) -> Response {
        let request = Request::new(Method::Patch, "/notes/1")
            .with_field("Content-Type", "application/merge-patch+json")
            .with_field("If-Match", "*");
        self.ask(&request.with_content(content))
    }
}
