//! The guard: one session that holds the target's lock until the end, and does what must be done before the
//! first row: plan again inside the snapshot, write the journal, remove keys, empty linked and split tables.
//!
//! Runs in the guard process. One that replaces a dead one takes the lock again, and does the rest only if the
//! dead one had not come to its end.

use super::empty;
use super::facts_of_run::Prepared;
use super::prepare::{self, PrepareInput};
use super::restore;
use super::rows;
use crate::catalog::{DataPlan, KEYS_REMOVED, Ledger, Run, sqlite_error};
use crate::check;
use crate::error::{Context, Error, Result};
use crate::fkey::discover::{Mode, Tree, trees};
use crate::fkey::{self, Limits, journal, patiently};
use crate::pg::{PgSession, Profile, Token};
use crate::supervisor::{Leaf, Report};
use crate::worker::{self, Means};
use std::time::{Duration, Instant};

/// The two keys of the advisory lock that a copy of rows holds on its target.
pub(super) const LOCK: (i32, i32) = (1_885_823_856, 1);
/// How long the lock of a session that is just ending is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(15);
/// How often the session is asked whether it still lives.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// Mark of a guard that has come to its end.
pub(super) const READY: &str = KEYS_REMOVED;

/// What the guard does before it holds its lock to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GuardTask {
    /// Everything that comes before rows.
    Copy,
    /// Emptying the tables of an unfinished copy.
    Empty,
    /// Nothing.
    Hold,
}

/// What the guard is given.
#[derive(Clone)]
pub(super) struct GuardInput {
    pub(super) prepare: PrepareInput,
    pub(super) means: Means,
    pub(super) prepared: Prepared,
    pub(super) task: GuardTask,
}

/// Runs the guard until it is told to stop. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &GuardInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let means = &input.means;
    let mut ledger = Ledger::open(&means.layout.ledger())?;
    let mut target = means
        .target()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let _target = canceller.register(Token::from_session(&target));
    let activity = crate::catalog::Activity {
        role: leaf.role.key(),
        worker: leaf.number,
    };
    activity.begin(ledger.connection(), means.run, "guard", None)?;
    worker::register_backends(&ledger, &activity, None, Some(target.backend_id().clone()))?;
    take_lock(leaf, &mut target)?;
    let is_ready =
        Run::marked(ledger.connection(), READY)?.is_some_and(|(run, _)| run == means.run.id);
    if !is_ready {
        match input.task {
            GuardTask::Copy => {
                make_ready(leaf, input, (&mut ledger, &mut target), &canceller)?;
            }
            GuardTask::Empty => {
                let limits = Limits::new(input.prepare.settings.switches.no_timeouts);
                empty::run(leaf, &mut target, &mut ledger, (&means.layout, limits))?;
            }
            GuardTask::Hold => {}
        }
        means.run.mark(ledger.connection(), READY, "")?;
    }
    let (copies, vacuums) = rows::counts(ledger.connection())?;
    leaf.report(&Report::Planned {
        copies,
        parts: 0,
        builds: 0,
        vacuums,
        blobs: 0,
        extensions: 0,
        fresh: false,
    });
    drop(ledger);
    hold(leaf, &mut target)
}

/// The error of a target that another run works on.
pub(super) fn busy() -> Error {
    Error::bad_state("another pgcopy is at work on this target")
        .hint("Wait for it to end; nothing was changed.")
}

fn take_lock(leaf: &Leaf<'_>, target: &mut PgSession) -> Result<()> {
    let since = Instant::now();
    loop {
        let taken: bool = target
            .query_one(
                "select pg_catalog.pg_try_advisory_lock($1, $2)",
                &[&LOCK.0, &LOCK.1],
            )?
            .get(0);
        if taken {
            return Ok(());
        }
        if since.elapsed() > LOCK_WAIT {
            return Err(busy());
        }
        leaf.nap(Duration::from_millis(100))?;
    }
}

fn hold(leaf: &Leaf<'_>, target: &mut PgSession) -> Result<()> {
    let mut asked = Instant::now();
    loop {
        leaf.nap(Duration::from_millis(50))?;
        if asked.elapsed() >= ALIVE_EVERY {
            asked = Instant::now();
            target
                .batch_execute("select 1")
                .context(|| "holding the lock of the copy on the target".to_owned())?;
        }
    }
}

/// Everything before the first row.
fn make_ready(
    leaf: &mut Leaf<'_>,
    input: &GuardInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
    canceller: &crate::pg::Canceller,
) -> Result<()> {
    let means = &input.means;
    let settings = &input.prepare.settings;
    let earlier = if input.prepared.resumes {
        rows::earlier(ledger.connection())?
    } else {
        rows::Earlier::default()
    };
    let mut source = means
        .source()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let _source = canceller.register(Token::from_session(&source));
    let snapshot = means.snapshot.as_deref().filter(|_| means.consistent);
    let drawn = prepare::draw(
        leaf,
        (&mut source, input.prepared.source()?, snapshot),
        (target, &input.prepared.target),
        (&input.prepare, ledger),
    )?;
    drop(source);
    prepare::refuse_faults(&drawn)?;
    refuse_changed(&input.prepare, &drawn.plan)?;
    ledger.write(|tx| rows::write(tx, means.run, &drawn, (settings, &earlier)))?;
    let unchecked = serde_json::json!(drawn.unchecked).to_string();
    means
        .run
        .mark(ledger.connection(), restore::TO_CHECK, &unchecked)?;
    say_kept(&earlier, drawn.copies.len());
    let limits = Limits::new(settings.switches.no_timeouts);
    let all = trees(&drawn.keys);
    let taking = journal::Taking {
        trees: all
            .iter()
            .filter(|tree| drawn.removed.contains(&tree.root.oid))
            .cloned()
            .collect::<Vec<Tree<'_>>>(),
        triggers: drawn.triggers.iter().collect(),
    };
    say_found(&drawn.plan, &taking);
    let identity = check::identity(&input.prepared.target);
    journal::record(ledger, &means.layout, (means.run, &identity), &taking)?;
    let open = journal::open_entries(ledger.connection())?.len();
    if open > 0 {
        log::warn!(
            "What is removed from the target is on record in \"{}\"; it is worth a backup",
            means.layout.restore_script().display()
        );
        let removed = fkey::remove(leaf, target, ledger, limits)?;
        log::info!(
            "Removed {} foreign keys, switched off {} triggers",
            removed.keys,
            removed.triggers
        );
    }
    if drawn.mode != Some(Mode::Replica) {
        return empty_tables(leaf, target, (ledger, limits));
    }
    // Triggers on TRUNCATE are triggers, too.
    target.batch_execute("set session_replication_role = 'replica'")?;
    empty_tables(leaf, target, (ledger, limits))?;
    target.batch_execute("reset session_replication_role")
}

/// Refuses to go on when what was shown is not what would be done now.
fn refuse_changed(input: &PrepareInput, now: &DataPlan) -> Result<()> {
    let shown = std::fs::read_to_string(input.layout.plan()).map_err(|error| {
        Error::bad_state(format!("could not read the plan that was shown: {error}"))
    })?;
    let shown = DataPlan::parse(&shown)?;
    let differences = shown.differences(now);
    if differences.is_empty() {
        return Ok(());
    }
    for line in &differences {
        log::error!("{line}");
    }
    Err(
        Error::bad_state("tables, keys or triggers changed while the question was open")
            .hint("Run the command again, and look at its plan; nothing was changed."),
    )
}

fn say_kept(earlier: &rows::Earlier, tables: usize) {
    if !earlier.kept.is_empty() {
        log::info!(
            "{} of {tables} tables were copied by the run before, and stay as they are",
            earlier.kept.len()
        );
    }
}

fn say_found(plan: &DataPlan, taking: &journal::Taking<'_>) {
    let tables: std::collections::BTreeSet<&str> =
        plan.keys.iter().map(|key| key.child.as_str()).collect();
    log::info!(
        "Found {} foreign keys on {} tables",
        plan.keys.len(),
        tables.len()
    );
    log::info!("Mode {}: {}", plan.mode, plan.why);
    for key in plan
        .keys
        .iter()
        .filter(|key| key.action == "stay" && (plan.mode == "drop" || key.how.contains("no row")))
    {
        crate::notice!("Foreign key {}.{} {}", key.child, key.name, key.how);
    }
    if !taking.triggers.is_empty() {
        log::info!(
            "{} triggers are off while rows arrive",
            taking.triggers.len()
        );
    }
}

/// Empties linked and split tables. What may have been emptied is on disk in the ledger before.
fn empty_tables(
    leaf: &Leaf<'_>,
    target: &mut PgSession,
    (ledger, limits): (&mut Ledger, Limits),
) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("read", &error);
    let read = || -> rusqlite::Result<Vec<(i64, String, String)>> {
        ledger
            .connection()
            .prepare(
                "select id, sql, (select json_group_array(t.qname) from json_each(e.tables) j
                                    join s_table t on t.oid = j.value)
                   from emptying e where state <> 'done' order by id",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    };
    let statements = read().map_err(failed)?;
    if statements.is_empty() {
        return Ok(());
    }
    target.batch_execute(&limits.statement())?;
    for (id, sql, names) in statements {
        leaf.check()?;
        set_emptied(ledger, id, "begun")?;
        let names: Vec<String> = serde_json::from_str(&names).unwrap_or_default();
        patiently(leaf, target, &names, |target| target.batch_execute(&sql))
            .context(|| "emptying tables of the target".to_owned())?;
        crate::sql!("{sql}");
        set_emptied(ledger, id, "done")?;
    }
    Ok(())
}

fn set_emptied(ledger: &mut Ledger, id: i64, state: &str) -> Result<()> {
    ledger.write_durably(|tx| {
        tx.execute(
            "update emptying set state = ?2 where id = ?1",
            rusqlite::params![id, state],
        )
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
    })
}
