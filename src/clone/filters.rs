//! Filters in a clone: when they are applied, and what is said about them.
//!
//! Prepare looks at what they come to before anything changes; fetch and dump, which read in the
//! snapshot of the run, decide. What fetch decided stands in the ledger.

use crate::check::Findings;
use crate::dump::DumpSettings;
use crate::error::{Error, Kind, Result};
use crate::filter::{self, LeftOut, Rules, Selection};
use crate::pg::{PgSession, quote};
use crate::units::Side;
use std::collections::HashSet;

/// Longest part of a command line that names what is not dumped, bytes.
const ARGUMENTS_MAX: usize = 100_000;

/// Finds out what filters come to, and refuses what cannot be restored. Blocks.
pub(super) fn select(
    rules: &Rules,
    source: &mut PgSession,
    target: &mut PgSession,
) -> Result<Selection> {
    let selection = filter::select(source, rules)?;
    refuse_lacking(&selection, target)?;
    Ok(selection)
}

/// An extension that is left out and needed must be on the target already.
fn refuse_lacking(selection: &Selection, target: &mut PgSession) -> Result<()> {
    let lacking = selection.lacking();
    if lacking.is_empty() {
        return Ok(());
    }
    let rows = target.query("select extname::text from pg_catalog.pg_extension", &[])?;
    let there: HashSet<String> = rows.iter().map(|row| row.get(0)).collect();
    for (extension, user) in lacking {
        let name = selection.extension_name(extension).unwrap_or_default();
        let raw = name.trim_matches('"').replace("\"\"", "\"");
        if there.contains(&raw) {
            continue;
        }
        return Err(Error::new(
            Kind::BadConfig,
            format!(
                "the filters leave out extension {name}, which is needed and not on the target"
            ),
        )
        .detail(format!("{} needs it.", selection.name_of(user)))
        .hint(format!(
            "Keep the extension, or leave out what needs it, too, or run on the target: create \
             extension {};",
            quote::ident(&raw)
        )));
    }
    Ok(())
}

/// Adds what a person must know before: rules without effect, and tables that go with others.
pub(super) fn warn(selection: &Selection, findings: &mut Findings) {
    for warning in &selection.warnings {
        let hint = "Correct or remove that line.";
        findings.warn(Side::Source, warning.as_str(), hint);
    }
    for line in &selection.lost_identities {
        let hint = "Choose another one on the target where changes of the table are to be published, or keep the \
                    index.";
        findings.warn(Side::Source, line.as_str(), hint);
    }
    for line in selection.lost_tables() {
        let hint = "Keep what it needs, or leave the table out by name.";
        findings.warn(Side::Source, line, hint);
    }
}

/// Logs what filters come to.
pub(super) fn say(selection: &Selection) {
    log::info!("{}", selection.summary());
    for line in selection.hanging().iter().chain(&selection.kept()) {
        log::info!("{line}");
    }
}

/// Tells `pg_dump` what it need not look at: nothing is kept of it, or the role may not lock it.
pub(super) fn narrow_dump(dump: &mut DumpSettings, left_out: &LeftOut) {
    let undumped = left_out.undumped();
    let mut room = ARGUMENTS_MAX;
    let mut fits = |bytes: usize| {
        let taken = bytes + 30;
        let fits = taken <= room;
        room = room.saturating_sub(taken);
        fits
    };
    // What may not be locked comes first, as the dump would fail.
    let tables = undumped.tables.iter();
    dump.exclude_tables = tables
        .filter(|(nspname, relname)| fits(nspname.len() + relname.len()))
        .cloned()
        .collect();
    let schemas = undumped.schemas.iter();
    dump.exclude_schemas = schemas
        .filter(|nspname| fits(nspname.len()))
        .cloned()
        .collect();
}
