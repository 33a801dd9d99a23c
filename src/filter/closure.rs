//! What filters leave out, closed over dependencies: nothing that is kept hangs on what is not.
//!
//! Pure. Three kinds of objects come about:
//!
//! * named: by a rule, or as part of a schema that is left out;
//! * hanging: they cannot be made without a table that is left out, or without something else that is:
//!   views, foreign keys, triggers, children of tables, ...;
//! * rescued: members of a schema that is left out that hold no rows (types, functions, sequences, ...)
//!   and that a table needs which is kept. They stay, with their schema, as the table's rows count for
//!   more than a tidy list.
//!
//! So a table is left out only when it is named, when its schema is, or when it hangs on another table.

use super::facts::{Facts, ObjectId, PG_CLASS, PG_CONSTRAINT, PG_EXTENSION, PG_NAMESPACE};
use super::graph::Graph;
use super::rules::{Rules, Section};
use crate::error::Result;
use crate::pg::quote;
use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// Why something is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A rule names it, by its number.
    Rule(usize),
    /// No rule of this section names it.
    NotIncluded(Section),
    /// It is in this schema.
    InSchema(Oid),
    /// It cannot be made without this one.
    Needs(ObjectId),
    /// A column of this table owns it.
    OwnedBy(Oid),
    /// It would not hold without the rows of this table, or be filled without this view.
    Rows(Oid),
}

/// What filters leave out.
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    /// Objects.
    pub(super) objects: BTreeMap<ObjectId, Why>,
    /// Their parts, with the whole.
    pub(super) parts: BTreeMap<ObjectId, ObjectId>,
    /// Tables whose rows alone are left out, materialized views that are not filled.
    pub(super) rows: BTreeMap<Oid, Why>,
    /// What a rule leaves out and a table, or an extension, needs.
    pub(super) rescued: BTreeMap<ObjectId, ObjectId>,
    /// Kept objects with an extension that they need and that is left out.
    pub(super) lacking: Vec<(ObjectId, Oid)>,
    /// Tables and schemas that need not be in the archive: raw names.
    pub(super) undumped: Undumped,
}

/// What `pg_dump` need not look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Undumped {
    /// Raw names of schemas of which nothing is kept.
    pub schemas: Vec<String>,
    /// Raw names of tables, with their schema, that the role may not read.
    pub tables: Vec<(String, String)>,
}

impl LeftOut {
    /// Whether an object or a part of one is left out.
    pub fn contains(&self, catalog: Oid, object: Oid) -> bool {
        let id = (catalog, object);
        self.objects.contains_key(&id) || self.parts.contains_key(&id)
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty() && self.parts.is_empty()
    }

    /// Whether a relation is left out.
    pub fn relation(&self, oid: Oid) -> bool {
        self.contains(PG_CLASS, oid)
    }

    /// Whether rows of a relation are left out, with it or alone.
    pub fn has_no_rows(&self, oid: Oid) -> bool {
        self.relation(oid) || self.rows.contains_key(&oid)
    }

    /// Relations that are left out.
    pub fn relations(&self) -> Vec<Oid> {
        let all = self.objects.keys().chain(self.parts.keys());
        let relations = all.filter(|(catalog, _)| *catalog == PG_CLASS);
        relations.map(|(_, oid)| *oid).collect()
    }

    /// What `pg_dump` need not look at.
    pub fn undumped(&self) -> &Undumped {
        &self.undumped
    }
}

/// Closes the rules over the facts. `BadConfig` when a rule includes what there is not, or what
/// cannot be kept; the second part of the result warns of rules without effect.
pub(super) fn close(facts: &Facts, rules: &Rules) -> Result<(LeftOut, Vec<String>)> {
    let mut warnings = unmatched(facts, rules)?;
    let graph = Graph::new(facts);
    let mut closure = Closure {
        facts,
        rules,
        graph: &graph,
        hard: BTreeMap::new(),
        soft: BTreeMap::new(),
        left: LeftOut::default(),
    };
    closure.name_schemas();
    closure.name_tables();
    closure.name_extensions();
    closure.leave_out_hanging();
    warnings.extend(closure.leave_out_indexes());
    closure.leave_out_owned();
    closure.rescue();
    closure.leave_out_rows();
    closure.refuse_lost_includes()?;
    closure.finish();
    Ok((closure.left, warnings))
}

/// An entry that includes nothing is an error, one that excludes nothing a warning.
fn unmatched(facts: &Facts, rules: &Rules) -> Result<Vec<String>> {
    let matched: BTreeSet<usize> = facts.matches.iter().map(|(rule, _)| *rule).collect();
    let mut warnings = Vec::new();
    for (number, rule) in rules.rules.iter().enumerate() {
        if matched.contains(&number) {
            continue;
        }
        let (written, subject) = (&rule.written, rule.section.subject().word());
        let what = format!("the source has no {subject} {written}");
        if rule.section.is_include() {
            let error = rules.error_at(rule.line, &what);
            return Err(error.hint(format!(
                "Correct the name, or take the line out of section [{}].",
                rule.section.name()
            )));
        }
        warnings.push(rules.error_at(rule.line, &what).message().to_owned());
    }
    Ok(warnings)
}

struct Closure<'a> {
    facts: &'a Facts,
    rules: &'a Rules,
    graph: &'a Graph,
    /// Named, and left out whatever needs them.
    hard: BTreeMap<ObjectId, Why>,
    /// Named, and kept for a table that needs them.
    soft: BTreeMap<ObjectId, Why>,
    left: LeftOut,
}

impl Closure<'_> {
    /// What a section names, as relations or other objects, with the first rule that does.
    fn named(&self, section: Section) -> BTreeMap<Oid, usize> {
        let mut named = BTreeMap::new();
        for (number, object) in &self.facts.matches {
            if self.rules.rules.get(*number).map(|rule| rule.section) == Some(section) {
                named.entry(object.1).or_insert(*number);
            }
        }
        named
    }

    /// What a section names with all partitions, each with the rule.
    fn named_with_partitions(&self, section: Section) -> BTreeMap<Oid, usize> {
        let mut all = BTreeMap::new();
        for (oid, number) in self.named(section) {
            for relation in self.graph.with_partitions([oid].into_iter()) {
                all.entry(relation).or_insert(number);
            }
        }
        all
    }

    fn is_extensions(&self, oid: Oid) -> bool {
        self.graph.whole((PG_CLASS, oid)).0 == PG_EXTENSION
    }

    fn name_schemas(&mut self) {
        let excluded = self.named(Section::ExcludeSchema);
        let included = self.named(Section::IncludeOnlySchema);
        let only = self.rules.has(Section::IncludeOnlySchema);
        for schema in self.facts.schemas.keys() {
            let why = match excluded.get(schema) {
                Some(number) => Why::Rule(*number),
                None if only && !included.contains_key(schema) => {
                    Why::NotIncluded(Section::IncludeOnlySchema)
                }
                None => continue,
            };
            self.soft.insert((PG_NAMESPACE, *schema), why);
            for member in self.graph.members.get(schema).into_iter().flatten() {
                let relation = self.facts.relations.get(&member.1);
                let is_table =
                    member.0 == PG_CLASS && relation.is_some_and(super::facts::Relation::is_table);
                let named = if is_table {
                    &mut self.hard
                } else {
                    &mut self.soft
                };
                named.insert(*member, Why::InSchema(*schema));
            }
        }
    }

    fn name_tables(&mut self) {
        if self.rules.has(Section::IncludeOnlyTable) {
            let included = self.named_with_partitions(Section::IncludeOnlyTable);
            for (oid, relation) in &self.facts.relations {
                let counts = relation.is_table() || relation.kind == 'm';
                if counts && !included.contains_key(oid) && !self.is_extensions(*oid) {
                    let why = Why::NotIncluded(Section::IncludeOnlyTable);
                    self.hard.entry((PG_CLASS, *oid)).or_insert(why);
                }
            }
        }
        for (oid, number) in self.named_with_partitions(Section::ExcludeTable) {
            if self.is_extensions(oid) {
                self.left.rows.insert(oid, Why::Rule(number));
            } else {
                self.hard.insert((PG_CLASS, oid), Why::Rule(number));
            }
        }
    }

    /// Leaves out indexes with their constraints. The index of a partition stays with the one that it
    /// is attached to, which would be invalid without it.
    fn leave_out_indexes(&mut self) -> Vec<String> {
        let mut warnings = Vec::new();
        let named = self.named_with_partitions(Section::ExcludeIndex);
        let mut hard = BTreeMap::new();
        for (oid, number) in &named {
            let whole = self.graph.whole((PG_CLASS, *oid));
            let above = self.graph.index_above(self.facts, *oid);
            let held = above.filter(|above| !named.contains_key(above) && !self.is_gone(*above));
            if let (Some(above), Some(rule)) = (held, self.rules.rules.get(*number)) {
                let what = format!(
                    "index {} is kept, as it is a part of {}",
                    self.relation(*oid),
                    self.relation(above)
                );
                warnings.push(self.rules.error_at(rule.line, &what).message().to_owned());
            } else if whole.0 != PG_EXTENSION {
                hard.insert(whole, Why::Rule(*number));
            }
        }
        self.spread(hard);
        warnings
    }

    /// Whether a relation, or what it is a part of, is left out so far.
    fn is_gone(&self, oid: Oid) -> bool {
        let whole = self.graph.whole((PG_CLASS, oid));
        self.left.objects.contains_key(&whole)
    }

    fn name_extensions(&mut self) {
        let excluded = self.named(Section::ExcludeExtension);
        let included = self.named(Section::IncludeOnlyExtension);
        let only = self.rules.has(Section::IncludeOnlyExtension);
        for (oid, name) in &self.facts.extensions {
            let why = match excluded.get(oid) {
                Some(number) => Why::Rule(*number),
                // Every database has plpgsql.
                None if only && !included.contains_key(oid) && name != "plpgsql" => {
                    Why::NotIncluded(Section::IncludeOnlyExtension)
                }
                None => continue,
            };
            self.left.objects.insert((PG_EXTENSION, *oid), why);
        }
    }

    /// Adds what cannot be made without the objects given, and the objects themselves.
    fn spread(&mut self, named: BTreeMap<ObjectId, Why>) {
        let mut new: Vec<ObjectId> = named.keys().copied().collect();
        for (object, why) in named {
            self.left.objects.entry(object).or_insert(why);
        }
        while let Some(object) = new.pop() {
            for user in self.graph.users(object) {
                let is_new = !self.left.objects.contains_key(&user);
                if is_new && user.0 != PG_EXTENSION {
                    let why = self.soft.get(&user).or_else(|| self.hard.get(&user));
                    let why = why.copied().unwrap_or(Why::Needs(object));
                    self.left.objects.insert(user, why);
                    new.push(user);
                }
            }
        }
    }

    fn leave_out_hanging(&mut self) {
        let hard = self.hard.clone();
        self.spread(hard);
    }

    fn leave_out_owned(&mut self) {
        // A sequence goes with the column that owns it, unless another table takes values of it.
        for (table, sequences) in &self.graph.owned {
            if self.left.objects.contains_key(&(PG_CLASS, *table)) {
                for sequence in sequences {
                    let id = (PG_CLASS, *sequence);
                    self.soft.entry(id).or_insert(Why::OwnedBy(*table));
                }
            }
        }
    }

    /// Keeps what kept tables and extensions need, and leaves out the rest of what was named.
    fn rescue(&mut self) {
        let tables = self.facts.relations.iter();
        let tables = tables
            .filter(|(_, relation)| relation.is_table())
            .map(|(oid, _)| (PG_CLASS, *oid));
        let extensions = self.facts.extensions.keys().map(|oid| (PG_EXTENSION, *oid));
        let mut roots: Vec<ObjectId> = tables.chain(extensions).collect();
        roots.sort_unstable();
        let mut seen = BTreeSet::new();
        for root in roots {
            if self.graph.whole(root) != root || self.left.objects.contains_key(&root) {
                continue;
            }
            let mut new = vec![root];
            while let Some(object) = new.pop() {
                if !seen.insert(object) {
                    continue;
                }
                if self.soft.remove(&object).is_some() {
                    self.left.rescued.insert(object, root);
                }
                new.extend(self.graph.needs(object));
            }
        }
        let soft = self.soft.clone();
        self.spread(soft);
    }

    fn leave_out_rows(&mut self) {
        for (oid, number) in self.named_with_partitions(Section::ExcludeTableData) {
            if !self.left.objects.contains_key(&(PG_CLASS, oid)) {
                self.left.rows.insert(oid, Why::Rule(number));
            }
        }
        self.leave_out_unfilled();
        self.leave_out_broken_keys();
    }

    /// Materialized views that read another one that is not filled.
    fn leave_out_unfilled(&mut self) {
        let is_kind = |oid: Oid, kinds: &[char]| {
            let relation = self.facts.relations.get(&oid);
            relation.is_some_and(|relation| kinds.contains(&relation.kind))
        };
        let rows = self.left.rows.keys().copied();
        let mut new: Vec<Oid> = rows.filter(|oid| is_kind(*oid, &['m'])).collect();
        let mut seen = BTreeSet::new();
        while let Some(oid) = new.pop() {
            for (catalog, user) in self.graph.users((PG_CLASS, oid)) {
                if catalog != PG_CLASS || !is_kind(user, &['v', 'm']) || !seen.insert(user) {
                    continue;
                }
                if is_kind(user, &['m']) && !self.left.relation(user) {
                    self.left.rows.entry(user).or_insert(Why::Rows(oid));
                }
                new.push(user);
            }
        }
    }

    /// Foreign keys that cannot be made NOT VALID, of or to a partitioned table, and whose other side
    /// stays without rows.
    fn leave_out_broken_keys(&mut self) {
        let is_partitioned = |oid: Oid| {
            let relation = self.facts.relations.get(&oid);
            relation.is_some_and(|relation| relation.kind == 'p')
        };
        let is_empty = |oid: Oid| self.left.rows.contains_key(&oid);
        let is_broken = |table: Oid, referenced: Oid| {
            let mut tree = self.graph.with_partitions([referenced].into_iter());
            !is_empty(table)
                && (is_partitioned(table) || is_partitioned(referenced))
                && tree.iter().any(|oid| is_empty(*oid))
                && tree.remove(&referenced)
        };
        let keys = self.facts.constraints.iter();
        let broken: BTreeMap<ObjectId, Why> = keys
            .filter(|(_, key)| key.kind == 'f' && is_broken(key.table, key.referenced))
            .map(|(oid, key)| ((PG_CONSTRAINT, *oid), Why::Rows(key.referenced)))
            .collect();
        self.spread(broken);
    }

    /// A table that the user asked for by name must not be missing.
    fn refuse_lost_includes(&self) -> Result<()> {
        for (number, object) in &self.facts.matches {
            let Some(rule) = self.rules.rules.get(*number) else {
                continue;
            };
            let is_asked_for = rule.section == Section::IncludeOnlyTable && rule.is_exact();
            let Some(why) = self.left.objects.get(object).filter(|_| is_asked_for) else {
                continue;
            };
            let what = format!("{} cannot be copied: {}", rule.written, self.short(*why));
            return Err(self.rules.error_at(rule.line, &what).hint(
                "Include what it needs, too, or take the line out of section \
                 [include-only-table].",
            ));
        }
        Ok(())
    }

    fn relation(&self, oid: Oid) -> String {
        match self.facts.relations.get(&oid) {
            Some(relation) => quote::qualified(&relation.nspname, &relation.relname),
            None => oid.to_string(),
        }
    }

    fn short(&self, why: Why) -> String {
        match why {
            Why::Needs((PG_CLASS, oid)) => {
                format!("it needs {}, which is left out", self.relation(oid))
            }
            Why::InSchema(schema) => {
                let name = self.facts.schemas.get(&schema).cloned().unwrap_or_default();
                format!("its schema {} is left out", quote::ident(&name))
            }
            _ => "something that it needs is left out".to_owned(),
        }
    }

    fn finish(&mut self) {
        let parts: BTreeMap<ObjectId, ObjectId> = self
            .graph
            .parts()
            .filter(|(_, whole)| self.left.objects.contains_key(whole))
            .collect();
        self.left.parts = parts;
        for (extension, users) in &self.graph.extension_users {
            if self.left.objects.contains_key(&(PG_EXTENSION, *extension)) {
                let kept = users
                    .iter()
                    .filter(|user| !self.left.objects.contains_key(user))
                    .map(|user| (*user, *extension));
                self.left.lacking.extend(kept);
            }
        }
        self.left.undumped = self.undumped();
    }

    /// A table that may not be locked is named. A schema with the parent of a partition that is kept is none of
    /// which nothing is kept: whatever the archive says of the partition may lean on it.
    fn undumped(&self) -> Undumped {
        let kept_children = self.facts.parents.iter();
        let parents_in_use: BTreeSet<Oid> = kept_children
            .filter(|(child, _)| !self.left.relation(*child))
            .map(|(_, parent)| *parent)
            .collect();
        let mut undumped = Undumped::default();
        let mut mixed: BTreeSet<Oid> = BTreeSet::new();
        for (oid, relation) in &self.facts.relations {
            let is_left_out = self.left.relation(*oid);
            if !is_left_out || parents_in_use.contains(oid) {
                mixed.insert(relation.schema);
            }
            if is_left_out && relation.is_table() && !relation.is_readable {
                let name = (relation.nspname.clone(), relation.relname.clone());
                undumped.tables.push(name);
            }
        }
        undumped.tables.sort();
        for (oid, name) in &self.facts.schemas {
            let is_left_out = self.left.objects.contains_key(&(PG_NAMESPACE, *oid));
            if is_left_out && !mixed.contains(oid) {
                undumped.schemas.push(name.clone());
            }
        }
        let schemas = &undumped.schemas;
        undumped
            .tables
            .retain(|(nspname, _)| !schemas.contains(nspname));
        undumped
    }
}
