//! The statements for documents and collections.

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::document::{Document, Id, Record};
use crate::idempotency::KeyedWrite;
use crate::store::sqlite::keys::keyed_write_of;
use crate::store::sqlite::row::{record_of, version_of};
use crate::store::{List, OwnedSwap, Portion, key_columns};
use crate::version::Version;

/// The version of a collection: [`Version::FIRST`] if it has no row.
pub(super) fn version(connection: &Connection, collection: &str) -> rusqlite::Result<Version> {
    let version = connection
        .prepare_cached("SELECT change_date, dated FROM collection WHERE name = ?1")?
        .query_row([collection], version_of)
        .optional()?;
    Ok(version.unwrap_or(Version::FIRST))
}

pub(super) fn set_version(
    transaction: &Transaction<'_>,
    collection: &str,
    version: Version,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO collection (name, change_date, dated) VALUES (?1, ?2, ?3) \
             ON CONFLICT (name) DO UPDATE \
             SET change_date = excluded.change_date, dated = excluded.dated",
        )?
        .execute(params![collection, version.to_string(), version.is_dated()])?;
    Ok(())
}

/// The recorded name of the member that holds the ids of a collection.
pub(super) fn id_member(
    connection: &Connection,
    collection: &str,
) -> rusqlite::Result<Option<String>> {
    let id_member = connection
        .prepare_cached("SELECT id_member FROM collection WHERE name = ?1")?
        .query_row([collection], |row| row.get::<_, Option<String>>(0))
        .optional()?;
    Ok(id_member.flatten())
}

/// Records the name of the member that holds the ids of a collection, if none is recorded. Returns the
/// recorded name.
pub(super) fn record_id_member(
    connection: &Connection,
    collection: &str,
    name: &str,
) -> rusqlite::Result<String> {
    connection.query_row(
        "INSERT INTO collection (name, change_date, id_member) VALUES (?1, ?2, ?3) \
         ON CONFLICT (name) DO UPDATE SET id_member = coalesce(id_member, excluded.id_member) \
         RETURNING id_member",
        params![collection, Version::FIRST.to_string(), name],
        |row| row.get(0),
    )
}

pub(super) fn record(
    connection: &Connection,
    collection: &str,
    id: &Id,
) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached("SELECT * FROM document WHERE collection = ?1 AND id = ?2")?
        .query_row([collection, id.as_str()], |row| {
            let keyed_write = keyed_write_of(row)?.map(Arc::new);
            Ok(Record {
                keyed_write,
                ..record_of(row)?
            })
        })
        .optional()
}

/// A portion of a collection.
///
/// The first statement reads only the sizes of the documents, up to the end of the portion. The second
/// one reads the documents.
pub(super) fn list(
    snapshot: &Transaction<'_>,
    collection: &str,
    portion: Portion<'_>,
) -> rusqlite::Result<List> {
    // No id is empty, so all ids sort after the empty text.
    let after = portion.after.unwrap_or("");
    let mut sizes = snapshot.prepare_cached(
        "SELECT octet_length(id) + octet_length(content) FROM document \
         WHERE collection = ?1 AND id > ?2 ORDER BY id",
    )?;
    let mut sizes = sizes.query_map([collection, after], |row| row.get::<_, u32>(0))?;
    let (mut read, mut failure) = (0, None);
    let fitting = portion.fitting(sizes.by_ref().map_while(|size| {
        read += 1;
        let size = size.map_err(|error| failure = Some(error)).ok()?;
        Some(usize::try_from(size).unwrap_or(usize::MAX))
    }));
    if let Some(error) = failure {
        return Err(error);
    }
    // The last size that was read does not fit, or there are documents after the count.
    let more = read > fitting || sizes.next().transpose()?.is_some();
    let records = snapshot
        .prepare_cached(
            "SELECT id, content, change_date, dated FROM document \
             WHERE collection = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?
        .query_map(
            params![
                collection,
                after,
                i64::try_from(fitting).unwrap_or(i64::MAX)
            ],
            record_of,
        )?
        .collect::<Result<_, _>>()?;
    Ok(List {
        version: Some(version(snapshot, collection)?),
        records,
        more,
    })
}

/// Calls `visit` with each document. One statement reads all of them, so that they are of one snapshot.
pub(super) fn visit(
    connection: &Connection,
    collection: &str,
    visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(
        "SELECT id, content, change_date, dated FROM document WHERE collection = ?1 ORDER BY id",
    )?;
    for record in statement.query_map([collection], record_of)? {
        if visit(&record?).is_break() {
            break;
        }
    }
    Ok(())
}

/// The names of the collections that have documents. A search of the index finds each next name.
pub(super) fn collections(snapshot: &Transaction<'_>) -> rusqlite::Result<Vec<String>> {
    let mut next =
        snapshot.prepare_cached("SELECT min(collection) FROM document WHERE collection > ?1")?;
    let mut names = Vec::<String>::new();
    loop {
        let last = names.last().map_or("", String::as_str);
        match next.query_row([last], |row| row.get(0))? {
            Some(name) => names.push(name),
            None => return Ok(names),
        }
    }
}

pub(super) fn has_documents(connection: &Connection, collection: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM document WHERE collection = ?1")?
        .exists([collection])
}

/// Performs the swap if the document has the expected version. Returns whether it had.
pub(super) fn compare_and_swap(
    transaction: &Transaction<'_>,
    swap: &OwnedSwap,
    version: Version,
) -> rusqlite::Result<bool> {
    let (collection, id) = (swap.collection.as_str(), swap.id.as_str());
    let (new, dated) = (version.to_string(), version.is_dated());
    let write = swap.keyed_write.as_ref();
    let (key, digest, created) = key_columns(write);
    let expected = swap.expected.map(|it| it.to_string());
    let changed = match (&swap.document, &expected) {
        (Some(document), None) => {
            return insert(transaction, collection, &swap.id, document, version, write);
        }
        (Some(document), Some(old)) => transaction
            .prepare_cached(
                "UPDATE document SET content = ?3, change_date = ?4, dated = ?5, \
                     idempotency_key = ?7, request_digest = ?8, created = ?9 \
                 WHERE collection = ?1 AND id = ?2 AND change_date = ?6",
            )?
            .execute(params![
                collection,
                id,
                document.as_str(),
                new,
                dated,
                old,
                key,
                digest,
                created
            ])?,
        // A removal without an expected version changes no row, because nothing equals NULL.
        (None, old) => transaction
            .prepare_cached(
                "DELETE FROM document WHERE collection = ?1 AND id = ?2 AND change_date = ?3",
            )?
            .execute(params![collection, id, old])?,
    };
    Ok(changed == 1)
}

/// Inserts a document if there is none of this id. Returns whether it was inserted.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    collection: &str,
    id: &Id,
    document: &Document,
    version: Version,
    write: Option<&KeyedWrite>,
) -> rusqlite::Result<bool> {
    let (new, dated) = (version.to_string(), version.is_dated());
    let (key, digest, created) = key_columns(write);
    let inserted = transaction
        .prepare_cached(
            "INSERT INTO document (collection, id, content, change_date, dated, \
                 idempotency_key, request_digest, created) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            collection,
            id.as_str(),
            document.as_str(),
            new,
            dated,
            key,
            digest,
            created,
        ])?;
    Ok(inserted == 1)
}
