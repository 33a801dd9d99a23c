//! Lists what belongs to the database as a whole: schemas, settings, relations to analyze, and
//! whether it has large objects.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source, writes `s_namespace`,
//! `s_database_property`, `s_database_statement` and `s_analyze`. Must not apply any of it.

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::clear;
use super::query::{Query, get, ledger, unsigned};
use crate::error::Result;
use crate::units::Oid;

const NAMESPACES: Query =
    Query::source("list the schemas", include_str!("sql/list_namespaces.sql"));

const PROPERTIES: Query = Query::source(
    "list the settings of the database",
    include_str!("sql/list_database_properties.sql"),
);

const STATEMENTS: Query = Query::source(
    "list comment and privileges of the database",
    include_str!("sql/list_database_statements.sql"),
);

const ANALYZE: Query = Query::source(
    "list partitioned tables and materialized views",
    include_str!("sql/list_analyze.sql"),
);

const PROBE_LARGE_OBJECTS: Query = Query::source(
    "look for large objects",
    include_str!("sql/probe_large_objects.sql"),
);

const COUNT_LARGE_OBJECTS: Query = Query::source(
    "count the large objects",
    include_str!("sql/count_large_objects.sql"),
);

/// Fills `s_namespace`.
pub fn fetch_namespaces(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_namespace")?;
    let mut insert = tx
        .prepare("insert into s_namespace values (?1, ?2, ?3)")
        .map_err(ledger)?;
    NAMESPACES.each(client, &[], |row| {
        let (oid, nspname): (Oid, &str) = (get(row, "oid")?, get(row, "nspname")?);
        let owner: Option<&str> = get(row, "owner")?;
        insert
            .execute(params![oid, nspname, owner])
            .map(|_| ())
            .map_err(ledger)
    })
}

/// Fills `s_database_property`, in the order to apply them.
pub fn fetch_database_properties(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
) -> Result<u64> {
    clear(tx, "delete from s_database_property")?;
    let mut insert = tx
        .prepare("insert into s_database_property values (?1, ?2)")
        .map_err(ledger)?;
    PROPERTIES.each(client, &[], |row| {
        let rolname: Option<&str> = get(row, "rolname")?;
        let setconfig: &str = get(row, "setconfig")?;
        insert
            .execute(params![rolname, setconfig])
            .map(|_| ())
            .map_err(ledger)
    })
}

/// Fills `s_database_statement`, in the order to run them.
pub fn fetch_database_statements(
    client: &mut impl GenericClient,
    tx: &Transaction<'_>,
) -> Result<u64> {
    clear(tx, "delete from s_database_statement")?;
    let mut insert = tx
        .prepare("insert into s_database_statement values (?1, ?2, ?3)")
        .map_err(ledger)?;
    STATEMENTS.each(client, &[], |row| {
        let (topic, head, tail): (&str, &str, &str) =
            (get(row, "topic")?, get(row, "head")?, get(row, "tail")?);
        insert
            .execute(params![topic, head, tail])
            .map(|_| ())
            .map_err(ledger)
    })
}

/// Fills `s_analyze`.
pub fn fetch_analyze(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_analyze")?;
    let mut insert = tx
        .prepare("insert into s_analyze values (?1, ?2, ?3, ?4)")
        .map_err(ledger)?;
    ANALYZE.each(client, &[], |row| {
        let (oid, depth): (Oid, i32) = (get(row, "oid")?, get(row, "depth")?);
        let (qname, relkind): (&str, &str) = (get(row, "qname")?, get(row, "relkind")?);
        insert
            .execute(params![oid, qname, relkind, depth])
            .map(|_| ())
            .map_err(ledger)
    })
}

/// Tells whether the snapshot has large objects.
pub fn has_large_objects(client: &mut impl GenericClient) -> Result<bool> {
    PROBE_LARGE_OBJECTS.one(client, |row| get(row, "found"))
}

/// Counts the large objects of the snapshot: a scan of their catalog.
pub fn count_large_objects(client: &mut impl GenericClient) -> Result<u64> {
    COUNT_LARGE_OBJECTS.one(client, |row| Ok(unsigned(get(row, "count")?)))
}
