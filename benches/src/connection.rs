use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;

/// The timeout of a read and of a write. No working server takes longer for a response.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A persistent connection. It connects again after the server has ended it.
pub struct Connection {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    /// The status line and the fields of the last response.
    pub head: String,
    /// Whether the last response had `Connection: close`.
    over: bool,
}

/// The parts of a response that the bench needs.
#[derive(Default)]
pub struct Response {
    pub status: u16,
    /// The length of the content, which is discarded.
    pub length: usize,
    pub tag: Option<String>,
}

impl Connection {
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self {
            address,
            stream: BufReader::with_capacity(128 * 1024, stream),
            head: String::new(),
            over: false,
        })
    }

    /// Sends requests, on a new connection if the server has ended the last one.
    pub fn send(&mut self, requests: &[u8]) -> Result<()> {
        if self.over {
            *self = Self::open(self.address)?;
        }
        Ok(self.stream.get_mut().write_all(requests)?)
    }

    /// Reads the next response to its end.
    pub fn receive(&mut self) -> Result<Response> {
        let mut response = Response::default();
        self.head.clear();
        loop {
            let begin = self.head.len();
            if self.stream.read_line(&mut self.head)? == 0 {
                return Err("the server has closed the connection instead of answering".into());
            }
            let line = self.head.get(begin..).unwrap_or_default().trim_ascii_end();
            match line.split_once(": ") {
                Some((name, value)) => self.over |= response.note(name, value)?,
                None if line.is_empty() => break,
                None => response.status = status(line)?,
            }
        }
        if response.status == 304 {
            response.length = 0;
        }
        let mut left = response.length;
        while left > 0 {
            let read = self.stream.fill_buf()?.len().min(left);
            if read == 0 {
                return Err("the server has closed the connection in the middle of content".into());
            }
            self.stream.consume(read);
            left -= read;
        }
        Ok(response)
    }

    pub fn ask(&mut self, request: &[u8]) -> Result<Response> {
        self.send(request)?;
        self.receive()
    }
}

fn status(line: &str) -> Result<u16> {
    let status = line.split(' ').nth(1).ok_or("the response has no status")?;
    Ok(status.parse()?)
}

impl Response {
    /// Returns an error, which ends the bench, if the response has another status.
    pub fn expect(self, status: u16) -> Result<Self> {
        if self.status == status {
            return Ok(self);
        }
        let other = self.status;
        Err(format!("a response had the status {other} instead of {status}").into())
    }

    /// Records a field. Returns whether the field is `Connection: close`.
    fn note(&mut self, name: &str, value: &str) -> Result<bool> {
        if name.eq_ignore_ascii_case("content-length") {
            self.length = value.parse()?;
        } else if name.eq_ignore_ascii_case("etag") {
            self.tag = Some(value.to_owned());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err("a response in chunks is not understood here".into());
        }
        Ok(name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close"))
    }
}
