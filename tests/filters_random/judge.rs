//! Random filters for a model, and what they must leave of it, worked out from what the model knows.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::model::{Kind, Model, ident};

/// A filters file, and what its rules name.
#[derive(Default)]
pub(super) struct Filters {
    pub(super) text: String,
    pub(super) named: Vec<(&'static str, usize, bool)>,
}

/// What a clone must come to.
#[derive(Default)]
pub(super) struct Verdict {
    pub(super) gone: BTreeSet<usize>,
    pub(super) empty: BTreeSet<usize>,
    pub(super) not_valid: BTreeSet<usize>,
}

impl Model {
    /// A rule that names one object, in one of its spellings; exact or not.
    pub(super) fn spell(&mut self, object: usize) -> (String, bool) {
        let mut part = |name: &str| -> (String, bool) {
            let plain = name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let escaped: String = name.chars().fold(String::new(), |mut all, c| {
                if !c.is_ascii_alphanumeric() && c != '_' && c != ' ' {
                    all.push('\\');
                }
                all.push(c);
                all
            });
            match self.dice.below(4) {
                0 => (format!("~/^{escaped}$/"), false),
                1 => (format!("~{{^({escaped}){{1,1}}$}}"), false),
                2 if plain => (name.to_owned(), true),
                _ => (ident(name), true),
            }
        };
        let o = &self.objects[object];
        let (name, exact) = part(&o.name);
        match o.kind {
            Kind::Schema | Kind::Extension => (name, exact),
            _ => {
                let (schema, other) = part(&self.objects[o.schema].name);
                (format!("{schema}.{name}"), exact && other)
            }
        }
    }

    pub(super) fn rules(&mut self) -> Filters {
        let mut filters = Filters::default();
        let (schemas, tables) = (self.of(&[Kind::Schema]), self.of(&[Kind::Table]));
        match self.dice.below(4) {
            0 => {
                self.some("exclude-schema", &schemas, 2, &mut filters);
                self.some("exclude-table", &tables, 2, &mut filters);
            }
            1 => {
                self.some("include-only-schema", &schemas, 2, &mut filters);
                self.some("exclude-table", &tables, 1, &mut filters);
            }
            2 => {
                let mut named = tables.clone();
                named.extend(self.of(&[Kind::Matview]));
                self.some("include-only-table", &named, 4, &mut filters);
                if self.dice.one_in(3) {
                    self.some("exclude-schema", &schemas, 1, &mut filters);
                }
            }
            _ => {
                let named = self.of(&[Kind::Table, Kind::View, Kind::Matview]);
                self.some("exclude-table", &named, 3, &mut filters);
            }
        }
        if self.dice.one_in(2) {
            let named = self.of(&[Kind::Table, Kind::Matview]);
            self.some("exclude-table-data", &named, 2, &mut filters);
        }
        if self.dice.one_in(2) {
            let named = self.of(&[Kind::Index]);
            self.some("exclude-index", &named, 2, &mut filters);
        }
        if self.dice.one_in(4) {
            let named = self.of(&[Kind::Extension]);
            self.some("exclude-extension", &named, 1, &mut filters);
        }
        filters
    }

    /// Up to `most` rules of a section.
    pub(super) fn some(
        &mut self,
        section: &'static str,
        of: &[usize],
        most: usize,
        filters: &mut Filters,
    ) {
        if of.is_empty() {
            return;
        }
        let _ = writeln!(filters.text, "[{section}] ; some");
        for _ in 0..=self.dice.below(most) {
            let object = self.dice.pick(of).unwrap();
            let (written, exact) = self.spell(object);
            let comment = if self.dice.one_in(3) { " # why" } else { "" };
            let _ = writeln!(filters.text, "{written}{comment}");
            filters.named.push((section, object, exact));
        }
    }

    /// All partitions of a table, or of an index, and itself.
    pub(super) fn tree(&self, top: usize) -> Vec<usize> {
        let numbered = self.objects.iter().enumerate();
        numbered
            .filter(|(n, o)| *n == top || o.parent == Some(top))
            .map(|(n, _)| n)
            .collect()
    }

    /// Adds whatever cannot be made any more.
    pub(super) fn spread(&self, gone: &mut BTreeSet<usize>) {
        loop {
            let more: Vec<usize> = (0..self.objects.len())
                .filter(|n| !gone.contains(n))
                .filter(|n| {
                    self.objects[*n]
                        .needs
                        .iter()
                        .any(|need| self.is_hard(*n, *need) && gone.contains(need))
                })
                .collect();
            if more.is_empty() {
                return;
            }
            gone.extend(more);
        }
    }

    /// Needs of an object that count: its schema is judged apart, and an extension is expected to be
    /// there.
    pub(super) fn is_hard(&self, object: usize, need: usize) -> bool {
        let kinds = (self.objects[object].kind, self.objects[need].kind);
        !matches!(kinds, (_, Kind::Schema | Kind::Extension))
    }

    /// What the filters leave of the model, or none when they must be refused.
    pub(super) fn judge(&self, filters: &Filters) -> Option<Verdict> {
        let named = |section: &str| -> Vec<usize> {
            let rules = filters.named.iter().filter(|(of, _, _)| *of == section);
            rules
                .flat_map(|(_, object, _)| self.tree(*object))
                .collect()
        };
        let all = || 0..self.objects.len();
        let only_schemas = named("include-only-schema");
        let excluded: BTreeSet<usize> = if only_schemas.is_empty() {
            named("exclude-schema").into_iter().collect()
        } else {
            self.of(&[Kind::Schema])
                .into_iter()
                .filter(|n| !only_schemas.contains(n))
                .collect()
        };
        let in_excluded = |n: &usize| {
            let o = &self.objects[*n];
            !matches!(
                o.kind,
                Kind::Loose | Kind::Schema | Kind::Extension | Kind::Index
            ) && excluded.contains(&o.schema)
        };
        // tables first, with all that needs them
        let mut gone: BTreeSet<usize> = all()
            .filter(in_excluded)
            .filter(|n| self.objects[*n].kind == Kind::Table)
            .collect();
        let only_tables = named("include-only-table");
        if !only_tables.is_empty() {
            let counts = self.of(&[Kind::Table, Kind::Matview]).into_iter();
            gone.extend(counts.filter(|n| !only_tables.contains(n)));
        }
        gone.extend(named("exclude-table"));
        self.spread(&mut gone);
        let indexes = named("exclude-index");
        gone.extend(
            indexes
                .iter()
                .filter(|n| {
                    self.objects[**n]
                        .parent
                        .is_none_or(|parent| indexes.contains(&parent) || gone.contains(&parent))
                })
                .copied()
                .collect::<Vec<_>>(),
        );
        self.spread(&mut gone);
        // sequences go with their owners, and all that is in a schema that goes
        let mut unwanted: BTreeSet<usize> = all()
            .filter(in_excluded)
            .filter(|n| !gone.contains(n))
            .collect();
        unwanted.extend(excluded.iter().copied());
        for o in self.objects.iter().filter(|o| o.name == "owned by") {
            let (sequence, table) = o.key.unwrap();
            if gone.contains(&table) {
                unwanted.insert(sequence);
            }
        }
        // but for what a kept table needs
        let extensions = named("exclude-extension");
        let wanted = self.of(&[Kind::Table, Kind::Extension]).into_iter();
        let mut wanted: Vec<usize> = wanted
            .filter(|n| !gone.contains(n) && !extensions.contains(n))
            .collect();
        let mut seen = BTreeSet::new();
        while let Some(object) = wanted.pop() {
            if seen.insert(object) {
                unwanted.remove(&object);
                wanted.extend(&self.objects[object].needs);
            }
        }
        gone.extend(unwanted);
        self.spread(&mut gone);
        self.verdict(filters, gone, named("exclude-table-data"))
    }

    pub(super) fn verdict(
        &self,
        filters: &Filters,
        mut gone: BTreeSet<usize>,
        rows: Vec<usize>,
    ) -> Option<Verdict> {
        let lost = |(section, object, exact): &(&str, usize, bool)| {
            *section == "include-only-table" && *exact && gone.contains(object)
        };
        if filters.named.iter().any(lost) {
            return None;
        }
        for (_, extension, _) in filters
            .named
            .iter()
            .filter(|(of, _, _)| *of == "exclude-extension")
        {
            let mut users = (0..self.objects.len()).filter(|n| !gone.contains(n));
            if users.any(|n| self.objects[n].needs.contains(extension)) {
                return None;
            }
            gone.insert(*extension);
        }
        let mut empty: BTreeSet<usize> = rows.into_iter().filter(|n| !gone.contains(n)).collect();
        loop {
            let more: Vec<usize> = self
                .of(&[Kind::Matview])
                .into_iter()
                .filter(|n| !empty.contains(n))
                .filter(|n| self.reads_unfilled(*n, &empty))
                .collect();
            if more.is_empty() {
                break;
            }
            empty.extend(more);
        }
        let mut not_valid = BTreeSet::new();
        for (n, o) in self
            .objects
            .iter()
            .enumerate()
            .filter(|(_, o)| o.name != "owned by")
        {
            let Some((table, referenced)) = o.key.filter(|_| !gone.contains(&n)) else {
                continue;
            };
            let is_partitioned =
                self.objects[table].is_partitioned || self.objects[referenced].is_partitioned;
            let lacks = self.tree(referenced).iter().any(|t| empty.contains(t));
            if lacks && !empty.contains(&table) {
                if is_partitioned {
                    gone.insert(n);
                } else {
                    not_valid.insert(n);
                }
            }
        }
        Some(Verdict {
            gone,
            empty,
            not_valid,
        })
    }

    /// Whether a materialized view reads one that is not filled, through views perhaps.
    pub(super) fn reads_unfilled(&self, view: usize, empty: &BTreeSet<usize>) -> bool {
        self.objects[view]
            .needs
            .iter()
            .any(|need| match self.objects[*need].kind {
                Kind::Matview => empty.contains(need),
                Kind::View => self.reads_unfilled(*need, empty),
                _ => false,
            })
    }

    /// The script that makes the model, without what is gone.
    pub(super) fn script(&self, verdict: &Verdict) -> String {
        let mut text = String::from(
            "set session_replication_role = replica; set check_function_bodies = off;\n",
        );
        for (n, o) in self
            .objects
            .iter()
            .enumerate()
            .filter(|(n, _)| !verdict.gone.contains(n))
        {
            text.push_str(&o.make);
            if o.key.is_some() && o.name != "owned by" {
                text.push_str(if verdict.not_valid.contains(&n) {
                    " not valid;"
                } else {
                    ";"
                });
            }
            text.push('\n');
            if !verdict.empty.contains(&n) && o.kind == Kind::Table {
                text.push_str(&o.fill);
                text.push('\n');
            }
        }
        // once all rows are there: materialized views, and sequences
        for (n, o) in self
            .objects
            .iter()
            .enumerate()
            .filter(|(_, o)| o.kind != Kind::Table)
        {
            if !verdict.gone.contains(&n) && !verdict.empty.contains(&n) {
                text.push_str(&o.fill);
                text.push('\n');
            }
        }
        text
    }
}
