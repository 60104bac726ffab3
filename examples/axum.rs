//! Notes in axum, without lost updates: `cargo run --example axum --features http`

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header::ETAG};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, body::Bytes, routing::get};
use ifmatch::{EntityTag, Validators, WithoutIfMatch, judge};

#[derive(serde::Deserialize, serde::Serialize)]
struct Note {
    title: String,
}

/// The notes by id with their tags, and the number of writes so far, which makes each tag unique.
type Notes = Arc<Mutex<(HashMap<String, (EntityTag, Note)>, u64)>>;

async fn note(
    State(notes): State<Notes>,
    Path(id): Path<String>,
    method: Method,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Response, Response> {
    // The lock is held until the method is performed, so that no other write comes between.
    let (notes, writes) = &mut *notes.lock().unwrap_or_else(PoisonError::into_inner);
    let current = notes.get(&id).map(|(tag, _)| Validators::from(tag.clone()));
    let status = match (&current, &method) {
        (Some(_), _) => StatusCode::OK,
        (None, &Method::PUT) => StatusCode::CREATED,
        (None, _) => return Err(StatusCode::NOT_FOUND.into_response()),
    };
    let (rule, now) = (WithoutIfMatch::Refuse, std::time::SystemTime::now());
    judge(&method, &headers, current.as_ref(), rule, now)?;
    if method == Method::DELETE {
        notes.remove(&id);
        return Ok(StatusCode::NO_CONTENT.into_response());
    } else if method == Method::PUT {
        let note = serde_json::from_slice(&content)
            .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())?;
        *writes += 1;
        notes.insert(id.clone(), (EntityTag::revision(*writes), note));
    }
    let (tag, note) = &notes[&id];
    Ok((status, [(ETAG, tag.to_string())], Json(note)).into_response())
}

pub(crate) fn router() -> Router {
    let methods = get(note).put(note).delete(note);
    Router::new().route("/notes/{id}", methods.with_state(Notes::default()))
}

#[tokio::main]
pub(crate) async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    axum::serve(listener, router()).await
}
