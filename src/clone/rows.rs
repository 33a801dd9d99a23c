//! Rows that the target has before the first one is copied: refused, or removed where the user said so.
//!
//! Runs in the pre-data and plan processes, for commands that copy into tables which they did not
//! make. Reads and empties tables of the target, and forgets our own record of work that is void.

use super::begun::{self, MUST_EMPTY, MUST_FORGET, forget_mark};
use super::goal::Part;
use super::pre_data::{PreDataInput, TABLES_PER_QUERY, table_names};
use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, quote};
use crate::schema::target;
use crate::supervisor::Leaf;
use std::collections::HashSet;

/// Tables that are asked for rows in one statement.
const ASKED_AT_ONCE: usize = 300;
/// Tables that are emptied in one transaction: those that foreign keys join must go together.
const EMPTIED_AT_ONCE: usize = 2000;
/// Tables that a message names.
const NAMED_MAX: usize = 10;

/// Looks at the tables that the first rows are about to be copied into: they must be there, and empty
/// unless the user wants them emptied.
pub(super) fn look(
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
) -> Result<()> {
    let goal = input.settings.goal;
    let connection = ledger.connection();
    let makes_them = goal.has(Part::PreData) && Run::marked(connection, "pre-data")?.is_none();
    let is_first = begun::first_run(connection, Part::TableData)?.is_none();
    if !goal.has(Part::TableData) || makes_them || !is_first {
        return Ok(());
    }
    let (there, missing) = find(ledger, target)?;
    if !missing.is_empty() {
        return Err(Error::new(
            Kind::Target,
            format!(
                "{} tables of the source are not on the target",
                missing.len()
            ),
        )
        .detail(format!("They are: {}.", shown(&missing)))
        .hint("Make them first, with pgcopydb restore pre-data or pgcopydb copy schema."));
    }
    refuse_foreign_keys(ledger, target)?;
    if Run::marked(ledger.connection(), MUST_EMPTY)?.is_some() {
        return Ok(());
    }
    let occupied = with_rows(target, &there)?;
    if occupied.is_empty() {
        return Ok(());
    }
    if input.settings.switches.drop_if_exists {
        let run = input.means.run;
        return ledger.write_durably(|tx| run.mark(tx, MUST_EMPTY, ""));
    }
    Err(Error::new(
        Kind::Target,
        format!("{} tables of the target already have rows", occupied.len()),
    )
    .detail(format!("They are: {}.", shown(&occupied)))
    .hint(format!(
        "Empty them on the target, as with: truncate {}; nothing was changed.",
        shown(&occupied)
    )))
}

/// Tables come in no order that foreign keys could hold in: those between tables of the copy that the target
/// enforces must be away until all rows are there.
fn refuse_foreign_keys(ledger: &Ledger, target: &mut PgSession) -> Result<()> {
    let (schemas, tables): (Vec<String>, Vec<String>) = table_names(ledger, i64::MAX)?
        .into_iter()
        .map(|(_, nspname, relname)| (nspname, relname))
        .unzip();
    let sql = include_str!("sql/list_enforced_foreign_keys.sql");
    let rows = target.query(sql, &[&schemas, &tables])?;
    if rows.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = rows.iter().map(|row| row.get("shown")).collect();
    let statements: Vec<String> = rows
        .iter()
        .take(NAMED_MAX)
        .map(|row| row.get("statement"))
        .collect();
    Err(Error::new(
        Kind::Target,
        format!(
            "{} foreign keys of the target would refuse rows before those that they refer to",
            keys.len()
        ),
    )
    .with_sqlstate("23503")
    .detail(format!("They are: {}.", shown(&keys)))
    .hint(format!(
        "Use pgcopydb copy data --constraints drop, which takes foreign keys away and puts them back, or drop them on the target and add \
         them afterwards (pgcopydb restore pre-data makes none, pgcopydb restore post-data adds them): {} \
         Nothing was changed.",
        statements.join(" ")
    )))
}

/// Forgets our record on the target when it speaks of tables that are made anew.
pub(super) fn forget_record(
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
) -> Result<()> {
    if Run::marked(ledger.connection(), MUST_FORGET)?.is_none() {
        return Ok(());
    }
    target.batch_execute(include_str!("sql/make_progress.sql"))?;
    target.query(
        "delete from pgcopydb.progress where work = $1",
        &[&input.means.uuid],
    )?;
    ledger.write(|tx| forget_mark(tx, MUST_FORGET))
}

/// Empties all tables when an earlier copy into them is void, or the user wants it: it is on disk that
/// this is to be done, and no unit is claimed before it is.
pub(super) fn empty(
    leaf: &Leaf<'_>,
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
) -> Result<()> {
    if Run::marked(ledger.connection(), MUST_EMPTY)?.is_none() {
        return Ok(());
    }
    let (there, _) = find(ledger, target)?;
    log::warn!(
        "Emptying {} tables on the target, as their rows are copied anew",
        there.len()
    );
    for batch in there.chunks(EMPTIED_AT_ONCE) {
        leaf.check()?;
        target
            .batch_execute(&format!("truncate {}", batch.join(", ")))
            .context(|| "emptying the tables of the target".to_owned())?;
    }
    target.query(
        "delete from pgcopydb.progress where work = $1 and kind = 'copy'",
        &[&input.means.uuid],
    )?;
    ledger.write(|tx| forget_mark(tx, MUST_EMPTY))
}

/// The tables of the ledger on the target: those that are there, ready for SQL, and those that are not.
fn find(ledger: &Ledger, target: &mut PgSession) -> Result<(Vec<String>, Vec<String>)> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    let names: Vec<target::RelationName> = table_names(ledger, i64::MAX)?
        .into_iter()
        .map(|(_, nspname, relname)| (nspname, relname))
        .collect();
    let spread = spread_names(ledger)?;
    for batch in names.chunks(TABLES_PER_QUERY) {
        let found = target::fetch_tables(&mut target.client, batch)?;
        for ((nspname, relname), table) in batch.iter().zip(&found) {
            let qname = quote::qualified(nspname, relname);
            match table {
                Some(table) if table.relkind == "p" => there.push(qname),
                Some(_) if spread.contains(&(nspname.clone(), relname.clone())) => {
                    there.push(qname);
                }
                Some(_) => there.push(format!("only {qname}")),
                None => missing.push(qname),
            }
        }
    }
    Ok((there, missing))
}

/// Raw names of the tables that citus spreads: ONLY would ask their own files, which are empty.
fn spread_names(ledger: &Ledger) -> Result<HashSet<target::RelationName>> {
    let read = || -> rusqlite::Result<HashSet<target::RelationName>> {
        ledger
            .connection()
            .prepare("select t.nspname, t.relname from s_table t join s_spread s on s.oid = t.oid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Those of the tables that have rows.
fn with_rows(target: &mut PgSession, tables: &[String]) -> Result<Vec<String>> {
    let mut occupied = Vec::new();
    for batch in tables.chunks(ASKED_AT_ONCE) {
        let questions: Vec<String> = batch
            .iter()
            .enumerate()
            .map(|(number, table)| {
                format!("select {number}::int8 where exists (select 1 from {table})")
            })
            .collect();
        for row in target.query(&questions.join(" union all "), &[])? {
            let number = usize::try_from(row.get::<_, i64>(0)).unwrap_or(usize::MAX);
            occupied.extend(batch.get(number).cloned());
        }
    }
    Ok(occupied)
}

fn shown(names: &[String]) -> String {
    let plain = |name: &String| name.trim_start_matches("only ").to_owned();
    let mut shown: Vec<String> = names.iter().take(NAMED_MAX).map(plain).collect();
    if names.len() > NAMED_MAX {
        shown.push("...".to_owned());
    }
    shown.join(", ")
}
