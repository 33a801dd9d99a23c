//! `pgcopy copy`: resolve, plan, ask, run, print the summary.
//!
//! Runs in the main program, which is the supervisor while rows are copied.

use super::super::output;
use super::args::CopyArgs;
use super::face::{self, FACE};
use super::{Call, ended, question, resolve};
use crate::catalog::{DataPlan, Ledger};
use crate::datacopy::{self, CopySettings, End, Ended, Show};
use crate::error::{Error, Kind, Result};
use crate::report::copied::{self, Summary};
use crate::report::rows::errors_since;
use crate::report::rows::events::Stream;
use crate::workdir::Layout;
use std::process::ExitCode;

/// Runs the command.
pub(super) fn run(args: &CopyArgs, call: &Call<'_>) -> Result<ExitCode> {
    let mut settings = resolve::copy(args, &call.around())?;
    let log = call.log_into((!args.dry_run).then_some(settings.dir.as_path()))?;
    announce(args);
    if args.dry_run {
        return Ok(ended(dry_run(&settings, call)));
    }
    settings.presentation = face::present(settings.presentation.show, call.environment, log);
    let stream =
        (settings.presentation.show == Show::Json).then(|| face::stream(&settings.presentation));
    if let Some(stream) = &stream {
        let safe = |end: &End| crate::conninfo::redact(&end.text);
        stream.start("copy", &safe(&settings.source), &safe(&settings.target));
    }
    let mut ask = |plan: &DataPlan| {
        if let Some(stream) = &stream {
            stream.plan(plan);
        }
        consent(plan, args.yes)
    };
    let ended_how = datacopy::copy(&settings, &call.env(), FACE, &mut ask);
    let result = finish(&settings, ended_how, stream.as_ref());
    Ok(ended(result))
}

/// Prints what came of it.
fn finish(settings: &CopySettings, how: Ended, stream: Option<&Stream>) -> Result<()> {
    let (result, summary) = match how {
        Ended::NothingToResume => {
            log::info!("There is nothing to resume: the last run was complete");
            (Ok(()), Ok(None))
        }
        Ended::Refused(error) => (Err(error), Ok(None)),
        Ended::Ran(result) => {
            let summary = write_summary(settings, result.as_ref().err());
            (result, summary.map(Some))
        }
    };
    let error = result.as_ref().err();
    let printed = summary.and_then(|summary| match stream {
        Some(stream) => {
            if let Some(error) = error {
                stream.error(error);
            }
            let resume = error
                .filter(|_| summary.is_some())
                .filter(|error| error.kind() != Kind::Differences);
            let command = format!("pgcopy copy --resume --dir {}", settings.dir.display());
            let resume = resume.map(|_| command.as_str());
            stream.summary(&summary.unwrap_or_default(), error, resume);
            Ok(())
        }
        None => summary.map_or(Ok(()), |summary| print_summary(settings, &summary)),
    });
    result.and(printed)
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
        let text = if settings.presentation.show == Show::Json || call.globals.json {
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
    question::ask(&copied::question(plan, copied::Loss::Replaced))
}

/// Writes `summary.json`.
pub(in crate::cli) fn write_summary(
    settings: &CopySettings,
    error: Option<&Error>,
) -> Result<Summary> {
    let layout = Layout::new(settings.dir.clone());
    let ledger = Ledger::open_read_only(&layout.ledger())?;
    let summary = Summary::read(&ledger)?;
    drop(ledger);
    layout.write_file(
        &layout.summary(),
        copied::summary_json(&summary, error).as_bytes(),
    )?;
    Ok(summary)
}

pub(in crate::cli) fn print_summary(settings: &CopySettings, summary: &Summary) -> Result<()> {
    output::to_stdout(&copied::summary_text(summary))?;
    // The screen has shown no log lines.
    if settings.presentation.show == Show::Interactive
        && let Some((log, from)) = &settings.presentation.log
    {
        let mut lines = errors_since(log, *from);
        lines.push(format!("The log is \"{}\"\n", log.display()));
        output::to_stderr(&lines.join("\n"));
    }
    Ok(())
}
