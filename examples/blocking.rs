//! Notes in a blocking server, without lost updates: `cargo run --example blocking`

use std::{collections::HashMap, error::Error, io, time::SystemTime};

use ifmatch::{EntityTag, Method, NotPerformed, Validators, WithoutIfMatch, judge};
use tiny_http::{Header, Request, Response, Server};

/// The notes by path with their tags, and the number of writes so far, which makes each tag unique.
type Notes = (HashMap<String, (EntityTag, String)>, u64);

/// The status, the field lines and the content of a response.
type Parts = (u16, Vec<(&'static str, String)>, String);

fn perform(state: &mut Notes, request: &Request, note: String) -> Result<Parts, NotPerformed> {
    let ((notes, writes), path) = (state, request.url());
    let method = Method::from_name(request.method().as_str());
    let current = notes.get(path).map(|it| Validators::from(it.0.clone()));
    let status = match (&current, method) {
        (Some(_), _) => 200,
        (None, Method::Put) => 201,
        (None, _) => return Ok((404, vec![], "There is no such note\n".into())),
    };
    let lines = request.headers().iter();
    let fields = lines.map(|it| (it.field.as_str().as_str(), it.value.as_str()));
    let (rule, now) = (WithoutIfMatch::Refuse, SystemTime::now());
    judge(method, fields, current.as_ref(), rule, now)?;
    match method {
        Method::Put => {
            *writes += 1;
            notes.insert(path.to_owned(), (EntityTag::revision(*writes), note));
        }
        Method::Delete => drop(notes.remove(path)),
        _ => {}
    }
    Ok(match notes.get(path) {
        Some((tag, note)) => (status, vec![("ETag", tag.to_string())], note.clone()),
        None => (200, vec![], "The note is removed\n".into()),
    })
}

/// Responds to one request. The caller handles one request at a time, so no other write comes
/// between `judge` and the write.
pub(crate) fn respond(notes: &mut Notes, mut request: Request) -> io::Result<()> {
    let note = io::read_to_string(request.as_reader())?;
    let (status, lines, content) = perform(notes, &request, note)
        .unwrap_or_else(|it| (it.status(), it.fields(), it.content()));
    let fields = lines.iter().flat_map(|it| Header::from_bytes(it.0, &*it.1));
    let content = io::Cursor::new(content);
    // The response gets no length, because tiny_http would send Content-Length: 0 in a 304.
    let response = Response::new(status.into(), fields.collect(), content, None, None);
    request.respond(response)
}

pub(crate) fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (server, mut notes) = (Server::http("127.0.0.1:8080")?, Notes::default());
    let requests = server.incoming_requests();
    requests.for_each(|request| drop(respond(&mut notes, request)));
    Ok(())
}
