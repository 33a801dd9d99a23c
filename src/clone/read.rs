//! STEPS 1 and 2: catalogs into the ledger, and the schema into an archive, in the same snapshot.
//!
//! Run in the fetch and the dump process, side by side. Both are done once for a work directory.

use super::begun;
use super::goal::Part;
use super::pre_data::PreDataInput;
use crate::catalog::{Ledger, Run, Step};
use crate::dump::{ArchiveRun, DumpSettings, SchemaDir};
use crate::error::{Context, Result};
use crate::filter;
use crate::pg::Token;
use crate::schema::split::{PlanOptions, plan_all};
use crate::schema::{FetchCounts, FetchOptions, fetch_all};
use crate::supervisor::Leaf;
use crate::units::{pretty_bytes, pretty_count};
use crate::worker;
use std::time::Instant;

/// Fetches the catalogs of the source and plans the parts of large tables. Blocks.
pub(super) fn fetch(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.means.layout.ledger())?;
    ledger.leave_log()?;
    let is_fetched = Run::marked(ledger.connection(), "fetched")?.is_some();
    let is_planned = Run::marked(ledger.connection(), "planned-tables")?.is_some();
    let plans = input.settings.goal.has(Part::TableData) && !is_planned;
    let switches = input.settings.switches;
    if is_fetched {
        log::info!("Re-using catalog caches");
        if switches.estimate_sizes && plans {
            log::warn!(
                "Option --estimate-table-sizes has no effect, as an earlier command has looked up \
                 all sizes"
            );
        }
        if !plans {
            return Ok(());
        }
    } else if switches.estimate_sizes && !switches.skip_analyze {
        analyze_source(input, &canceller)?;
    }
    let mut source = super::plan::snapshot_session(leaf, input)?;
    let _registered = canceller.register(Token::from_session(&source));
    let from = input.prepared.source()?;
    let options = FetchOptions {
        version: from.version,
        estimate_sizes: switches.estimate_sizes,
        encodings_differ: input.prepared.encodings_differ(),
    };
    let plan = PlanOptions {
        version: from.version,
        part_bytes: if input.prepared.can_leave_progress {
            input.settings.split_bytes
        } else {
            0
        },
        max_parts: u64::from(input.settings.split_max_parts),
        skip_by_ctid: switches.skip_ctid_split,
    };
    let run = input.means.run;
    let selection = match &input.settings.filters {
        Some(rules) if !is_fetched => filter::select(&mut source, rules)?,
        _ => filter::Selection::default(),
    };
    let (counts, split) = ledger.write(|tx| {
        let counts = if is_fetched {
            None
        } else {
            filter::store(tx, &selection.explained)?;
            for line in selection.lost_tables() {
                run.notice(tx, "left out by filters", &line)?;
            }
            let counts = fetch_all(&mut source.client, tx, &options)
                .context(|| "fetching the catalogs of the source".to_owned())?;
            run.mark(tx, "fetched", "")?;
            Some(counts)
        };
        let split = if plans {
            plan_all(tx, &mut source.client, &plan)
                .context(|| "planning the parts of large tables".to_owned())?
        } else {
            0
        };
        whole_tables(tx)?;
        let with_blobs = input.settings.goal.has(Part::Blobs) && !switches.skip_blobs;
        if with_blobs && input.means.consistent && !is_fetched {
            super::plan::plan_blobs(&mut source, tx, run)?;
        }
        Ok((counts, split))
    })?;
    log_fetched(&ledger, input, counts.as_ref(), split)?;
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::Catalog.add(ledger.connection(), elapsed_ms, 0)
}

/// Says what was fetched, when it was, and in how many parts tables are copied.
fn log_fetched(
    ledger: &Ledger,
    input: &PreDataInput,
    counts: Option<&FetchCounts>,
    split: u64,
) -> Result<()> {
    let (bytes, parts) = totals(ledger)?;
    if split > 0 {
        log::info!(
            "Splitting source candidate tables larger than {}",
            pretty_bytes(input.settings.split_bytes)
        );
    }
    let Some(counts) = counts else {
        return Ok(());
    };
    log::info!(
        "Fetched information for {} tables (including {split} tables split in {parts} parts total), \
         {} on-disk",
        counts.tables,
        pretty_bytes(bytes)
    );
    log::info!(
        "Fetched information for {} indexes (supporting {} constraints), {} foreign keys",
        pretty_count(counts.indexes),
        pretty_count(counts.constraints),
        pretty_count(counts.foreign_keys)
    );
    log::info!(
        "Fetched information for {} sequences and {} extensions",
        pretty_count(counts.sequences),
        counts.extensions
    );
    Ok(())
}

/// A crash of the target empties unlogged tables, and a part that arrives later would hide that the
/// others are gone: they are copied whole. So are tables that citus spreads, whose own files, which parts are cut
/// of, are empty; how large they are is what it says.
pub(super) fn whole_tables(connection: &rusqlite::Connection) -> Result<()> {
    connection
        .execute_batch(
            "delete from s_part
              where table_oid in (select oid from s_table where persistence = 'u'
                                  union all select oid from s_spread);
             update s_table set bytes = max(s_table.bytes, s.bytes) from s_spread s where s.oid = s_table.oid",
        )
        .map_err(|error| crate::catalog::sqlite_error("write", &error))
}

/// `--estimate-table-sizes` trusts the statistics of the source, so they are made first.
fn analyze_source(input: &PreDataInput, canceller: &crate::pg::Canceller) -> Result<()> {
    if input.prepared.source()?.in_recovery {
        log::warn!(
            "The source is a standby and cannot be analyzed: its estimates are taken as they are"
        );
        return Ok(());
    }
    log::info!("Analyzing the tables of the source, per --estimate-table-sizes");
    let profile = crate::pg::Profile::Catalog;
    let mut source = input.means.source()?.session("analyze source", &profile)?;
    let _registered = canceller.register(Token::from_session(&source));
    let rows = source.query(include_str!("sql/list_analyzable_tables.sql"), &[])?;
    for row in rows {
        let qname: String = row.get(0);
        source
            .batch_execute(&format!("analyze {qname}"))
            .context(|| format!("analyzing table {qname} of the source"))?;
    }
    Ok(())
}

fn totals(ledger: &Ledger) -> Result<(u64, u64)> {
    ledger
        .connection()
        .query_row(
            "select (select coalesce(sum(bytes), 0) from s_table), (select count(*) from s_part)",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )
        .map(|(bytes, parts)| {
            (
                u64::try_from(bytes).unwrap_or(0),
                u64::try_from(parts).unwrap_or(0),
            )
        })
        .map_err(|error| crate::catalog::sqlite_error("read", &error))
}

/// Dumps the schema. Blocks.
pub(super) fn dump(leaf: &mut Leaf<'_>, input: &PreDataInput) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let mut ledger = Ledger::open(&input.means.layout.ledger())?;
    ledger.leave_log()?;
    if input.settings.goal.has(Part::Dump) {
        let parts = std::iter::once(Part::Dump);
        ledger.write_durably(|tx| begun::begin(tx, input.means.run, &input.settings, parts))?;
    }
    let dir = SchemaDir::new(input.means.layout.schema());
    if Run::marked(ledger.connection(), "dumped")?.is_some() && dir.archive().exists() {
        log::info!("Skipping the dump of the schema, done by a previous run");
        return Ok(());
    }
    let settings = input.means.source()?.tool_settings(&input.means.uuid)?;
    let stop = leaf.stop_flag();
    let stopping = || stop.load(std::sync::atomic::Ordering::SeqCst);
    let run = ArchiveRun {
        tools: input.prepared.tools()?,
        settings: &settings,
        dir: &dir,
        stop: &stopping,
    };
    let encoding = match input.prepared.encoding() {
        "SQL_ASCII" => None,
        _ => Some("UTF8".to_owned()),
    };
    let snapshot = input
        .means
        .snapshot
        .clone()
        .filter(|_| input.means.consistent);
    let mut dump = DumpSettings {
        snapshot,
        encoding,
        ..DumpSettings::default()
    };
    if let Some(rules) = &input.settings.filters {
        let mut source = super::plan::snapshot_session(leaf, input)?;
        let _registered = canceller.register(Token::from_session(&source));
        let selection = filter::select(&mut source, rules)?;
        super::filters::narrow_dump(&mut dump, &selection.left_out);
    }
    run.dump(&dump)?;
    input.means.run.mark(ledger.connection(), "dumped", "")?;
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::Dump.add(ledger.connection(), elapsed_ms, 0)
}
