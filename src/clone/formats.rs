//! How each table is written on the target: which kind it is there, and which format its columns allow.
//!
//! Runs in the pre-data and plan processes, once the target's tables are there. Reads the target's
//! catalogs, and those of the source for its types; writes `s_copy`.

use super::pre_data::{PreDataInput, TABLES_PER_QUERY, table_names};
use super::settings::FormatChoice;
use crate::catalog::{Ledger, Run, sqlite_error};
use crate::error::Result;
use crate::pg::{PgSession, Profile};
use crate::schema::copy_format::{
    Column, Format, FormatFacts, FormatPolicy, copy_format, fetch_types,
};
use crate::schema::select_list::select_list;
use crate::schema::target;
use crate::units::{Oid, Side};
use rusqlite::{Connection, params};

/// Looks at the target's tables: which kind they are, and which format their columns allow.
pub(super) fn look_at_target_tables(
    input: &PreDataInput,
    ledger: &mut Ledger,
    target: &mut PgSession,
) -> Result<()> {
    if Run::marked(ledger.connection(), "target-tables")?.is_some() {
        return Ok(());
    }
    let policy = match input.settings.copy_format {
        FormatChoice::Auto => FormatPolicy::Auto,
        FormatChoice::Text => FormatPolicy::Text,
        FormatChoice::Binary => FormatPolicy::Binary,
    };
    let mut facts = FormatFacts {
        same_datetimes: input.prepared.source()?.integer_datetimes
            == input.prepared.target()?.integer_datetimes,
        target_version: input.prepared.target()?.version,
        source_types: std::collections::HashMap::new(),
        target_types: std::collections::HashMap::new(),
    };
    if policy == FormatPolicy::Binary {
        facts.source_types = types_of(input, ledger)?;
    }
    let names = table_names(ledger, i64::MAX)?;
    let run = input.means.run;
    for batch in names.chunks(TABLES_PER_QUERY) {
        let pairs: Vec<target::RelationName> = batch
            .iter()
            .map(|(_, nspname, relname)| (nspname.clone(), relname.clone()))
            .collect();
        let found = target::fetch_tables(&mut target.client, &pairs)?;
        if policy == FormatPolicy::Binary {
            let oids: Vec<Oid> = found
                .iter()
                .flatten()
                .flat_map(|table| table.columns.iter().map(|column| column.type_oid))
                .collect();
            facts.target_types = fetch_types(&mut target.client, Side::Target, &oids)?;
        }
        ledger.write(|tx| {
            for ((oid, _, _), table) in batch.iter().zip(&found) {
                write_format(tx, *oid, table.as_ref(), (policy, &facts))?;
            }
            Ok(())
        })?;
    }
    ledger.write(|tx| run.mark(tx, "target-tables", ""))
}

fn types_of(input: &PreDataInput, ledger: &Ledger) -> Result<crate::schema::copy_format::TypeMap> {
    let read = || -> rusqlite::Result<Vec<Oid>> {
        ledger
            .connection()
            .prepare("select distinct type_oid from s_attr")?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    let oids = read().map_err(|error| sqlite_error("read", &error))?;
    let mut source = input
        .means
        .source()?
        .session("restore pre-data", &Profile::Catalog)?;
    fetch_types(&mut source.client, Side::Source, &oids)
}

fn write_format(
    tx: &Connection,
    oid: Oid,
    table: Option<&target::TargetTable>,
    (policy, facts): (FormatPolicy, &FormatFacts),
) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    let columns = tx
        .prepare_cached(
            "select attname, type_oid, typmod from s_attr where table_oid = ?1 and generated = 0
              order by attnum",
        )
        .and_then(|mut statement| {
            statement
                .query_map([oid], |row| {
                    Ok(Column {
                        attname: row.get(0)?,
                        type_oid: row.get(1)?,
                        typmod: row.get(2)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<Column>>>()
        })
        .map_err(failed)?;
    let theirs: Vec<Column> = table
        .map(|table| {
            table
                .columns
                .iter()
                .filter(|column| !column.generated)
                .map(|column| Column {
                    attname: column.attname.clone(),
                    type_oid: column.type_oid,
                    typmod: column.typmod,
                })
                .collect()
        })
        .unwrap_or_default();
    let format = match copy_format(&columns, &theirs, policy, facts) {
        Format::Text => "text",
        Format::Binary => "binary",
    };
    let list: Vec<&str> = columns
        .iter()
        .map(|column| column.attname.as_str())
        .collect();
    tx.prepare_cached(
        "insert or replace into s_copy (table_oid, columns, select_list, format, target_kind)
         values (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut statement| {
        let kind = table.map_or("r", |table| table.relkind.as_str());
        statement.execute(params![
            oid,
            list.join(", "),
            select_list(&columns, &theirs),
            format,
            kind
        ])
    })
    .map(|_| ())
    .map_err(failed)
}
