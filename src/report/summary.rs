//! The figures of a run, collected once from the ledger for every form of the summary.
//!
//! Runs in the main program when the run is over. Reads the ledger, writes nothing.

use crate::catalog::unit::Item;
use crate::catalog::unit::Makes;
use crate::catalog::{Ledger, Run, Step, Timing, sqlite_error};
use crate::error::{Error, Result};
use crate::units::Oid;
use rusqlite::Row;
use std::collections::BTreeMap;

/// Numbers of workers that the run was allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workers {
    /// COPY.
    pub table: u32,
    /// CREATE INDEX and constraints.
    pub index: u32,
    /// `pg_restore`.
    pub restore: u32,
    /// Large objects.
    pub blob: u32,
    /// VACUUM.
    pub vacuum: u32,
}

impl Workers {
    /// As many as the last run has started, where nothing else tells; jobs of `pg_restore` leave no
    /// trace.
    pub fn seen(ledger: &Ledger) -> Result<Self> {
        let started = rows(
            ledger,
            "select role, count(*) from process group by role",
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        let started: BTreeMap<String, u32> = started
            .map_err(|error| sqlite_error("read", &error))?
            .into_iter()
            .collect();
        let of = |role: &str| started.get(role).copied().unwrap_or(0);
        Ok(Self {
            table: of("copy"),
            index: of("index"),
            restore: 0,
            blob: of("blob"),
            vacuum: of("vacuum"),
        })
    }
}

/// One line of the steps table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFigures {
    /// As operators know it.
    pub label: &'static str,
    /// `source`, `target` or `both`.
    pub connection: &'static str,
    /// Milliseconds.
    pub duration_ms: u64,
    /// Bytes moved, 0 where none move.
    pub bytes: u64,
    /// Processes at work.
    pub concurrency: u32,
}

/// An index or a constraint that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Oid on the source.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// What was run.
    pub sql: String,
    /// Milliseconds; constraints of one table, and with them the indexes of a small one, are built together and
    /// stand with the first of them.
    pub elapsed_ms: u64,
}

/// One line of the tables' table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFigures {
    /// Oid on the source.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name with schema, ready for SQL.
    pub qname: String,
    /// Parts that were copied, 1 for a table copied whole.
    pub parts: u32,
    /// Time during which it was being copied, milliseconds.
    pub copy_ms: u64,
    /// Bytes of COPY.
    pub bytes: u64,
    /// Indexes and constraints, milliseconds.
    pub build_ms: u64,
    /// Indexes.
    pub indexes: Vec<Build>,
    /// Constraints.
    pub constraints: Vec<Build>,
}

/// All figures of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Workers that were allowed.
    pub workers: Workers,
    /// Steps in the order of the table; the last one is the total.
    pub steps: Vec<StepFigures>,
    /// Tables, largest first.
    pub tables: Vec<TableFigures>,
    /// Topic and line of what a person must be told.
    pub notices: Vec<(String, String)>,
    /// Start of the first run of the work directory, epoch milliseconds.
    pub started_at: i64,
    /// End of its last run, epoch milliseconds; 0 when it has not ended.
    pub finished_at: i64,
}

impl Summary {
    /// Reads the figures. Errors: the ledger cannot be read (`BadState`).
    pub fn read(ledger: &Ledger, workers: Workers) -> Result<Self> {
        let failed = |error: rusqlite::Error| sqlite_error("read", &error);
        let (started_at, finished_at): (i64, i64) = ledger
            .connection()
            .query_row(
                "select coalesce(min(started_at), 0),
                        coalesce((select finished_at from run order by id desc limit 1), 0)
                   from run",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(failed)?;
        Ok(Self {
            workers,
            steps: read_steps(ledger, workers)?,
            tables: read_tables(ledger)?,
            notices: Run::notices(ledger)?,
            started_at,
            finished_at,
        })
    }

    /// Wall clock of the whole run, milliseconds.
    pub fn total_ms(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.duration_ms)
    }

    /// Indexes of all tables.
    pub fn index_count(&self) -> usize {
        self.tables.iter().map(|table| table.indexes.len()).sum()
    }
}

fn read_steps(ledger: &Ledger, workers: Workers) -> Result<Vec<StepFigures>> {
    let w = workers;
    let data = w.table + w.index + w.vacuum;
    let lines = [
        (
            Step::Catalog,
            "Catalog Queries (table ordering, filtering, etc)",
            "source",
            1,
        ),
        (Step::Dump, "Dump Schema", "source", 1),
        (Step::PreData, "Prepare Schema", "target", 1),
        (
            Step::Data,
            "COPY, INDEX, CONSTRAINTS, VACUUM (wall clock)",
            "both",
            data,
        ),
        (Step::Copy, "COPY (cumulative)", "both", w.table),
        (Step::Index, "CREATE INDEX (cumulative)", "target", w.index),
        (
            Step::Constraint,
            "CONSTRAINTS (cumulative)",
            "target",
            w.index,
        ),
        (Step::Vacuum, "VACUUM (cumulative)", "target", w.vacuum),
        (Step::Sequence, "Reset Sequences", "both", 1),
        (Step::Blob, "Large Objects (cumulative)", "both", w.blob),
        (Step::PostData, "Finalize Schema", "both", w.restore),
        (
            Step::Total,
            "Total Wall Clock Duration",
            "both",
            data + w.restore + w.blob,
        ),
    ];
    lines
        .into_iter()
        .map(|(step, label, connection, concurrency)| {
            let Timing {
                duration_ms, bytes, ..
            } = step.read(ledger)?;
            let bytes = if matches!(step, Step::Copy | Step::Blob) {
                bytes
            } else {
                0
            };
            Ok(StepFigures {
                label,
                connection,
                duration_ms,
                bytes,
                concurrency,
            })
        })
        .collect()
}

/// A unit that is done, as far as the summary needs it.
struct DoneUnit {
    kind: String,
    table_oid: Oid,
    object: Oid,
    started_at: i64,
    finished_at: i64,
    duration_ms: u64,
    bytes: u64,
    sql: Option<String>,
}

fn read_tables(ledger: &Ledger) -> Result<Vec<TableFigures>> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let mut tables = rows(
        ledger,
        "select oid, nspname, relname, qname from s_table t
          where exists (select 1 from unit u where u.table_oid = t.oid and u.kind = 'copy')
          order by bytes desc, oid",
        |row| {
            Ok(TableFigures {
                oid: row.get(0)?,
                schema: row.get(1)?,
                name: row.get(2)?,
                qname: row.get(3)?,
                ..TableFigures::default()
            })
        },
    )
    .map_err(failed)?;
    let index_names = read_index_names(ledger).map_err(failed)?;
    let backing = rows(
        ledger,
        "select oid, index_oid from s_constraint where index_oid is not null",
        |row| Ok((row.get(0)?, row.get(1)?)),
    );
    let backing: BTreeMap<Oid, Oid> = backing.map_err(failed)?.into_iter().collect();
    let units = read_units(ledger).map_err(failed)?;
    for table in &mut tables {
        let begin = units.partition_point(|unit| unit.table_oid < table.oid);
        let behind = units.partition_point(|unit| unit.table_oid <= table.oid);
        let units = units.get(begin..behind).unwrap_or_default();
        fill_copy(table, units);
        for unit in units.iter().filter(|unit| unit.kind != "copy") {
            fill_build(table, unit, &index_names)?;
        }
        add_backing(table, &backing, &index_names);
    }
    Ok(tables)
}

fn rows<T>(
    ledger: &Ledger,
    sql: &str,
    map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    ledger
        .connection()
        .prepare(sql)?
        .query_map([], map)?
        .collect()
}

/// Raw schema and name, and the quoted name, of each index.
type IndexNames = BTreeMap<Oid, (String, String, String)>;

fn read_index_names(ledger: &Ledger) -> rusqlite::Result<IndexNames> {
    let read = rows(
        ledger,
        "select oid, nspname, relname, qname from s_index",
        |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))),
    )?;
    Ok(read.into_iter().collect())
}

/// Copies, indexes and constraints that are done, table by table in the order of oids; of copies only those of the last
/// plan.
fn read_units(ledger: &Ledger) -> rusqlite::Result<Vec<DoneUnit>> {
    let size = |value: i64| u64::try_from(value).unwrap_or(0);
    rows(
        ledger,
        "select kind, table_oid, object, coalesce(started_at, 0), coalesce(finished_at, 0),
                duration_ms, bytes, sql
           from unit u
          where state = 'done' and kind in ('copy', 'index', 'constraint')
            and (kind <> 'copy' or plan = (select max(plan) from unit last
                  where last.table_oid = u.table_oid and last.kind = 'copy'))
          order by table_oid, id",
        |row| {
            Ok(DoneUnit {
                kind: row.get(0)?,
                table_oid: row.get(1)?,
                object: row.get(2)?,
                started_at: row.get(3)?,
                finished_at: row.get(4)?,
                duration_ms: size(row.get(5)?),
                bytes: size(row.get(6)?),
                sql: row.get(7)?,
            })
        },
    )
}

fn fill_copy(table: &mut TableFigures, units: &[DoneUnit]) {
    let copies: Vec<&DoneUnit> = units.iter().filter(|unit| unit.kind == "copy").collect();
    table.parts = u32::try_from(copies.len()).unwrap_or(u32::MAX);
    table.bytes = copies.iter().map(|unit| unit.bytes).sum();
    table.copy_ms = match copies.as_slice() {
        [whole] => whole.duration_ms,
        parts => covered_ms(
            parts
                .iter()
                .map(|part| (part.started_at, part.finished_at))
                .collect(),
        ),
    };
}

/// How long at least one of these stretches was going on: neither parts that run side by side nor
/// the pause between an interrupted run and its resumption count.
fn covered_ms(mut stretches: Vec<(i64, i64)>) -> u64 {
    stretches.sort_unstable();
    let mut covered = 0;
    let mut end = i64::MIN;
    for (from, to) in stretches {
        covered += to.saturating_sub(from.max(end)).max(0);
        end = end.max(to);
    }
    u64::try_from(covered).unwrap_or(0)
}

fn fill_build(table: &mut TableFigures, unit: &DoneUnit, names: &IndexNames) -> Result<()> {
    table.build_ms += unit.duration_ms;
    let text = unit.sql.as_deref().unwrap_or("[]");
    let items: Vec<Item> = serde_json::from_str(text).map_err(|error| {
        Error::internal(format!(
            "statements of table {} cannot be read: {error}",
            table.qname
        ))
    })?;
    if unit.kind == "index" {
        let fallback = || {
            (
                table.schema.clone(),
                unit.object.to_string(),
                unit.object.to_string(),
            )
        };
        let (schema, name, qname) = names.get(&unit.object).cloned().unwrap_or_else(fallback);
        let sql: Vec<String> = items.into_iter().flat_map(|item| item.statements).collect();
        table.indexes.push(Build {
            oid: unit.object,
            schema,
            name,
            qname,
            sql: sql.join("; "),
            elapsed_ms: unit.duration_ms,
        });
        return Ok(());
    }
    let mut elapsed_ms = unit.duration_ms;
    for item in items {
        let builds = match item.makes {
            // Of a small table: built with its constraints.
            Makes::Index => &mut table.indexes,
            Makes::Constraint => &mut table.constraints,
            Makes::Nothing => continue,
        };
        builds.push(Build {
            oid: item.oid,
            schema: table.schema.clone(),
            name: item.raw_name,
            qname: item.name,
            sql: item.statements.join("; "),
            elapsed_ms: std::mem::take(&mut elapsed_ms),
        });
    }
    Ok(())
}

/// Adds the indexes that constraints have made themselves, as those of small tables do; their time stands with the
/// constraint.
fn add_backing(table: &mut TableFigures, backing: &BTreeMap<Oid, Oid>, names: &IndexNames) {
    for constraint in &table.constraints {
        let Some(oid) = backing.get(&constraint.oid).copied() else {
            continue;
        };
        if table.indexes.iter().any(|index| index.oid == oid) {
            continue;
        }
        if let Some((schema, name, qname)) = names.get(&oid).cloned() {
            table.indexes.push(Build {
                oid,
                schema,
                name,
                qname,
                sql: constraint.sql.clone(),
                elapsed_ms: 0,
            });
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Workers as by default.
    pub(in crate::report) const WORKERS: Workers = Workers {
        table: 4,
        index: 4,
        restore: 4,
        blob: 4,
        vacuum: 4,
    };

    /// A ledger of a run over two tables, one of them in two parts, the second of which was copied
    /// by a resumed run a day later.
    pub(in crate::report) fn ledger() -> Ledger {
        let ledger = Ledger::in_memory().unwrap();
        ledger
            .connection()
            .execute_batch(
                r#"insert into run (command, pid, started_at, finished_at, consistent, outcome)
                   values ('clone', 1, 1000, 2000, 1, 'failed'), ('clone', 1, 90000000, 90009352, 1, 'done');
                insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence,
                    filenode, relpages, bytes, main_bytes, reltuples) values
                    (16563, 'shop', 'orders', 'shop.orders', 'r', 'heap', 'p', 1, 10, 6000000, 6000000, 5),
                    (16570, 'shop', 'Odd Name', 'shop."Odd Name"', 'r', 'heap', 'p', 2, 1, 8192, 8192, 5),
                    (16580, 'shop', 'left_out', 'shop.left_out', 'r', 'heap', 'p', 3, 1, 0, 0, 5);
                insert into unit (kind, state, table_oid, object, plan, started_at, finished_at,
                    duration_ms, bytes) values
                    ('copy', 'done', 16563, 0, 0, 0, 0, 1, 1),
                    ('copy', 'done', 16563, 1, 1, 1000, 1400, 400, 3000000),
                    ('copy', 'done', 16563, 2, 1, 90000000, 90000245, 245, 2700000),
                    ('copy', 'done', 16570, 0, 0, 1500, 1507, 7, 120);
                insert into s_index (oid, table_oid, nspname, relname, qname, amname, is_primary,
                    is_unique, is_valid, bytes, definition) values
                    (16600, 16563, 'shop', 'orders_pkey', 'shop.orders_pkey', 'btree', 1, 1, 1, 9, 'x');
                insert into unit (kind, state, table_oid, object, duration_ms, sql) values
                    ('index', 'done', 16563, 16600, 40,
                     '[{"name":"shop.orders_pkey","raw_name":"orders_pkey","makes":"Index","oid":16600,"tablespace":null,"statements":["CREATE UNIQUE INDEX orders_pkey ON shop.orders (id)"]}]'),
                    ('constraint', 'done', 16563, 0, 22,
                     '[{"name":"orders_pkey","raw_name":"orders_pkey","makes":"Constraint","oid":16601,"tablespace":null,"statements":["ALTER TABLE shop.orders ADD CONSTRAINT orders_pkey PRIMARY KEY USING INDEX orders_pkey"]}]');
                insert into step (name, started_at, finished_at, duration_ms, bytes) values
                    ('catalog', 1, 2, 119, 0), ('dump', 1, 2, 66, 0), ('pre-data', 1, 2, 92, 0),
                    ('data', 1, 2, 8000, 0), ('copy', 1, 2, 652, 5700120), ('index', 1, 2, 40, 0),
                    ('constraint', 1, 2, 22, 0), ('vacuum', 1, 2, 61, 0), ('post-data', 1, 2, 31, 0),
                    ('total', 1, 2, 9352, 0);"#,
            )
            .unwrap();
        ledger
    }

    #[test]
    fn figures_of_a_split_table_are_counted_once_and_without_the_pause() {
        let summary = Summary::read(&ledger(), WORKERS).unwrap();
        assert_eq!(summary.tables.len(), 2);
        let orders = &summary.tables[0];
        assert_eq!(
            (orders.parts, orders.bytes, orders.copy_ms),
            (2, 5_700_000, 645)
        );
        assert_eq!((orders.build_ms, orders.indexes.len()), (62, 1));
        assert_eq!(orders.constraints[0].elapsed_ms, 22);
        assert_eq!((summary.total_ms(), summary.started_at), (9352, 1000));
        assert_eq!(summary.finished_at, 90_009_352);
    }

    #[test]
    fn indexes_that_came_with_the_constraints_of_a_small_table_are_counted() {
        let ledger = ledger();
        let small = r#"
            insert into s_index (oid, table_oid, nspname, relname, qname, amname, is_primary,
                is_unique, is_valid, bytes, definition) values
                (16601, 16570, 'shop', 'odd_pkey', 'shop.odd_pkey', 'btree', 1, 1, 1, 9, 'x'),
                (16602, 16570, 'shop', 'odd_v', 'shop.odd_v', 'btree', 0, 0, 1, 9, 'x');
            insert into s_constraint (oid, table_oid, index_oid, conname, contype, is_deferrable,
                is_deferred, definition) values (16611, 16570, 16601, 'odd_pkey', 'p', 0, 0, 'x');
            insert into unit (kind, state, table_oid, object, duration_ms, sql) values
                ('constraint', 'done', 16570, 0, 9,
                 '[{"name":"shop.odd_v","raw_name":"odd_v","makes":"Index","oid":16602,"tablespace":null,"statements":["CREATE INDEX"]},
                   {"name":"odd_pkey","raw_name":"odd_pkey","makes":"Constraint","oid":16611,"tablespace":null,"statements":["ALTER TABLE"]}]')"#;
        ledger.connection().execute_batch(small).unwrap();
        let summary = Summary::read(&ledger, WORKERS).unwrap();
        let odd = &summary.tables[1];
        let names: Vec<&str> = odd
            .indexes
            .iter()
            .map(|index| index.name.as_str())
            .collect();
        assert_eq!(
            (names, odd.constraints.len()),
            (vec!["odd_v", "odd_pkey"], 1)
        );
        let times = odd.indexes.iter().chain(&odd.constraints);
        let time: u64 = times.map(|build| build.elapsed_ms).sum();
        assert_eq!((odd.build_ms, time), (9, 9));
    }

    #[test]
    fn overlapping_stretches_count_once() {
        assert_eq!(covered_ms(vec![]), 0);
        assert_eq!(covered_ms(vec![(10, 20), (0, 15), (12, 13), (30, 31)]), 21);
    }
}
