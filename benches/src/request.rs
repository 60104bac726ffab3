use std::io::Write;
use std::net::SocketAddr;

use crate::Result;
use crate::connection::{Answer, Connection};

/// A tag that no version has.
const STALE: &str = "\"ffffffffffffffffffffffffffffffff\"";

/// How many requests a server takes before it has answered the first of them.
pub const FLIGHT: usize = 100;

/// The one collection of most rows.
pub const PERSONS: [&str; 1] = ["persons"];

/// Three collections, over which documents are spread evenly. All of them take persons.
pub const THREE: [&str; 3] = ["persons", "notes", "tasks"];

/// What is asked for, over and over.
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
    /// The first page, of so many persons.
    List(usize),
    /// Another of so many persons each time.
    GetAny(usize),
    /// PUT with If-Match: * to another of so many persons each time.
    PutAny(usize),
    /// A page of 100 that begins anywhere among so many persons.
    ListAny(usize),
    /// As `GetAny`, of documents in three collections.
    GetOfThree(usize),
    /// As `PutAny`, to documents in three collections.
    PutOfThree(usize),
}

impl Ask {
    pub fn name(self) -> String {
        match self {
            Self::Get | Self::GetAny(_) | Self::GetOfThree(_) => "GET 200".into(),
            Self::Unchanged => "GET 304".into(),
            Self::GetChanged => "GET 412".into(),
            Self::Put | Self::PutAny(_) | Self::PutOfThree(_) => "PUT 200".into(),
            Self::PutChanged => "PUT 412".into(),
            Self::Post => "POST 201".into(),
            Self::List(length) => format!("page of {length}"),
            Self::ListAny(_) => "page of 100".into(),
        }
    }

    /// What there is many of.
    pub fn what(self) -> &'static str {
        match self {
            Self::GetOfThree(_) | Self::PutOfThree(_) => "documents in three collections",
            _ => "persons",
        }
    }

    /// The one status that is right.
    pub fn status(self) -> u16 {
        match self {
            Self::Unchanged => 304,
            Self::GetChanged | Self::PutChanged => 412,
            Self::Post => 201,
            _ => 200,
        }
    }

    /// How many persons there must be for that many clients to ask.
    pub fn persons(self, clients: usize) -> usize {
        match self {
            Self::List(count)
            | Self::GetAny(count)
            | Self::PutAny(count)
            | Self::GetOfThree(count)
            | Self::PutOfThree(count)
            | Self::ListAny(count) => count.max(clients),
            _ => clients,
        }
    }
}

/// One that asks, gets its answer, and asks again. It has a person of its own to write.
pub struct Client {
    connection: Connection,
    ask: Ask,
    status: u16,
    person: usize,
    tag: String,
    /// How often it has asked.
    count: usize,
    request: Vec<u8>,
}

impl Client {
    /// Connects, and asks once, so that the server has taken the connection before the next one
    /// comes, and the client knows the tag. `status` is what the server is to answer.
    pub fn new(mut connection: Connection, person: usize, ask: Ask, status: u16) -> Result<Self> {
        let collections = match ask {
            Ask::GetOfThree(_) | Ask::PutOfThree(_) => &THREE[..],
            _ => &PERSONS,
        };
        let mut first = Vec::new();
        get(&mut first, collections, person, "")?;
        let known = connection.ask(&first)?;
        expect(&known, 200, "GET")?;
        let mut client = Self {
            connection,
            ask,
            status,
            person,
            // A floor has none, and wants none.
            tag: known.tag.unwrap_or_else(|| STALE.into()),
            count: 0,
            request: Vec::new(),
        };
        client.send()?;
        client.receive()?;
        Ok(client)
    }

    pub fn send(&mut self) -> Result<()> {
        self.count += 1;
        self.request.clear();
        self.write()?;
        self.connection.send(&self.request)
    }

    pub fn receive(&mut self) -> Result<Answer> {
        let mut answer = self.connection.receive()?;
        expect(&answer, self.status, &self.ask.name())?;
        if self.ask == Ask::Put
            && let Some(tag) = answer.tag.take()
        {
            self.tag = tag;
        }
        Ok(answer)
    }

    fn write(&mut self) -> Result<()> {
        let (to, id, tag) = (&mut self.request, self.person, &self.tag);
        match self.ask {
            Ask::Get => get(to, &PERSONS, id, "")?,
            Ask::GetAny(count) => get(to, &PERSONS, any(self.count, id, count), "")?,
            Ask::GetOfThree(count) => get(to, &THREE, any(self.count, id, count), "")?,
            Ask::Unchanged => get(to, &PERSONS, id, &format!("If-None-Match: {tag}\r\n"))?,
            Ask::GetChanged => get(to, &PERSONS, id, &format!("If-Match: {STALE}\r\n"))?,
            Ask::Put => put(to, &PERSONS, id, &format!("If-Match: {tag}\r\n"))?,
            Ask::PutAny(count) => {
                put(to, &PERSONS, any(self.count, id, count), "If-Match: *\r\n")?;
            }
            Ask::PutOfThree(count) => {
                put(to, &THREE, any(self.count, id, count), "If-Match: *\r\n")?;
            }
            Ask::PutChanged => put(to, &PERSONS, id, &format!("If-Match: {STALE}\r\n"))?,
            Ask::Post => post(to, "persons", &format!("{id}-{}", self.count), "")?,
            Ask::List(limit) => page(to, limit, None)?,
            Ask::ListAny(count) => page(to, 100, Some(any(self.count, id, count - 100)))?,
        }
        Ok(())
    }
}

/// Ends the bench if the answer is not the one that is measured.
fn expect(answer: &Answer, status: u16, what: &str) -> Result<()> {
    if answer.status == status {
        return Ok(());
    }
    Err(format!(
        "{what} was answered with {}, not with {status}",
        answer.status
    )
    .into())
}

/// One of `count` persons, far from the last one.
fn any(turn: usize, salt: usize, count: usize) -> usize {
    (turn + salt * 1009).wrapping_mul(2_654_435_761) % count
}

/// The path of a document that is spread over these collections.
fn path(collections: &[&str], id: usize) -> String {
    let collection = collections
        .get(id % collections.len())
        .unwrap_or(&"persons");
    format!("/{collection}/{id:07}")
}

fn get(to: &mut Vec<u8>, collections: &[&str], id: usize, fields: &str) -> Result<()> {
    let path = path(collections, id);
    Ok(write!(
        to,
        "GET {path} HTTP/1.1\r\nHost: bench\r\n{fields}\r\n"
    )?)
}

fn put(to: &mut Vec<u8>, collections: &[&str], id: usize, fields: &str) -> Result<()> {
    let path = path(collections, id);
    Ok(write!(
        to,
        "PUT {path} HTTP/1.1\r\nHost: bench\r\n{fields}\
        Content-Type: application/json\r\nContent-Length: 22\r\n\r\n{{\"person_name\": \"Wim\"}}"
    )?)
}

fn post(to: &mut Vec<u8>, collection: &str, id: &str, fields: &str) -> Result<()> {
    let content = format!("{{\"person_id\": \"{id}\", \"person_name\": \"Wim\"}}");
    let length = content.len();
    Ok(write!(
        to,
        "POST /{collection} HTTP/1.1\r\nHost: bench\r\n{fields}\
        Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{content}"
    )?)
}

/// Asks for the page of persons after one of them.
pub fn page(to: &mut Vec<u8>, limit: usize, after: Option<usize>) -> Result<()> {
    write!(to, "GET /persons?limit={limit}")?;
    if let Some(id) = after {
        write!(to, "&after={id:07}")?;
    }
    Ok(write!(to, " HTTP/1.1\r\nHost: bench\r\n\r\n")?)
}

/// Creates the documents 0 to `count`, spread over these collections, so many in one flight.
pub fn fill(
    connection: &mut Connection,
    collections: &[&str],
    count: usize,
    flight: usize,
) -> Result<()> {
    let mut requests = Vec::new();
    for first in (0..count).step_by(flight) {
        let flight = first..count.min(first + flight);
        requests.clear();
        for id in flight.clone() {
            let path = path(collections, id);
            let (collection, id) = path
                .trim_start_matches('/')
                .split_once('/')
                .ok_or("a path has two parts")?;
            post(&mut requests, collection, id, "Prefer: return=minimal\r\n")?;
        }
        connection.send(&requests)?;
        for _ in flight {
            expect(&connection.receive()?, 201, "POST")?;
        }
    }
    Ok(())
}

/// How long the content of the answer is, or that of a person where there is none.
pub fn content_length(address: SocketAddr, ask: Ask) -> Result<usize> {
    let mut request = Vec::new();
    match ask {
        Ask::List(limit) => page(&mut request, limit, None)?,
        _ => get(&mut request, &PERSONS, 0, "")?,
    }
    Ok(Connection::open(address)?.ask(&request)?.length)
}
