//! A clone: ten steps over leaf processes, from two connection strings to an equal database.
//!
//! `stages` says what follows what and is pure; `host` starts the processes; the other files are
//! their bodies where these are more than a job of their own. [`run`] is called in the supervisor.

mod again;
mod along;
mod archive;
mod begun;
mod borrowed;
mod check_all;
mod databases;
mod dry_run;
mod entrywise;
mod facts;
mod filters;
mod finish;
mod formats;
mod goal;
mod hold;
mod host;
mod instance;
mod left_behind;
mod lookout;
mod members;
mod newcomers;
mod parse_list;
mod plan;
mod pool;
mod post_data;
mod pre_data;
mod prepare;
mod properties;
mod read;
mod recorded;
mod requirements;
mod restoring;
mod roles;
mod rows;
mod settings;
mod stages;
mod survey;
mod take_up;

pub use crate::check::{FollowChoices, Verdict};
pub use databases::{Database, databases};
pub use dry_run::Preview;
pub use goal::Goal;
pub use hold::{SnapshotSettings, hold_snapshot};
pub use parse_list::{ParseListSettings, list_archive, parse_list};
pub use requirements::{Requirement, read as read_requirements};
pub use settings::{CloneSettings, FollowAlong, FormatChoice, Switches};
pub use stages::{Choices, Stages};

use crate::catalog::{LastRun, Ledger, Run, Step};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::follow::remote::Attended;
use crate::follow::run::{FollowSettings, Following, is_good_end, tell_what_is_missing};
use crate::logging;
use crate::queue::Bell;
use crate::supervisor;
use crate::sys::signal;
use crate::workdir::{Claim, Intent, Layout, Remains};
use crate::worker::Bells;
use along::Together;
use host::CloneHost;
use prepare::PrepareInput;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Finds out what a clone would do and what stands in its way; nothing is changed. Blocks.
pub fn dry_run(settings: &CloneSettings, env: &dyn Fn(&str) -> Option<String>) -> Result<Preview> {
    let source = connection(&settings.source, env, "source")?;
    let target = connection(&settings.target, env, "target")?;
    dry_run::plan(settings, &source, &target)
}

/// Finds out what stands in the way of a clone, and of following afterwards; nothing is changed. Blocks.
pub fn check(
    settings: &CloneSettings,
    follow: Option<&FollowChoices>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Preview> {
    let source = connection(&settings.source, env, "source")?;
    let target = connection(&settings.target, env, "target")?;
    if settings.switches.all_databases {
        return check_all::check_all(settings, (&source, &target));
    }
    dry_run::check(settings, (&source, &target), follow)
}

/// Draws the progress line from ledgers, which need not be there yet, until its nap fails: given by the face of the program.
pub type DrawProgress = fn(&[PathBuf], &dyn Fn(Duration) -> Result<()>) -> Result<()>;

/// Clones a database, or all of them, or does the parts of that which the settings' goal names. Blocks until
/// every process of the run has ended. The ledger of the work directory, or those of the databases' own, then
/// hold the figures; the caller prints them. `env` looks up environment variables, secrets among them.
pub fn run(
    settings: &CloneSettings,
    env: &dyn Fn(&str) -> Option<String>,
    draw: DrawProgress,
) -> Result<()> {
    let side = |text: &str, side| match text {
        "" => Ok(None),
        text => connection(text, env, side).map(Some),
    };
    let source = side(&settings.source, "source")?;
    let target = side(&settings.target, "target")?;
    let requirements = settings.requirements.clone().unwrap_or_default();
    if settings.switches.all_databases {
        let missing = || Error::internal("a clone of all databases has two sides");
        let (source, target) = (source.ok_or_else(missing)?, target.ok_or_else(missing)?);
        all(settings, (source, target), &requirements, draw)
    } else {
        one(settings, (source, target), requirements, draw)
    }
}

/// Clones all databases.
fn all(
    settings: &CloneSettings,
    (source, target): (ConnInfo, ConnInfo),
    requirements: &[Requirement],
    draw: DrawProgress,
) -> Result<()> {
    let since = Instant::now();
    let claim = Claim::take(Layout::new(settings.dir.clone()), settings.intent)?;
    if settings.intent == Intent::Resume && !settings.switches.not_consistent {
        return Err(Error::bad_args(
            "with --all-databases, option --resume needs --not-consistent",
        )
        .hint("The snapshots of the databases ended with the run that made them."));
    }
    signal::install()?;
    let input = PrepareInput {
        settings: settings.clone(),
        source: Some(source),
        target: Some(target),
        layout: claim.layout.clone(),
        uuid: claim.marker.uuid.clone(),
        snapshot: None,
    };
    let (begun, result) = instance::run(&input, requirements, draw);
    if let Some(run) = begun {
        close(&claim.layout, run, elapsed_ms(since), &result)?;
    }
    result
}

/// Works on one database, in the work directory of the settings.
fn one(
    settings: &CloneSettings,
    (source, target): (Option<ConnInfo>, Option<ConnInfo>),
    requirements: Vec<Requirement>,
    draw: DrawProgress,
) -> Result<()> {
    let since = Instant::now();
    let layout = Layout::new(settings.dir.clone());
    let follow = match (&source, &target) {
        (Some(source), Some(target)) => along::settings_of(settings, (source, target), &layout),
        _ => None,
    };
    if let Some(follow) = &follow {
        signal::install()?;
        crate::follow::run::refuse_taken(follow)?;
        if settings.intent == Intent::Restart {
            along::clean_up(follow)?;
        }
    }
    prepare::refuse_without_files(settings, &layout)?;
    // A restart of some parts forgets these alone, and leaves the directory.
    let wipes = settings.goal == Goal::Clone && settings.intent == Intent::Restart;
    let intent = if wipes {
        Intent::Restart
    } else {
        Intent::Fresh
    };
    let claim = Claim::take(layout, intent)?;
    let found = match (&follow, settings.intent) {
        (Some(follow), Intent::Resume) => Some(along::find(follow, &claim.layout)?),
        _ => None,
    };
    let settings = &again::exact(settings);
    if let (Some(follow), Some(along::Found::Copied)) = (&follow, found) {
        return resume_follow(settings, follow, &claim);
    }
    let snapshot = match found {
        Some(along::Found::Lost) => None,
        _ => borrowed::find(settings, &claim.layout)?,
    };
    signal::install()?;
    logging::set_progress_shown(settings.switches.progress);
    let remains = Remains::of(&claim.layout);
    let bells = bells_of(&remains)?;
    let stages = Stages::new(choices(settings, snapshot.is_some()));
    let mut machine = Together::new(stages, follow.is_some(), settings.switches.fail_fast);
    let mut host = CloneHost {
        input: PrepareInput {
            settings: settings.clone(),
            source,
            target,
            layout: claim.layout.clone(),
            uuid: claim.marker.uuid.clone(),
            snapshot: snapshot.clone(),
        },
        bells,
        borrowed: snapshot.is_some(),
        snapshot,
        prepared: None,
        fresh: false,
        redo: false,
        requirements,
        draw,
        follow,
        scope: None,
    };
    let listens = host.follow.as_ref().is_some_and(|it| it.listen.is_some());
    let mut result = supervisor::run(&mut Attended::new(&mut machine, listens), &mut host);
    bells.remove();
    remains.sweep();
    if let Some(follow) = host.follow.as_ref().filter(|_| machine.is_copied()) {
        result = end_of_follow(result, &machine, follow);
    }
    if result.is_err() && host.prepared.is_some() {
        let options = how_to_go_on(settings);
        log::info!("To go on where this run stopped, repeat the command with {options}");
    }
    if let Some(prepared) = &host.prepared {
        let run = Run {
            id: prepared.run_id,
        };
        close(&claim.layout, run, elapsed_ms(since), &result)?;
    }
    result
}

/// Makes the queues of a run, written down first.
fn bells_of(remains: &Remains) -> Result<Bells> {
    let bell = || Bell::create(|key| remains.remember(key));
    Ok(Bells {
        copy: bell()?,
        index: bell()?,
        vacuum: bell()?,
    })
}

/// Options with which a run that was interrupted goes on.
fn how_to_go_on(settings: &CloneSettings) -> &'static str {
    if settings.follow.is_none() && settings.goal.wants_snapshot() {
        "--resume --not-consistent"
    } else {
        "--resume"
    }
}

/// What a run came to whose copy is whole.
fn end_of_follow(result: Result<()>, machine: &Together, follow: &FollowSettings) -> Result<()> {
    match result {
        Ok(()) => {
            let drained = machine.follow().and_then(Following::drained);
            crate::follow::run::finish(follow, drained)
        }
        Err(error) if is_good_end(&error) => {
            tell_what_is_missing(follow);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Goes on with the follow of a clone whose copy is whole.
fn resume_follow(settings: &CloneSettings, follow: &FollowSettings, claim: &Claim) -> Result<()> {
    let mut machine = Together::resumed(Stages::new(choices(settings, false)));
    let mut host = along::ResumeHost(follow.clone());
    let listens = follow.listen.is_some();
    let result = supervisor::run(&mut Attended::new(&mut machine, listens), &mut host);
    let result = end_of_follow(result, &machine, follow);
    let ledger = Ledger::open(&claim.layout.ledger())?;
    if let Some(run) = LastRun::read(&ledger)? {
        let outcome = if result.is_ok() { "done" } else { "failed" };
        Run { id: run.id }.finish(&ledger, outcome)?;
    }
    result
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(0)
}

fn connection(text: &str, env: &dyn Fn(&str) -> Option<String>, side: &str) -> Result<ConnInfo> {
    let conn = ConnInfo::parse(text, env).context(|| format!("reading option --{side}"))?;
    for secret in conn.secrets() {
        logging::register_secret(&secret);
    }
    Ok(conn)
}

fn choices(settings: &CloneSettings, foreign_snapshot: bool) -> Choices {
    let switches = &settings.switches;
    Choices {
        goal: settings.goal,
        table_jobs: settings.table_jobs,
        index_jobs: settings.index_jobs,
        blob_jobs: settings.blob_jobs,
        roles: switches.roles,
        consistent: !switches.not_consistent,
        foreign_snapshot,
        skip_vacuum: switches.skip_vacuum,
        skip_blobs: switches.skip_blobs,
        fail_fast: switches.fail_fast,
        follows: settings.follow.is_some(),
        progress: switches.progress,
    }
}

/// Time from the first unit's start to the last one's end in this run.
fn data_wall_ms(ledger: &Ledger, run: Run) -> Result<u64> {
    ledger
        .connection()
        .query_row(
            "select coalesce(max(finished_at) - min(started_at), 0) from unit where run_id = ?1",
            [run.id],
            |row| row.get::<_, i64>(0),
        )
        .map(|elapsed| u64::try_from(elapsed).unwrap_or(0))
        .map_err(|error| crate::catalog::sqlite_error("read", &error))
}

/// Writes the end of the run into the ledger; every child is reaped by now.
fn close(layout: &Layout, run: Run, elapsed_ms: u64, result: &Result<()>) -> Result<()> {
    let ledger = Ledger::open(&layout.ledger())?;
    Step::Data.add(ledger.connection(), data_wall_ms(&ledger, run)?, 0)?;
    Step::Total.add(ledger.connection(), elapsed_ms, 0)?;
    restoring::tell(&ledger, result)?;
    let outcome = match result {
        Ok(()) => "done",
        Err(error) if matches!(error.kind(), Kind::Stopped(_)) => "stopped",
        // All steps were taken, something was left undone that a person must mend.
        Err(_)
            if Run::marked(ledger.connection(), "post-data")?
                .is_some_and(|(id, _)| id == run.id) =>
        {
            "done"
        }
        Err(_) => "failed",
    };
    run.finish(&ledger, outcome)
}
