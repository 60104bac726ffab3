//! The API without a socket: the tests call `respond`.

use std::time::SystemTime;

use std::sync::Arc;

use ifmatch::{
    List, MemoryStore, Method, Policy, Portion, Profile, Request, Response, Store, Version, respond,
};

use crate::support::serving::{Kept, store};

/// A store, a policy and a clock that does not run; the tests set it.
pub struct Api {
    store: Arc<dyn Store>,
    _kept: Kept,
    pub policy: Policy,
    pub now: SystemTime,
}

impl Api {
    pub fn compatible() -> Self {
        let now = "2026-11-23T12:00:00.000000"
            .parse::<Version>()
            .unwrap()
            .into();
        let (store, kept) = store();
        Self {
            store,
            _kept: kept,
            policy: Policy::default(),
            now,
        }
    }

    /// An API with the memory store, whatever store is under test, for tests with too many requests
    /// for a database.
    pub fn in_memory() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            _kept: None,
            ..Self::compatible()
        }
    }

    pub fn strict() -> Self {
        let mut policy = Policy::default();
        policy.profile = Profile::Strict;
        Self {
            policy,
            ..Self::compatible()
        }
    }

    pub fn set_clock(&mut self, change_date: &str) {
        self.now = change_date.parse::<Version>().unwrap().into();
    }

    /// Performs a request, given its line without the version, its field lines and its content.
    pub fn ask(&self, line: &str, fields: &[(&str, &str)], content: &str) -> Response {
        self.ask_bytes(line, fields, content.as_bytes())
    }

    /// Performs a request with these values of `Idempotency-Key`, and no other field.
    pub fn ask_with_key(&self, line: &str, keys: &[&[u8]], content: &str) -> Response {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::new(Method::from_name(method), target);
        for key in keys {
            request = request.with_field("Idempotency-Key", *key);
        }
        let request = request.with_content(content.as_bytes());
        respond(&self.store, &self.policy, &request, self.now)
    }

    pub fn ask_bytes(&self, line: &str, fields: &[(&str, &str)], content: &[u8]) -> Response {
        let (method, target) = line.split_once(' ').unwrap();
        let mut request = Request::new(Method::from_name(method), target).with_content(content);
        for (name, value) in fields {
            request = request.with_field(name, value);
        }
        respond(&self.store, &self.policy, &request, self.now)
    }

    /// Creates a person and returns the tag.
    pub fn create(&self, id: &str, name: &str) -> String {
        let content = serde_json::json!({ "person_id": id, "person_name": name }).to_string();
        let created = self.ask("POST /persons", &[], &content);
        assert_eq!(created.status(), 201, "{}", text(&created));
        tag(&created)
    }

    /// The tag and the content of the list.
    pub fn state(&self) -> (String, String) {
        let list = self.ask("GET /persons", &[], "");
        assert_eq!(list.status(), 200);
        (tag(&list), text(&list))
    }

    /// The persons in the store, and the version of the list.
    pub fn held(&self) -> List {
        self.store.list("persons", Portion::ALL).unwrap()
    }
}

pub fn tag(response: &Response) -> String {
    response
        .field("ETag")
        .expect("the response has a tag")
        .to_owned()
}

pub fn text(response: &Response) -> String {
    String::from_utf8(response.content().to_vec()).unwrap()
}

/// The member `message`, or `detail` in a response of the strict profile.
pub fn message(response: &Response) -> String {
    let value: serde_json::Value = serde_json::from_slice(response.content()).unwrap();
    let member = if value.get("status").is_some() {
        "detail"
    } else {
        "message"
    };
    value[member].as_str().unwrap().to_owned()
}
