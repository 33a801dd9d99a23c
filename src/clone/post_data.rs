//! STEP 10: what remains of the schema, then the last looks.
//!
//! Runs in the post-data process. Before a retry the list is compared with what the target has. At
//! its end unlogged tables are looked at, which a crash of the target empties; event triggers come
//! after everything that would fire them; statistics of partitioned tables and materialized views are
//! made; our own record on the target goes.

use super::archive;
use super::goal::Part;
use super::left_behind;
use super::pre_data::PreDataInput;
use super::properties;
use super::restoring;
use crate::catalog::{Ledger, Run, Sentinel, Step, sqlite_error};
use crate::dump::list_plan::{
    LIST_EXISTING, LIST_EXISTING_PUBLICATION_SCHEMAS, kept, left_behind, narrowed, plan_post_data,
    print_edits,
};
use crate::dump::{ArchiveRun, Entry, RestoreMode, RestoreOptions, SchemaDir, Section};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, Profile, Token};
use crate::schema::preflight::list_roles;
use crate::schema::target;
use crate::supervisor::{Leaf, Report};
use crate::units::{Oid, Side};
use crate::worker;
use std::collections::BTreeSet;
use std::time::Instant;

/// Runs step 10. Blocks.
pub(super) fn run(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let means = &input.means;
    let mut ledger = Ledger::open(&means.layout.ledger())?;
    if !means.shared {
        // The supervisor closes it last, when it writes the end of the run.
        ledger.leave_log()?;
    }
    let mut target = means
        .target()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let _registered = canceller.register(Token::from_session(&target));
    if redo_emptied_tables(&mut ledger, &mut target)? {
        restoring::begin(input, (&mut ledger, &mut target))?;
        if input.settings.goal.has(Part::TableData) {
            leaf.report(&Report::Redo);
            return Ok(());
        }
        return Err(Error::new(
            Kind::Target,
            "unlogged tables lost their rows in a crash of the target",
        )
        .hint("Copy them again: pgcopydb copy table-data --resume --not-consistent."));
    }
    restore(leaf, input, &mut ledger, &mut target)?;
    analyze(input, &ledger, &mut target)?;
    restoring::end(input, (&mut ledger, &mut target))?;
    if !input.settings.switches.skip_db_properties {
        properties::apply_last(&ledger, &mut target, means.run)?;
    }
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::PostData.add(ledger.connection(), elapsed_ms, 0)?;
    // Both or neither: a copy that is whole and may not be followed would wait for ever.
    let follows = input.settings.follow.is_some();
    ledger.write(|tx| {
        means.run.mark(tx, "post-data", "")?;
        if follows {
            log::info!("Updating the pgcopydb.sentinel to enable applying changes");
            Sentinel::allow_apply(tx)?;
        }
        Ok(())
    })
}

/// Unlogged tables with what was copied into each: oid, table that was written (as for FROM), rows,
/// routed.
fn unlogged_tables(ledger: &Ledger) -> Result<Vec<(Oid, String, i64, bool)>> {
    let read = || -> rusqlite::Result<Vec<(Oid, String, i64, bool)>> {
        ledger
            .connection()
            .prepare(
                "select min(t.oid), coalesce(t.route_qname, case when t.oid in (select oid from s_spread)
                            then t.qname else 'only ' || t.qname end), sum(u.rows),
                        t.route_oid is not null
                   from s_table t
                   join unit u on u.table_oid = t.oid and u.kind = 'copy' and u.state = 'done'
                  where t.persistence = 'u' and t.is_extension = 0
                  group by coalesce(t.route_oid, t.oid) having sum(u.rows) > 0",
            )?
            .query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Gives back the units of unlogged tables that lack rows: a crash of the target empties them after
/// they were done. They are counted, as nothing else tells for certain.
pub(super) fn redo_emptied_tables(ledger: &mut Ledger, target: &mut PgSession) -> Result<bool> {
    let mut emptied = Vec::new();
    for (oid, qname, copied, is_routed) in unlogged_tables(ledger)? {
        let row = target.query_one(&format!("select count(*) from {qname}"), &[])?;
        if row.get::<_, i64>(0) >= copied {
            continue;
        }
        if is_routed {
            // Its rows lie in other partitions, too, so that it cannot be emptied alone.
            return Err(Error::new(
                Kind::Target,
                format!("unlogged table {qname} lost rows in a crash of the target"),
            )
            .hint("Begin anew with --restart --drop-if-exists."));
        }
        log::warn!(
            "Unlogged table {qname} was emptied by a crash of the target: \
             copying it again, with the rows that the source has now"
        );
        emptied.push(oid);
    }
    if emptied.is_empty() {
        return Ok(false);
    }
    ledger.write(|tx| {
        for oid in &emptied {
            // Its indexes and constraints are there; a second claim empties the table first.
            tx.execute(
                "update unit set state = 'todo', claims = 1
                  where table_oid = ?1 and kind = 'copy' and state = 'done'",
                [oid],
            )
            .map_err(|error| sqlite_error("write", &error))?;
            tx.execute(
                "update unit set state = 'waiting' where table_oid = ?1 and kind = 'vacuum'",
                [oid],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        }
        Ok(())
    })?;
    Ok(true)
}

fn restore(
    leaf: &Leaf<'_>,
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
) -> Result<()> {
    let run = input.means.run;
    if Run::marked(ledger.connection(), "post-data-restored")?.is_some() {
        return Ok(());
    }
    let dir = SchemaDir::new(input.means.layout.schema());
    let settings = input.means.target()?.tool_settings(&input.means.uuid)?;
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let archive_run = ArchiveRun {
        tools: input.prepared.tools()?,
        settings: &settings,
        dir: &dir,
        stop: &stopping,
    };
    let place = (&archive_run, &input.means.layout);
    let entries = archive_run.list()?;
    let mut facts = archive::list_facts(
        ledger,
        &input.settings.switches,
        target::list_namespaces(&mut target.client)?,
    )?;
    if Run::marked(ledger.connection(), "post-data-begun")?.is_some() {
        // A restore that was interrupted has made some of its objects, once it has really ended.
        worker::end_tools(leaf, target, &input.means.uuid)?;
        facts.owners = list_roles(&mut target.client, Side::Target)?
            .into_iter()
            .collect();
        for sql in existing_queries(input)? {
            for row in target.query(sql, &[])? {
                let (desc, nspname, tag): (String, String, String) =
                    (row.get(0), row.get(1), row.get(2));
                facts.existing.insert((desc, format!("{nspname} {tag}")));
            }
        }
    }
    ledger.write_durably(|tx| run.mark(tx, "post-data-begun", ""))?;
    let plan = plan_post_data(&entries, &facts);
    let mut flags = archive::restore_flags(&input.settings);
    flags.remove(&crate::dump::RestoreFlag::Clean);
    // What is left of indexes belongs to partitioned tables and materialized views. Attaching two of
    // one parent at the same time may deadlock, so this part goes one by one; it is quick.
    let first = indexes_first(&kept(&plan.main));
    let serial = narrowed(&plan.main, |entry| first.contains(&entry.dump_id));
    let rest = narrowed(&plan.main, |entry| !first.contains(&entry.dump_id));
    let rest_mode = match input.settings.restore_jobs {
        1 => RestoreMode::SingleTransaction,
        jobs => RestoreMode::Jobs(jobs),
    };
    let passes = [
        (serial, dir.serial_list(), RestoreMode::Jobs(1)),
        (rest, dir.filtered_list(Section::PostData), rest_mode),
    ];
    for (edits, list, mode) in passes {
        dir.write(&list, &print_edits(&edits))?;
        if !kept(&edits).is_empty() {
            let options = RestoreOptions {
                mode,
                flags: flags.clone(),
            };
            left_behind::restore(place, (&list, &options), &entries)?;
        }
    }
    // Our own DDL comes before event triggers that may forbid it, on a resumed run, too.
    ledger.write_durably(|tx| run.mark(tx, "post-data-main", ""))?;
    drop_progress_table(ledger, target, &input.means.uuid)?;
    if !kept(&plan.last).is_empty() {
        dir.write(&dir.last_list(), &print_edits(&plan.last))?;
        let options = RestoreOptions {
            mode: RestoreMode::SingleTransaction,
            flags: flags.clone(),
        };
        left_behind::restore(place, (&dir.last_list(), &options), &entries)?;
    }
    facts.foreign_extensions = target::list_foreign_extensions(&mut target.client)?;
    let left: Vec<(&Entry, String)> = left_behind(&entries, &facts)
        .into_iter()
        .map(|(entry, reason)| (entry, left_behind::words(reason, &entries)))
        .collect();
    left_behind::write(place, &flags, &left)?;
    ledger.write(|tx| run.mark(tx, "post-data-restored", ""))
}

/// Indexes that need nothing else of post-data, in which a view that groups by a primary key is made.
fn indexes_first(entries: &[&Entry]) -> BTreeSet<i32> {
    let (mut first, mut later) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries {
        let is_of_indexes = matches!(entry.desc.as_str(), "INDEX" | "CONSTRAINT" | "INDEX ATTACH");
        if is_of_indexes && entry.depends_on.iter().all(|id| !later.contains(id)) {
            first.insert(entry.dump_id);
        } else {
            later.insert(entry.dump_id);
        }
    }
    first
}

fn existing_queries(input: &PreDataInput) -> Result<Vec<&'static str>> {
    let mut queries = vec![LIST_EXISTING];
    if input.prepared.target()?.version.major() >= 15 {
        queries.push(LIST_EXISTING_PUBLICATION_SCHEMAS);
    }
    Ok(queries)
}

/// Statistics that VACUUM of single tables does not make: partitioned tables, materialized views, and
/// extended statistics, which are restored only now.
fn analyze(input: &PreDataInput, ledger: &Ledger, target: &mut PgSession) -> Result<()> {
    if input.settings.switches.skip_vacuum {
        return Ok(());
    }
    let read = || -> rusqlite::Result<Vec<String>> {
        ledger
            .connection()
            .prepare("select qname from s_analyze order by depth desc, oid")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let mut qnames = read().map_err(|error| sqlite_error("read", &error))?;
    let with_statistics = target.query(include_str!("sql/list_extended_statistics.sql"), &[])?;
    for row in &with_statistics {
        let qname: String = row.get(0);
        if !qnames.contains(&qname) {
            qnames.push(qname);
        }
    }
    for qname in &qnames {
        if let Err(error) = target.batch_execute(&format!("analyze {qname}")) {
            if error.sqlstate().is_none() {
                return Err(error);
            }
            log::warn!("Could not analyze {qname}: {}", error.message());
        }
    }
    Ok(())
}

/// Removes our record from the target, and its schema unless something else is in it.
pub(super) fn drop_progress_table(
    ledger: &Ledger,
    target: &mut PgSession,
    uuid: &str,
) -> Result<()> {
    let row = target.query_one(
        "select pg_catalog.to_regclass('pgcopydb.progress') is null",
        &[],
    )?;
    if row.get::<_, bool>(0) {
        return Ok(());
    }
    target.query("delete from pgcopydb.progress where work = $1", &[&uuid])?;
    let row = target.query_one("select exists (select 1 from pgcopydb.progress)", &[])?;
    if row.get::<_, bool>(0) {
        // Another run into the same database is under way.
        return Ok(());
    }
    target
        .batch_execute("drop table pgcopydb.progress")
        .context(|| "dropping our table on the target".to_owned())?;
    let is_the_users: bool = ledger
        .connection()
        .query_row(
            "select exists (select 1 from s_namespace where nspname = 'pgcopydb')",
            [],
            |row| row.get(0),
        )
        .map_err(|error| sqlite_error("read", &error))?;
    let others: bool = target
        .query_one(include_str!("sql/find_schema_members.sql"), &[])?
        .get(0);
    if is_the_users || others {
        return Ok(());
    }
    target
        .batch_execute("drop schema pgcopydb")
        .context(|| "dropping our schema".to_owned())
}
