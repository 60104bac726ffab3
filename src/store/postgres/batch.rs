use std::mem;

use postgres::types::Type;
use postgres::{Client, Transaction};

use crate::store::postgres::connections::Failure;
use crate::version::Version;

/// How many rows are inserted with one statement, and how many bytes: no statement takes long, and
/// the database confirms each before the next is sent.
const MAX_ROWS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;

/// Tells the planner how many documents there are now. It would find out by itself, but only after a
/// while. If this fails, as for a role that does not own the table, it does just that.
pub(super) fn analyze(client: &mut Client) {
    let _ = client.batch_execute("ANALYZE document");
}

/// Rows of one collection on their way into the table of documents.
#[derive(Default)]
pub(super) struct Batch {
    ids: Vec<String>,
    contents: Vec<String>,
    change_dates: Vec<String>,
    dated: Vec<bool>,
    removed: Vec<bool>,
    bytes: usize,
}

impl Batch {
    /// Adds a row.
    pub(super) fn push(&mut self, id: &str, content: &str, version: Version, removed: bool) {
        self.bytes += id.len() + content.len();
        self.ids.push(id.to_owned());
        self.contents.push(content.to_owned());
        self.change_dates.push(version.to_string());
        self.dated.push(version.is_dated());
        self.removed.push(removed);
    }

    /// Whether it is time to [`insert`](Self::insert) the rows.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    /// Inserts the rows, and is empty afterwards; whether all of them could be inserted. A row takes
    /// the place of a document that was removed before its change date, and of no other.
    pub(super) fn insert(
        &mut self,
        transaction: &mut Transaction<'_>,
        collection: &str,
    ) -> Result<bool, Failure> {
        let rows = mem::take(self);
        let inserted = transaction.execute_typed(
            "INSERT INTO document \
             SELECT $1, new_row.* FROM unnest($2, $3, $4, $5, $6) \
                 AS new_row (id, content, change_date, dated, removed) \
             ON CONFLICT (collection, id) DO UPDATE \
             SET content = excluded.content, change_date = excluded.change_date, \
                 dated = excluded.dated, removed = excluded.removed, \
                 idempotency_key = NULL, request_digest = NULL, created = NULL, \
                 removed_at = NULL \
             WHERE document.removed \
                 AND document.change_date COLLATE \"C\" < excluded.change_date COLLATE \"C\"",
            &[
                (&collection, Type::TEXT),
                (&rows.ids, Type::TEXT_ARRAY),
                (&rows.contents, Type::TEXT_ARRAY),
                (&rows.change_dates, Type::TEXT_ARRAY),
                (&rows.dated, Type::BOOL_ARRAY),
                (&rows.removed, Type::BOOL_ARRAY),
            ],
        )?;
        Ok(usize::try_from(inserted) == Ok(rows.ids.len()))
    }
}
