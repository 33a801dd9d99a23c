//! `--all-databases`: roles once, then all databases, side by side (`pool`).
//!
//! Runs in the supervisor; the bodies below run in leaves. The whole has a work directory and a ledger with
//! nothing but its setup and its runs; each database has a work directory of its own, `db/<name>` below it, in
//! which it is cloned as if it had been given alone. So a resumed run skips what is complete, goes on with what is not,
//! and begins what is new.

use super::begun;
use super::databases::{self, CreateWith, Database};
use super::facts::{Prepared, Sides};
use super::host::CloneHost;
use super::members::{Member, Members};
use super::pool::{Places, Pool};
use super::pre_data::PreDataInput;
use super::prepare::{self, Connected, PrepareInput};
use super::recorded;
use super::{DrawProgress, Stages, roles};
use crate::catalog::{Activity, Ledger, PastRun, Run, Setup};
use crate::check::{self, Findings};
use crate::conninfo::ConnInfo;
use crate::dump::{Installed, SearchPlaces};
use crate::error::{Context, Error, Kind, Result};
use crate::logging;
use crate::pg::{Profile, Token, quote};
use crate::queue::Bell;
use crate::supervisor::{self, End, Event, Host, Leaf, Machine, Order, Report, Role};
use crate::sys::clock;
use crate::sys::reap::Child;
use crate::units::{Side, pretty_bytes};
use crate::workdir::{Claim, Intent, Layout};
use crate::worker::{self, Bells, Means};

/// Number of the leaf that makes databases, and of the one that gives them their connection limits.
const CREATE: u32 = 1;
const LIMIT: u32 = 2;

/// Processes one after the other; the first failure ends it.
struct Row {
    waiting: Vec<(Role, u32)>,
    failure: Option<Error>,
}

impl Row {
    fn of(roles: &[(Role, u32)]) -> Self {
        Self {
            waiting: roles.iter().rev().copied().collect(),
            failure: None,
        }
    }

    fn next(&mut self) -> Vec<Order> {
        self.waiting
            .pop()
            .map(|(role, number)| Order::Spawn {
                role,
                number,
                successor: false,
            })
            .into_iter()
            .collect()
    }
}

impl Machine for Row {
    fn on(&mut self, event: Event) -> Vec<Order> {
        match event {
            Event::Start | Event::Ended(_, _, End::Done) => self.next(),
            Event::Ended(role, _, end) => {
                let error = match end {
                    End::Failed(error) => error,
                    End::Crashed(how) => Error::internal(how)
                        .context(format!("process \"{}\"", role.label()))
                        .hint("Repeat the command with --resume --not-consistent."),
                    End::Done => return Vec::new(),
                };
                self.failure.get_or_insert(error);
                vec![Order::StopAll]
            }
            Event::Report(_, _, Report::Flawed { error } | Report::GivenUp { error }) => {
                self.failure.get_or_insert(error);
                Vec::new()
            }
            Event::Report(..) => Vec::new(),
        }
    }

    fn failure(&self) -> Option<&Error> {
        self.failure.as_ref()
    }
}

/// Starts the processes that work for the cluster as a whole.
struct InstanceHost {
    input: PrepareInput,
    prepared: Option<Prepared>,
}

impl InstanceHost {
    fn input(&self) -> Result<PreDataInput> {
        let prepared = self
            .prepared
            .clone()
            .ok_or_else(|| Error::internal("a process was started before the run was prepared"))?;
        let silent = Bell::silent();
        Ok(PreDataInput {
            settings: self.input.settings.clone(),
            means: Means {
                source: prepared.link(self.input.source.as_ref(), Side::Source),
                target: prepared.link(self.input.target.as_ref(), Side::Target),
                layout: self.input.layout.clone(),
                run: Run {
                    id: prepared.run_id,
                },
                uuid: self.input.uuid.clone(),
                snapshot: None,
                consistent: false,
                encoding: prepared.encoding().to_owned(),
                fail_fast: false,
                shared: false,
                bells: Bells {
                    copy: silent,
                    index: silent,
                    vacuum: silent,
                },
            },
            prepared,
            requirements: Vec::new(),
            borrowed: false,
        })
    }
}

impl Host for InstanceHost {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        if role == Role::Prepare {
            let input = self.input.clone();
            return supervisor::spawn(role, number, successor, move |leaf| look(leaf, &input));
        }
        let input = self.input()?;
        supervisor::spawn(role, number, successor, move |leaf| match (role, number) {
            (Role::Roles, _) => roles::run(leaf, &input),
            (Role::Databases, LIMIT) => limit(leaf, &input),
            (Role::Databases, _) => create(leaf, &input),
            _ => Err(Error::internal("a process that has no place here")),
        })
    }

    fn note(&mut self, _role: Role, _number: u32, report: &Report) -> Result<()> {
        if let Report::Prepared { facts, .. } = report {
            let prepared = serde_json::from_value(facts.clone()).map_err(|error| {
                Error::internal(format!("could not read the facts of prepare: {error}"))
            })?;
            self.prepared = Some(prepared);
        }
        Ok(())
    }

    fn stopping(&mut self) {}
}

/// Clones every database. Blocks. `input` names the databases to connect to first, and the work directory, which
/// the caller holds. The run of the whole is returned, once it has begun, for the caller to close.
pub(super) fn run(
    input: &PrepareInput,
    requirements: &[super::requirements::Requirement],
    draw: DrawProgress,
) -> (Option<Run>, Result<()>) {
    let mut host = InstanceHost {
        input: input.clone(),
        prepared: None,
    };
    let first = [
        (Role::Prepare, 1),
        (Role::Roles, 1),
        (Role::Databases, CREATE),
    ];
    let mut result = supervisor::run(&mut Row::of(&first), &mut host);
    let begun = host.prepared.as_ref().map(|prepared| Run {
        id: prepared.run_id,
    });
    if result.is_ok() {
        result = side_by_side(input, requirements, draw);
    }
    if result.is_ok() {
        result = supervisor::run(&mut Row::of(&[(Role::Databases, LIMIT)]), &mut host);
    }
    (begun, result)
}

/// Clones all databases that are not complete yet, side by side. What fails with one of them does not keep the
/// others from being cloned, unless it would fail with these, too; the first failure is returned, all are printed.
fn side_by_side(
    input: &PrepareInput,
    requirements: &[super::requirements::Requirement],
    draw: DrawProgress,
) -> Result<()> {
    let settings = &input.settings;
    let places = Places {
        table: settings.table_jobs,
        index: settings.index_jobs,
        blob: settings.blob_jobs,
    };
    let switches = (settings.switches.fail_fast, settings.switches.progress);
    let mut unfinished = Vec::new();
    let databases = databases::databases(&input.layout)?;
    for database in &databases {
        let past = past(&database.layout(&input.layout))?;
        if past == PastRun::Complete {
            let bytes = pretty_bytes(database.bytes);
            log::info!("Database \"{}\" ({bytes}), is complete", database.name);
        } else {
            unfinished.push((database, past));
        }
    }
    let mut pool = Pool::new(places, switches, databases.len() - unfinished.len());
    let mut members = Members {
        all: Vec::new(),
        draw,
        since: clock::epoch_ms(),
    };
    for (database, past) in unfinished {
        let member = member(input, requirements, draw, (database, past))
            .context(|| format!("database \"{}\"", database.name))?;
        let choices = super::choices(&member.host.input.settings, false);
        pool.add((&database.name, database.bytes), Stages::new(choices));
        members.all.push(member);
    }
    if members.all.is_empty() {
        return Ok(());
    }
    logging::set_progress_shown(settings.switches.progress);
    let result = supervisor::run(&mut pool, &mut members);
    members.settle_all(&result)?;
    result
}

/// What came of earlier runs of one database.
fn past(layout: &Layout) -> Result<PastRun> {
    if !layout.ledger().exists() {
        return Ok(PastRun::None);
    }
    Run::past(&Ledger::open_read_only(&layout.ledger())?)
}

/// Claims the work directory of one database; nothing else is done for it yet.
fn member(
    input: &PrepareInput,
    requirements: &[super::requirements::Requirement],
    draw: DrawProgress,
    (database, past): (&Database, PastRun),
) -> Result<Member> {
    let mut settings = input.settings.clone();
    settings.dir = database.layout(&input.layout).top().to_path_buf();
    settings.intent = match past {
        PastRun::None => Intent::Fresh,
        _ => Intent::Resume,
    };
    // Roles were copied for all; the rest is the clone of a database like any other.
    settings.switches.roles = false;
    settings.switches.all_databases = false;
    // There is one progress line for all.
    settings.switches.progress = false;
    let named = |conn: &Option<ConnInfo>| Some(conn.as_ref()?.with_dbname(&database.name));
    let claim = Claim::take(Layout::new(settings.dir.clone()), Intent::Fresh)?;
    let silent = Bell::silent();
    let host = CloneHost {
        input: PrepareInput {
            settings,
            source: named(&input.source),
            target: named(&input.target),
            layout: claim.layout.clone(),
            uuid: claim.marker.uuid.clone(),
            snapshot: None,
        },
        bells: Bells {
            copy: silent,
            index: silent,
            vacuum: silent,
        },
        snapshot: None,
        borrowed: false,
        prepared: None,
        fresh: false,
        redo: false,
        requirements: requirements.to_vec(),
        draw,
        follow: None,
        scope: Some(format!("database \"{}\"", database.name)),
    };
    Ok(Member::new(host, claim))
}

/// The first process: refuses what cannot go well, writes the setup, the run, and the list of databases.
fn look(leaf: &mut Leaf<'_>, input: &PrepareInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    begun::refuse_used(&ledger, &input.settings)?;
    let (Some(source), Some(target)) = (&input.source, &input.target) else {
        return Err(Error::internal("a clone of all databases has two sides"));
    };
    let mut source = prepare::connect(leaf.role.label(), source, Side::Source)?;
    let _source = canceller.register(Token::from_session(&source.session));
    let mut target = prepare::connect(leaf.role.label(), target, Side::Target)?;
    let _target = canceller.register(Token::from_session(&target.session));
    let mut findings = Findings::default();
    findings.take(check::versions(
        &source.facts,
        &target.facts,
        &mut Findings::default(),
    ));
    findings.take(check::not_the_same_database(
        (&mut source.session, &source.facts),
        (&mut target.session, &target.facts),
    ));
    findings.refuse()?;
    let tools = Installed::find(&SearchPlaces::from_environment()).choose(
        source.facts.version,
        target.facts.version,
        false,
    )?;
    let databases = databases::list(&mut source.session)?;
    if !input.settings.switches.no_tablespaces {
        refuse_missing_tablespaces(&mut target, &databases)?;
    }
    let setup = recorded::setup_of_clone(input, &source.facts, &target.facts);
    let resumed = Setup::read(&ledger)?.filter(|_| Run::past(&ledger).ok() != Some(PastRun::None));
    if let Some(before) = &resumed {
        before.check_resumed(&setup)?;
        let left = Activity::all_backends(&ledger)?;
        worker::end_backends(leaf, (Some(&source.link), Some(&target.link)), &left)?;
    }
    let bytes = databases.iter().map(|database| database.bytes).sum();
    log::info!(
        "Found {} databases, {}",
        databases.len(),
        pretty_bytes(bytes)
    );
    databases::write(&input.layout, &databases)?;
    let run = ledger.write_durably(|tx| {
        setup.write(tx)?;
        Run::log_command(tx, &input.settings.cmdline)?;
        Activity::clear(tx)?;
        Run::begin(tx, "clone", !input.settings.switches.not_consistent)
    })?;
    let pins = (Some(source.link.pin.clone()), Some(target.link.pin.clone()));
    let sides = Sides {
        source: Some(source.facts),
        target: Some(target.facts),
        tools: Some(tools),
    };
    let mut prepared = Prepared::new(run.id, sides, pins);
    prepared.options = setup.options;
    let facts = serde_json::to_value(&prepared)
        .map_err(|error| Error::internal(format!("could not report facts: {error}")))?;
    leaf.report(&Report::Prepared { facts, reads: true });
    Ok(())
}

/// Errors: a tablespace of a database is not on the target.
pub(super) fn refuse_missing_tablespaces(
    target: &mut Connected,
    databases: &[Database],
) -> Result<()> {
    let rows = target
        .session
        .query("select spcname::text from pg_catalog.pg_tablespace", &[])?;
    let there: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let missing: Vec<String> = databases
        .iter()
        .filter_map(|database| Some((database, database.tablespace.as_ref()?)))
        .filter(|(_, tablespace)| !there.contains(tablespace))
        .map(|(database, tablespace)| {
            format!("\"{tablespace}\", for database \"{}\"", database.name)
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        format!("the target lacks tablespace {}", missing.join("; ")),
    )
    .hint("Create it on the target, or use --no-tablespaces."))
}

/// Makes the databases that the target lacks.
fn create(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let title = leaf.role.label();
    let mut target = input
        .means
        .target()?
        .session(title, &Profile::TargetPlain)?;
    let _target = canceller.register(Token::from_session(&target));
    let switches = &input.settings.switches;
    let with = CreateWith {
        owner: !switches.no_owner,
        tablespace: !switches.no_tablespaces,
    };
    for database in databases::databases(&input.means.layout)? {
        leaf.check()?;
        let name = &database.name;
        let there = target.query_opt(
            "select 1 from pg_catalog.pg_database where datname = $1::text",
            &[name],
        )?;
        if there.is_some() {
            log::info!("Database \"{name}\" already exists on the target, skipping CREATE");
            continue;
        }
        log::info!("Creating database \"{name}\" on the target");
        let statement = database.create(target.server_version, with);
        target
            .batch_execute(&statement)
            .context(|| format!("creating database \"{name}\""))
            .map_err(|error| {
                error.hint(
                    "Create the database on the target as it should be, and repeat the command \
                     with --resume --not-consistent: one that is there is used as it is.",
                )
            })?;
    }
    Ok(())
}

/// Gives the databases their connection limits, which might have kept this run out.
fn limit(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let title = leaf.role.label();
    let mut target = input
        .means
        .target()?
        .session(title, &Profile::TargetPlain)?;
    let _target = canceller.register(Token::from_session(&target));
    if input.settings.switches.skip_db_properties {
        return Ok(());
    }
    for database in databases::databases(&input.means.layout)? {
        if database.connection_limit >= 0 {
            let name = quote::ident(&database.name);
            let limit = database.connection_limit;
            target.batch_execute(&format!("alter database {name} connection limit {limit}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_a_row_follow_each_other_and_a_failure_ends_it() {
        let mut row = Row::of(&[(Role::Prepare, 1), (Role::Databases, CREATE)]);
        let spawn = |role| Order::Spawn {
            role,
            number: 1,
            successor: false,
        };
        assert_eq!(row.on(Event::Start), [spawn(Role::Prepare)]);
        let done = Event::Ended(Role::Prepare, 1, End::Done);
        assert_eq!(row.on(done), [spawn(Role::Databases)]);
        let died = End::Crashed("killed".to_owned());
        assert_eq!(
            row.on(Event::Ended(Role::Databases, 1, died)),
            [Order::StopAll]
        );
        assert_eq!(row.failure().map(Error::kind), Some(Kind::Internal));
    }
}
