//! How far a run is: counts, bytes, rate, and what is being worked on.
//!
//! Read from the ledger by the progress leaf and by commands that only look; writes nothing. Bytes of
//! what is not copied yet are sizes on the source's disk, so that totals are guesses until the end. What
//! is done never runs backwards, whoever reads it: a unit begun again, and a table that is copied anew
//! under another plan, keep their highest figure until they pass it.

use crate::catalog::{Ledger, sqlite_error};
use crate::error::Result;
use crate::units::Oid;
use rusqlite::{Row, params};

/// How far back the rate looks, milliseconds.
const WINDOW_MS: i64 = 30_000;
/// Bytes on disk from which on finished tables say how much COPY makes of them.
const KNOWN_MIN: u64 = 1 << 20;

/// Counts and bytes of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Tables copied.
    pub tables_done: u64,
    /// Tables to copy.
    pub tables_total: u64,
    /// Tables that are being copied.
    pub tables_running: u64,
    /// Bytes copied.
    pub bytes_done: u64,
    /// Bytes to copy, a guess.
    pub bytes_total: u64,
    /// Those of the bytes copied that belong to tables which are not done yet.
    pub bytes_of_open_tables: u64,
    /// Indexes built.
    pub indexes_done: u64,
    /// Indexes to build.
    pub indexes_total: u64,
    /// Indexes that are being built.
    pub indexes_running: u64,
    /// Bytes a second, lately.
    pub rate: u64,
}

impl Figures {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tables_done: self.tables_done + other.tables_done,
            tables_total: self.tables_total + other.tables_total,
            tables_running: self.tables_running + other.tables_running,
            bytes_done: self.bytes_done + other.bytes_done,
            bytes_total: self.bytes_total + other.bytes_total,
            bytes_of_open_tables: self.bytes_of_open_tables + other.bytes_of_open_tables,
            indexes_done: self.indexes_done + other.indexes_done,
            indexes_total: self.indexes_total + other.indexes_total,
            indexes_running: self.indexes_running + other.indexes_running,
            rate: self.rate + other.rate,
        }
    }
}

/// One row for all tables. A unit that is not done counts with its share of the table's size, and has
/// moved at most that much. An index of a small table has no unit of its own: it is built with the
/// table's constraints. Before anything is planned, tables and indexes are those of the source.
const READ: &str = "
with copy as (
    select u.table_oid, u.plan, u.state, u.bytes,
           max(u.plan) over (partition by u.table_oid) as last_plan,
           max(t.bytes, 0) / count(*) over (partition by u.table_oid, u.plan) as guess,
           coalesce((select max(p.bytes) from process p where p.unit_id = u.id), 0) as under_way
      from unit u join s_table t on t.oid = u.table_oid
     where u.kind = 'copy'
), by_plan as (
    select table_oid, plan = last_plan as counts,
           min(state in ('done', 'skipped')) as is_done,
           max(state = 'running') as is_running,
           sum(case when state = 'done' or (state = 'skipped' and plan = last_plan) then bytes
                    else min(guess, max(bytes, under_way)) end) as moved,
           sum(case when state in ('done', 'skipped') then bytes else guess end) as size
      from copy group by table_oid, plan
), by_table as (
    select min(is_done) filter (where counts) as is_done, max(is_running) as is_running,
           max(moved) as moved, max(max(size) filter (where counts), max(moved)) as size
      from by_plan group by table_oid
    union all
    select 0, 0, 0, max(bytes, 0) from s_table
     where is_extension = 0 and exclude_data = 0
       and not exists (select 1 from unit where kind = 'copy')
), index_state as (
    select coalesce(own.state, all_of_table.state) as state
      from s_index i
           left join unit own
                  on own.kind = 'index' and own.table_oid = i.table_oid and own.object = i.oid
           left join unit all_of_table
                  on all_of_table.kind = 'constraint' and all_of_table.table_oid = i.table_oid
     where i.is_valid
)
select coalesce(sum(is_done), 0), count(*), coalesce(sum(is_running), 0),
       coalesce(sum(moved), 0), coalesce(sum(size), 0),
       coalesce(sum(moved) filter (where not is_done), 0),
       (select count(*) from index_state where state in ('done', 'skipped')),
       (select count(*) from index_state
         where state is not null or not exists (select 1 from unit where kind = 'copy')),
       (select count(*) from index_state where state = 'running')
  from by_table";

/// Bytes a second within the window, of what this run has copied and is copying.
const RATE: &str = "
with copy as (
    select started_at, case state when 'done' then finished_at else ?1 end as ended_at,
           case state when 'done' then bytes
                else coalesce((select max(p.bytes) from process p where p.unit_id = u.id), 0)
            end as bytes
      from unit u
     where kind = 'copy' and run_id = (select max(id) from run)
       and (state = 'running' or (state = 'done' and finished_at > ?1 - ?2))
)
select coalesce(sum(bytes * (ended_at - max(started_at, ?1 - ?2)) / max(ended_at - started_at, 1.0)),
                0.0) * 1000
       / max(min(?2, ?1 - (select min(started_at) from unit
                            where kind = 'copy' and run_id = (select max(id) from run))), 1000)
  from copy where ended_at >= started_at";

/// What COPY made of the tables that are done, and how much of those that are not is left.
const LEFT: &str = "
with by_table as (
    select t.bytes as guess, min(u.state in ('done', 'skipped')) as is_done,
           sum(case when u.state in ('done', 'skipped') then u.bytes
                    else max(u.bytes, coalesce((select max(p.bytes) from process p
                                                 where p.unit_id = u.id), 0)) end) as moved
      from unit u join s_table t on t.oid = u.table_oid
     where u.kind = 'copy'
       and u.plan = (select max(plan) from unit last
                      where last.kind = 'copy' and last.table_oid = u.table_oid)
     group by t.oid
)
select coalesce(sum(guess) filter (where is_done), 0), coalesce(sum(moved) filter (where is_done), 0),
       coalesce(sum(guess) filter (where not is_done), 0),
       coalesce(sum(moved) filter (where not is_done), 0)
  from by_table";

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

impl Figures {
    /// Reads the figures of this moment, without a rate.
    pub fn read(ledger: &Ledger) -> Result<Self> {
        ledger
            .connection()
            .prepare_cached(READ)
            .and_then(|mut statement| {
                statement.query_row([], |row| {
                    Ok(Self {
                        tables_done: unsigned(row, 0)?,
                        tables_total: unsigned(row, 1)?,
                        tables_running: unsigned(row, 2)?,
                        bytes_done: unsigned(row, 3)?,
                        bytes_total: unsigned(row, 4)?,
                        bytes_of_open_tables: unsigned(row, 5)?,
                        indexes_done: unsigned(row, 6)?,
                        indexes_total: unsigned(row, 7)?,
                        indexes_running: unsigned(row, 8)?,
                        rate: 0,
                    })
                })
            })
            .map_err(|error| sqlite_error("read", &error))
    }
}

/// A table, or a part of one, that a worker copies now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableAtWork {
    /// Oid on the source.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Raw name of the owner; `None`: that role is gone.
    pub owner: Option<String>,
    /// Rows by the statistics; -1: never analyzed.
    pub reltuples: i64,
    /// Bytes on the source's disk.
    pub bytes: u64,
    /// The rows are left out.
    pub exclude_data: bool,
    /// Number of the part, and how many there are; `None`: copied whole.
    pub part: Option<(u64, u64)>,
    /// Who does it.
    pub process: AtWork,
}

/// An index that a worker builds now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexAtWork {
    /// Oid on the source.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// `CREATE INDEX`, as the source prints it.
    pub definition: String,
    /// Name of its table, ready for SQL.
    pub table: String,
    /// Who does it.
    pub process: AtWork,
}

/// A worker with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtWork {
    /// Its process.
    pub pid: i64,
    /// When it took the unit, epoch milliseconds.
    pub started_at: i64,
    /// Bytes it has moved of it.
    pub bytes: u64,
}

/// Everything there is to say about a run's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Counts, bytes, rate.
    pub figures: Figures,
    /// When the last table will be copied, milliseconds from now; `None`: not to be foretold.
    pub left_ms: Option<u64>,
    /// Tables being copied, largest first.
    pub tables: Vec<TableAtWork>,
    /// Indexes being built.
    pub indexes: Vec<IndexAtWork>,
    /// When this was read, epoch milliseconds.
    pub at: i64,
}

impl Progress {
    /// Reads it, at the time `now`; `is_alive`: a run is going on, so that what is claimed is worked on.
    pub fn read(ledger: &Ledger, now: i64, is_alive: bool) -> Result<Self> {
        let mut progress = Self {
            figures: Figures::read(ledger)?,
            at: now,
            ..Self::default()
        };
        let failed = |error: rusqlite::Error| sqlite_error("read", &error);
        if is_alive {
            progress.figures.rate = read_rate(ledger, now).map_err(failed)?;
            progress.left_ms = read_left(ledger, progress.figures).map_err(failed)?;
            progress.tables = read_tables(ledger).map_err(failed)?;
            progress.indexes = read_indexes(ledger).map_err(failed)?;
        } else {
            progress.figures.tables_running = 0;
            progress.figures.indexes_running = 0;
        }
        Ok(progress)
    }
}

fn read_rate(ledger: &Ledger, now: i64) -> rusqlite::Result<u64> {
    let rate: f64 = ledger
        .connection()
        .prepare_cached(RATE)?
        .query_row(params![now, WINDOW_MS], |row| {
            Ok(row.get::<_, Option<f64>>(0)?.unwrap_or(0.0))
        })?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast of a float saturates, and this one is not negative"
    )]
    Ok(rate.max(0.0) as u64)
}

/// Tables that are done say how many bytes COPY makes of bytes on disk.
fn read_left(ledger: &Ledger, figures: Figures) -> rusqlite::Result<Option<u64>> {
    if figures.rate == 0 || figures.tables_done == figures.tables_total {
        return Ok(None);
    }
    let (known, made, open, moved) =
        ledger
            .connection()
            .prepare_cached(LEFT)?
            .query_row([], |row| {
                Ok((
                    unsigned(row, 0)?,
                    unsigned(row, 1)?,
                    unsigned(row, 2)?,
                    unsigned(row, 3)?,
                ))
            })?;
    let expected = if known >= KNOWN_MIN {
        u128::from(open) * u128::from(made) / u128::from(known)
    } else {
        u128::from(open)
    };
    let left = expected.saturating_sub(u128::from(moved));
    Ok(u64::try_from(left * 1000 / u128::from(figures.rate)).ok())
}

fn read_tables(ledger: &Ledger) -> rusqlite::Result<Vec<TableAtWork>> {
    ledger
        .connection()
        .prepare_cached(
            "select t.oid, t.nspname, t.relname, t.qname, t.owner, t.reltuples, t.bytes, t.exclude_data,
                    u.object, (select count(*) from s_part s
                                where s.table_oid = u.table_oid and s.plan = u.plan),
                    p.pid, coalesce(u.started_at, 0), p.bytes
               from process p join unit u on u.id = p.unit_id join s_table t on t.oid = u.table_oid
              where u.kind = 'copy' and u.state = 'running'
              order by t.bytes desc, t.oid, u.object",
        )?
        .query_map([], |row| {
            let (part, parts) = (unsigned(row, 8)?, unsigned(row, 9)?);
            Ok(TableAtWork {
                oid: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                owner: row.get(4)?,
                reltuples: row.get(5)?,
                bytes: unsigned(row, 6)?,
                exclude_data: row.get(7)?,
                part: (part > 0).then_some((part, parts)),
                process: AtWork {
                    pid: row.get(10)?,
                    started_at: row.get(11)?,
                    bytes: unsigned(row, 12)?,
                },
            })
        })?
        .collect()
}

fn read_indexes(ledger: &Ledger) -> rusqlite::Result<Vec<IndexAtWork>> {
    ledger
        .connection()
        .prepare_cached(
            "select i.oid, i.nspname, i.relname, i.qname, i.definition, t.qname,
                    p.pid, coalesce(u.started_at, 0)
               from process p join unit u on u.id = p.unit_id join s_index i on i.oid = u.object
                    join s_table t on t.oid = i.table_oid
              where u.kind = 'index' and u.state = 'running'
              order by i.bytes desc, i.oid",
        )?
        .query_map([], |row| {
            Ok(IndexAtWork {
                oid: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                definition: row.get(4)?,
                table: row.get(5)?,
                process: AtWork {
                    pid: row.get(6)?,
                    started_at: row.get(7)?,
                    bytes: 0,
                },
            })
        })?
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::report) const LEDGER: &str =
        "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence,
            filenode, relpages, bytes, main_bytes, reltuples) values
            (1, 's', 'a', 's.a', 'r', 'heap', 'p', 1, 1, 1000, 1000, 5),
            (2, 's', 'b', 's.b', 'r', 'heap', 'p', 1, 1, 400, 400, 5);
         insert into unit (id, kind, state, table_oid, object, plan, bytes) values
            (1, 'copy', 'done', 1, 1, 2, 300), (2, 'copy', 'running', 1, 2, 2, 0),
            (3, 'copy', 'todo', 1, 0, 1, 0), (4, 'copy', 'done', 2, 0, 0, 444),
            (5, 'constraint', 'done', 2, 0, 0, 0), (6, 'index', 'waiting', 1, 8, 0, 0);
         insert into s_index (oid, table_oid, nspname, relname, qname, amname, is_primary, is_unique,
            is_valid, bytes, definition) values
            (8, 1, 's', 'i', 's.i', 'btree', 0, 0, 1, 1, ''), (9, 2, 's', 'j', 's.j', 'btree', 0, 0, 1, 1, ''),
            (10, 2, 's', 'k', 's.k', 'btree', 0, 0, 0, 1, '');
         insert into process (role, worker, pid, run_id, title, unit_id, bytes)
            values ('copy', 1, 7, 1, '', 2, 100), ('copy', 2, 8, 1, '', 4, 999);";

    fn ledger() -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        ledger.connection().execute_batch(LEDGER).unwrap();
        ledger
    }

    fn change(ledger: &Ledger, sql: &str) -> Figures {
        ledger.connection().execute_batch(sql).unwrap();
        Figures::read(ledger).unwrap()
    }

    #[test]
    fn running_units_count_with_what_they_moved_but_not_more_than_their_share() {
        let ledger = ledger();
        let expected = Figures {
            tables_done: 1,
            tables_total: 2,
            tables_running: 1,
            bytes_done: 844,
            bytes_total: 1244,
            bytes_of_open_tables: 400,
            indexes_done: 1,
            indexes_total: 2,
            ..Figures::default()
        };
        assert_eq!(Figures::read(&ledger).unwrap(), expected);
        let read = change(&ledger, "update process set bytes = 9999");
        assert_eq!(read.bytes_done, 1244);
    }

    #[test]
    fn a_unit_begun_again_and_a_table_planned_anew_keep_their_highest_figure() {
        let ledger = ledger();
        let begin_anew = "update unit set state = 'todo' where id = 2;
            update process set unit_id = 5, bytes = 0 where worker = 1";
        assert_eq!(change(&ledger, begin_anew).bytes_done, 844);
        let killed = "update unit set state = 'running' where id = 2;
            update process set unit_id = 2, bytes = 0 where worker = 1;
            update process set bytes = 130 where worker = 1; delete from process";
        assert_eq!(change(&ledger, killed).bytes_done, 874);
        let planned_anew = "insert into unit (id, kind, state, table_oid, object, plan)
                values (7, 'copy', 'waiting', 1, 0, 3);
            update unit set state = 'skipped' where id in (1, 2, 3)";
        let read = change(&ledger, planned_anew);
        assert_eq!((read.bytes_done, read.tables_done), (874, 1));
        assert_eq!(read.bytes_total, 1444);
        let done = "update unit set state = 'done', bytes = 1100 where id = 7";
        let read = change(&ledger, done);
        assert_eq!((read.bytes_done, read.tables_done), (1544, 2));
    }

    #[test]
    fn before_anything_is_planned_the_source_says_what_there_is() {
        let ledger = ledger();
        let read = change(&ledger, "delete from process; delete from unit");
        assert_eq!((read.tables_total, read.bytes_total), (2, 1400));
        assert_eq!((read.tables_done, read.bytes_done), (0, 0));
    }

    #[test]
    fn the_rate_is_that_of_this_run_lately_and_foretells_the_end() {
        let ledger = ledger();
        let times =
            "insert into run (command, pid, started_at, consistent) values ('clone', 1, 0, 1);
            update unit set run_id = 1, started_at = 10000, finished_at = 20000 where id in (1, 4);
            update unit set run_id = 1, started_at = 40000 where id = 2;
            update process set bytes = 9000 where worker = 1";
        ledger.connection().execute_batch(times).unwrap();
        // 9000 bytes in 10 s, and half of 300 + 444 bytes within the 30 s looked at
        let progress = Progress::read(&ledger, 45_000, true).unwrap();
        assert_eq!(progress.figures.rate, (9000 + 372) / 30);
        assert_eq!(progress.tables.len(), 1);
        assert_eq!(progress.tables[0].process.bytes, 9000);
        assert_eq!(progress.left_ms, Some(0));
        let dead = Progress::read(&ledger, 45_000, false).unwrap();
        assert_eq!((dead.figures.rate, dead.figures.tables_running), (0, 0));
        assert!(dead.tables.is_empty() && dead.left_ms.is_none());
    }
}
