//! Tables that citus spreads over other servers: which there are, and the calls that make the same on a target.
//!
//! Runs in leaf processes and in the main program. Reads the view `citus_tables` of either server, writes
//! `s_spread`. Such a table is empty where its own file is looked at: what is known by pages, parts by `ctid`
//! among it, is not known of them.

use postgres::GenericClient;
use rusqlite::{Transaction, params};
use std::collections::BTreeMap;

use super::clear;
use super::query::{Query, get, ledger, server_error};
use crate::error::Result;
use crate::pg::quote;
use crate::units::{Oid, Side};

/// Spreads tables over other servers.
pub const CITUS: &str = "citus";
/// Spreads a table.
pub const DISTRIBUTE: &str = "create_distributed_table";
/// Puts a table on every server.
pub const REPLICATE: &str = "create_reference_table";

/// A table that citus keeps in its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Oid.
    pub oid: Oid,
    /// Quoted name.
    pub qname: String,
    /// distributed, reference, schema, local.
    pub kind: String,
    /// Raw name of the distribution column.
    pub column: Option<String>,
    /// Tables of one number have their shards at the same places.
    pub colocation: i64,
    /// Shards.
    pub shards: i64,
    /// It is spread with its parent.
    pub is_partition: bool,
    /// Size of all shards; 0: not known.
    pub bytes: i64,
}

impl Spread {
    /// Put on every server.
    pub fn is_reference(&self) -> bool {
        self.kind == "reference"
    }
}

/// Lists the tables of citus; nothing where it has no view of them.
pub fn list_spread(client: &mut impl GenericClient, side: Side) -> Result<Option<Vec<Spread>>> {
    let find = Query::on(
        side,
        "look for the tables of citus",
        include_str!("sql/find_citus_tables.sql"),
    );
    let views = find.collect(client, &[], |row| get::<String>(row, "qname"))?;
    let Some(view) = views.first() else {
        return Ok(None);
    };
    let sql = include_str!("sql/list_spread_tables.sql")
        .replace("from citus_tables t", &format!("from {view} t"));
    let rows = client
        .query(&sql, &[])
        .map_err(|error| server_error(side, "list the tables of citus", &error))?;
    let tables = rows.iter().map(|row| {
        Ok(Spread {
            oid: get(row, "oid")?,
            qname: get(row, "qname")?,
            kind: get(row, "kind")?,
            column: get(row, "column_name")?,
            colocation: get(row, "colocation")?,
            shards: get(row, "shards")?,
            is_partition: get(row, "is_partition")?,
            bytes: get(row, "bytes")?,
        })
    });
    tables.collect::<Result<Vec<Spread>>>().map(Some)
}

/// Fills `s_spread`, where the database has citus. Its configuration is that of the source's servers, and is not
/// copied; a hash partition is copied as itself, as what is routed through its parent could not be emptied alone.
pub fn fetch_spread(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<()> {
    const SETTLE: &str = "
        delete from s_spread where oid in
            (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
        delete from s_extension_config where ext_oid in (select oid from s_extension where extname = 'citus');
        update s_table set route_oid = null, route_qname = null where oid in (select oid from s_spread)";
    clear(tx, "delete from s_spread")?;
    let has_citus = tx
        .query_row(
            "select exists (select 1 from s_extension where extname = ?1)",
            [CITUS],
            |row| row.get::<_, bool>(0),
        )
        .map_err(ledger)?;
    if !has_citus {
        return Ok(());
    }
    let mut insert = tx
        .prepare("insert into s_spread values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
        .map_err(ledger)?;
    for table in list_spread(client, Side::Source)?.unwrap_or_default() {
        insert
            .execute(params![
                table.oid,
                table.qname,
                table.kind,
                table.column,
                table.colocation,
                table.shards,
                table.is_partition,
                table.bytes,
            ])
            .map_err(ledger)?;
    }
    tx.execute_batch(SETTLE).map_err(ledger)
}

/// Reads `s_spread`.
pub fn stored_spread(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<Spread>> {
    connection
        .prepare(
            "select oid, qname, kind, column_name, colocation, shards, is_partition, bytes
               from s_spread order by qname",
        )?
        .query_map([], |row| {
            Ok(Spread {
                oid: row.get(0)?,
                qname: row.get(1)?,
                kind: row.get(2)?,
                column: row.get(3)?,
                colocation: row.get(4)?,
                shards: row.get(5)?,
                is_partition: row.get(6)?,
                bytes: row.get(7)?,
            })
        })?
        .collect()
}

/// How one table is made on a target what it is on the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'t> {
    /// The table.
    pub table: &'t Spread,
    /// The table whose places its shards share.
    pub with: Option<&'t str>,
}

impl Call<'_> {
    /// The statement, with the quoted names of both functions.
    pub fn statement(&self, distribute: &str, replicate: &str) -> String {
        let table = quote::literal(&self.table.qname);
        let Some(column) = self
            .table
            .column
            .as_deref()
            .filter(|_| !self.table.is_reference())
        else {
            return format!("select {replicate}({table})");
        };
        let column = quote::literal(column);
        match self.with {
            Some(first) => format!(
                "select {distribute}({table}, {column}, colocate_with := {})",
                quote::literal(first)
            ),
            None => format!(
                "select {distribute}({table}, {column}, shard_count := {}, colocate_with := 'none')",
                self.table.shards
            ),
        }
    }
}

/// The calls in their order: the first table of each group that shares places, by name, makes these, the
/// others join it; then the tables that are everywhere. Partitions come with their parents.
pub fn calls(tables: &[Spread]) -> Vec<Call<'_>> {
    let mut firsts: BTreeMap<i64, &str> = BTreeMap::new();
    let mut all: Vec<&Spread> = tables.iter().filter(|table| !table.is_partition).collect();
    all.sort_by(|one, other| one.qname.cmp(&other.qname));
    let mut calls = Vec::with_capacity(all.len());
    for table in all.iter().filter(|table| !table.is_reference()) {
        let with = firsts.get(&table.colocation).copied();
        firsts.entry(table.colocation).or_insert(&table.qname);
        calls.push(Call { table, with });
    }
    let references = all.iter().filter(|table| table.is_reference());
    calls.extend(references.map(|table| Call { table, with: None }));
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(qname: &str, kind: &str, colocation: i64) -> Spread {
        Spread {
            qname: qname.to_owned(),
            kind: kind.to_owned(),
            column: (kind == "distributed").then(|| "It's".to_owned()),
            colocation,
            shards: 32,
            ..Spread::default()
        }
    }

    #[test]
    fn the_first_of_a_group_makes_the_places_and_references_come_last() {
        let mut tables = [
            table("a.ref", "reference", 9),
            table("b.b", "distributed", 1),
            table("a.a", "distributed", 2),
            table("b.a", "distributed", 1),
            table("b.part", "distributed", 1),
        ];
        tables[4].is_partition = true;
        let statements: Vec<String> = calls(&tables)
            .iter()
            .map(|call| call.statement("c.d", "c.r"))
            .collect();
        assert_eq!(
            statements,
            [
                "select c.d('a.a', 'It''s', shard_count := 32, colocate_with := 'none')",
                "select c.d('b.a', 'It''s', shard_count := 32, colocate_with := 'none')",
                "select c.d('b.b', 'It''s', colocate_with := 'b.a')",
                "select c.r('a.ref')",
            ]
        );
    }
}
