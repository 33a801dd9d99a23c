//! What was made on the source after the first run planned its work.
//!
//! Runs in the pre-data process of a resume that reads another snapshot. Reads the source; plans large
//! objects that came later. Tables that came later have no definition in the archive: they are named,
//! not copied.

use super::goal::Part;
use super::pre_data::PreDataInput;
use crate::blob;
use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::{Error, Kind, Result};
use crate::extension::restoring;
use crate::filter::{self, LeftOut};
use crate::pg::{PgSession, Profile};
use crate::units::Oid;
use std::collections::HashSet;

/// Tables that are named one by one; more are counted.
const NAMED_MAX: usize = 20;

/// Plans the large objects that came after they were planned, and names the tables that came after the
/// catalogs were fetched; nothing when this run did both.
pub(super) fn take_in(input: &PreDataInput, ledger: &mut Ledger) -> Result<()> {
    let (goal, run) = (input.settings.goal, input.means.run);
    let is_earlier = |ledger: &Ledger, mark: &str| {
        let by = Run::marked(ledger.connection(), mark)?;
        Ok(by.is_some_and(|(by, _)| by != run.id))
    };
    let blobs = goal.has(Part::Blobs)
        && !input.settings.switches.skip_blobs
        && is_earlier(ledger, "planned-blobs")?;
    let tables = goal.has(Part::TableData) && is_earlier(ledger, "fetched")?;
    if !blobs && !tables {
        return Ok(());
    }
    let link = input.means.source()?;
    let mut source = link.session("restore pre-data", &Profile::Catalog)?;
    if blobs {
        let batches = ledger.write(|tx| blob::plan_again(&mut source, tx))?;
        if batches > 0 {
            log::info!("Planned {batches} batches of large objects that changed in number");
        }
    }
    if tables {
        name_tables(input, ledger, &mut source)?;
    }
    Ok(())
}

/// Names the tables of the source that the ledger does not know.
fn name_tables(input: &PreDataInput, ledger: &mut Ledger, source: &mut PgSession) -> Result<()> {
    let tables = unknown_tables(input, ledger, source)?;
    refuse_chunks(ledger, &tables)?;
    let mut lines: Vec<String> = tables
        .iter()
        .take(NAMED_MAX)
        .map(|qname| {
            format!(
                "Table {qname} was made after the first run and is not copied: \
                 begin anew with --restart"
            )
        })
        .collect();
    if tables.len() > NAMED_MAX {
        lines.push(format!(
            "{} more tables were made after the first run and are not copied",
            tables.len() - NAMED_MAX
        ));
    }
    for line in &lines {
        log::warn!("{line}");
    }
    let run = input.means.run;
    ledger.write(|tx| {
        lines
            .iter()
            .try_for_each(|line| run.notice(tx, "made after the first run", line))
    })
}

/// Refuses chunks of timescaledb that came later, while rows of its catalogs, which would speak of them, are still
/// to be copied.
fn refuse_chunks(ledger: &Ledger, tables: &[String]) -> Result<()> {
    let chunks = tables.iter().filter(|qname| is_chunk(qname)).count();
    if chunks == 0 || !restoring::is_to_configure(ledger)? {
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        format!("{chunks} chunks of timescaledb were made on the source after the first run"),
    )
    .detail(
        "They are not in the archive, and the catalogs of timescaledb, as they are now, speak of them.",
    )
    .hint("Begin anew with --restart --drop-if-exists into a database that is made anew."))
}

fn is_chunk(qname: &str) -> bool {
    qname.starts_with("_timescaledb_internal.")
}

/// Tables of the source that the ledger knows neither by oid nor by name, and that filters keep.
fn unknown_tables(
    input: &PreDataInput,
    ledger: &Ledger,
    source: &mut PgSession,
) -> Result<Vec<String>> {
    let read = || -> rusqlite::Result<(HashSet<Oid>, HashSet<String>)> {
        ledger
            .connection()
            .prepare("select oid, qname from s_table")?
            .query_map([], |row| {
                Ok((row.get::<_, Oid>(0)?, row.get::<_, String>(1)?))
            })?
            .collect()
    };
    let (oids, names) = read().map_err(|error| sqlite_error("read", &error))?;
    let mut left_out = LeftOut::of_ledger(ledger.connection())?;
    if let Some(rules) = &input.settings.filters {
        left_out.add(&filter::select(source, rules)?.left_out);
    }
    let rows = source.query(include_str!("sql/list_source_tables.sql"), &[])?;
    Ok(rows
        .iter()
        .map(|row| (row.get::<_, Oid>(0), row.get::<_, String>(1)))
        .filter(|(oid, _)| !left_out.relation(*oid))
        .filter(|(oid, qname)| !oids.contains(oid) && !names.contains(qname))
        .map(|(_, qname)| qname)
        .collect())
}
