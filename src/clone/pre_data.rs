//! STEP 3: plans the units of the run, then restores the pre-data section.
//!
//! Runs in the pre-data process. Reads the ledger, the archive and both servers; writes units, the
//! target's schema and database properties. All of pre-data is one transaction of `pg_restore`, so
//! that it is there as a whole or not at all; where the target's lock table is too small for that, it
//! goes through our own session, some entries a transaction with a record of how far it got.

use super::archive;
use super::entrywise;
use super::facts::Prepared;
use super::newcomers;
use super::properties;
use super::requirements::{self, Requirement};
use super::settings::{CloneSettings, FormatChoice};
use crate::blob;
use crate::catalog::{Ledger, Run, Step, sqlite_error, unit};
use crate::dump::list_plan::{self, kept, plan_pre_data, print_edits};
use crate::dump::script;
use crate::dump::{ArchiveRun, RestoreMode, RestoreOptions, SchemaDir, Section};
use crate::error::{Context, Error, Result};
use crate::pg::{PgSession, Profile, Token, quote};
use crate::schema::copy_format::{
    Column, Format, FormatFacts, FormatPolicy, copy_format, fetch_types,
};
use crate::schema::preflight::{PublicOwner, find_public_owner};
use crate::schema::target;
use crate::supervisor::{Leaf, Report};
use crate::units::{Oid, Side};
use crate::worker::{self, Means};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::time::Instant;

/// What the pre-data process is given.
#[derive(Clone)]
pub(super) struct PreDataInput {
    pub(super) settings: CloneSettings,
    pub(super) means: Means,
    pub(super) prepared: Prepared,
    pub(super) requirements: Vec<Requirement>,
}

/// Detail of the mark of a restore that was to drop what exists.
const DROP: &str = "drop-if-exists";
/// Entries that `pg_restore` is given in one transaction; more are restored in batches.
const ENTRIES_IN_ONE_MAX: usize = 500;
/// Locks that a restore of one relation takes, its TOAST table and index among them.
const LOCKS_PER_RELATION: u64 = 3;
/// Tables whose columns are looked up on the target at once.
const TABLES_PER_QUERY: usize = 2000;

/// Runs step 3. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let means = &input.means;
    let mut ledger = Ledger::open(&means.layout.ledger())?;
    let mut target = means.target.session(leaf.role.label(), &Profile::Catalog)?;
    let _target = canceller.register(Token::from_session(&target));
    let dir = SchemaDir::new(means.layout.schema());
    let tool_settings = means.target.tool_settings(&means.uuid)?;
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let archive_run = ArchiveRun {
        tools: &input.prepared.tools,
        settings: &tool_settings,
        dir: &dir,
        stop: &stopping,
    };
    plan(leaf, input, &mut ledger, &archive_run)?;
    let before = Run::marked(ledger.connection(), "pre-data")?;
    if before.is_none() {
        restore(leaf, input, (&mut ledger, &mut target), &archive_run)?;
    } else {
        log::info!("Skipping the pre-data section, restored by a previous run");
    }
    let restored_by = Run::marked(ledger.connection(), "pre-data")?.map(|(run, _)| run);
    let fresh = restored_by == Some(means.run.id);
    // Once post-data is restored but for event triggers, no unit leaves a record any more.
    let is_late = Run::marked(ledger.connection(), "post-data-main")?.is_some();
    if !is_late {
        make_progress_table(&mut target)?;
    }
    look_at_target_tables(input, &mut ledger, &mut target)?;
    if !fresh && !is_late {
        take_up(input, &mut ledger, &mut target)?;
    }
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::PreData.add(ledger.connection(), elapsed_ms, 0)?;
    leaf.report(&planned(&ledger, fresh)?);
    Ok(())
}

/// Writes the units of the run, once for a work directory.
fn plan(
    leaf: &mut Leaf<'_>,
    input: &PreDataInput,
    ledger: &mut Ledger,
    archive_run: &ArchiveRun<'_>,
) -> Result<()> {
    if Run::marked(ledger.connection(), "planned")?.is_some() {
        let is_restored = Run::marked(ledger.connection(), "pre-data")?.is_some();
        if !input.means.consistent && !is_restored {
            newcomers::take_in(input, ledger)?;
        }
        return Ok(());
    }
    let entries = archive_run.list()?;
    let taken = archive::entries_to_take(ledger, &entries)?;
    let script = if taken.is_empty() {
        script::Script::default()
    } else {
        let ids: std::collections::BTreeSet<i32> =
            taken.iter().map(|entry| entry.dump_id).collect();
        let list = crate::dump::archive_list::print(
            entries
                .iter()
                .map(|entry| (entry, ids.contains(&entry.dump_id))),
        );
        archive_run
            .dir
            .write(&archive_run.dir.script_list(), &list)?;
        let flags = archive::restore_flags(&input.settings);
        let text = archive_run.script(&archive_run.dir.script_list(), &flags)?;
        script::split(&text, &taken)?
    };
    let mut source = if input.settings.switches.skip_blobs {
        None
    } else {
        Some(snapshot_session(leaf, input)?)
    };
    let run = input.means.run;
    ledger.write(|tx| {
        archive::plan_units(tx, &script, input.settings.switches.skip_vacuum)?;
        if let Some(source) = &mut source {
            let batches = blob::plan(source, tx)?;
            log::debug!("Planned {batches} batches of large objects");
        }
        run.mark(tx, "planned", "")
    })
}

/// A session on the source that reads in the run's snapshot.
pub(super) fn snapshot_session(leaf: &Leaf<'_>, input: &PreDataInput) -> Result<PgSession> {
    let mut source = input
        .means
        .source
        .session(leaf.role.label(), &Profile::Catalog)?;
    source.batch_execute("begin isolation level repeatable read, read only")?;
    if let Some(id) = input
        .means
        .snapshot
        .as_deref()
        .filter(|_| input.means.consistent)
    {
        crate::snapshot::adopt(&mut source, id)?;
    }
    Ok(source)
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
    if !input.settings.switches.no_owner && !input.prepared.target.role.is_superuser {
        facts.public_stays = keep_public(ledger, target, run, &facts)?;
    }
    facts.foreign_extensions = target::list_foreign_extensions(&mut target.client)?;
    if input.settings.requirements.is_some() && !switches.skip_extensions {
        facts.extensions = list_plan::ExtensionRule::Ours;
        let plan = plan_pre_data(&entries, &facts);
        requirements::make_extensions(input, (ledger, target), archive_run, &plan)?;
        facts
            .target_schemas
            .extend(target::list_namespaces(&mut target.client)?);
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
        return Err(Error::bad_args(
            "the first run was to drop what exists, and did not get to it",
        )
        .hint("Repeat --drop-if-exists together with --resume."));
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

fn table_names(ledger: &Ledger, limit: i64) -> Result<Vec<(Oid, String, String)>> {
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

/// Makes the table in which parts leave their record.
fn make_progress_table(target: &mut PgSession) -> Result<()> {
    target
        .batch_execute(include_str!("sql/make_progress.sql"))
        .context(|| "creating table pgcopydb.progress on the target".to_owned())
}

/// Looks at the target's tables: which kind they are, and which format their columns allow.
fn look_at_target_tables(
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
) -> Result<()> {
    if Run::marked(ledger.connection(), "target-tables")?.is_some() {
        return Ok(());
    }
    let policy = match input.settings.copy_format {
        FormatChoice::Auto => FormatPolicy::Auto,
        FormatChoice::Text => FormatPolicy::Text,
        FormatChoice::Binary => FormatPolicy::Binary,
    };
    let mut facts = FormatFacts {
        same_datetimes: input.prepared.source.integer_datetimes
            == input.prepared.target.integer_datetimes,
        target_version: input.prepared.target.version,
        source_types: std::collections::HashMap::new(),
        target_types: std::collections::HashMap::new(),
    };
    if policy == FormatPolicy::Binary {
        facts.source_types = types_of(input, ledger)?;
    }
    let names = table_names(ledger, i64::MAX)?;
    let run = input.means.run;
    for batch in names.chunks(TABLES_PER_QUERY) {
        let pairs: Vec<target::RelationName> = batch
            .iter()
            .map(|(_, nspname, relname)| (nspname.clone(), relname.clone()))
            .collect();
        let found = target::fetch_tables(&mut target.client, &pairs)?;
        if policy == FormatPolicy::Binary {
            let oids: Vec<Oid> = found
                .iter()
                .flatten()
                .flat_map(|table| table.columns.iter().map(|column| column.type_oid))
                .collect();
            facts.target_types = fetch_types(&mut target.client, Side::Target, &oids)?;
        }
        ledger.write(|tx| {
            for ((oid, _, _), table) in batch.iter().zip(&found) {
                write_format(tx, *oid, table.as_ref(), (policy, &facts))?;
            }
            Ok(())
        })?;
    }
    ledger.write(|tx| run.mark(tx, "target-tables", ""))
}

fn types_of(input: &PreDataInput, ledger: &Ledger) -> Result<crate::schema::copy_format::TypeMap> {
    let read = || -> rusqlite::Result<Vec<Oid>> {
        ledger
            .connection()
            .prepare("select distinct type_oid from s_attr")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let oids = read().map_err(|error| sqlite_error("read", &error))?;
    let mut source = input
        .means
        .source
        .session("restore pre-data", &Profile::Catalog)?;
    fetch_types(&mut source.client, Side::Source, &oids)
}

fn write_format(
    tx: &Connection,
    oid: Oid,
    table: Option<&target::TargetTable>,
    (policy, facts): (FormatPolicy, &FormatFacts),
) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    let columns = tx
        .prepare_cached(
            "select attname, type_oid from s_attr where table_oid = ?1 and generated = 0
              order by attnum",
        )
        .and_then(|mut statement| {
            statement
                .query_map([oid], |row| {
                    Ok(Column {
                        attname: row.get(0)?,
                        type_oid: row.get(1)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<Column>>>()
        })
        .map_err(failed)?;
    let theirs: Vec<Column> = table
        .map(|table| {
            table
                .columns
                .iter()
                .filter(|column| !column.generated)
                .map(|column| Column {
                    attname: column.attname.clone(),
                    type_oid: column.type_oid,
                })
                .collect()
        })
        .unwrap_or_default();
    let format = match copy_format(&columns, &theirs, policy, facts) {
        Format::Text => "text",
        Format::Binary => "binary",
    };
    let list: Vec<&str> = columns
        .iter()
        .map(|column| column.attname.as_str())
        .collect();
    tx.prepare_cached(
        "insert or replace into s_copy (table_oid, columns, format, target_kind)
         values (?1, ?2, ?3, ?4)",
    )
    .and_then(|mut statement| {
        let kind = table.map_or("r", |table| table.relkind.as_str());
        statement.execute(params![oid, list.join(", "), format, kind])
    })
    .map(|_| ())
    .map_err(failed)
}

/// Goes on where an interrupted run stopped: parts that the target proves are done, tables whose
/// parts would mix snapshots are planned anew, unlogged tables that a crash emptied are copied again.
fn take_up(input: &PreDataInput, ledger: &mut Ledger, target: &mut PgSession) -> Result<()> {
    let rows = target.query(include_str!("sql/list_progress.sql"), &[&input.means.uuid])?;
    let mut proven: BTreeMap<(Oid, Oid, i64), i64> = BTreeMap::new();
    for row in &rows {
        let (object, part, plan): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        let oid = |value: i64| Oid::try_from(value).unwrap_or(0);
        proven.insert((oid(object), oid(part), plan), row.get(3));
    }
    ledger.write(|tx| {
        for ((table, part, plan), count) in &proven {
            tx.execute(
                "update unit set state = 'done', rows = ?4, error = null
                  where kind = 'copy' and table_oid = ?1 and object = ?2 and plan = ?3
                    and state in ('todo', 'waiting')",
                params![table, part, plan, count],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        }
        Ok(())
    })?;
    if !input.means.consistent {
        replan_split_tables(input, ledger)?;
        newcomers::take_in(input, ledger)?;
    }
    ledger.write(|tx| unit::advance(tx, 0))?;
    Ok(())
}

/// Without a common snapshot, parts of a table that are done do not go with parts to come.
fn replan_split_tables(input: &PreDataInput, ledger: &mut Ledger) -> Result<()> {
    let run = input.means.run;
    let tables = ledger.write(|tx| {
        let tables = unit::unfinished_split_tables(tx)?;
        for (oid, qname) in &tables {
            unit::replan_parts(tx, *oid)?;
            run.notice(
                tx,
                "copied from another snapshot",
                &format!(
                    "Table {qname} was split and not complete: all its parts are copied again"
                ),
            )?;
        }
        Ok(tables)
    })?;
    for (_, qname) in &tables {
        log::warn!("Table {qname} was split and not complete: all its parts are copied again");
    }
    let kept = ledger
        .connection()
        .prepare(
            "select qname from s_table t where is_extension = 0 and not exists (select 1 from unit u
              where u.table_oid = t.oid and u.kind in ('copy', 'truncate')
                and u.state not in ('done', 'skipped')) order by qname",
        )
        .and_then(|mut statement| {
            statement
                .query_map([], |row| row.get::<_, String>(0))?
                .collect::<rusqlite::Result<Vec<String>>>()
        })
        .map_err(|error| sqlite_error("read", &error))?;
    if !kept.is_empty() {
        let shown: Vec<&str> = kept.iter().take(20).map(String::as_str).collect();
        let more = if kept.len() > shown.len() {
            ", ..."
        } else {
            ""
        };
        log::warn!(
            "{} tables stay as an earlier snapshot had them: {}{more}",
            kept.len(),
            shown.join(", ")
        );
    }
    Ok(())
}

/// Counts what is left to do.
fn planned(ledger: &Ledger, fresh: bool) -> Result<Report> {
    let count = |condition: &str| -> Result<u64> {
        ledger
            .connection()
            .query_row(
                &format!(
                    "select count(*) from unit where state in ('todo', 'waiting') and ({condition})"
                ),
                [],
                |row| row.get::<_, i64>(0),
            )
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(|error| sqlite_error("read", &error))
    };
    Ok(Report::Planned {
        copies: count("kind in ('copy', 'truncate')")?,
        parts: count("kind = 'copy' and object <> 0")?,
        builds: count("kind in ('index', 'constraint', 'fkey', 'validate')")?,
        vacuums: count("kind = 'vacuum'")?,
        blobs: count("kind = 'blob'")?,
        extensions: count("kind = 'extension'")?,
        fresh,
    })
}
