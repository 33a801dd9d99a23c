//! `pgcopydb snapshot`, `copy ...`, `dump ...`, `restore ...`: the commands that do a clone step by step.
//!
//! Runs in the main program, which is the supervisor while the command runs. Prints what the command is
//! asked for: a snapshot, a list, with `--json` the figures; a step by itself has no summary.

use super::super::args::{StepArgs, StepRun};
use super::super::resolve::{self, Resolved, Surroundings};
use super::super::{Call, CloneSettings, announce, output};
use super::clone::workers;
use super::constraints;
use crate::catalog::Ledger;
use crate::clone::{SnapshotSettings, hold_snapshot, list_archive, parse_list};
use crate::error::{Error, Result};
use crate::report::{Outcome, Summary};
use crate::workdir::Layout;

/// Runs the command. Errors: those of the settings, of the run, of printing.
pub(in crate::cli) fn run(step: &StepArgs, call: &Call<'_>) -> Result<()> {
    let path = step.command.path();
    if call.globals.json && !step.command.takes("json") {
        return Err(
            Error::bad_args(format!("option --json is not used by \"pgcopydb {path}\""))
                .hint(format!("Try \"pgcopydb {path} --help\".")),
        );
    }
    for option in &step.without_effect {
        log::warn!("Option {option} has no effect in pgcopydb {path}");
    }
    if let (StepRun::ParseList, Some(file)) = (step.command.run, &step.file) {
        return output::to_stdout(&list_archive(file)?);
    }
    let around = Surroundings {
        environment: call.environment,
        json: call.globals.json,
        progress: call.wants_progress(),
        cmdline: call.cmdline.clone(),
    };
    let Resolved {
        settings,
        choices,
        warnings,
    } = resolve::step(step, &around)?;
    announce();
    for warning in warnings {
        log::warn!("{warning}");
    }
    for choice in choices {
        log::debug!("Option {choice}");
    }
    if let Some(mode) = step.constraints {
        return constraints::copy(step, mode, &settings, call);
    }
    match step.command.run {
        StepRun::Constraints => constraints::restore(&settings, call),
        StepRun::Snapshot => snapshot(&settings, call),
        StepRun::ParseList => {
            let env = |name: &str| call.environment.get(name);
            output::to_stdout(&parse_list(&settings, &env)?)
        }
        StepRun::Goal(_) => {
            (call.runs.clone)(&settings, call.environment)?;
            if call.globals.json {
                figures(&settings)
            } else {
                Ok(())
            }
        }
    }
}

/// Holds a snapshot, whose id is the one line of standard output.
fn snapshot(settings: &CloneSettings, call: &Call<'_>) -> Result<()> {
    let wanted = SnapshotSettings {
        source: settings.source.clone(),
        dir: settings.dir.clone(),
        intent: settings.intent,
        follow: settings.follow.clone(),
    };
    let json = call.globals.json;
    let publish = |id: &str| {
        if json {
            let document = serde_json::json!({ "format": 1, "snapshot": id });
            output::to_stdout(&format!("{document:#}\n"))
        } else {
            output::to_stdout(&format!("{id}\n"))
        }
    };
    hold_snapshot(&wanted, &|name| call.environment.get(name), &publish)
}

/// Prints what the work directory knows of all steps so far.
fn figures(settings: &CloneSettings) -> Result<()> {
    let ledger = Ledger::open_read_only(&Layout::new(settings.dir.clone()).ledger())?;
    let summary = Summary::read(&ledger, workers(settings))?;
    output::to_stdout(&crate::report::json(&summary, Outcome::Done)?)
}
