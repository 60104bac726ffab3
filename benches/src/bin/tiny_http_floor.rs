//! The least program that answers over `tiny_http` the naive way: a constant 200.
//!
//! What a server on `tiny_http` costs before it does anything. The one argument is the length of
//! the content.
#![forbid(unsafe_code)]

use std::env;
use std::error::Error;
use std::io::{self, Write};

use tiny_http::{Response, Server};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let length: usize = env::args().nth(1).ok_or("how long?")?.parse()?;
    let body = format!("\"{}\"\n", "a".repeat(length.saturating_sub(3)));
    let server = Server::http("127.0.0.1:0")?;
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
