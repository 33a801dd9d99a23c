//! A copy worker: claims tables and parts, copies them, marks them.
//!
//! Runs in copy worker processes. Holds one session on each side; both are thrown away after any
//! failure, as a session in the middle of a COPY cannot be trusted with the next table.

use super::insert;
use super::proof::{self, Verdict};
use super::read::{self, Standing};
use super::task::Task;
use super::write::{self, Moved};
use crate::catalog::unit::{self, Done, Kind, Unit};
use crate::catalog::{Run, Step};
use crate::error::{Context, Error, Result};
use crate::pg::{Profile, Token, WireSession, at_once};
use crate::supervisor::Leaf;
use crate::units::{pretty_bytes, pretty_count, pretty_ms};
use crate::wire;
use crate::worker::{self, Means, Worker};
use std::time::Instant;

/// What a copy worker does, first things first, and what makes such work.
pub const KINDS: (&[Kind], &[Kind]) = (&[Kind::Truncate, Kind::Copy], &[]);
/// Most small tables in one transaction.
const GROUP_MAX: u32 = 50;
/// Time between two notes of bytes in the ledger.
const NOTE_EVERY_MS: u128 = 1000;

/// What a copy worker needs beyond what every worker gets.
#[derive(Clone, Debug)]
pub struct CopyFacts {
    /// The tables were created by this run's own pre-data step.
    pub fresh: bool,
    /// Statements for each session on the target; may be empty.
    pub target_settings: String,
    /// Rows in one INSERT; `None`: COPY.
    pub insert: Option<u32>,
}

impl CopyFacts {
    /// Those of a clone.
    pub fn of_clone(fresh: bool) -> Self {
        Self {
            fresh,
            target_settings: String::new(),
            insert: None,
        }
    }
}

/// Sessions on both sides, with their registrations at the canceller.
struct Sessions {
    source: wire::Session,
    target: wire::Session,
    _registered: (crate::pg::Registration, crate::pg::Registration),
}

/// Runs a copy worker until its stage is over. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means, facts: &CopyFacts) -> Result<()> {
    let mut worker = Worker::start(leaf, means, KINDS.0, KINDS.1)?;
    let mut sessions = None;
    while let Some(unit) = worker.next_unit()? {
        let group = group_of(&mut worker, unit)?;
        let result = match group.first().map(|unit| unit.kind) {
            Some(Kind::Truncate) => truncate(&mut worker, &mut sessions, facts, &group[0]),
            _ => copy_group(&mut worker, &mut sessions, facts, &group),
        };
        if let Err(error) = result {
            sessions = None;
            worker.failed(&group, error)?;
        }
    }
    Ok(())
}

/// Adds more small tables to a small table that has never been tried.
fn group_of(worker: &mut Worker<'_, '_>, unit: Unit) -> Result<Vec<Unit>> {
    if unit.kind != Kind::Copy || Task::read(&worker.ledger, &unit)?.leaves_progress() {
        return Ok(vec![unit]);
    }
    worker.group(unit, GROUP_MAX)
}

/// Opens what is missing. The backends are written down before they do anything.
fn connect<'s>(
    worker: &mut Worker<'_, '_>,
    sessions: &'s mut Option<Sessions>,
    facts: &CopyFacts,
) -> Result<&'s mut Sessions> {
    if sessions.is_none() {
        let means = worker.means;
        let title = worker.leaf.role.label();
        let (source, mut target) = connect_both(means, title)?;
        if !facts.target_settings.is_empty() {
            target.session.simple(&facts.target_settings)?;
        }
        worker::register_backends(
            &worker.ledger,
            &worker.activity,
            Some(source.backend_id().clone()),
            Some(target.backend_id().clone()),
        )?;
        let registered = (
            worker
                .canceller
                .register(Token::Wire(source.session.cancel_token()?)),
            worker
                .canceller
                .register(Token::Wire(target.session.cancel_token()?)),
        );
        *sessions = Some(Sessions {
            source: source.session,
            target: target.session,
            _registered: registered,
        });
    }
    sessions
        .as_mut()
        .ok_or_else(|| Error::internal("sessions vanished"))
}

/// Connects to both sides at once.
fn connect_both(means: &Means, title: &str) -> Result<(WireSession, WireSession)> {
    let (from, to) = (means.source()?, means.target()?);
    let encoding = || means.encoding.clone();
    let read = Profile::SourceCopy {
        encoding: encoding(),
    };
    let write = Profile::TargetCopy {
        encoding: encoding(),
    };
    let (source, target) = at_once(|| from.wire(title, &read), || to.wire(title, &write));
    Ok((source?, target?))
}

/// Empties a table before its parts are copied again: written down first, as it destroys.
fn truncate(
    worker: &mut Worker<'_, '_>,
    sessions: &mut Option<Sessions>,
    facts: &CopyFacts,
    unit: &Unit,
) -> Result<()> {
    let since = Instant::now();
    let task = Task::read(&worker.ledger, unit)?;
    let run = worker.means.run;
    worker.ledger.write_durably(|tx| journal(tx, run, unit))?;
    let target = &mut connect(worker, sessions, facts)?.target;
    target
        .simple(&task.truncate_sql())
        .context(|| format!("emptying table {} before it is copied again", task.qname))?;
    log::info!(
        "Emptied table {} on the target, its parts are copied again",
        task.qname
    );
    worker.finish(Step::Copy, &[(unit, done(since, Moved::default(), None))])
}

fn journal(connection: &rusqlite::Connection, run: Run, unit: &Unit) -> Result<()> {
    connection
        .execute(
            "insert or ignore into journal (at, run_id, action, table_oid, plan)
             values (?1, ?2, 'truncate', ?3, ?4)",
            rusqlite::params![
                crate::sys::clock::epoch_ms(),
                run.id,
                unit.table_oid,
                unit.plan
            ],
        )
        .map(|_| ())
        .map_err(|error| crate::catalog::sqlite_error("write", &error))
}

fn done(since: Instant, moved: Moved, snapshot: Option<String>) -> Done {
    Done {
        bytes: moved.bytes,
        rows: moved.rows,
        elapsed_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(0),
        snapshot,
    }
}

/// Copies one unit, or a group of small tables, in one transaction on each side.
fn copy_group(
    worker: &mut Worker<'_, '_>,
    sessions: &mut Option<Sessions>,
    facts: &CopyFacts,
    group: &[Unit],
) -> Result<()> {
    let tasks: Vec<Task> = group
        .iter()
        .map(|unit| Task::read(&worker.ledger, unit))
        .collect::<Result<_>>()?;
    let first = &tasks[0];
    worker.begin(&first.title(), Some(first.unit.id))?;
    if first.is_in_doubt() && is_settled(worker, sessions, facts, first)? {
        return Ok(());
    }
    let means = worker.means;
    let snapshot = (means.consistent || first.unit.object != 0)
        .then_some(means.snapshot.as_deref())
        .flatten();
    let open = connect(worker, sessions, facts)?;
    if first.leaves_progress()
        && first.unit.attempts > 1
        && let Some(rows) = write::already_there(&mut open.target, &means.uuid, first)?
    {
        return finish_there(worker, first, rows);
    }
    read::begin(&mut open.source, snapshot, &first.title())?;
    let standings = read::lock(&mut open.source, &tasks)
        .context(|| format!("locking table {} on the source", first.qname))?;
    if let Some(task) = special_case(&tasks, &standings)? {
        open_end(sessions)?;
        return task.settle(worker);
    }
    let open = connect(worker, sessions, facts)?;
    let results = copy_all(worker, open, facts, (&tasks, &standings))?;
    let units: Vec<(&Unit, Done)> = tasks
        .iter()
        .map(|task| &task.unit)
        .zip(results.iter().cloned())
        .collect();
    let snapshot = snapshot.map(str::to_owned);
    let units: Vec<(&Unit, Done)> = units
        .into_iter()
        .map(|(unit, done)| {
            (
                unit,
                Done {
                    snapshot: snapshot.clone(),
                    ..done
                },
            )
        })
        .collect();
    worker.finish(Step::Copy, &units)?;
    for (task, done) in tasks.iter().zip(&results) {
        log_copied(task, done);
    }
    Ok(())
}

/// Marks a part that an earlier try has brought.
fn finish_there(worker: &mut Worker<'_, '_>, task: &Task, rows: u64) -> Result<()> {
    log::info!(
        "{} is on the target already, by its own record ({rows} rows)",
        task.title()
    );
    let moved = Moved { rows, bytes: 0 };
    worker.finish(
        Step::Copy,
        &[(&task.unit, done(Instant::now(), moved, None))],
    )
}

/// Looks what became of an earlier try of a part; false: it did not take place, and the part is to be copied.
fn is_settled(
    worker: &mut Worker<'_, '_>,
    sessions: &mut Option<Sessions>,
    facts: &CopyFacts,
    task: &Task,
) -> Result<bool> {
    let open = connect(worker, sessions, facts)?;
    match proof::ask(&worker.ledger, &mut open.target, task)? {
        Verdict::NotThere => return Ok(false),
        Verdict::There(rows) => finish_there(worker, task, rows)?,
        Verdict::Unknown => {
            let why = "a part of it was tried before, and may be there";
            Special::Replan(task.unit.clone(), task.qname.clone(), why).settle(worker)?;
        }
    }
    Ok(true)
}

fn log_copied(task: &Task, done: &Done) {
    log::info!(
        "COPY {}: {} rows, {} in {}",
        task.title().trim_start_matches("copy "),
        pretty_count(done.rows),
        pretty_bytes(done.bytes),
        pretty_ms(done.elapsed_ms).trim()
    );
}

/// A unit that is not simply copied.
enum Special {
    Dropped(Unit, String),
    Replan(Unit, String, &'static str),
}

/// Finds out whether the (single) table has to be skipped or planned anew. A group with such a table
/// fails as a whole, and its members are tried again one by one.
fn special_case(tasks: &[Task], standings: &[Standing]) -> Result<Option<Special>> {
    let is_alone = tasks.len() == 1;
    for (task, standing) in tasks.iter().zip(standings) {
        let unit = task.unit.clone();
        match standing {
            Standing::Same => {}
            Standing::Rewritten if task.condition.is_none() => {}
            _ if !is_alone => {
                return Err(Error::new(
                    crate::error::Kind::Source,
                    format!(
                        "table {} changed on the source after the run began",
                        task.qname
                    ),
                ));
            }
            Standing::Dropped => return Ok(Some(Special::Dropped(unit, task.qname.clone()))),
            Standing::Rewritten => {
                let why = "it was rewritten on the source between two of its parts";
                return Ok(Some(Special::Replan(unit, task.qname.clone(), why)));
            }
        }
    }
    Ok(None)
}

impl Special {
    fn settle(self, worker: &mut Worker<'_, '_>) -> Result<()> {
        match self {
            Self::Dropped(unit, qname) => {
                let why = format!(
                    "Table {qname} was dropped on the source after the run began: its rows are not copied"
                );
                worker.skip(&unit, "dropped on the source", &why)
            }
            Self::Replan(unit, qname, why) => {
                log::warn!("Table {qname} is copied anew, as a whole: {why}");
                let ready = worker.ledger.write(|tx| unit::replan_as_whole(tx, &unit))?;
                worker.means.bells.ring(&ready);
                Ok(())
            }
        }
    }
}

/// Ends the source's transaction without a COPY.
fn open_end(sessions: &mut Option<Sessions>) -> Result<()> {
    if let Some(open) = sessions {
        open.source.simple("rollback")?;
    }
    Ok(())
}

/// The COPYs of a group, then COMMIT on the target, then on the source.
fn copy_all(
    worker: &mut Worker<'_, '_>,
    open: &mut Sessions,
    facts: &CopyFacts,
    (tasks, standings): (&[Task], &[Standing]),
) -> Result<Vec<Done>> {
    let means = worker.means;
    let many =
        tasks.len() > 1 && facts.insert.is_none() && !tasks.iter().any(Task::leaves_progress);
    if many && standings.iter().all(|standing| *standing == Standing::Same) {
        let since = Instant::now();
        let mut on_bytes = |_| worker.leaf.check();
        let moved = write::copy_many(
            &mut open.source,
            &mut open.target,
            tasks,
            facts.fresh,
            &mut on_bytes,
        )
        .context(|| format!("copying {} small tables", tasks.len()))?;
        commit(open, &tasks[0])?;
        let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
        let each = elapsed_ms / u64::try_from(tasks.len()).unwrap_or(1).max(1);
        let done = |moved: Moved| Done {
            elapsed_ms: each,
            ..done(since, moved, None)
        };
        return Ok(moved.into_iter().map(done).collect());
    }
    let mut results = Vec::with_capacity(tasks.len());
    open.target.simple("begin")?;
    for (position, (task, standing)) in tasks.iter().zip(standings).enumerate() {
        if position > 0 {
            worker.begin(&task.title(), Some(task.unit.id))?;
        }
        let since = Instant::now();
        let mut noted = Instant::now();
        let mut total = 0;
        let mut on_bytes = |bytes: u64| -> Result<()> {
            total += bytes;
            if noted.elapsed().as_millis() >= NOTE_EVERY_MS {
                noted = Instant::now();
                worker
                    .activity
                    .progress(worker.ledger.connection(), total)?;
                worker.leaf.check()?;
            }
            Ok(())
        };
        let (source, target) = (&mut open.source, &mut open.target);
        write::empty(target, task, facts.fresh)?;
        let moved = match facts.insert {
            None => write::copy(source, target, task, facts.fresh, &mut on_bytes),
            Some(rows) => insert::copy(source, target, (task, rows), &mut on_bytes),
        }
        .context(|| format!("copying table {}", task.qname))?;
        let snapshot_is_older = means.consistent;
        if *standing == Standing::Rewritten
            && moved.rows == 0
            && task.bytes > 0
            && snapshot_is_older
        {
            return Err(read::rewritten_error(task));
        }
        if *standing == Standing::Rewritten && snapshot_is_older && moved.rows > 0 {
            let why = format!(
                "Table {} was rewritten on the source after the snapshot: rows that were frozen on \
                 arrival since then are among those copied",
                task.qname
            );
            log::warn!("{why}");
            means
                .run
                .notice(worker.ledger.connection(), "rewritten on the source", &why)?;
        }
        if task.leaves_progress() {
            write::leave_progress(&mut open.target, &means.uuid, task, moved)?;
        }
        results.push(done(since, moved, None));
    }
    if let Some(result) = results.first().filter(|_| tasks[0].is_proven_by_number()) {
        proof::note(&mut worker.ledger, &mut open.target, &tasks[0], result.rows)?;
    }
    commit(open, &tasks[0])?;
    Ok(results)
}

/// Commits on the target, then ends the transaction on the source.
fn commit(open: &mut Sessions, first: &Task) -> Result<()> {
    open.target
        .simple("commit")
        .context(|| format!("committing the copy of table {}", first.qname))?;
    open.source.simple("commit").map(|_| ())
}
