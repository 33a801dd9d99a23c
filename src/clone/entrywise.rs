//! Pre-data through our own session, for schemas that one transaction of the target cannot hold.
//!
//! Runs in the pre-data process. The archive's own SQL, some entries a transaction, each transaction
//! with a record on the target of how far it got; a resumed run goes on behind it.

use crate::dump::{ArchiveRun, Entry, RestoreFlag, script};
use crate::error::{Context, Error, Result};
use crate::pg::PgSession;
use crate::supervisor::Leaf;
use crate::worker::Means;
use std::collections::BTreeSet;

/// Entries in one transaction: with three locks each they fit the smallest lock table.
const BATCH: usize = 400;

/// Settings that the archive's SQL counts on, as `pg_restore` makes them.
const SETTINGS: &str = "set search_path to ''; set check_function_bodies to off; \
    set default_tablespace to ''; set row_security to off; set client_min_messages to warning";

/// Restores these entries in order. Blocks.
pub(super) fn restore(
    leaf: &Leaf<'_>,
    (means, flags): (&Means, &BTreeSet<RestoreFlag>),
    target: &mut PgSession,
    archive_run: &ArchiveRun<'_>,
    entries: &[&Entry],
) -> Result<()> {
    let ids: BTreeSet<i32> = entries.iter().map(|entry| entry.dump_id).collect();
    let all = archive_run.list()?;
    let list = crate::dump::archive_list::print(
        all.iter()
            .map(|entry| (entry, ids.contains(&entry.dump_id))),
    );
    archive_run
        .dir
        .write(&archive_run.dir.script_list(), &list)?;
    let text = archive_run.script(&archive_run.dir.script_list(), flags)?;
    let script = script::split(&text, entries)?;
    drop(text);
    if let Some(unreadable) = script.unreadable.first() {
        return Err(Error::new(
            crate::error::Kind::Tool,
            format!("entry {unreadable} of the archive is not UTF-8"),
        )
        .hint("Raise max_locks_per_transaction on the target, so that pg_restore can be used."));
    }
    target.batch_execute(include_str!("sql/make_progress.sql"))?;
    let done = done_before(target, &means.uuid)?;
    target.batch_execute(SETTINGS)?;
    log::info!(
        "Restoring {} entries in transactions of {BATCH}, as the target's lock table is small",
        entries.len()
    );
    let positioned: Vec<(usize, &script::ScriptEntry)> =
        script.entries.iter().enumerate().skip(done).collect();
    for batch in positioned.chunks(BATCH) {
        leaf.check()?;
        let mut sql = String::from("begin;\n");
        let mut reached_entry = 0;
        for (number, entry) in batch {
            reached_entry = *number;
            sql.push_str("set default_tablespace to ");
            sql.push_str(entry.default_tablespace.as_deref().unwrap_or("''"));
            sql.push_str(";\n");
            if let Some(method) = &entry.default_access_method {
                sql.push_str("set default_table_access_method to ");
                sql.push_str(method);
                sql.push_str(";\n");
            }
            for statement in &entry.statements {
                sql.push_str(statement);
                sql.push('\n');
            }
        }
        let uuid = crate::pg::quote::literal(&means.uuid);
        let reached = format!(
            "insert into pgcopydb.progress (work, kind, object, part, plan, rows) \
             values ({uuid}, 'pre-data', 0, 0, 0, {0}) \
             on conflict (work, kind, object, part, plan) do update set rows = {0};\ncommit;",
            reached_entry + 1
        );
        sql.push_str(&reached);
        target.batch_execute(&sql).context(|| {
            format!(
                "restoring pre-data entries up to number {}",
                reached_entry + 1
            )
        })?;
    }
    target.batch_execute("reset check_function_bodies; reset default_tablespace")
}

/// How many entries an interrupted run had restored.
fn done_before(target: &mut PgSession, uuid: &str) -> Result<usize> {
    let rows = target.query(
        "select rows from pgcopydb.progress where work = $1 and kind = 'pre-data'",
        &[&uuid],
    )?;
    Ok(rows
        .first()
        .map_or(0, |row| usize::try_from(row.get::<_, i64>(0)).unwrap_or(0)))
}
