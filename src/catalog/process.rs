//! What each worker does now, and which server backends belong to it.
//!
//! Written by the workers themselves; read by whoever shows progress, and by the successor of a dead
//! worker, who must first end its backends.

use super::open::{Ledger, sqlite_error};
use super::run::Run;
use crate::error::Result;
use crate::pg::BackendId;
use rusqlite::{Connection, OptionalExtension, params};

/// The backends of one worker, `None` where it has no session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// On the source.
    pub source: Option<BackendId>,
    /// On the target.
    pub target: Option<BackendId>,
}

/// The row of one worker in `process`.
#[derive(Clone, Debug)]
pub struct Activity {
    /// Role, such as `copy`.
    pub role: &'static str,
    /// Number within the role, from 1.
    pub worker: u32,
}

impl Activity {
    /// Says what this worker does; `unit` is the unit in progress.
    pub fn begin(
        &self,
        connection: &Connection,
        run: Run,
        title: &str,
        unit: Option<i64>,
    ) -> Result<()> {
        connection
            .prepare_cached(
                "insert into process (role, worker, pid, run_id, title, unit_id)
                 values (?1, ?2, ?3, ?4, ?5, ?6)
                 on conflict (role, worker) do update set pid = excluded.pid, run_id = excluded.run_id,
                    title = excluded.title, unit_id = excluded.unit_id, bytes = 0",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    self.role,
                    self.worker,
                    std::process::id(),
                    run.id,
                    title,
                    unit
                ])
            })
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Notes bytes of the unit in progress; a figure smaller than the last one is kept out.
    pub fn progress(&self, connection: &Connection, bytes: u64) -> Result<()> {
        connection
            .prepare_cached(
                "update process set bytes = max(bytes, ?3) where role = ?1 and worker = ?2",
            )
            .and_then(|mut statement| {
                statement.execute(params![
                    self.role,
                    self.worker,
                    i64::try_from(bytes).unwrap_or(i64::MAX)
                ])
            })
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Notes the backends that now work for this worker.
    pub fn set_backends(&self, connection: &Connection, backends: &Backends) -> Result<()> {
        let pid = |backend: &Option<BackendId>| backend.as_ref().map(|backend| backend.pid);
        let start = |backend: &Option<BackendId>| backend.as_ref().map(|id| id.start.clone());
        connection
            .execute(
                "insert into process (role, worker, pid, run_id, title, source_pid, source_start,
                    target_pid, target_start)
                 values (?1, ?2, ?3, 0, '', ?4, ?5, ?6, ?7)
                 on conflict (role, worker) do update set pid = excluded.pid,
                    source_pid = excluded.source_pid, source_start = excluded.source_start,
                    target_pid = excluded.target_pid, target_start = excluded.target_start",
                params![
                    self.role,
                    self.worker,
                    std::process::id(),
                    pid(&backends.source),
                    start(&backends.source),
                    pid(&backends.target),
                    start(&backends.target)
                ],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// The backends that a predecessor with this role and number had.
    pub fn backends(&self, ledger: &Ledger) -> Result<Backends> {
        let found = ledger
            .connection()
            .query_row(
                "select source_pid, source_start, target_pid, target_start from process
                  where role = ?1 and worker = ?2",
                params![self.role, self.worker],
                |row| {
                    Ok(Backends {
                        source: backend(row, 0)?,
                        target: backend(row, 2)?,
                    })
                },
            )
            .optional()
            .map_err(|error| sqlite_error("read", &error))?;
        Ok(found.unwrap_or_default())
    }

    /// Backends of every worker of every run, for the start of a resumed run.
    pub fn all_backends(ledger: &Ledger) -> Result<Vec<Backends>> {
        let read = || -> rusqlite::Result<Vec<Backends>> {
            let mut statement = ledger.connection().prepare(
                "select source_pid, source_start, target_pid, target_start from process",
            )?;
            statement
                .query_map([], |row| {
                    Ok(Backends {
                        source: backend(row, 0)?,
                        target: backend(row, 2)?,
                    })
                })?
                .collect()
        };
        read().map_err(|error| sqlite_error("read", &error))
    }

    /// Forgets all workers: the start of a run.
    pub fn clear(connection: &Connection) -> Result<()> {
        connection
            .execute("delete from process", [])
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }
}

fn backend(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Option<BackendId>> {
    let pid: Option<i32> = row.get(first)?;
    let start: Option<String> = row.get(first + 1)?;
    Ok(pid.zip(start).map(|(pid, start)| BackendId { pid, start }))
}
