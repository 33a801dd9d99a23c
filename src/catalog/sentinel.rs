//! The sentinel: where a follow began, where it has to stop, whether it may apply, how far it is.
//!
//! Made by stream setup; each column has one writer. `receive` writes `write_lsn`, `flush_lsn` and
//! `received_through`, `apply` writes `replay_lsn` and `drained_endpos`, `transform` its LSN, prune
//! `pruned_through`, the sentinel commands the rest. Every change is one short transaction; positions
//! that processes report never go backwards.

use super::open::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::units::Lsn;
use rusqlite::{Connection, OptionalExtension, Row};

pub(super) const DDL: &str = include_str!("schema/sentinel.sql");

/// The row of `sentinel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentinel {
    /// Consistent point of the slot.
    pub startpos: Lsn,
    /// Where to stop; unset: never.
    pub endpos: Lsn,
    /// Whether changes may be applied.
    pub apply: bool,
    /// Received.
    pub write_lsn: Lsn,
    /// Received and on disk.
    pub flush_lsn: Lsn,
    /// Applied and durable.
    pub replay_lsn: Lsn,
}

/// The row of `cdc_status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CdcStatus {
    /// Transformed.
    pub transform_lsn: Lsn,
    /// All that ends up to here is in the JSON files.
    pub received_through: Lsn,
    /// All up to this endpos has been applied.
    pub drained_endpos: Lsn,
    /// Files up to here may have been removed.
    pub pruned_through: Lsn,
    /// `prefetch`, `catchup`, `replay`, or empty.
    pub mode: String,
    /// Backend of the last replication stream, 0: none.
    pub receive_backend: i32,
    /// Backend of the last apply session, 0: none.
    pub apply_backend: i32,
}

/// A position that a process reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// `write_lsn`.
    Write,
    /// `flush_lsn`.
    Flush,
    /// `replay_lsn`.
    Replay,
    /// `transform_lsn`.
    Transform,
    /// `received_through`.
    ReceivedThrough,
    /// `pruned_through`.
    PrunedThrough,
}

impl Position {
    fn table_and_column(self) -> (&'static str, &'static str) {
        match self {
            Self::Write => ("sentinel", "write_lsn"),
            Self::Flush => ("sentinel", "flush_lsn"),
            Self::Replay => ("sentinel", "replay_lsn"),
            Self::Transform => ("cdc_status", "transform_lsn"),
            Self::ReceivedThrough => ("cdc_status", "received_through"),
            Self::PrunedThrough => ("cdc_status", "pruned_through"),
        }
    }
}

pub(super) fn lsn(row: &Row<'_>, column: usize) -> rusqlite::Result<Lsn> {
    let text: String = row.get(column)?;
    text.parse().map_err(|why: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, why.into())
    })
}

fn failed_read(error: &rusqlite::Error) -> Error {
    sqlite_error("read", error)
}

fn failed_write(error: &rusqlite::Error) -> Error {
    sqlite_error("write", error)
}

/// The error of a command that needs the sentinel.
pub fn no_sentinel() -> Error {
    Error::bad_state("no sentinel: run stream setup")
        .hint("Run \"pgcopydb stream setup\" in this work directory first.")
}

impl Sentinel {
    /// Makes the row, or overwrites it: nothing received, nothing applied, applying not allowed.
    pub fn create(ledger: &mut Ledger, startpos: Lsn, endpos: Lsn) -> Result<()> {
        ledger.write_durably(|transaction| {
            transaction
                .execute_batch(DDL)
                .map_err(|error| failed_write(&error))?;
            transaction
                .execute(
                    "insert or replace into sentinel (id, startpos, endpos) values (1, ?1, ?2)",
                    [startpos.to_string(), endpos.to_string()],
                )
                .and_then(|_| {
                    transaction.execute("insert or replace into cdc_status (id) values (1)", [])
                })
                .map_err(|error| failed_write(&error))?;
            Ok(())
        })
    }

    /// The row, none before setup.
    pub fn read(connection: &Connection) -> Result<Option<Self>> {
        if !has_table(connection)? {
            return Ok(None);
        }
        connection
            .prepare_cached(
                "select startpos, endpos, apply, write_lsn, flush_lsn, replay_lsn from sentinel",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([], |row| {
                        Ok(Self {
                            startpos: lsn(row, 0)?,
                            endpos: lsn(row, 1)?,
                            apply: row.get(2)?,
                            write_lsn: lsn(row, 3)?,
                            flush_lsn: lsn(row, 4)?,
                            replay_lsn: lsn(row, 5)?,
                        })
                    })
                    .optional()
            })
            .map_err(|error| failed_read(&error))
    }

    /// The row; an error that says what to run when there is none.
    pub fn must_read(connection: &Connection) -> Result<Self> {
        Self::read(connection)?.ok_or_else(no_sentinel)
    }

    /// Sets where to stop, unset: never. Gives the value before.
    pub fn set_endpos(ledger: &mut Ledger, endpos: Lsn) -> Result<Lsn> {
        Self::set(ledger, "endpos", &endpos.to_string(), |before| {
            before.endpos
        })
    }

    /// Sets where receiving began. Gives the value before.
    pub fn set_startpos(ledger: &mut Ledger, startpos: Lsn) -> Result<Lsn> {
        Self::set(ledger, "startpos", &startpos.to_string(), |before| {
            before.startpos
        })
    }

    /// Allows or forbids applying. Gives the value before.
    pub fn set_apply(ledger: &mut Ledger, apply: bool) -> Result<bool> {
        Self::set(ledger, "apply", if apply { "1" } else { "0" }, |before| {
            before.apply
        })
    }

    /// Allows applying within a transaction of the caller.
    pub fn allow_apply(transaction: &Connection) -> Result<()> {
        Self::must_read(transaction)?;
        transaction
            .execute("update sentinel set apply = 1", [])
            .map(drop)
            .map_err(|error| failed_write(&error))
    }

    fn set<T>(
        ledger: &mut Ledger,
        column: &str,
        value: &str,
        before: impl FnOnce(Self) -> T,
    ) -> Result<T> {
        ledger.write(|transaction| {
            let row = Self::must_read(transaction)?;
            // The column's name is one of ours.
            transaction
                .execute(&format!("update sentinel set {column} = ?1"), [value])
                .map_err(|error| failed_write(&error))?;
            Ok(before(row))
        })
    }
}

/// Facts that a follow was set up with.
pub struct CdcSetup;

impl CdcSetup {
    /// A fact, none when it was not recorded.
    pub fn get(connection: &Connection, name: &str) -> Result<Option<String>> {
        if !has_table(connection)? {
            return Ok(None);
        }
        connection
            .prepare_cached("select value from cdc_setup where name = ?1")
            .and_then(|mut statement| statement.query_row([name], |row| row.get(0)).optional())
            .map_err(|error| failed_read(&error))
    }

    /// Records facts, on disk when it returns.
    pub fn put(ledger: &mut Ledger, facts: &[(&str, &str)]) -> Result<()> {
        ledger.write_durably(|transaction| {
            transaction
                .execute_batch(DDL)
                .map_err(|error| failed_write(&error))?;
            for (name, value) in facts {
                transaction
                    .execute(
                        "insert or replace into cdc_setup (name, value) values (?1, ?2)",
                        [name, value],
                    )
                    .map_err(|error| failed_write(&error))?;
            }
            Ok(())
        })
    }

    /// Forgets all that a follow was set up with, the sentinel, too.
    pub fn forget(ledger: &mut Ledger) -> Result<()> {
        ledger.write_durably(|transaction| {
            transaction
                .execute_batch(DDL)
                .and_then(|()| {
                    transaction.execute_batch(
                        "delete from cdc_setup; delete from sentinel; delete from cdc_status;
                         delete from cdc_source; delete from cdc_sample; delete from cdc_start",
                    )
                })
                .map_err(|error| failed_write(&error))
        })
    }
}

fn has_table(connection: &Connection) -> Result<bool> {
    connection
        .prepare_cached(
            "select count(*) = 1 from sqlite_master where type = 'table' and name = 'sentinel'",
        )
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| failed_read(&error))
}

impl CdcStatus {
    /// The row; the default before setup.
    pub fn read(connection: &Connection) -> Result<Self> {
        if !has_table(connection)? {
            return Ok(Self::default());
        }
        connection
            .prepare_cached(
                "select transform_lsn, received_through, drained_endpos, pruned_through, mode,
                        receive_backend, apply_backend
                   from cdc_status",
            )
            .and_then(|mut statement| {
                statement
                    .query_row([], |row| {
                        Ok(Self {
                            transform_lsn: lsn(row, 0)?,
                            received_through: lsn(row, 1)?,
                            drained_endpos: lsn(row, 2)?,
                            pruned_through: lsn(row, 3)?,
                            mode: row.get(4)?,
                            receive_backend: row.get(5)?,
                            apply_backend: row.get(6)?,
                        })
                    })
                    .optional()
            })
            .map(Option::unwrap_or_default)
            .map_err(|error| failed_read(&error))
    }

    /// Notes that all up to `endpos` has been applied.
    pub fn set_drained(ledger: &mut Ledger, endpos: Lsn) -> Result<()> {
        note(ledger, "drained_endpos", &endpos.to_string())
    }

    /// Notes what is going on.
    pub fn set_mode(ledger: &mut Ledger, mode: &str) -> Result<()> {
        note(ledger, "mode", mode)
    }

    /// Notes the backend of the replication stream.
    pub fn set_receive_backend(ledger: &mut Ledger, pid: i32) -> Result<()> {
        note(ledger, "receive_backend", &pid.to_string())
    }

    /// Notes the backend of the apply session.
    pub fn set_apply_backend(ledger: &mut Ledger, pid: i32) -> Result<()> {
        note(ledger, "apply_backend", &pid.to_string())
    }
}

/// Sets a column of `cdc_status`, whose name is one of ours.
fn note(ledger: &mut Ledger, column: &str, value: &str) -> Result<()> {
    ledger.write(|transaction| {
        transaction
            .execute(
                &format!("update cdc_status set {column} = ?1, updated_at = ?2"),
                rusqlite::params![value, clock::epoch_ms()],
            )
            .map_err(|error| failed_write(&error))?;
        Ok(())
    })
}

/// Writes positions that a process has reached, in one transaction; one that would go backwards stays.
pub fn advance(ledger: &mut Ledger, positions: &[(Position, Lsn)]) -> Result<()> {
    ledger.write(|transaction| {
        for (position, reached) in positions {
            let (table, column) = position.table_and_column();
            let before: Option<Lsn> = transaction
                .query_row(&format!("select {column} from {table}"), [], |row| {
                    lsn(row, 0)
                })
                .optional()
                .map_err(|error| failed_read(&error))?;
            if before.is_some_and(|before| before < *reached) {
                transaction
                    .execute(
                        &format!("update {table} set {column} = ?1"),
                        [reached.to_string()],
                    )
                    .map_err(|error| failed_write(&error))?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinel_is_absent_until_it_is_made() {
        let mut ledger = Ledger::in_memory().unwrap();
        assert_eq!(Sentinel::read(ledger.connection()).unwrap(), None);
        assert_eq!(
            CdcStatus::read(ledger.connection()).unwrap(),
            CdcStatus::default()
        );
        let error = Sentinel::set_endpos(&mut ledger, Lsn(5)).unwrap_err();
        assert_eq!(error.message(), "no sentinel: run stream setup");
        assert_eq!(error.kind().exit_code(), 3);
        Sentinel::create(&mut ledger, Lsn(0x1_0000_0000), Lsn::UNSET).unwrap();
        let made = Sentinel::must_read(ledger.connection()).unwrap();
        assert_eq!(
            (made.startpos, made.endpos, made.apply),
            (Lsn(1 << 32), Lsn(0), false)
        );
    }

    #[test]
    fn reported_positions_never_fall_and_set_ones_may() {
        let mut ledger = Ledger::in_memory().unwrap();
        Sentinel::create(&mut ledger, Lsn(1), Lsn(9)).unwrap();
        // As text "0/9" is greater than "0/10".
        advance(
            &mut ledger,
            &[(Position::Write, Lsn(9)), (Position::Replay, Lsn(16))],
        )
        .unwrap();
        advance(
            &mut ledger,
            &[(Position::Write, Lsn(16)), (Position::Replay, Lsn(9))],
        )
        .unwrap();
        advance(&mut ledger, &[(Position::ReceivedThrough, Lsn(7))]).unwrap();
        let row = Sentinel::must_read(ledger.connection()).unwrap();
        assert_eq!((row.write_lsn, row.replay_lsn), (Lsn(16), Lsn(16)));
        assert_eq!(Sentinel::set_endpos(&mut ledger, Lsn(3)).unwrap(), Lsn(9));
        assert!(!Sentinel::set_apply(&mut ledger, true).unwrap());
        CdcStatus::set_mode(&mut ledger, "catchup").unwrap();
        CdcStatus::set_drained(&mut ledger, Lsn(3)).unwrap();
        let status = CdcStatus::read(ledger.connection()).unwrap();
        assert_eq!(status.received_through, Lsn(7));
        assert_eq!(
            (status.mode.as_str(), status.drained_endpos),
            ("catchup", Lsn(3))
        );
    }
}
