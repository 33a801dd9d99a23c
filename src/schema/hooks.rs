//! Extensions that want to be told of a restore: which functions of theirs are called, and which tables they
//! keep in ways of their own.
//!
//! Runs in leaf processes and in the main program. Reads the catalogs of either server and those of the
//! extensions, writes nothing.

use postgres::GenericClient;

use super::query::{Query, get};
use crate::error::Result;
use crate::units::{Oid, Side};

/// Cuts tables into chunks.
pub const TIMESCALEDB: &str = "timescaledb";
/// Begins its restoring mode.
pub const PRE_RESTORE: &str = "timescaledb_pre_restore";
/// Ends it.
pub const POST_RESTORE: &str = "timescaledb_post_restore";

/// An extension that is in a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// Its version.
    pub version: String,
    /// Those of the functions that were asked for.
    pub functions: Vec<Function>,
}

/// A function of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Raw name.
    pub name: String,
    /// Quoted, with its schema.
    pub qname: String,
    /// The role may call it.
    pub may_execute: bool,
}

impl Installed {
    /// A function of that name.
    pub fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|one| one.name == name)
    }
}

/// Looks for an extension and functions of it; nothing when it is not in the database.
pub fn find_extension(
    client: &mut impl GenericClient,
    side: Side,
    extension: &str,
    functions: &[&str],
) -> Result<Option<Installed>> {
    let query = Query::on(
        side,
        "look for functions of an extension",
        include_str!("sql/list_extension_functions.sql"),
    );
    let mut found: Option<Installed> = None;
    query.each(client, &[&extension, &functions], |row| {
        let version = get(row, "version")?;
        let installed = found.get_or_insert(Installed {
            version,
            functions: Vec::new(),
        });
        if let Some(name) = get::<Option<String>>(row, "proname")? {
            installed.functions.push(Function {
                name,
                qname: get(row, "qname")?,
                may_execute: get(row, "may_execute")?,
            });
        }
        Ok(())
    })?;
    Ok(found)
}

/// A hypertable, or one of its chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hypertable {
    /// The number that timescaledb gave the hypertable.
    pub id: i64,
    /// A chunk of it.
    pub is_chunk: bool,
    /// Quoted name.
    pub qname: String,
    /// 0: there is no such relation.
    pub oid: Oid,
    /// `f`: its rows are elsewhere.
    pub relkind: String,
    /// Table access method.
    pub amname: String,
}

/// Lists hypertables with their chunks; none where timescaledb has no catalog.
pub fn list_hypertables(client: &mut impl GenericClient, side: Side) -> Result<Vec<Hypertable>> {
    let probe = Query::on(
        side,
        "look for hypertables",
        "select pg_catalog.to_regclass('_timescaledb_catalog.hypertable') is not null as is_there",
    );
    if !probe.one(client, |row| get::<bool>(row, "is_there"))? {
        return Ok(Vec::new());
    }
    let query = Query::on(
        side,
        "list the hypertables of timescaledb",
        include_str!("sql/list_hypertables.sql"),
    );
    query.collect(client, &[], |row| {
        Ok(Hypertable {
            id: get(row, "hypertable_id")?,
            is_chunk: get(row, "is_chunk")?,
            qname: get(row, "qname")?,
            oid: get::<Option<Oid>>(row, "oid")?.unwrap_or(0),
            relkind: get::<Option<String>>(row, "relkind")?.unwrap_or_default(),
            amname: get::<Option<String>>(row, "amname")?.unwrap_or_default(),
        })
    })
}
