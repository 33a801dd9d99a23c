//! What is known of the source's tables: what tells a row, which columns are computed, what is left out.
//!
//! Pure but for one small file, `tables.json` beside the change data, which setup writes and transform
//! and apply read: `test_decoding` does not say which columns are a table's replica identity.

use crate::catalog::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::units::Oid;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Name of the file in the folder of change data.
pub const FILE_NAME: &str = "tables.json";

/// What tells a row of a table in changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Identity {
    /// These columns.
    Key(Vec<String>),
    /// All of them.
    Full,
    /// Nothing: updates and deletes cannot be applied.
    Nothing,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Computed by the server, stored or virtual.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub generated: bool,
    /// Its type with its modifier, as the server writes it; none in files of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
}

/// A table, partitions included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// What tells a row.
    pub identity: Identity,
    /// Of a partition: schema and name of the table at the top.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<(String, String)>,
    /// Its oid; 0 in files of earlier versions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oid: Oid,
    /// Its changes are left out, as filters say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub excluded: bool,
    /// How many of its rows were updated or deleted, as far as the server has counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewritten: Option<i64>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(oid: &Oid) -> bool {
    *oid == 0
}

/// The tables by name.
#[derive(Clone, Debug, Default)]
pub struct SourceTables {
    by_schema: HashMap<String, HashMap<String, SourceTable>>,
}

impl FromIterator<SourceTable> for SourceTables {
    fn from_iter<I: IntoIterator<Item = SourceTable>>(tables: I) -> Self {
        let mut all = Self::default();
        for table in tables {
            all.by_schema
                .entry(table.schema.clone())
                .or_default()
                .insert(table.name.clone(), table);
        }
        all
    }
}

impl SourceTables {
    /// The table of that name.
    pub fn get(&self, schema: &str, name: &str) -> Option<&SourceTable> {
        self.by_schema.get(schema)?.get(name)
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &SourceTable> {
        self.by_schema.values().flat_map(HashMap::values)
    }

    /// Schema and name of those that filters leave out, sorted.
    pub fn left_out(&self) -> Vec<(String, String)> {
        let excluded = self.all().filter(|table| table.excluded);
        let mut names: Vec<(String, String)> = excluded
            .map(|table| (table.schema.clone(), table.name.clone()))
            .collect();
        names.sort();
        names
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.by_schema.is_empty()
    }

    /// The same, without the tables that a copy made without their rows, or not at all, as filters say.
    pub fn load_filtered(folder: &Path, ledger: &Ledger) -> Result<Self> {
        let read = || -> rusqlite::Result<HashSet<Oid>> {
            ledger
                .connection()
                .prepare(
                    "select object_oid from s_filter
                      where catalog_oid = 1259 and what in ('object', 'part', 'rows')",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        };
        let left_out = read().map_err(|error| sqlite_error("read", &error))?;
        let mut all = Self::load(folder)?;
        for table in all.by_schema.values_mut().flat_map(HashMap::values_mut) {
            table.excluded |= left_out.contains(&table.oid);
        }
        Ok(all)
    }

    /// Reads the file of a folder of change data; nothing is known where there is none.
    pub fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let unusable = |why: String| {
            Error::bad_state(format!("could not read \"{}\": {why}", path.display()))
                .hint("Run pgcopydb stream setup again.")
        };
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(unusable(error.to_string())),
        };
        let tables: Vec<SourceTable> =
            serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
        Ok(tables.into_iter().collect())
    }
}

/// The file's content for these tables.
pub fn to_json(tables: &[SourceTable]) -> Result<Vec<u8>> {
    serde_json::to_vec(tables)
        .map_err(|error| Error::internal(format!("could not write down the tables: {error}")))
}
