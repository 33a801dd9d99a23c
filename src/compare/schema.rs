//! `compare schema`: what the catalogs of the two sides say, object by object, in both directions.
//!
//! Runs in the main program; a thread reads each side. The judging is pure.

use super::CompareSettings;
use super::couple::{self, Couple, Sides};
use super::database;
use super::facts::{self, Facts, Object, Value};
use super::filters;
use super::server::{Opening, Server};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Kind, Result};
use crate::pg::{Canceller, at_once, quote};
use crate::sys::signal;
use crate::units::{PgVersion, Side};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The database, where several are compared.
    pub database: Option<String>,
    /// Kind of object, such as `column`.
    pub class: String,
    /// Raw names, from the schema on.
    pub name: Vec<String>,
    /// What else tells the object apart, such as the types of arguments.
    pub detail: String,
    /// What differs.
    pub what: What,
}

/// What differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Only this side has the object.
    Only(Side),
    /// The sides say different things.
    Fact {
        /// About what.
        fact: String,
        /// What the source says; `None`: nothing.
        source: Option<String>,
        /// What the target says.
        target: Option<String>,
    },
}

impl Difference {
    /// Kind and name of the object, with the names in double quotes.
    pub fn object(&self) -> String {
        let names: Vec<String> = self.name.iter().map(|name| quote::ident(name)).collect();
        let mut text = format!("{} {}", self.class, names.join("."));
        if !self.detail.is_empty() {
            text.push(' ');
            text.push_str(&self.detail);
        }
        match &self.database {
            Some(database) => format!("database {}: {text}", quote::ident(database)),
            None => text,
        }
    }

    /// The difference in words.
    pub fn words(&self) -> String {
        let shown = |value: &Option<String>| match value {
            Some(text) => format!("\"{text}\""),
            None => "nothing".to_owned(),
        };
        match &self.what {
            What::Only(side) => format!("{}: only on the {side}", self.object()),
            What::Fact {
                fact,
                source,
                target,
            } => format!(
                "{}: {fact} is {} on the source, {} on the target",
                self.object(),
                shown(source),
                shown(target)
            ),
        }
    }
}

/// All differences, and how many objects there are.
#[derive(Clone, Debug, Default)]
pub struct SchemaReport {
    /// Differences, in the order of class and name.
    pub differences: Vec<Difference>,
    /// Objects of the source and of the target, by class.
    pub counts: BTreeMap<String, (u64, u64)>,
}

impl SchemaReport {
    /// Ok where nothing differs.
    pub fn result(&self) -> Result<()> {
        if self.differences.is_empty() {
            return Ok(());
        }
        let objects: BTreeSet<String> = self.differences.iter().map(Difference::object).collect();
        Err(Error::new(
            Kind::Differences,
            format!(
                "schemas differ: {} differences in {} objects",
                self.differences.len(),
                objects.len()
            ),
        ))
    }
}

/// Compares the schemas of both databases. Blocks.
pub fn schema(
    settings: &CompareSettings,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<SchemaReport> {
    signal::install()?;
    let stop = Arc::new(AtomicBool::new(false));
    crate::wire::set_stop_flag(Arc::clone(&stop));
    let canceller = Canceller::start(stop)?;
    let opening = Opening {
        title: "compare schema",
        canceller: &canceller,
    };
    super::unless_stopped(all(settings, env, &opening))
}

/// Compares one couple of databases after the other.
fn all(
    settings: &CompareSettings,
    env: &dyn Fn(&str) -> Option<String>,
    opening: &Opening<'_>,
) -> Result<SchemaReport> {
    let mut whole = SchemaReport::default();
    for Couple { database, sides } in couple::list(settings, env, opening)? {
        let report =
            match sides {
                Sides::Both(both) => compare(settings, &both, opening, database.as_deref())
                    .map_err(|error| match &database {
                        Some(name) => error.context(format!("database \"{name}\"")),
                        None => error,
                    })?,
                Sides::Only(Side::Target) if settings.ignore_extra => continue,
                Sides::Only(side) => SchemaReport {
                    differences: vec![Difference {
                        database: None,
                        class: "database".to_owned(),
                        name: vec![database.clone().unwrap_or_default()],
                        detail: String::new(),
                        what: What::Only(side),
                    }],
                    counts: BTreeMap::new(),
                },
            };
        for (class, (source, target)) in report.counts {
            let counts = whole.counts.entry(class).or_default();
            counts.0 += source;
            counts.1 += target;
        }
        let found = report.differences.into_iter();
        whole.differences.extend(found.map(|difference| Difference {
            database: match difference.what {
                What::Only(_) if difference.class == "database" => None,
                _ => database.clone(),
            },
            ..difference
        }));
    }
    Ok(whole)
}

fn compare(
    settings: &CompareSettings,
    (source, target): &(ConnInfo, ConnInfo),
    opening: &Opening<'_>,
    database: Option<&str>,
) -> Result<SchemaReport> {
    let Opening { title, canceller } = *opening;
    let mut source = Server::open((source, Side::Source), opening, None)?;
    let mut target = Server::open((target, Side::Target), opening, None)?;
    let left = filters::find(&mut source, settings.filters.as_ref())?;
    let versions = (source.facts.version, target.facts.version);
    let jobs = settings.table_jobs;
    let (source, target) = at_once(
        || facts::read(&mut source, title, canceller, jobs),
        || facts::read(&mut target, title, canceller, jobs),
    );
    let (mut source, mut target) = (source?, target?);
    left.prune(&mut source);
    left.prune(&mut target);
    database::keep_what_is_copied((&mut source, &mut target), database);
    let mut report = judge(&source, &target, versions);
    if settings.ignore_extra {
        report
            .differences
            .retain(|difference| difference.what != What::Only(Side::Target));
    }
    for (side, facts) in [("[SOURCE]", &source), ("[TARGET]", &target)] {
        log::info!("{side} {}", counts_in_words(facts));
    }
    Ok(report)
}

fn counts_in_words(facts: &Facts) -> String {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for object in facts.keys() {
        *counts.entry(&object.class).or_default() += 1;
    }
    let words: Vec<String> = counts
        .iter()
        .map(|(class, count)| format!("{class}: {count}"))
        .collect();
    words.join(", ")
}

/// Finds the differences.
fn judge(source: &Facts, target: &Facts, versions: (PgVersion, PgVersion)) -> SchemaReport {
    let equal_majors = versions.0.major() == versions.1.major();
    let mut report = SchemaReport::default();
    let objects: BTreeSet<&Object> = source.keys().chain(target.keys()).collect();
    for object in objects {
        let (here, there) = (source.get(object), target.get(object));
        let counts = report.counts.entry(object.class.clone()).or_default();
        counts.0 += u64::from(here.is_some());
        counts.1 += u64::from(there.is_some());
        let found = match (here, there) {
            (Some(here), Some(there)) => differing_facts(here, there, equal_majors),
            (Some(_), None) if has_owner(object, target) => vec![What::Only(Side::Source)],
            (None, Some(_)) if has_owner(object, source) => vec![What::Only(Side::Target)],
            _ => Vec::new(),
        };
        report
            .differences
            .extend(found.into_iter().map(|what| Difference {
                database: None,
                class: object.class.clone(),
                name: object.name.clone(),
                detail: object.detail.clone(),
                what,
            }));
    }
    report
}

/// Whether the side that lacks a part of a relation, such as a column, has that relation: otherwise
/// the relation itself is the difference.
fn has_owner(part: &Object, side: &Facts) -> bool {
    let [schema, relation, _] = part.name.as_slice() else {
        return true;
    };
    let classes = [
        "table",
        "view",
        "materialized view",
        "foreign table",
        "type",
        "domain",
    ];
    classes.iter().any(|class| {
        side.contains_key(&Object {
            class: (*class).to_owned(),
            name: vec![schema.clone(), relation.clone()],
            detail: String::new(),
        })
    })
}

fn differing_facts(
    source: &BTreeMap<String, Value>,
    target: &BTreeMap<String, Value>,
    equal_majors: bool,
) -> Vec<What> {
    let names: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    let mut found = Vec::new();
    for fact in names {
        let (here, there) = (source.get(fact), target.get(fact));
        let depends = [here, there].iter().flatten().any(|value| value.same_major);
        if depends && !equal_majors {
            continue;
        }
        let text = |value: Option<&Value>| value.and_then(|value| value.text.clone());
        let (source, target) = (text(here), text(there));
        if source != target {
            found.push(What::Fact {
                fact: fact.clone(),
                source,
                target,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    type Said<'a> = (&'a str, &'a [&'a str], &'a str, Option<&'a str>, bool);

    fn facts(objects: &[Said<'_>]) -> Facts {
        let mut facts = Facts::new();
        for (class, name, fact, text, same_major) in objects {
            let object = Object {
                class: (*class).to_owned(),
                name: name.iter().map(|part| (*part).to_owned()).collect(),
                detail: String::new(),
            };
            let value = Value {
                text: text.map(str::to_owned),
                same_major: *same_major,
            };
            facts
                .entry(object)
                .or_default()
                .insert((*fact).to_owned(), value);
        }
        facts
    }

    fn words(source: &Facts, target: &Facts, versions: (u32, u32)) -> Vec<String> {
        let versions = (PgVersion(versions.0), PgVersion(versions.1));
        judge(source, target, versions)
            .differences
            .iter()
            .map(Difference::words)
            .collect()
    }

    #[test]
    fn both_directions_and_every_fact_count_and_a_missing_table_counts_once() {
        let source = facts(&[
            ("table", &["s", "a"], "owner", Some("me"), false),
            ("column", &["s", "a", "x"], "type", Some("integer"), false),
            ("table", &["s", "b"], "owner", Some("me"), false),
            ("column", &["s", "b", "x"], "default", None, false),
        ]);
        let target = facts(&[
            ("table", &["s", "b"], "owner", Some("me"), false),
            ("column", &["s", "b", "x"], "default", Some(""), false),
            ("column", &["s", "b", "y"], "type", Some("text"), false),
        ]);
        let all = [
            "column \"s\".\"b\".\"x\": default is nothing on the source, \"\" on the target",
            "column \"s\".\"b\".\"y\": only on the target",
            "table \"s\".\"a\": only on the source",
        ];
        assert_eq!(words(&source, &target, (150_000, 150_000)), all);
        assert!(words(&source, &source, (150_000, 150_000)).is_empty());
    }

    #[test]
    fn what_is_only_deparsed_differently_is_no_difference_between_majors() {
        let one = |text| facts(&[("view", &["s", "v"], "definition", Some(text), true)]);
        let (source, target) = (one("select a.x"), one("select x"));
        assert_eq!(words(&source, &target, (150_001, 150_004)).len(), 1);
        assert!(words(&source, &target, (150_001, 160_000)).is_empty());
    }
}
