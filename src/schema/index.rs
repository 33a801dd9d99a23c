//! Lists the indexes of the tables in the ledger, and the constraints that they back.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source and the oids of `s_table`,
//! writes `s_index` and `s_constraint`. Must not list indexes of partitioned tables, matviews or
//! extensions: those stay with `pg_restore`. Indexes of partitions are ours, as `pg_dump` makes
//! them one by one and attaches them afterwards.

use postgres::{GenericClient, Row};
use rusqlite::{Statement, Transaction, params};

use super::query::{Query, get, ledger};
use super::{Tables, clear, table_oids};
use crate::error::Result;
use crate::units::Oid;

const INDEXES: Query = Query::source("list the indexes", include_str!("sql/list_indexes.sql"));

const CONSTRAINTS: Query = Query::source(
    "list the constraints",
    include_str!("sql/list_constraints.sql"),
);

const INSERT_INDEX: &str = "insert into s_index (oid, table_oid, nspname, relname, qname, amname, \
    is_primary, is_unique, is_valid, bytes, definition, tablespace, con_oid) \
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";

const INSERT_CONSTRAINT: &str = "insert into s_constraint (oid, table_oid, index_oid, conname, \
    contype, is_deferrable, is_deferred, is_temporal, definition) \
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";

/// Fills `s_index`, without indexes that were dropped since the snapshot.
pub fn fetch_indexes(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_index")?;
    let mut insert = tx.prepare(INSERT_INDEX).map_err(ledger)?;
    let mut count = 0;
    INDEXES.each(client, &[&table_oids(tx, Tables::Ours)?], |row| {
        if let Some(definition) = get::<Option<&str>>(row, "definition")? {
            write_index(&mut insert, row, definition)?;
            count += 1;
        }
        Ok(())
    })?;
    Ok(count)
}

fn write_index(insert: &mut Statement<'_>, row: &Row, definition: &str) -> Result<()> {
    insert
        .execute(params![
            get::<Oid>(row, "oid")?,
            get::<Oid>(row, "table_oid")?,
            get::<&str>(row, "nspname")?,
            get::<&str>(row, "relname")?,
            get::<&str>(row, "qname")?,
            get::<&str>(row, "amname")?,
            get::<bool>(row, "is_primary")?,
            get::<bool>(row, "is_unique")?,
            get::<bool>(row, "is_valid")?,
            get::<Option<i64>>(row, "bytes")?.unwrap_or(0),
            definition,
            get::<Option<&str>>(row, "tablespace")?,
            get::<Option<Oid>>(row, "con_oid")?,
        ])
        .map_err(ledger)?;
    Ok(())
}

/// Fills `s_constraint`, without constraints that were dropped since the snapshot.
pub fn fetch_constraints(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_constraint")?;
    let mut insert = tx.prepare(INSERT_CONSTRAINT).map_err(ledger)?;
    let mut count = 0;
    CONSTRAINTS.each(client, &[&table_oids(tx, Tables::Ours)?], |row| {
        let Some(definition) = get::<Option<&str>>(row, "definition")? else {
            return Ok(());
        };
        insert
            .execute(params![
                get::<Oid>(row, "oid")?,
                get::<Oid>(row, "table_oid")?,
                get::<Oid>(row, "index_oid")?,
                get::<&str>(row, "conname")?,
                get::<&str>(row, "contype")?,
                get::<bool>(row, "is_deferrable")?,
                get::<bool>(row, "is_deferred")?,
                get::<bool>(row, "is_temporal")?,
                definition,
            ])
            .map_err(ledger)?;
        count += 1;
        Ok(())
    })?;
    Ok(count)
}
