//! `pgcopydb clone`, `fork` and `copy db`: resolve, run, print the summary.
//!
//! Runs in the main program, which is the supervisor while the clone runs. Opens the ledger only when
//! the clone has returned, for reading, and writes `summary.json`.

use super::super::args::CloneArgs;
use super::super::resolve::{self, Resolved, Surroundings};
use super::super::{Call, CloneSettings, announce, output};
use crate::catalog::{Ledger, PastRun, Run};
use crate::error::{Error, Kind, Result};
use crate::report::{Outcome, Summary, Together, Workers};
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
    if settings.switches.dry_run {
        let preview = (call.runs.dry_run)(&settings, call.environment)?;
        return super::check::print(&preview, call.globals.json);
    }
    let result = (call.runs.clone)(&settings, call.environment);
    if !reached_the_end(&settings, result.as_ref().err()) {
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
                .and_then(|ledger| Run::past(&ledger))
                .is_ok_and(|past| past == PastRun::Complete)
        }
    }
}

/// How many workers of each kind there were.
pub(super) fn workers(settings: &CloneSettings) -> Workers {
    Workers {
        table: settings.table_jobs,
        index: settings.index_jobs,
        restore: settings.restore_jobs,
        blob: settings.blob_jobs,
        vacuum: if settings.switches.skip_vacuum {
            0
        } else {
            settings.table_jobs
        },
    }
}

fn print_summary(settings: &CloneSettings, error: Option<&Error>) -> Result<()> {
    let layout = Layout::new(settings.dir.clone());
    let read = |layout: &Layout| -> Result<Summary> {
        Summary::read(
            &Ledger::open_read_only(&layout.ledger())?,
            workers(settings),
        )
    };
    let summary = read(&layout)?;
    let outcome = if error.is_some() {
        Outcome::Flawed
    } else {
        Outcome::Done
    };
    if settings.switches.all_databases {
        let of_each: Result<Vec<(String, Summary)>> = crate::clone::databases(&layout)?
            .iter()
            .map(|database| Ok((database.name.clone(), read(&database.layout(&layout))?)))
            .collect();
        return print_all(settings, &Together::of(of_each?, summary), outcome);
    }
    layout.write_file_by(&layout.summary(), |file| {
        crate::report::write_json(file, &summary, outcome)
    })?;
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
        output::to_stdout(&crate::report::json(&summary, outcome)?)
    } else {
        output::to_stdout(&crate::report::text(&summary))
    }
}

/// The same for all databases.
fn print_all(settings: &CloneSettings, all: &Together, outcome: Outcome) -> Result<()> {
    let layout = Layout::new(settings.dir.clone());
    let document = crate::report::json_of_all(all, outcome)?;
    layout.write_file(&layout.summary(), document.as_bytes())?;
    log::info!(
        "All steps are now done, {} elapsed",
        crate::units::pretty_ms(all.sums.total_ms())
    );
    log::info!(
        "Printing summary for {} databases and {} tables",
        all.databases.len(),
        all.table_count()
    );
    if settings.switches.json {
        output::to_stdout(&document)
    } else {
        output::to_stdout(&crate::report::text_of_all(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Step;
    use crate::cli::{Command, Environment, Runs, args::Root};
    use clap::Parser;

    /// A clone that leaves a ledger in which it came to its end, then fails as its snapshot's name
    /// says.
    fn pretend(settings: &CloneSettings, _: &Environment) -> Result<()> {
        let layout = Layout::new(settings.dir.clone());
        layout.make_folders()?;
        let ledger = Ledger::open(&layout.ledger())?;
        Step::Total.add(ledger.connection(), 5, 0)?;
        Run::begin(ledger.connection(), "clone", true)?.finish(&ledger, "done")?;
        match settings.snapshot.as_deref() {
            Some("flawed") => Err(Error::new(Kind::Target, "a comment is missing")),
            Some("refused") => Err(Error::bad_state("a complete run")),
            _ => Ok(()),
        }
    }

    /// Runs a clone in a directory of its own; its result, and `result` of the summary it left.
    fn run_with(options: &[&str]) -> (Result<()>, Option<String>) {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().to_str().unwrap();
        let common = ["pgcopydb", "clone", "-Sa", "-Tb", "--json", "--dir", dir];
        let root = Root::try_parse_from([&common, options].concat()).unwrap();
        let Some(Command::Clone(args)) = root.command else {
            panic!("not a clone")
        };
        let ping = |_: &str, _: &str, _: &Environment| Ok(());
        let call = Call {
            globals: root.globals,
            environment: &Environment::of(&[]),
            runs: Runs {
                clone: pretend,
                dry_run: |_, _| Ok(crate::clone::Preview::default()),
                check: |_, _, _| Ok(crate::clone::Preview::default()),
                compare_data: |_, _| Err(Error::internal("not this one")),
                compare_schema: |_, _| Err(Error::internal("not this one")),
                ping,
                redact: str::to_owned,
            },
            cmdline: String::new(),
            path: String::new(),
            from_file: None,
        };
        let result = run(&args, &call);
        let text = std::fs::read_to_string(folder.path().join("summary.json")).ok();
        let summary = text.map(|text| serde_json::from_str::<serde_json::Value>(&text).unwrap());
        (
            result,
            summary.map(|summary| summary["result"].as_str().unwrap().to_owned()),
        )
    }

    #[test]
    fn a_summary_is_left_by_every_run_that_came_to_its_end() {
        let (result, summary) = run_with(&[]);
        assert!(result.is_ok());
        assert_eq!(summary.as_deref(), Some("done"));
        let (result, summary) = run_with(&["--snapshot", "flawed"]);
        assert_eq!(result.unwrap_err().kind(), Kind::Target);
        assert_eq!(summary.as_deref(), Some("flawed"));
    }

    #[test]
    fn neither_a_refused_nor_a_dry_run_leaves_a_summary() {
        let (result, summary) = run_with(&["--snapshot", "refused"]);
        assert_eq!(
            (result.unwrap_err().kind(), summary),
            (Kind::BadState, None)
        );
        assert_eq!(run_with(&["--dry-run"]).1, None);
    }
}
