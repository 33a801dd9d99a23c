//! What a person should know before rows are copied, though it stops nothing.
//!
//! Runs in the processes that plan. Reads both sides, writes nothing.

use super::compare::Findings;
use super::plan::{Drawn, Sides};
use super::settings::CopySettings;
use crate::catalog::LeftOut;
use crate::error::Result;
use crate::fkey::discover::{Key, read_keys};
use crate::schema::has_large_objects;
use crate::units::Oid;
use crate::workdir::Intent;
use std::collections::{BTreeSet, HashSet};

/// Keys that one side has and the other lacks.
pub(super) fn compare_keys(
    sides: &mut Sides<'_>,
    (settings, names): (&CopySettings, &HashSet<String>),
    drawn: &mut Drawn,
    findings: &mut Findings,
) -> Result<()> {
    let source_keys = read_keys(sides.source.0)?;
    let lines = |keys: &[Key]| -> BTreeSet<(String, String)> {
        keys.iter()
            .filter(|key| key.tree_parent == 0)
            .filter(|key| names.contains(&key.child.shown()) || names.contains(&key.parent.shown()))
            .map(|key| {
                (
                    format!("{}.{}", key.child.shown(), key.name),
                    key.parent.shown(),
                )
            })
            .collect()
    };
    let (ours, theirs) = (lines(&source_keys), lines(&drawn.keys));
    for (name, parent) in ours.difference(&theirs) {
        findings.warnings.push(format!(
            "the target lacks foreign key {name} -> {parent}, which the source has"
        ));
    }
    for (name, parent) in theirs.difference(&ours) {
        findings.warnings.push(format!(
            "foreign key {name} -> {parent} is on the target only"
        ));
    }
    let is_whole = settings.switches.validate
        || settings.switches.no_snapshot
        || settings.intent == Intent::Resume;
    if !is_whole {
        // What holds in the source's snapshot holds among the rows that come from it.
        let held: HashSet<(String, String, String)> = source_keys
            .iter()
            .filter(|key| key.is_valid && key.is_enforced)
            .filter(|key| names.contains(&key.parent.shown()))
            .map(identity)
            .collect();
        let holds: HashSet<Oid> = drawn
            .keys
            .iter()
            .filter(|key| held.contains(&identity(key)))
            .map(|key| key.oid)
            .collect();
        drawn.unchecked.retain(|oid| !holds.contains(oid));
    }
    Ok(())
}

/// What makes two keys the same on both sides.
fn identity(key: &Key) -> (String, String, String) {
    (key.child.shown(), key.name.clone(), key.definition.clone())
}

/// What a person should know of the two servers.
pub(super) fn warn_of_surroundings(
    sides: &mut Sides<'_>,
    settings: &CopySettings,
    drawn: &Drawn,
    findings: &mut Findings,
) -> Result<()> {
    if has_large_objects(&mut sides.source.0.client)? {
        findings.warnings.push(
            "the source has large objects, which are not copied: see \"pgcopydb copy blobs\""
                .to_owned(),
        );
    }
    let stale = |out: &&LeftOut| out.why == "materialized view";
    for out in drawn.plan.left_out.iter().filter(stale) {
        findings
            .warnings
            .push(format!("materialized view {} is not refreshed", out.name));
    }
    let events: i64 = sides
        .target
        .0
        .query_one(
            "select count(*) from pg_catalog.pg_event_trigger where evtenabled in ('O', 'A')",
            &[],
        )?
        .get(0);
    if events > 0 && !drawn.removed.is_empty() {
        findings.warnings.push(format!(
            "the target has {events} event triggers, which ALTER TABLE may fire"
        ));
    }
    let (free, needed) = (
        sides.target.1.limits.free_connections(),
        u64::from(settings.jobs) + 3,
    );
    if free < needed {
        findings.warnings.push(format!(
            "the target has {free} connections left, this run may open {needed}: consider fewer --parallel"
        ));
    }
    for (side, facts) in [("source", sides.source.1), ("target", sides.target.1)] {
        if facts.database.encoding == "SQL_ASCII" && settings.insert.is_some() {
            findings.faults.push(format!(
                "{side}: --insert needs an encoding, and the database is SQL_ASCII"
            ));
        } else if facts.database.encoding == "SQL_ASCII" {
            findings.warnings.push(format!(
                "the {side} is SQL_ASCII: bytes are copied as they are"
            ));
        }
    }
    if settings.switches.no_snapshot {
        findings.warnings.push(
            "each table is read at a moment of its own: foreign keys may not hold".to_owned(),
        );
    }
    Ok(())
}
