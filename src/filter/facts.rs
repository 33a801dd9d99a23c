//! What the source's catalogs say about objects and what they hang on, in memory.
//!
//! Runs in leaf processes, and in the main program for a dry run. Reads the catalogs of the source
//! with a handful of plain lists, without recursion: the closure is computed in memory. Changes
//! nothing.

use super::rules::{Name, Rule, Rules};
use crate::error::{Error, Result};
use crate::pg::PgSession;
use crate::units::Oid;
use fallible_iterator::FallibleIterator;
use postgres::Row;
use postgres::types::FromSql;
use std::collections::{BTreeMap, HashMap};

/// Catalog and oid: an oid alone is unique within one catalog only.
pub type ObjectId = (Oid, Oid);

/// Catalog oid of `pg_class`.
pub const PG_CLASS: Oid = 1259;
/// Catalog oid of `pg_namespace`.
pub const PG_NAMESPACE: Oid = 2615;
/// Catalog oid of `pg_extension`.
pub const PG_EXTENSION: Oid = 3079;
/// Catalog oid of `pg_type`.
pub(super) const PG_TYPE: Oid = 1247;
/// Catalog oid of `pg_attrdef`.
pub(super) const PG_ATTRDEF: Oid = 2604;
/// Catalog oid of `pg_constraint`.
pub(super) const PG_CONSTRAINT: Oid = 2606;

/// Catalog oid of `pg_amop`.
pub(super) const PG_AMOP: Oid = 2602;
/// Catalog oid of `pg_amproc`.
pub(super) const PG_AMPROC: Oid = 2603;
/// Catalog oid of `pg_opclass`.
pub(super) const PG_OPCLASS: Oid = 2616;
/// Catalog oid of `pg_opfamily`.
pub(super) const PG_OPFAMILY: Oid = 2753;

/// A relation of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) schema: Oid,
    pub(super) nspname: String,
    pub(super) relname: String,
    pub(super) kind: char,
    pub(super) is_readable: bool,
}

impl Relation {
    /// Holds rows, or stands for a table that does.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind, 'r' | 'p' | 'f')
    }
}

/// A constraint of a table or a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Constraint {
    pub(super) kind: char,
    pub(super) table: Oid,
    pub(super) of_type: Oid,
    pub(super) referenced: Oid,
}

/// A row of `pg_depend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) from: ObjectId,
    pub(super) to: ObjectId,
    pub(super) kind: char,
}

/// The objects of a database and what hangs on what.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) schemas: BTreeMap<Oid, String>,
    pub(super) extensions: BTreeMap<Oid, String>,
    pub(super) relations: HashMap<Oid, Relation>,
    pub(super) constraints: HashMap<Oid, Constraint>,
    /// Children with their parents: of tables and of indexes.
    pub(super) parents: Vec<(Oid, Oid)>,
    pub(super) edges: Vec<Edge>,
    /// What each rule names, by the rule's number from 0.
    pub(super) matches: Vec<(usize, ObjectId)>,
}

/// Reads the facts, and what the rules name. A pattern that the server does not understand is
/// `BadConfig`. Blocks.
pub(super) fn read_facts(source: &mut PgSession, rules: &Rules) -> Result<Facts> {
    check_patterns(source, rules)?;
    let mut facts = Facts {
        matches: matches(source, rules)?,
        ..Facts::default()
    };
    each(source, include_str!("sql/list_schemas.sql"), |row| {
        let names = match get::<Oid>(row, 0)? {
            PG_EXTENSION => &mut facts.extensions,
            _ => &mut facts.schemas,
        };
        names.insert(get(row, 1)?, get(row, 2)?);
        Ok(())
    })?;
    each(source, include_str!("sql/list_relations.sql"), |row| {
        let relation = Relation {
            schema: get(row, 1)?,
            nspname: get(row, 2)?,
            relname: get(row, 3)?,
            kind: letter(row, 4)?,
            is_readable: get(row, 5)?,
        };
        facts.relations.insert(get(row, 0)?, relation);
        Ok(())
    })?;
    each(source, include_str!("sql/list_parents.sql"), |row| {
        facts.parents.push((get(row, 0)?, get(row, 1)?));
        Ok(())
    })?;
    each(source, include_str!("sql/list_constraints.sql"), |row| {
        let constraint = Constraint {
            kind: letter(row, 1)?,
            table: get(row, 2)?,
            of_type: get(row, 3)?,
            referenced: get(row, 4)?,
        };
        facts.constraints.insert(get(row, 0)?, constraint);
        Ok(())
    })?;
    each(source, include_str!("sql/list_depends.sql"), |row| {
        facts.edges.push(Edge {
            from: (get(row, 0)?, get(row, 1)?),
            to: (get(row, 2)?, get(row, 3)?),
            kind: letter(row, 4)?,
        });
        Ok(())
    })?;
    Ok(facts)
}

/// Lets the server judge each pattern, as only its own grammar counts.
fn check_patterns(source: &mut PgSession, rules: &Rules) -> Result<()> {
    for rule in &rules.rules {
        let names = [rule.schema.as_ref(), Some(&rule.name)];
        for pattern in names.into_iter().flatten().filter_map(Name::pattern) {
            let tried = source.query("select '' operator(pg_catalog.~) $1::text", &[&pattern]);
            match tried {
                Err(error) if error.sqlstate() == Some("2201B") => {
                    let what = format!("pattern ~/{pattern}/ is not a regular expression");
                    return Err(rules
                        .error_at(rule.line, &what)
                        .detail(error.message().to_owned()));
                }
                other => other.map(drop)?,
            }
        }
    }
    Ok(())
}

fn matches(source: &mut PgSession, rules: &Rules) -> Result<Vec<(usize, ObjectId)>> {
    let all = &rules.rules;
    let of =
        |part: fn(&Rule) -> Option<&str>| -> Vec<Option<&str>> { all.iter().map(part).collect() };
    let subjects = of(|rule| Some(rule.section.subject().word()));
    let schemas = of(|rule| rule.schema.as_ref().and_then(Name::exact));
    let schema_patterns = of(|rule| rule.schema.as_ref().and_then(Name::pattern));
    let names = of(|rule| rule.name.exact());
    let patterns = of(|rule| rule.name.pattern());
    let rows = source.query(
        include_str!("sql/match_rules.sql"),
        &[&subjects, &schemas, &schema_patterns, &names, &patterns],
    )?;
    rows.iter()
        .map(|row| {
            let number: i32 = get(row, 0)?;
            let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
            Ok((index, (get(row, 1)?, get(row, 2)?)))
        })
        .collect()
}

/// Kind and full name of objects, as the server says them; those that are gone are left out. Blocks.
pub(super) fn describe(
    source: &mut PgSession,
    objects: &[ObjectId],
) -> Result<HashMap<ObjectId, (String, String)>> {
    /// Objects asked for at once.
    const BATCH: usize = 10_000;
    let mut found = HashMap::new();
    for batch in objects.chunks(BATCH) {
        let (catalogs, oids): (Vec<Oid>, Vec<Oid>) = batch.iter().copied().unzip();
        let sql = include_str!("sql/describe_objects.sql");
        for row in source.query(sql, &[&catalogs, &oids])? {
            let (kind, identity): (Option<String>, Option<String>) = (get(&row, 2)?, get(&row, 3)?);
            if let (Some(kind), Some(identity)) = (kind, identity) {
                found.insert((get(&row, 0)?, get(&row, 1)?), (kind, identity));
            }
        }
    }
    Ok(found)
}

/// Takes the rows of a query one by one.
fn each(
    source: &mut PgSession,
    sql: &str,
    mut visit: impl FnMut(&Row) -> Result<()>,
) -> Result<()> {
    const NONE: [&(dyn postgres::types::ToSql + Sync); 0] = [];
    let mut rows = source.query_raw(sql, NONE)?;
    let failed = loop {
        match rows.next() {
            Ok(Some(row)) => visit(&row)?,
            Ok(None) => return Ok(()),
            Err(error) => break error,
        }
    };
    drop(rows);
    Err(source.error(&failed, sql))
}

fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T> {
    row.try_get(column)
        .map_err(|error| Error::internal(format!("column {column} of a result: {error}")))
}

fn letter(row: &Row, column: usize) -> Result<char> {
    let text: &str = get(row, column)?;
    Ok(text.chars().next().unwrap_or(' '))
}
