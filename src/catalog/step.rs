//! Timings of the steps, as the STEP lines and the summary show them.
//!
//! Written by whoever works on a step; cumulative over workers, wall clock from first start to last
//! finish.

use super::open::{Ledger, sqlite_error};
use crate::error::Result;
use crate::sys::clock;
use rusqlite::{Connection, params};

/// The steps that the summary knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Catalog queries on the source.
    Catalog,
    /// `pg_dump`.
    Dump,
    /// Pre-data restored.
    PreData,
    /// Everything from COPY to VACUUM, wall clock.
    Data,
    /// COPY of tables.
    Copy,
    /// CREATE INDEX.
    Index,
    /// ALTER TABLE ... ADD CONSTRAINT.
    Constraint,
    /// VACUUM ANALYZE.
    Vacuum,
    /// setval.
    Sequence,
    /// Large objects.
    Blob,
    /// Post-data restored.
    PostData,
    /// The whole run.
    Total,
}

impl Step {
    /// Its name in the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Catalog => "catalog",
            Self::Dump => "dump",
            Self::PreData => "pre-data",
            Self::Data => "data",
            Self::Copy => "copy",
            Self::Index => "index",
            Self::Constraint => "constraint",
            Self::Vacuum => "vacuum",
            Self::Sequence => "sequence",
            Self::Blob => "blob",
            Self::PostData => "post-data",
            Self::Total => "total",
        }
    }
}

/// What the ledger holds of one step; all zero when it never began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// First start, epoch milliseconds.
    pub started_at: i64,
    /// Last finish, epoch milliseconds.
    pub finished_at: i64,
    /// Cumulative, milliseconds.
    pub duration_ms: u64,
    /// Bytes moved.
    pub bytes: u64,
}

impl Step {
    /// Adds a stretch of work that began `elapsed_ms` ago.
    pub fn add(self, connection: &Connection, elapsed_ms: u64, bytes: u64) -> Result<()> {
        let now = clock::epoch_ms();
        let elapsed = i64::try_from(elapsed_ms).unwrap_or(0);
        connection
            .prepare_cached(
                "insert into step (name, started_at, finished_at, duration_ms, bytes)
                 values (?1, ?2 - ?3, ?2, ?3, ?4)
                 on conflict (name) do update set
                    started_at = min(started_at, excluded.started_at),
                    finished_at = excluded.finished_at,
                    duration_ms = duration_ms + excluded.duration_ms,
                    bytes = bytes + excluded.bytes",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    self.name(),
                    now,
                    elapsed,
                    i64::try_from(bytes).unwrap_or(i64::MAX)
                ])
            })
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Reads what the ledger holds of this step.
    pub fn read(self, ledger: &Ledger) -> Result<Timing> {
        let read = || -> rusqlite::Result<Timing> {
            let mut statement = ledger.connection().prepare_cached(
                "select coalesce(started_at, 0), coalesce(finished_at, 0), duration_ms, bytes
                   from step where name = ?1",
            )?;
            let mut rows = statement.query([self.name()])?;
            let Some(row) = rows.next()? else {
                return Ok(Timing::default());
            };
            Ok(Timing {
                started_at: row.get(0)?,
                finished_at: row.get(1)?,
                duration_ms: u64::try_from(row.get::<_, i64>(2)?).unwrap_or(0),
                bytes: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
            })
        };
        read().map_err(|error| sqlite_error("read", &error))
    }
}
