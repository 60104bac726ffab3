//! The minimal server on hyper, on one thread: it responds with a constant 200.
//!
//! It shows the cost of hyper itself. The first argument is the length of the content. Further
//! arguments are the status and all field lines except Content-Length. Then it shows the cost of
//! the same response as a constant.
#![forbid(unsafe_code)]

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io::{self, Write};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = env::args().skip(1);
    let length: usize = arguments.next().ok_or("how long?")?.parse()?;
    let mut response = Response::new(Full::from("a".repeat(length)));
    let is_plain = arguments.len() == 0;
    if is_plain {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
    } else {
        *response.status_mut() = arguments.next().unwrap_or_default().parse()?;
    }
    for line in arguments {
        // The content is leaked, because a static value is cloned without a reference count.
        let (name, value) = line.leak().split_once(": ").ok_or("a field has a name")?;
        let value = HeaderValue::from_static(value);
        response
            .headers_mut()
            .insert(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(serve(response, is_plain))
}

async fn serve(
    response: Response<Full<Bytes>>,
    is_plain: bool,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let response = response.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let response = response.clone();
            async {
                // hyper ends the connection if the content is incomplete.
                let _ = request.into_body().collect().await;
                Ok::<_, Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .title_case_headers(!is_plain)
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}
