//! GET and PUT of a person in axum, as a user of axum would write them, on two threads.
//!
//! For a fair comparison the program does the same for a person as the server: the tag is the MD5
//! of the change date, and a PUT is evaluated and performed under one lock. It reads only one tag
//! in a field, and no dates, and has none of the other rules.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const CHANGE_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

type Persons = Arc<Mutex<BTreeMap<String, Person>>>;

#[derive(Clone, Serialize)]
#[expect(clippy::struct_field_names, reason = "these are the names in the JSON")]
struct Person {
    change_date: String,
    person_id: String,
    person_name: String,
}

#[derive(Deserialize)]
struct Sent {
    person_name: String,
}

impl Person {
    fn new(person_id: String, person_name: String) -> Self {
        let now = OffsetDateTime::now_utc().format(CHANGE_DATE);
        Self {
            change_date: now.unwrap_or_default(),
            person_id,
            person_name,
        }
    }

    fn tag(&self) -> String {
        format!("\"{:x}\"", md5::compute(&self.change_date))
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let app = Router::new()
            .route("/persons/{id}", get(read).put(replace))
            .with_state(Persons::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        writeln!(io::stdout(), "http://{}", listener.local_addr()?)?;
        axum::serve(listener, app).await?;
        Ok(())
    })
}

async fn read(
    State(persons): State<Persons>,
    Path(id): Path<String>,
    fields: HeaderMap,
) -> Response {
    let persons = persons.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(person) = persons.get(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = person.tag();
    if fields.contains_key(IF_MATCH) && !names(&fields, &IF_MATCH, &tag) {
        return (StatusCode::PRECONDITION_FAILED, [(ETAG, tag)]).into_response();
    }
    if names(&fields, &IF_NONE_MATCH, &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    ([(ETAG, tag)], Json(person)).into_response()
}

async fn replace(
    State(persons): State<Persons>,
    Path(id): Path<String>,
    fields: HeaderMap,
    Json(sent): Json<Sent>,
) -> Response {
    let mut persons = persons.lock().unwrap_or_else(PoisonError::into_inner);
    if fields.contains_key(IF_NONE_MATCH) && !persons.contains_key(&id) {
        persons.insert(id.clone(), Person::new(id, sent.person_name));
        return StatusCode::CREATED.into_response();
    }
    let Some(person) = persons.get_mut(&id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = person.tag();
    if !names(&fields, &IF_MATCH, &tag) {
        return (StatusCode::PRECONDITION_FAILED, [(ETAG, tag)]).into_response();
    }
    *person = Person::new(id, sent.person_name);
    ([(ETAG, person.tag())], Json(&*person)).into_response()
}

fn names(fields: &HeaderMap, name: &HeaderName, tag: &str) -> bool {
    fields.get(name).is_some_and(|value| value == tag)
}
