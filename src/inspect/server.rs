//! What is asked of the server alone: databases, extensions, collations.
//!
//! Runs in the main program. Reads PostgreSQL catalogs.

use super::{Source, get};
use crate::error::Result;
use crate::pg::quote;
use crate::units::Oid;

/// A database of the source's server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    /// Oid.
    pub oid: Oid,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// Bytes on disk; `None`: the role may not know.
    pub bytes: Option<u64>,
}

/// An installed extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Oid.
    pub oid: Oid,
    /// Raw name.
    pub name: String,
    /// Raw schema name.
    pub schema: String,
    /// Relations that it declares as configuration.
    pub config: Vec<ConfigRelation>,
}

/// A relation with configuration of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRelation {
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL, both parts in quotes.
    pub qname: String,
}

/// An extension that can be installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionVersions {
    /// Raw name.
    pub name: String,
    /// What is installed unless a version is asked for.
    pub default: Option<String>,
    /// All of them.
    pub versions: Vec<String>,
}

/// A collation, and one object that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collation {
    /// Oid.
    pub oid: Oid,
    /// Raw schema name.
    pub schema: String,
    /// Raw name.
    pub name: String,
    /// Name ready for SQL.
    pub qname: String,
    /// The object, as the server describes it.
    pub object: String,
}

/// Databases that can be connected to, by name.
pub fn list_databases(source: &mut Source) -> Result<Vec<Database>> {
    let sql = include_str!("sql/list_databases.sql");
    source.collect("list the databases", (sql, &[]), |row| {
        let bytes: Option<i64> = get(row, "bytes")?;
        Ok(Database {
            oid: get(row, "oid")?,
            name: get(row, "datname")?,
            qname: get(row, "qname")?,
            bytes: bytes.and_then(|bytes| u64::try_from(bytes).ok()),
        })
    })
}

/// Installed extensions, by name.
pub fn list_extensions(source: &mut Source) -> Result<Vec<Extension>> {
    let sql = include_str!("sql/list_extensions.sql");
    source.collect("list the extensions", (sql, &[]), |row| {
        let schemas: Vec<String> = get(row, "config_schemas")?;
        let names: Vec<String> = get(row, "config_names")?;
        Ok(Extension {
            oid: get(row, "oid")?,
            name: get(row, "extname")?,
            schema: get(row, "nspname")?,
            config: schemas
                .into_iter()
                .zip(names)
                .map(|(schema, name)| ConfigRelation {
                    qname: quote::qualified(&schema, &name),
                    schema,
                    name,
                })
                .collect(),
        })
    })
}

/// Extensions that can be installed, by name.
pub fn list_available_versions(source: &mut Source) -> Result<Vec<ExtensionVersions>> {
    let sql = include_str!("sql/list_available_versions.sql");
    source.collect("list the available extensions", (sql, &[]), |row| {
        Ok(ExtensionVersions {
            name: get(row, "extname")?,
            default: get(row, "default_version")?,
            versions: get(row, "versions")?,
        })
    })
}

/// Collations that the database or an object in it names, by name.
pub fn list_collations(source: &mut Source) -> Result<Vec<Collation>> {
    let sql = include_str!("sql/list_collations.sql");
    source.collect("list the collations", (sql, &[]), |row| {
        Ok(Collation {
            oid: get(row, "oid")?,
            schema: get(row, "nspname")?,
            name: get(row, "collname")?,
            qname: get(row, "qname")?,
            object: get(row, "object")?,
        })
    })
}
