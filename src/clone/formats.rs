//! How each table is written on the target: which kind it is there, and which format its columns allow.
//!
//! Runs in the pre-data and plan processes, once the target's tables are there. Reads the target's
//! catalogs, and those of the source for its types; writes `s_copy`. Columns that the target has in
//! another form are told: their rows arrive, but not as they were.

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

/// First oid that is not the same on every server.
const FIRST_USER_OID: Oid = 16_384;

/// Most columns that are named one by one.
const TOLD_MAX: usize = 100;

/// A column that the target has in another form.
struct Altered {
    table: Oid,
    column: String,
    how: How,
}

/// In which one.
enum How {
    /// Types of both sides, with their modifiers.
    Type((Oid, i32), (Oid, i32)),
    /// Generated on the source alone, which therefore sends nothing for it.
    NotGenerated,
}

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
    let mut altered = Vec::new();
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
                altered.extend(write_format(tx, *oid, table.as_ref(), (policy, &facts))?);
            }
            Ok(())
        })?;
    }
    for line in told(target, &names, &altered)? {
        log::warn!("{line}");
        run.notice(ledger.connection(), "column of another form", &line)?;
    }
    ledger.write(|tx| {
        tx.execute(
            "update s_copy set emptying = 'spread'
              where emptying = 'new' and table_oid in (select oid from s_spread)",
            [],
        )
        .map_err(|error| sqlite_error("write", &error))?;
        run.mark(tx, "target-tables", "")
    })
}

/// A line for each of these columns.
fn told(
    target: &mut PgSession,
    names: &[(Oid, String, String)],
    altered: &[Altered],
) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for one in altered.iter().take(TOLD_MAX) {
        let name = names
            .iter()
            .find(|(oid, _, _)| *oid == one.table)
            .map(|(_, nspname, relname)| format!("{nspname}.{relname}"))
            .unwrap_or_default();
        let column = format!("Column {} of table {name}", one.column);
        lines.push(match one.how {
            How::Type(source, twin) => {
                let row = target.query_one(
                    "select pg_catalog.format_type($1, $2), pg_catalog.format_type($3, $4)",
                    &[&source.0, &source.1, &twin.0, &twin.1],
                )?;
                let (ours, theirs): (String, String) = (row.get(0), row.get(1));
                format!(
                    "{column} is {ours} on the source and {theirs} on the target: \
                     its values are converted, and may be rounded"
                )
            }
            How::NotGenerated => {
                format!("{column} is generated on the source alone: its values are not copied")
            }
        });
    }
    if let Some(more) = altered.len().checked_sub(TOLD_MAX).filter(|more| *more > 0) {
        lines.push(format!(
            "{more} more columns are of another type or kind on the target"
        ));
    }
    Ok(lines)
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
) -> Result<Vec<Altered>> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    let columns = tx
        .prepare_cached(
            "select attname, type_oid, typmod, generated from s_attr where table_oid = ?1
              order by attnum",
        )
        .and_then(|mut statement| {
            statement
                .query_map([oid], |row| {
                    let column = Column {
                        attname: row.get(0)?,
                        type_oid: row.get(1)?,
                        typmod: row.get(2)?,
                    };
                    Ok((column, row.get(3)?))
                })?
                .collect::<rusqlite::Result<Vec<(Column, bool)>>>()
        })
        .map_err(failed)?;
    let (generated, columns): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|(_, generated)| *generated);
    let plain = |columns: Vec<(Column, bool)>| columns.into_iter().map(|(column, _)| column);
    let columns: Vec<Column> = plain(columns).collect();
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
    let mut altered = altered_types(oid, &columns, &theirs);
    altered.extend(
        plain(generated)
            .filter(|column| theirs.iter().any(|twin| twin.attname == column.attname))
            .map(|column| Altered {
                table: oid,
                column: column.attname,
                how: How::NotGenerated,
            }),
    );
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
    .map_err(failed)?;
    Ok(altered)
}

/// Columns of built-in types that the target has with another type or modifier.
fn altered_types(table: Oid, columns: &[Column], theirs: &[Column]) -> Vec<Altered> {
    let find = |column: &Column| {
        theirs
            .iter()
            .find(|twin| twin.attname == column.attname && *twin != column)
            .filter(|twin| twin.type_oid.max(column.type_oid) < FIRST_USER_OID)
            .map(|twin| Altered {
                table,
                column: column.attname.clone(),
                how: How::Type(
                    (column.type_oid, column.typmod),
                    (twin.type_oid, twin.typmod),
                ),
            })
    };
    columns.iter().filter_map(find).collect()
}
