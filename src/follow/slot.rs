//! The slot with its publications and its snapshot: made in the right order, taken up again after any
//! crash.
//!
//! Runs in leaf processes. Publications come first, as changes made while they do not exist cannot be
//! decoded; then the slot; then it is looked, with the slot's own snapshot, whether a table came in
//! between. What is about to be made is written down before, so that nothing of ours is ever left
//! without a record.

mod half_made;

pub use half_made::end_maker;

use super::files::{CdcDir, Plugin, SlotFile};
use super::publication::{self, Candidate, Plan};
use super::selection;
use super::source::{self, SourceFacts};
use crate::catalog::{CdcSetup, Ledger, Setup};
use crate::error::{Context, Error, Kind, Result};
use crate::filter::Rules;
use crate::pg::quote::ident;
use crate::pg::{Canceller, Link, PgSession, Token};
use crate::units::PgVersion;
use crate::wire::{Session, stop_requested};
use half_made::{INTENT, note_intent, note_made, note_maker, remove_half_made};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How often the set of tables may change while the slot is made.
const TRIES_MAX: u32 = 3;
/// After so long people are told whom the creation of the slot waits for.
const TELL_AFTER: Duration = Duration::from_secs(5);

/// The fact in the ledger that tells by which filters the tables were chosen, in one spelling.
const FILTERS: &str = "filters";
/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotSettings {
    /// Name of the slot.
    pub slot: String,
    /// Output plugin; none: the best that the source allows.
    pub plugin: Option<Plugin>,
    /// wal2json: numbers come as strings.
    pub numeric_as_string: bool,
    /// An existing publication to use.
    pub publication: Option<String>,
    /// Tables without replica identity may be followed without their UPDATE and DELETE.
    pub allow_no_identity: bool,
    /// A slot that a crash left may be taken up.
    pub resume: bool,
    /// What is not followed.
    pub filters: Option<Rules>,
}

/// The slot, and the session that holds its snapshot when it was made just now.
pub struct Made {
    /// What is recorded of it.
    pub file: SlotFile,
    /// Holds the snapshot while it does nothing else and stays open.
    pub holder: Option<Session>,
}

/// What everybody here needs.
pub struct Means<'a> {
    /// How to reach the source.
    pub link: &'a Link,
    /// The folder of change data.
    pub cdc: &'a CdcDir,
    /// Title of the sessions.
    pub title: &'a str,
    /// Cancels what runs when this process has to stop.
    pub canceller: &'a Canceller,
}

/// Makes the slot, or takes up the one that is recorded. Waits for all transactions that write.
pub fn make(means: &Means<'_>, ledger: &mut Ledger, settings: &SlotSettings) -> Result<Made> {
    means.cdc.make()?;
    let mut beside = source::connect_beside(means.link, means.title)?;
    let _registered = means.canceller.register(Token::from_session(&beside));
    let facts = source::read_facts(&mut beside)?;
    if let Some(file) = means.cdc.read_slot()? {
        take_up(&file, settings, &facts, &mut beside, ledger)?;
        return Ok(Made { file, holder: None });
    }
    let rules = settings.filters.as_ref();
    let tables = selection::candidates(&mut beside, facts.version, rules)?;
    let plugin = choose_plugin(settings, &facts, &tables)?;
    facts.check(plugin)?;
    if settings.publication.is_some() && plugin != Plugin::Pgoutput {
        return Err(Error::bad_args(
            "option --publication needs --plugin pgoutput",
        ));
    }
    remove_half_made(&mut beside, ledger, &settings.slot, plugin, &facts)?;
    refuse_existing(&mut beside, settings)?;
    let mut tables = tables;
    for attempt in 1..=TRIES_MAX {
        let plan = publication::plan(&settings.slot, &tables, facts.version);
        look_at_tables(plugin, settings, &plan)?;
        let names = prepare_publications(&mut beside, ledger, settings, plugin, (&plan, &tables))?;
        let mut note = |pid: i32| note_maker(&mut beside, ledger, pid);
        let made = create(means, (&settings.slot, plugin), false, &mut note);
        let (holder, created) = match made {
            Ok(made) => made,
            Err(error) => {
                drop_own_publications(&mut beside, ledger)?;
                if is_refusal(&error) {
                    CdcSetup::put(ledger, &[(INTENT, "")])?;
                }
                return Err(error);
            }
        };
        note_made(ledger, &settings.slot, created.lsn)?;
        let now = selection::in_snapshot(means, &created.snapshot, &facts, rules)?;
        if plugin == Plugin::Pgoutput && settings.publication.is_none() && now.0 != tables {
            log::warn!(
                "Tables were made or dropped while the replication slot was made (attempt {attempt}), \
                 making it again"
            );
            drop(holder);
            drop_slot(&mut beside, &settings.slot)?;
            drop_own_publications(&mut beside, ledger)?;
            tables = now.0;
            continue;
        }
        let file = SlotFile {
            slot: settings.slot.clone(),
            lsn: created.lsn,
            snapshot: created.snapshot,
            plugin,
            numeric_as_string: settings.numeric_as_string,
            publications: names,
            tli: 0,
        };
        selection::write(means.cdc, &now.1)?;
        record((&file, rules), &facts, &mut beside, ledger)?;
        means.cdc.write_slot(&file)?;
        // Only now: without either of them nobody would know whose slot it is.
        CdcSetup::put(ledger, &[(INTENT, "")])?;
        log::info!(
            "Created logical replication slot \"{}\" with plugin \"{}\" at {} and exported snapshot {}",
            file.slot,
            plugin.name(),
            file.lsn,
            file.snapshot
        );
        return Ok(Made {
            file,
            holder: Some(holder),
        });
    }
    Err(Error::new(
        Kind::Source,
        "tables are made or dropped on the source all the time, so that no publication fits",
    )
    .hint("Wait until migrations of its schema are over, then start again."))
}

/// Whether the server has made no slot for certain: one of that name is somebody else's then.
fn is_refusal(error: &Error) -> bool {
    error
        .sqlstate()
        .is_some_and(|code| !code.starts_with("57") && !code.starts_with("08"))
}

/// Makes a slot itself; the session holds its snapshot, and a temporary one altogether. `note` hears of the
/// server process before it begins, as it outlives us while it waits for transactions.
pub fn create(
    means: &Means<'_>,
    (name, plugin): (&str, Plugin),
    temporary: bool,
    note: &mut dyn FnMut(i32) -> Result<()>,
) -> Result<(Session, source::Created)> {
    let mut holder = source::connect_replication(means.link, means.title, Duration::from_secs(60))?;
    note(holder.backend_pid())?;
    let _cancel = means
        .canceller
        .register(Token::Wire(holder.cancel_token()?));
    // Whoever comes after us ends what is noted, once: nothing is begun by one that is to end itself.
    if stop_requested() {
        return Err(Error::new(
            Kind::Stopped(15),
            "stopped before the replication slot was made",
        ));
    }
    let _told = tell_who_is_waited_for(means.link.clone(), means.title.to_owned())?;
    let created = source::create_slot(&mut holder, name, plugin, temporary)?;
    Ok((holder, created))
}

/// Accepts a recorded slot when it is the one asked for and still there.
fn take_up(
    file: &SlotFile,
    settings: &SlotSettings,
    facts: &SourceFacts,
    beside: &mut PgSession,
    ledger: &Ledger,
) -> Result<()> {
    check_recorded(file, &settings.slot, settings.plugin)?;
    if let Some(rules) = &settings.filters {
        check_filters(ledger, &rules.canonical())?;
    }
    let known = |name: &str| CdcSetup::get(ledger.connection(), name);
    let other = known("system_id")?.is_some_and(|id| id != facts.system_id)
        || known("database_oid")?.is_some_and(|oid| oid != facts.database_oid.to_string());
    if other {
        return Err(
            Error::bad_state("the source is another database than before")
                .hint("Give the connection string that the follow was set up with."),
        );
    }
    let slot = source::read_slot(beside, &file.slot)?.ok_or_else(|| {
        Error::new(
            Kind::Source,
            format!("replication slot \"{}\" does not exist any more", file.slot),
        )
        .detail(format!(
            "It was made at {}; changes since then are lost.",
            file.lsn
        ))
        .hint("Run \"pgcopydb stream cleanup\" and begin anew.")
    })?;
    if let Some(why) = slot.lost {
        return Err(Error::new(
            Kind::Source,
            format!(
                "replication slot \"{}\" can no longer be used: {why}",
                file.slot
            ),
        )
        .hint("Run \"pgcopydb stream cleanup\" and begin anew."));
    }
    if slot.plugin != file.plugin.name() || slot.database != facts.database {
        return Err(Error::bad_state(format!(
            "replication slot \"{}\" is not the one that was set up",
            file.slot
        )));
    }
    log::info!(
        "Re-using replication slot \"{}\" created at {} with snapshot \"{}\"",
        file.slot,
        file.lsn,
        file.snapshot
    );
    Ok(())
}

/// By which filters the followed tables were chosen, in one spelling; none where none were given then.
pub fn recorded_filters(ledger: &Ledger) -> Result<Option<String>> {
    let recorded = CdcSetup::get(ledger.connection(), FILTERS)?;
    Ok(recorded.filter(|filters| !filters.is_empty()))
}

/// Refuses other filters than those by which the tables were chosen, for the slot or by a copy after it.
fn check_filters(ledger: &Ledger, given: &str) -> Result<()> {
    let recorded = match recorded_filters(ledger)? {
        Some(recorded) => recorded,
        None => Setup::read(ledger)?
            .map(|setup| setup.filters)
            .unwrap_or_default(),
    };
    if recorded == given {
        return Ok(());
    }
    let without = recorded.is_empty();
    Err(Error::bad_state(if without {
        "this follow was set up without filters"
    } else {
        "this follow was set up with other filters"
    })
    .detail("What is followed is decided with the replication slot, and by the copy made with it.")
    .hint("Leave --filters out, or begin anew with --restart and a new copy."))
}

/// Refuses names that differ from those recorded.
pub fn check_recorded(file: &SlotFile, slot: &str, plugin: Option<Plugin>) -> Result<()> {
    if file.slot != slot {
        return Err(Error::bad_state(format!(
            "this work directory was set up with replication slot \"{}\", not \"{slot}\"",
            file.slot
        ))
        .hint("Repeat --slot-name of the first command."));
    }
    if let Some(plugin) = plugin.filter(|plugin| *plugin != file.plugin) {
        return Err(Error::bad_state(format!(
            "this work directory was set up with plugin {}, not {}",
            file.plugin.name(),
            plugin.name()
        ))
        .hint("Leave out --plugin: what was recorded at setup counts."));
    }
    Ok(())
}

/// pgoutput where nothing speaks against it.
fn best_plugin(settings: &SlotSettings, facts: &SourceFacts, tables: &[Candidate]) -> Plugin {
    let not_owned =
        |table: &&Candidate| !table.is_owned && !table.is_unlogged && !table.is_excluded;
    let against = if facts.version < PgVersion(100_000) {
        Some("the source is older than PostgreSQL 10".to_owned())
    } else if settings.publication.is_some() {
        None
    } else if facts.is_standby {
        Some("no publication can be made on a standby".to_owned())
    } else {
        tables.iter().find(not_owned).map(|table| {
            format!(
                "the role does not own {} and may not publish it",
                table.qname
            )
        })
    };
    match against {
        None => {
            log::info!("Using plugin pgoutput, which needs nothing but publications");
            Plugin::Pgoutput
        }
        Some(why) => {
            log::info!("Using plugin test_decoding, as {why}");
            Plugin::TestDecoding
        }
    }
}

/// The plugin that was asked for, else pgoutput where nothing speaks against it.
fn choose_plugin(
    settings: &SlotSettings,
    facts: &SourceFacts,
    tables: &[Candidate],
) -> Result<Plugin> {
    let plugin = match settings.plugin {
        Some(plugin) => plugin,
        None => best_plugin(settings, facts, tables),
    };
    if settings.numeric_as_string && plugin != Plugin::Wal2json {
        return Err(Error::bad_args(
            "option --wal2json-numeric-as-string needs --plugin wal2json",
        ));
    }
    if plugin == Plugin::Wal2json && !settings.numeric_as_string {
        log::warn!(
            "wal2json turns NaN and infinite numbers into nulls: where there may be some, use \
             --wal2json-numeric-as-string (wal2json 2.6 and later), or --plugin pgoutput"
        );
    }
    if facts.is_standby && plugin == Plugin::Pgoutput && settings.publication.is_none() {
        return Err(Error::new(Kind::Source, "no publication can be made on a standby")
            .hint("Make one on the primary and name it with --publication, or use --plugin test_decoding."));
    }
    Ok(plugin)
}

/// Says what cannot be followed, and refuses to go on where rows would get lost without a sign.
fn look_at_tables(plugin: Plugin, settings: &SlotSettings, plan: &Plan) -> Result<()> {
    if !plan.unlogged.is_empty() {
        log::warn!(
            "Unlogged tables are copied once and not followed: {}",
            plan.unlogged.join(", ")
        );
    }
    if plugin == Plugin::Pgoutput && settings.publication.is_none() && !plan.not_owned.is_empty() {
        return Err(Error::new(
            Kind::Source,
            "the role may not publish all tables of the source",
        )
        .detail(format!("It does not own {}.", plan.not_owned.join(", ")))
        .hint(
            "Use the owner, a superuser, --publication with a publication that an administrator \
             made, or --plugin test_decoding.",
        ));
    }
    if plan.without_identity.is_empty() {
        return Ok(());
    }
    let statements: Vec<String> = plan
        .without_identity
        .iter()
        .map(|name| format!("ALTER TABLE {name} REPLICA IDENTITY FULL;"))
        .collect();
    if plugin == Plugin::TestDecoding || settings.allow_no_identity {
        log::warn!(
            "UPDATE and DELETE of these tables cannot be followed, as nothing tells which row is meant: {}",
            plan.without_identity.join(", ")
        );
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        "tables without a replica identity: their UPDATE and DELETE would be lost",
    )
    .detail(statements.join("\n"))
    .hint(
        "Run these statements on the source (or give the tables a primary key), or use \
         --allow-no-identity if rows of these tables are never updated or deleted.",
    ))
}

fn refuse_existing(beside: &mut PgSession, settings: &SlotSettings) -> Result<()> {
    let name = &settings.slot;
    let Some(slot) = source::read_slot(beside, name)? else {
        return Ok(());
    };
    let state = match slot.active_pid {
        Some(pid) => format!("in use by process {pid}"),
        None => "not in use".to_owned(),
    };
    Err(Error::new(
        Kind::Source,
        format!("replication slot \"{name}\" already exists"),
    )
    .with_sqlstate("42710")
    .detail(format!(
        "It is {state}, of plugin {}, confirmed up to {}.",
        slot.plugin, slot.confirmed
    ))
    .hint(format!(
        "Use --resume in the work directory that it belongs to, another --slot-name, or \
         \"pgcopydb stream cleanup --slot-name {name}\" to drop it."
    )))
}

/// Makes our publications, or looks at the one that was named. Writes down what will be made first.
fn prepare_publications(
    beside: &mut PgSession,
    ledger: &mut Ledger,
    settings: &SlotSettings,
    plugin: Plugin,
    (plan, tables): (&Plan, &[Candidate]),
) -> Result<Vec<String>> {
    // A standby has no position that it would write next.
    let row = beside.query_one(
        "select case when pg_catalog.pg_is_in_recovery() then '0/0' else \
         (pg_catalog.to_jsonb(c) ->> 'redo_lsn') end from pg_catalog.pg_control_checkpoint() c",
        &[],
    )?;
    let at: Option<String> = row.get(0);
    note_intent(ledger, &settings.slot, at.as_deref().unwrap_or("0/0"))?;
    if plugin != Plugin::Pgoutput {
        return Ok(Vec::new());
    }
    if let Some(name) = &settings.publication {
        let excluded = tables.iter().filter(|table| table.is_excluded);
        let excluded: Vec<i64> = excluded.map(|table| table.oid).collect();
        publication::check_given(beside, name, &excluded)?;
        return Ok(vec![name.clone()]);
    }
    let names: Vec<String> = plan
        .wanted
        .iter()
        .map(|wanted| wanted.name.clone())
        .collect();
    for name in &names {
        if publication::fingerprint(beside, name)?.is_some() {
            return Err(Error::new(
                Kind::Source,
                format!("publication \"{name}\" already exists on the source"),
            )
            .hint("Use another --slot-name, name it with --publication, or drop it."));
        }
    }
    CdcSetup::put(ledger, &[("own_publications", &names.join("\n"))])?;
    publication::create(beside, plan)?;
    // A copy leaves them out, which knows objects of the source by oid.
    let rows = beside.query(
        "select oid::text from pg_catalog.pg_publication where pubname = any ($1)",
        &[&names],
    )?;
    let oids: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    CdcSetup::put(ledger, &[("own_publication_oids", &oids.join("\n"))])?;
    Ok(names)
}

/// Drops the publications that are recorded as ours.
pub fn drop_own_publications(beside: &mut PgSession, ledger: &mut Ledger) -> Result<()> {
    let recorded = CdcSetup::get(ledger.connection(), "own_publications")?.unwrap_or_default();
    for name in recorded.lines().filter(|name| !name.is_empty()) {
        beside
            .batch_execute(&format!("drop publication if exists {}", ident(name)))
            .context(|| format!("dropping publication \"{name}\""))?;
    }
    CdcSetup::put(ledger, &[("own_publications", "")])
}

/// Drops a slot.
pub fn drop_slot(beside: &mut PgSession, name: &str) -> Result<()> {
    beside
        .query("select pg_catalog.pg_drop_replication_slot($1)", &[&name])
        .map(drop)
        .context(|| format!("dropping replication slot \"{name}\""))
}

/// Writes down what the stream will be compared with.
fn record(
    (file, rules): (&SlotFile, Option<&Rules>),
    facts: &SourceFacts,
    beside: &mut PgSession,
    ledger: &mut Ledger,
) -> Result<()> {
    let fingerprints = publication::fingerprints(beside, &file.publications)?;
    CdcSetup::put(
        ledger,
        &[
            ("system_id", &facts.system_id),
            ("database_oid", &facts.database_oid.to_string()),
            ("publications", &fingerprints),
            (FILTERS, &rules.map(Rules::canonical).unwrap_or_default()),
        ],
    )
}

/// Ends the thread when it is dropped.
struct Teller(Arc<(Mutex<bool>, Condvar)>);

impl Drop for Teller {
    fn drop(&mut self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }
}

/// Logs, from a thread, whom the creation of the slot waits for, every so often until dropped.
fn tell_who_is_waited_for(link: Link, title: String) -> Result<Teller> {
    let signal = Arc::new((Mutex::new(false), Condvar::new()));
    let shared = Arc::clone(&signal);
    let body = move || {
        loop {
            let done = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            let waited = shared.1.wait_timeout(done, TELL_AFTER);
            let (done, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if *done {
                return;
            }
            drop(done);
            if !timeout.timed_out() {
                continue;
            }
            let rows = source::connect_beside(&link, &title).and_then(|mut session| {
                session.query(include_str!("sql/list_waited_for.sql"), &[])
            });
            match rows {
                Ok(rows) => {
                    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
                    log::warn!(
                        "The creation of the replication slot waits for transactions that have written: {}",
                        names.join("; ")
                    );
                }
                Err(error) => log::debug!("{error}"),
            }
        }
    };
    std::thread::Builder::new()
        .name("teller".to_owned())
        .spawn(body)
        .map_err(|error| Error::internal(format!("could not start a thread: {error}")))?;
    Ok(Teller(signal))
}
