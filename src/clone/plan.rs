//! Units of work for what the command is for, written once for a work directory; and what is left.
//!
//! Runs in the pre-data and plan processes. Reads the ledger, the archive's SQL and, for large objects,
//! the source in the run's snapshot; writes `unit` and `taken`.

use super::archive;
use super::goal::{Goal, Part};
use super::pre_data::PreDataInput;
use crate::blob;
use crate::catalog::unit::{self, Kind};
use crate::catalog::{Ledger, Run, sqlite_error};
use crate::dump::{ArchiveRun, script};
use crate::error::{Error, Result};
use crate::pg::{PgSession, Profile};
use crate::supervisor::{Leaf, Report};
use std::collections::BTreeSet;

/// Gives the means to run PostgreSQL's tools, when they are needed.
type Archive<'a> = dyn Fn() -> Result<ArchiveRun<'a>> + 'a;

/// Refuses to build on tables that are not copied: an earlier command has begun that, and not ended.
pub(super) fn refuse_blocked(ledger: &Ledger, goal: Goal) -> Result<()> {
    if !goal.builds() || goal.has(Part::TableData) {
        return Ok(());
    }
    let tables: u32 = ledger
        .connection()
        .query_row(
            "select count(distinct table_oid) from unit
              where kind in ('copy', 'truncate') and state not in ('done', 'skipped')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    if tables == 0 {
        return Ok(());
    }
    Err(Error::bad_state(format!(
        "{tables} tables are not copied yet, and what is built on them comes after their rows"
    ))
    .hint("Finish that first: pgcopydb copy table-data --resume, with the snapshot or --not-consistent."))
}

/// Writes the units that are not written yet.
pub(super) fn write_units(
    leaf: &Leaf<'_>,
    input: &PreDataInput,
    ledger: &mut Ledger,
    archive: &Archive<'_>,
) -> Result<()> {
    let (goal, run) = (input.settings.goal, input.means.run);
    if goal.builds() {
        plan_builds(input, ledger, archive)?;
    }
    if goal.has(Part::TableData) && Run::marked(ledger.connection(), "planned-tables")?.is_none() {
        ledger.write(|tx| {
            archive::plan_tables(tx)?;
            run.mark(tx, "planned-tables", "")
        })?;
    }
    if goal.has(Part::Vacuum) && !input.settings.switches.skip_vacuum {
        ledger.write(|tx| archive::plan_vacuum(tx))?;
    }
    if goal.copies_extensions() {
        ledger.write(|tx| archive::plan_extensions(tx))?;
    }
    let with_blobs = goal.has(Part::Blobs) && !input.settings.switches.skip_blobs;
    if with_blobs && Run::marked(ledger.connection(), "planned-blobs")?.is_none() {
        let mut source = snapshot_session(leaf, input)?;
        ledger.write(|tx| plan_blobs(&mut source, tx, run))?;
    }
    ledger.write(|tx| unit::advance(tx, 0)).map(|_| ())
}

/// Large objects, unless that is done. A session of the source that is there already does it for less.
pub(super) fn plan_blobs(
    source: &mut PgSession,
    tx: &rusqlite::Connection,
    run: Run,
) -> Result<()> {
    if Run::marked(tx, "planned-blobs")?.is_none() {
        let batches = blob::plan(source, tx)?;
        log::debug!("Planned {batches} batches of large objects");
        run.mark(tx, "planned-blobs", "")?;
    }
    Ok(())
}

/// Indexes, constraints and foreign keys, from the archive's own SQL.
fn plan_builds(input: &PreDataInput, ledger: &mut Ledger, archive: &Archive<'_>) -> Result<()> {
    if Run::marked(ledger.connection(), "planned-builds")?.is_some() {
        return Ok(());
    }
    let archive_run = archive()?;
    let entries = archive_run.list()?;
    let taken = archive::entries_to_take(ledger, &entries)?;
    let script = if taken.is_empty() {
        script::Script::default()
    } else {
        let ids: BTreeSet<i32> = taken.iter().map(|entry| entry.dump_id).collect();
        let list = crate::dump::archive_list::print(
            entries
                .iter()
                .map(|entry| (entry, ids.contains(&entry.dump_id))),
        );
        archive_run
            .dir
            .write_for_now(&archive_run.dir.script_list(), &list)?;
        let flags = archive::restore_flags(&input.settings);
        let text = archive_run.script(&archive_run.dir.script_list(), &flags)?;
        script::split(&text, &taken)?
    };
    let all_alone = matches!(
        input.settings.goal,
        Goal::CopyIndexes | Goal::CopyConstraints
    );
    let run = input.means.run;
    ledger.write(|tx| {
        archive::plan_builds(tx, &script, all_alone)?;
        run.mark(tx, "planned-builds", "")
    })
}

/// A session on the source that reads in the run's snapshot.
pub(super) fn snapshot_session(leaf: &Leaf<'_>, input: &PreDataInput) -> Result<PgSession> {
    let mut source = input
        .means
        .source()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    source.batch_execute("begin isolation level repeatable read, read only")?;
    if let Some(id) = input
        .means
        .snapshot
        .as_deref()
        .filter(|_| input.means.consistent)
    {
        crate::snapshot::adopt(&mut source, id)?;
    }
    Ok(source)
}

/// Counts what is left to do of what the command is for.
pub(super) fn left(ledger: &Ledger, goal: Goal, fresh: bool) -> Result<Report> {
    let wanted = goal.kinds();
    let count = |kinds: &[Kind], more: &str| -> Result<u64> {
        let names: Vec<String> = kinds
            .iter()
            .filter(|kind| wanted.contains(kind))
            .map(|kind| format!("'{}'", kind.name()))
            .collect();
        ledger
            .connection()
            .query_row(
                &format!(
                    "select count(*) from unit where state in ('todo', 'waiting') and kind in ({}) {more}",
                    names.join(", ")
                ),
                [],
                |row| row.get::<_, i64>(0),
            )
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(|error| sqlite_error("read", &error))
    };
    Ok(Report::Planned {
        copies: count(&[Kind::Copy, Kind::Truncate], "")?,
        parts: count(&[Kind::Copy], "and object <> 0")?,
        builds: count(
            &[Kind::Index, Kind::Constraint, Kind::Fkey, Kind::Validate],
            "",
        )?,
        vacuums: count(&[Kind::Vacuum], "")?,
        blobs: count(&[Kind::Blob], "")?,
        extensions: count(&[Kind::Extension], "")?,
        fresh,
    })
}
