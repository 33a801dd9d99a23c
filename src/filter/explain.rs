//! Why each object is left out, in words, and the lines that a run says about it.
//!
//! Runs where the closure is computed. Asks the source for the names of objects.

use super::closure::{LeftOut, Why};
use super::facts::{Facts, ObjectId, PG_CLASS, PG_EXTENSION, PG_NAMESPACE, describe};
use super::rules::Rules;
use crate::error::Result;
use crate::pg::PgSession;
use crate::units::Oid;
use std::collections::{BTreeMap, HashMap};

/// What becomes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is left out.
    Object,
    /// It is left out with the object that it is a part of.
    Part,
    /// It is made, without rows.
    Rows,
    /// It is kept, although a rule leaves out its schema or its owner.
    Kept,
}

/// An object that filters touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// Catalog and oid.
    pub id: ObjectId,
    /// What becomes of it.
    pub what: What,
    /// Its kind, such as `foreign table`; empty for parts.
    pub kind: String,
    /// Its full name, quoted; empty for parts.
    pub name: String,
    /// Why; empty for parts.
    pub reason: String,
    /// It is left out because something else is.
    pub is_hanging: bool,
    /// The relation that it hangs on: raw schema and name.
    pub hangs_on: Option<(String, String)>,
}

impl Explained {
    /// Whether it is a table whose rows are lost although no rule names it.
    pub fn is_lost_table(&self) -> bool {
        let is_table = matches!(self.kind.as_str(), "table" | "foreign table");
        self.what == What::Object && self.is_hanging && is_table
    }
}

/// Explains all that is left out or kept in spite of a rule; the second part are the names of those
/// that lack an extension. Blocks.
pub(super) fn explain(
    source: &mut PgSession,
    (facts, rules): (&Facts, &Rules),
    left: &LeftOut,
) -> Result<(Vec<Explained>, HashMap<ObjectId, String>)> {
    let relations = left.rows.keys().map(|oid| (PG_CLASS, *oid));
    let reasons = left.objects.values().chain(left.rows.values());
    let because = reasons.filter_map(|why| because_of(*why));
    let mut ids: Vec<ObjectId> = left
        .objects
        .keys()
        .copied()
        .chain(relations)
        .chain(because)
        .chain(left.rescued.iter().flat_map(|(one, other)| [*one, *other]))
        .chain(left.lacking.iter().map(|(user, _)| *user))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let words = Words {
        facts,
        rules,
        left,
        names: describe(source, &ids)?,
    };
    let mut all = words.all();
    all.sort_by(|one, other| {
        (&one.kind, &one.name, one.id).cmp(&(&other.kind, &other.name, other.id))
    });
    let users = left
        .lacking
        .iter()
        .map(|(user, _)| (*user, words.named(*user)));
    Ok((all, users.collect()))
}

fn because_of(why: Why) -> Option<ObjectId> {
    match why {
        Why::Needs(object) => Some(object),
        Why::OwnedBy(table) | Why::Rows(table) => Some((PG_CLASS, table)),
        _ => None,
    }
}

struct Words<'a> {
    facts: &'a Facts,
    rules: &'a Rules,
    left: &'a LeftOut,
    names: HashMap<ObjectId, (String, String)>,
}

impl Words<'_> {
    fn all(&self) -> Vec<Explained> {
        let objects = self.left.objects.iter();
        let objects = objects.map(|(id, why)| self.one(*id, What::Object, *why));
        let rows = self.left.rows.iter();
        let rows = rows.map(|(oid, why)| self.one((PG_CLASS, *oid), What::Rows, *why));
        let rescued = self.left.rescued.iter().map(|(id, user)| {
            let kept = self.one(*id, What::Kept, Why::Needs(*user));
            let reason = format!("{} needs it", self.named(*user));
            Explained {
                reason,
                is_hanging: false,
                hangs_on: None,
                ..kept
            }
        });
        let parts = self.left.parts.keys().map(|id| Explained {
            id: *id,
            what: What::Part,
            kind: String::new(),
            name: String::new(),
            reason: String::new(),
            is_hanging: false,
            hangs_on: None,
        });
        objects.chain(rows).chain(rescued).chain(parts).collect()
    }

    fn one(&self, id: ObjectId, what: What, why: Why) -> Explained {
        let (kind, name) = match self.names.get(&id) {
            Some(known) => known.clone(),
            None => ("object".to_owned(), id.1.to_string()),
        };
        Explained {
            id,
            what,
            kind,
            name,
            reason: self.reason(why),
            is_hanging: because_of(why).is_some(),
            hangs_on: self.hangs_on(why),
        }
    }

    fn named(&self, id: ObjectId) -> String {
        match self.names.get(&id) {
            Some((kind, name)) => format!("{kind} {name}"),
            None => format!("object {}", id.1),
        }
    }

    fn reason(&self, why: Why) -> String {
        match why {
            Why::Rule(number) => match self.rules.rules.get(number) {
                Some(rule) => {
                    let section = rule.section.name();
                    format!("line {}: [{section}] {}", rule.line, rule.written)
                }
                None => "a rule".to_owned(),
            },
            Why::NotIncluded(section) => format!("not in [{}]", section.name()),
            Why::InSchema(schema) => {
                let name = self.facts.schemas.get(&schema).cloned().unwrap_or_default();
                format!("schema {name} is left out")
            }
            Why::Needs(object) => format!("needs {}", self.named(object)),
            Why::OwnedBy(table) => format!("owned by {}", self.named((PG_CLASS, table))),
            Why::Rows(table) => {
                format!("the rows of {} are left out", self.named((PG_CLASS, table)))
            }
        }
    }

    /// The relation at the end of a chain of reasons, as far as there is one on the way.
    fn hangs_on(&self, why: Why) -> Option<(String, String)> {
        /// Longest chain that is followed.
        const CHAIN_MAX: usize = 1000;
        let mut next = because_of(why);
        for _ in 0..CHAIN_MAX {
            let id = next?;
            if let Some(relation) = self.facts.relations.get(&id.1).filter(|_| id.0 == PG_CLASS) {
                return Some((relation.nspname.clone(), relation.relname.clone()));
            }
            next = because_of(*self.left.objects.get(&id)?);
        }
        None
    }
}

/// Objects that a run names one by one; more are counted.
const NAMED_MAX: usize = 20;

impl super::Selection {
    /// One line that counts what is left out, by kind.
    pub fn summary(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for object in self.explained.iter().filter(|e| e.what == What::Object) {
            *counts.entry(&object.kind).or_default() += 1;
        }
        let mut listed: Vec<String> = counts
            .iter()
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let rows = self
            .explained
            .iter()
            .filter(|e| e.what == What::Rows)
            .count();
        if rows > 0 {
            listed.push(format!("the rows of {rows} tables"));
        }
        if listed.is_empty() {
            "Filters leave out nothing".to_owned()
        } else {
            format!("Filters leave out: {}", listed.join(", "))
        }
    }

    /// Lines about what is left out because something else is, without tables.
    pub fn hanging(&self) -> Vec<String> {
        let hanging = |e: &&Explained| {
            e.what == What::Object && e.is_hanging && !e.is_lost_table() && !is_obvious(e)
        };
        let all = self.explained.iter().filter(hanging);
        shortened(all.map(|e| format!("Left out, too: {} {}: {}", e.kind, e.name, e.reason)))
    }

    /// Lines about what stays although its schema or its owner is left out.
    pub fn kept(&self) -> Vec<String> {
        let all = self.explained.iter().filter(|e| e.what == What::Kept);
        shortened(all.map(|e| {
            format!(
                "Kept in spite of the filters: {} {}: {}",
                e.kind, e.name, e.reason
            )
        }))
    }

    /// Lines about tables that are left out although no rule names them.
    pub fn lost_tables(&self) -> Vec<String> {
        let all = self.explained.iter().filter(|e| e.is_lost_table());
        shortened(all.map(|e| {
            format!(
                "Table {} is left out with its rows: it {}",
                e.name, e.reason
            )
        }))
    }

    /// Extensions that are left out and that something needs which is kept: raw name, and the user.
    pub fn lacking(&self) -> Vec<(Oid, ObjectId)> {
        let mut lacking: BTreeMap<Oid, ObjectId> = BTreeMap::new();
        for (user, extension) in &self.left_out.lacking {
            lacking.entry(*extension).or_insert(*user);
        }
        lacking.into_iter().collect()
    }

    /// An object that is kept and named in a message: kind and name.
    pub fn name_of(&self, object: ObjectId) -> &str {
        self.names
            .get(&object)
            .map_or("An object that is kept", String::as_str)
    }

    /// The name of an extension that is left out.
    pub fn extension_name(&self, extension: Oid) -> Option<&str> {
        let id = (PG_EXTENSION, extension);
        let found = self.explained.iter().find(|e| e.id == id);
        found.map(|e| e.name.as_str())
    }
}

/// What goes with its table without saying: indexes, keys and triggers of its own, not what others
/// have on it.
fn is_obvious(explained: &Explained) -> bool {
    explained.id.0 == PG_NAMESPACE
        || explained.reason.starts_with("owned by ")
        || explained.kind == "index"
        || explained
            .hangs_on
            .as_ref()
            .is_some_and(|(nspname, relname)| {
                let plain = format!(" on {nspname}.{relname}");
                let quoted = format!(" on {}", crate::pg::quote::qualified(nspname, relname));
                explained.name.ends_with(&plain) || explained.name.ends_with(&quoted)
            })
}

fn shortened(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = lines.collect();
    if lines.len() > NAMED_MAX {
        let more = lines.len() - NAMED_MAX;
        lines.truncate(NAMED_MAX);
        lines.push(format!(
            "... and {more} more; \"pgcopydb clone --dry-run\" shows them all"
        ));
    }
    lines
}
