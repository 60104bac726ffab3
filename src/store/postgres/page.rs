//! Reading lists, versions and whole collections.

use std::collections::HashMap;
use std::ops::ControlFlow;

use crate::document::{Id, Record};
use crate::store::postgres::client::{Client, Row, Type};
use crate::store::postgres::connections::Failure;
use crate::store::postgres::row::{record, unreadable, version};
use crate::store::postgres::transaction::begin_snapshot;
use crate::store::{List, Portion};
use crate::version::Version;

/// One statement, so that the version and the documents are of one snapshot.
///
/// The innermost `SELECT` reads one document more than may be returned. The database adds up the sizes,
/// and sends only the contents that fit. For the first document that does not fit, it sends a row
/// without an id: so the caller knows that there are more. The database knows the length of a long
/// content without reading it.
///
/// The query reads a range of the index, and has no `collection = $1`. With this condition, if the
/// statistics have no values for a collection, the planner assumes that few rows match, and sorts all
/// documents of the collection instead of reading the index in its order.
const PAGE: &str = "
SELECT collection.change_date, collection.dated, page.*
FROM (VALUES (true)) AS always (one)
LEFT JOIN collection ON collection.name = $1
LEFT JOIN (
    SELECT place, CASE WHEN fits THEN id END, CASE WHEN fits THEN content END, change_date, dated
    FROM (
        SELECT *, place < $3 AND (place = 1 OR total <= $4) AS fits
        FROM (
            SELECT *, row_number() OVER so_far AS place, sum(size) OVER so_far AS total
            FROM (
                SELECT collection, id, content, change_date, dated,
                    octet_length(id) + octet_length(content) AS size
                FROM document
                WHERE (collection, id) >= ($1, $2) AND collection <= $1 AND NOT removed
                ORDER BY collection, id LIMIT $3
            ) AS candidate
            WINDOW so_far AS (ORDER BY collection, id ROWS UNBOUNDED PRECEDING)
        ) AS measured
        WHERE place <= 2 OR total - size <= $4
    ) AS compared
) AS page ON true
ORDER BY page.place
";

/// The portion that `visit` reads at once.
const STEP: Portion<'static> = Portion {
    after: None,
    count: 1000,
    bytes: 256 * 1024,
};

/// The versions of these documents, in their order.
pub(super) fn versions(
    client: &mut Client,
    collection: &str,
    ids: &[Id],
) -> Result<Vec<Option<Version>>, Failure> {
    let names: Vec<&str> = ids.iter().map(Id::as_str).collect();
    let rows = client.query_typed(
        "SELECT change_date, dated, id FROM document \
         WHERE collection = $1 AND id = ANY($2) AND NOT removed",
        &[(&collection, Type::TEXT), (&names, Type::TEXT_ARRAY)],
    )?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        let id: String = row.try_get(2).map_err(unreadable)?;
        found.insert(id, version(row, 0)?);
    }
    Ok(names.iter().map(|id| found.get(*id).copied()).collect())
}

/// A portion of a collection.
pub(super) fn list(
    client: &mut Client,
    collection: &str,
    portion: Portion<'_>,
) -> Result<List, Failure> {
    // PostgreSQL refuses NUL in a text, and the query needs `>=` instead of `>`. Ids have no control
    // characters. So an id sorts after `after` exactly if it sorts after `after` and U+0001; and if
    // `after` has a NUL, only the part before it counts.
    let after = portion.after.and_then(|it| it.split('\0').next());
    let start = after.map_or(String::new(), |after| format!("{after}\u{1}"));
    // An id (at least one byte) and a content (at least `{}`) have three bytes together.
    let most = portion.count.min(portion.bytes / 3 + 1);
    let limit = i64::try_from(most.saturating_add(1)).unwrap_or(i64::MAX);
    let bytes = i64::try_from(portion.bytes).unwrap_or(i64::MAX);
    let rows = client.query_typed(
        PAGE,
        &[
            (&collection, Type::TEXT),
            (&start, Type::TEXT),
            (&limit, Type::INT8),
            (&bytes, Type::INT8),
        ],
    )?;
    let mut list = List::new(Some(Version::FIRST), Vec::new(), false);
    // Each row is dropped in turn, so that the contents are not held twice.
    for row in rows {
        list.version = Some(page_version(&row)?);
        match placed(&row)? {
            Placed::Nowhere => {}
            Placed::Inside => list.records.push(record(&row, 3)?),
            Placed::Beyond => list.more = true,
        }
    }
    Ok(list)
}

/// Where the document of a row of [`PAGE`] is.
enum Placed {
    /// The row has no document: there is none in the portion.
    Nowhere,
    /// The document is in the portion.
    Inside,
    /// The document is the first after the portion.
    Beyond,
}

fn placed(row: &Row) -> Result<Placed, Failure> {
    let place: Option<i64> = row.try_get(2).map_err(unreadable)?;
    let id: Option<&str> = row.try_get(3).map_err(unreadable)?;
    Ok(match (place, id) {
        (None, _) => Placed::Nowhere,
        (Some(_), Some(_)) => Placed::Inside,
        (Some(_), None) => Placed::Beyond,
    })
}

/// The version of the collection in a row of [`PAGE`]: [`Version::FIRST`] if the collection has no row.
fn page_version(row: &Row) -> Result<Version, Failure> {
    let change_date: Option<&str> = row.try_get(0).map_err(unreadable)?;
    change_date.map_or(Ok(Version::FIRST), |_| version(row, 0))
}

/// Calls `visit` with every document, in a transaction that reads one snapshot and locks no row.
pub(super) fn visit(
    client: &mut Client,
    collection: &str,
    visit: &mut dyn FnMut(&Record) -> ControlFlow<()>,
) -> Result<(), Failure> {
    let mut transaction = begin_snapshot(client)?;
    // `visit` may take longer for a document than this timeout permits to a write.
    transaction.batch_execute("SET LOCAL idle_in_transaction_session_timeout = 0")?;
    let mut after: Option<String> = None;
    loop {
        let portion = Portion {
            after: after.as_deref(),
            ..STEP
        };
        let List { records, more, .. } = list(&mut transaction, collection, portion)?;
        if records.iter().try_for_each(&mut *visit).is_break() || !more {
            return Ok(());
        }
        after = records.last().map(|record| record.id.as_str().to_owned());
    }
}

/// The names of the collections that have documents. A search of the index finds each next name.
pub(super) fn collections(client: &mut Client) -> Result<Vec<String>, Failure> {
    let mut transaction = begin_snapshot(client)?;
    let mut names: Vec<String> = Vec::new();
    loop {
        let last = names.last().map_or("", String::as_str);
        let next = transaction.query_typed_opt(
            "SELECT collection FROM document WHERE collection > $1 AND NOT removed \
             ORDER BY collection, id LIMIT 1",
            &[(&last, Type::TEXT)],
        )?;
        match next {
            Some(row) => names.push(row.try_get(0).map_err(unreadable)?),
            None => return Ok(names),
        }
    }
}
