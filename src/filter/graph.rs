//! The dependencies of a database, with what belongs together taken as one.
//!
//! Pure. A part (the row type of a table, a column's default, a check, the rule of a view, the index
//! of a constraint, a member of an extension) is made and left out with its whole. What remains are
//! edges between wholes.

use super::facts::{
    Constraint, Edge, Facts, ObjectId, PG_AMOP, PG_AMPROC, PG_ATTRDEF, PG_CLASS, PG_CONSTRAINT,
    PG_EXTENSION, PG_NAMESPACE, PG_OPCLASS, PG_OPFAMILY, PG_TYPE,
};
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Longest chain of parts of parts.
const NESTED_MAX: usize = 32;

/// Wholes and what they hang on.
#[derive(Debug, Default)]
pub(super) struct Graph {
    part_of: HashMap<ObjectId, ObjectId>,
    /// What each one cannot be made without.
    needs: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// The same the other way round.
    users: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// The members of each schema; extensions are none.
    pub(super) members: BTreeMap<Oid, BTreeSet<ObjectId>>,
    /// The schema of each object; of an extension, too.
    homes: BTreeMap<ObjectId, BTreeSet<Oid>>,
    /// Sequences with the table whose column owns them.
    pub(super) owned: BTreeMap<Oid, BTreeSet<Oid>>,
    /// Extensions with what needs them.
    pub(super) extension_users: BTreeMap<Oid, BTreeSet<ObjectId>>,
    /// Partitions of tables and of indexes, by parent.
    partitions: BTreeMap<Oid, BTreeSet<Oid>>,
}

impl Graph {
    pub(super) fn new(facts: &Facts) -> Self {
        let mut graph = Self {
            part_of: parts(facts),
            ..Self::default()
        };
        for (child, parent) in &facts.parents {
            if is_partitioned(facts, *parent) {
                graph.partitions.entry(*parent).or_default().insert(*child);
            }
        }
        for edge in &facts.edges {
            graph.take(facts, edge);
        }
        graph
    }

    fn take(&mut self, facts: &Facts, edge: &Edge) {
        let from = self.whole(edge.from);
        // A schema that an extension made is a schema all the same.
        let to = match edge.to.0 {
            PG_NAMESPACE => edge.to,
            _ => self.whole(edge.to),
        };
        if from == to || !is_need(facts, edge) {
            return;
        }
        if to.0 == PG_NAMESPACE {
            self.homes.entry(from).or_default().insert(to.1);
            if from.0 != PG_EXTENSION {
                self.members.entry(to.1).or_default().insert(from);
            }
        } else if to.0 == PG_EXTENSION {
            self.extension_users.entry(to.1).or_default().insert(from);
        } else if edge.kind == 'a' && is_sequence(facts, from) && to.0 == PG_CLASS {
            self.owned.entry(to.1).or_default().insert(from.1);
        } else if !self.is_partition(from, to) {
            self.needs.entry(from).or_default().insert(to);
            self.users.entry(to).or_default().insert(from);
        }
    }

    /// The object that this one is a part of, or itself.
    pub(super) fn whole(&self, object: ObjectId) -> ObjectId {
        let mut whole = object;
        for _ in 0..NESTED_MAX {
            match self.part_of.get(&whole) {
                Some(next) => whole = *next,
                None => break,
            }
        }
        whole
    }

    /// All parts with their wholes.
    pub(super) fn parts(&self) -> impl Iterator<Item = (ObjectId, ObjectId)> {
        self.part_of.keys().map(|part| (*part, self.whole(*part)))
    }

    /// What cannot be made without this object.
    pub(super) fn users(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> {
        self.users.get(&object).into_iter().flatten().copied()
    }

    /// What this object cannot be made without, its schema included.
    pub(super) fn needs(&self, object: ObjectId) -> impl Iterator<Item = ObjectId> {
        let needs = self.needs.get(&object).into_iter().flatten().copied();
        let homes = self.homes.get(&object).into_iter().flatten();
        needs.chain(homes.map(|schema| (PG_NAMESPACE, *schema)))
    }

    fn is_partition(&self, child: ObjectId, parent: ObjectId) -> bool {
        let both = child.0 == PG_CLASS && parent.0 == PG_CLASS;
        let partitions = self.partitions.get(&parent.1);
        both && partitions.is_some_and(|all| all.contains(&child.1))
    }

    /// The partitioned index that an index of a partition is attached to.
    pub(super) fn index_above(&self, facts: &Facts, index: Oid) -> Option<Oid> {
        let above = facts.parents.iter().filter(|(child, _)| *child == index);
        above
            .map(|(_, parent)| *parent)
            .find(|parent| self.partitions.contains_key(parent))
    }

    /// Tables or indexes, and the partitions of those that are partitioned, all the way down.
    pub(super) fn with_partitions(&self, relations: impl Iterator<Item = Oid>) -> BTreeSet<Oid> {
        let mut all = BTreeSet::new();
        let mut new: Vec<Oid> = relations.collect();
        while let Some(oid) = new.pop() {
            if all.insert(oid) {
                new.extend(self.partitions.get(&oid).into_iter().flatten());
            }
        }
        all
    }
}

fn is_partitioned(facts: &Facts, oid: Oid) -> bool {
    let relation = facts.relations.get(&oid);
    relation.is_some_and(|relation| matches!(relation.kind, 'p' | 'I'))
}

fn is_sequence(facts: &Facts, object: ObjectId) -> bool {
    let relation = facts.relations.get(&object.1);
    object.0 == PG_CLASS && relation.is_some_and(|relation| relation.kind == 'S')
}

/// Whether an edge says that one cannot be made without the other. What hangs on a partitioned index,
/// constraint or trigger is made by itself and attached; members are wholes' parts already.
fn is_need(facts: &Facts, edge: &Edge) -> bool {
    match edge.kind {
        'n' | 'a' | 'i' => true,
        // 'S' and, in PostgreSQL 11, 'I' also lead to the partition that an index or a key is of.
        'S' | 'I' => {
            let relation = facts.relations.get(&edge.to.1);
            edge.to.0 == PG_CLASS && relation.is_some_and(super::facts::Relation::is_table)
        }
        _ => false,
    }
}

/// Which object is a part of which.
fn parts(facts: &Facts) -> HashMap<ObjectId, ObjectId> {
    let mut part_of: HashMap<ObjectId, ObjectId> = facts
        .edges
        .iter()
        .filter(|edge| edge.kind == 'e')
        .map(|edge| (edge.from, edge.to))
        .collect();
    for (oid, constraint) in &facts.constraints {
        if let Some(whole) = whole_of_check(*constraint) {
            part_of.entry((PG_CONSTRAINT, *oid)).or_insert(whole);
        }
    }
    for edge in &facts.edges {
        if edge.kind == 'i' || is_inline(edge) {
            part_of.entry(edge.from).or_insert(edge.to);
        }
    }
    part_of
}

/// What stands in the statement that makes another object: the default of a column, the operators and
/// functions of an operator class.
fn is_inline(edge: &Edge) -> bool {
    let is_default = edge.from.0 == PG_ATTRDEF && edge.to.0 == PG_CLASS;
    let is_in_class =
        matches!(edge.from.0, PG_AMOP | PG_AMPROC) && matches!(edge.to.0, PG_OPCLASS | PG_OPFAMILY);
    edge.kind == 'a' && (is_default || is_in_class)
}

/// Checks stand in the statement that makes their table or domain; keys are made by themselves.
fn whole_of_check(constraint: Constraint) -> Option<ObjectId> {
    match (constraint.kind, constraint.table, constraint.of_type) {
        ('c' | 'n', 0, of_type) if of_type != 0 => Some((PG_TYPE, of_type)),
        ('c' | 'n', table, _) if table != 0 => Some((PG_CLASS, table)),
        _ => None,
    }
}
