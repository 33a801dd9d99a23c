//! Units of work: claimed by one worker at a time, finished once, done again after a crash.
//!
//! Written by workers and by the processes that plan; read by everybody. A unit becomes ready in the
//! transaction that finishes the last one it waits for, so that no crash can fall in between.
//! Whether a unit that was claimed and not finished took place is asked of the target, never of here.

mod advance;
mod claim;
mod replan;

pub use advance::advance;
pub use claim::{
    SMALL_TABLE_BYTES, claim, claim_small_tables, count_ready, ready_ranks, reset_for_run,
    running_count, stage_is_over, take_back,
};
pub use replan::{replan_as_whole, replan_parts, unfinished_split_tables};

use super::open::sqlite_error;
use super::run::Run;
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::units::Oid;
use rusqlite::{Connection, Row, params};

/// Kinds of work, in the order they follow each other within a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Emptying a target table before its parts are copied again.
    Truncate,
    /// COPY of a table or of one part.
    Copy,
    /// CREATE INDEX.
    Index,
    /// Constraints of one table, and whatever else hangs on its indexes.
    Constraint,
    /// VACUUM ANALYZE.
    Vacuum,
    /// A foreign key, NOT VALID.
    Fkey,
    /// VALIDATE CONSTRAINT of a foreign key.
    Validate,
    /// A batch of large objects.
    Blob,
    /// Configuration tables of one extension.
    Extension,
}

impl Kind {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncate => "truncate",
            Self::Copy => "copy",
            Self::Index => "index",
            Self::Constraint => "constraint",
            Self::Vacuum => "vacuum",
            Self::Fkey => "fkey",
            Self::Validate => "validate",
            Self::Blob => "blob",
            Self::Extension => "extension",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        [
            Self::Truncate,
            Self::Copy,
            Self::Index,
            Self::Constraint,
            Self::Vacuum,
            Self::Fkey,
            Self::Validate,
            Self::Blob,
            Self::Extension,
        ]
        .into_iter()
        .find(|kind| kind.name() == name)
    }
}

/// A claimed unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Row of the ledger.
    pub id: i64,
    /// What kind of work.
    pub kind: Kind,
    /// Table it belongs to, 0 when it has none.
    pub table_oid: Oid,
    /// Part number, index oid, foreign key oid or first large object.
    pub object: Oid,
    /// Last large object of a batch.
    pub object_end: Oid,
    /// Split plan of a part, 0 for a whole table.
    pub plan: i64,
    /// Higher first; the bytes of its table where it has one.
    pub rank: i64,
    /// How often it was claimed, this time included, over all runs.
    pub attempts: u32,
    /// How often it was claimed in this run, this time included.
    pub claims: u32,
    /// Statements as JSON, see [`Item`].
    pub sql: Option<String>,
}

/// What the first statement of an item makes; the others may be repeated at will.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Makes {
    /// An index.
    Index,
    /// A constraint.
    Constraint,
    /// Nothing that could be there twice.
    Nothing,
}

/// Statements of one index, constraint or foreign key.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Item {
    /// Name for logs, quoted.
    pub name: String,
    /// Name as it stands in the catalogs.
    pub raw_name: String,
    /// What its first statement makes.
    pub makes: Makes,
    /// Oid of the index or constraint on the source.
    pub oid: Oid,
    /// Quoted tablespace, `None` for the database's default.
    pub tablespace: Option<String>,
    /// What to run, in order; each one a whole statement.
    pub statements: Vec<String>,
}

/// What a finished unit did.
#[derive(Clone, Debug, Default)]
pub struct Done {
    /// Bytes moved.
    pub bytes: u64,
    /// Rows moved.
    pub rows: u64,
    /// Time taken, milliseconds.
    pub elapsed_ms: u64,
    /// Snapshot that it was read with.
    pub snapshot: Option<String>,
}

pub(super) const COLUMNS: &str =
    "id, kind, table_oid, object, object_end, plan, attempts, claims, sql, rank";

pub(super) fn from_row(row: &Row<'_>) -> rusqlite::Result<Unit> {
    let kind: String = row.get(1)?;
    Ok(Unit {
        id: row.get(0)?,
        kind: Kind::parse(&kind).ok_or(rusqlite::Error::InvalidQuery)?,
        table_oid: row.get(2)?,
        object: row.get(3)?,
        object_end: row.get(4)?,
        plan: row.get(5)?,
        attempts: row.get(6)?,
        claims: row.get(7)?,
        sql: row.get(8)?,
        rank: row.get(9)?,
    })
}

impl Unit {
    /// The statements of this unit. Errors: a ledger that is not ours ([`Error::internal`]).
    pub fn items(&self) -> Result<Vec<Item>> {
        let text = self.sql.as_deref().unwrap_or("[]");
        serde_json::from_str(text).map_err(|error| {
            Error::internal(format!("unit {} has no statements: {error}", self.id))
        })
    }
}

fn now_one(changed: usize, unit: &Unit, what: &str) -> Result<()> {
    if changed == 1 {
        return Ok(());
    }
    Err(Error::internal(format!(
        "could not mark unit {} ({} {}) as {what}: another worker has it",
        unit.id,
        unit.kind.name(),
        unit.object
    )))
}

/// Marks units of this worker as done, and returns the units that became ready by it. Call it after
/// the target has committed.
pub fn finish(
    connection: &Connection,
    run: Run,
    units: &[(&Unit, Done)],
) -> Result<Vec<(Kind, i64)>> {
    let mut ready = Vec::new();
    for (unit, done) in units {
        let changed = connection
            .prepare_cached(
                "update unit set state = 'done', finished_at = ?3, duration_ms = ?4, bytes = ?5,
                    rows = ?6, snapshot = ?7, error = null
                  where id = ?1 and run_id = ?2 and state = 'running'",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    unit.id,
                    run.id,
                    clock::epoch_ms(),
                    i64::try_from(done.elapsed_ms).unwrap_or(0),
                    i64::try_from(done.bytes).unwrap_or(i64::MAX),
                    i64::try_from(done.rows).unwrap_or(i64::MAX),
                    done.snapshot
                ])
            })
            .map_err(|error| sqlite_error("write", &error))?;
        now_one(changed, unit, "done")?;
    }
    let mut tables: Vec<(Oid, Kind)> = units
        .iter()
        .map(|(unit, _)| (unit.table_oid, unit.kind))
        .collect();
    tables.sort_unstable();
    tables.dedup();
    for (table, kind) in tables.into_iter().filter(|(table, _)| *table != 0) {
        ready.extend(advance::advance_after(connection, table, kind)?);
    }
    Ok(ready)
}

/// Gives a unit back, to be claimed again, with the reason.
pub fn release(connection: &Connection, unit: &Unit, why: &Error) -> Result<()> {
    set_state(connection, unit, "todo", &error_json(why))
}

/// Gives a unit up for this run.
pub fn give_up(connection: &Connection, unit: &Unit, why: &Error) -> Result<()> {
    set_state(connection, unit, "failed", &error_json(why))
}

/// Marks a unit as having nothing to do; what waited for it becomes ready.
pub fn skip(connection: &Connection, unit: &Unit, why: &str) -> Result<Vec<(Kind, i64)>> {
    set_state(
        connection,
        unit,
        "skipped",
        &serde_json::json!({ "message": why }).to_string(),
    )?;
    if unit.table_oid == 0 {
        Ok(Vec::new())
    } else {
        advance(connection, unit.table_oid)
    }
}

fn error_json(error: &Error) -> String {
    serde_json::to_string(error).unwrap_or_default()
}

fn set_state(connection: &Connection, unit: &Unit, state: &str, error: &str) -> Result<()> {
    let changed = connection
        .execute(
            "update unit set state = ?2, error = ?3, finished_at = ?4
              where id = ?1 and state = 'running'",
            params![unit.id, state, error, clock::epoch_ms()],
        )
        .map_err(|error| sqlite_error("write", &error))?;
    now_one(changed, unit, state)
}

#[cfg(test)]
mod tests;
