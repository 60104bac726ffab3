use std::fmt::Arguments;
use std::io::Write;
use std::net::SocketAddr;

use crate::Result;
use crate::connection::{Connection, Response};

/// A tag that no version has.
const STALE: &str = "\"ffffffffffffffffffffffffffffffff\"";

/// Collections over which documents are spread evenly.
pub type Collections = &'static [&'static str];

/// The one collection of most rows.
pub const PERSONS: Collections = &["persons"];

/// The request that a client repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    Get,
    /// GET with the latest tag in If-None-Match.
    Unchanged,
    /// GET with an older tag in If-Match.
    GetChanged,
    /// PUT with the latest tag in If-Match.
    Put,
    /// PUT with an older tag in If-Match.
    PutChanged,
    Post,
    /// The first page, with this number of persons.
    List(usize),
    /// GET of one of this number of documents, another one each time.
    GetAny(usize, Collections),
    /// PUT with If-Match: * to one of this number of documents, another one each time.
    PutAny(usize, Collections),
    /// A page of 100 persons, which begins anywhere among this number of persons.
    ListAny(usize, Collections),
}

impl Ask {
    pub fn name(self) -> String {
        let method = match self {
            Self::List(length) => return format!("page of {length}"),
            Self::ListAny(..) => return "page of 100".into(),
            Self::Put | Self::PutChanged | Self::PutAny(..) => "PUT",
            Self::Post => "POST",
            _ => "GET",
        };
        format!("{method} {}", self.status())
    }

    /// The expected status.
    pub fn status(self) -> u16 {
        match self {
            Self::Unchanged => 304,
            Self::GetChanged | Self::PutChanged => 412,
            Self::Post => 201,
            _ => 200,
        }
    }
}

/// A client that sends one request after the other, and writes to a person of its own.
pub struct Client {
    pub connection: Connection,
    ask: Ask,
    status: u16,
    person: usize,
    pub tag: String,
    /// The number of requests so far.
    count: usize,
    request: Vec<u8>,
}

impl Client {
    /// Connects and sends a first request, so that the server has accepted this connection before
    /// the next one, and the client knows the tag. `status` is the expected status.
    pub fn new(address: SocketAddr, person: usize, ask: Ask, status: u16) -> Result<Self> {
        let mut connection = Connection::open(address)?;
        let mut first = Vec::new();
        get(&mut first, PERSONS, person, "")?;
        let known = connection.ask(&first)?;
        let mut client = Self {
            connection,
            ask,
            status,
            person,
            // The response of a floor has no tag, and a floor ignores preconditions.
            tag: known.tag.unwrap_or_else(|| STALE.into()),
            count: 0,
            request: Vec::new(),
        };
        client.ask()?;
        Ok(client)
    }

    pub fn send(&mut self) -> Result<()> {
        self.count += 1;
        self.request.clear();
        self.write()?;
        self.connection.send(&self.request)
    }

    pub fn receive(&mut self) -> Result<Response> {
        let mut response = self.connection.receive()?.expect(self.status)?;
        if let Some(tag) = response.tag.take() {
            self.tag = tag;
        }
        Ok(response)
    }

    pub fn ask(&mut self) -> Result<Response> {
        self.send()?;
        self.receive()
    }

    fn write(&mut self) -> Result<()> {
        let (to, id, tag) = (&mut self.request, self.person, &self.tag);
        let any = |count| any(self.count, id, count);
        match self.ask {
            Ask::Get => get(to, PERSONS, id, ""),
            Ask::GetAny(count, of) => get(to, of, any(count), ""),
            Ask::Unchanged => get(to, PERSONS, id, &format!("If-None-Match: {tag}\r\n")),
            Ask::GetChanged => get(to, PERSONS, id, &format!("If-Match: {STALE}\r\n")),
            Ask::Put => put(to, PERSONS, id, &format!("If-Match: {tag}\r\n")),
            Ask::PutAny(count, of) => put(to, of, any(count), "If-Match: *\r\n"),
            Ask::PutChanged => put(to, PERSONS, id, &format!("If-Match: {STALE}\r\n")),
            Ask::Post => {
                let count = self.count;
                let person = format!("{{\"person_id\":\"{id}-{count}\",\"person_name\":\"Wim\"}}");
                write(to, format_args!("POST /persons"), "", &person)
            }
            Ask::List(limit) => page(to, limit, ""),
            Ask::ListAny(count, _) => page(to, 100, &format!("&after={:07}", any(count - 100))),
        }
    }
}

/// One of `count` persons, far from the previous one.
fn any(turn: usize, salt: usize, count: usize) -> usize {
    (turn + salt * 1009).wrapping_mul(2_654_435_761) % count
}

fn write(to: &mut Vec<u8>, line: Arguments<'_>, fields: &str, content: &str) -> Result<()> {
    write!(to, "{line} HTTP/1.1\r\nHost: bench\r\n{fields}")?;
    if !content.is_empty() {
        let length = content.len();
        let json = "Content-Type: application/json";
        write!(to, "{json}\r\nContent-Length: {length}\r\n")?;
    }
    Ok(write!(to, "\r\n{content}")?)
}

/// The collection that a document is in.
fn collection(of: Collections, id: usize) -> &'static str {
    of.get(id % of.len()).unwrap_or(&"persons")
}

pub fn get(to: &mut Vec<u8>, of: Collections, id: usize, fields: &str) -> Result<()> {
    let line = format_args!("GET /{}/{id:07}", collection(of, id));
    write(to, line, fields, "")
}

/// Sends a person with a short name, or a document whose text has 100 bytes.
fn put(to: &mut Vec<u8>, of: Collections, id: usize, fields: &str) -> Result<()> {
    let collection = collection(of, id);
    let width = if collection == "persons" { 0 } else { 82 };
    let content = format!("{{\"person_name\":\"{:width$}\"}}", "Wim");
    let line = format_args!("PUT /{collection}/{id:07}");
    write(to, line, fields, &content)
}

/// Requests a page of persons. `after` is empty, or the rest of the query.
pub fn page(to: &mut Vec<u8>, limit: usize, after: &str) -> Result<()> {
    let line = format_args!("GET /persons?limit={limit}{after}");
    write(to, line, "", "")
}

/// Creates the documents 0 to `count`, spread over these collections.
pub fn fill(address: SocketAddr, of: Collections, count: usize) -> Result<()> {
    let mut connection = Connection::open(address)?;
    // Sends 100 requests before the first response if there are many, which is faster. Flask's own
    // server accepts only one.
    let batch = if count > 1000 { 100 } else { 1 };
    let mut requests = Vec::new();
    for first in (0..count).step_by(batch) {
        let batch = first..count.min(first + batch);
        requests.clear();
        for id in batch.clone() {
            let fields = "If-None-Match: *\r\nPrefer: return=minimal\r\n";
            put(&mut requests, of, id, fields)?;
        }
        connection.send(&requests)?;
        for _ in batch {
            connection.receive()?.expect(201)?;
        }
    }
    Ok(())
}
