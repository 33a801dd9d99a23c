//! What an earlier run in the same work directory means for this one.
//!
//! Runs in prepare processes, and in the supervisor when it has no children. A finished run is no obstacle to
//! the next one, as the same tables are copied each night; an unfinished one is, until the user says what to do.

use crate::catalog::{DataPlan, Ledger, Run, sqlite_error};
use crate::error::{Error, Result};
use crate::fkey::journal;
use crate::workdir::{Intent, Layout};
use rusqlite::Connection;
use std::path::{Path, PathBuf};

/// Most work directories that are looked at.
const NEIGHBOURS_MAX: usize = 1000;

/// Command of a run that copies.
pub(super) const COPY: &str = "pgcopy copy";
/// Command of a run that puts back.
pub(super) const RESTORE: &str = "pgcopy restore-constraints";

/// What came of the runs before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// There was none.
    None,
    /// The last one copied all rows.
    Finished,
    /// The last one did not, and what it took away may be open.
    Unfinished,
    /// The last one did not, and all that it took away is back.
    PutBack,
    /// Another program used the directory.
    Foreign,
}

/// Reads what came of the runs before.
pub(super) fn read(ledger: &Ledger) -> Result<Past> {
    let read = || -> rusqlite::Result<Vec<(String, Option<String>)>> {
        ledger
            .connection()
            .prepare("select command, outcome from run order by id desc")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let runs = read().map_err(|error| sqlite_error("read", &error))?;
    let is_done = |outcome: &Option<String>| outcome.as_deref() == Some("done");
    let mut put_back = false;
    for (command, outcome) in &runs {
        match command.as_str() {
            RESTORE => put_back |= is_done(outcome),
            COPY if is_done(outcome) => return Ok(Past::Finished),
            COPY if put_back => return Ok(Past::PutBack),
            COPY => return Ok(Past::Unfinished),
            _ => return Ok(Past::Foreign),
        }
    }
    Ok(Past::None)
}

/// Refuses a run that the last one forbids. Errors (`BadState`).
pub(super) fn refuse(ledger: &Ledger, layout: &Layout, intent: Intent) -> Result<()> {
    let dir = layout.top().display();
    match (read(ledger)?, intent) {
        (Past::Foreign, _) => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a run of pgcopydb"
        ))
        .hint("Give another directory with --dir.")),
        (Past::None, Intent::Resume) => Err(Error::bad_state(format!(
            "there is nothing to resume in \"{dir}\""
        ))
        .hint("Leave --resume out to begin.")),
        (Past::Unfinished, Intent::Fresh) => {
            let open = open_keys(ledger)?;
            let detail = far(ledger)?;
            Err(Error::bad_state(format!(
                "work directory \"{dir}\" belongs to a run that did not finish"
            ))
            .detail(format!(
                "{detail}, {open} foreign keys and triggers are not proven to be back."
            ))
            .hint(
                "Use --resume to go on, --restart to copy all tables again, or \"pgcopy \
                 restore-constraints\" to put back what it took away.",
            ))
        }
        _ => Ok(()),
    }
}

/// Entries of the journal that are not proven to be back.
pub(super) fn open_keys(ledger: &Ledger) -> Result<usize> {
    journal::open_entries(ledger.connection()).map(|entries| entries.len())
}

/// Work directories beside ours that hold open entries for the same target, reached under another name: a second
/// record would take what the first run removed for what had never been there.
pub(super) fn neighbours_with_open_keys(
    around: Option<&Path>,
    ours: &Path,
    target: &str,
) -> Vec<String> {
    with_open_keys(around, ours)
        .into_iter()
        .filter(|(_, of)| of == target)
        .map(|(path, _)| {
            format!(
                "target: foreign keys or triggers that were removed from it are on record in \"{}\"; run there: \
                 pgcopy restore-constraints --dir {}",
                path.display(),
                path.display()
            )
        })
        .collect()
}

/// Work directories beside ours with open entries, and their targets.
pub(super) fn with_open_keys(around: Option<&Path>, ours: &Path) -> Vec<(PathBuf, String)> {
    let entries = around.and_then(|folder| std::fs::read_dir(folder).ok());
    let same = |path: &Path| path.canonicalize().ok() == ours.canonicalize().ok();
    let mut found: Vec<(PathBuf, String)> = entries
        .into_iter()
        .flatten()
        .take(NEIGHBOURS_MAX)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !same(path))
        .filter_map(|path| {
            let ledger = Layout::new(path.clone()).ledger();
            // What cannot be read says nothing about any target.
            let open = Ledger::view(&ledger, |ledger| {
                journal::target_of_open(ledger.connection())
            });
            open.ok().flatten().flatten().map(|of| (path, of))
        })
        .collect();
    found.sort();
    found
}

/// The plan of the unfinished copy whose tables may be emptied. Errors (`BadState`): there is none, or it belongs
/// to another program.
pub(super) fn to_empty(ledger: &Ledger) -> Result<DataPlan> {
    let refused = |why: &str| {
        Err(
            Error::bad_state(format!("no tables are to be emptied: {why}"))
                .hint("Leave --empty out to put back what is not back."),
        )
    };
    match read(ledger)? {
        Past::Unfinished | Past::PutBack => match DataPlan::read(ledger)? {
            Some(plan) => Ok(plan),
            None => refused("the copy ended before its first row"),
        },
        Past::Finished => refused("the last copy was complete"),
        Past::None | Past::Foreign => refused("there was no copy in this work directory"),
    }
}

/// Notes that an unfinished run, which had nothing to put back, is settled: a new one may begin.
pub(super) fn settle(ledger: &Ledger, cmdline: &str) -> Result<()> {
    if read(ledger)? != Past::Unfinished {
        return Ok(());
    }
    Run::log_command(ledger.connection(), cmdline)?;
    Run::begin(ledger.connection(), RESTORE, true)?.finish(ledger, "done")
}

/// How far the last copy came.
fn far(ledger: &Ledger) -> Result<String> {
    ledger
        .connection()
        .query_row(
            "select count(distinct table_oid), count(distinct case when not exists (
                        select 1 from unit o where o.kind = 'copy' and o.table_oid = unit.table_oid
                           and o.state not in ('done', 'skipped')) then table_oid end),
                    coalesce((select datetime(started_at / 1000, 'unixepoch') from run
                               order by id desc limit 1), '')
               from unit where kind = 'copy'",
            [],
            |row| {
                let (all, done): (i64, i64) = (row.get(0)?, row.get(1)?);
                let began: String = row.get(2)?;
                Ok(format!(
                    "It began at {began} UTC and copied {done} of {all} tables"
                ))
            },
        )
        .map_err(|error| sqlite_error("read", &error))
}

/// Forgets figures of earlier runs, but for those of one that is gone on with.
pub(super) fn forget_figures(connection: &Connection, resumes: bool) -> Result<()> {
    let sql = if resumes {
        "delete from notice"
    } else {
        "delete from notice; delete from step; delete from unit; delete from emptying"
    };
    connection
        .execute_batch(sql)
        .map_err(|error| sqlite_error("write", &error))
}
