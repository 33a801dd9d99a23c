//! The tables of the two sides, paired by name.
//!
//! Runs in the main program. Reads catalogs in the transaction of the side's snapshot.

use super::server::Server;
use crate::error::{Error, Result};
use crate::units::Oid;
use std::collections::BTreeMap;

/// A table of one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    /// Raw names and types, in the order of the names.
    pub(super) columns: Vec<(String, Oid)>,
    pub(super) main_bytes: u64,
    /// With TOAST.
    pub(super) bytes: u64,
    pub(super) block_size: u64,
    pub(super) is_heap: bool,
    /// Which rows count, as `where …`: a configuration table also holds rows of its extension.
    pub(super) condition: Option<String>,
}

/// A table as either side has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) source: Option<Table>,
    pub(super) target: Option<Table>,
}

/// Lists the tables of a side.
pub(super) fn list(server: &mut Server) -> Result<Vec<Table>> {
    let sql = include_str!("sql/list_tables.sql");
    let rows = server.session.query(sql, &[])?;
    let read = |row: &postgres::Row| -> Result<Table, postgres::Error> {
        let columns: Vec<String> = row.try_get("columns")?;
        let types: Vec<Oid> = row.try_get("types")?;
        let size = |column| -> Result<u64, postgres::Error> {
            row.try_get::<_, i64>(column).map(i64::unsigned_abs)
        };
        Ok(Table {
            schema: row.try_get("nspname")?,
            name: row.try_get("relname")?,
            columns: columns.into_iter().zip(types).collect(),
            main_bytes: size("main_bytes")?,
            bytes: size("bytes")?,
            block_size: size("block_size")?,
            is_heap: row.try_get("is_heap")?,
            condition: row.try_get("condition")?,
        })
    };
    rows.iter()
        .map(|row| read(row).map_err(|error| server.session.error(&error, sql)))
        .collect()
}

/// The large objects of a side.
#[derive(Clone, Debug, Default)]
pub(super) struct LargeObjects {
    /// All of them, in order.
    pub(super) all: Vec<Oid>,
    /// Those that are read in slices, with their sizes.
    pub(super) large: Vec<(Oid, u64)>,
}

/// Lists the large objects of a side; one of `slice_bytes` and more is a large one.
pub(super) fn list_large_objects(server: &mut Server, slice_bytes: u64) -> Result<LargeObjects> {
    let list = include_str!("sql/list_large_objects.sql");
    let size = include_str!("sql/read_large_object_size.sql");
    let limit = i64::try_from(slice_bytes)
        .map_err(|_| Error::internal("a slice of a large object is too large"))?;
    let session = &mut server.session;
    let (mut all, mut large) = (Vec::new(), Vec::new());
    for row in session.query(list, &[&limit])? {
        let failed = |error: postgres::Error| session.error(&error, list);
        let oid: Oid = row.try_get("oid").map_err(failed)?;
        all.push(oid);
        if row.try_get("is_large").map_err(failed)? {
            large.push(oid);
        }
    }
    let mut sizes = Vec::new();
    for oid in large {
        let row = session.query_one(size, &[&oid])?;
        let bytes: i64 = row
            .try_get("size")
            .map_err(|error| session.error(&error, size))?;
        sizes.push((oid, bytes.unsigned_abs()));
    }
    Ok(LargeObjects { all, large: sizes })
}

/// Puts the tables of both sides side by side, in the order of their names.
pub(super) fn pair(source: Vec<Table>, target: Vec<Table>) -> Vec<((String, String), Entry)> {
    let mut entries: BTreeMap<(String, String), Entry> = BTreeMap::new();
    for table in source {
        let key = (table.schema.clone(), table.name.clone());
        entries.entry(key).or_default().source = Some(table);
    }
    for table in target {
        let key = (table.schema.clone(), table.name.clone());
        entries.entry(key).or_default().target = Some(table);
    }
    entries.into_iter().collect()
}

/// Which columns only one side has, in words; `None` when the names are the same.
pub(super) fn column_difference(source: &Table, target: &Table) -> Option<String> {
    let only = |one: &Table, other: &Table| -> Vec<String> {
        one.columns
            .iter()
            .filter(|(name, _)| !other.columns.iter().any(|(there, _)| there == name))
            .map(|(name, _)| format!("\"{name}\""))
            .collect()
    };
    let words: Vec<String> = [
        ("source", only(source, target)),
        ("target", only(target, source)),
    ]
    .into_iter()
    .filter(|(_, names)| !names.is_empty())
    .map(|(side, names)| format!("only the {side} has column {}", names.join(", ")))
    .collect();
    (!words.is_empty()).then(|| words.join(", "))
}
