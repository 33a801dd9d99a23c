//! When the restoring mode of timescaledb begins and ends, by what the command is for.
//!
//! Runs in the pre-data, plan, post-data and finish processes, and at the end in the supervisor. The mode is on
//! while tables are made or filled; it ends once post-data is restored and nothing else is to be written.

use super::goal::{Goal, Part};
use super::pre_data::PreDataInput;
use crate::catalog::{Ledger, Run};
use crate::error::Result;
use crate::extension::restoring;
use crate::pg::PgSession;

/// Whether the command writes to tables of a database with timescaledb.
pub(super) fn is_wanted(input: &PreDataInput, ledger: &Ledger) -> Result<bool> {
    let goal = input.settings.goal;
    let writes = !matches!(goal, Goal::CopyBlobs | Goal::CopySequences);
    Ok(writes && !input.settings.switches.skip_extensions && restoring::version(ledger)?.is_some())
}

/// Begins the mode where the command needs it. The extension must be on the target, if anything is.
pub(super) fn begin(
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
) -> Result<()> {
    let goal = input.settings.goal;
    if !is_wanted(input, ledger)? || (goal == Goal::Clone && restoring::is_ended(ledger)?) {
        return Ok(());
    }
    let needed = goal.has(Part::PreData) || goal.has(Part::Extensions);
    let link = input.means.target()?;
    restoring::begin(ledger, input.means.run, (target, link), needed)
}

/// Ends the mode, if nothing remains to be done in this work directory.
pub(super) fn end(
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
) -> Result<()> {
    let is_last = input.settings.goal.has(Part::PostData)
        || Run::marked(ledger.connection(), "post-data")?.is_some();
    if is_last {
        return restoring::end(ledger, input.means.run, target);
    }
    Ok(())
}

/// Tells of a target that stays in the mode, at the end of a run that leaves it there.
pub(super) fn tell(ledger: &Ledger, result: &Result<()>) -> Result<()> {
    if let Some(line) = restoring::warning(ledger)? {
        match result {
            Ok(()) => log::info!("{line}"),
            Err(_) => log::warn!("{line}"),
        }
    }
    Ok(())
}
