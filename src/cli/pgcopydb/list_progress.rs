//! `pgcopydb list progress`: how far the run of a work directory is.
//!
//! Runs in the main program, beside any run. Reads the work directory, connects to nothing, writes
//! nothing.

use super::super::args::list::ProgressArgs;
use super::super::{Call, output, resolve};
use super::work_dir::{self, Facts};
use crate::catalog::{Lag, Ledger};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use crate::report::status::State;
use crate::report::{Progress, Summary, Workers, lag, list_progress};
use crate::sys::clock;
use crate::workdir::{Holds, Layout};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs the command. Errors (`BadState`): there is no run to tell of, or it cannot be read.
pub(super) fn run(args: &ProgressArgs, call: &Call<'_>) -> Result<()> {
    let dir = resolve::dir(args.dir.dir.as_ref(), call.environment);
    let expected = match &args.source {
        Some(text) => Some(
            ConnInfo::parse(text, &|name| call.environment.get(name))
                .context(|| "reading option --source".to_owned())?
                .safe_uri(),
        ),
        None => None,
    };
    if args.summary {
        return summary(&dir, call.globals.json);
    }
    loop {
        let (look, facts) = work_dir::look(&dir)?;
        let state = work_dir::state(&look, facts.as_ref());
        let has_nothing = |facts: &Facts| facts.last.is_none() && facts.lag.is_none();
        if state != State::Running && facts.as_ref().is_none_or(has_nothing) {
            return Err(work_dir::nothing_to_tell(&look));
        }
        warn_of_another_source(expected.as_deref(), facts.as_ref());
        let (progress, lag) = match facts {
            Some(facts) => (facts.progress, facts.lag),
            None => (Progress::default(), None),
        };
        let shown = shown(&progress, lag.as_ref(), state, (args, call.globals.json))?;
        let read = output::to_reader(&shown)?;
        // The processes of a follow may be those of single commands.
        let goes_on = lag.is_some_and(|lag| !lag.is_drained()) || state == State::Running;
        match args.watch {
            Some(seconds) if read && goes_on => nap(Duration::from_secs(seconds)),
            _ => return Ok(()),
        }
    }
}

/// Whoever watches gets a document a line.
fn shown(
    progress: &Progress,
    follow: Option<&Lag>,
    state: State,
    (args, json): (&ProgressArgs, bool),
) -> Result<String> {
    let now = clock::epoch_ms();
    if !json {
        let mut text = list_progress::text(progress);
        for (name, value) in follow.map(|one| lag::lines(one, now)).unwrap_or_default() {
            // Writing into memory cannot fail.
            let _infallible = writeln!(text, "{name:>12}: {value}");
        }
        if state != State::Running {
            let line = format!("No run is going on: {}\n", state.name());
            text.push_str(&line);
        }
        return Ok(text);
    }
    let mut document = list_progress::document(progress);
    document["state"] = Value::from(state.name());
    document["follow"] = follow.map_or(Value::Null, |one| lag::document(one, now));
    match args.watch {
        Some(_) => Ok(format!("{document}\n")),
        None => crate::report::pretty(&document),
    }
}

/// A signal ends the program itself: nothing has to be tidied up.
fn nap(time: Duration) {
    let since = Instant::now();
    while let Some(left) = time
        .checked_sub(since.elapsed())
        .filter(|left| !left.is_zero())
    {
        clock::nap(left);
    }
}

fn warn_of_another_source(expected: Option<&str>, facts: Option<&Facts>) {
    let setup = facts.and_then(|facts| facts.setup.as_ref());
    if let (Some(expected), Some(setup)) = (expected, setup)
        && expected != setup.source_uri
    {
        log::warn!(
            "The work directory is of source \"{}\", not of \"{expected}\"",
            setup.source_uri
        );
    }
}

/// `--summary`: the time of each step; as JSON what the run has stored at its end.
fn summary(dir: &Path, json: bool) -> Result<()> {
    let (look, facts) = work_dir::look(dir)?;
    if !matches!(look.holds, Holds::Ours(_)) || facts.is_none_or(|facts| facts.last.is_none()) {
        return Err(work_dir::nothing_to_tell(&look));
    }
    let path = look.layout.summary();
    let stored = std::fs::read_to_string(&path);
    if json {
        return match stored {
            Ok(text) => output::to_stdout(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::bad_state(
                format!("Summary JSON file \"{}\" does not exist", path.display()),
            )
            .hint("A run writes it at its end; look with: pgcopydb list progress --json")),
            Err(error) => Err(Error::bad_state(format!(
                "could not read \"{}\": {error}",
                path.display()
            ))),
        };
    }
    let workers = stored.ok().and_then(|text| workers_of(&text));
    let text = steps(&look.layout, workers)?;
    output::to_stdout(&text.unwrap_or_default())
}

fn steps(layout: &Layout, workers: Option<Workers>) -> Result<Option<String>> {
    Ledger::view(&layout.ledger(), |ledger| {
        let workers = match workers {
            Some(workers) => workers,
            None => Workers::seen(ledger)?,
        };
        let summary = Summary::read(ledger, workers)?;
        Ok(crate::report::steps(&summary.steps))
    })
}

/// The numbers of workers in a stored summary; those that vacuumed stand in the umbrella step only.
fn workers_of(text: &str) -> Option<Workers> {
    let document: Value = serde_json::from_str(text).ok()?;
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let of = |key: &str| number(&document["setup"][key]);
    let vacuum = document["steps"].as_array()?.iter().find(|step| {
        step["label"]
            .as_str()
            .is_some_and(|label| label.starts_with("VACUUM"))
    })?;
    Some(Workers {
        table: of("table-jobs")?,
        index: of("index-jobs")?,
        restore: of("restore-jobs")?,
        blob: of("large-objects-jobs")?,
        vacuum: number(&vacuum["concurrency"])?,
    })
}
