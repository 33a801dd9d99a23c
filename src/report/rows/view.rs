//! What a copy of rows is doing at one moment, read from its ledger.
//!
//! Rows of a table that is under way are a guess: its share of bytes, of the rows that it is thought to have.

use crate::catalog::{DataPlan, KEYS_REMOVED, Ledger, sqlite_error};
use crate::error::Result;
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::{HashMap, VecDeque};

/// How many earlier moments the rate looks at.
const SAMPLES_MAX: usize = 60;
/// How far back it looks, milliseconds.
const WINDOW_MS: i64 = 30_000;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Planning,
    RemovingKeys,
    Copying,
    Sequences,
    RestoringKeys,
    Validating,
    Done,
}

impl Phase {
    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Planning => "planning",
            Self::RemovingKeys => "removing keys",
            Self::Copying => "copying",
            Self::Sequences => "sequences",
            Self::RestoringKeys => "restoring keys",
            Self::Validating => "validating",
            Self::Done => "done",
        }
    }
}

/// A table, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) id: i64,
    /// 0: the whole table.
    pub(super) number: u32,
    /// As in the ledger.
    pub(super) state: String,
    pub(super) rows: u64,
    /// Of a part under way: so far.
    pub(super) bytes: u64,
    pub(super) started_at: i64,
    pub(super) finished_at: i64,
    pub(super) elapsed_ms: u64,
    /// JSON of the last error.
    pub(super) error: Option<String>,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Rows that it is thought to have.
    pub(super) rows: Option<u64>,
    /// Bytes on the source's disk.
    pub(super) size: u64,
    pub(super) parts: Vec<Part>,
}

impl Part {
    pub(super) fn is_done(&self) -> bool {
        matches!(self.state.as_str(), "done" | "skipped")
    }

    /// How much of it is there, as thousandths; less than all until it is done.
    fn share(&self, size: u64) -> u64 {
        match self.state.as_str() {
            "done" | "skipped" => 1000,
            _ => (self.bytes.saturating_mul(1000) / size.max(1)).min(990),
        }
    }
}

impl Table {
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    fn all(&self, state: &str) -> bool {
        self.parts.iter().any(|part| part.state == state)
    }

    pub(super) fn is_done(&self) -> bool {
        !self.parts.is_empty() && self.parts.iter().all(Part::is_done)
    }

    pub(super) fn is_failed(&self) -> bool {
        self.all("failed")
    }

    pub(super) fn is_running(&self) -> bool {
        self.all("running")
    }

    /// Thousandths of it that are there.
    pub(super) fn share(&self) -> u64 {
        let count = u64::try_from(self.parts.len()).unwrap_or(1).max(1);
        let each = self.size / count;
        self.parts.iter().map(|part| part.share(each)).sum::<u64>() / count
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// Rows that are there, a guess while it is under way.
    pub(super) fn rows_done(&self) -> u64 {
        if self.is_done() {
            return self.parts.iter().map(|part| part.rows).sum();
        }
        self.rows.unwrap_or(0).saturating_mul(self.share()) / 1000
    }

    /// Rows that it has, or is thought to have.
    pub(super) fn rows_total(&self) -> Option<u64> {
        if self.is_done() {
            return Some(self.rows_done());
        }
        self.rows
    }

    pub(super) fn started_at(&self) -> i64 {
        let starts = self.parts.iter().map(|part| part.started_at);
        starts.filter(|at| *at > 0).min().unwrap_or(0)
    }

    pub(super) fn finished_at(&self) -> i64 {
        let ends = self.parts.iter().map(|part| part.finished_at);
        ends.max().unwrap_or(0)
    }
}

/// A foreign key that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) id: i64,
    pub(super) child: String,
    pub(super) name: String,
    pub(super) parent: String,
    /// As in the journal.
    pub(super) state: String,
    /// False: it was NOT VALID or NOT ENFORCED before it was removed.
    pub(super) is_valid: bool,
    pub(super) sqlstate: Option<String>,
    /// Rows that break it, and a query that finds them.
    pub(super) offenders: Option<(u64, String)>,
    /// A worker validates it now.
    pub(super) is_at_work: bool,
}

impl Key {
    pub(super) fn is_back(&self) -> bool {
        matches!(self.state.as_str(), "valid" | "closed")
    }
}

/// A moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct View {
    pub(super) phase: Phase,
    /// Where from and where to: without secrets, and short.
    pub(super) source: (String, String),
    pub(super) target: (String, String),
    pub(super) workers: u32,
    pub(super) elapsed_ms: u64,
    pub(super) now: i64,
    /// In the order of the copy.
    pub(super) tables: Vec<Table>,
    pub(super) keys: Vec<Key>,
    /// Triggers that were switched off.
    pub(super) triggers: u64,
    /// Keys are removed; tables can be copied.
    pub(super) is_ready: bool,
    /// Sequences that were set, once they are.
    pub(super) sequences: Option<u64>,
    /// What a person must be told: id, topic, line.
    pub(super) notices: Vec<(i64, String, String)>,
}

/// Sums over a view.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) tables: (u64, u64),
    /// Total unknown where that of a table is.
    pub(super) rows: (u64, Option<u64>),
    pub(super) bytes: u64,
    /// 100 only at the end.
    pub(super) percent: u64,
    /// Bytes a second, lately.
    pub(super) rate: u64,
    /// Milliseconds until the last table is there.
    pub(super) left_ms: Option<u64>,
}

/// Remembers earlier sums: for the rate, and so that nothing runs backwards.
#[derive(Debug, Default)]
pub(super) struct Memory {
    best: Sums,
    best_share: u64,
    /// Time, bytes, thousandths of thousandths.
    samples: VecDeque<(i64, u64, u64)>,
}

impl Memory {
    pub(super) fn sum(&mut self, view: &View) -> Sums {
        let count = |value: usize| u64::try_from(value).unwrap_or(0);
        let mut sums = Sums {
            tables: (
                count(view.tables.iter().filter(|t| t.is_done()).count()),
                count(view.tables.len()),
            ),
            rows: (
                view.tables.iter().map(Table::rows_done).sum(),
                view.tables.iter().map(Table::rows_total).sum(),
            ),
            bytes: view.tables.iter().map(Table::bytes).sum(),
            ..Sums::default()
        };
        let by_rows = sums.rows.1.is_some_and(|rows| rows > 0);
        let weight = |table: &Table| match table.rows_total() {
            Some(rows) if by_rows => rows,
            _ => table.size.max(1),
        };
        let total: u64 = view.tables.iter().map(weight).sum();
        let there: u64 = view
            .tables
            .iter()
            .map(|table| weight(table).saturating_mul(table.share()))
            .sum();
        let share = there.saturating_mul(1000) / total.max(1);
        self.best_share = self.best_share.max(share);
        self.best.bytes = self.best.bytes.max(sums.bytes);
        self.best.rows.0 = self.best.rows.0.max(sums.rows.0);
        sums.bytes = self.best.bytes;
        sums.rows.0 = self.best.rows.0;
        sums.rows.1 = sums.rows.1.map(|rows| rows.max(sums.rows.0));
        sums.percent = (self.best_share / 10_000).min(99);
        if view.phase == Phase::Done {
            sums.percent = 100;
        }
        self.remember(view.now, sums.bytes);
        (sums.rate, sums.left_ms) = self.speed();
        sums
    }

    /// Whether there is an earlier moment.
    pub(super) fn is_ripe(&self) -> bool {
        self.samples.len() > 1
    }

    fn remember(&mut self, now: i64, bytes: u64) {
        self.samples.push_back((now, bytes, self.best_share));
        let is_old = |first: &(i64, u64, u64)| first.0 < now - WINDOW_MS;
        while self.samples.len() > SAMPLES_MAX || self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    fn speed(&self) -> (u64, Option<u64>) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return (0, None);
        };
        let elapsed = u64::try_from(last.0 - first.0).unwrap_or(0);
        let rate = (last.1 - first.1).saturating_mul(1000) / elapsed.max(1);
        let moved = last.2 - first.2;
        let left = 1_000_000_u64.saturating_sub(last.2).saturating_mul(elapsed);
        (rate, left.checked_div(moved).filter(|_| elapsed > 0))
    }
}

/// Reads views of one run.
pub(super) struct Reader {
    ledger: Ledger,
    run: i64,
    plan: Option<DataPlan>,
    rows: HashMap<(String, String), Option<u64>>,
}

/// A worker takes up to 50 small tables at once; the one that it is at stands in its row.
const TABLES: &str = "
    select u.table_oid, t.nspname, t.relname, t.bytes, u.id, u.object,
           case when u.state = 'running' and not exists (select 1 from process p where p.unit_id = u.id)
                then 'claimed' else u.state end,
           u.rows,
           case u.state when 'done' then u.bytes else
                max(u.bytes, coalesce((select max(p.bytes) from process p where p.unit_id = u.id), 0)) end,
           coalesce(u.started_at, 0), coalesce(u.finished_at, 0), u.duration_ms, u.error
      from unit u join s_table t on t.oid = u.table_oid
     where u.kind = 'copy'
       and u.plan = (select max(plan) from unit last where last.kind = 'copy' and last.table_oid = u.table_oid)
     order by t.bytes desc, t.nspname, t.relname, u.table_oid, u.object";

const KEYS: &str = "
    select j.id, j.child_schema || '.' || j.child_name, j.name, j.parent_schema || '.' || j.parent_name, j.state,
           j.sqlstate, j.offending_rows, j.query,
           exists (select 1 from unit u where u.kind = 'validate' and u.object = j.id and u.state = 'running'),
           j.is_valid
      from constraint_journal j where j.kind = 'key' and j.above = 0 order by j.oid";

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    Ok(u64::try_from(row.get::<_, i64>(column)?).unwrap_or(0))
}

impl Reader {
    pub(super) fn new(ledger: Ledger, run: i64) -> Self {
        Self {
            ledger,
            run,
            plan: None,
            rows: HashMap::new(),
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        self.ledger.connection()
    }

    pub(super) fn read(&mut self, now: i64) -> Result<View> {
        let failed = |error: rusqlite::Error| sqlite_error("read", &error);
        if self.plan.is_none() {
            self.plan = DataPlan::read(&self.ledger)?;
            let tables = self.plan.iter().flat_map(|plan| &plan.tables);
            self.rows = tables
                .map(|t| ((t.schema.clone(), t.table.clone()), t.rows))
                .collect();
        }
        let (started_at, is_copy, is_over) = self.run_row().map_err(failed)?;
        let mut view = View {
            now,
            elapsed_ms: u64::try_from(now - started_at).unwrap_or(0),
            tables: self.tables().map_err(failed)?,
            keys: self.keys().map_err(failed)?,
            triggers: self
                .count("constraint_journal where kind = 'trigger'")
                .map_err(failed)?,
            is_ready: self.is_marked(KEYS_REMOVED).map_err(failed)?,
            notices: self.notices().map_err(failed)?,
            ..View::default()
        };
        if let Some(plan) = &self.plan {
            view.source = (plan.source.uri.clone(), plan.source.place.clone());
            view.target = (plan.target.uri.clone(), plan.target.place.clone());
            view.workers = plan.workers;
        }
        let are_set = self.is_marked("sequences").map_err(failed)?;
        if are_set {
            view.sequences = Some(self.count("s_seq").map_err(failed)?);
        }
        view.phase = self.phase(&view, is_copy, is_over).map_err(failed)?;
        Ok(view)
    }

    fn run_row(&self) -> rusqlite::Result<(i64, bool, bool)> {
        let row = self.connection().query_row(
            "select started_at, command = 'pgcopy restore-constraints', finished_at is not null from run
              where id = ?1",
            [self.run],
            |row| Ok((row.get(0)?, !row.get::<_, bool>(1)?, row.get(2)?)),
        );
        row.optional().map(|row| row.unwrap_or((0, true, false)))
    }

    fn count(&self, of: &str) -> rusqlite::Result<u64> {
        self.connection()
            .query_row(&format!("select count(*) from {of}"), [], |row| {
                unsigned(row, 0)
            })
    }

    fn is_marked(&self, name: &str) -> rusqlite::Result<bool> {
        self.connection().query_row(
            "select exists (select 1 from mark where name = ?1 and run_id = ?2)",
            rusqlite::params![name, self.run],
            |row| row.get(0),
        )
    }

    fn tables(&self) -> rusqlite::Result<Vec<Table>> {
        let mut found: Vec<Table> = Vec::new();
        let mut last = -1;
        let mut statement = self.connection().prepare_cached(TABLES)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let oid: i64 = row.get(0)?;
            if oid != last {
                last = oid;
                let (schema, name): (String, String) = (row.get(1)?, row.get(2)?);
                let known = self.rows.get(&(schema.clone(), name.clone()));
                found.push(Table {
                    rows: known.copied().flatten(),
                    size: unsigned(row, 3)?,
                    schema,
                    name,
                    parts: Vec::new(),
                });
            }
            let part = Part {
                id: row.get(4)?,
                number: row.get(5)?,
                state: row.get(6)?,
                rows: unsigned(row, 7)?,
                bytes: unsigned(row, 8)?,
                started_at: row.get(9)?,
                finished_at: row.get(10)?,
                elapsed_ms: unsigned(row, 11)?,
                error: row.get(12)?,
            };
            if let Some(table) = found.last_mut() {
                table.parts.push(part);
            }
        }
        Ok(found)
    }

    fn keys(&self) -> rusqlite::Result<Vec<Key>> {
        self.connection()
            .prepare_cached(KEYS)?
            .query_map([], |row| {
                let count: Option<i64> = row.get(6)?;
                let query: Option<String> = row.get(7)?;
                Ok(Key {
                    id: row.get(0)?,
                    child: row.get(1)?,
                    name: row.get(2)?,
                    parent: row.get(3)?,
                    state: row.get(4)?,
                    sqlstate: row.get(5)?,
                    offenders: count.and_then(|count| u64::try_from(count).ok()).zip(query),
                    is_at_work: row.get(8)?,
                    is_valid: row.get(9)?,
                })
            })?
            .collect()
    }

    fn notices(&self) -> rusqlite::Result<Vec<(i64, String, String)>> {
        self.connection()
            .prepare_cached("select id, topic, line from notice where run_id = ?1 order by id")?
            .query_map([self.run], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect()
    }

    fn phase(&self, view: &View, is_copy: bool, is_over: bool) -> rusqlite::Result<Phase> {
        if is_over {
            return Ok(Phase::Done);
        }
        if is_copy && !view.is_ready {
            let has_plan = self.count(&format!("data_plan where run_id = {}", self.run))? > 0;
            return Ok(if has_plan {
                Phase::RemovingKeys
            } else {
                Phase::Planning
            });
        }
        let open =
            "unit where kind in ('copy', 'vacuum') and state in ('waiting', 'todo', 'running')";
        if is_copy && self.count(open)? > 0 && view.sequences.is_none() {
            return Ok(Phase::Copying);
        }
        let failed = view.tables.iter().any(Table::is_failed);
        if is_copy && view.sequences.is_none() && !failed {
            return Ok(Phase::Sequences);
        }
        let validating = "unit where kind = 'validate' and state in ('waiting', 'todo', 'running')";
        if self.count(validating)? > 0 {
            return Ok(Phase::Validating);
        }
        let open = self.count("constraint_journal where state not in ('closed', 'failed')")?;
        Ok(if open > 0 {
            Phase::RestoringKeys
        } else {
            Phase::Done
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_small_tables_that_a_worker_took_at_once_only_the_one_that_it_is_at_is_running() {
        let ledger = Ledger::in_memory().unwrap();
        let all = "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence,
                filenode, relpages, bytes, main_bytes, reltuples)
             select value, 's', 't' || value, 's.t' || value, 'r', 'heap', 'p', 1, 1, 8192, 8192, 5
               from json_each('[1,2,3]');
             insert into unit (id, kind, state, table_oid, started_at)
             select value, 'copy', 'running', value, 5 from json_each('[1,2,3]');
             insert into process (role, worker, pid, run_id, title, unit_id)
             values ('copy', 1, 77, 1, 'copy s.t2', 2);";
        ledger.connection().execute_batch(all).unwrap();
        let tables = Reader::new(ledger, 1).tables().unwrap();
        let running: Vec<bool> = tables.iter().map(Table::is_running).collect();
        assert_eq!(running, [false, true, false]);
    }
}
