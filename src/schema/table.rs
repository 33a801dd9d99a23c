//! Lists the tables of the source, with their sizes, and those that are loaded through an ancestor.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source, writes `s_table`. Must not look
//! at rows of tables, nor keep locks on them.

use postgres::{GenericClient, Row};
use rusqlite::{Statement, Transaction, params};

use super::query::{Query, get, ledger};
use super::{FetchOptions, clear};
use crate::error::Result;
use crate::units::Oid;

const LIST: Query = Query::source("list the tables", include_str!("sql/list_tables.sql"));

const ROUTES: Query = Query::source(
    "list the hash partitions",
    include_str!("sql/list_routes.sql"),
);

const REWRITTEN: Query = Query::source(
    "list the tables that were rewritten",
    include_str!("sql/list_rewritten_tables.sql"),
);

const INSERT: &str = "insert into s_table (oid, nspname, relname, qname, owner, relkind, amname, \
    persistence, filenode, relpages, bytes, main_bytes, reltuples, is_extension, part_key, \
    part_key_type, part_key_notnull) \
    values (?1, ?2, ?3, ?4, ?5, 'r', ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// First version with hash partitioning.
const HASH_PARTITION_VERSION: u32 = 110_000;

/// Fills `s_table`; a table that was dropped since the snapshot has size 0. Waits for exclusive
/// locks that others hold, unless sizes are estimated.
pub fn fetch_tables(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
    options: &FetchOptions,
) -> Result<u64> {
    clear(tx, "delete from s_table")?;
    let mut insert = tx.prepare(INSERT).map_err(ledger)?;
    let count = LIST.each(client, &[&options.estimate_sizes], |row| {
        write_table(&mut insert, row)
    })?;
    distrust_sizes(client, tx, *options)?;
    Ok(count)
}

/// Gives a size to tables that may have rows although none was measured: an estimate of a table that
/// was never analyzed, and the size of a file that took another one's place. Whoever then finds no
/// row in a file that was replaced must not take that for the truth.
fn distrust_sizes(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
    options: FetchOptions,
) -> Result<()> {
    if options.estimate_sizes {
        tx.execute("update s_table set bytes = 1 where bytes = 0", [])
            .map_err(ledger)?;
    }
    let mut update = tx
        .prepare("update s_table set bytes = max(bytes, 1) where oid = ?1")
        .map_err(ledger)?;
    REWRITTEN.each(client, &[], |row| {
        update
            .execute([get::<Oid>(row, "oid")?])
            .map(|_| ())
            .map_err(ledger)
    })?;
    Ok(())
}

fn write_table(insert: &mut Statement<'_>, row: &Row) -> Result<()> {
    let main_bytes: i64 = get::<Option<i64>>(row, "main_bytes")?.unwrap_or(0);
    let bytes = main_bytes + get::<i64>(row, "toast_bytes")?;
    let relpages = main_bytes / get::<i64>(row, "block_size")?.max(1);
    insert
        .execute(params![
            get::<Oid>(row, "oid")?,
            get::<&str>(row, "nspname")?,
            get::<&str>(row, "relname")?,
            get::<&str>(row, "qname")?,
            get::<Option<&str>>(row, "owner")?,
            get::<&str>(row, "amname")?,
            get::<&str>(row, "persistence")?,
            get::<Oid>(row, "filenode")?,
            relpages,
            bytes,
            main_bytes,
            get::<i64>(row, "reltuples")?,
            get::<bool>(row, "is_extension")?,
            get::<Option<&str>>(row, "part_key")?,
            get::<Option<&str>>(row, "part_key_type")?,
            get::<Option<bool>>(row, "part_key_notnull")?.unwrap_or(false),
        ])
        .map_err(ledger)?;
    Ok(())
}

/// Notes in `s_table` the partitions whose rows may belong to another leaf on the target.
pub fn fetch_routes(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
    options: &FetchOptions,
) -> Result<u64> {
    if options.version.0 < HASH_PARTITION_VERSION {
        return Ok(0);
    }
    let mut update = tx
        .prepare("update s_table set route_oid = ?2, route_qname = ?3 where oid = ?1")
        .map_err(ledger)?;
    let mut routed = 0;
    ROUTES.each(client, &[&options.encodings_differ], |row| {
        let (oid, route_oid): (Oid, Oid) = (get(row, "oid")?, get(row, "route_oid")?);
        let route_qname: &str = get(row, "route_qname")?;
        let changed = update
            .execute(params![oid, route_oid, route_qname])
            .map_err(ledger)?;
        routed += changed as u64;
        Ok(())
    })?;
    Ok(routed)
}
