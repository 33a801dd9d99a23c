//! The plan as rows of the ledger: units, how each table is emptied, which tables wait for which.
//!
//! Runs in the guard, in one ledger transaction. What an earlier run has copied completely stays done; a table
//! of which parts are missing is copied whole again, as parts of one table never mix snapshots.

use super::plan::{Drawn, Emptying, TableCopy};
use super::settings::CopySettings;
use crate::catalog::{Run, sqlite_error, unit};
use crate::error::Result;
use crate::schema::copy_format::Format;
use crate::units::Oid;
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};

/// Tables that an earlier run has copied: rows, bytes, milliseconds.
pub(super) type Kept = BTreeMap<Oid, (i64, i64, i64)>;

/// What an earlier, unfinished run has done.
#[derive(Debug, Default)]
pub(super) struct Earlier {
    pub(super) kept: Kept,
    /// Tables that were emptied by a statement of their own, or may have been.
    pub(super) emptied: BTreeSet<Oid>,
}

/// Reads it; call it before the rows of the new plan are written.
pub(super) fn earlier(connection: &Connection) -> Result<Earlier> {
    let read = || -> rusqlite::Result<Earlier> {
        let kept = connection
            .prepare(
                "select table_oid, sum(rows), sum(bytes), sum(duration_ms) from unit u where kind = 'copy'
                    and not exists (select 1 from unit o where o.kind = 'copy' and o.table_oid = u.table_oid
                                       and o.state not in ('done', 'skipped'))
                    and u.state = 'done'
                  group by table_oid",
            )?
            .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))?
            .collect::<rusqlite::Result<Kept>>()?;
        let emptied = connection
            .prepare("select value from emptying e, json_each(e.tables) where e.state <> 'todo'")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<BTreeSet<Oid>>>()?;
        Ok(Earlier { kept, emptied })
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Writes the rows of a plan. Parts stand in `s_part` already.
pub(super) fn write(
    tx: &Connection,
    run: Run,
    drawn: &Drawn,
    (settings, earlier): (&CopySettings, &Earlier),
) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    tx.execute_batch(
        "delete from unit; delete from s_copy; delete from copy_after; delete from s_seq; delete from emptying;
         delete from s_fkey; delete from part_commit",
    )
    .map_err(failed)?;
    for copy in &drawn.copies {
        let group = copy.group.and_then(|at| drawn.groups.get(at));
        let members: &[Oid] = group.map_or(&[], |group| &group.tables);
        // Members of a group that was emptied once cannot be emptied by TRUNCATE any more.
        let was_emptied = members
            .iter()
            .any(|oid| earlier.emptied.contains(oid) || earlier.kept.contains_key(oid));
        write_table(tx, copy, (settings, earlier), was_emptied).map_err(failed)?;
    }
    for group in &drawn.groups {
        let is_fresh = !group
            .tables
            .iter()
            .any(|oid| earlier.emptied.contains(oid) || earlier.kept.contains_key(oid));
        if is_fresh {
            write_emptying(tx, &group.sql, &group.tables).map_err(failed)?;
        }
    }
    for (table, parent) in &drawn.copy_after {
        tx.execute(
            "insert or ignore into copy_after values (?1, ?2)",
            [table, parent],
        )
        .map_err(failed)?;
    }
    for pairing in &drawn.sequences {
        tx.execute(
            "insert or replace into s_seq (oid, nspname, relname, qname, target_qname) values (?1, ?2, ?3, ?4, ?5)",
            params![pairing.oid, pairing.schema, pairing.name, pairing.source, pairing.target],
        )
        .map_err(failed)?;
    }
    drawn.plan.write(tx, run)?;
    unit::advance(tx, 0).map(|_| ())
}

fn write_emptying(tx: &Connection, sql: &str, tables: &[Oid]) -> rusqlite::Result<()> {
    tx.execute(
        "insert into emptying (sql, tables) values (?1, ?2)",
        params![sql, serde_json::json!(tables).to_string()],
    )
    .map(|_| ())
}

fn write_table(
    tx: &Connection,
    copy: &TableCopy,
    (settings, earlier): (&CopySettings, &Earlier),
    was_emptied: bool,
) -> rusqlite::Result<()> {
    let is_linked = copy.group.is_some();
    let emptying = match copy.emptying {
        Emptying::Before if is_linked && was_emptied => Emptying::Delete,
        // Emptied before its parts; as a whole, together with its rows.
        Emptying::Before if !is_linked => Emptying::Own,
        other => other,
    };
    let format = match copy.format {
        Format::Text => "text",
        Format::Binary => "binary",
    };
    tx.execute(
        "insert into s_copy (table_oid, columns, select_list, format, target_kind, emptying)
         values (?1, ?2, ?3, ?4, 'r', ?5)",
        params![
            copy.oid,
            copy.columns,
            copy.select_list,
            format,
            emptying.word()
        ],
    )?;
    if copy.parts < 2 {
        tx.execute("delete from s_part where table_oid = ?1", [copy.oid])?;
    }
    if let Some((rows, bytes, elapsed_ms)) = earlier.kept.get(&copy.oid) {
        tx.execute("delete from s_part where table_oid = ?1", [copy.oid])?;
        tx.execute(
            "insert into unit (kind, state, table_oid, object, plan, rank, rows, bytes, duration_ms)
             values ('copy', 'done', ?1, 0, 0, ?3, ?2, ?3, ?4)",
            params![copy.oid, rows, bytes, elapsed_ms],
        )?;
    } else if copy.parts < 2 {
        tx.execute(
            "insert into unit (kind, state, table_oid, object, plan, rank)
             select 'copy', 'waiting', oid, 0, 0, bytes from s_table where oid = ?1",
            [copy.oid],
        )?;
    } else {
        tx.execute(
            "insert into unit (kind, state, table_oid, object, plan, rank)
             select 'copy', 'waiting', p.table_oid, p.part, p.plan,
                    t.bytes / (select count(*) from s_part q where q.table_oid = t.oid)
               from s_part p join s_table t on t.oid = p.table_oid where t.oid = ?1",
            [copy.oid],
        )?;
        if !is_linked {
            write_emptying(tx, &format!("truncate only {}", copy.qname), &[copy.oid])?;
        } else if was_emptied {
            write_emptying(tx, &format!("delete from only {}", copy.qname), &[copy.oid])?;
        }
    }
    if !settings.switches.skip_analyze {
        tx.execute(
            "insert into unit (kind, state, table_oid, object, plan, rank)
             select 'vacuum', 'waiting', oid, 0, 0, bytes from s_table where oid = ?1",
            [copy.oid],
        )?;
    }
    Ok(())
}

/// Units that are left to do: copies and tables to analyze.
pub(super) fn counts(connection: &Connection) -> Result<(u64, u64)> {
    connection
        .query_row(
            "select count(*) filter (where kind = 'copy'), count(*) filter (where kind = 'vacuum')
               from unit where state in ('todo', 'waiting')",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )
        .map(|(copies, vacuums)| {
            (
                u64::try_from(copies).unwrap_or(0),
                u64::try_from(vacuums).unwrap_or(0),
            )
        })
        .map_err(|error| sqlite_error("read", &error))
}
