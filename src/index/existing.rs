//! What the target already has of an index or a constraint.
//!
//! Runs in index workers. Marks of the ledger are not consulted here: only the target knows whether
//! a statement took place.

use crate::error::Result;
use crate::pg::PgSession;

const FIND_INDEX: &str = include_str!("sql/find_index.sql");
const FIND_CONSTRAINT: &str = include_str!("sql/find_constraint.sql");

/// State of an index on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Not there.
    Nothing,
    /// There and complete; its definition.
    Valid(String),
    /// A build that never ended.
    Invalid,
}

/// Looks for an index by schema and name.
pub(super) fn find_index(session: &mut PgSession, nspname: &str, relname: &str) -> Result<Found> {
    let rows = session.query(FIND_INDEX, &[&nspname, &relname])?;
    Ok(match rows.first() {
        None => Found::Nothing,
        Some(row) if row.get(0) => Found::Valid(row.get(1)),
        Some(_) => Found::Invalid,
    })
}

/// Looks for a constraint by the table's schema and name and its own name: `Some(validated)`.
pub(super) fn find_constraint(
    session: &mut PgSession,
    table: (&str, &str),
    conname: &str,
) -> Result<Option<bool>> {
    let rows = session.query(FIND_CONSTRAINT, &[&table.0, &table.1, &conname])?;
    Ok(rows.first().map(|row| row.get(0)))
}
