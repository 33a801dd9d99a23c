//! A copy of rows for people: the plan, the question, the summary.
//!
//! Runs in the main program. Reads plan and ledger, returns text.

use crate::catalog::{DataPlan, Ledger, PlanTable, Run, Step, sqlite_error};
use crate::error::{Error, Kind, Result};
use crate::units::{pretty_bytes, pretty_count, pretty_ms};

fn add(out: &mut String, text: &str) {
    out.push_str(text);
}

/// Lines in columns under a heading with a rule; those in `right` stand at the right.
fn aligned(lines: &[[String; 6]], right: std::ops::Range<usize>) -> String {
    let width = |column: usize| {
        let cells = lines.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut out = String::new();
    for (at, line) in lines.iter().enumerate() {
        let cells: Vec<String> = (0..6)
            .map(|column| {
                let (cell, width) = (&line[column], widths[column]);
                if right.contains(&column) && at > 0 {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        add(&mut out, cells.join(" | ").trim_end());
        out.push('\n');
        if at == 0 {
            let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            add(&mut out, &dashes.join("-+-"));
            out.push('\n');
        }
    }
    out
}

/// The plan as it stands before the question.
pub fn plan_text(plan: &DataPlan) -> String {
    let mut out = "pgcopy plan: nothing has been changed\n\n".to_owned();
    let (source, target) = (&plan.source, &plan.target);
    let width = source.uri.len().max(target.uri.len());
    let version = source.version.len().max(target.version.len());
    for (label, side) in [("Source", source), ("Target", target)] {
        add(
            &mut out,
            &format!(
                "{label}   {:<width$}   PostgreSQL {:<version$}   from {}\n",
                side.uri, side.version, side.from
            ),
        );
    }
    add(&mut out, &format!("Mode     {}\n", mode_line(plan)));
    let split = plan.tables.iter().filter(|table| table.parts > 1).count();
    add(
        &mut out,
        &format!(
            "Copy     {} workers, {}, {}{}\n\n",
            plan.workers,
            if plan.one_snapshot {
                "one snapshot"
            } else {
                "no common snapshot"
            },
            match split {
                0 => "no table in parts".to_owned(),
                1 => "1 table in parts".to_owned(),
                count => format!("{count} tables in parts"),
            },
            plan.insert
                .map_or(String::new(), |rows| format!(", INSERT of {rows} rows"))
        ),
    );
    out.push_str(&tables_text(&plan.tables));
    let triggers = plan.triggers.iter().map(|t| {
        (
            format!("{}.{}", t.table, t.name),
            format!("off, then {}", t.state),
        )
    });
    let keys = plan.keys.iter().map(|key| {
        (
            format!("{}.{} -> {}", key.child, key.name, key.parent),
            key.how.clone(),
        )
    });
    let left_out = plan
        .left_out
        .iter()
        .map(|out| (out.name.clone(), out.why.clone()));
    out.push_str(&section("Foreign keys", keys.collect()));
    out.push_str(&section("Triggers", triggers.collect()));
    let sequences = match plan.sequences.len() {
        0 => Vec::new(),
        count => vec![(format!("{count} set to the source's values"), String::new())],
    };
    out.push_str(&section("Sequences", sequences));
    out.push_str(&section("Left out", left_out.collect()));
    let warnings = plan
        .warnings
        .iter()
        .map(|line| (line.clone(), String::new()));
    out.push_str(&section("Warnings", warnings.collect()));
    out
}

fn mode_line(plan: &DataPlan) -> String {
    let stays = plan.keys.len() - plan.removed_keys();
    let mut parts = Vec::new();
    if plan.removed_keys() > 0 {
        parts.push(format!(
            "{} foreign keys removed and put back",
            plan.removed_keys()
        ));
    }
    match stays {
        0 => {}
        1 => parts.push("1 stays".to_owned()),
        count => parts.push(format!("{count} stay")),
    }
    if !plan.triggers.is_empty() {
        parts.push(format!("{} triggers off and on", plan.triggers.len()));
    }
    if parts.is_empty() {
        parts.push(plan.why.clone());
    }
    format!("{}: {}", plan.mode, parts.join(", "))
}

fn tables_text(tables: &[PlanTable]) -> String {
    let mut lines: Vec<[String; 6]> =
        vec![["Schema", "Table", "Rows (estimate)", "Size", "Parts", "How"].map(str::to_owned)];
    if tables.iter().all(|table| table.rows_exact) {
        "Rows".clone_into(&mut lines[0][2]);
    }
    lines.extend(tables.iter().map(|table| {
        [
            table.schema.clone(),
            table.table.clone(),
            table.rows.map_or("?".to_owned(), pretty_count),
            pretty_bytes(table.bytes),
            table.parts.to_string(),
            table.how.clone(),
        ]
    }));
    let mut out = aligned(&lines, 2..5);
    let rows: u64 = tables.iter().filter_map(|table| table.rows).sum();
    let unknown = tables.iter().filter(|table| table.rows.is_none()).count();
    let bytes: u64 = tables.iter().map(|table| table.bytes).sum();
    let unknown = match unknown {
        0 => String::new(),
        count => format!(" and {count} unknown"),
    };
    add(
        &mut out,
        &format!(
            "{}, {} rows{unknown}, {}\n",
            match tables.len() {
                1 => "1 table".to_owned(),
                count => format!("{count} tables"),
            },
            pretty_count(rows),
            pretty_bytes(bytes)
        ),
    );
    out
}

/// A heading with lines of two columns; nothing when there are none.
fn section(heading: &str, lines: Vec<(String, String)>) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let width = lines
        .iter()
        .filter(|(_, right)| !right.is_empty())
        .map(|(left, _)| left.chars().count())
        .max()
        .unwrap_or(0);
    let mut out = format!("{heading}\n");
    for (left, right) in lines {
        let line = if right.is_empty() {
            format!("  {left}")
        } else {
            format!("  {left:<width$}   {right}")
        };
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// What becomes of the rows that a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Those of the source come instead.
    Replaced,
    /// Nothing does.
    Emptied,
}

/// The question.
pub fn question(plan: &DataPlan, loss: Loss) -> String {
    let (host, database) = plan
        .target
        .place
        .rsplit_once('/')
        .unwrap_or(("", plan.target.place.as_str()));
    let tables = match plan.tables.len() {
        1 => "this table".to_owned(),
        count => format!("these {count} tables"),
    };
    let loss = match loss {
        Loss::Replaced => "replaced",
        Loss::Emptied => "deleted",
    };
    format!("All rows of {tables} in \"{database}\" on {host} will be {loss}.")
}

/// The tables that would be emptied, one a line.
pub fn tables_to_empty(plan: &DataPlan) -> String {
    let mut names: Vec<String> = plan
        .tables
        .iter()
        .map(|table| format!("  {}.{}\n", table.schema, table.table))
        .collect();
    names.sort();
    names.concat()
}

/// A table that was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedTable {
    /// Raw name.
    pub schema: String,
    /// Raw name.
    pub table: String,
    /// Parts.
    pub parts: u32,
    /// Rows.
    pub rows: u64,
    /// Bytes of COPY.
    pub bytes: u64,
    /// Time over all parts, milliseconds.
    pub elapsed_ms: u64,
    /// All of it is there.
    pub is_done: bool,
}

/// The figures of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Largest first.
    pub tables: Vec<CopiedTable>,
    /// Wall clock, milliseconds.
    pub elapsed_ms: u64,
    /// Keys removed, and of them those that are back as they were.
    pub keys: (u64, u64),
    /// Of those that are back as they were: NOT VALID or NOT ENFORCED.
    pub not_valid: u64,
    /// Keys that are back and do not hold.
    pub broken: u64,
    /// Triggers that were off, and of them those that are on again.
    pub triggers: (u64, u64),
    /// Sequences that were set.
    pub sequences: u64,
    /// What a person must act on.
    pub notices: Vec<(String, String)>,
}

const TABLES: &str = "
    select t.nspname, t.relname, count(*), sum(u.rows), sum(u.bytes), sum(u.duration_ms),
           min(u.state in ('done', 'skipped'))
      from unit u join s_table t on t.oid = u.table_oid
     where u.kind = 'copy'
       and u.plan = (select max(plan) from unit last where last.kind = 'copy' and last.table_oid = u.table_oid)
     group by t.oid order by sum(u.bytes) desc, t.nspname, t.relname";

impl Summary {
    /// Reads the figures.
    pub fn read(ledger: &Ledger) -> Result<Self> {
        let failed = |error: rusqlite::Error| sqlite_error("read", &error);
        let u = |value: i64| u64::try_from(value).unwrap_or(0);
        let read = || -> rusqlite::Result<Vec<CopiedTable>> {
            ledger
                .connection()
                .prepare(TABLES)?
                .query_map([], |row| {
                    Ok(CopiedTable {
                        schema: row.get(0)?,
                        table: row.get(1)?,
                        parts: row.get(2)?,
                        rows: u(row.get(3)?),
                        bytes: u(row.get(4)?),
                        elapsed_ms: u(row.get(5)?),
                        is_done: row.get(6)?,
                    })
                })?
                .collect()
        };
        let count = |kind: &str, condition: &str| -> Result<u64> {
            ledger
                .connection()
                .query_row(
                    &format!(
                        "select count(*) from constraint_journal
                          where kind = ?1 and above = 0 and {condition}"
                    ),
                    [kind],
                    |row| row.get::<_, i64>(0),
                )
                .map(u)
                .map_err(failed)
        };
        let sequences = ledger
            .connection()
            .query_row(
                "select count(*) from s_seq where exists (select 1 from mark where name = 'sequences'
                    and run_id = (select max(run_id) from data_plan))",
                [],
                |row| row.get::<_, i64>(0),
            )
            .map_err(failed)?;
        Ok(Self {
            tables: read().map_err(failed)?,
            elapsed_ms: Step::Total.read(ledger)?.duration_ms,
            keys: (count("key", "true")?, count("key", "state = 'closed'")?),
            not_valid: count("key", "state = 'closed' and is_valid = 0")?,
            broken: count("key", "sqlstate = '23503'")?,
            triggers: (
                count("trigger", "true")?,
                count("trigger", "state = 'closed'")?,
            ),
            sequences: u(sequences),
            notices: Run::notices(ledger)?,
        })
    }

    pub(super) fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// Keys that were removed, those that are back, and of them the valid ones.
    pub(super) fn key_counts(&self) -> (u64, u64, u64) {
        let (removed, closed) = self.keys;
        (
            removed,
            closed + self.broken,
            closed.saturating_sub(self.not_valid),
        )
    }

    pub(super) fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum()
    }
}

/// The summary as text.
pub fn summary_text(summary: &Summary) -> String {
    let mut lines: Vec<[String; 6]> =
        vec![["Schema", "Table", "Parts", "Rows", "Bytes", "Duration"].map(str::to_owned)];
    lines.extend(summary.tables.iter().map(|table| {
        [
            table.schema.clone(),
            table.table.clone(),
            table.parts.to_string(),
            if table.is_done {
                pretty_count(table.rows)
            } else {
                "not copied".to_owned()
            },
            pretty_bytes(table.bytes),
            pretty_ms(table.elapsed_ms).trim().to_owned(),
        ]
    }));
    let mut out = format!("\n{}", aligned(&lines, 2..6));
    let done = summary.tables.iter().filter(|table| table.is_done).count();
    let rate = summary.bytes().saturating_mul(1000) / summary.elapsed_ms.max(1);
    add(
        &mut out,
        &format!(
            "\n{done}/{} tables, {} rows, {} in {}, {}/s\n",
            summary.tables.len(),
            pretty_count(summary.rows()),
            pretty_bytes(summary.bytes()),
            pretty_ms(summary.elapsed_ms).trim(),
            pretty_bytes(rate)
        ),
    );
    let (removed, restored, valid) = summary.key_counts();
    let mut keys = format!("Foreign keys: {removed} removed, {restored} restored, {valid} valid");
    if summary.not_valid > 0 {
        add(
            &mut keys,
            &format!(", {} NOT VALID as before", summary.not_valid),
        );
    }
    if summary.broken > 0 {
        add(&mut keys, &format!(", {} broken by rows", summary.broken));
    }
    add(&mut out, &format!("{keys}\n"));
    add(
        &mut out,
        &format!(
            "Triggers: {} off, {} on again\nSequences: {} set\n",
            summary.triggers.0, summary.triggers.1, summary.sequences
        ),
    );
    for (topic, line) in &summary.notices {
        add(&mut out, &format!("{topic}: {line}\n"));
    }
    out
}

/// The word for how a run ended.
pub fn outcome(error: Option<&Error>) -> &'static str {
    match error.map(Error::kind) {
        None => "copied",
        Some(Kind::Differences) => "keys_not_valid",
        Some(Kind::Stopped(_)) => "cancelled",
        Some(Kind::BadArgs | Kind::BadState) => "refused",
        Some(_) => "failed",
    }
}

/// What became of keys.
pub(super) fn keys_json(summary: &Summary) -> serde_json::Value {
    let (removed, restored, valid) = summary.key_counts();
    serde_json::json!({
        "removed": removed, "restored": restored, "valid": valid, "not_valid_before": summary.not_valid,
        "broken": summary.broken,
    })
}

/// The summary as one JSON document.
pub fn summary_json(summary: &Summary, error: Option<&Error>) -> String {
    let tables: Vec<serde_json::Value> = summary
        .tables
        .iter()
        .map(|t| {
            serde_json::json!({
                "schema": t.schema, "table": t.table, "parts": t.parts, "rows": t.rows,
                "bytes": t.bytes, "ms": t.elapsed_ms, "done": t.is_done,
            })
        })
        .collect();
    let document = serde_json::json!({
        "format": 1, "result": outcome(error), "exit": error.map_or(0, |e| e.kind().exit_code()),
        "tables": tables, "rows": summary.rows(), "bytes": summary.bytes(), "ms": summary.elapsed_ms,
        "keys": keys_json(summary),
        "triggers": { "off": summary.triggers.0, "on": summary.triggers.1 },
        "sequences": summary.sequences,
        "notices": summary.notices.iter().map(|(topic, line)| format!("{topic}: {line}")).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}
