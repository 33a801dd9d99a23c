//! An index worker: claims indexes, constraints and foreign keys, and makes them on the target.
//!
//! Runs in index worker processes, with one session on the target that keeps the database's own
//! `search_path`: expressions of indexes may call functions that depend on it.

use super::existing::{self, Found};
use crate::catalog::unit::{self, Done, Item, Kind, Makes, Unit};
use crate::catalog::{Sentinel, Step, TableStarts, sqlite_error};
use crate::error::{Context, Error, Result};
use crate::pg::{PgSession, Profile, Registration, Token};
use crate::supervisor::{Leaf, Report};
use crate::units::pretty_ms;
use crate::worker::{self, Means, Worker};
use crate::{notice, sql};
use rusqlite::OptionalExtension;
use std::time::{Duration, Instant};

/// Most small tables in one transaction: each takes a few locks.
const GROUP_MAX: u32 = 20;
/// Why a foreign key is not validated by the worker whose turn it is.
pub const VALIDATE_LATER: &str =
    "validated once the changes are applied that bring all tables to one position";

/// What an index worker needs beyond what every worker gets.
#[derive(Clone, Debug)]
pub struct IndexFacts {
    /// The tables were created by this run's own pre-data step, so nothing can be there yet.
    pub fresh: bool,
    /// `maintenance_work_mem` of its session.
    pub maintenance_work_mem: Option<String>,
    /// What it does, first things first.
    pub kinds: &'static [Kind],
    /// What makes such work meanwhile.
    pub upstream: &'static [Kind],
    /// Nothing is there that was not made by us, so small tables can be done many at once.
    pub groups: bool,
    /// Tablespaces of the source are kept: what names none goes where the database is, whatever
    /// `default_tablespace` it has by now.
    pub tablespaces: bool,
}

struct Target {
    session: PgSession,
    _registered: Registration,
}

/// Names of the table that a unit belongs to.
struct Table {
    nspname: String,
    relname: String,
    qname: String,
}

/// Runs an index worker until its stage is over. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means, facts: &IndexFacts) -> Result<()> {
    let mut worker = Worker::start(leaf, means, facts.kinds, facts.upstream)?;
    let mut target = None;
    // One of them is ready before the first table is.
    let mut is_first = worker.leaf.number == 1 && !means.shared;
    while let Some(unit) = worker.next_unit_meanwhile(|worker| {
        if std::mem::take(&mut is_first)
            && target.is_none()
            && let Err(error) = connect(worker, &mut target, facts, Some(Duration::ZERO))
        {
            log::debug!("Not connected before there is something to do: {error}");
        }
    })? {
        let group = match unit.kind {
            Kind::Constraint if facts.groups => worker.group(unit, GROUP_MAX)?,
            _ => vec![unit],
        };
        let result = match group.as_slice() {
            [unit] => one(&mut worker, &mut target, facts, unit),
            units => all(&mut worker, &mut target, facts, units),
        };
        if let Err(error) = result {
            target = None;
            worker.failed(&group, error)?;
        }
    }
    Ok(())
}

/// Makes everything of several small tables in one transaction. They were never tried before, so
/// nothing can be there but what is not ours: then they fail together, and are tried one by one.
fn all(
    worker: &mut Worker<'_, '_>,
    target: &mut Option<Target>,
    facts: &IndexFacts,
    units: &[Unit],
) -> Result<()> {
    let since = Instant::now();
    worker.begin(
        "add constraints of small tables",
        units.first().map(|unit| unit.id),
    )?;
    let mut statements = vec!["begin".to_owned()];
    for unit in units {
        for item in unit.items()? {
            if let Some(tablespace) = &item.tablespace {
                statements.push(format!("set local default_tablespace = {tablespace}"));
            }
            let plain = item
                .statements
                .iter()
                .map(|s| s.trim_end().trim_end_matches(';'));
            statements.extend(plain.map(str::to_owned));
            if item.tablespace.is_some() {
                statements.push("set local default_tablespace = ''".to_owned());
            }
        }
    }
    statements.push("commit".to_owned());
    let session = connect(worker, target, facts, None)?;
    execute(session, &statements.join(";\n")).context(|| {
        format!(
            "adding indexes and constraints of {} small tables",
            units.len()
        )
    })?;
    // What is left when it is shared out goes to the first ones: nothing is lost from the sum.
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    let count = u64::try_from(units.len()).unwrap_or(1).max(1);
    let done: Vec<(&Unit, Done)> = (0..)
        .zip(units)
        .map(|(position, unit)| {
            let done = Done {
                elapsed_ms: elapsed_ms / count + u64::from(position < elapsed_ms % count),
                ..Done::default()
            };
            (unit, done)
        })
        .collect();
    worker.finish(Step::Constraint, &done)
}

/// Opens the session if it is missing. A server that is away is waited for, for as long as `patience` says.
fn connect<'t>(
    worker: &mut Worker<'_, '_>,
    target: &'t mut Option<Target>,
    facts: &IndexFacts,
    patience: Option<Duration>,
) -> Result<&'t mut PgSession> {
    if target.is_none() {
        let profile = Profile::TargetBuild {
            maintenance_work_mem: facts.maintenance_work_mem.clone(),
        };
        let (link, title) = (worker.means.target()?, worker.leaf.role.label());
        let mut session = match patience {
            Some(limit) => link.session_within(limit, title, &profile)?,
            None => link.session(title, &profile)?,
        };
        if facts.tablespaces {
            session.batch_execute("set default_tablespace = ''")?;
        }
        let backend = session.backend_id().clone();
        worker::register_backends(&worker.ledger, &worker.activity, None, Some(backend))?;
        let registered = worker.canceller.register(Token::from_session(&session));
        *target = Some(Target {
            session,
            _registered: registered,
        });
    }
    let open = target
        .as_mut()
        .ok_or_else(|| Error::internal("a session vanished"))?;
    Ok(&mut open.session)
}

fn one(
    worker: &mut Worker<'_, '_>,
    target: &mut Option<Target>,
    facts: &IndexFacts,
    unit: &Unit,
) -> Result<()> {
    let since = Instant::now();
    let table = table_of(worker, unit)?;
    let items = unit.items()?;
    // What was never tried on tables of our own making cannot be there.
    let look = !(facts.fresh && unit.attempts == 1);
    let session = connect(worker, target, facts, None)?;
    let done = |since: Instant| Done {
        elapsed_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(0),
        ..Done::default()
    };
    match unit.kind {
        Kind::Index => {
            let item = items
                .first()
                .ok_or_else(|| Error::internal("an index without statement"))?;
            worker.begin(&format!("create index {}", item.name), Some(unit.id))?;
            create_index(session, &table, item, (look, unit.attempts))?;
            log::info!(
                "CREATE INDEX {}: {}",
                item.name,
                pretty_ms(done(since).elapsed_ms).trim()
            );
            worker.finish(Step::Index, &[(unit, done(since))])
        }
        Kind::Validate => validate(worker, target, facts, (unit, &table)),
        _ => {
            worker.begin(&format!("add constraints {}", table.qname), Some(unit.id))?;
            for item in &items {
                match item.makes {
                    Makes::Index => {
                        let (create, rest) = split(item)?;
                        create_index(session, &table, &create, (look, unit.attempts))?;
                        rest.iter()
                            .try_for_each(|statement| execute(session, statement))?;
                    }
                    Makes::Constraint | Makes::Nothing => {
                        add_constraint(session, &table, item, look)?;
                    }
                }
            }
            notice!(
                "Constraints of {}: {}",
                table.qname,
                pretty_ms(done(since).elapsed_ms).trim()
            );
            worker.finish(Step::Constraint, &[(unit, done(since))])
        }
    }
}

fn table_of(worker: &Worker<'_, '_>, unit: &Unit) -> Result<Table> {
    worker
        .ledger
        .connection()
        .prepare_cached("select nspname, relname, qname from s_table where oid = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([unit.table_oid], |row| {
                    Ok(Table {
                        nspname: row.get(0)?,
                        relname: row.get(1)?,
                        qname: row.get(2)?,
                    })
                })
                .optional()
        })
        .map_err(|error| sqlite_error("read", &error))?
        .ok_or_else(|| Error::internal(format!("table {} is not in the ledger", unit.table_oid)))
}

fn execute(session: &mut PgSession, statement: &str) -> Result<()> {
    sql!("{statement}");
    session.batch_execute(statement)
}

/// Runs statements with the tablespace of the archive entry.
fn execute_in(
    session: &mut PgSession,
    tablespace: Option<&str>,
    statements: &[String],
) -> Result<()> {
    if let Some(tablespace) = tablespace {
        execute(session, &format!("set default_tablespace = {tablespace}"))?;
    }
    for statement in statements {
        execute(session, statement)?;
    }
    if tablespace.is_some() {
        execute(session, "set default_tablespace = ''")?;
    }
    Ok(())
}

/// Builds an index, unless the target has it; a build that never ended is dropped first.
fn create_index(
    session: &mut PgSession,
    table: &Table,
    item: &Item,
    (look, attempts): (bool, u32),
) -> Result<()> {
    let context = || format!("creating index {} of table {}", item.name, table.qname);
    if look {
        let relname = item.raw_name.as_str();
        match existing::find_index(session, &table.nspname, relname).context(context)? {
            Found::Nothing => {}
            Found::Invalid => {
                let qualified = crate::pg::quote::qualified(&table.nspname, relname);
                execute(session, &format!("drop index if exists {qualified}")).context(context)?;
            }
            // Tried before by this work directory: it is ours, whatever the deparser makes of it.
            Found::Valid(definition)
                if attempts > 1 || item.statements.iter().any(|s| same(s, &definition)) =>
            {
                log::info!("Index {} is on the target already", item.name);
                return Ok(());
            }
            Found::Valid(definition) => {
                return Err(Error::new(
                    crate::error::Kind::Target,
                    format!(
                        "index {} is on the target with another definition",
                        item.name
                    ),
                )
                .detail(format!("There: {definition}"))
                .hint("Drop or rename it on the target, then use --resume."));
            }
        }
    }
    execute_in(session, item.tablespace.as_deref(), &item.statements).context(context)
}

/// An item of its first statement alone, and the other statements.
fn split(item: &Item) -> Result<(Item, &[String])> {
    let (first, rest) = item
        .statements
        .split_first()
        .ok_or_else(|| Error::internal(format!("{} has no statements", item.name)))?;
    Ok((
        Item {
            statements: vec![first.clone()],
            ..item.clone()
        },
        rest,
    ))
}

fn same(statement: &str, definition: &str) -> bool {
    let plain = |text: &str| text.trim().trim_end_matches(';').to_owned();
    plain(statement) == plain(definition)
}

/// Adds a constraint and what hangs on it; statements after the first one may be repeated.
fn add_constraint(session: &mut PgSession, table: &Table, item: &Item, look: bool) -> Result<()> {
    let context = || format!("adding constraint {} of table {}", item.name, table.qname);
    let (first, rest) = item
        .statements
        .split_first()
        .ok_or_else(|| Error::internal(format!("{} has no statements", item.name)))?;
    let names = (table.nspname.as_str(), table.relname.as_str());
    let is_there = look
        && item.makes == Makes::Constraint
        && existing::find_constraint(session, names, &item.raw_name)
            .context(context)?
            .is_some();
    if !is_there {
        let first = std::slice::from_ref(first);
        execute_in(session, item.tablespace.as_deref(), first).context(context)?;
    }
    for statement in rest {
        execute(session, statement).context(context)?;
    }
    Ok(())
}

/// Whether tables were copied from several snapshots, and the changes in between are still to come.
fn waits_for_changes(worker: &Worker<'_, '_>) -> Result<bool> {
    let connection = worker.ledger.connection();
    let last = TableStarts::read(connection)?.last();
    let applied = Sentinel::read(connection)?.map_or(last, |row| row.replay_lsn);
    Ok(applied < last)
}

/// Validates a foreign key. Rows that break it leave it NOT VALID, are named, and are no reason to
/// stop the others.
fn validate(
    worker: &mut Worker<'_, '_>,
    target: &mut Option<Target>,
    facts: &IndexFacts,
    (unit, table): (&Unit, &Table),
) -> Result<()> {
    let since = Instant::now();
    let items = unit.items()?;
    let item = items
        .first()
        .ok_or_else(|| Error::internal("a foreign key without statement"))?;
    worker.begin(&format!("validate {}", item.name), Some(unit.id))?;
    if waits_for_changes(worker)? {
        log::info!("Foreign key {} is {VALIDATE_LATER}", item.name);
        let ready = worker
            .ledger
            .write(|tx| unit::skip(tx, unit, VALIDATE_LATER))?;
        worker.means.bells.ring(&ready);
        return Ok(());
    }
    let session = connect(worker, target, facts, None)?;
    let result = item
        .statements
        .iter()
        .try_for_each(|statement| execute(session, statement));
    match result {
        Ok(()) => {
            let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
            log::info!(
                "VALIDATE {} of {}: {}",
                item.name,
                table.qname,
                pretty_ms(elapsed_ms).trim()
            );
            let done = Done {
                elapsed_ms,
                ..Done::default()
            };
            worker.finish(Step::Constraint, &[(unit, done)])
        }
        Err(error) if error.sqlstate() == Some("23503") => {
            let error = error
                .context(format!("validating foreign key {} of table {}", item.name, table.qname))
                .hint(format!(
                    "The key stays NOT VALID; find the rows with: select * from {} where not exists \
                     (the row that its columns refer to); mend them, then run: {}",
                    table.qname,
                    item.statements.join(" ")
                ));
            let why = error.lines().join("; ");
            worker.leaf.report(&Report::Flawed { error });
            worker.skip(unit, "foreign key left NOT VALID", &why)
        }
        Err(error) => Err(error.context(format!("validating foreign key {}", item.name))),
    }
}
