//! A copy of rows alone: the rows of tables on the target are replaced by those of the same tables on the source.
//!
//! `stages` says what follows what and is pure; `host` starts the processes; `plan` says what will be done, and
//! does nothing. Keys are removed and put back by `fkey`, rows copied by `copy`. The functions here are called
//! in the supervisor.

mod compare;
mod empty;
mod facts;
mod facts_of_run;
mod guard;
mod host;
mod list;
mod mode;
mod past;
mod pattern;
mod plan;
mod plan_keys;
mod prepare;
mod restore;
mod rows;
mod select;
mod sequences;
mod settings;
mod stages;
mod surroundings;

pub use host::{Drawing, Face};
pub use list::{ListedTable, list};
pub use pattern::Pattern;
pub use settings::{Choice, CopySettings, End, ModeChoice, Presentation, Show, Switches};

use crate::catalog::{DataPlan, Ledger, Run, Step};
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Kind, Result};
use crate::fkey::discover::Mode;
use crate::logging;
use crate::queue::Bell;
use crate::supervisor::{self, End as LeafEnd, Event, Machine, Order, Role};
use crate::sys::signal;
use crate::workdir::{Claim, Intent, Layout, Remains};
use crate::worker::Bells;
use host::{CopyHost, Purpose};
use past::Past;
use prepare::PrepareInput;
use stages::{Choices, Stages};
use std::path::Path;
use std::time::Instant;

/// Looks up environment variables, secrets among them.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<String>;

/// How a copy ended.
#[derive(Debug)]
pub enum Ended {
    /// It came as far as rows; the ledger has its figures.
    Ran(Result<()>),
    /// It did not begin.
    Refused(Error),
    /// The run to resume had finished.
    NothingToResume,
}

/// The machine of one process that makes the plan.
#[derive(Debug, Default)]
struct PlanStages {
    failure: Option<Error>,
}

impl Machine for PlanStages {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start => vec![Order::Spawn {
                role: Role::Prepare,
                number: 1,
                successor: false,
            }],
            Event::Ended(_, _, LeafEnd::Failed(error)) => {
                self.failure.get_or_insert(error);
                vec![Order::StopAll]
            }
            Event::Ended(_, _, LeafEnd::Crashed(how)) => {
                self.failure.get_or_insert(Error::internal(how));
                vec![Order::StopAll]
            }
            _ => Vec::new(),
        }
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

/// Makes the plan and changes nothing, the work directory included. The plan is there even where the run would
/// be refused, as far as it could be made. Blocks.
pub fn dry_run(settings: &CopySettings, env: Environment<'_>) -> (Option<DataPlan>, Result<()>) {
    let folder = std::env::temp_dir().join(format!("pgcopy-{}", crate::sys::proc::random_uuid()));
    let made = std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700)
        .create(&folder)
        .map_err(|error| {
            Error::bad_state(format!("could not make \"{}\": {error}", folder.display()))
                .hint("Set TMPDIR to a folder that can be written.")
        });
    if let Err(error) = made {
        return (None, Err(error));
    }
    let layout = Layout::new(folder.clone());
    let result = connections(settings, env).and_then(|(source, target)| {
        signal::install()?;
        let input = PrepareInput {
            settings: settings.clone(),
            source,
            target,
            layout: layout.clone(),
            uuid: String::new(),
        };
        make_plan(input, true)
    });
    let plan = read_plan(&layout);
    let _gone = std::fs::remove_dir_all(&folder);
    (plan, result)
}

fn read_plan(layout: &Layout) -> Option<DataPlan> {
    let text = std::fs::read_to_string(layout.plan()).ok()?;
    DataPlan::parse(&text).ok()
}

fn make_plan(input: PrepareInput, dry: bool) -> Result<()> {
    let file = input.layout.plan();
    let _old = std::fs::remove_file(&file);
    let mut host = host_of(input, Purpose::Plan { file, dry }, None, NOBODY_LOOKS);
    supervisor::run(&mut PlanStages::default(), &mut host)
}

/// The face of a plan that is being made.
const NOBODY_LOOKS: Face = Face {
    draw: |_, _| Ok(()),
    leave: |_| (),
};

fn host_of(input: PrepareInput, purpose: Purpose, bells: Option<Bells>, face: Face) -> CopyHost {
    CopyHost {
        input,
        purpose,
        bells,
        snapshot: None,
        prepared: None,
        put_back: false,
        face,
    }
}

fn connections(settings: &CopySettings, env: Environment<'_>) -> Result<(ConnInfo, ConnInfo)> {
    let parse = |text: &str, side: &str| -> Result<ConnInfo> {
        let conn = ConnInfo::parse(text, env).context(|| format!("reading option --{side}"))?;
        for secret in conn.secrets() {
            logging::register_secret(&secret);
        }
        Ok(conn)
    };
    Ok((
        parse(&settings.source.text, "source")?,
        parse(&settings.target.text, "target")?,
    ))
}

/// Asks a person; refuses by an error.
pub type Ask<'a> = &'a mut dyn FnMut(&DataPlan) -> Result<()>;

/// Copies. `ask` is given the plan. Blocks until every process has ended; what was removed is back then, unless
/// a second signal came or the error says otherwise.
pub fn copy(settings: &CopySettings, env: Environment<'_>, face: Face, ask: Ask<'_>) -> Ended {
    let since = Instant::now();
    let (claim, input, plan) = match begin_copy(settings, env, ask) {
        Ok(Some(begun)) => begun,
        Ok(None) => return Ended::NothingToResume,
        Err(error) => return Ended::Refused(error),
    };
    let mode = [Mode::Replica, Mode::Drop, Mode::Keep]
        .into_iter()
        .find(|mode| mode.name() == plan.mode)
        .unwrap_or(Mode::None);
    let choices = Choices {
        copies: true,
        jobs: settings.jobs,
        one_snapshot: !settings.switches.no_snapshot,
    };
    let ran = run_stages(
        &claim,
        input.clone(),
        (Purpose::Copy { mode }, choices),
        face,
    );
    let (result, host) = match ran {
        Ok(ran) => ran,
        Err(error) => return Ended::Refused(error),
    };
    let put_back = host.put_back;
    let Some(prepared) = host.prepared else {
        return result.map_or_else(Ended::Refused, |()| Ended::Ran(Ok(())));
    };
    let run = Run {
        id: prepared.run_id,
    };
    let result = close(&claim.layout, run, since, &result).and(result);
    let result = match result {
        Err(error) if !put_back => Err(put_back_after(&claim, input, error, face)),
        other => other,
    };
    match (result, has_begun(&claim.layout, run)) {
        (Err(error), false) => Ended::Refused(error),
        (result, _) => Ended::Ran(result),
    }
}

/// Everything up to the answer to the question; `None`: there is nothing to resume.
fn begin_copy(
    settings: &CopySettings,
    env: Environment<'_>,
    ask: Ask<'_>,
) -> Result<Option<(Claim, PrepareInput, DataPlan)>> {
    let (source, target) = connections(settings, env)?;
    let claim = Claim::take(Layout::new(settings.dir.clone()), Intent::Resume)?;
    warn_of_memory(&claim.layout);
    if settings.intent == Intent::Resume && past_of(&claim.layout)? == Past::Finished {
        return Ok(None);
    }
    signal::install()?;
    let input = PrepareInput {
        settings: settings.clone(),
        source,
        target,
        layout: claim.layout.clone(),
        uuid: claim.marker.uuid.clone(),
    };
    make_plan(input.clone(), false)?;
    let plan = read_plan(&claim.layout)
        .ok_or_else(|| Error::internal("the plan was made and cannot be read"))?;
    ask(&plan)?;
    Ok(Some((claim, input, plan)))
}

/// Whether a run came as far as rows. Errors of reading count as yes: figures are shown rather than hidden.
fn has_begun(layout: &Layout, run: Run) -> bool {
    Ledger::open(&layout.ledger())
        .and_then(|ledger| Run::marked(ledger.connection(), guard::READY))
        .map_or(true, |mark| mark.is_some_and(|(of, _)| of == run.id))
}

/// Puts back what an earlier run took away; with `empty`, over tables that are emptied once the question is
/// answered. Blocks. Returns what to tell.
pub fn restore(
    settings: &CopySettings,
    env: Environment<'_>,
    face: Face,
    empty: Option<Ask<'_>>,
) -> Result<String> {
    let layout = Layout::new(settings.dir.clone());
    if !layout.ledger().exists() {
        return Ok(nothing_to_restore(settings));
    }
    let target = ConnInfo::parse(&settings.target.text, env)
        .context(|| "reading option --target".to_owned())?;
    for secret in target.secrets() {
        logging::register_secret(&secret);
    }
    let claim = Claim::take(layout, Intent::Resume)?;
    let empties = empty.is_some();
    match empty {
        Some(ask) => {
            let ledger = Ledger::open(&claim.layout.ledger())?;
            let plan = past::to_empty(&ledger)?;
            drop(ledger);
            signal::install()?;
            ask(&plan)?;
        }
        None if open_count(&claim.layout)? == 0 => {
            // A copy that had nothing to put back is settled by this, too.
            let ledger = Ledger::open(&claim.layout.ledger())?;
            past::settle(&ledger, &settings.cmdline)?;
            return Ok(nothing_to_restore(settings));
        }
        None => signal::install()?,
    }
    let input = PrepareInput {
        settings: settings.clone(),
        source: target.clone(),
        target,
        layout: claim.layout.clone(),
        uuid: claim.marker.uuid.clone(),
    };
    restore_with(&claim, input, empties, face)
        .map(|()| "All foreign keys and triggers are back as they were\n".to_owned())
}

/// Says where nothing was found to put back, and where something is: whoever was not told the directory of the
/// copy must not go away in the belief that all is well.
fn nothing_to_restore(settings: &CopySettings) -> String {
    let dir = settings.dir.display();
    let others = past::with_open_keys(settings.neighbourhood.as_deref(), &settings.dir);
    let mut text = if settings.dir.exists() {
        format!("There is nothing to restore in \"{dir}\"\n")
    } else {
        format!("There is nothing to restore: \"{dir}\" does not exist\n")
    };
    text.push_str("Keys that were removed with another work directory are put back with --dir\n");
    for (path, target) in others {
        let line = format!(
            "Removed keys are on record in \"{}\", of target {target}: pgcopy restore-constraints --dir {}\n",
            path.display(),
            path.display()
        );
        text.push_str(&line);
    }
    text
}

/// The statements that would put everything back, or a comment on why there are none.
pub fn restore_script(settings: &CopySettings) -> Result<String> {
    let layout = Layout::new(settings.dir.clone());
    let nothing = || {
        let text = nothing_to_restore(settings);
        format!("-- {}\n", text.trim_end().replace('\n', "\n-- "))
    };
    if !layout.ledger().exists() {
        return Ok(nothing());
    }
    let ledger = Ledger::open_read_only(&layout.ledger())?;
    let entries = crate::fkey::journal::open_entries(ledger.connection())?;
    let target = crate::fkey::journal::target_of_open(ledger.connection())?.unwrap_or_default();
    if entries.is_empty() {
        return Ok(nothing());
    }
    Ok(crate::fkey::journal::script(&entries, &target))
}

fn restore_with(claim: &Claim, input: PrepareInput, empties: bool, face: Face) -> Result<()> {
    let since = Instant::now();
    let choices = Choices {
        copies: false,
        jobs: input.settings.jobs,
        one_snapshot: false,
    };
    let (result, host) = run_stages(claim, input, (Purpose::Restore { empties }, choices), face)?;
    if let Some(prepared) = &host.prepared {
        let run = Run {
            id: prepared.run_id,
        };
        close(&claim.layout, run, since, &result)?;
    }
    result
}

/// After a failure or a first signal: keys and triggers come back before the program ends. Returns the error
/// that ends it.
fn put_back_after(claim: &Claim, input: PrepareInput, error: Error, face: Face) -> Error {
    let open = open_count(&claim.layout).unwrap_or(0);
    if open == 0 {
        return error;
    }
    let how = format!(
        "\"pgcopy copy --resume\", \"pgcopy restore-constraints\" or the file \"{}\"",
        claim.layout.restore_script().display()
    );
    if signal::count() > 1 {
        log::warn!("{open} foreign keys and triggers stay removed; they come back by {how}");
        return error;
    }
    if matches!(error.kind(), Kind::Stopped(_)) {
        log::warn!(
            "Putting back {open} foreign keys and triggers; a second signal leaves at once, and then they come \
             back by {how}"
        );
        signal::rearm();
    } else {
        log::warn!("Putting back {open} foreign keys and triggers after the failure");
    }
    match restore_with(claim, input, false, face) {
        Ok(()) => log::info!("All foreign keys and triggers are back as they were"),
        Err(second) => {
            logging::report_error(&second, false);
            log::warn!("What is not back comes back by {how}");
        }
    }
    error
}

/// Runs the machine with queues of its own.
fn run_stages(
    claim: &Claim,
    input: PrepareInput,
    (purpose, choices): (Purpose, Choices),
    face: Face,
) -> Result<(Result<()>, CopyHost)> {
    let remains = Remains::of(&claim.layout);
    let bell = || Bell::create(|key| remains.remember(key));
    let bells = Bells {
        copy: bell()?,
        index: bell()?,
        vacuum: bell()?,
    };
    logging::set_terminal_muted(input.settings.presentation.show == Show::Interactive);
    let mut host = host_of(input, purpose, Some(bells), face);
    let result = supervisor::run(&mut Stages::new(choices), &mut host);
    (face.leave)(&host.drawing());
    logging::set_terminal_muted(false);
    bells.remove();
    remains.sweep();
    Ok((result, host))
}

fn past_of(layout: &Layout) -> Result<Past> {
    if !layout.ledger().exists() {
        return Ok(Past::None);
    }
    past::read(&Ledger::open(&layout.ledger())?)
}

fn open_count(layout: &Layout) -> Result<usize> {
    past::open_keys(&Ledger::open(&layout.ledger())?)
}

/// Writes the end of the run into the ledger; every child is reaped by now.
fn close(layout: &Layout, run: Run, since: Instant, result: &Result<()>) -> Result<()> {
    let ledger = Ledger::open(&layout.ledger())?;
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::Total.add(ledger.connection(), elapsed_ms, 0)?;
    let outcome = match result {
        Ok(()) => "done",
        // All rows are copied, or all was tried that could be; a key does not hold.
        Err(error) if error.kind() == Kind::Differences => "done",
        Err(error) if matches!(error.kind(), Kind::Stopped(_)) => "stopped",
        Err(_) => "failed",
    };
    run.finish(&ledger, outcome)
}

/// The record of removed keys must outlive a reboot.
fn warn_of_memory(layout: &Layout) {
    let top = std::path::absolute(layout.top()).unwrap_or_default();
    let is_memory = ["/dev/shm", "/run"]
        .iter()
        .any(|folder| top.starts_with(Path::new(folder)));
    if is_memory {
        log::warn!(
            "Work directory \"{}\" is in memory: a reboot would lose the record of removed foreign keys",
            top.display()
        );
    }
}
