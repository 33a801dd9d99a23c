//! Runs of this work directory, one row for each start, and what a person must be told of them.
//!
//! Written by the prepare process and by the supervisor at its end; read by everybody.

use super::open::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::sys::clock;
use rusqlite::{Connection, OptionalExtension, params};

/// The run that is going on, plain data that crosses forks.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its row.
    pub id: i64,
}

/// What the ledger says of the last run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PastRun {
    /// No run ever began its work.
    None,
    /// The last one was interrupted or failed.
    Interrupted,
    /// The last one reached its goal.
    Complete,
}

/// The last run of a work directory, as it stands in the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastRun {
    /// Its number, from 1.
    pub id: i64,
    /// What was begun, such as `clone`.
    pub command: String,
    /// The process that supervised it.
    pub pid: i64,
    /// Epoch milliseconds.
    pub started_at: i64,
    /// Epoch milliseconds; `None`: it goes on, or was killed.
    pub finished_at: Option<i64>,
    /// It read in one snapshot.
    pub consistent: bool,
    /// That snapshot.
    pub snapshot: Option<String>,
    /// `done`, `failed` or `stopped`; `None` as above.
    pub outcome: Option<String>,
    /// The command line that was logged last, without secrets.
    pub cmdline: Option<String>,
}

impl LastRun {
    /// The last run, when there was one.
    pub fn read(ledger: &Ledger) -> Result<Option<Self>> {
        ledger
            .connection()
            .query_row(
                "select id, command, pid, started_at, finished_at, consistent, snapshot, outcome,
                        (select cmdline from command_log order by id desc limit 1)
                   from run order by id desc limit 1",
                [],
                |row| {
                    Ok(Self {
                        id: row.get(0)?,
                        command: row.get(1)?,
                        pid: row.get(2)?,
                        started_at: row.get(3)?,
                        finished_at: row.get(4)?,
                        consistent: row.get(5)?,
                        snapshot: row.get(6)?,
                        outcome: row.get(7)?,
                        cmdline: row.get(8)?,
                    })
                },
            )
            .optional()
            .map_err(|error| sqlite_error("read", &error))
    }
}

impl Run {
    /// What came of the runs before, of any command.
    pub fn past(ledger: &Ledger) -> Result<PastRun> {
        Self::past_where(ledger, "")
    }

    /// What came of the runs of one command.
    pub fn past_of(ledger: &Ledger, command: &str) -> Result<PastRun> {
        Self::past_where(ledger, command)
    }

    fn past_where(ledger: &Ledger, command: &str) -> Result<PastRun> {
        let outcome: Option<Option<String>> = ledger
            .connection()
            .query_row(
                "select outcome from run where ?1 in ('', command) order by id desc limit 1",
                [command],
                |row| row.get(0),
            )
            .optional()
            .map_err(|error| sqlite_error("read", &error))?;
        Ok(match outcome {
            None => PastRun::None,
            Some(Some(outcome)) if outcome == "done" => PastRun::Complete,
            Some(_) => PastRun::Interrupted,
        })
    }

    /// Begins a run.
    pub fn begin(connection: &Connection, command: &str, consistent: bool) -> Result<Self> {
        connection
            .execute(
                "insert into run (command, pid, started_at, consistent) values (?1, ?2, ?3, ?4)",
                params![
                    command,
                    crate::sys::proc::parent_pid(),
                    clock::epoch_ms(),
                    consistent
                ],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(Self {
            id: connection.last_insert_rowid(),
        })
    }

    /// Notes the snapshot that the run reads with.
    pub fn set_snapshot(self, ledger: &Ledger, snapshot: &str) -> Result<()> {
        ledger
            .connection()
            .execute(
                "update run set snapshot = ?2 where id = ?1",
                params![self.id, snapshot],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Ends the run: `done`, `failed` or `stopped`.
    pub fn finish(self, ledger: &Ledger, outcome: &str) -> Result<()> {
        ledger
            .connection()
            .execute(
                "update run set finished_at = ?2, outcome = ?3 where id = ?1",
                params![self.id, clock::epoch_ms(), outcome],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Notes something that a person must be told at the end.
    pub fn notice(self, connection: &Connection, topic: &str, line: &str) -> Result<()> {
        connection
            .execute(
                "insert into notice (run_id, at, topic, line) values (?1, ?2, ?3, ?4)",
                params![self.id, clock::epoch_ms(), topic, line],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Everything that was noted in any run, oldest first: topic and line.
    pub fn notices(ledger: &Ledger) -> Result<Vec<(String, String)>> {
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut statement = ledger
                .connection()
                .prepare("select topic, line from notice group by topic, line order by min(id)")?;
            statement
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        read().map_err(|error| sqlite_error("read", &error))
    }

    /// Sets a mark for a step that is not made of units.
    pub fn mark(self, connection: &Connection, name: &str, detail: &str) -> Result<()> {
        connection
            .execute(
                "insert into mark (name, run_id, at, detail) values (?1, ?2, ?3, ?4)
                 on conflict (name) do update set run_id = excluded.run_id, at = excluded.at,
                    detail = excluded.detail",
                params![name, self.id, clock::epoch_ms(), detail],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// The run that set a mark, and its detail.
    pub fn marked(connection: &Connection, name: &str) -> Result<Option<(i64, String)>> {
        connection
            .query_row(
                "select run_id, detail from mark where name = ?1",
                [name],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(|error| sqlite_error("read", &error))
    }

    /// Appends a command line, already free of secrets.
    pub fn log_command(connection: &Connection, cmdline: &str) -> Result<()> {
        connection
            .execute(
                "insert into command_log (started_at, cmdline) values (?1, ?2)",
                params![clock::epoch_ms(), cmdline],
            )
            .map(|_| ())
            .map_err(|error: rusqlite::Error| -> Error { sqlite_error("write", &error) })
    }
}
