//! `--filters` of a comparison: what they leave out of the source counts on neither side.
//!
//! Runs in the main program. Asks the source, in its snapshot, what the filters come to there; the
//! target, which has less, is judged by the names of that. What only the target has and no filter
//! names stays a difference.

use super::facts::{Facts, Object};
use super::server::Server;
use super::table::Entry;
use crate::error::{Error, Result};
use crate::filter::{self, Rules, What};
use crate::units::Oid;
use std::collections::BTreeSet;

/// A relation: raw schema and name.
type Name = (String, String);

/// What does not count.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    objects: BTreeSet<Object>,
    /// Relations and types that are left out, with all that is part of them.
    wholes: BTreeSet<Name>,
    /// Relations whose rows are left out.
    emptied: BTreeSet<Name>,
    /// What a kept object says otherwise on the target.
    facts: BTreeSet<(Object, String)>,
    /// Foreign keys that may be NOT VALID on the target.
    unproven: BTreeSet<Object>,
}

/// Finds out what the rules leave out; nothing without rules. Blocks. `BadConfig` as in a clone.
pub(super) fn find(source: &mut Server, rules: Option<&Rules>) -> Result<LeftOut> {
    let mut left = LeftOut::default();
    let Some(rules) = rules else {
        return Ok(left);
    };
    let selection = filter::select(&mut source.session, rules)?;
    for warning in &selection.warnings {
        log::warn!("{warning}");
    }
    let (mut catalogs, mut objects, mut rows): (Vec<Oid>, Vec<Oid>, Vec<Oid>) = Default::default();
    for explained in &selection.explained {
        match explained.what {
            What::Object | What::Part => {
                catalogs.push(explained.id.0);
                objects.push(explained.id.1);
            }
            What::Rows => rows.push(explained.id.1),
            What::Kept => {}
        }
    }
    let sql = include_str!("sql/name_left_out.sql");
    let session = &mut source.session;
    for row in session.query(sql, &[&catalogs, &objects, &rows])? {
        let failed = |error: postgres::Error| session.error(&error, sql);
        let object = Object {
            class: row.try_get("class").map_err(failed)?,
            name: row.try_get("name").map_err(failed)?,
            detail: row.try_get("detail").map_err(failed)?,
        };
        left.add(object, row.try_get("fact").map_err(failed)?)?;
    }
    Ok(left)
}

impl LeftOut {
    fn add(&mut self, object: Object, fact: Option<&str>) -> Result<()> {
        let whole = match object.name.as_slice() {
            [schema, name] => Some((schema.clone(), name.clone())),
            _ => None,
        };
        match fact {
            None => {
                let has_parts = !matches!(
                    object.class.as_str(),
                    "function" | "procedure" | "aggregate" | "default privileges" | "statistics"
                );
                self.wholes.extend(whole.filter(|_| has_parts));
                self.objects.insert(object);
            }
            Some("rows") => {
                let name = whole.ok_or_else(|| Error::internal("a relation without a schema"))?;
                self.emptied.insert(name);
            }
            Some("valid") => {
                self.unproven.insert(object);
            }
            Some(fact) => {
                self.facts.insert((object, fact.to_owned()));
            }
        }
        Ok(())
    }

    /// Whether the rows of a table are compared.
    pub(super) fn keeps_rows(&self, (name, _): &(Name, Entry)) -> bool {
        !self.wholes.contains(name) && !self.emptied.contains(name)
    }

    /// Takes out of the facts of a side what does not count.
    pub(super) fn prune(&self, facts: &mut Facts) {
        facts.retain(|object, said| !self.has(object, said.get("table")));
        for (object, said) in facts.iter_mut() {
            said.retain(|fact, _| {
                self.facts.is_empty() || !self.facts.contains(&(object.clone(), fact.clone()))
            });
            if self.unproven.contains(object)
                && let Some(value) = said.get_mut("definition")
                && let Some(text) = &mut value.text
                && let Some(valid) = text.strip_suffix(" NOT VALID")
            {
                *text = valid.to_owned();
            }
        }
    }

    /// Whether it is left out, for itself or as a part; `table` is that of an index.
    fn has(&self, object: &Object, table: Option<&super::facts::Value>) -> bool {
        let owner = match (object.name.as_slice(), table) {
            ([schema, name, _], _) => Some((schema.clone(), name.clone())),
            ([schema, _], Some(table)) => table.text.clone().map(|name| (schema.clone(), name)),
            _ => None,
        };
        self.objects.contains(object) || owner.is_some_and(|owner| self.wholes.contains(&owner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Value;
    use super::*;
    use std::collections::BTreeMap;

    fn object(class: &str, name: &[&str]) -> Object {
        Object {
            class: class.to_owned(),
            name: name.iter().map(|&part| part.to_owned()).collect(),
            detail: String::new(),
        }
    }

    fn says(facts: &[(&str, &str)]) -> BTreeMap<String, Value> {
        let value = |text: &str| Value {
            text: Some(text.to_owned()),
            same_major: false,
        };
        facts
            .iter()
            .map(|(fact, text)| ((*fact).to_owned(), value(text)))
            .collect()
    }

    #[test]
    fn parts_go_with_their_table_and_keys_to_no_rows_may_be_unproven() {
        let mut left = LeftOut::default();
        left.add(object("table", &["s", "a"]), None).unwrap();
        left.add(object("table", &["s", "b"]), Some("rows"))
            .unwrap();
        let key = object("constraint", &["s", "b", "k"]);
        left.add(key.clone(), Some("valid")).unwrap();
        let mut facts = Facts::from([
            (object("table", &["s", "a"]), says(&[("owner", "me")])),
            (
                object("column", &["s", "a", "x"]),
                says(&[("type", "text")]),
            ),
            (object("index", &["s", "i"]), says(&[("table", "a")])),
            (object("table", &["s", "b"]), says(&[("owner", "me")])),
            (key.clone(), says(&[("definition", "KEY NOT VALID")])),
        ]);
        left.prune(&mut facts);
        let kept = Facts::from([
            (object("table", &["s", "b"]), says(&[("owner", "me")])),
            (key, says(&[("definition", "KEY")])),
        ]);
        assert_eq!(facts, kept);
    }
}
