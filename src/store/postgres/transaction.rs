//! Beginning and committing transactions.

use crate::store::postgres::client::{Client, Error, Transaction};
use crate::store::postgres::connections::Failure;

/// Begins a transaction that writes.
pub(super) fn begin(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client.transaction("READ COMMITTED")
}

/// Begins a transaction whose statements all read one snapshot.
pub(super) fn begin_snapshot(client: &mut Client) -> Result<Transaction<'_>, Error> {
    client.transaction("REPEATABLE READ, READ ONLY")
}

/// Commits a transaction. If there is no answer, it is not known whether the commit was performed.
pub(super) fn commit(transaction: Transaction<'_>) -> Result<(), Failure> {
    transaction.commit().map_err(|error| match error.into() {
        Failure::Lost(reason) | Failure::NoAnswer(reason) => {
            Failure::Unconfirmed(format!("{reason}, while a write was being confirmed"))
        }
        failure => failure,
    })
}
