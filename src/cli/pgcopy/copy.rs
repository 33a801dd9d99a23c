//! `pgcopy copy`: resolve, plan, ask, run, print the summary.
//!
//! Runs in the main program, which is the supervisor while rows are copied.

use super::super::output;
use super::args::CopyArgs;
use super::{Call, draw_progress, ended, question, resolve};
use crate::catalog::{DataPlan, Ledger};
use crate::datacopy::{self, CopySettings, Ended, Show};
use crate::error::{Error, Kind, Result};
use crate::report::copied;
use crate::workdir::Layout;
use std::process::ExitCode;

/// Runs the command.
pub(super) fn run(args: &CopyArgs, call: &Call<'_>) -> Result<ExitCode> {
    let settings = resolve::copy(args, &call.around())?;
    call.log_into((!args.dry_run).then_some(settings.dir.as_path()))?;
    announce(args);
    if args.dry_run {
        return Ok(ended(dry_run(&settings, call)));
    }
    let mut shown: Option<DataPlan> = None;
    let mut ask = |plan: &DataPlan, _: &Layout| -> Result<()> {
        shown = Some(plan.clone());
        consent(plan, args.yes)
    };
    let result = datacopy::copy(&settings, &call.env(), draw_progress, &mut ask);
    if let Ok(Ended::NothingToResume) = result {
        log::info!("There is nothing to resume: the last run was complete");
        return Ok(ExitCode::SUCCESS);
    }
    let result = result.map(|_| ());
    let printed = if shown.is_some() && copied_something(&result) {
        print_summary(&settings, result.as_ref().err())
    } else {
        Ok(())
    };
    Ok(ended(result.and(printed)))
}

fn announce(args: &CopyArgs) {
    log::info!("Running pgcopy version {}", env!("CARGO_PKG_VERSION"));
    if args.batch_size.is_some() && !args.insert {
        crate::notice!("Option --batch-size has no effect without --insert");
    }
}

fn dry_run(settings: &CopySettings, call: &Call<'_>) -> Result<()> {
    let (plan, result) = datacopy::dry_run(settings, &call.env());
    if let Some(plan) = plan {
        let text = if settings.show == Show::Json || call.globals.json {
            plan.json()?
        } else {
            copied::plan_text(&plan)
        };
        output::to_stdout(&text)?;
    }
    result
}

/// Shows the plan and asks, unless `--yes` was given.
fn consent(plan: &DataPlan, yes: bool) -> Result<()> {
    for warning in &plan.warnings {
        log::warn!("{warning}");
    }
    if yes {
        return Ok(());
    }
    output::to_stderr(&copied::plan_text(plan));
    question::ask(&copied::question(plan))
}

/// Whether there are figures: not where the run was refused.
fn copied_something(result: &Result<()>) -> bool {
    !matches!(
        result.as_ref().map_err(Error::kind),
        Err(Kind::BadArgs | Kind::BadState)
    )
}

fn print_summary(settings: &CopySettings, error: Option<&Error>) -> Result<()> {
    let layout = Layout::new(settings.dir.clone());
    let ledger = Ledger::open_read_only(&layout.ledger())?;
    let summary = copied::Summary::read(&ledger)?;
    drop(ledger);
    layout.write_file(
        &layout.summary(),
        copied::summary_json(&summary, error).as_bytes(),
    )?;
    output::to_stdout(&copied::summary_text(&summary))
}
