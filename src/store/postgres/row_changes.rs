//! Changes of rows of the table `document`, and the statements that write them, several at a time.

use std::mem;
use std::sync::LazyLock;

use crate::idempotency::KeyedWrite;
use crate::store::key_columns;
use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::version::Version;

/// The most rows and the most bytes of one statement, so that no statement takes long.
const MAX_ROWS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;

/// A statement that writes rows, in two forms: for several rows, and for one.
pub(super) struct Statement {
    of_rows: String,
    of_one_row: String,
}

impl Statement {
    /// The forms of a statement in which `new` stands for the rows.
    fn of(statement: &str) -> Self {
        Self {
            of_rows: of_rows(statement),
            of_one_row: of_one_row(statement),
        }
    }
}

/// Inserts rows. A new row also replaces the row of a removed document with the same id, if the removal
/// is earlier than the change date of the new row.
pub(super) static INSERT: LazyLock<Statement> = LazyLock::new(|| {
    Statement::of(
        r#"
INSERT INTO document
SELECT new.collection, new.id, new.content, new.change_date, new.dated, new.removed,
    new.key, new.digest, new.created
FROM new
ON CONFLICT (collection, id) DO UPDATE
SET content = excluded.content, change_date = excluded.change_date, dated = excluded.dated,
    removed = excluded.removed, idempotency_key = excluded.idempotency_key,
    request_digest = excluded.request_digest, created = excluded.created, removed_at = NULL
WHERE document.removed
    AND document.change_date COLLATE "C" < excluded.change_date COLLATE "C"
"#,
    )
});

/// Replaces the documents that have the ids of the rows, and the versions that the rows expect.
pub(super) static UPDATE: LazyLock<Statement> = LazyLock::new(|| {
    Statement::of(
        "
UPDATE document
SET content = new.content, change_date = new.change_date, dated = new.dated,
    removed = new.removed, idempotency_key = new.key, request_digest = new.digest,
    created = new.created,
    removed_at = CASE WHEN new.removed AND new.key IS NOT NULL THEN new.change_date END
FROM new
WHERE document.collection = new.collection AND document.id = new.id
    AND document.change_date = new.expected AND NOT document.removed
",
    )
});

/// Deletes the documents that have the ids of the rows, and the versions that the rows expect.
pub(super) static DELETE: LazyLock<Statement> = LazyLock::new(|| {
    Statement::of(
        "
DELETE FROM document
USING new
WHERE document.collection = new.collection AND document.id = new.id
    AND document.change_date = new.expected AND NOT document.removed
",
    )
});

/// The columns of `new` in these statements.
const COLUMNS: [&str; 10] = [
    "collection",
    "id",
    "content",
    "change_date",
    "dated",
    "removed",
    "key",
    "digest",
    "created",
    "expected",
];

/// The form for several rows: `new` is a table, with an array for each column.
///
/// Each row has the name of the collection. With `document.collection = $1` instead, if the statistics
/// have no values for a collection, the planner assumes that few rows match, and reads all documents
/// of the collection.
fn of_rows(statement: &str) -> String {
    let rows = format!(
        " unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS new ({})\n",
        COLUMNS.join(", ")
    );
    statement.replace(" new\n", &rows) + "RETURNING document.id"
}

/// The form for one row: `new` is no table, and the database plans the statement in half the time.
fn of_one_row(statement: &str) -> String {
    let statement = statement
        .replace("FROM new\n", "")
        .replace("USING new\n", "");
    let columns = COLUMNS.iter().zip(1..);
    columns.fold(statement, |statement, (column, number)| {
        statement.replace(&format!("new.{column}"), &format!("${number}"))
    })
}

/// Updates the statistics of the planner after many new rows. The database would do that only after a
/// while. An error is ignored: a role that does not own the table may not do it.
pub(super) fn analyze(client: &mut Client) {
    let _ = client.batch_execute("ANALYZE document");
}

/// The change of a row of the table `document`: it is inserted, updated or deleted.
pub(super) struct RowChange<'a> {
    pub(super) id: &'a str,
    /// `None` if the document is removed.
    pub(super) content: Option<&'a str>,
    pub(super) version: Version,
    /// The version that the document must have before an update or a deletion.
    pub(super) expected: Option<Version>,
    pub(super) keyed_write: Option<&'a KeyedWrite>,
}

impl<'a> RowChange<'a> {
    /// The insertion of a row without a key.
    pub(super) fn new(id: &'a str, content: Option<&'a str>, version: Version) -> Self {
        Self {
            id,
            content,
            version,
            expected: None,
            keyed_write: None,
        }
    }
}

/// Changes of rows of one collection. Each has another id.
#[derive(Default)]
pub(super) struct RowChanges {
    ids: Vec<String>,
    contents: Vec<String>,
    change_dates: Vec<String>,
    dated: Vec<bool>,
    removed: Vec<bool>,
    keys: Vec<Option<String>>,
    digests: Vec<Option<String>>,
    created: Vec<Option<bool>>,
    expected: Vec<Option<String>>,
    bytes: usize,
}

impl RowChanges {
    /// Adds a change.
    pub(super) fn push(&mut self, row: &RowChange<'_>) {
        let content = row.content.unwrap_or("{}");
        let (key, digest, created) = key_columns(row.keyed_write);
        self.bytes += row.id.len() + content.len();
        self.ids.push(row.id.to_owned());
        self.contents.push(content.to_owned());
        self.change_dates.push(row.version.to_string());
        self.dated.push(row.version.is_dated());
        self.removed.push(row.content.is_none());
        self.keys.push(key.map(str::to_owned));
        self.digests.push(digest);
        self.created.push(created);
        self.expected.push(row.expected.map(|it| it.to_string()));
    }

    /// Whether the changes must be written before another one is added.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Writes the changes with one of the statements above, and removes them from this list. Returns
    /// the ids of the documents that were written.
    pub(super) fn write(
        &mut self,
        transaction: &mut Transaction<'_>,
        collection: &str,
        statement: &Statement,
    ) -> Result<Vec<String>, Error> {
        let rows = mem::take(self);
        match rows.ids.len() {
            0 => Ok(Vec::new()),
            1 => rows.write_one(transaction, collection, &statement.of_one_row),
            _ => rows.write_all(transaction, collection, &statement.of_rows),
        }
    }

    fn write_all(
        self,
        transaction: &mut Transaction<'_>,
        collection: &str,
        statement: &str,
    ) -> Result<Vec<String>, Error> {
        let written = transaction.query_typed(
            statement,
            &[
                (&vec![collection; self.ids.len()], Type::TEXT_ARRAY),
                (&self.ids, Type::TEXT_ARRAY),
                (&self.contents, Type::TEXT_ARRAY),
                (&self.change_dates, Type::TEXT_ARRAY),
                (&self.dated, Type::BOOL_ARRAY),
                (&self.removed, Type::BOOL_ARRAY),
                (&self.keys, Type::TEXT_ARRAY),
                (&self.digests, Type::TEXT_ARRAY),
                (&self.created, Type::BOOL_ARRAY),
                (&self.expected, Type::TEXT_ARRAY),
            ],
        )?;
        Ok(written
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<_, _>>()?)
    }

    fn write_one(
        self,
        transaction: &mut Transaction<'_>,
        collection: &str,
        statement: &str,
    ) -> Result<Vec<String>, Error> {
        let written = transaction.execute_typed(
            statement,
            &[
                (&collection, Type::TEXT),
                (&self.ids.first(), Type::TEXT),
                (&self.contents.first(), Type::TEXT),
                (&self.change_dates.first(), Type::TEXT),
                (&self.dated.first(), Type::BOOL),
                (&self.removed.first(), Type::BOOL),
                (&self.keys.first().and_then(Option::as_ref), Type::TEXT),
                (&self.digests.first().and_then(Option::as_ref), Type::TEXT),
                (&self.created.first().and_then(Option::as_ref), Type::BOOL),
                (&self.expected.first().and_then(Option::as_ref), Type::TEXT),
            ],
        )?;
        Ok(if written == 1 { self.ids } else { Vec::new() })
    }
}
