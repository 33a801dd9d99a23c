//! The prepare process: looks at both sides and at the work directory, and refuses what cannot go
//! well before anything is changed on the target.
//!
//! Runs first of all, in a leaf. Reads both servers; writes the setup and the run into the ledger;
//! ends server processes that an interrupted run has left.

use super::facts::Prepared;
use super::filters;
use super::settings::CloneSettings;
use super::survey::{self, Looked};
use crate::catalog::{Activity, Ledger, PastRun, Run, Setup, unit};
use crate::check;
use crate::conninfo::{ConnInfo, Pin};
use crate::error::{Error, Result};
use crate::filter::LeftOut;
use crate::pg::{Link, PgSession, Profile, Token, endpoint};
use crate::schema::server::{ServerFacts, read_server_facts};
use crate::supervisor::{Leaf, Report};
use crate::units::Side;
use crate::wire;
use crate::workdir::{Claim, Intent, Layout};
use crate::worker;

/// What the prepare process is given.
#[derive(Clone)]
pub(super) struct PrepareInput {
    pub(super) settings: CloneSettings,
    pub(super) source: ConnInfo,
    pub(super) target: ConnInfo,
    pub(super) layout: Layout,
    pub(super) uuid: String,
}

/// One side, connected.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) session: PgSession,
    pub(super) facts: ServerFacts,
    /// What is odd about the way to it.
    pub(super) warning: Option<Error>,
}

/// Runs the prepare process. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PrepareInput) -> Result<()> {
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.layout.ledger())?;
    refuse_used(&ledger, &input.settings)?;
    let mut source = connect(leaf.role.label(), &input.source, Side::Source)?;
    let _source = canceller.register(Token::from_session(&source.session));
    let mut target = connect(leaf.role.label(), &input.target, Side::Target)?;
    let _target = canceller.register(Token::from_session(&target.session));
    log::info!(
        "[SOURCE] Copying database from \"{}\"",
        input.source.safe_uri()
    );
    log::info!(
        "[TARGET] Copying database into \"{}\"",
        input.target.safe_uri()
    );
    let Looked {
        mut findings,
        found,
        tools,
        selection,
    } = survey::look(
        &input.settings,
        (&mut source, &mut target),
        None,
        known_left_out(&ledger)?,
    )?;
    let (Some(found), Some(tools)) = (found, tools) else {
        findings.refuse()?;
        return Err(Error::internal("nothing was found, and nothing in the way"));
    };
    log::info!(
        "Using pg_dump and pg_restore {} at \"{}\"",
        tools.version,
        tools.dir.display()
    );
    if input.settings.filters.is_some() && !selection.explained.is_empty() {
        filters::say(&selection);
    }
    let setup = setup_of(input, &source.facts, &target.facts);
    let resumed = Setup::read(&ledger)?.filter(|_| Run::past(&ledger).ok() != Some(PastRun::None));
    if let Some(before) = &resumed {
        before.check_resumed(&setup)?;
    }
    let sessions = (&mut source.session, &mut target.session);
    findings.take(refuse_occupied(
        &ledger,
        &input.settings,
        sessions,
        (resumed.is_none(), &selection.left_out),
    ));
    findings.refuse()?;
    if resumed.is_some() {
        let left = Activity::all_backends(&ledger)?;
        worker::end_backends(leaf, &source.link, &target.link, &left)?;
    }
    let run = ledger.write_durably(|tx| {
        setup.write(tx)?;
        Run::log_command(tx, &input.settings.cmdline)?;
        Activity::clear(tx)?;
        unit::reset_for_run(tx)?;
        Run::begin(tx, "clone", !input.settings.switches.not_consistent)
    })?;
    let prepared = Prepared {
        run_id: run.id,
        source_pin: source.link.pin.clone(),
        target_pin: target.link.pin.clone(),
        target_lock_room: target.facts.limits.lock_room(),
        relations: found.locked_relations,
        can_leave_progress: target.facts.role.can_create,
        tools,
        source: source.facts,
        target: target.facts,
    };
    let facts = serde_json::to_value(&prepared)
        .map_err(|error| Error::internal(format!("could not report facts: {error}")))?;
    leaf.report(&Report::Prepared { facts });
    Ok(())
}

/// What filters leave out, once a run has found it out in its snapshot.
fn known_left_out(ledger: &Ledger) -> Result<Option<LeftOut>> {
    match Run::marked(ledger.connection(), "fetched")? {
        Some(_) => LeftOut::of_ledger(ledger.connection()).map(Some),
        None => Ok(None),
    }
}

/// Refuses to overwrite or drop on the target what the user did not speak of.
fn refuse_occupied(
    ledger: &Ledger,
    settings: &CloneSettings,
    (source, target): (&mut PgSession, &mut PgSession),
    (first, left_out): (bool, &LeftOut),
) -> Result<()> {
    let switches = &settings.switches;
    if !switches.drop_if_exists {
        return if first {
            check::target_is_empty((source, left_out), target, !switches.skip_blobs)
        } else {
            Ok(())
        };
    }
    // Once the restore has begun, no table is dropped any more.
    if Run::marked(ledger.connection(), "pre-data-begun")?.is_some() {
        return Ok(());
    }
    check::nothing_else_is_dropped((source, left_out), target)
}

/// Connects to a side for the first time; whoever answers serves the whole run.
pub(super) fn connect(title: &str, conn: &ConnInfo, side: Side) -> Result<Connected> {
    let (mut first, pin): (wire::Session, Pin) = endpoint::find(conn, side, title)?;
    let seen = Seen::by(&mut first)?;
    let told = first.backend_pid();
    first.close();
    let link = Link {
        conn: conn.pinned(&pin),
        pin,
        side,
    };
    let mut session = link.session(title, &Profile::Catalog)?;
    let row = session.query_one(SEE, &[])?;
    if seen.started != row.get::<_, String>(1) {
        return Err(Error::new(
            side.kind(),
            format!("connections to one address of the {side} reach different servers"),
        )
        .hint("Give the address of one server, not that of a load balancer."));
    }
    let warning = (seen.pid != told.to_string()).then(|| {
        Error::new(
            side.kind(),
            format!("the {side} is reached through a connection pooler"),
        )
        .hint(
            "Give the server's own address: a pooler may end sessions that hold a snapshot, and \
             statements that are stopped go on behind it.",
        )
    });
    let facts = read_server_facts(&mut session.client, side)?;
    Ok(Connected {
        link,
        session,
        facts,
        warning,
    })
}

/// Which backend of which server this is.
const SEE: &str = "select pg_catalog.pg_backend_pid()::text, \
    (1000 * pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()))::int8::text";

/// The answer.
struct Seen {
    pid: String,
    started: String,
}

impl Seen {
    fn by(session: &mut wire::Session) -> Result<Self> {
        let results = session.simple(SEE)?;
        let row = results.first().and_then(|result| result.rows.first());
        match row.map(Vec::as_slice) {
            Some([Some(pid), Some(started)]) => Ok(Self {
                pid: pid.clone(),
                started: started.clone(),
            }),
            _ => Err(Error::internal("a query gave no value")),
        }
    }
}

pub(super) fn setup_of(input: &PrepareInput, source: &ServerFacts, target: &ServerFacts) -> Setup {
    Setup {
        uuid: input.uuid.clone(),
        source_uri: input.source.safe_uri(),
        target_uri: input.target.safe_uri(),
        source_identity: check::identity(source),
        target_identity: check::identity(target),
        source_version: source.version.0,
        target_version: target.version.0,
        split_bytes: input.settings.split_bytes,
        split_max_parts: input.settings.split_max_parts,
        options: input.settings.lasting_options(),
        filters: input.settings.canonical_filters(),
    }
}

/// Refuses a work directory that was used, unless the user said what to do with it.
pub(super) fn refuse_used(ledger: &Ledger, settings: &CloneSettings) -> Result<()> {
    let past = Run::past(ledger)?;
    let dir = settings.dir.display();
    match (past, settings.intent) {
        (PastRun::Complete, Intent::Fresh | Intent::Resume) => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a run that is complete"
        ))
        .hint("Use --restart to begin anew there, or give another directory with --dir.")),
        (PastRun::Interrupted, Intent::Fresh) => Err(Error::bad_state(format!(
            "work directory \"{dir}\" belongs to a run that did not finish"
        ))
        .hint(
            "Use --resume --not-consistent to go on (--resume alone while its snapshot is still \
             held by another process), or --restart to begin anew.",
        )),
        _ => Ok(()),
    }
}

/// Refuses, before any process is started, a resume that could not read consistently.
pub(super) fn refuse_resume_without_snapshot(
    settings: &CloneSettings,
    claim: &Claim,
) -> Result<Option<String>> {
    let file = std::fs::read_to_string(claim.layout.snapshot()).unwrap_or_default();
    let in_file = file
        .lines()
        .next()
        .map(str::trim)
        .filter(|id| !id.is_empty());
    if settings.switches.not_consistent {
        return Ok(None);
    }
    if let Some(given) = &settings.snapshot {
        if in_file.is_some_and(|id| id != given) {
            return Err(Error::bad_args(format!(
                "snapshot \"{given}\" is not the one of the work directory, \"{}\"",
                in_file.unwrap_or_default()
            ))
            .hint("Leave --snapshot out, or use --not-consistent."));
        }
        return Ok(Some(given.clone()));
    }
    if settings.intent == Intent::Resume {
        return in_file.map(|id| Some(id.to_owned())).ok_or_else(|| {
            Error::bad_args("option --resume needs a snapshot that is still held, or --not-consistent")
                .hint("Use --resume --not-consistent: tables that are still to be copied are then read as they are now.")
        });
    }
    Ok(None)
}
