//! Emptying the tables of an unfinished copy, so that every key among them holds again (`restore-constraints --empty`).
//!
//! Runs in the guard, before keys come back. Everything that the copy took away is taken away once more: keys that
//! came back meanwhile would forbid TRUNCATE, triggers would fire. What the ledger knows of copied rows is forgotten
//! durably before the first one goes, so that no later `--resume` takes an empty table for a finished one.

use crate::catalog::{DataPlan, Ledger, sqlite_error};
use crate::error::{Context, Error, Result};
use crate::fkey::{self, Limits, journal, patiently};
use crate::pg::{PgSession, quote};
use crate::supervisor::Leaf;
use crate::workdir::Layout;

/// Empties the tables of the plan. Blocks.
pub(super) fn run(
    leaf: &mut Leaf<'_>,
    target: &mut PgSession,
    ledger: &mut Ledger,
    (layout, limits): (&Layout, Limits),
) -> Result<()> {
    let plan = DataPlan::read(ledger)?
        .ok_or_else(|| Error::internal("there is no plan that says which tables to empty"))?;
    forget(ledger)?;
    let of = journal::reopen(ledger)?.unwrap_or_default();
    journal::write_script(ledger, layout, &of)?;
    fkey::remove(leaf, target, ledger, limits)?;
    let schemas: Vec<&str> = plan.tables.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = plan.tables.iter().map(|t| t.table.as_str()).collect();
    let trees = target.query(
        include_str!("sql/list_whole_trees.sql"),
        &[&schemas, &names],
    )?;
    let tables: Vec<String> = schemas
        .iter()
        .zip(&names)
        .map(|(schema, name)| quote::qualified(schema, name))
        .collect();
    let whole = trees
        .iter()
        .map(|row| quote::qualified(row.get::<_, &str>(0), row.get::<_, &str>(1)));
    let all: Vec<String> = tables
        .iter()
        .map(|table| format!("only {table}"))
        .chain(whole)
        .collect();
    let sql = format!("truncate {}", all.join(", "));
    // Where the role may, triggers on TRUNCATE that never were in the way of the copy stay silent, too.
    let is_quiet = target
        .batch_execute("set session_replication_role = 'replica'")
        .is_ok();
    patiently(leaf, target, &tables, |target| target.batch_execute(&sql))
        .context(|| "emptying the tables of the unfinished copy".to_owned())?;
    crate::sql!("{sql}");
    if is_quiet {
        target.batch_execute("reset session_replication_role")?;
    }
    log::info!("Emptied {} tables of the target", tables.len());
    Ok(())
}

/// Forgets what was copied.
fn forget(ledger: &mut Ledger) -> Result<()> {
    ledger.write_durably(|tx| {
        tx.execute_batch("delete from unit; delete from emptying")
            .map_err(|error| sqlite_error("write", &error))
    })
}
