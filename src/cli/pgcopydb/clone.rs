//! `pgcopydb clone`, `fork` and `copy db`: resolve, run, print the summary.
//!
//! Runs in the main program, which is the supervisor while the clone runs. Opens the ledger only when
//! the clone has returned, for reading, and writes `summary.json`.

use super::super::args::CloneArgs;
use super::super::resolve::{self, Resolved, Surroundings};
use super::super::{Call, CloneSettings, announce, output};
use crate::catalog::{Ledger, Step};
use crate::error::{Error, Kind, Result};
use crate::report::{Outcome, Summary};
use crate::workdir::Layout;

/// Runs the command. Errors: those of the settings, of the clone, of printing.
pub(in crate::cli) fn run(args: &CloneArgs, call: &Call<'_>) -> Result<()> {
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
    } = resolve::clone(args, &around)?;
    announce();
    for warning in warnings {
        log::warn!("{warning}");
    }
    for choice in choices {
        log::debug!("Option {choice}");
    }
    let result = (call.runs.clone)(&settings, call.environment);
    if settings.switches.dry_run || !reached_the_end(&settings, result.as_ref().err()) {
        return result;
    }
    let printed = print_summary(&settings, result.as_ref().err());
    result.and(printed)
}

/// Whether there are figures worth printing: also after a clone that left something undone and went
/// on, but not after one that was refused, as the figures would be those of an earlier run.
fn reached_the_end(settings: &CloneSettings, error: Option<&Error>) -> bool {
    match error.map(Error::kind) {
        None => true,
        Some(Kind::BadArgs | Kind::BadConfig | Kind::BadState | Kind::Stopped(_)) => false,
        Some(_) => {
            let ledger = Ledger::open_read_only(&Layout::new(settings.dir.clone()).ledger());
            ledger
                .and_then(|ledger| Step::Total.read(&ledger))
                .is_ok_and(|timing| timing.finished_at > 0)
        }
    }
}

fn print_summary(settings: &CloneSettings, error: Option<&Error>) -> Result<()> {
    let layout = Layout::new(settings.dir.clone());
    let ledger = Ledger::open_read_only(&layout.ledger())?;
    let jobs = settings.jobs;
    let workers = crate::report::Workers {
        table: jobs.table,
        index: jobs.index,
        restore: jobs.restore,
        blob: jobs.blob,
        vacuum: if settings.switches.skip_vacuum {
            0
        } else {
            jobs.table
        },
    };
    let summary = Summary::read(&ledger, workers)?;
    drop(ledger);
    let outcome = if error.is_some() {
        Outcome::Flawed
    } else {
        Outcome::Done
    };
    let document = crate::report::json(&summary, outcome)?;
    layout.write_file(&layout.summary(), document.as_bytes())?;
    let total = summary.total_ms();
    log::info!(
        "All steps are now done, {} elapsed",
        crate::units::pretty_ms(total)
    );
    log::info!(
        "Printing summary for {} tables and {} indexes",
        summary.tables.len(),
        summary.index_count()
    );
    if settings.switches.json {
        output::to_stdout(&document)
    } else {
        output::to_stdout(&crate::report::text(&summary))
    }
}
