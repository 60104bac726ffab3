//! Rows that one statement writes.

use std::mem;
use std::sync::LazyLock;

use crate::idempotency::KeyedWrite;
use crate::store::postgres::client::{Client, Error, Transaction, Type};
use crate::store::postgres::keys::columns;
use crate::version::Version;

/// How many rows are written with one statement, and how many bytes: no statement takes long, and
/// the database confirms each before the next is sent.
const MAX_ROWS: usize = 500;
const MAX_BYTES: usize = 256 * 1024;

/// A statement that writes rows, for several of them and for one. Both are made once, and not with
/// each write.
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

/// Inserts rows. A row takes the place of a document that was removed before its change date, and
/// of no other.
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

/// Puts each row in the place of the document that it expects, if the document has that version.
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

/// Deletes the document that each row expects, if that is there.
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

/// The statement where `new` is a table of several rows, each column of which is an array.
///
/// Each row has the name of the collection. Where the statistics of the database do not know a
/// collection, it takes `document.collection = $1` for rare, and would read all documents of the
/// collection to find some.
fn of_rows(statement: &str) -> String {
    let rows = format!(
        " unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS new ({})\n",
        COLUMNS.join(", ")
    );
    statement.replace(" new\n", &rows) + "RETURNING document.id"
}

/// The statement where `new` is one row, without a table, which the database plans in half the time.
fn of_one_row(statement: &str) -> String {
    let statement = statement
        .replace("FROM new\n", "")
        .replace("USING new\n", "");
    let columns = COLUMNS.iter().zip(1..);
    columns.fold(statement, |statement, (column, place)| {
        statement.replace(&format!("new.{column}"), &format!("${place}"))
    })
}

/// Updates the statistics of the planner with the number of documents. The database does that by
/// itself, but only after a while. This fails for a role that does not own the table, which does no harm.
pub(super) fn analyze(client: &mut Client) {
    let _ = client.batch_execute("ANALYZE document");
}

/// A row of the table of documents, as it is to be.
pub(super) struct NewRow<'a> {
    pub(super) id: &'a str,
    /// None where the document is removed.
    pub(super) content: Option<&'a str>,
    pub(super) version: Version,
    /// The version of the document whose place it takes.
    pub(super) expected: Option<Version>,
    pub(super) keyed_write: Option<&'a KeyedWrite>,
}

impl<'a> NewRow<'a> {
    /// A row that takes the place of no document, without a key.
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

/// Rows of one collection on their way into the table of documents, each of another document.
#[derive(Default)]
pub(super) struct Batch {
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

impl Batch {
    /// Adds a row.
    pub(super) fn push(&mut self, row: &NewRow<'_>) {
        let content = row.content.unwrap_or("{}");
        let (key, digest, created) = columns(row.keyed_write);
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

    /// Whether it is time to write the rows.
    pub(super) fn is_full(&self) -> bool {
        self.ids.len() >= MAX_ROWS || self.bytes >= MAX_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Writes the rows with one of the statements above, and is empty afterwards. Returns the ids of
    /// the documents that were written.
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
