//! `pgcopydb check`, and how `clone --dry-run` prints and ends: 0 nothing found, 1 warnings, 2 it will fail.
//!
//! Runs in the main program. Changes nothing on either side or in the work directory.

use super::super::args::CheckArgs;
use super::super::resolve::{self, Surroundings};
use super::super::{Call, announce, output};
use crate::clone::{Preview, Verdict};
use crate::error::{Error, Kind, Result};

/// Runs the command. Errors: bad settings; what was found.
pub(in crate::cli) fn run(args: &CheckArgs, call: &Call<'_>) -> Result<()> {
    let around = Surroundings {
        environment: call.environment,
        json: call.globals.json,
        progress: false,
        cmdline: call.cmdline.clone(),
    };
    let (resolved, follow) = resolve::check(args, &around)?;
    announce();
    for warning in resolved.warnings {
        log::warn!("{warning}");
    }
    let preview = (call.runs.check)(&resolved.settings, follow.as_ref(), call.environment)?;
    print(&preview, call.globals.json)
}

/// Prints what was found; the error is for the exit code, and says nothing new.
pub(in crate::cli) fn print(preview: &Preview, json: bool) -> Result<()> {
    output::to_stdout(&if json { preview.json() } else { preview.text() })?;
    match preview.findings.verdict() {
        Verdict::Good => Ok(()),
        Verdict::Warnings => Err(Error::bad_args(
            "the run would begin, and there are warnings",
        )),
        Verdict::Refused => Err(Error::new(Kind::BadConfig, "the run would be refused")
            .hint("Mend what is marked as FAIL; the statements stand beside it.")),
    }
}
