//! The least program that answers over `tiny_http` the naive way: a constant 200.
//!
//! What a server on `tiny_http` costs before it does anything. The one argument is the length of
//! the content.
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
    // Inherited by what is accepted. Without it long content waits for the client's kernel to
    // acknowledge its beginning, 40 ms each time, and there would be nothing to compare with.
    TcpStream::from(OwnedFd::from(listener.try_clone()?)).set_nodelay(true)?;
    let server = Server::from_listener(listener, None)?;
    writeln!(io::stdout(), "http://{}", server.server_addr())?;
    let mut content = String::new();
    for mut request in server.incoming_requests() {
        content.clear();
        request.as_reader().read_to_string(&mut content)?;
        // In one piece whatever its length, as the server beside it does.
        let response = Response::from_string(body.as_str()).with_chunked_threshold(usize::MAX);
        // The client may be gone.
        let _ = request.respond(response);
    }
    Ok(())
}
