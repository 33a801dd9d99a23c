//! `pgcopy restore-constraints`: puts back what an interrupted copy took away.
//!
//! Runs in the main program, which is the supervisor meanwhile.

use super::super::output;
use super::args::RestoreArgs;
use super::{Call, draw_progress, ended, resolve};
use crate::datacopy;
use crate::error::Result;
use std::process::ExitCode;

/// Runs the command.
pub(super) fn run(args: &RestoreArgs, call: &Call<'_>) -> Result<ExitCode> {
    let settings = resolve::restore(args, &call.around())?;
    let dir = Some(settings.dir.as_path()).filter(|dir| !args.dry_run && dir.exists());
    call.log_into(dir)?;
    if args.dry_run {
        let printed = datacopy::restore_script(&settings).and_then(|script| match script {
            Some(script) => output::to_stdout(&script),
            None => output::to_stdout("-- There is nothing to restore.\n"),
        });
        return Ok(ended(printed));
    }
    let result = datacopy::restore(&settings, &call.env(), draw_progress);
    Ok(ended(result.and_then(|put_back| {
        output::to_stdout(if put_back {
            "All foreign keys and triggers are back as they were\n"
        } else {
            "There is nothing to restore\n"
        })
    })))
}
