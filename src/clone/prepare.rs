//! The prepare process: looks at both sides and at the work directory, and refuses what cannot go
//! well before anything is changed on the target.
//!
//! Runs first of all, in a leaf. Reads both servers; writes the setup and the run into the ledger;
//! ends server processes that an interrupted run has left. A command that does without a side does
//! not connect to it, and takes what it must know of the source from the ledger.

use super::begun;
use super::facts::{Prepared, Sides, SourceFacts};
use super::filters;
use super::goal::{Goal, Part};
use super::recorded::{self, comparable, setup_of};
use super::settings::CloneSettings;
use super::survey;
use crate::catalog::{Activity, Ledger, Run, Setup, sqlite_error, unit};
use crate::check::{self, Findings};
pub(super) use crate::check::{Connected, connect};
use crate::conninfo::ConnInfo;
use crate::dump::{Installed, SchemaDir, SearchPlaces, Tools};
use crate::error::{Error, Kind, Result};
use crate::filter::{LeftOut, Selection};
use crate::pg::Token;
use crate::supervisor::{Leaf, Report};
use crate::units::Side;
use crate::workdir::{Intent, Layout};
use crate::worker;
use std::path::PathBuf;
use std::thread::JoinHandle;

/// Mark whose detail is a [`SourceFacts`].
const SOURCE_FACTS: &str = "source-facts";

/// What the prepare process is given.
#[derive(Clone)]
pub(super) struct PrepareInput {
    pub(super) settings: CloneSettings,
    /// `None`: the command does without it.
    pub(super) source: Option<ConnInfo>,
    /// `None`: the command does without it.
    pub(super) target: Option<ConnInfo>,
    pub(super) layout: Layout,
    pub(super) uuid: String,
    /// A snapshot that somebody else holds.
    pub(super) snapshot: Option<String>,
}

/// Runs the prepare process. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PrepareInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    let stored = Setup::read(&ledger)?;
    let settings = adopted(&input.settings, stored.as_ref());
    let goal = settings.goal;
    begun::refuse_used(&ledger, &settings)?;
    refuse_unfinished_files(&ledger, &settings, &input.layout)?;
    let Reached {
        mut source,
        mut target,
        installed,
    } = reach(leaf.role.label(), input, goal)?;
    let _registered: Vec<_> = [&source, &target]
        .into_iter()
        .flatten()
        .map(|side| canceller.register(Token::from_session(&side.session)))
        .collect();
    announce(input, goal);
    let setup = setup_of(&settings, input, stored.as_ref(), (&source, &target));
    if let Some(before) = &stored {
        comparable(&ledger, before, (&settings, &setup))?.check_resumed(&setup)?;
    }
    if goal.has(Part::TableData) || goal.has(Part::Dump) {
        recorded::check_followed(&ledger, &setup)?;
    }
    let Looked {
        mut findings,
        known,
        selection,
    } = look(&ledger, &settings, (&mut source, &mut target))?;
    if settings.filters.is_some() && !selection.explained.is_empty() {
        filters::say(&selection);
    }
    let tools = findings.take(tools_of(
        installed.as_ref(),
        known.as_ref(),
        target.as_ref(),
    ));
    let reads = reads_source(&ledger, goal)?;
    if let (Some(snapshot), Some(source), true) = (&input.snapshot, &mut source, reads) {
        findings.take(probe(source, snapshot, settings.intent));
    }
    findings.take(refuse_occupied(
        &ledger,
        &settings,
        (&mut source, &mut target),
        &selection.left_out,
    ));
    let sides = (known.as_ref(), &mut target);
    findings.take(refuse_hypertables(&ledger, &settings, sides));
    findings.refuse()?;
    let tools = tools.flatten();
    if stored.is_some() {
        let left = Activity::all_backends(&ledger)?;
        let links = (
            source.as_ref().map(|side| &side.link),
            target.as_ref().map(|side| &side.link),
        );
        worker::end_backends(leaf, links, &left)?;
    }
    let learned = known.as_ref().filter(|_| source.is_some());
    let run = begin_run(&mut ledger, &settings, (&setup, learned))?;
    ledger.leave_log()?;
    let pin = |side: &Option<Connected>| side.as_ref().map(|side| side.link.pin.clone());
    let pins = (pin(&source), pin(&target));
    let sides = Sides {
        source: known.as_ref().map(|known| known.server.clone()),
        target: target.map(|target| target.facts),
        tools,
    };
    let mut prepared = Prepared::new(run.id, sides, pins);
    prepared.options = setup.options;
    prepared.relations = known.map_or(0, |known| known.relations);
    let facts = serde_json::to_value(&prepared)
        .map_err(|error| Error::internal(format!("could not report facts: {error}")))?;
    let reads = reads || (goal.fetches() && settings.intent == Intent::Restart);
    leaf.report(&Report::Prepared { facts, reads });
    Ok(())
}

/// What a run reaches out for first.
struct Reached {
    source: Option<Connected>,
    target: Option<Connected>,
    /// `None`: the command runs no tools.
    installed: Option<Installed>,
}

/// Connects to both sides and looks for PostgreSQL's tools, all at once. A source that cannot be reached is
/// told without waiting for the others: their threads end with this process.
fn reach(title: &'static str, input: &PrepareInput, goal: Goal) -> Result<Reached> {
    let runs_tools = goal.needs_archive() || matches!(goal, Goal::CopyRoles | Goal::DumpRoles);
    let installed =
        beside(runs_tools.then_some(|| Ok(Installed::find(&SearchPlaces::from_environment()))))?;
    let target = input.target.clone();
    let target = beside(target.map(|conn| move || connect(title, &conn, Side::Target)))?;
    let source = input.source.as_ref();
    let source = source.map(|conn| connect(title, conn, Side::Source));
    Ok(Reached {
        source: source.transpose()?,
        target: joined(target)?,
        installed: joined(installed)?,
    })
}

/// Does something, if there is anything to do, in a thread.
fn beside<T: Send + 'static>(
    work: Option<impl FnOnce() -> Result<T> + Send + 'static>,
) -> Result<Option<JoinHandle<Result<T>>>> {
    let thread = work.map(|work| std::thread::Builder::new().spawn(work));
    thread
        .transpose()
        .map_err(|error| Error::internal(format!("could not start a thread: {error}")))
}

/// What the thread found; waits for it.
fn joined<T>(thread: Option<JoinHandle<Result<T>>>) -> Result<Option<T>> {
    let died = |_| Err(Error::internal("a thread that reads died"));
    let result = thread.map(|thread| thread.join().unwrap_or_else(died));
    result.transpose()
}

/// Writes the setup and the run down, and forgets what a restart is to do again.
fn begin_run(
    ledger: &mut Ledger,
    settings: &CloneSettings,
    (setup, learned): (&Setup, Option<&SourceFacts>),
) -> Result<Run> {
    let goal = settings.goal;
    let (run, again) = ledger.write_durably(|tx| {
        setup.write(tx)?;
        Run::log_command(tx, &settings.cmdline)?;
        Activity::clear(tx)?;
        unit::reset_for_run(tx)?;
        let run = Run::begin(tx, goal.command(), !settings.switches.not_consistent)?;
        let restarts = goal != Goal::Clone && settings.intent == Intent::Restart;
        let again = if restarts {
            begun::forget(tx, run, goal)?
        } else {
            Vec::new()
        };
        if let Some(known) = learned {
            run.mark(tx, SOURCE_FACTS, &to_json(known)?)?;
        }
        Ok((run, again))
    })?;
    if !again.is_empty() {
        log::warn!("To be done again after this step: {}", again.join(", "));
    }
    Ok(run)
}

/// The settings with what earlier commands of the same work directory were told.
fn adopted(settings: &CloneSettings, stored: Option<&Setup>) -> CloneSettings {
    let mut settings = settings.clone();
    if settings.goal != Goal::Clone
        && let Some(stored) = stored
    {
        for name in settings.adopt(&stored.options) {
            log::info!("Option --{name} holds, as an earlier command here was given it");
        }
    }
    settings
}

fn announce(input: &PrepareInput, goal: Goal) {
    let (from, into) = match goal {
        _ if goal.is_dump() => ("Dumping", ""),
        _ if goal.is_restore() => ("Restoring", "Restoring"),
        _ => ("Copying", "Copying"),
    };
    if let Some(source) = &input.source {
        log::info!("[SOURCE] {from} database from \"{}\"", source.safe_uri());
    }
    if let Some(target) = &input.target {
        log::info!("[TARGET] {into} database into \"{}\"", target.safe_uri());
    }
}

fn to_json(known: &SourceFacts) -> Result<String> {
    serde_json::to_string(known)
        .map_err(|error| Error::internal(format!("could not write facts: {error}")))
}

/// What a restore restores: the file, and the command that makes it.
fn file_to_restore(goal: Goal, layout: &Layout) -> (PathBuf, &'static str) {
    let dir = SchemaDir::new(layout.schema());
    if goal == Goal::RestoreRoles {
        (dir.roles(), "pgcopydb dump roles")
    } else {
        (dir.archive(), "pgcopydb dump schema")
    }
}

fn no_file((path, command): (PathBuf, &str), why: &str) -> Error {
    Error::bad_state(format!("file \"{}\" {why}", path.display())).hint(format!(
        "Run \"{command}\" with the same --dir first, or give its directory with --dir."
    ))
}

/// Refuses a restore without what it restores, before a work directory is made for it.
pub(super) fn refuse_without_files(settings: &CloneSettings, layout: &Layout) -> Result<()> {
    let file = file_to_restore(settings.goal, layout);
    if !settings.goal.is_restore() || file.0.exists() {
        return Ok(());
    }
    Err(no_file(file, "does not exist"))
}

/// Refuses a restore of what was not dumped to the end.
fn refuse_unfinished_files(
    ledger: &Ledger,
    settings: &CloneSettings,
    layout: &Layout,
) -> Result<()> {
    let goal = settings.goal;
    let is_dumped = !goal.is_restore()
        || goal == Goal::RestoreRoles
        || Run::marked(ledger.connection(), "dumped")?.is_some();
    if is_dumped {
        return Ok(());
    }
    let file = file_to_restore(goal, layout);
    Err(no_file(file, "was not finished, or not made by pgcopydb"))
}

/// What was found out about the sides that are connected.
struct Looked {
    findings: Findings,
    /// What is known of the source; nothing, when the sides cannot work together at all.
    known: Option<SourceFacts>,
    /// What filters come to.
    selection: Selection,
}

/// What filters leave out, once a run has found it out in its snapshot.
fn known_left_out(ledger: &Ledger, settings: &CloneSettings) -> Result<Option<LeftOut>> {
    let fetches_anew = settings.intent == Intent::Restart && settings.goal.has(Part::Dump);
    match Run::marked(ledger.connection(), "fetched")? {
        Some(_) if !fetches_anew => LeftOut::of_ledger(ledger.connection()).map(Some),
        _ => Ok(None),
    }
}

/// Looks at what is connected. Errors: a query that failed, or what the filters file says.
fn look(
    ledger: &Ledger,
    settings: &CloneSettings,
    (source, target): (&mut Option<Connected>, &mut Option<Connected>),
) -> Result<Looked> {
    let goal = settings.goal;
    let left_out = known_left_out(ledger, settings)?;
    let stored = Run::marked(ledger.connection(), SOURCE_FACTS)?
        .and_then(|(_, detail)| serde_json::from_str::<SourceFacts>(&detail).ok());
    if let (Some(source), Some(target), true) =
        (&mut *source, &mut *target, goal.has(Part::PreData))
    {
        let sides = (&mut *source, target);
        let (mut findings, found, selection) =
            survey::look_at_both(settings, sides, None, left_out)?;
        filters::warn(&selection, &mut findings);
        let known = found.map(|found| SourceFacts {
            server: source.facts.clone(),
            relations: found.locked_relations,
            has_attver: found.has_attver,
            has_timescaledb: found.hooks.has_timescaledb,
        });
        return Ok(Looked {
            findings,
            known,
            selection,
        });
    }
    let mut findings = Findings::default();
    let selection = match source {
        Some(source) => survey::selection(settings, source, target.as_mut(), left_out)?,
        None => Selection::default(),
    };
    filters::warn(&selection, &mut findings);
    let choices = survey::choices(settings, selection.left_out.clone());
    let now = source.as_ref().map(|side| side.facts.clone());
    let from = now.or_else(|| Some(stored.as_ref()?.server.clone()));
    if let (Some(from), Some(target)) = (&from, &*target) {
        let together = check::versions(from, &target.facts, &mut findings);
        findings.take(together);
    }
    if let (Some(source), Some(target)) = (&mut *source, &mut *target) {
        findings.take(check::not_the_same_database(
            (&mut source.session, &source.facts),
            (&mut target.session, &target.facts),
        ));
        if goal.has(Part::Blobs) {
            let (from, to) = (&mut source.session, &mut target.session);
            findings.take(check::refuse_missing_roles(from, to, &choices));
        }
    }
    for side in [&*source, &*target].into_iter().flatten() {
        if let Some(warning) = &side.warning {
            findings.warning(warning.clone());
        }
    }
    if let Some(target) = target
        && !goal.is_roles()
    {
        check::look_at_target(&target.facts, &choices, &mut findings);
    }
    let known = match source {
        Some(source) if goal.fetches() => {
            let (session, facts) = (&mut source.session, &source.facts);
            let found = check::look_at_source(session, facts, &choices, &mut findings)?;
            Some(SourceFacts {
                server: source.facts.clone(),
                relations: found.locked_relations,
                has_attver: found.has_attver,
                has_timescaledb: false,
            })
        }
        Some(source) => Some(SourceFacts {
            server: source.facts.clone(),
            relations: stored.as_ref().map_or(0, |stored| stored.relations),
            has_attver: stored.as_ref().is_some_and(|stored| stored.has_attver),
            has_timescaledb: stored.is_some_and(|stored| stored.has_timescaledb),
        }),
        None => stored,
    };
    Ok(Looked {
        findings,
        known,
        selection,
    })
}

/// PostgreSQL's tools, when the command runs any.
fn tools_of(
    installed: Option<&Installed>,
    known: Option<&SourceFacts>,
    target: Option<&Connected>,
) -> Result<Option<Tools>> {
    let (Some(installed), Some(known)) = (installed, known) else {
        return Ok(None);
    };
    let (from, has_attver) = (known.server.version, known.has_attver);
    let tools = match target {
        Some(target) => installed.choose(from, target.facts.version, has_attver)?,
        None => installed.oldest_that_fit(from, has_attver)?,
    };
    log::info!(
        "Using pg_dump and pg_restore {} at \"{}\"",
        tools.version,
        tools.dir.display()
    );
    Ok(Some(tools))
}

/// True when something of the source is read that belongs into one snapshot.
fn reads_source(ledger: &Ledger, goal: Goal) -> Result<bool> {
    let lacks = |mark: &str| Ok(Run::marked(ledger.connection(), mark)?.is_none());
    let reads_definitions =
        goal.fetches() && (lacks("fetched")? || (goal.needs_archive() && lacks("dumped")?));
    Ok(goal == Goal::Clone || goal.reads_rows() || reads_definitions)
}

/// Refuses a snapshot that cannot be read with, before anything is begun.
fn probe(source: &mut Connected, snapshot: &str, intent: Intent) -> Result<()> {
    let session = &mut source.session;
    session.batch_execute("begin isolation level repeatable read, read only")?;
    let adopted = crate::snapshot::adopt(session, snapshot);
    session.batch_execute("rollback")?;
    adopted.map_err(|error| match intent {
        Intent::Resume if error.is_snapshot_lost() => error.with_kind(Kind::BadArgs),
        _ => error,
    })
}

/// Refuses to overwrite or drop on the target what the user did not speak of.
fn refuse_occupied(
    ledger: &Ledger,
    settings: &CloneSettings,
    (source, target): (&mut Option<Connected>, &mut Option<Connected>),
    left_out: &LeftOut,
) -> Result<()> {
    let (goal, switches) = (settings.goal, &settings.switches);
    let Some(target) = target else {
        return Ok(());
    };
    let connection = ledger.connection();
    let restarts = settings.intent == Intent::Restart;
    // Once the restore has begun, no table is dropped any more.
    let begun = Run::marked(connection, "pre-data-begun")?.is_some() && !restarts;
    if goal.has(Part::PreData) && !begun {
        match source {
            Some(source) if switches.drop_if_exists => {
                check::nothing_else_is_dropped(
                    (&mut source.session, left_out),
                    &mut target.session,
                )?;
            }
            Some(source) => {
                check::no_relation_clashes((&mut source.session, left_out), &mut target.session)?;
            }
            None if switches.drop_if_exists => {
                return Err(Error::bad_args("option --drop-if-exists needs --source")
                    .hint("Give the source, so that nothing is dropped which it does not have."));
            }
            None => check::refuse_relations(|| relations(ledger), &mut target.session)?,
        }
    }
    let is_first = begun::first_run(connection, Part::Blobs)?.is_none();
    if let Some(source) = source
        && goal.has(Part::Blobs)
        && is_first
        && !switches.skip_blobs
        && !switches.drop_if_exists
    {
        check::no_large_object_clashes(&mut source.session, &mut target.session)?;
    }
    Ok(())
}

/// Refuses hypertables that the target has before this work directory has brought any.
fn refuse_hypertables(
    ledger: &Ledger,
    settings: &CloneSettings,
    (known, target): (Option<&SourceFacts>, &mut Option<Connected>),
) -> Result<()> {
    let (Some(known), Some(target)) = (known, target) else {
        return Ok(());
    };
    if !known.has_timescaledb {
        return Ok(());
    }
    let restarts = settings.intent == Intent::Restart;
    let begun = |part| Ok::<_, Error>(begun::first_run(ledger.connection(), part)?.is_some());
    let is_first = !begun(Part::Extensions)? && (restarts || !begun(Part::PreData)?);
    if is_first && settings.goal.has(Part::PreData) && !settings.switches.skip_extensions {
        check::refuse_hypertables(&mut target.session)?;
    }
    Ok(())
}

/// Tables and sequences of the ledger, raw names.
fn relations(ledger: &Ledger) -> Result<Vec<(String, String)>> {
    let read = || -> rusqlite::Result<Vec<(String, String)>> {
        ledger
            .connection()
            .prepare(
                "select nspname, relname from s_table where is_extension = 0
                 union select nspname, relname from s_seq",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}
