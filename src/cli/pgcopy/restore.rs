//! `pgcopy restore-constraints`: puts back what an interrupted copy took away.
//!
//! Runs in the main program, which is the supervisor meanwhile.

use super::super::output;
use super::args::RestoreArgs;
use super::face::FACE;
use super::{Call, ended, question, resolve};
use crate::catalog::DataPlan;
use crate::datacopy;
use crate::error::Result;
use crate::report::copied;
use std::process::ExitCode;

/// Runs the command.
pub(super) fn run(args: &RestoreArgs, call: &Call<'_>) -> Result<ExitCode> {
    let settings = resolve::restore(args, &call.around())?;
    let dir = Some(settings.dir.as_path()).filter(|dir| !args.dry_run && dir.exists());
    call.log_into(dir)?;
    if args.dry_run {
        let script = datacopy::restore_script(&settings);
        return Ok(ended(script.and_then(|script| output::to_stdout(&script))));
    }
    let mut ask = |plan: &DataPlan| -> Result<()> {
        if args.yes {
            return Ok(());
        }
        output::to_stderr(&copied::tables_to_empty(plan));
        question::ask(&copied::question(plan, copied::Loss::Emptied))
    };
    let empty: Option<datacopy::Ask<'_>> = if args.empty { Some(&mut ask) } else { None };
    let result = datacopy::restore(&settings, &call.env(), FACE, empty);
    Ok(ended(result.and_then(|told| output::to_stdout(&told))))
}
