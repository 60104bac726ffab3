//! A client on a socket, which sends exactly the bytes that a test gives.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::openapi::is_documented;

/// A client that waits longer than this fails its test.
const STUCK: Duration = Duration::from_secs(20);

pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A response as the client received it, with the framing of RFC 9112 section 6.3.
#[derive(Debug)]
pub struct RawResponse {
    pub status_line: String,
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub content: String,
}

impl Client {
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        Self::try_connect(address).unwrap()
    }

    pub fn try_connect(address: impl ToSocketAddrs) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(STUCK))?;
        stream.set_write_timeout(Some(STUCK))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes.as_ref())
    }

    /// Sends a whole request and receives its response, which must be in the description of the
    /// API.
    pub fn ask(&mut self, request: impl AsRef<[u8]>) -> RawResponse {
        self.send(&request);
        let head = request.as_ref().starts_with(b"HEAD ");
        let response = if head {
            self.receive_head()
        } else {
            self.receive()
        };
        is_documented(request.as_ref(), &response);
        response
    }

    /// Sends a request, except HEAD, to a server that may have ended. Panics if a response is
    /// incomplete.
    pub fn try_ask(&mut self, request: impl AsRef<[u8]>) -> std::io::Result<RawResponse> {
        self.try_send(request)?;
        self.try_receive()
    }

    /// Receives the response to any request except HEAD. An error if there is none.
    pub fn try_receive(&mut self) -> std::io::Result<RawResponse> {
        match self.peek_buffered()? {
            [] => Err(ErrorKind::ConnectionReset.into()),
            _ => Ok(self.receive()),
        }
    }

    /// Receives the response to any request except HEAD.
    pub fn receive(&mut self) -> RawResponse {
        let mut response = self.receive_head();
        let without_content = response.status < 200 || [204, 304].contains(&response.status);
        assert!(
            response.field("Transfer-Encoding").is_none(),
            "{response:?}"
        );
        if !without_content {
            let length = response
                .field("Content-Length")
                .expect("a length")
                .parse()
                .unwrap();
            let mut content = vec![0; length];
            self.stream.read_exact(&mut content).unwrap();
            response.content = String::from_utf8(content).unwrap();
        }
        response
    }

    pub fn receive_head(&mut self) -> RawResponse {
        let line = self.line();
        let (version, status) = line.split_at_checked(9).expect("a status line");
        assert!(["HTTP/1.1 ", "HTTP/1.0 "].contains(&version), "{line}");
        let status = status.get(..3).expect("a status");
        let mut response = RawResponse {
            status: status.parse().unwrap(),
            status_line: line,
            fields: Vec::new(),
            content: String::new(),
        };
        loop {
            let line = self.line();
            if line.is_empty() {
                return response;
            }
            let (name, value) = line.split_once(": ").expect("a field line");
            response.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Receives a response. Returns it in the lines that `curl -i` prints.
    pub fn print(&mut self) -> Vec<String> {
        let response = self.receive();
        let mut lines = vec![response.status_line.clone()];
        lines.extend(
            response
                .fields
                .iter()
                .map(|(name, value)| format!("{name}: {value}")),
        );
        lines.push(String::new());
        lines.extend(response.content.lines().map(str::to_owned));
        lines
    }

    /// Waits until the server has closed the connection. Panics if the server sends anything before
    /// that, or does not close it.
    pub fn is_closed(&mut self) -> bool {
        match self.peek_buffered() {
            Ok(rest) => {
                assert!(rest.is_empty(), "{:?}", String::from_utf8_lossy(rest));
                true
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
            Err(error) => panic!("the connection is not closed: {error}"),
        }
    }

    /// Waits until there are bytes to read, and does not read them.
    pub fn wait(&mut self) {
        while let Err(error) = self.stream.get_mut().peek(&mut [0]) {
            assert_eq!(error.kind(), ErrorKind::Interrupted);
        }
    }

    /// The bytes that the client can read next; none if the connection has ended. Repeats a call
    /// that was interrupted: that happens if the system suspends the process during a call with a
    /// timeout.
    fn peek_buffered(&mut self) -> std::io::Result<&[u8]> {
        while let Err(error) = self.stream.fill_buf() {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
        self.stream.fill_buf()
    }

    /// Shuts down the client's half of the connection.
    pub fn finish_sending(&mut self) {
        self.try_finish_sending().unwrap();
    }

    /// Shuts down the client's half of the connection. An error if the connection has ended.
    pub fn try_finish_sending(&mut self) -> std::io::Result<()> {
        self.stream.get_mut().shutdown(std::net::Shutdown::Write)
    }

    /// The client's own address and port.
    pub fn local_addr(&self) -> SocketAddr {
        self.stream.get_ref().local_addr().unwrap()
    }

    /// All bytes that the client receives until the end of the connection or the timeout, and
    /// whether the connection has ended.
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut bytes = Vec::new();
        let read = self.stream.read_to_end(&mut bytes);
        let has_ended = !read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        (bytes, has_ended)
    }

    /// The same as [`rest`](Self::rest), without waiting for more bytes.
    pub fn received(&mut self) -> (Vec<u8>, bool) {
        self.stream.get_mut().set_nonblocking(true).unwrap();
        self.rest()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n")
            .expect("a line that ends")
            .to_owned()
    }
}

impl RawResponse {
    /// The value of a field. Panics if the field has several lines.
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut lines = self
            .fields
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let value = lines.next().map(|(_, value)| value.as_str());
        assert!(lines.next().is_none(), "{name} has two lines");
        value
    }

    /// The member `message`, or `detail` in a response of the strict profile.
    pub fn message(&self) -> String {
        let value: serde_json::Value = serde_json::from_str(&self.content).unwrap();
        let member = if value.get("status").is_some() {
            "detail"
        } else {
            "message"
        };
        value[member].as_str().unwrap().to_owned()
    }
}

/// The bytes of a request, given its line without the version, its field lines and its content.
/// Adds Content-Length.
pub fn request(line: &str, fields: &str, content: &str) -> String {
    let length = if content.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", content.len())
    };
    format!("{line} HTTP/1.1\r\nHost: x\r\n{fields}{length}\r\n{content}")
}
