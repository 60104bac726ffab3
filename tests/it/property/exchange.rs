//! Several requests to one store, and the rules that all responses must follow.

use std::collections::BTreeSet;

use ifmatch::{
    Document, Evaluation, Id, List, MemoryStore, Method, Policy, Portion, Profile, Record, Request,
    Response, Store, Swap, TagSyntax, Token, Version, respond,
};
use serde_json::Value;

use super::http_date::Moment;
use super::precondition::{expected, lines_of};
use super::target::{Named, named};
use super::{Reached, field_lines, response};
use crate::oracle::{NOON, Selected, at};

pub const EXAMPLES: [&str; 20] = [
    "compatible\nGET /persons/1\n--\nGET /persons/1\nIf-None-Match: \"$1\"\n--\nHEAD /persons\nIf-None-Match: W/\"$c\"",
    "strict\nPUT /persons/1\nIf-Match: \"$1\"\n\n{\"person_name\": \"Tim\"}\n--\nPUT /persons/1\nIf-Match: \"$o\"\n\n{\"person_name\": \"Jet\"}",
    "compatible\nPUT /persons/1\nIf-Match: $1\nPrefer: return=minimal\n\n{\"person_name\": \"Tim\"}\n--\nGET /persons?limit=1",
    "strict\nPOST /persons\nIf-Match: \"$c\"\n\n{\"person_id\": \"3\", \"person_name\": \"\\u00fc\"}\n--\nGET /persons/3",
    "compatible\nPOST /persons\n\n{\"person_id\": \"1\", \"person_name\": \"Wim\"}\n--\nPOST /persons\n\n{\"person_id\": \"a/b c \", \"person_name\": \" x \"}",
    "strict\nPUT /persons/a%2Fb\nIf-None-Match: *\n\n{\"person_name\": \"Tim\"}\n--\nDELETE /persons/a%2fb\nIf-Match: *",
    "compatible\nDELETE /persons/2\nIf-Match: \"old\", \"$2\"\n--\nGET /persons/2\n--\nPUT /persons/2\nIf-Match: *\n\n{\"person_name\": \"Tim\"}",
    "strict\nPUT /persons/1\n\n{\"person_name\": \"Tim\"}\n--\nDELETE /persons/1\nIf-Match: W/\"$1\"",
    "compatible unconditional\nPUT /persons/1 -3600\n\n{\"person_name\": \"Tim\"}\n--\nDELETE /persons/2\nIf-Unmodified-Since: Mon, 23 Nov 2026 11:00:00 GMT\n--\nDELETE /persons/1",
    "compatible\nPUT /persons/1\nIf-Match: \"old\"\nPrefer: return=representation\n\n{\"person_name\": \"Tim\"}\n--\nPOST /persons\nIf-Match: \"old\"\nPrefer: return=representation",
    "strict\nGET /persons?limit=1&after=1\nIf-Modified-Since: Mon, 23 Nov 2026 11:00:00 GMT\n--\nHEAD /persons/1\nIf-Modified-Since: Mon Nov 23 11:00:00 2026\n--\nGET /persons?limit=0",
    "compatible token\nGET /\nAuthorization: Bearer secret\n--\nGET /\nAuthorization: Bearer other\n--\nOPTIONS *",
    "strict host origin\nPOST /persons\nHost: example.com\nOrigin: https://example.com\n\n{\"person_id\": \"4\", \"person_name\": \"x\"}\n--\nDELETE /persons/1\nHost: example.com\nOrigin: null\n--\nGET http://other.example/persons",
    "compatible any\nOPTIONS /persons\nOrigin: null\nAccess-Control-Request-Method: PUT\n--\nBREW /persons/1\n--\nPATCH /persons/1\n--\nPUT /persons\n--\nGET /openapi.json",
    "compatible\nPUT /persons/1\nIf-None-Match: \"x\nIf-Match: *\n\n{}\n--\nGET /persons/%zz\n--\nGET /nothing\n--\nPOST /persons\n\n[1]",
    "strict\nPUT /persons/1\nIf-Match: malformed\n\n{\"person_name\": \"Tim\"}\n--\nGET /persons/1 -1\nIf-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT\n--\nPUT /persons/1\nIf-Match: \"$1\"\n\n{\"person_name\": 1}",
    "strict\nPATCH /persons/1\nIf-Match: \"$1\"\nContent-Type: application/merge-patch+json\n\n{\"person_name\": \"Tim\"}\n--\nPATCH /persons/1\nIf-Match: \"$o\"\nContent-Type: application/merge-patch+json\n\n{}\n--\nPATCH /persons/1\nIf-Match: *\nContent-Type: application/json\n\n{}",
    "compatible unconditional\nPATCH /persons/2\nContent-Type: Application/Merge-Patch+JSON; charset=utf-8\nPrefer: return=minimal\n\n{\"person_id\": \"2\", \"change_date\": null, \"y\": {\"a\": null}}\n--\nPATCH /persons/2\nContent-Type: application/merge-patch+json\n\n{\"person_name\": null}\n--\nPATCH /persons/9\nContent-Type: application/merge-patch+json\n\n[1]",
    "compatible\nPUT /persons/1\nIf-Match: \"$1\"\nIdempotency-Key: \"a\"\n\n{\"person_name\": \"Tim\"}\n--\nPUT /persons/1\nIf-Match: \"$o\"\nIdempotency-Key: \"a\"\n\n{\"person_name\": \"Tim\"}\n--\nPUT /persons/1\nIf-Match: *\nIdempotency-Key: \"a\"\n\n{}\n--\nDELETE /persons/2\nIf-Match: *\nIdempotency-Key: \"a\"",
    "strict\nPOST /persons\nIdempotency-Key: \"\\\"\"\nIf-Match: \"$c\"\n\n{\"person_id\": \"3\", \"person_name\": \"x\"}\n--\nPOST /persons\nIdempotency-Key: \"\\\"\"\nIf-Match: \"$o\"\nPrefer: return=minimal\n\n{\"person_id\": \"3\", \"person_name\": \"x\"}\n--\nDELETE /persons/3\nIf-Match: *\nIdempotency-Key: \"b\"\n--\nDELETE /persons/3\nIf-Match: *\nIdempotency-Key: \"b\"\n--\nDELETE /persons/3\nIf-Match: *\nIdempotency-Key: b",
];

/// The first line is the policy. The requests follow, separated by `--`. A request begins with a
/// line of the method, the target and, to set the clock, the seconds from noon. Then come field
/// lines and, after an empty line, the content. In the lines before the content, `$1` and `$2`
/// stand for the current tags of these persons, `$c` for that of the collection, and `$o` for the
/// tag that the last write replaced.
pub fn check(data: &[u8]) -> Reached {
    let end = data
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(data.len());
    let (words, requests) = data.split_at(end);
    let mut session = Session::new(&String::from_utf8_lossy(words));
    let mut requests = requests.get(1..).unwrap_or_default();
    let mut reached = Vec::new();
    while reached.len() < 8 && !requests.is_empty() {
        let (request, rest) = split(requests, b"\n--\n");
        reached.push(session.ask(request));
        requests = rest;
    }
    reached
}

/// The parts before and after the first `mark`.
fn split<'a>(data: &'a [u8], mark: &[u8]) -> (&'a [u8], &'a [u8]) {
    match data.windows(mark.len()).position(|window| window == mark) {
        Some(at) => (&data[..at], &data[at + mark.len()..]),
        None => (data, b""),
    }
}

/// A request, its response, and the list before the request.
#[derive(Clone, Copy, Debug)]
struct Exchange<'a> {
    request: &'a Request<'a>,
    response: &'a Response,
    before: &'a List,
}

impl Exchange<'_> {
    /// The id and the name of the person in a write.
    fn sent(self) -> (String, String) {
        let content: Value = serde_json::from_slice(self.request.content).unwrap_or_default();
        let member = |name: &str| content[name].as_str().unwrap_or_default().to_owned();
        let id = match named(self.request.target) {
            Named::Person(id) => id,
            _ => member("person_id"),
        };
        (id, member("person_name"))
    }

    /// Checks that the response shows the person of the store, or consecutive persons of its list.
    fn shows_the_stored_persons(self) {
        let (target, records) = (self.request.target, &self.before.records);
        match named(target) {
            Named::Person(id) => {
                let record = record(self.before, &id).unwrap();
                assert_eq!(
                    response::content(self.response),
                    response::shown(record),
                    "{self:?}"
                );
            }
            Named::Persons => {
                let held: Vec<_> = records.iter().map(response::shown).collect();
                let content = response::content(self.response);
                let shown = content.as_array().unwrap();
                let is_all = shown == &held;
                let is_page = match shown.len() {
                    0 => target.contains("after") || target.contains('%'),
                    length => held.windows(length).any(|page| page == shown),
                };
                assert!(is_all || target.contains('?') && is_page, "{self:?}");
            }
            _ => {}
        }
    }
}

/// A store with two persons at first, its policy, and its earlier tags.
struct Session {
    store: MemoryStore,
    policy: Policy,
    /// In milliseconds.
    now: i64,
    /// All tags that persons and the collection have had.
    tags: BTreeSet<String>,
    outdated: String,
}

impl Session {
    fn new(words: &str) -> Self {
        let mut policy = Policy::default();
        for word in words.split(' ') {
            match word {
                "strict" => policy.profile = Profile::Strict,
                "unconditional" => policy.unconditional_writes = true,
                "token" => policy.access.require_token(Token::new("secret").unwrap()),
                "host" => policy.access.allow_host("example.com").unwrap(),
                "origin" => policy.access.allow_origin("https://example.com").unwrap(),
                "any" => policy.access.allow_origin("*").unwrap(),
                _ => {}
            }
        }
        let (store, mut tags) = (MemoryStore::new(), BTreeSet::new());
        let person = Document::from_json(br#"{"person_name": "Wim"}"#).unwrap();
        for id in ["1", "2"] {
            let id = Id::new(id).unwrap();
            let swap = Swap::create("persons", &id, &person);
            let version = store.swap(&swap, at(NOON - 3600)).unwrap();
            tags.insert(version.entity_tag().to_string());
        }
        Self {
            store,
            policy,
            now: NOON * 1000,
            tags,
            outdated: "old".into(),
        }
    }

    fn all(&self) -> List {
        self.store.list("persons", Portion::ALL).unwrap()
    }

    /// Replaces the placeholders by tags.
    fn spliced(&self, head: &str, state: &List) -> String {
        if !head.contains('$') {
            return head.to_owned();
        }
        let of = |id: &str| match record(state, id) {
            Some(record) => record.version.entity_tag().opaque().to_owned(),
            None => "none".to_owned(),
        };
        head.replace("$1", &of("1"))
            .replace("$2", &of("2"))
            .replace("$c", state.version.unwrap().entity_tag().opaque())
            .replace("$o", &self.outdated)
    }

    /// Sends the request and checks the response. The clock stays within ten years of noon.
    fn ask(&mut self, request: &[u8]) -> &'static str {
        let (head, content) = split(request, b"\n\n");
        let before = self.all();
        let head = self.spliced(&String::from_utf8_lossy(head), &before);
        let mut lines = head.split('\n');
        let mut line = lines.next().unwrap_or_default().splitn(3, ' ');
        let method = Method::from_name(line.next().unwrap_or_default());
        let mut request = Request::new(method, line.next().unwrap_or_default());
        self.now = match line.next().and_then(|seconds| seconds.parse::<i32>().ok()) {
            Some(seconds) => (NOON + i64::from(seconds) % 315_360_000) * 1000,
            None => self.now + 700,
        };
        let fields = field_lines(lines).into_iter();
        request.fields = fields
            .map(|(name, value)| (name, value.as_bytes()))
            .collect();
        request.content = content;

        let response = self.respond(&request);
        let name = response::is_well_formed(&request, &response, self.now / 1000);
        if method == Method::Head {
            let mut get = request.clone();
            get.method = Method::Get;
            response::is_head_of(&response, &self.respond(&get));
        }
        let exchange = Exchange {
            request: &request,
            response: &response,
            before: &before,
        };
        if is_write(method) && response.status() < 300 && self.all() == before {
            self.repeats(exchange);
            return name;
        }
        self.follows_preconditions(exchange);
        if method == Method::Get && response.status() == 200 {
            exchange.shows_the_stored_persons();
        }
        if is_write(method) && response.status() < 300 {
            self.changed_one(exchange);
        } else {
            assert_eq!(self.all(), before, "{exchange:?}");
        }
        name
    }

    fn respond(&self, request: &Request<'_>) -> Response {
        let milliseconds = u64::try_from(self.now).unwrap();
        let now = at(0) + std::time::Duration::from_millis(milliseconds);
        respond(&self.store, &self.policy, request, now)
    }

    /// Checks that the status agrees with the preconditions and with the list before the request.
    fn follows_preconditions(&self, exchange: Exchange<'_>) {
        let Exchange {
            request,
            response,
            before,
        } = exchange;
        let version = match named(request.target) {
            Named::Persons => before.version,
            Named::Person(id) => record(before, &id).map(|record| record.version),
            _ => return,
        };
        let syntax = match self.policy.profile {
            Profile::Compatible => TagSyntax::QuotedOrBare,
            Profile::Strict => TagSyntax::Quoted,
        };
        let tag = version.map(Version::entity_tag);
        let selected = tag.as_ref().map(|tag| Selected {
            tag: Some((tag.is_weak(), tag.opaque())),
            modified: version.and_then(seconds),
        });
        let method = request.method;
        let fields = request.fields.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (*name, std::str::from_utf8(value).unwrap()))
            .collect();
        let wanted = expected(method, selected, &fields, syntax, self.now / 1000);
        // RFC 6585 section 3: a write to an existing representation needs If-Match.
        let blind = [Method::Put, Method::Patch, Method::Delete].contains(&method)
            && version.is_some()
            && lines_of(&fields, "if-match").is_empty()
            && !self.policy.unconditional_writes;
        let sound = match (response.status(), wanted) {
            (200..300, _) if method == Method::Options => true,
            (200..300, Some(Evaluation::Perform)) => !blind,
            (304, Some(Evaluation::NotModified))
            | (412, Some(Evaluation::PreconditionFailed(_))) => true,
            (412, Some(Evaluation::Perform)) => blind && syntax == TagSyntax::QuotedOrBare,
            (428, Some(Evaluation::Perform)) => blind && syntax == TagSyntax::Quoted,
            (200..400 | 412 | 428, _) => false,
            _ => true,
        };
        assert!(sound, "{wanted:?} {exchange:?}");
        if [200, 304, 412, 428].contains(&response.status()) && !is_write(method) {
            let shown = response.field("ETag").map(str::to_owned);
            let current = tag.filter(|_| method != Method::Options);
            assert_eq!(shown, current.map(|tag| tag.to_string()), "{exchange:?}");
        }
    }

    /// Checks that a successful write that changed nothing has the key of the last write to its
    /// person.
    fn repeats(&self, exchange: Exchange<'_>) {
        let Exchange {
            request, response, ..
        } = exchange;
        let (id, _) = exchange.sent();
        let id = Id::new(id).unwrap();
        let key: Vec<_> = request.field_lines("Idempotency-Key").collect();
        let [key] = key[..] else {
            panic!("{exchange:?}")
        };
        let kept = if let Some(record) = self.store.get("persons", &id).unwrap() {
            if !response.content().is_empty() {
                let content = response::content(response);
                assert_eq!(content, response::shown(&record), "{exchange:?}");
            }
            let tag = record.version.entity_tag().to_string();
            assert_eq!(response.field("ETag"), Some(&*tag), "{exchange:?}");
            record.keyed_write.as_deref().cloned()
        } else {
            assert_eq!(response.status(), 204, "{exchange:?}");
            let now = at(self.now / 1000);
            self.store.removal("persons", &id, now).unwrap()
        };
        let key = std::str::from_utf8(key).unwrap().parse();
        assert_eq!(kept.map(|it| it.key), key.ok(), "{exchange:?}");
    }

    /// Checks that a write has changed only the person in its target or content, and that the new
    /// version is unique.
    fn changed_one(&mut self, exchange: Exchange<'_>) {
        let after = self.all();
        let tag = after.version.unwrap().entity_tag().to_string();
        assert!(after.version > exchange.before.version, "{exchange:?}");
        assert!(self.tags.insert(tag.clone()), "{exchange:?}");
        let (id, name) = exchange.sent();
        let old = record(exchange.before, &id);
        if let Some(old) = old {
            self.outdated = old.version.entity_tag().opaque().into();
        }
        let others = |state: &List| {
            let others = state.records.iter();
            let others = others.filter(|record| record.id.as_str() != id);
            others.cloned().collect::<Vec<_>>()
        };
        assert_eq!(others(exchange.before), others(&after), "{exchange:?}");
        let response = exchange.response;
        assert_eq!(response.status() == 201, old.is_none(), "{exchange:?}");
        let Some(new) = record(&after, &id) else {
            assert_eq!(exchange.request.method, Method::Delete, "{exchange:?}");
            assert_eq!(response.status(), 204, "{exchange:?}");
            return;
        };
        // A patch may leave the name as it was.
        let left = old.filter(|_| exchange.request.method == Method::Patch && name.is_empty());
        let name = left.map_or(name, response::name);
        let held = (new.version, response::name(new));
        assert_eq!(held, (after.version.unwrap(), name), "{exchange:?}");
        assert_eq!(response.field("ETag"), Some(&*tag), "{exchange:?}");
        for field in ["Location", "Content-Location"] {
            let place = response.field(field).map(named);
            assert!(
                place.is_none_or(|place| place == Named::Person(id.clone())),
                "{exchange:?}"
            );
        }
        if !response.content().is_empty() {
            assert_eq!(
                response::content(response),
                response::shown(new),
                "{exchange:?}"
            );
        }
    }
}

fn is_write(method: Method) -> bool {
    [Method::Post, Method::Put, Method::Patch, Method::Delete].contains(&method)
}

fn record<'a>(state: &'a List, id: &str) -> Option<&'a Record> {
    let mut records = state.records.iter();
    records.find(|record| record.id.as_str() == id)
}

fn seconds(version: Version) -> Option<i64> {
    let printed = version.last_modified()?.to_string();
    let moment = Moment::read(&printed, Moment::of(NOON));
    Some(moment.expect(&printed).seconds())
}
