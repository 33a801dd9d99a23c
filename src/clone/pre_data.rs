//! STEP 3: plans the units of the run, restores the pre-data section, and makes the target ready for
//! the workers; of all that what the command is for.
//!
//! Runs in the pre-data process, which is the plan process of commands that restore nothing first.
//! Reads the ledger, the archive and both servers; writes units, the target's schema and database
//! properties. All of pre-data is one transaction of `pg_restore`, so
//! that it is there as a whole or not at all; where the target's lock table is too small for that, it
//! goes through our own session, some entries a transaction with a record of how far it got.

use super::archive;
use super::begun;
use super::entrywise;
use super::facts::Prepared;
use super::formats;
use super::goal::{Goal, Part};
use super::plan;
use super::post_data::drop_progress_table;
use super::properties;
use super::requirements::{self, Requirement};
use super::restoring;
use super::rows;
use super::settings::CloneSettings;
use super::take_up;
use crate::catalog::{Ledger, Run, Step, sqlite_error};
use crate::dump::list_plan::{self, kept, plan_pre_data, print_edits};
use crate::dump::{ArchiveRun, Entry, RestoreMode, RestoreOptions, SchemaDir, Section};
use crate::error::{Context, Error, Result};
use crate::extension::spread;
use crate::pg::{PgSession, Profile, Token, at_once, quote};
use crate::schema::preflight::{PublicOwner, find_public_owner, list_roles};
use crate::schema::target;
use crate::supervisor::Leaf;
use crate::units::{Oid, Side};
use crate::worker::{self, Means};
use std::time::Instant;

/// What the pre-data process is given.
#[derive(Clone)]
pub(super) struct PreDataInput {
    pub(super) settings: CloneSettings,
    pub(super) means: Means,
    pub(super) prepared: Prepared,
    pub(super) requirements: Vec<Requirement>,
    /// Somebody else holds the snapshot: it is the same that earlier runs read with.
    pub(super) borrowed: bool,
}

/// Detail of the mark of a restore that was to drop what exists.
const DROP: &str = "drop-if-exists";
/// Entries that `pg_restore` is given in one transaction; more are restored in batches.
const ENTRIES_IN_ONE_MAX: usize = 500;
/// Locks that a restore of one relation takes, its TOAST table and index among them.
const LOCKS_PER_RELATION: u64 = 3;
/// Tables whose columns are looked up on the target at once.
pub(super) const TABLES_PER_QUERY: usize = 2000;

/// Runs step 3, or the planning of a command that restores nothing first. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let (means, goal) = (&input.means, input.settings.goal);
    let mut ledger = Ledger::open(&means.layout.ledger())?;
    ledger.leave_log()?;
    let dir = SchemaDir::new(means.layout.schema());
    let tool_settings = means.target()?.tool_settings(&means.uuid)?;
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let archive_run = || -> Result<ArchiveRun<'_>> {
        Ok(ArchiveRun {
            tools: input.prepared.tools()?,
            settings: &tool_settings,
            dir: &dir,
            stop: &stopping,
        })
    };
    let mut target = connect(leaf.role.label(), means, || {
        let lists = goal.builds() || goal.has(Part::PreData);
        lists.then(|| archive_run()?.list()).transpose()
    })?;
    let _target = canceller.register(Token::from_session(&target));
    if let Some(snapshot) = means.snapshot.as_deref().filter(|_| means.consistent) {
        means.run.set_snapshot(&ledger, snapshot)?;
    }
    plan::refuse_blocked(&ledger, goal)?;
    rows::look(input, &mut ledger, &mut target)?;
    plan::write_units(leaf, input, &mut ledger, &archive_run)?;
    begin(input, &mut ledger)?;
    rows::forget_record(input, &mut ledger, &mut target)?;
    if goal.has(Part::PreData) {
        if Run::marked(ledger.connection(), "pre-data")?.is_none() {
            restore(leaf, input, (&mut ledger, &mut target), &archive_run()?)?;
        } else {
            log::info!("Skipping the pre-data section, restored by a previous run");
            restoring::begin(input, (&mut ledger, &mut target))?;
        }
        let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
        Step::PreData.add(ledger.connection(), elapsed_ms, 0)?;
    }
    if !goal.has(Part::PreData) && goal != Goal::CopyExtensions {
        restoring::begin(input, (&mut ledger, &mut target))?;
    }
    if goal == Goal::RestorePreData {
        spread::distribute(&ledger, &mut target)?;
        return drop_progress_table(&ledger, &mut target, &means.uuid);
    }
    let fresh = ready(leaf, input, (&mut ledger, &mut target))?;
    leaf.report(&plan::left(&ledger, goal, fresh)?);
    Ok(())
}

/// Connects to the target, and has the lists of the archive made meanwhile: whoever reads them finds them
/// there. What fails in that fails again where they are read.
fn connect<T>(
    title: &'static str,
    means: &Means,
    beside: impl FnOnce() -> Result<T>,
) -> Result<PgSession> {
    let link = means.target()?;
    let (done, target) = at_once(beside, || link.session(title, &Profile::Catalog));
    if let Err(error) = done {
        log::debug!("{error}");
    }
    target
}

/// Writes down that the parts of the command are begun.
fn begin(input: &PreDataInput, ledger: &mut Ledger) -> Result<()> {
    let goal = input.settings.goal;
    let parts = goal.parts().iter().copied();
    // These are begun by processes of their own, before.
    let here = parts.filter(|part| !matches!(part, Part::Dump | Part::DumpRoles));
    ledger.write_durably(|tx| begun::begin(tx, input.means.run, &input.settings, here))
}

/// Makes the target ready for the workers. True when the tables to copy into are new, and empty but for
/// what this run copies.
fn ready(
    leaf: &Leaf<'_>,
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
) -> Result<bool> {
    let (run, goal) = (input.means.run, input.settings.goal);
    let connection = ledger.connection();
    let fresh = if goal.has(Part::PreData) {
        Run::marked(connection, "pre-data")?.is_some_and(|(by, _)| by == run.id)
    } else {
        begun::first_run(connection, Part::TableData)? == Some(run.id)
    };
    // Once post-data is restored but for event triggers, no unit leaves a record any more.
    let is_late = goal == Goal::Clone && Run::marked(connection, "post-data-main")?.is_some();
    if is_late {
        formats::look_at_target_tables(input, ledger, target)?;
        return Ok(fresh);
    }
    if goal.has(Part::TableData) || goal.copies_extensions() {
        make_progress_table(target)?;
    }
    if goal == Goal::CopyExtensions {
        requirements::make_in_their_schemas(input, (ledger, target))?;
        restoring::begin(input, (ledger, target))?;
    }
    if goal == Goal::CopyData || input.settings.switches.skip_extensions {
        requirements::leave_out_absent(input, (ledger, target))?;
    }
    if goal.has(Part::PreData) {
        spread::distribute(ledger, target)?;
    }
    if goal.has(Part::TableData) {
        rows::empty(leaf, input, (ledger, target))?;
        formats::look_at_target_tables(input, ledger, target)?;
    }
    take_up::take_up(input, ledger, target, fresh)?;
    Ok(fresh)
}

/// Makes the table in which parts leave their record.
fn make_progress_table(target: &mut PgSession) -> Result<()> {
    target
        .batch_execute(include_str!("sql/make_progress.sql"))
        .context(|| "creating table pgcopydb.progress on the target".to_owned())
}

/// Restores the pre-data section, and marks it.
fn restore(
    leaf: &mut Leaf<'_>,
    input: &PreDataInput,
    (ledger, target): (&mut Ledger, &mut PgSession),
    archive_run: &ArchiveRun<'_>,
) -> Result<()> {
    let switches = &input.settings.switches;
    let run = input.means.run;
    if !switches.skip_db_properties {
        properties::apply(ledger, target, run)?;
        properties::apply_statements(ledger, target, run, switches)?;
    }
    let entries = archive_run.list()?;
    let mut facts = archive::list_facts(
        ledger,
        switches,
        target::list_namespaces(&mut target.client)?,
    )?;
    if !input.settings.switches.no_owner && !input.prepared.target()?.role.is_superuser {
        facts.public_stays = keep_public(ledger, target, run, &facts)?;
    }
    facts.foreign_extensions = target::list_foreign_extensions(&mut target.client)?;
    // An extension that wants to be told of the restore is made before it.
    let is_told = restoring::is_wanted(input, ledger)?;
    if (is_told || input.settings.requirements.is_some()) && !switches.skip_extensions {
        facts.extensions = list_plan::ExtensionRule::Ours;
        let plan = plan_pre_data(&entries, &facts);
        requirements::make_extensions(input, (ledger, target), archive_run, &plan)?;
        facts
            .target_schemas
            .extend(target::list_namespaces(&mut target.client)?);
        restoring::begin(input, (ledger, target))?;
    }
    let plan = plan_pre_data(&entries, &facts);
    let list = archive_run.dir.filtered_list(Section::PreData);
    // A restore that was interrupted goes on with its own list: positions in it are on record.
    let list_before = std::fs::read_to_string(&list).unwrap_or_default();
    let before = Run::marked(ledger.connection(), "pre-data-begun")?;
    let begun = before.is_some();
    if begun {
        worker::end_tools(leaf, target, &input.means.uuid)?;
    }
    let flags = archive::restore_flags(&input.settings);
    let restored = kept(&plan.edits);
    let fits = input.prepared.relations * LOCKS_PER_RELATION <= input.prepared.target_lock_room;
    // Many entries go faster through our own session, as no answer is waited for in between.
    // A schema without tables leaves nothing to be recognised by, but a record of ours.
    let few = restored.len() <= ENTRIES_IN_ONE_MAX && !table_names(ledger, 1)?.is_empty();
    let in_one = fits && (few || switches.drop_if_exists);
    let dropped = Run::marked(ledger.connection(), "dropped")?.is_some();
    let wanted_before = before.is_some_and(|(_, detail)| detail == DROP);
    if wanted_before && !switches.drop_if_exists {
        return Err(not_dropped());
    }
    let may_be_ours = dropped || !switches.drop_if_exists;
    if in_one || !begun {
        archive_run.dir.write(&list, &print_edits(&plan.edits))?;
    }
    if begun && in_one && may_be_ours && was_restored(ledger, target)? {
        // Killed between the restore's COMMIT and our mark: the target tells.
        log::info!("The pre-data section is on the target already");
        return ledger.write(|tx| run.mark(tx, "pre-data", ""));
    }
    let detail = if switches.drop_if_exists { DROP } else { "" };
    ledger.write_durably(|tx| run.mark(tx, "pre-data-begun", detail))?;
    if switches.drop_if_exists && !dropped {
        facts.owners = list_roles(&mut target.client, Side::Target)?
            .into_iter()
            .collect();
        drop_without_schema(&entries, &facts, target)?;
        drop_tables(ledger, target)?;
        ledger.write_durably(|tx| run.mark(tx, "dropped", ""))?;
    }
    if in_one && !restored.is_empty() {
        let options = RestoreOptions {
            mode: RestoreMode::SingleTransaction,
            flags,
        };
        archive_run.restore(&list, &options)?;
    } else if !restored.is_empty() {
        let planned = if begun {
            entries_of(&list_before, &entries)?
        } else {
            restored
        };
        entrywise::restore(leaf, (&input.means, &flags), target, archive_run, &planned)?;
    }
    own_existing_schemas(target, &plan)?;
    ledger.write(|tx| run.mark(tx, "pre-data", ""))
}

fn not_dropped() -> Error {
    Error::bad_args("the first run was to drop what exists, and did not get to it")
        .hint("Repeat --drop-if-exists together with --resume.")
}

/// Whether schema `public` keeps the owner that it has on the target; told where it is another one.
fn keep_public(
    ledger: &Ledger,
    target: &mut PgSession,
    run: Run,
    facts: &list_plan::Facts,
) -> Result<bool> {
    let Some(public) = facts
        .schemas
        .values()
        .find(|schema| schema.name == "public")
    else {
        return Ok(false);
    };
    let becomes = find_public_owner(&mut target.client, &public.owner)?;
    if becomes == PublicOwner::Stays {
        let owner = quote::ident(&public.owner);
        let why =
            format!("Schema public belongs to {owner} on the source and keeps its owner here");
        log::warn!("{why}");
        run.notice(ledger.connection(), "owner left out", &why)?;
    }
    Ok(becomes != PublicOwner::Given)
}

/// The entries that a list keeps, in its order: what an interrupted restore was about.
fn entries_of<'e>(
    list: &str,
    entries: &'e [crate::dump::Entry],
) -> Result<Vec<&'e crate::dump::Entry>> {
    let ids = crate::dump::archive_list::parse_dump_ids(list)?;
    Ok(entries
        .iter()
        .filter(|entry| ids.contains(&entry.dump_id))
        .collect())
}

fn own_existing_schemas(target: &mut PgSession, plan: &list_plan::PreDataPlan<'_>) -> Result<()> {
    for (schema, owner) in plan
        .owed_owners
        .iter()
        .filter(|(schema, _)| schema != "public")
    {
        let statement = format!(
            "alter schema {} owner to {}",
            quote::ident(schema),
            quote::ident(owner)
        );
        target.batch_execute(&statement)?;
    }
    Ok(())
}

/// True when the tables of the ledger are on the target: `pg_restore` made them all or none.
fn was_restored(ledger: &Ledger, target: &mut PgSession) -> Result<bool> {
    let names = table_names(ledger, 20)?;
    if names.is_empty() {
        return Ok(false);
    }
    let pairs: Vec<target::RelationName> = names
        .into_iter()
        .map(|(_, nspname, relname)| (nspname, relname))
        .collect();
    let found = target::fetch_tables(&mut target.client, &pairs)?;
    Ok(found.iter().all(Option::is_some))
}

pub(super) fn table_names(ledger: &Ledger, limit: i64) -> Result<Vec<(Oid, String, String)>> {
    let read = || -> rusqlite::Result<Vec<(Oid, String, String)>> {
        ledger
            .connection()
            .prepare(
                "select oid, nspname, relname from s_table where is_extension = 0
                  order by oid limit ?1",
            )?
            .query_map([limit], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// `--drop-if-exists`: drops the publications and event triggers that are to be made. No table takes them along,
/// and an event trigger could forbid what follows.
fn drop_without_schema(
    entries: &[Entry],
    facts: &list_plan::Facts,
    target: &mut PgSession,
) -> Result<()> {
    let list = "select 'EVENT TRIGGER', evtname::text from pg_catalog.pg_event_trigger
                union all select 'PUBLICATION', pubname::text from pg_catalog.pg_publication";
    for row in target.query(list, &[])? {
        let (desc, name): (&str, &str) = (row.get(0), row.get(1));
        if list_plan::restores(entries, facts, desc, name) {
            let what = format!("{} {}", desc.to_lowercase(), quote::ident(name));
            log::info!("Drop {what} on the target, per --drop-if-exists");
            target
                .batch_execute(&format!("drop {what}"))
                .context(|| format!("dropping {what}, per --drop-if-exists"))?;
        }
    }
    Ok(())
}

/// `--drop-if-exists`: drops the tables that are to be made, in batches that fit the lock table. What
/// hangs on them goes, too: the preflight has seen that all of it is the source's.
fn drop_tables(ledger: &Ledger, target: &mut PgSession) -> Result<()> {
    /// Each one may take a dozen locks with its indexes.
    const BATCH: usize = 100;
    /// Tables that the log names.
    const NAMED_MAX: usize = 20;
    let names: Vec<target::RelationName> = table_names(ledger, i64::MAX)?
        .into_iter()
        .map(|(_, nspname, relname)| (nspname, relname))
        .collect();
    let mut there = Vec::new();
    for batch in names.chunks(TABLES_PER_QUERY) {
        let found = target::fetch_tables(&mut target.client, batch)?;
        let qualified = batch.iter().map(|(n, r)| quote::qualified(n, r));
        there.extend(
            qualified
                .zip(&found)
                .filter_map(|(qname, table)| table.is_some().then_some(qname)),
        );
    }
    let row = target.query_one("select pg_catalog.current_database()::text", &[])?;
    let more = there.len().saturating_sub(NAMED_MAX);
    log::info!(
        "Drop {} tables on the target database \"{}\", per --drop-if-exists: {}{}",
        there.len(),
        row.get::<_, &str>(0),
        there[..there.len() - more].join(", "),
        if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        }
    );
    for batch in names.chunks(BATCH) {
        let list: Vec<String> = batch
            .iter()
            .map(|(nspname, relname)| quote::qualified(nspname, relname))
            .collect();
        target
            .batch_execute(&format!("drop table if exists {} cascade", list.join(", ")))
            .context(|| "dropping tables, per --drop-if-exists".to_owned())?;
    }
    Ok(())
}
