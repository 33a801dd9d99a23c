//! The part of the plan that is about keys and triggers.
//!
//! Runs in the processes that plan. Reads the target's keys and triggers, decides the mode, and says which tables
//! are emptied together.

use super::compare::Findings;
use super::facts::Relations;
use super::mode::{self, Decision};
use super::plan::{Drawn, Emptying, Group, Sides, TableCopy};
use super::settings::CopySettings;
use crate::catalog::{PlanKey, PlanTrigger};
use crate::error::Result;
use crate::fkey;
use crate::fkey::discover::{
    self, Fate, Mode, Selection, Tree, Trigger, fires, read_keys, read_triggers,
};
use crate::pg::PgSession;
use crate::schema::copy_format::Format;
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// Decides the mode, what becomes of keys and triggers, and which tables are emptied together.
pub(super) fn handle_keys(
    sides: &mut Sides<'_>,
    (target, selection): (&Relations, &Selection),
    settings: &CopySettings,
    (drawn, findings): (&mut Drawn, &mut Findings),
) -> Result<()> {
    let session = &mut *sides.target.0;
    let keys = read_keys(session)?;
    let leaves: Vec<Oid> = selection.leaves.iter().copied().collect();
    let triggers = read_triggers(session, &leaves)?;
    let can_replicate = can_replicate(session)?;
    let default: String = session
        .query_one(
            "select pg_catalog.current_setting('session_replication_role')",
            &[],
        )?
        .get(0);
    let mut below: BTreeMap<Oid, Vec<Oid>> = BTreeMap::new();
    for relation in &target.all {
        for above in target.ancestors(relation) {
            below.entry(above.oid).or_default().push(relation.oid);
        }
    }
    let trees = discover::trees(&keys);
    let facts = mode::Facts {
        choice: settings.mode,
        can_replicate,
        replica_by_default: default == "replica",
        role: &sides.target.1.role.rolname,
        selection,
        trees: &trees,
        triggers: &triggers,
        below: &below,
    };
    let Decision {
        mode,
        why,
        faults,
        would_keep,
    } = mode::decide(&facts);
    drawn.keys_to_keep = would_keep.map(|mute| (faults.len(), mute));
    findings.faults.extend(faults);
    drawn.mode = mode;
    drawn.plan.why = why;
    mode.map_or("refused", Mode::name)
        .clone_into(&mut drawn.plan.mode);
    let shown_mode = mode.unwrap_or(Mode::Drop);
    for (tree, fate) in mode::fates(&facts, shown_mode) {
        if fate == Fate::Remove {
            drawn.removed.insert(tree.root.oid);
        }
        let is_claimed = tree.root.is_enforced && tree.root.is_valid;
        if fate == (Fate::Stay { checked: false }) && is_claimed {
            drawn.unchecked.push(tree.root.oid);
        }
        drawn
            .plan
            .keys
            .push(plan_key(tree, (fate, shown_mode), selection));
    }
    for trigger in triggers.iter().filter(|trigger| fires(trigger, shown_mode)) {
        drawn.plan.triggers.push(plan_trigger(trigger));
        drawn.triggers.push(trigger.clone());
    }
    if let Some(mode @ (Mode::Keep | Mode::Replica)) = mode {
        drawn.groups = mode::groups(&facts, mode)
            .into_iter()
            .map(|members| group_of(target, &members, selection))
            .collect();
        if mode == Mode::Keep {
            // A table that refers to itself does not wait for itself.
            let edges = fkey::order(&mode::edges(&facts)).unwrap_or_default();
            drawn.copy_after = edges.into_iter().collect();
        }
    }
    let pinned: HashSet<Oid> = leaves
        .iter()
        .copied()
        .filter(|oid| mode == Some(Mode::Keep) && mode::is_self_referencing(&facts, *oid))
        .collect();
    drop(trees);
    drawn.copies = leaves
        .iter()
        .map(|oid| unplanned(*oid, pinned.contains(oid)))
        .collect();
    drawn.keys = keys;
    Ok(())
}

/// A table of the target about which only that is known that it must not be split (1) or may (0).
fn unplanned(target_oid: Oid, whole: bool) -> TableCopy {
    TableCopy {
        oid: 0,
        target_oid,
        qname: String::new(),
        columns: String::new(),
        select_list: None,
        format: Format::Text,
        emptying: Emptying::Own,
        parts: u32::from(whole),
        group: None,
    }
}

/// Whether the role may tell the server not to fire triggers. The session's transaction goes on.
fn can_replicate(session: &mut PgSession) -> Result<bool> {
    session.batch_execute("savepoint try_replica")?;
    let tried = session.batch_execute("set local session_replication_role = 'replica'");
    session.batch_execute("rollback to savepoint try_replica; release savepoint try_replica")?;
    match tried {
        Ok(()) => Ok(true),
        Err(error) if error.sqlstate() == Some("42501") => Ok(false),
        Err(error) => Err(error),
    }
}

fn plan_key(tree: &Tree<'_>, (fate, shown_mode): (Fate, Mode), selection: &Selection) -> PlanKey {
    let key = tree.root;
    let is_inside = tree.keys.iter().any(|key| selection.has(key.child.oid));
    let mut how = match fate {
        Fate::Remove if !key.is_enforced => "remove, put back, not enforced as before".to_owned(),
        Fate::Remove if !key.is_valid => "remove, put back, not valid as before".to_owned(),
        Fate::Remove => "remove, put back, validate".to_owned(),
        Fate::Stay { checked: true } => "stays, checks each row".to_owned(),
        Fate::Stay { checked: false } if shown_mode != Mode::Replica => {
            "stays, and checks no row, as its triggers are disabled".to_owned()
        }
        Fate::Stay { checked: false } => "stays, not checked while rows arrive".to_owned(),
        Fate::Refuse => "in the way".to_owned(),
        Fate::Untouched => String::new(),
    };
    if fate == (Fate::Stay { checked: true })
        && let Some((obstacle, _)) = tree.obstacle()
    {
        let hidden =
            |table: &discover::Table| format!("stays: row security is forced on {}", table.shown());
        how = match obstacle {
            discover::Obstacle::Owner => format!("stays, as its table belongs to {}", key.owner),
            discover::Obstacle::References => {
                format!("stays: no REFERENCES on {}", key.parent.shown())
            }
            discover::Obstacle::Disabled => {
                "stays: its triggers are not as they were made".to_owned()
            }
            discover::Obstacle::HiddenChild => hidden(&key.child),
            discover::Obstacle::HiddenParent => hidden(&key.parent),
        };
    }
    if !is_inside {
        how = format!("{how}; {} is outside, its rows stay", key.child.shown());
    }
    PlanKey {
        child: key.child.shown(),
        name: key.name.clone(),
        parent: key.parent.shown(),
        action: match fate {
            Fate::Remove => "remove",
            _ => "stay",
        }
        .to_owned(),
        how,
        definition: key.definition.clone(),
    }
}

fn plan_trigger(trigger: &Trigger) -> PlanTrigger {
    PlanTrigger {
        table: trigger.table.shown(),
        name: trigger.name.clone(),
        state: match trigger.state.as_str() {
            "A" => "always",
            "R" => "replica",
            _ => "enabled",
        }
        .to_owned(),
    }
}

/// One TRUNCATE for linked tables; the oids are still those of the target.
fn group_of(target: &Relations, members: &BTreeSet<Oid>, selection: &Selection) -> Group {
    let names: Vec<String> = members
        .iter()
        .filter_map(|oid| target.of(*oid))
        .map(|relation| {
            let only = if relation.kind == "p" { "" } else { "only " };
            format!("{only}{}", relation.qname())
        })
        .collect();
    Group {
        sql: format!("truncate {}", names.join(", ")),
        tables: members.intersection(&selection.leaves).copied().collect(),
    }
}
