//! What a person should know before rows are copied, though it stops nothing.
//!
//! Runs in the processes that plan. Reads both sides, writes nothing.

use super::compare::Findings;
use super::plan::{Drawn, Sides};
use super::settings::CopySettings;
use crate::catalog::LeftOut;
use crate::error::Result;
use crate::fkey::discover::{Key, Trigger, read_keys, read_triggers};
use crate::schema::has_large_objects;
use crate::units::Oid;
use crate::workdir::Intent;
use std::collections::{BTreeMap, HashSet};

/// The tables whose keys are looked at, by the names that people see.
pub(super) struct Names {
    /// Tables and leaf partitions that rows are copied into.
    pub(super) copied: HashSet<String>,
    /// Those, and the partitioned tables above them.
    pub(super) touched: HashSet<String>,
}

/// What is said of something that the target lacks: nothing on it tells where it went.
const LOST: &str = "an interrupted copy with another work directory may have left it so, which \
    \"pgcopy restore-constraints --dir\" of that directory mends";

/// Keys that one side has and the other lacks, or has in another state.
pub(super) fn compare_keys(
    sides: &mut Sides<'_>,
    (settings, names): (&CopySettings, &Names),
    drawn: &mut Drawn,
    findings: &mut Findings,
) -> Result<()> {
    let source_keys = read_keys(sides.source.0)?;
    // A run that is gone on with has a journal, and puts back what stands there.
    let advice = match settings.intent {
        Intent::Resume | Intent::Restart => String::new(),
        Intent::Fresh => format!("; {LOST}"),
    };
    let (ours, theirs) = (names.keys(&source_keys), names.keys(&drawn.keys));
    for ((name, parent), key) in &ours {
        let shown = format!("foreign key {name} -> {parent}");
        match theirs.get(&(name.clone(), parent.clone())) {
            None => findings.warnings.push(format!(
                "the target lacks {shown}, which the source has: {}{advice}",
                key.definition
            )),
            Some(there) if key.is_valid && !there.is_valid => findings.warnings.push(format!(
                "{shown} is valid on the source and NOT VALID on the target{advice}"
            )),
            Some(_) => {}
        }
    }
    for ((name, parent), key) in theirs.iter().filter(|(name, _)| !ours.contains_key(*name)) {
        let state = if key.is_valid {
            ""
        } else {
            ", and NOT VALID there"
        };
        findings.warnings.push(format!(
            "foreign key {name} -> {parent} is on the target only{state}"
        ));
    }
    compare_triggers(sides, drawn, &advice, findings)?;
    let is_whole = settings.switches.validate
        || settings.switches.no_snapshot
        || settings.intent == Intent::Resume;
    if !is_whole {
        // What holds in the source's snapshot holds among the rows that come from it.
        let held: HashSet<(String, String, String)> = source_keys
            .iter()
            .filter(|key| key.is_valid && key.is_enforced)
            .filter(|key| names.copied.contains(&key.parent.shown()))
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

impl Names {
    /// Keys of these tables and to them, by name with its table and by parent; those of partitions stand for none.
    fn keys<'k>(&self, keys: &'k [Key]) -> BTreeMap<(String, String), &'k Key> {
        keys.iter()
            .filter(|key| key.tree_parent == 0)
            .map(|key| (key, (key.child.shown(), key.parent.shown())))
            .filter(|(_, (child, parent))| {
                self.touched.contains(child) || self.touched.contains(parent)
            })
            .map(|(key, (child, parent))| ((format!("{child}.{}", key.name), parent), key))
            .collect()
    }
}

/// Triggers that are disabled on the target alone.
fn compare_triggers(
    sides: &mut Sides<'_>,
    drawn: &Drawn,
    advice: &str,
    findings: &mut Findings,
) -> Result<()> {
    let (ours, theirs): (Vec<Oid>, Vec<Oid>) = drawn
        .copies
        .iter()
        .map(|copy| (copy.oid, copy.target_oid))
        .unzip();
    let name = |trigger: &Trigger| format!("{}.{}", trigger.table.shown(), trigger.name);
    let fire: HashSet<String> = read_triggers(sides.source.0, &ours)?
        .iter()
        .filter(|trigger| trigger.state != "D")
        .map(name)
        .collect();
    let off = read_triggers(sides.target.0, &theirs)?;
    for trigger in off.iter().filter(|trigger| trigger.state == "D") {
        let name = name(trigger);
        if fire.contains(&name) {
            findings.warnings.push(format!(
                "trigger {name} is enabled on the source and disabled on the target{advice}"
            ));
        }
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
