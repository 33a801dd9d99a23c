//! What the target has already: relations, columns, indexes, constraints, schemas, extensions.
//!
//! Runs in the leaf that checks, and in leaves that resume. Reads the catalogs of the target,
//! writes nothing. Must not be asked for one object at a time: names go in as arrays, and answers
//! carry the position of the name in them.

use std::collections::BTreeSet;

use postgres::GenericClient;

use super::query::{Query, get};
use crate::error::{Error, Result};
use crate::units::{Oid, Side};

/// A raw schema name and the raw name of a relation in it.
pub type RelationName = (String, String);

/// A column of a table on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    /// Quoted name.
    pub attname: String,
    /// Type.
    pub type_oid: Oid,
    /// Its modifier, `atttypmod`; -1: none.
    pub typmod: i32,
    /// Computed by the target: not to be copied into.
    pub generated: bool,
}

/// A table on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTable {
    /// `r`, `p` (rows are routed), `f`, `v`, `m`.
    pub relkind: String,
    /// Columns in their order.
    pub columns: Vec<TargetColumn>,
}

/// An index on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetIndex {
    /// Oid on the target.
    pub oid: Oid,
    /// Quoted name of the table.
    pub table_qname: String,
    /// False: left behind by a build that failed.
    pub is_valid: bool,
    /// `pg_get_indexdef`, comparable to the one of the source.
    pub definition: String,
}

/// A constraint on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConstraint {
    /// Oid on the target.
    pub oid: Oid,
    /// Quoted name.
    pub conname: String,
    /// `p`, `u`, `x`, `f`, `c`, ...
    pub contype: String,
    /// False: NOT VALID.
    pub is_validated: bool,
    /// Quoted name of the index that backs it.
    pub index_name: Option<String>,
    /// `pg_get_constraintdef`.
    pub definition: String,
}

/// An extension that a server has, or could have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableExtension {
    /// Raw name.
    pub extname: String,
    /// Version of a CREATE EXTENSION without one; `None`: the files are gone.
    pub default_version: Option<String>,
    /// Version in this database.
    pub installed_version: Option<String>,
    /// Versions that can be asked for.
    pub versions: Vec<String>,
}

/// Gives every user relation to `visit`: schema, name (both raw), relkind.
pub fn each_relation(
    client: &mut impl GenericClient,
    mut visit: impl FnMut(&str, &str, &str) -> Result<()>,
) -> Result<u64> {
    let query = Query::target(
        "list the relations",
        include_str!("sql/list_target_relations.sql"),
    );
    query.each(client, &[], |row| {
        visit(
            get(row, "nspname")?,
            get(row, "relname")?,
            get(row, "relkind")?,
        )
    })
}

/// Reads the columns of tables; `None` at the position of one that does not exist.
pub fn fetch_tables(
    client: &mut impl GenericClient,
    names: &[RelationName],
) -> Result<Vec<Option<TargetTable>>> {
    let (nspnames, relnames) = arrays(names);
    let mut found: Vec<Option<TargetTable>> = vec![None; names.len()];
    let query = Query::target(
        "list the columns",
        include_str!("sql/list_target_columns.sql"),
    );
    query.each(client, &[&nspnames, &relnames], |row| {
        let relkind = get(row, "relkind")?;
        let table = slot(&mut found, get(row, "position")?)?.get_or_insert_with(|| TargetTable {
            relkind,
            columns: Vec::new(),
        });
        if let Some(attname) = get(row, "attname")? {
            table.columns.push(TargetColumn {
                attname,
                type_oid: get(row, "type_oid")?,
                typmod: get(row, "typmod")?,
                generated: get(row, "generated")?,
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// Reads indexes; `None` at the position of one that does not exist.
pub fn fetch_indexes(
    client: &mut impl GenericClient,
    names: &[RelationName],
) -> Result<Vec<Option<TargetIndex>>> {
    let (nspnames, relnames) = arrays(names);
    let mut found = vec![None; names.len()];
    let query = Query::target(
        "list the indexes",
        include_str!("sql/list_target_indexes.sql"),
    );
    query.each(client, &[&nspnames, &relnames], |row| {
        *slot(&mut found, get(row, "position")?)? = Some(TargetIndex {
            oid: get(row, "oid")?,
            table_qname: get(row, "table_qname")?,
            is_valid: get(row, "is_valid")?,
            definition: get(row, "definition")?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Reads all constraints of tables, foreign keys and checks among them.
pub fn fetch_constraints(
    client: &mut impl GenericClient,
    tables: &[RelationName],
) -> Result<Vec<Vec<TargetConstraint>>> {
    let (nspnames, relnames) = arrays(tables);
    let mut found = vec![Vec::new(); tables.len()];
    let sql = include_str!("sql/list_target_constraints.sql");
    Query::target("list the constraints", sql).each(client, &[&nspnames, &relnames], |row| {
        slot(&mut found, get(row, "position")?)?.push(TargetConstraint {
            oid: get(row, "oid")?,
            conname: get(row, "conname")?,
            contype: get(row, "contype")?,
            is_validated: get(row, "is_validated")?,
            index_name: get(row, "index_name")?,
            definition: get(row, "definition")?,
        });
        Ok(())
    })?;
    Ok(found)
}

/// Lists all schemas; raw names.
pub fn list_namespaces(client: &mut impl GenericClient) -> Result<Vec<String>> {
    let query = Query::target(
        "list the schemas",
        include_str!("sql/list_all_namespaces.sql"),
    );
    query.collect(client, &[], |row| get(row, "nspname"))
}

/// Lists the extensions that are there and that the current role does not own; raw names.
pub fn list_foreign_extensions(client: &mut impl GenericClient) -> Result<BTreeSet<String>> {
    let sql = "select e.extname::text from pg_catalog.pg_extension e \
                where not pg_catalog.pg_has_role(e.extowner, 'usage')";
    let query = Query::target("list the extensions of others", sql);
    let names = query.collect(client, &[], |row| get(row, "extname"))?;
    Ok(names.into_iter().collect())
}

/// Lists the extensions of a server.
pub fn list_available_extensions(
    client: &mut impl GenericClient,
    side: Side,
) -> Result<Vec<AvailableExtension>> {
    let sql = include_str!("sql/list_available_extensions.sql");
    Query::on(side, "list the available extensions", sql).collect(client, &[], |row| {
        Ok(AvailableExtension {
            extname: get(row, "extname")?,
            default_version: get(row, "default_version")?,
            installed_version: get(row, "installed_version")?,
            versions: get(row, "versions")?,
        })
    })
}

fn arrays(names: &[RelationName]) -> (Vec<&str>, Vec<&str>) {
    names
        .iter()
        .map(|(nspname, relname)| (nspname.as_str(), relname.as_str()))
        .unzip()
}

/// The place of an answer; positions count from 1.
fn slot<T>(found: &mut [T], position: i64) -> Result<&mut T> {
    usize::try_from(position - 1)
        .ok()
        .and_then(|index| found.get_mut(index))
        .ok_or_else(|| Error::internal("an answer has the position of no question"))
}
