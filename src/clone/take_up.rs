//! Going on where an earlier run stopped, or after another command of the same work directory.
//!
//! Runs in the pre-data and plan processes. Reads our record on the target; marks what it proves, and
//! plans anew what would mix two snapshots.

use super::goal::Part;
use super::newcomers;
use super::pre_data::PreDataInput;
use crate::catalog::{Ledger, sqlite_error, unit};
use crate::error::Result;
use crate::pg::PgSession;
use crate::units::Oid;
use rusqlite::params;
use std::collections::BTreeMap;

/// Parts that the target proves are done, tables whose parts would mix snapshots are planned anew,
/// what was made on the source since is taken in or named. `fresh`: no row was copied before.
pub(super) fn take_up(
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
    fresh: bool,
) -> Result<()> {
    let goal = input.settings.goal;
    if goal.has(Part::TableData) && !fresh {
        mark_proven(input, ledger, target)?;
        replan_split_tables(input, ledger)?;
    }
    let same_view = input.means.consistent && input.borrowed;
    if !same_view {
        newcomers::take_in(input, ledger)?;
    }
    ledger.write(|tx| unit::advance(tx, 0))?;
    Ok(())
}

/// Marks the parts that have left their record on the target.
fn mark_proven(input: &PreDataInput, ledger: &mut Ledger, target: &mut PgSession) -> Result<()> {
    let rows = target.query(include_str!("sql/list_progress.sql"), &[&input.means.uuid])?;
    let mut proven: BTreeMap<(Oid, Oid, i64), i64> = BTreeMap::new();
    for row in &rows {
        let (object, part, plan): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let oid = |value: i64| Oid::try_from(value).unwrap_or(0);
        proven.insert((oid(object), oid(part), plan), row.get(3));
    }
    ledger.write(|tx| {
        for ((table, part, plan), count) in &proven {
            tx.execute(
                "update unit set state = 'done', rows = ?4, error = null
                  where kind = 'copy' and table_oid = ?1 and object = ?2 and plan = ?3
                    and state in ('todo', 'waiting')",
                params![table, part, plan, count],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        }
        Ok(())
    })
}

/// Without a common snapshot, parts of a table that are done do not go with parts to come.
fn replan_split_tables(input: &PreDataInput, ledger: &mut Ledger) -> Result<()> {
    let run = input.means.run;
    let snapshot = input.means.snapshot.as_deref();
    let snapshot = snapshot.filter(|_| input.means.consistent);
    let tables = ledger.write(|tx| {
        let tables = unit::unfinished_split_tables(tx, snapshot)?;
        for (oid, qname) in &tables {
            unit::replan_parts(tx, *oid)?;
            run.notice(
                tx,
                "copied from another snapshot",
                &format!(
                    "Table {qname} was split and not complete: all its parts are copied again"
                ),
            )?;
        }
        Ok(tables)
    })?;
    for (_, qname) in &tables {
        log::warn!("Table {qname} was split and not complete: all its parts are copied again");
    }
    if input.means.consistent {
        return Ok(());
    }
    let kept = ledger
        .connection()
        .prepare(
            "select qname from s_table t where is_extension = 0 and not exists (select 1 from unit u
              where u.table_oid = t.oid and u.kind in ('copy', 'truncate')
                and u.state not in ('done', 'skipped')) order by qname",
        )
        .and_then(|mut statement| {
            statement
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        })
        .map_err(|error| sqlite_error("read", &error))?;
    if !kept.is_empty() {
        let shown: Vec<&str> = kept.iter().take(20).map(String::as_str).collect();
        let more = if kept.len() > shown.len() {
            ", ..."
        } else {
            ""
        };
        log::warn!(
            "{} tables stay as an earlier snapshot had them: {}{more}",
            kept.len(),
            shown.join(", ")
        );
    }
    Ok(())
}
