//! citus: can its tables be made again on the target, and what is to be known of their rows?
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers, writes
//! nothing. All of it is asked only where the source has the extension.

use super::finding::Findings;
use super::hooks::{Hooked, callable};
use super::preflight::{Choices, shown};
use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use crate::schema::hooks::find_extension;
use crate::schema::spread::{CITUS, DISTRIBUTE, REPLICATE, Spread, calls, list_spread};
use crate::units::Side;
use std::collections::BTreeMap;

/// Tables of citus before it had a view of them; those that are not spread by a hash; functions.
const OTHERS: [(&str, &str, &str); 3] = [
    (
        "pg_catalog.pg_dist_partition",
        "select logicalrelid::pg_catalog.regclass::text from pg_catalog.pg_dist_partition \
          where partmethod in ('a', 'r')",
        "tables that citus spreads by append or by range",
    ),
    (
        "pg_catalog.pg_dist_object",
        "select objid::pg_catalog.regprocedure::text from pg_catalog.pg_dist_object \
          where classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
            and distribution_argument_index is not null",
        "distributed functions of citus",
    ),
    (
        "citus.pg_dist_object",
        "select objid::pg_catalog.regprocedure::text from citus.pg_dist_object \
          where classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
            and distribution_argument_index is not null",
        "distributed functions of citus",
    ),
];

/// Looks at citus; `target` is nothing where its database is still to be made. Returns whether it has tables,
/// and what a run calls.
pub(super) fn citus(
    source: &mut PgSession,
    target: Option<&mut PgSession>,
    (one, choices): (&Hooked<'_>, &Choices),
    findings: &mut Findings,
) -> Result<(bool, Vec<String>)> {
    let Some(all) = list_spread(&mut source.client, Side::Source)? else {
        findings.take(refuse_old(source));
        return Ok((false, Vec::new()));
    };
    if all.is_empty() {
        return Ok((false, Vec::new()));
    }
    if one.is_left_out || choices.skip_extensions {
        findings.fail(needs_extension(&all));
        return Ok((true, Vec::new()));
    }
    refuse_uncarried(source, &all, findings)?;
    let kept: Vec<Spread> = all
        .into_iter()
        .filter(|table| !choices.left_out.relation(table.oid))
        .collect();
    findings.warning(
        Error::new(
            Kind::Source,
            format!("{} tables of citus are read without a common snapshot", kept.len()),
        )
        .detail(
            "Each of its servers shows the rows that it has when a table is copied: the snapshot of this run \
             is one of the coordinator alone.",
        )
        .hint("Stop what writes to them until the copy is done."),
    );
    let names = [DISTRIBUTE, REPLICATE];
    let of_source = find_extension(&mut source.client, Side::Source, CITUS, &names)?;
    let there = match target {
        Some(target) => find_extension(&mut target.client, Side::Target, CITUS, &names)?,
        None => None,
    };
    let side = if there.is_some() {
        Side::Target
    } else {
        Side::Source
    };
    let Some(has) = there.or(of_source) else {
        return Ok((true, Vec::new()));
    };
    let found = names.map(|name| findings.take(callable(&has, (CITUS, name), side)));
    let [Some(make), Some(replicate)] = &found else {
        return Ok((true, Vec::new()));
    };
    let statements = calls(&kept)
        .iter()
        .map(|call| {
            format!(
                "CALL {} on the target, before rows",
                call.statement(make, replicate)
            )
        })
        .collect();
    Ok((true, statements))
}

fn refuse_old(source: &mut PgSession) -> Result<()> {
    let is_there = "select pg_catalog.to_regclass('pg_catalog.pg_dist_partition') is not null";
    if !source.query_one(is_there, &[])?.get::<_, bool>(0) {
        return Ok(());
    }
    let count = "select count(*) from pg_catalog.pg_dist_partition";
    match source.query_one(count, &[])?.get::<_, i64>(0) {
        0 => Ok(()),
        count => Err(Error::new(
            Kind::Source,
            format!("the source has {count} tables of a citus before version 10"),
        )
        .with_sqlstate("0A000")
        .hint("Update citus on the source first: its view citus_tables is needed.")),
    }
}

fn needs_extension(all: &[Spread]) -> Error {
    Error::new(
        Kind::Source,
        format!(
            "the source has {} tables of citus, which need the extension",
            all.len()
        ),
    )
    .with_sqlstate("0A000")
    .detail(format!("They are: {}.", names_of(all.iter())))
    .hint("Leave out --skip-extensions, and rules of the filters that leave out citus.")
}

fn names_of<'t>(tables: impl Iterator<Item = &'t Spread>) -> String {
    let names: Vec<String> = tables.map(|table| table.qname.clone()).collect();
    shown(&names)
}

/// Refuses what is kept in ways that the target would not get.
fn refuse_uncarried(source: &mut PgSession, all: &[Spread], findings: &mut Findings) -> Result<()> {
    let mut kinds: BTreeMap<&str, Vec<&Spread>> = BTreeMap::new();
    for table in all {
        if let Some(what) = uncarried(table) {
            kinds.entry(what).or_default().push(table);
        }
    }
    for (what, found) in kinds {
        let names = names_of(found.iter().copied());
        findings.fail(not_carried(found.len(), what, &names));
    }
    for (catalog, list, what) in OTHERS {
        let is_there = "select pg_catalog.to_regclass($1) is not null";
        if !source.query_one(is_there, &[&catalog])?.get::<_, bool>(0) {
            continue;
        }
        let rows = source.query(list, &[])?;
        let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        if !names.is_empty() {
            findings.fail(not_carried(names.len(), what, &shown(&names)));
        }
    }
    Ok(())
}

/// What a table is that the target would not get.
fn uncarried(table: &Spread) -> Option<&'static str> {
    match (table.kind.as_str(), &table.column) {
        ("reference", _) | ("distributed", Some(_)) => None,
        ("distributed", None) => Some("distributed tables of citus without a distribution column"),
        ("schema", _) => Some("tables of schemas that citus distributes"),
        ("local", _) => Some("local tables in the metadata of citus"),
        _ => Some("tables of citus of an unknown kind"),
    }
}

fn not_carried(count: usize, what: &str, names: &str) -> Error {
    Error::new(
        Kind::Source,
        format!("the source has {count} {what}, which are not copied as such"),
    )
    .with_sqlstate("0A000")
    .detail(format!("They are: {names}."))
    .hint(
        "Make plain or distributed tables of them on the source first, undistribute_table(...), or use the \
         tools of citus to move this database.",
    )
}
