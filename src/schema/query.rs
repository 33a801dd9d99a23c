//! One query of this module: its text, what it is for, and rows that are streamed instead of kept.
//!
//! Runs in leaf processes, over a client that its caller opened. Reads what the statement reads,
//! writes nothing. Must not begin or end transactions, and must not hold a result in memory: a
//! database of 100,000 tables is read with the memory of one row.

use fallible_iterator::FallibleIterator;
use postgres::types::{FromSql, ToSql};
use postgres::{GenericClient, Row};

use crate::error::{Error, Kind, Result};
use crate::units::Side;

/// A statement with the words for its error, such as `list the tables`.
pub(super) struct Query {
    pub(super) side: Side,
    pub(super) what: &'static str,
    pub(super) sql: &'static str,
}

impl Query {
    /// A statement that is sent to the source.
    pub(super) const fn source(what: &'static str, sql: &'static str) -> Self {
        Self {
            side: Side::Source,
            what,
            sql,
        }
    }

    /// A statement that is sent to the target.
    pub(super) const fn target(what: &'static str, sql: &'static str) -> Self {
        Self {
            side: Side::Target,
            what,
            sql,
        }
    }

    /// A statement that either side may get.
    pub(super) const fn on(side: Side, what: &'static str, sql: &'static str) -> Self {
        Self { side, what, sql }
    }

    /// Sends the statement and gives each row to `visit` as it arrives; returns how many came.
    pub(super) fn each(
        &self,
        client: &mut impl GenericClient,
        params: &[&(dyn ToSql + Sync)],
        mut visit: impl FnMut(&Row) -> Result<()>,
    ) -> Result<u64> {
        let mut rows = client
            .query_raw(self.sql, params.iter().copied())
            .map_err(|error| self.error(&error))?;
        let mut count = 0;
        while let Some(row) = rows.next().map_err(|error| self.error(&error))? {
            visit(&row)?;
            count += 1;
        }
        Ok(count)
    }

    /// Sends the statement and keeps what `map` makes of its rows; for short lists only.
    pub(super) fn collect<T>(
        &self,
        client: &mut impl GenericClient,
        params: &[&(dyn ToSql + Sync)],
        mut map: impl FnMut(&Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        self.each(client, params, |row| {
            found.push(map(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    /// Sends a statement that has exactly one row.
    pub(super) fn one<T>(
        &self,
        client: &mut impl GenericClient,
        map: impl FnMut(&Row) -> Result<T>,
    ) -> Result<T> {
        let mut found = self.collect(client, &[], map)?;
        found
            .pop()
            .ok_or_else(|| Error::new(self.side.kind(), format!("could not {}: no row", self.what)))
    }

    fn error(&self, error: &postgres::Error) -> Error {
        server_error(self.side, self.what, error).with_query(self.sql)
    }
}

/// Turns an error of the client into ours; `what` completes `could not ... on the source`.
pub(super) fn server_error(side: Side, what: &str, error: &postgres::Error) -> Error {
    let Some(server) = error.as_db_error() else {
        return Error::new(
            side.kind(),
            format!("could not {what} on the {side}: {error}"),
        );
    };
    let mut ours = Error::new(
        side.kind(),
        format!("could not {what} on the {side}: {}", server.message()),
    )
    .with_sqlstate(server.code().code());
    if let Some(detail) = server.detail() {
        ours = ours.detail(detail);
    }
    if let Some(hint) = server.hint() {
        ours = ours.hint(hint);
    }
    ours
}

/// A column of a row; a type other than the statement's header says is a bug of ours.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: &str) -> Result<T> {
    row.try_get(column)
        .map_err(|error| Error::internal(format!("column \"{column}\" of a result: {error}")))
}

/// An error of the ledger.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is the function of many a map_err"
)]
pub(super) fn ledger(error: rusqlite::Error) -> Error {
    Error::new(
        Kind::BadState,
        format!("could not write the catalog: {error}"),
    )
}

/// A count or size of the server's; never negative but for a bug.
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
