//! Documents and versions from rows.

use std::error::Error;

use crate::document::{Document, Id, Record};
use crate::store::postgres::client::Row;
use crate::store::postgres::connections::Failure;
use crate::version::Version;

/// The record in the columns from `first` on: id, content, change date, dated.
pub(super) fn record(row: &Row, first: usize) -> Result<Record, Failure> {
    let id: &str = row.try_get(first).map_err(unreadable)?;
    let id = Id::new(id).map_err(unreadable)?;
    let content: &str = row.try_get(first + 1).map_err(unreadable)?;
    let document = Document::from_stored(content)
        .ok_or_else(|| Failure::Refused(format!("the content of `{id}` is not a JSON object")))?;
    Ok(Record::new(id, document, version(row, first + 2)?))
}

/// The version in the columns from `first` on: change date, dated.
pub(super) fn version(row: &Row, first: usize) -> Result<Version, Failure> {
    let change_date: &str = row.try_get(first).map_err(unreadable)?;
    let version: Version = change_date.parse().map_err(unreadable)?;
    let dated = row.try_get(first + 1).map_err(unreadable)?;
    Ok(if dated { version } else { version.undated() })
}

/// The version of a collection: [`Version::FIRST`] if it has no row.
pub(super) fn collection_version(row: Option<&Row>) -> Result<Version, Failure> {
    row.map_or(Ok(Version::FIRST), |row| version(row, 0))
}

/// The failure of a value that another program has written.
pub(super) fn unreadable(error: impl Error) -> Failure {
    Failure::Refused(
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string),
    )
}
