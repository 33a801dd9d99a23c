//! The foreign keys and triggers of a target, and what has to become of each for a copy of rows.
//!
//! Runs in the process that plans, and in those that remove and put back. Reads the target's catalogs; what
//! becomes of a key is decided purely. Keys of partitions are seen with their root: only the root can be
//! removed, and takes them along.

use crate::error::Result;
use crate::pg::{PgSession, quote};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// A table at one end of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// True for a partitioned table.
    pub is_partitioned: bool,
}

impl Table {
    /// Name ready for SQL.
    pub fn qname(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// Name for people.
    pub fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// A foreign key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Oid.
    pub oid: Oid,
    /// Raw name.
    pub name: String,
    /// The table that has it.
    pub child: Table,
    /// Role that owns the child.
    pub owner: String,
    /// The table it refers to.
    pub parent: Table,
    /// `pg_get_constraintdef`, all names qualified.
    pub definition: String,
    /// Its comment.
    pub comment: Option<String>,
    /// False: NOT VALID.
    pub is_valid: bool,
    /// False: NOT ENFORCED.
    pub is_enforced: bool,
    /// Key of the partitioned table above, 0 where there is none.
    pub tree_parent: Oid,
    /// Why the role could not remove it or put it back.
    pub obstacle: Option<Obstacle>,
    /// Rows that come into the child are checked: its triggers there are not disabled.
    pub checks: bool,
}

/// Why a role could not remove a key and put it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// It has not the rights of the child's owner.
    Owner,
    /// It may not refer to the parent's columns.
    References,
    /// Somebody has disabled triggers of the key, which would come back enabled.
    Disabled,
    /// Row security is forced on the child, so that it could not be validated.
    HiddenChild,
    /// Row security is forced on the parent, so that it could not be validated.
    HiddenParent,
}

/// A trigger that a user made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Its table.
    pub table: Table,
    /// Raw name.
    pub name: String,
    /// `O` origin, `A` always, `R` replica, `D` disabled.
    pub state: String,
    /// `pg_get_triggerdef`.
    pub definition: String,
    /// The role may do what the table's owner may.
    pub is_owned: bool,
}

/// How keys and triggers are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// There are none in the way.
    None,
    /// The server is told not to check them.
    Replica,
    /// Removed, and put back.
    Drop,
    /// They stay, and check each row.
    Keep,
}

impl Mode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Replica => "replica",
            Self::Drop => "drop",
            Self::Keep => "keep",
        }
    }
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has nothing to do with the selection.
    Untouched,
    /// It is removed and put back.
    Remove,
    /// It stays; `checked` while rows arrive, or not.
    Stay {
        /// Whether the server checks it.
        checked: bool,
    },
    /// It stands in the way of this mode.
    Refuse,
}

/// Tables that rows are copied into.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Tables and leaf partitions.
    pub leaves: BTreeSet<Oid>,
    /// Partitioned tables with at least one selected leaf.
    pub partly: BTreeSet<Oid>,
    /// Of these, the ones all of whose leaves are selected.
    pub wholly: BTreeSet<Oid>,
}

impl Selection {
    /// Whether a table, or a leaf of it, is selected.
    pub fn has(&self, table: Oid) -> bool {
        self.leaves.contains(&table) || self.partly.contains(&table)
    }

    fn has_all_of(&self, table: Oid) -> bool {
        self.leaves.contains(&table) || self.wholly.contains(&table)
    }
}

/// Reads all foreign keys of the database.
pub fn read_keys(session: &mut PgSession) -> Result<Vec<Key>> {
    let rows = session.query(include_str!("sql/list_keys.sql"), &[])?;
    Ok(rows
        .iter()
        .map(|row| {
            let table = |end: &str| Table {
                oid: row.get(format!("{end}_oid").as_str()),
                schema: row.get(format!("{end}_schema").as_str()),
                name: row.get(format!("{end}_name").as_str()),
                is_partitioned: row.get::<_, String>(format!("{end}_kind").as_str()) == "p",
            };
            let obstacles = [
                (!row.get::<_, bool>("is_owned"), Obstacle::Owner),
                (!row.get::<_, bool>("can_refer"), Obstacle::References),
                (!row.get::<_, bool>("is_plain"), Obstacle::Disabled),
                (row.get("hides_child"), Obstacle::HiddenChild),
                (row.get("hides_parent"), Obstacle::HiddenParent),
            ];
            let obstacle = obstacles
                .into_iter()
                .find_map(|(is_so, obstacle)| is_so.then_some(obstacle));
            Key {
                oid: row.get("oid"),
                name: row.get("name"),
                child: table("child"),
                owner: row
                    .get::<_, Option<String>>("child_owner")
                    .unwrap_or_default(),
                parent: table("parent"),
                definition: row.get("definition"),
                comment: row.get("comment"),
                is_valid: row.get("is_valid"),
                is_enforced: row.get("is_enforced"),
                tree_parent: row.get("tree_parent"),
                obstacle,
                checks: row.get("checks"),
            }
        })
        .collect())
}

/// Reads the triggers of users on these tables.
pub fn read_triggers(session: &mut PgSession, tables: &[Oid]) -> Result<Vec<Trigger>> {
    let rows = session.query(include_str!("sql/list_triggers.sql"), &[&tables])?;
    Ok(rows
        .iter()
        .map(|row| Trigger {
            table: Table {
                oid: row.get("table_oid"),
                schema: row.get("nspname"),
                name: row.get("relname"),
                is_partitioned: false,
            },
            name: row.get("name"),
            state: row.get("state"),
            definition: row.get("definition"),
            is_owned: row.get("is_owned"),
        })
        .collect())
}

/// Triggers that would fire in a mode, and so are switched off where that is what the mode does.
pub fn fires(trigger: &Trigger, mode: Mode) -> bool {
    match mode {
        Mode::Replica => matches!(trigger.state.as_str(), "A" | "R"),
        Mode::Drop | Mode::None => matches!(trigger.state.as_str(), "O" | "A"),
        Mode::Keep => false,
    }
}

/// A key that stands alone or at the root of a partition tree, with all keys of its tree, itself first.
#[derive(Clone, Debug)]
pub struct Tree<'k> {
    /// The key that can be removed.
    pub root: &'k Key,
    /// It, and those that go with it.
    pub keys: Vec<&'k Key>,
}

/// Sorts keys into trees, by the oid of their roots.
pub fn trees(keys: &[Key]) -> Vec<Tree<'_>> {
    let above: BTreeMap<Oid, Oid> = keys.iter().map(|key| (key.oid, key.tree_parent)).collect();
    // The root above a key, and how far above it is.
    let root_of = |key: &Key| {
        let (mut oid, mut depth) = (key.oid, 0_u32);
        while let Some(up) = above.get(&oid).filter(|up| above.contains_key(up)) {
            oid = *up;
            depth += 1;
        }
        (oid, depth)
    };
    let mut found: BTreeMap<Oid, Vec<&Key>> = BTreeMap::new();
    for key in keys {
        found.entry(root_of(key).0).or_default().push(key);
    }
    found
        .into_values()
        .filter_map(|mut keys| {
            // Not by oid: keys that were put back were so from the leaves up.
            keys.sort_by_key(|key| (root_of(key).1, key.oid));
            keys.first().copied().map(|root| Tree { root, keys })
        })
        .collect()
}

impl Tree<'_> {
    /// Why the role could not remove it or put it back.
    pub fn obstacle(&self) -> Option<(Obstacle, &Key)> {
        self.keys
            .iter()
            .find_map(|key| key.obstacle.map(|obstacle| (obstacle, *key)))
    }

    /// Whether it checks the rows that come into its children, when it stays and the server is not told otherwise.
    pub fn checks(&self) -> bool {
        self.keys.iter().all(|key| key.checks)
    }

    /// What becomes of it in a mode.
    pub fn fate(&self, selection: &Selection, mode: Mode) -> Fate {
        let child = self.keys.iter().any(|key| selection.has(key.child.oid));
        let parent = selection.has(self.root.parent.oid);
        let is_removable = self.obstacle().is_none();
        match (child, parent) {
            (false, false) => Fate::Untouched,
            // Rows of the child stay as they are; TRUNCATE of the parent would be refused.
            (false, true) if is_removable && mode != Mode::Keep => Fate::Remove,
            (false, true) => Fate::Refuse,
            (true, false) => match mode {
                Mode::Drop if is_removable => Fate::Remove,
                Mode::Replica => Fate::Stay { checked: false },
                _ => Fate::Stay {
                    checked: self.checks(),
                },
            },
            (true, true) => match mode {
                Mode::Drop if is_removable => Fate::Remove,
                Mode::Drop | Mode::None => Fate::Refuse,
                // One TRUNCATE has to name both ends, and empties all partitions of what it names.
                _ if !self.can_be_emptied_together(selection) => match mode {
                    Mode::Replica if is_removable => Fate::Remove,
                    _ => Fate::Refuse,
                },
                mode => Fate::Stay {
                    checked: mode == Mode::Keep && self.checks(),
                },
            },
        }
    }

    fn can_be_emptied_together(&self, selection: &Selection) -> bool {
        selection.has_all_of(self.root.parent.oid)
            && self
                .keys
                .iter()
                .all(|key| selection.has_all_of(key.child.oid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(oid: Oid, child: Oid, parent: Oid, tree_parent: Oid, obstacle: Option<Obstacle>) -> Key {
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
            owner: "o".to_owned(),
            parent: table(parent),
            definition: String::new(),
            comment: None,
            is_valid: true,
            is_enforced: true,
            tree_parent,
            obstacle,
            checks: obstacle != Some(Obstacle::Disabled),
        }
    }

    fn selection(leaves: &[Oid]) -> Selection {
        Selection {
            leaves: leaves.iter().copied().collect(),
            ..Selection::default()
        }
    }

    fn fate(key: &Key, leaves: &[Oid], mode: Mode) -> Fate {
        let keys = [key.clone()];
        trees(&keys)[0].fate(&selection(leaves), mode)
    }

    #[test]
    fn a_key_is_removed_stays_or_is_refused_by_its_ends_and_by_what_the_role_may() {
        let free = key(1, 10, 20, 0, None);
        let bound = key(1, 10, 20, 0, Some(Obstacle::Owner));
        assert_eq!(fate(&free, &[30], Mode::Drop), Fate::Untouched);
        assert_eq!(fate(&free, &[10, 20], Mode::Drop), Fate::Remove);
        assert_eq!(fate(&bound, &[10, 20], Mode::Drop), Fate::Refuse);
        assert_eq!(fate(&free, &[10], Mode::Drop), Fate::Remove);
        assert_eq!(
            fate(&bound, &[10], Mode::Drop),
            Fate::Stay { checked: true }
        );
        assert_eq!(fate(&free, &[20], Mode::Drop), Fate::Remove);
        assert_eq!(fate(&bound, &[20], Mode::Drop), Fate::Refuse);
        assert_eq!(
            fate(&bound, &[10, 20], Mode::Replica),
            Fate::Stay { checked: false }
        );
        assert_eq!(fate(&free, &[20], Mode::Replica), Fate::Remove);
        assert_eq!(fate(&free, &[20], Mode::Keep), Fate::Refuse);
        assert_eq!(
            fate(&bound, &[10, 20], Mode::Keep),
            Fate::Stay { checked: true }
        );
        // Whose triggers are disabled stays, and checks nothing.
        let mute = [key(1, 10, 20, 0, Some(Obstacle::Disabled))];
        for (leaves, mode) in [
            (&[10][..], Mode::Drop),
            (&[10], Mode::Keep),
            (&[10, 20], Mode::Keep),
        ] {
            assert_eq!(
                fate(&mute[0], leaves, mode),
                Fate::Stay { checked: false },
                "{mode:?}"
            );
        }
    }

    #[test]
    fn keys_of_partitions_go_with_the_root_of_their_tree() {
        let keys = [
            key(1, 10, 20, 0, None),
            key(2, 11, 20, 1, None),
            key(3, 12, 20, 2, Some(Obstacle::Owner)),
            key(4, 30, 30, 0, None),
        ];
        let trees = trees(&keys);
        assert_eq!(trees.len(), 2);
        assert_eq!(trees[0].root.oid, 1);
        assert_eq!(trees[0].keys.len(), 3);
        let put_back = [
            key(9, 10, 20, 0, None),
            key(5, 11, 20, 9, None),
            key(3, 12, 20, 5, None),
        ];
        let order: Vec<Oid> = super::trees(&put_back)[0]
            .keys
            .iter()
            .map(|key| key.oid)
            .collect();
        assert_eq!(order, [9, 5, 3], "from the root down, whatever the oids");
        assert_eq!(
            trees[0].obstacle().map(|found| found.0),
            Some(Obstacle::Owner)
        );
        assert_eq!(
            trees[0].fate(&selection(&[12, 20]), Mode::Drop),
            Fate::Refuse
        );
    }
}
