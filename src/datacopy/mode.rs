//! How keys and triggers are handled: the mode, what becomes of each key, which tables are emptied together.
//!
//! Pure. `auto` takes the first mode that works and says why; a mode that was asked for is used or refused,
//! never replaced.

use super::settings::ModeChoice;
use crate::fkey::discover::{Fate, Key, Mode, Obstacle, Selection, Tree, Trigger, fires};
use crate::fkey::{self, Cycle};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// What the decision is made of.
pub(super) struct Facts<'f> {
    pub(super) choice: ModeChoice,
    /// The role may set `session_replication_role`.
    pub(super) can_replicate: bool,
    /// Sessions on the target begin with `session_replication_role = replica`, by a setting of the database or
    /// of the role: no key would be checked, and triggers that are meant for replicas would fire.
    pub(super) replica_by_default: bool,
    pub(super) role: &'f str,
    pub(super) selection: &'f Selection,
    pub(super) trees: &'f [Tree<'f>],
    /// Of the selected tables.
    pub(super) triggers: &'f [Trigger],
    /// Partitioned tables with the tables below them, at all levels.
    pub(super) below: &'f BTreeMap<Oid, Vec<Oid>>,
}

/// The decision.
#[derive(Clone, Debug, Default)]
pub(super) struct Decision {
    pub(super) mode: Option<Mode>,
    pub(super) why: String,
    /// Obstacles of the mode, when it is refused.
    pub(super) faults: Vec<String>,
    /// Refused, and mode keep would not be: how many keys it would not check either, as their triggers are
    /// disabled.
    pub(super) would_keep: Option<usize>,
}

/// Decides the mode.
pub(super) fn decide(facts: &Facts<'_>) -> Decision {
    let taken = |mode: Mode, why: String| Decision {
        mode: Some(mode),
        why,
        ..Decision::default()
    };
    let touched = facts
        .trees
        .iter()
        .any(|tree| tree.fate(facts.selection, Mode::Drop) != Fate::Untouched);
    let fired = facts.triggers.iter().any(|t| fires(t, Mode::None));
    let only = match facts.choice {
        ModeChoice::Auto if !touched && !fired && !facts.replica_by_default => {
            return taken(
                Mode::None,
                "no foreign key and no trigger is in the way".to_owned(),
            );
        }
        ModeChoice::Auto => None,
        ModeChoice::Only(mode) => Some(mode),
    };
    if let Some(mode) = only {
        let mut faults = obstacles(facts, mode);
        if mode == Mode::Replica && !facts.can_replicate {
            faults.insert(0, cannot_replicate(facts.role));
        }
        let why = format!("--constraints {}", mode.name());
        return Decision {
            mode: faults.is_empty().then_some(mode),
            why,
            faults,
            would_keep: None,
        };
    }
    if facts.can_replicate && obstacles(facts, Mode::Replica).is_empty() {
        let why = format!("role \"{}\" may set session_replication_role", facts.role);
        return taken(Mode::Replica, why);
    }
    let faults = obstacles(facts, Mode::Drop);
    if faults.is_empty() {
        let why = format!(
            "role \"{}\" may not set session_replication_role: foreign keys are removed and put back",
            facts.role
        );
        return taken(Mode::Drop, why);
    }
    Decision {
        mode: None,
        why: "no mode works".to_owned(),
        faults,
        would_keep: obstacles(facts, Mode::Keep).is_empty().then(|| mute(facts)),
    }
}

/// Keys that would stay in mode keep and check no row.
fn mute(facts: &Facts<'_>) -> usize {
    let stays =
        |tree: &&Tree<'_>| tree.fate(facts.selection, Mode::Keep) == Fate::Stay { checked: false };
    facts.trees.iter().filter(stays).count()
}

fn cannot_replicate(role: &str) -> String {
    format!("target: role \"{role}\" may not set session_replication_role")
}

fn replica_by_default(role: &str) -> String {
    format!(
        "target: sessions of role \"{role}\" begin with session_replication_role = replica, with which keys that \
         stay are not checked and triggers for replicas fire; run there: alter database … reset \
         session_replication_role, or alter role \"{role}\" reset session_replication_role, or take --constraints \
         replica with a role that may set it"
    )
}

/// What stands in the way of a mode.
fn obstacles(facts: &Facts<'_>, mode: Mode) -> Vec<String> {
    let mut faults: Vec<String> = facts
        .trees
        .iter()
        .filter(|tree| tree.fate(facts.selection, mode) == Fate::Refuse)
        .map(|tree| refusal(facts, tree, mode))
        .collect();
    if facts.replica_by_default && mode != Mode::Replica {
        faults.push(replica_by_default(facts.role));
    }
    for trigger in facts.triggers {
        if fires(trigger, mode) && !trigger.is_owned {
            faults.push(format!(
                "target: trigger {}.{} cannot be switched off by role \"{}\", which does not own the table",
                trigger.table.shown(),
                trigger.name,
                facts.role
            ));
        }
    }
    if mode == Mode::Keep
        && let Err(Cycle(tables)) = fkey::order(&edges(facts))
    {
        let names: Vec<String> = tables.iter().map(|oid| name_of(facts, *oid)).collect();
        faults.push(format!(
            "tables refer to each other in a circle, so that none can be filled first: {}",
            names.join(", ")
        ));
    }
    faults
}

fn name_of(facts: &Facts<'_>, oid: Oid) -> String {
    let keys = facts.trees.iter().flat_map(|tree| &tree.keys);
    let tables = keys.flat_map(|key| [&key.child, &key.parent]);
    tables
        .into_iter()
        .find(|table| table.oid == oid)
        .map_or_else(|| oid.to_string(), crate::fkey::discover::Table::shown)
}

fn refusal(facts: &Facts<'_>, tree: &Tree<'_>, mode: Mode) -> String {
    let key = tree.root;
    let name = format!(
        "target: foreign key {}.{} -> {}",
        key.child.shown(),
        key.name,
        key.parent.shown()
    );
    match (mode, tree.obstacle()) {
        (Mode::Keep, _) if !tree.keys.iter().any(|k| facts.selection.has(k.child.oid)) => format!(
            "{name}: table {} is outside of the selection and refers into it",
            key.child.shown()
        ),
        (_, Some((Obstacle::Owner, at))) => format!(
            "{name}: role \"{}\" has not the rights of {}, who owns {}; its owner can run before: \
             alter table {} drop constraint \"{}\"; and after: alter table {} add constraint \"{}\" {};",
            facts.role,
            at.owner,
            at.child.shown(),
            at.child.qname(),
            at.name,
            at.child.qname(),
            at.name,
            at.definition
        ),
        (_, Some((Obstacle::References, _))) => format!(
            "{name}: role \"{}\" could remove it and not put it back; run on the target: \
             grant references on {} to the role",
            facts.role,
            key.parent.qname()
        ),
        (_, Some((Obstacle::Disabled, _))) => format!(
            "{name}: triggers of the key are disabled, and would come back enabled; a superuser can enable \
             them with alter table … enable trigger, or leave its tables out"
        ),
        (_, Some((obstacle @ (Obstacle::HiddenChild | Obstacle::HiddenParent), at))) => {
            let table = match obstacle {
                Obstacle::HiddenChild => &at.child,
                _ => &at.parent,
            };
            format!(
                "{name}: row security is forced on {}, so that role \"{}\" could remove the key and not validate it \
                 again; run on the target: alter table {} no force row level security; or give the role BYPASSRLS",
                table.shown(),
                facts.role,
                table.qname()
            )
        }
        (_, None) => format!(
            "{name}: only some partitions are selected, so that the tables cannot be emptied together"
        ),
    }
}

/// Every key with what becomes of it, untouched ones left out.
pub(super) fn fates<'f>(facts: &Facts<'f>, mode: Mode) -> Vec<(&'f Tree<'f>, Fate)> {
    facts
        .trees
        .iter()
        .map(|tree| (tree, tree.fate(facts.selection, mode)))
        .filter(|(_, fate)| *fate != Fate::Untouched)
        .collect()
}

/// A table with all selected tables below it, itself included.
fn leaves_of(facts: &Facts<'_>, table: Oid) -> Vec<Oid> {
    let below = facts.below.get(&table).cloned().unwrap_or_default();
    std::iter::once(table)
        .chain(below)
        .filter(|oid| facts.selection.leaves.contains(oid))
        .collect()
}

/// Children and parents of keys that stay and are checked, as tables with rows; oids of the target.
pub(super) fn edges(facts: &Facts<'_>) -> Vec<(Oid, Oid)> {
    let mut found = Vec::new();
    for (tree, fate) in fates(facts, Mode::Keep) {
        if !matches!(fate, Fate::Stay { .. }) {
            continue;
        }
        let children: BTreeSet<Oid> = tree
            .keys
            .iter()
            .flat_map(|key| leaves_of(facts, key.child.oid))
            .collect();
        for parent in leaves_of(facts, tree.root.parent.oid) {
            found.extend(children.iter().map(|child| (*child, parent)));
        }
    }
    found
}

/// Tables that one TRUNCATE has to name together, partitioned ones among them; oids of the target. Tables that
/// nothing links are not listed.
pub(super) fn groups(facts: &Facts<'_>, mode: Mode) -> Vec<BTreeSet<Oid>> {
    let mut groups: Vec<BTreeSet<Oid>> = Vec::new();
    for (tree, fate) in fates(facts, mode) {
        let is_inside = facts.selection.has(tree.root.parent.oid);
        if !matches!(fate, Fate::Stay { .. }) || !is_inside {
            continue;
        }
        let mut linked: BTreeSet<Oid> = BTreeSet::new();
        let ends = tree.keys.iter().map(|key| key.child.oid);
        for oid in ends.chain([tree.root.parent.oid]) {
            linked.insert(oid);
            linked.extend(facts.below.get(&oid).into_iter().flatten());
        }
        let (touching, apart): (Vec<_>, Vec<_>) = groups
            .into_iter()
            .partition(|group| !group.is_disjoint(&linked));
        linked.extend(touching.into_iter().flatten());
        groups = apart;
        groups.push(linked);
    }
    groups.retain(|group| group.len() > 1);
    groups
}

/// Tables that refer to themselves by a key that stays: they cannot be copied in parts when it is checked.
pub(super) fn is_self_referencing(facts: &Facts<'_>, table: Oid) -> bool {
    facts.trees.iter().any(|tree| {
        let is_end = |key: &&Key| key.child.oid == table && key.parent.oid == table;
        tree.keys.iter().copied().any(|key| is_end(&key))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fkey::discover::{Table, trees};

    fn key(oid: Oid, child: Oid, parent: Oid) -> Key {
        let table = |oid| Table {
            oid,
            schema: "s".to_owned(),
            name: format!("t{oid}"),
            is_partitioned: false,
        };
        Key {
            oid,
            name: format!("k{oid}"),
            child: table(child),
            owner: "boss".to_owned(),
            parent: table(parent),
            definition: "FOREIGN KEY".to_owned(),
            comment: None,
            is_valid: true,
            is_enforced: true,
            tree_parent: 0,
            obstacle: None,
            checks: true,
        }
    }

    fn with<T>(
        keys: &[Key],
        leaves: &[Oid],
        (choice, can_replicate): (ModeChoice, bool),
        body: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        let selection = Selection {
            leaves: leaves.iter().copied().collect(),
            ..Selection::default()
        };
        let trees = trees(keys);
        let below = BTreeMap::new();
        body(&Facts {
            choice,
            can_replicate,
            replica_by_default: false,
            role: "app",
            selection: &selection,
            trees: &trees,
            triggers: &[],
            below: &below,
        })
    }

    #[test]
    fn auto_takes_the_first_mode_that_works_and_never_keep() {
        let auto = ModeChoice::Auto;
        let free = [key(1, 10, 20)];
        let mut bound = free.clone();
        bound[0].obstacle = Some(Obstacle::Owner);
        let mode = |keys: &[Key], leaves: &[Oid], can| with(keys, leaves, (auto, can), decide).mode;
        assert_eq!(mode(&free, &[30], false), Some(Mode::None));
        assert_eq!(mode(&free, &[10, 20], true), Some(Mode::Replica));
        assert_eq!(mode(&free, &[10, 20], false), Some(Mode::Drop));
        assert_eq!(mode(&bound, &[20], true), None);
        let refused = with(&bound, &[10, 20], (auto, false), decide);
        assert_eq!(refused.mode, None);
        assert!(refused.faults[0].contains("boss"), "{:?}", refused.faults);
        assert_eq!((refused.faults.len(), refused.would_keep), (1, Some(0)));
        let mut mute = bound.clone();
        mute[0].obstacle = Some(Obstacle::Disabled);
        mute[0].checks = false;
        let refused = with(&mute, &[10, 20], (auto, false), decide);
        assert_eq!((refused.faults.len(), refused.would_keep), (1, Some(1)));
        let only = with(
            &free,
            &[10, 20],
            (ModeChoice::Only(Mode::Replica), false),
            decide,
        );
        assert_eq!((only.mode, only.faults.len()), (None, 1));
    }

    #[test]
    fn a_default_that_checks_no_key_leaves_mode_replica_alone() {
        let free = [key(1, 10, 20)];
        let decided = |choice, can_replicate| {
            with(&free, &[30], (choice, can_replicate), |facts| {
                decide(&Facts {
                    replica_by_default: true,
                    ..*facts
                })
            })
        };
        assert_eq!(decided(ModeChoice::Auto, true).mode, Some(Mode::Replica));
        for mode in [Mode::Drop, Mode::Keep] {
            let refused = decided(ModeChoice::Only(mode), true);
            assert_eq!((refused.mode, refused.faults.len()), (None, 1), "{mode:?}");
        }
        let refused = decided(ModeChoice::Auto, false);
        assert_eq!((refused.mode, refused.would_keep), (None, None));
        assert!(refused.faults[0].contains("reset session_replication_role"));
    }

    #[test]
    fn linked_tables_are_emptied_together_and_circles_are_refused_by_keep() {
        let keys = [
            key(1, 10, 20),
            key(2, 20, 30),
            key(3, 40, 40),
            key(4, 50, 60),
        ];
        let leaves = [10, 20, 30, 40, 50];
        let keep = (ModeChoice::Only(Mode::Keep), false);
        let found = with(&keys, &leaves, keep, |facts| groups(facts, Mode::Keep));
        assert_eq!(found, [BTreeSet::from([10, 20, 30])]);
        assert_eq!(with(&keys, &leaves, keep, decide).mode, Some(Mode::Keep));
        let circle = [key(1, 10, 20), key(2, 20, 10)];
        let refused = with(&circle, &[10, 20], keep, decide);
        assert!(
            refused.faults[0].contains("s.t10, s.t20"),
            "{:?}",
            refused.faults
        );
    }
}
