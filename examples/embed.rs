//! A program with the server inside: it serves on a free port, asks itself, and stops.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io::{Read, Write};
use std::net::TcpStream;

use ifmatch::{MemoryStore, Options, Server};

/// Runs to its end and prints what the server answered.
pub fn main() -> Result<(), Box<dyn Error>> {
    let address = "127.0.0.1:0".parse()?;
    let running = Server::bind(address, MemoryStore::new(), Options::default())?.spawn()?;

    let mut stream = TcpStream::connect(running.local_addr())?;
    stream.write_all(b"GET /persons HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    println!("{answer}");

    running.stop();
    Ok(())
}
