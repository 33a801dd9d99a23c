//! The plan before the question, and the start of a run after it.
//!
//! Runs in prepare processes. The first one looks, refuses and writes `plan.json`; no connection is open while
//! the user thinks. The second one writes setup and run into the ledger, and ends server processes that an
//! interrupted run has left.

use super::facts_of_run::Prepared;
use super::past::{self, Past};
use super::plan::{self, Drawn, Sides};
use super::settings::CopySettings;
use crate::catalog::{Activity, Ledger, PlanSide, Run, Setup};
use crate::check::{self, Connected, connect};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::fkey::{self, Limits};
use crate::pg::{PgSession, Token};
use crate::schema::hooks::{TIMESCALEDB, list_hypertables};
use crate::schema::server::ServerFacts;
use crate::schema::spread::{CITUS, list_spread};
use crate::supervisor::{Leaf, Report};
use crate::units::{PgVersion, Side};
use crate::workdir::{Intent, Layout};
use crate::worker;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the lock of a run that is just ending is waited for.
const BUSY_WAIT: Duration = Duration::from_secs(3);
/// Oldest source that is read, oldest target that is written.
const OLDEST: (PgVersion, PgVersion) = (PgVersion(90_600), PgVersion(120_000));

/// What the prepare processes are given.
#[derive(Clone)]
pub(super) struct PrepareInput {
    pub(super) settings: CopySettings,
    pub(super) source: ConnInfo,
    pub(super) target: ConnInfo,
    pub(super) layout: Layout,
    pub(super) uuid: String,
}

/// Makes the plan and writes it to a file. Blocks. Errors: everything that forbids the run; each obstacle has
/// been logged before.
pub(super) fn make_plan(
    leaf: &mut Leaf<'_>,
    input: &PrepareInput,
    file: &Path,
    dry: bool,
) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut left = Vec::new();
    if !dry {
        let ledger = Ledger::open(&input.layout.ledger())?;
        past::refuse(&ledger, &input.layout, input.settings.intent)?;
        left = Activity::all_backends(&ledger)?;
    }
    let mut source = connect(leaf.role.label(), &input.source, Side::Source)?;
    let _source = canceller.register(Token::from_session(&source.session));
    let mut target = connect(leaf.role.label(), &input.target, Side::Target)?;
    let _target = canceller.register(Token::from_session(&target.session));
    refuse_versions(&source.facts, &target.facts)?;
    refuse_own_ways(&mut source)?;
    // Their locks would keep the look at the tables waiting: those of an interrupted run of ours are ended,
    // another run is a reason to refuse before anything is looked at.
    worker::end_backends(leaf, (Some(&source.link), Some(&target.link)), &left)?;
    refuse_busy(leaf, &mut target.session)?;
    let warning = refuse_same_database(&mut source, &mut target, &input.settings)?;
    if target.facts.in_recovery {
        return Err(Error::new(
            Kind::Target,
            "the target is a standby, which cannot be written",
        )
        .hint("Give its primary as --target."));
    }
    let mut drawn = draw(
        leaf,
        (&mut source.session, &source.facts, None),
        (&mut target.session, &target.facts),
        (input, &mut Ledger::in_memory()?),
    )?;
    drawn.plan.warnings.extend(warning);
    let neighbours = past::neighbours_with_open_keys(
        input.settings.neighbourhood.as_deref(),
        input.layout.top(),
        &check::identity(&target.facts),
    );
    drawn.faults.extend(neighbours);
    input
        .layout
        .write_file(file, drawn.plan.json()?.as_bytes())?;
    refuse_faults(&drawn)
}

/// Logs each obstacle; the error that follows says how many there were.
pub(super) fn refuse_faults(drawn: &Drawn) -> Result<()> {
    for fault in &drawn.faults {
        log::error!("{fault}");
    }
    match drawn.faults.len() {
        0 => Ok(()),
        count => Err(Error::bad_state(format!(
            "the copy is refused: {}, named above",
            match count {
                1 => "1 obstacle".to_owned(),
                count => format!("{count} obstacles"),
            }
        ))
        .hint(match drawn.keys_to_keep {
            Some((faults, 0)) if faults == count => {
                "Mend them, leave tables out with --exclude, or take --constraints keep, with which keys stay and \
                 check each row; nothing was changed."
                    .to_owned()
            }
            Some((faults, mute)) if faults == count => format!(
                "Mend them, leave tables out with --exclude, or take --constraints keep, with which keys stay and \
                 check each row, but for {} whose triggers are disabled: rows that break {} are looked for \
                 after the copy; nothing was changed.",
                if mute == 1 { "1 key".to_owned() } else { format!("{mute} keys") },
                if mute == 1 { "it" } else { "them" },
            ),
            _ => "Mend them, or leave tables out with --exclude; nothing was changed.".to_owned(),
        })),
    }
}

/// Draws the plan in transactions of its own on both sides, in the snapshot where there is one. Who keeps it from
/// looking at a table is said. The sessions keep the limits of the run for locks.
pub(super) fn draw(
    leaf: &Leaf<'_>,
    (source, source_facts, snapshot): (&mut PgSession, &ServerFacts, Option<&str>),
    (target, target_facts): (&mut PgSession, &ServerFacts),
    (input, ledger): (&PrepareInput, &mut Ledger),
) -> Result<Drawn> {
    let limits = Limits::new(input.settings.switches.no_timeouts);
    let mut sides = (source, target, ledger);
    let drawn = fkey::look_patiently(
        leaf,
        (&mut sides, limits),
        |(source, target, ledger), limit| {
            source.batch_execute(&limit.statement())?;
            target.batch_execute(&limit.statement())?;
            let drawn = draw_once(
                (source, source_facts, snapshot),
                (target, target_facts),
                (input, ledger),
            );
            if drawn.is_err() {
                // The error is what counts; a session that is gone says so at its next statement.
                let _rolled_back = source.batch_execute("rollback");
                let _rolled_back = target.batch_execute("rollback");
            }
            drawn
        },
        |(source, target, _), side| {
            Some(match side {
                Kind::Source => source,
                _ => target,
            })
        },
    )?;
    let (source, target, _) = sides;
    source.batch_execute(&limits.statement())?;
    target.batch_execute(&limits.statement())?;
    Ok(drawn)
}

fn draw_once(
    (source, source_facts, snapshot): (&mut PgSession, &ServerFacts, Option<&str>),
    (target, target_facts): (&mut PgSession, &ServerFacts),
    (input, ledger): (&PrepareInput, &mut Ledger),
) -> Result<Drawn> {
    source.batch_execute("begin isolation level repeatable read, read only")?;
    if let Some(id) = snapshot {
        crate::snapshot::adopt(source, id)?;
    }
    target.batch_execute("begin isolation level repeatable read, read only")?;
    let side = |conn: &ConnInfo, facts: &ServerFacts, from: &str| PlanSide {
        uri: conn.safe_uri(),
        place: place(conn),
        version: facts.version.to_string(),
        from: from.to_owned(),
    };
    let settings = &input.settings;
    let mut sides = Sides {
        source: (
            source,
            source_facts,
            side(&input.source, source_facts, &settings.source.from),
        ),
        target: (
            target,
            target_facts,
            side(&input.target, target_facts, &settings.target.from),
        ),
    };
    let drawn = plan::draw(&mut sides, ledger, settings)?;
    sides.source.0.batch_execute("commit")?;
    sides.target.0.batch_execute("commit")?;
    Ok(drawn)
}

/// `host:port/database`.
pub(super) fn place(conn: &ConnInfo) -> String {
    let host = conn
        .get("host")
        .or_else(|| conn.get("hostaddr"))
        .unwrap_or("local");
    let port = conn.get("port").unwrap_or("5432");
    format!("{host}:{port}/{}", conn.dbname())
}

fn refuse_versions(source: &ServerFacts, target: &ServerFacts) -> Result<()> {
    for (kind, facts, oldest) in [
        (Kind::Source, source, OLDEST.0),
        (Kind::Target, target, OLDEST.1),
    ] {
        if facts.version < oldest {
            let side = if kind == Kind::Source {
                "source"
            } else {
                "target"
            };
            return Err(Error::new(
                kind,
                format!(
                    "the {side} is PostgreSQL {}, which is too old",
                    facts.version
                ),
            )
            .hint(format!("It has to be {oldest} or newer.")));
        }
    }
    Ok(())
}

/// Refuses tables whose rows are not in them but where an extension has put them, in other places on each side.
fn refuse_own_ways(source: &mut Connected) -> Result<()> {
    let database = &source.facts.database;
    let found = if database.has(TIMESCALEDB) {
        let all = list_hypertables(&mut source.session.client, Side::Source)?;
        let count = all.iter().filter(|one| !one.is_chunk).count();
        (count > 0).then(|| format!("{count} hypertables of timescaledb"))
    } else {
        None
    };
    let spread = if database.has(CITUS) {
        list_spread(&mut source.session.client, Side::Source)?.unwrap_or_default()
    } else {
        Vec::new()
    };
    let spread = (!spread.is_empty()).then(|| format!("{} tables of citus", spread.len()));
    let found = found.or(spread);
    let Some(found) = found else {
        return Ok(());
    };
    Err(Error::new(
        Kind::Source,
        format!("the source has {found}, whose rows alone are not copied"),
    )
    .with_sqlstate("0A000")
    .detail("They are in other places: in chunks, or on worker nodes.")
    .hint("Copy the whole database with pgcopydb clone."))
}

/// Refuses to copy a database onto itself: a lock taken on the source must not be seen on the target. Cluster
/// and oid may be the same for another reason, which is worth a warning.
fn refuse_same_database(
    source: &mut Connected,
    target: &mut Connected,
    settings: &CopySettings,
) -> Result<Option<String>> {
    let key = (
        i32::from_ne_bytes(crate::sys::proc::random_bytes()),
        i32::from_ne_bytes(crate::sys::proc::random_bytes()),
    );
    source.session.query(
        "select pg_catalog.pg_advisory_lock($1, $2)",
        &[&key.0, &key.1],
    )?;
    let is_seen: bool = target
        .session
        .query_one(include_str!("sql/see_advisory_lock.sql"), &[&key.0, &key.1])?
        .get(0);
    source.session.query(
        "select pg_catalog.pg_advisory_unlock($1, $2)",
        &[&key.0, &key.1],
    )?;
    let name = &source.facts.database.datname;
    if is_seen {
        return Err(Error::bad_state(format!(
            "source and target are the same database, \"{name}\""
        ))
        .hint("Check --source and --target; nothing was changed."));
    }
    let same = source.facts.system_identifier.is_some()
        && source.facts.system_identifier == target.facts.system_identifier
        && source.facts.database.oid == target.facts.database.oid;
    if !same {
        return Ok(None);
    }
    let in_recovery = source.facts.in_recovery || target.facts.in_recovery;
    if in_recovery && !settings.switches.allow_same_system_id {
        return Err(Error::bad_state(format!(
            "source and target are copies of one cluster, and one of them is a standby, database \"{name}\""
        ))
        .hint(
            "Check --source and --target; when they are not standby and primary of each other, use \
             --allow-same-system-id.",
        ));
    }
    Ok(Some(
        "source and target have the same system identifier: one is a copy of the other's cluster"
            .to_owned(),
    ))
}

/// Refuses to look further while somebody copies rows into this database. Blocks for a moment, as the session of a
/// run that has just ended may still be there.
fn refuse_busy(leaf: &Leaf<'_>, target: &mut PgSession) -> Result<()> {
    let (class, object) = super::guard::LOCK;
    let since = Instant::now();
    loop {
        let free: bool = target
            .query_one(
                "select pg_catalog.pg_try_advisory_lock($1, $2)",
                &[&class, &object],
            )?
            .get(0);
        if free {
            target.query(
                "select pg_catalog.pg_advisory_unlock($1, $2)",
                &[&class, &object],
            )?;
            return Ok(());
        }
        if since.elapsed() > BUSY_WAIT {
            return Err(super::guard::busy());
        }
        leaf.nap(Duration::from_millis(100))?;
    }
}

/// Begins a run: setup and run are in the ledger, leftovers are ended. Blocks.
pub(super) fn begin(leaf: &mut Leaf<'_>, input: &PrepareInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    let past = past::read(&ledger)?;
    let source = connect(leaf.role.label(), &input.source, Side::Source)?;
    let _source = canceller.register(Token::from_session(&source.session));
    let target = connect(leaf.role.label(), &input.target, Side::Target)?;
    let _target = canceller.register(Token::from_session(&target.session));
    log::info!("[SOURCE] Copying rows from \"{}\"", input.source.safe_uri());
    log::info!("[TARGET] Copying rows into \"{}\"", input.target.safe_uri());
    let setup = setup_of(input, &source.facts, &target.facts);
    refuse_other_target(&ledger, &target.facts)?;
    let resumes = input.settings.intent == Intent::Resume && past == Past::Unfinished;
    if let Some(before) = Setup::read(&ledger)?.filter(|_| resumes) {
        before.check_resumed(&setup)?;
    }
    let left = Activity::all_backends(&ledger)?;
    worker::end_backends(leaf, (Some(&source.link), Some(&target.link)), &left)?;
    let run = ledger.write_durably(|tx| {
        setup.write(tx)?;
        Run::log_command(tx, &input.settings.cmdline)?;
        Activity::clear(tx)?;
        past::forget_figures(tx, resumes)?;
        Run::begin(tx, past::COPY, !input.settings.switches.no_snapshot)
    })?;
    report(leaf, run, Some(source), target, resumes)
}

/// Begins to put back what an earlier run took away. Blocks.
pub(super) fn begin_restore(leaf: &mut Leaf<'_>, input: &PrepareInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    let target = connect(leaf.role.label(), &input.target, Side::Target)?;
    let _target = canceller.register(Token::from_session(&target.session));
    refuse_other_target(&ledger, &target.facts)?;
    let left = Activity::all_backends(&ledger)?;
    worker::end_backends(leaf, (None, Some(&target.link)), &left)?;
    let run = ledger.write_durably(|tx| {
        Run::log_command(tx, &input.settings.cmdline)?;
        Activity::clear(tx)?;
        Run::begin(tx, past::RESTORE, true)
    })?;
    report(leaf, run, None, target, false)
}

fn report(
    leaf: &mut Leaf<'_>,
    run: Run,
    source: Option<Connected>,
    target: Connected,
    resumes: bool,
) -> Result<()> {
    let prepared = Prepared {
        run_id: run.id,
        resumes,
        source_pin: source.as_ref().map(|side| side.link.pin.clone()),
        source: source.map(|side| side.facts),
        target_pin: target.link.pin.clone(),
        target: target.facts,
    };
    let facts = serde_json::to_value(&prepared)
        .map_err(|error| Error::internal(format!("could not report facts: {error}")))?;
    let reads = prepared.source.is_some();
    leaf.report(&Report::Prepared { facts, reads });
    Ok(())
}

/// What was taken away from one database is not put back into another.
fn refuse_other_target(ledger: &Ledger, target: &ServerFacts) -> Result<()> {
    let now = check::identity(target);
    match crate::fkey::journal::target_of_open(ledger.connection())? {
        Some(before) if before != now => Err(Error::bad_state(
            "the work directory holds foreign keys that were removed from another target",
        )
        .detail(format!("Before: {before}; now: {now}."))
        .hint("Give that target, or another work directory with --dir.")),
        _ => Ok(()),
    }
}

fn setup_of(input: &PrepareInput, source: &ServerFacts, target: &ServerFacts) -> Setup {
    Setup {
        uuid: input.uuid.clone(),
        source_uri: input.source.safe_uri(),
        target_uri: input.target.safe_uri(),
        source_identity: check::identity(source),
        target_identity: check::identity(target),
        source_version: source.version.0,
        target_version: target.version.0,
        split_bytes: Some(input.settings.split_bytes),
        split_max_parts: 0,
        options: input.settings.lasting_options(),
        filters: String::new(),
    }
}
