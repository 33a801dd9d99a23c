//! The last looks of a command that ends before post-data: is all done that it was for, and is our
//! record on the target still needed.
//!
//! Runs in the finish process, once the workers have ended.

use super::goal::{Goal, Part};
use super::post_data::{drop_progress_table, redo_emptied_tables};
use super::pre_data::PreDataInput;
use super::restoring;
use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::pg::{Profile, Token};
use crate::supervisor::{Leaf, Report};
use crate::worker;

/// Runs the finish process. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let (means, goal) = (&input.means, input.settings.goal);
    let mut ledger = Ledger::open(&means.layout.ledger())?;
    let mut target = means
        .target()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let _registered = canceller.register(Token::from_session(&target));
    if goal.has(Part::TableData) && redo_emptied_tables(&mut ledger, &mut target)? {
        leaf.report(&Report::Redo);
        return Ok(());
    }
    refuse_rest(&ledger, goal)?;
    if !is_in_doubt(&ledger)? {
        drop_progress_table(&ledger, &mut target, &means.uuid)?;
    }
    restoring::end(input, (&mut ledger, &mut target))
}

/// No unit that the command is for may be left, however the workers ended.
fn refuse_rest(ledger: &Ledger, goal: Goal) -> Result<()> {
    let names: Vec<String> = goal
        .kinds()
        .iter()
        .map(|kind| format!("'{}'", kind.name()))
        .collect();
    let left: u32 = ledger
        .connection()
        .query_row(
            &format!(
                "select count(*) from unit where state not in ('done', 'skipped') and kind in ({})",
                names.join(", ")
            ),
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    if left == 0 {
        return Ok(());
    }
    Err(
        Error::internal(format!("{left} pieces of work are left undone"))
            .hint("Look at the log for the reason, then use --resume."),
    )
}

/// True while a row of our record may have to prove something.
fn is_in_doubt(ledger: &Ledger) -> Result<bool> {
    ledger
        .connection()
        .query_row(
            "select exists (select 1 from unit where kind in ('copy', 'truncate', 'extension')
                               and state not in ('done', 'skipped'))
                 or exists (select 1 from mark where name = 'pre-data-begun')
                    and not exists (select 1 from mark where name = 'pre-data')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))
}
