//! `pgcopydb copy data --constraints` and `pgcopydb restore constraints`: rows alone into tables with foreign keys, as
//! `pgcopy` does it.
//!
//! Runs in the main program, which is the supervisor while the command runs.

use super::super::args::{ModeArg, StepArgs};
use super::super::pgcopy::{FACE, folder_of_dirs, present, print_summary, write_summary};
use super::super::{Call, CloneSettings, output};
use crate::datacopy::{
    self, Choice, CopySettings, End, Ended, ModeChoice, Presentation, Show, Switches,
};
use crate::error::{Error, Result};
use crate::report::copied;

/// Options of `copy data` that mean something here; large objects are never copied and nothing is vacuumed.
const TAKEN: [&str; 12] = [
    "constraints",
    "source",
    "source-file",
    "target",
    "target-file",
    "dir",
    "table-jobs",
    "split-tables-larger-than",
    "skip-analyze",
    "restart",
    "resume",
    "json",
];
/// Options that ask for what is done anyway.
const DONE_ANYWAY: [&str; 2] = ["skip-large-objects", "skip-vacuum"];

/// Copies the rows.
pub(super) fn copy(
    step: &StepArgs,
    mode: ModeArg,
    settings: &CloneSettings,
    call: &Call<'_>,
) -> Result<()> {
    refuse_others(step, settings)?;
    let settings = rows(settings, mode.choice(), call);
    let mut agreed = |plan: &crate::catalog::DataPlan| {
        for warning in &plan.warnings {
            log::warn!("{warning}");
        }
        Ok(())
    };
    let env = |name: &str| call.environment.get(name);
    match datacopy::copy(&settings, &env, FACE, &mut agreed) {
        Ended::NothingToResume => {
            log::info!("There is nothing to resume: the last run was complete");
            Ok(())
        }
        Ended::Refused(error) => Err(error),
        Ended::Ran(result) => {
            let error = result.as_ref().err();
            let printed = write_summary(&settings, error).and_then(|summary| {
                if call.globals.json {
                    output::to_stdout(&copied::summary_json(&summary, error))
                } else {
                    print_summary(&settings, &summary)
                }
            });
            result.and(printed)
        }
    }
}

/// Puts back what an interrupted one took away.
pub(super) fn restore(settings: &CloneSettings, call: &Call<'_>) -> Result<()> {
    let is_dry = settings.switches.dry_run;
    let jobs = settings.index_jobs;
    let mut settings = rows(settings, ModeChoice::Auto, call);
    settings.jobs = jobs;
    if is_dry {
        return output::to_stdout(&datacopy::restore_script(&settings)?);
    }
    let env = |name: &str| call.environment.get(name);
    output::to_stdout(&datacopy::restore(&settings, &env, FACE, None)?)
}

fn refuse_others(step: &StepArgs, settings: &CloneSettings) -> Result<()> {
    let typed = step.typed.iter().map(String::as_str);
    let other = typed
        .filter(|name| !TAKEN.contains(name) && !DONE_ANYWAY.contains(name))
        .map(|name| format!("--{name}"))
        .next();
    let other = other.or_else(|| {
        let of_environment = [
            (settings.filters.is_some(), "--filters"),
            (settings.snapshot.is_some(), "--snapshot"),
        ];
        let found = of_environment.iter().find(|(is_set, _)| *is_set);
        found.map(|(_, name)| (*name).to_owned())
    });
    match other {
        None => Ok(()),
        Some(name) => Err(Error::bad_args(format!(
            "option {name} cannot be used with --constraints, which copies rows alone"
        ))
        .hint("Leave one of them out; \"pgcopy copy\" has more options for rows alone.")),
    }
}

/// The settings of a copy of rows.
fn rows(settings: &CloneSettings, mode: ModeChoice, call: &Call<'_>) -> CopySettings {
    let end = |text: &str, from: &str| End {
        text: text.to_owned(),
        from: from.to_owned(),
    };
    let show = if settings.switches.progress {
        Show::Progress
    } else {
        Show::Plain
    };
    CopySettings {
        source: end(&settings.source, "--source"),
        target: end(&settings.target, "--target"),
        dir: settings.dir.clone(),
        neighbourhood: folder_of_dirs(call.environment),
        intent: settings.intent,
        jobs: settings.table_jobs,
        choice: Choice::default(),
        mode,
        insert: None,
        split_bytes: settings.split_bytes,
        presentation: Presentation {
            show: present(show, call.environment, None).show,
            ..Presentation::plain()
        },
        switches: Switches {
            skip_analyze: settings.switches.skip_analyze,
            ..Switches::default()
        },
        cmdline: settings.cmdline.clone(),
    }
}
