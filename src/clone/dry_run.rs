//! `--dry-run`: what a clone would do, found out without a change on either side or in the work
//! directory.
//!
//! Runs in the main program, which does not fork for this. Reads both servers; the ledger is in
//! memory.

use super::filters;
use super::prepare::{self, Connected};
use super::settings::CloneSettings;
use crate::catalog::{Ledger, sqlite_error};
use crate::check;
use crate::conninfo::ConnInfo;
use crate::dump::{SearchPlaces, choose};
use crate::error::{Context, Error, Result};
use crate::filter::{self, Explained, Selection, What};
use crate::schema::split::{PlanOptions, plan_all};
use crate::schema::{FetchCounts, FetchOptions, fetch_all};
use crate::units::{Side, pretty_bytes, pretty_count};

/// One table of the plan.
#[derive(serde::Serialize)]
struct PlannedTable {
    qname: String,
    bytes: i64,
    parts: i64,
}

/// Looks at both sides and returns the plan, as text or as JSON. The error is what would stop a run.
pub(super) fn plan(
    settings: &CloneSettings,
    source: &ConnInfo,
    target: &ConnInfo,
) -> Result<String> {
    let mut source = prepare::connect("dry run", source, Side::Source)?;
    let mut target = prepare::connect("dry run", target, Side::Target)?;
    check::versions(&source.facts, &target.facts)?;
    check::not_the_same_database(
        (&mut source.session, &source.facts),
        (&mut target.session, &target.facts),
    )?;
    let selection = match &settings.filters {
        Some(rules) => filters::select(rules, &mut source.session, &mut target.session)?,
        None => Selection::default(),
    };
    for warning in &selection.warnings {
        log::warn!("{warning}");
    }
    let left_out = &selection.left_out;
    let found = check::refuse_hopeless(
        &mut source.session,
        &source.facts,
        (&mut target.session, &target.facts),
        prepare::check_choices(settings),
        &selection.left_out,
    )?;
    let (from, to) = (source.facts.version, target.facts.version);
    let tools = choose(
        from,
        to,
        found.has_attver,
        &SearchPlaces::from_environment(),
    )?;
    if settings.switches.drop_if_exists {
        check::nothing_else_is_dropped((&mut source.session, left_out), &mut target.session)?;
    } else {
        let blobs = !settings.switches.skip_blobs;
        check::target_is_empty((&mut source.session, left_out), &mut target.session, blobs)?;
    }
    let mut ledger = Ledger::in_memory()?;
    filter::store(ledger.connection(), &selection.explained)?;
    let counts = fetch(settings, &mut source, &target, &mut ledger)?;
    let tables = tables(&ledger)?;
    if settings.switches.json {
        let document = serde_json::json!({
            "format": 1,
            "source": { "version": from.to_string(), "in-recovery": source.facts.in_recovery },
            "target": { "version": to.to_string() },
            "tools": { "dir": tools.dir, "version": tools.version.to_string() },
            "tables": tables, "indexes": counts.indexes, "constraints": counts.constraints,
            "foreign-keys": counts.foreign_keys, "sequences": counts.sequences,
            "large-objects": counts.has_large_objects,
            "filters": filters_json(&selection),
        });
        return serde_json::to_string_pretty(&document)
            .map(|text| text + "\n")
            .map_err(|error| Error::internal(format!("could not print the plan: {error}")));
    }
    Ok(filters_text(&selection) + &text(&tables, &counts))
}

fn fetch(
    settings: &CloneSettings,
    source: &mut Connected,
    target: &Connected,
    ledger: &mut Ledger,
) -> Result<FetchCounts> {
    source
        .session
        .batch_execute("begin isolation level repeatable read, read only")?;
    let version = source.facts.version;
    let options = FetchOptions {
        version,
        estimate_sizes: settings.switches.estimate_sizes,
        encodings_differ: source.facts.database.encoding != target.facts.database.encoding,
    };
    let plan = PlanOptions {
        version,
        part_bytes: settings.split_bytes,
        max_parts: u64::from(settings.split_max_parts),
        skip_by_ctid: settings.switches.skip_ctid_split,
    };
    let client = &mut source.session.client;
    ledger.write(|tx| {
        let counts = fetch_all(client, tx, &options)
            .context(|| "fetching the catalogs of the source".to_owned())?;
        plan_all(tx, client, &plan)?;
        super::read::whole_unlogged_tables(tx)?;
        Ok(counts)
    })
}

fn tables(ledger: &Ledger) -> Result<Vec<PlannedTable>> {
    let read = || -> rusqlite::Result<Vec<PlannedTable>> {
        ledger
            .connection()
            .prepare(
                "select qname, bytes, (select count(*) from s_part p where p.table_oid = t.oid)
                   from s_table t where is_extension = 0 and exclude_data = 0 order by bytes desc, qname",
            )?
            .query_map([], |row| {
                let parts: i64 = row.get(2)?;
                Ok(PlannedTable {
                    qname: row.get(0)?,
                    bytes: row.get(1)?,
                    parts: parts.max(1),
                })
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// What filters leave out and keep, with reasons; parts are not told one by one.
fn filters_json(selection: &Selection) -> serde_json::Value {
    let of = |what: What| -> Vec<serde_json::Value> {
        let told = selection.explained.iter().filter(|e| e.what == what);
        told.map(|e| {
            serde_json::json!({
                "catalog": e.id.0, "oid": e.id.1, "type": e.kind, "identity": e.name,
                "reason": e.reason, "hanging": e.is_hanging,
            })
        })
        .collect()
    };
    serde_json::json!({
        "left-out": of(What::Object), "without-rows": of(What::Rows), "kept": of(What::Kept),
        "warnings": selection.warnings,
    })
}

fn filters_text(selection: &Selection) -> String {
    let line = |e: &Explained| {
        let (kind, name, reason) = (&e.kind, &e.name, &e.reason);
        match e.what {
            What::Object => format!("LEAVE OUT {kind} {name}: {reason}\n"),
            What::Rows => format!("WITHOUT ROWS {kind} {name}: {reason}\n"),
            What::Kept => format!("KEEP {kind} {name}: {reason}\n"),
            What::Part => String::new(),
        }
    };
    selection.explained.iter().map(line).collect()
}

fn text(tables: &[PlannedTable], counts: &FetchCounts) -> String {
    /// Tables that are listed by name; the rest is counted.
    const LISTED_MAX: usize = 50;
    let bytes = |value: i64| pretty_bytes(u64::try_from(value).unwrap_or(0));
    let mut lines: Vec<String> = tables
        .iter()
        .take(LISTED_MAX)
        .map(|table| match table.parts {
            1 => format!("COPY {} ({})", table.qname, bytes(table.bytes)),
            parts => format!(
                "COPY {} ({}) in {parts} parts",
                table.qname,
                bytes(table.bytes)
            ),
        })
        .collect();
    if tables.len() > LISTED_MAX {
        lines.push(format!(
            "... and {} smaller tables",
            tables.len() - LISTED_MAX
        ));
    }
    lines.push(format!(
        "{} tables with {}, {} indexes, {} constraints, {} foreign keys, {} sequences, {}",
        pretty_count(tables.len() as u64),
        bytes(tables.iter().map(|table| table.bytes).sum()),
        pretty_count(counts.indexes),
        pretty_count(counts.constraints),
        pretty_count(counts.foreign_keys),
        pretty_count(counts.sequences),
        if counts.has_large_objects {
            "large objects"
        } else {
            "no large objects"
        }
    ));
    lines.push("Nothing was changed, per --dry-run".to_owned());
    lines.join("\n") + "\n"
}
