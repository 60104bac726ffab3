//! Documents and versions from rows.

use std::error::Error;
use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::Type;

use crate::document::{Document, Id, Record};
use crate::version::Version;

/// The record in the columns id, content, change date and dated.
pub(super) fn record_of(row: &Row<'_>) -> rusqlite::Result<Record> {
    let id = Id::new(row.get::<_, Arc<str>>("id")?).map_err(unreadable)?;
    let document = Document::from_stored(row.get::<_, Arc<str>>("content")?);
    let document = document.ok_or_else(|| unreadable("not a JSON object"))?;
    Ok(Record::new(id, document, version_of(row)?))
}

/// The version in the columns change date and dated.
pub(super) fn version_of(row: &Row<'_>) -> rusqlite::Result<Version> {
    let change_date = row.get::<_, Arc<str>>("change_date")?;
    let version: Version = change_date.parse().map_err(unreadable)?;
    Ok(if row.get("dated")? {
        version
    } else {
        version.undated()
    })
}

/// The error of a value that another program has written to the file.
pub(super) fn unreadable(error: impl Into<Box<dyn Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error.into())
}
