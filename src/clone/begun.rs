//! Which parts of a clone were begun in a work directory, with which options, and what `--restart`
//! of a single command forgets of them.
//!
//! Runs in the prepare process, which refuses and forgets, and in the processes that begin a part.
//! Reads and writes the ledger only.

use super::goal::{Goal, Part};
use super::settings::CloneSettings;
use crate::catalog::{Ledger, PastRun, Run, options_differ, sqlite_error};
use crate::error::{Error, Result};
use crate::workdir::Intent;
use rusqlite::Connection;

/// Mark of tables that must be emptied before anything is copied into them.
pub(super) const MUST_EMPTY: &str = "must-empty";
/// Mark of our record on the target that speaks of work that was forgotten.
pub(super) const MUST_FORGET: &str = "must-forget";

fn mark_of(part: Part) -> String {
    format!("begun {}", part.command()) + if part == Part::Vacuum { " vacuum" } else { "" }
}

/// The run that first began a part.
pub(super) fn first_run(connection: &Connection, part: Part) -> Result<Option<i64>> {
    Ok(Run::marked(connection, &mark_of(part))?.map(|(run, _)| run))
}

/// Marks the parts of a goal as begun, but for those that were before.
pub(super) fn begin(
    connection: &Connection,
    run: Run,
    settings: &CloneSettings,
    parts: impl Iterator<Item = Part>,
) -> Result<()> {
    for part in parts {
        if first_run(connection, part)?.is_none() {
            run.mark(connection, &mark_of(part), &settings.lasting_options())?;
        }
    }
    Ok(())
}

/// Refuses a work directory that was used for the same, unless the user said what to do with it.
pub(super) fn refuse_used(ledger: &Ledger, settings: &CloneSettings) -> Result<()> {
    let dir = settings.dir.display();
    let clone = Run::past_of(ledger, Goal::Clone.command())?;
    let begun = begun_parts(ledger, settings.goal)?;
    if settings.goal != Goal::Clone {
        let is_checked = !settings.goal.parts().is_empty();
        let is_used = clone != PastRun::None || !begun.is_empty();
        if settings.intent == Intent::Resume {
            return same_options(ledger, settings, &begun);
        }
        if !is_used || !is_checked || settings.intent == Intent::Restart {
            return Ok(());
        }
        let by = if clone == PastRun::None {
            format!("\"pgcopydb {}\" was begun before", settings.goal.command())
        } else {
            "a clone was begun before".to_owned()
        };
        return Err(
            Error::bad_state(format!("{by} in work directory \"{dir}\""))
                .hint(resume_hint(settings.goal)),
        );
    }
    match (clone, settings.intent) {
        (PastRun::Complete, Intent::Fresh | Intent::Resume) => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a run that is complete"
        ))
        .hint("Use --restart to begin anew there, or give another directory with --dir.")),
        (PastRun::Interrupted, Intent::Fresh) => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a run that did not finish"
        ))
        .hint(resume_hint(Goal::Clone))),
        (PastRun::None, Intent::Fresh) if !begun.is_empty() => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a clone that is done step by step: \"pgcopydb {}\" \
             was begun before",
            begun[0].command()
        ))
        .hint(resume_hint(Goal::Clone))),
        _ => Ok(()),
    }
}

fn resume_hint(goal: Goal) -> &'static str {
    match goal {
        Goal::Clone => {
            "Use --resume --not-consistent to go on (--resume alone while its snapshot is still \
             held by another process), or --restart to begin anew."
        }
        _ if goal.wants_snapshot() => {
            "Use --resume --not-consistent to go on (--resume alone while its snapshot is still \
             held by another process), or --restart to do this step again from its beginning."
        }
        _ => "Use --resume to go on, or --restart to do this step again from its beginning.",
    }
}

fn begun_parts(ledger: &Ledger, goal: Goal) -> Result<Vec<Part>> {
    let mut begun = Vec::new();
    for part in goal.parts() {
        if first_run(ledger.connection(), *part)?.is_some() {
            begun.push(*part);
        }
    }
    Ok(begun)
}

/// Refuses to go on with a part that was begun with other options.
fn same_options(ledger: &Ledger, settings: &CloneSettings, begun: &[Part]) -> Result<()> {
    let now = settings.lasting_options();
    for part in begun {
        let before = Run::marked(ledger.connection(), &mark_of(*part))?.map(|(_, detail)| detail);
        if let Some(before) = before.filter(|before| options_differ(before, &now)) {
            return Err(Error::bad_state("the first run had other options")
                .detail(format!("Before: {before}; now: {now}."))
                .hint("Repeat the options of the first run, or begin anew with --restart."));
        }
    }
    Ok(())
}

/// `--restart` of a step command: forgets its parts, and those whose work goes with them. Returns the
/// commands that have to be run again. Call it inside a durable transaction.
pub(super) fn forget(connection: &Connection, run: Run, goal: Goal) -> Result<Vec<&'static str>> {
    let mut again = Vec::new();
    for part in goal.parts() {
        refuse_stale_archive(connection, goal, *part)?;
        for lost in lost_with(*part) {
            if first_run(connection, *lost)?.is_some() && !goal.has(*lost) {
                again.push(lost.command());
            }
            forget_part(connection, run, *lost)?;
        }
        forget_part(connection, run, *part)?;
    }
    again.dedup();
    Ok(again)
}

/// Parts whose work on the target goes when this part is done anew.
fn lost_with(part: Part) -> &'static [Part] {
    match part {
        // Tables are made anew, and with them goes what was done to them.
        Part::PreData => &[
            Part::TableData,
            Part::Indexes,
            Part::Constraints,
            Part::Vacuum,
            Part::PostData,
        ],
        _ => &[],
    }
}

/// The archive and the catalogs say what the units are about: they cannot be replaced once there is
/// work done.
fn refuse_stale_archive(connection: &Connection, goal: Goal, part: Part) -> Result<()> {
    let on_them = [
        Part::Extensions,
        Part::TableData,
        Part::Blobs,
        Part::Indexes,
        Part::Constraints,
    ];
    if part != Part::Dump || goal.has(Part::PreData) {
        return Ok(());
    }
    for later in on_them {
        if first_run(connection, later)?.is_some() {
            return Err(Error::bad_state(format!(
                "the dump cannot be made anew, as \"pgcopydb {}\" was begun with it",
                later.command()
            ))
            .hint("Begin anew with pgcopydb clone --restart, or in another directory."));
        }
    }
    Ok(())
}

fn forget_part(connection: &Connection, run: Run, part: Part) -> Result<()> {
    const ALL_OF_TABLES: &str = "delete from unit where kind <> 'blob' and kind <> 'extension';
         delete from taken; delete from s_part; delete from journal;
         delete from mark where name in ('planned-tables', 'planned-builds', 'target-tables')";
    let sql = match part {
        Part::DumpRoles => "delete from mark where name = 'roles-dumped'",
        Part::Dump => {
            "delete from unit; delete from taken; delete from s_part; delete from journal;
             delete from mark where name in ('dumped', 'fetched', 'planned-tables',
                'planned-builds', 'planned-blobs', 'target-tables')"
        }
        Part::PreData => "delete from mark where name in ('pre-data-begun', 'pre-data', 'dropped')",
        Part::Extensions => "delete from unit where kind = 'extension'",
        Part::TableData => {
            "delete from unit where kind in ('copy', 'truncate'); delete from s_part;
             delete from journal;
             delete from mark where name in ('planned-tables', 'target-tables')"
        }
        Part::Blobs => {
            "delete from unit where kind = 'blob'; delete from mark where name = 'planned-blobs'"
        }
        Part::Sequences => "delete from mark where name = 'sequences'",
        Part::Indexes => "update unit set state = 'waiting' where kind = 'index'",
        Part::Constraints => "update unit set state = 'waiting' where kind = 'constraint'",
        Part::Vacuum => "update unit set state = 'waiting' where kind = 'vacuum'",
        // What is on the target stays, so the list is compared with it.
        Part::PostData => {
            "update unit set state = 'waiting' where kind in ('fkey', 'validate');
             delete from mark where name in ('post-data', 'post-data-main', 'post-data-restored')"
        }
    };
    let was_begun = first_run(connection, part)?.is_some();
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    connection.execute_batch(sql).map_err(failed)?;
    if part == Part::PreData {
        connection.execute_batch(ALL_OF_TABLES).map_err(failed)?;
        run.mark(connection, MUST_FORGET, "")?;
    }
    if part == Part::TableData && was_begun {
        run.mark(connection, MUST_EMPTY, "")?;
    }
    forget_mark(connection, &mark_of(part))
}

/// Takes a mark away.
pub(super) fn forget_mark(connection: &Connection, name: &str) -> Result<()> {
    connection
        .execute("delete from mark where name = ?1", [name])
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn making_the_tables_anew_forgets_what_was_copied_into_them() {
        let ledger = Ledger::in_memory().unwrap();
        let connection = ledger.connection();
        let run = Run::begin(connection, "restore pre-data", true).unwrap();
        for part in [Part::PreData, Part::TableData, Part::Blobs] {
            run.mark(connection, &mark_of(part), "{}").unwrap();
        }
        connection
            .execute_batch(
                "insert into unit (kind, state, table_oid) values ('copy', 'done', 1);
                 insert into unit (kind, state, object) values ('blob', 'done', 1)",
            )
            .unwrap();
        let again = forget(connection, run, Goal::RestorePreData).unwrap();
        assert_eq!(again, ["copy table-data"]);
        let left: String = connection
            .query_row("select group_concat(kind) from unit", [], |row| row.get(0))
            .unwrap();
        assert_eq!(left, "blob");
        assert_eq!(first_run(connection, Part::TableData).unwrap(), None);
        assert!(first_run(connection, Part::Blobs).unwrap().is_some());
    }
}
