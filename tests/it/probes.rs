//! Valid and invalid messages, and the responses that RFC 9110 and RFC 9112 allow.
//!
//! The tables in `probes/` hold for any server, except for the departures. A probe is
//!
//! ```text
//! NAME: LEVEL RESPONSES THEN
//! > BYTES
//! ! DOOR: RESPONSES THEN: REASON
//! ```
//!
//! - LEVEL is `must`, if the RFC says so, or if two parsers could otherwise disagree about the end
//!   of the message; `should`; or `may`, if every reasonable response is right.
//! - RESPONSES are the statuses that are right, with `/` between them; `refuse` is any status from
//!   400 on, and the end of the connection without a response. `200,404` are the responses to two
//!   requests.
//! - THEN says whether the connection `stays` open, `ends`, or may do `either`. Another request
//!   follows the bytes at once, and is performed if the connection stays open.
//! - In BYTES `\r`, `\n`, `\t`, `\0`, `\xHH` and `\\` are escapes. `<end>` means that no request
//!   follows; `<90 x>` is 90 times x; `<get>`, `<put>`, `<chunked>`, `<tim>` and `<tag>` are below.
//! - A departure is the different behaviour of one door, and the reason. The test fails if a
//!   departure no longer occurs. `open` is a connection that is neither served nor ended.
//!
//! After the bytes the client shuts down its half of the connection. So the server ends every
//! connection, and no probe waits for a timeout.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ifmatch::MemoryStore;

use crate::support::client::{Client, request};
use crate::support::serving::{Serving, is_hyper, options};

const TABLES: [&str; 5] = [
    include_str!("probes/request_line.txt"),
    include_str!("probes/fields.txt"),
    include_str!("probes/length.txt"),
    include_str!("probes/chunks.txt"),
    include_str!("probes/connection.txt"),
];

const GET: &str = "GET /persons/1 HTTP/1.1\r\nHost: x\r\n";
const PUT: &str = "PUT /persons/1 HTTP/1.1\r\nHost: x\r\nIf-Match: *\r\n";
const TIM: &str = r#"{"person_name": "Tim"}"#;

/// How many probes run at once. Most of the time each waits for its server to stop.
const THREADS: usize = 32;

#[derive(Debug)]
struct Probe {
    name: &'static str,
    level: &'static str,
    /// The statuses that are right, for each request.
    responses: Vec<Vec<&'static str>>,
    then: &'static str,
    bytes: &'static str,
    /// The different behaviour of the door under test.
    departure: Option<&'static str>,
}

fn probes() -> Vec<Probe> {
    let door = if is_hyper() { "hyper" } else { "tiny_http" };
    let mut probes: Vec<Probe> = Vec::new();
    for line in TABLES.iter().flat_map(|table| table.lines()) {
        if let Some(bytes) = line.strip_prefix("> ") {
            probes.last_mut().unwrap().bytes = bytes;
        } else if let Some(departure) = line.strip_prefix("! ") {
            let (of, departure) = departure.split_once(": ").unwrap();
            let (response, reason) = departure.split_once(": ").expect(line);
            assert!(["tiny_http", "hyper"].contains(&of) && !reason.is_empty());
            if of == door {
                probes.last_mut().unwrap().departure = Some(response);
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            let (name, expected) = line.split_once(": ").expect(line);
            let words: Vec<_> = expected.split(' ').collect();
            let [level, responses, then] = words[..] else {
                panic!("{line}")
            };
            assert!(["must", "should", "may"].contains(&level), "{line}");
            assert!(["stays", "ends", "either"].contains(&then), "{line}");
            assert!(probes.iter().all(|other| other.name != name), "{line}");
            let responses = responses.split(',').map(|one| one.split('/').collect());
            probes.push(Probe {
                name,
                level,
                responses: responses.collect(),
                then,
                bytes: "",
                departure: None,
            });
        }
    }
    probes
}

impl Probe {
    /// The bytes to send, and whether another request follows.
    fn message(&self, tag: &str) -> (Vec<u8>, bool) {
        let mut text = self.bytes.replace("<chunked>", CHUNKED);
        for (name, meaning) in [("get", GET), ("put", PUT), ("tim", TIM), ("tag", tag)] {
            text = text.replace(&format!("<{name}>"), meaning);
        }
        let (text, is_followed) = match text.strip_suffix("<end>") {
            Some(text) => (text, false),
            None => (&*text, true),
        };
        let mut message = Vec::new();
        let mut parts = text.split('<');
        message.extend(unescaped(parts.next().unwrap()));
        for part in parts {
            let (repeated, rest) = part.split_once('>').unwrap();
            let (count, repeated) = repeated.split_once(' ').unwrap();
            message.extend(unescaped(repeated).repeat(count.parse().unwrap()));
            message.extend(unescaped(rest));
        }
        (message, is_followed)
    }

    /// Whether the responses, and the end of the connection, are right.
    fn is_met(&self, seen: &Seen) -> bool {
        let is_right = |(right, status): (&Vec<&str>, &String)| {
            let is_refusal = status == "nothing" || **status >= *"400" && status.len() == 3;
            right.contains(&&**status) || right.contains(&"refuse") && is_refusal
        };
        let are_right = self.responses.iter().zip(&seen.responses).all(is_right);
        let then = self.then == "either" || self.then == seen.then;
        are_right && seen.responses.len() == self.responses.len() && then && seen.is_sound
    }
}

const CHUNKED: &str = "<put>Transfer-Encoding: chunked\r\n\r\n";

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'\\' => match rest.next().unwrap() {
                b'r' => b'\r',
                b'n' => b'\n',
                b't' => b'\t',
                b'0' => 0,
                b'x' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                b'\\' => b'\\',
                other => panic!("\\{}", char::from(other)),
            },
            byte => byte,
        });
    }
    bytes
}

/// What the client received.
struct Seen {
    /// The statuses of the responses, one for each request of the probe. `nothing` if there is no
    /// response.
    responses: Vec<String>,
    then: &'static str,
    /// Whether all responses are well-formed, and all further responses are refusals.
    is_sound: bool,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.responses.join(","), self.then)?;
        f.write_str(if self.is_sound { "" } else { " and more" })
    }
}

/// One of the responses that were received.
struct Part {
    status: String,
    is_sound: bool,
}

/// Splits the received bytes into responses, by RFC 9112 section 6.3.
fn parts(mut bytes: &[u8], is_head: bool, is_http_1_0: bool) -> Vec<Part> {
    let mut parts = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") else {
            let (status, is_sound) = ("half a head".to_owned(), false);
            parts.push(Part { status, is_sound });
            return parts;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        bytes = &bytes[end + 4..];
        let field = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(it, _)| *it == name).map(|(_, it)| it.trim())
        };
        let status = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let is_interim = status.starts_with('1');
        let is_empty = is_interim || status == "204";
        let has_length = field("content-length").is_some();
        let is_sound = head.starts_with("http/1.")
            && (has_length != is_empty || status == "304")
            && (status != "405" || field("allow").is_some());
        let length: usize = field("content-length").map_or(0, |it| it.parse().unwrap());
        let has_content = !(is_empty || status == "304" || is_head && parts.is_empty());
        let length = if has_content {
            length.min(bytes.len())
        } else {
            0
        };
        bytes = &bytes[length..];
        // HTTP/1.0 has no interim responses.
        if !is_interim || is_http_1_0 {
            parts.push(Part { status, is_sound });
        }
    }
    parts
}

/// A probe that was sent, to a server of its own.
struct Sent<'a> {
    probe: &'a Probe,
    serving: Serving,
    before: String,
    client: Client,
    address: SocketAddr,
    is_http_1_0: bool,
}

impl<'a> Sent<'a> {
    fn new(probe: &'a Probe) -> Self {
        let serving = Serving::with(MemoryStore::new(), options());
        let tag = serving.create("1");
        let before = serving.ask("GET /persons/1", "", "").content;
        let (mut message, is_followed) = probe.message(&tag);
        let is_http_1_0 = message.windows(11).any(|it| it == b" HTTP/1.0\r\n");
        if is_followed {
            let fields = "If-None-Match: *\r\nConnection: close\r\n";
            message.extend(request("PUT /persons/2", fields, TIM).bytes());
        }
        let mut client = serving.client();
        // The server may end the connection before it has read everything.
        let _ = client.try_send(message);
        let _ = client.try_finish_sending();
        Self {
            probe,
            serving,
            before,
            address: client.local_addr(),
            client,
            is_http_1_0,
        }
    }

    /// A new connection, from another address than that of the probe: the server might confuse two
    /// connections from one address.
    fn observer(&self) -> Client {
        let clients = std::iter::repeat_with(|| self.serving.client());
        let mut others = clients.filter(|client| client.local_addr() != self.address);
        others.next().unwrap()
    }

    /// Evaluates the received bytes and the state of the server after them.
    fn see(&self, (received, has_ended): (Vec<u8>, bool)) -> Seen {
        let is_head = self.probe.bytes.starts_with("HEAD ");
        let parts = parts(&received, is_head, self.is_http_1_0);
        let mut observer = self.observer();
        let performed = observer.ask("GET /persons/2 HTTP/1.1\r\nHost: x\r\n\r\n");
        let stays = performed.status == 200;
        let count = self.probe.responses.len();
        let mut statuses = parts.iter().map(|part| part.status.clone());
        let mut responses: Vec<_> = statuses.by_ref().take(count).collect();
        // An interim response must not be there, so it is shown together with the final one.
        if responses
            .first()
            .is_some_and(|first| first.starts_with('1'))
        {
            responses.extend(statuses.next());
            responses = vec![responses.join("+")];
        }
        if responses.is_empty() {
            responses.push("nothing".into());
        }
        let rest: Vec<_> = statuses.collect();
        let (last, others) = match rest.split_last() {
            Some((last, others)) if stays => (last == "201", others),
            _ => (!stays, &rest[..]),
        };
        let are_refusals = others.iter().all(|status| **status >= *"400");
        let now = observer.ask(format!("{GET}\r\n"));
        let is_write = self.probe.bytes.starts_with("<put>")
            || self.probe.bytes.starts_with("<chunked>")
            || self.probe.bytes.starts_with("PUT ");
        let may_change = is_write && responses.iter().any(|status| status.ends_with("200"));
        assert!(may_change || now.content == self.before, "{:?}", self.probe);
        Seen {
            responses,
            then: match (stays, has_ended) {
                (true, _) => "stays",
                (false, true) => "ends",
                (false, false) => "open",
            },
            is_sound: parts.iter().all(|part| part.is_sound) && last && are_refusals,
        }
    }
}

/// Runs the probe. Returns the probe that was sent if its connection is expected to stay `open`.
fn run(probe: &Probe) -> Result<Seen, Box<Sent<'_>>> {
    let mut sent = Box::new(Sent::new(probe));
    if probe.departure.is_some_and(|it| it.ends_with("open")) {
        return Err(sent);
    }
    let received = sent.client.rest();
    Ok(sent.see(received))
}

#[expect(clippy::print_stdout, reason = "the figures are in the documentation")]
#[test]
fn http_1_1_probes_are_answered_as_listed() {
    let probes = probes();
    let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(probe) = probes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let made = (probe, run(probe));
                    seen.lock().unwrap().push(made);
                }
            });
        }
    });
    let mut faults = String::new();
    let (mut met, mut met_musts, mut musts) = (0, 0, 0);
    for (probe, seen) in seen.into_inner().unwrap() {
        let seen = seen.unwrap_or_else(|mut sent| {
            // All other probes have their responses, so this one has had time enough.
            let received = sent.client.received();
            sent.see(received)
        });
        let is_met = probe.is_met(&seen);
        let listed = probe.departure;
        if listed != (!is_met).then(|| seen.to_string()).as_deref() {
            writeln!(faults, "{seen}, listed is {listed:?}: {probe:?}").unwrap();
        }
        met += usize::from(is_met);
        let is_must = probe.level == "must";
        musts += usize::from(is_must);
        met_musts += usize::from(is_must && is_met);
    }
    println!(
        "{met} of {} probes are met, and {met_musts} of {musts} of those that say must",
        probes.len()
    );
    assert!(probes.len() >= 95);
    assert!(faults.is_empty(), "{faults}");
}
