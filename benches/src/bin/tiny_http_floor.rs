//! The minimal server on `tiny_http`: it responds with a constant 200.
//!
//! It shows the cost of `tiny_http` itself. Its argument is the length of the content.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let length: usize = env::args().nth(1).ok_or("how long?")?.parse()?;
    let body = "a".repeat(length);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // Accepted connections inherit this option. Without it the rest of long content waits 40 ms
    // until the client's kernel acknowledges the beginning, and a comparison would be useless.
    TcpStream::from(OwnedFd::from(listener.try_clone()?)).set_nodelay(true)?;
    let server = Server::from_listener(listener, None)?;
    writeln!(io::stdout(), "http://{}", server.server_addr())?;
    let mut content = String::new();
    for mut request in server.incoming_requests() {
        content.clear();
        request.as_reader().read_to_string(&mut content)?;
        // Sends content of any length in one piece, as the server does.
        let response = Response::from_string(body.as_str()).with_chunked_threshold(usize::MAX);
        // The client may have disconnected.
        let _ = request.respond(response);
    }
    Ok(())
}
