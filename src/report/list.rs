//! The lists of what there is on the source, as text and as JSON.
//!
//! Runs in the main program. Pure: rows in, text out. Columns, widths and keys are those that people's
//! scripts know. Text shows names as SQL quotes them, JSON has them raw, with the quoted form beside.

use super::list_progress::restore_list_name;
use super::table::split_qname;
use crate::inspect::{
    Collation, Column, Database, Dependent, Extension, ExtensionVersions, Index, Part, Sequence,
    Table,
};
use crate::units::{Oid, pretty_bytes};
use serde_json::{Value, json as object};
use std::collections::HashMap;

/// Dashes below a heading whose column takes the rest of the line.
const REST_DASHES: usize = 10;

/// Where a cell stands in its column.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// To the right, in at least so many characters.
    Right(usize),
    /// To the left, in at least so many characters.
    Left(usize),
    /// The rest of the line.
    Rest,
}

use Place::{Left, Rest, Right};

/// A table of fixed widths, which longer values overflow, and an empty line after it.
fn grid(columns: &[(&str, Place)], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>, joint: &str| -> String {
        let padded: Vec<String> = cells
            .into_iter()
            .zip(columns)
            .map(|(cell, (_, place))| match place {
                Right(width) => format!("{cell:>width$}"),
                Left(width) => format!("{cell:<width$}"),
                Rest => cell,
            })
            .collect();
        padded.join(joint) + "\n"
    };
    let headings = columns.iter().map(|(heading, _)| (*heading).to_owned());
    let dashes = columns.iter().map(|(_, place)| match place {
        Right(width) | Left(width) => "-".repeat(*width),
        Rest => "-".repeat(REST_DASHES),
    });
    let mut out = line(headings.collect(), " | ");
    out.push_str(&line(dashes.collect(), "-+-"));
    for row in rows {
        let cells = row.iter().map(|cell| one_line(cell)).collect();
        out.push_str(&line(cells, " | "));
    }
    out.push('\n');
    out
}

/// A name may hold a line break, a row may not.
fn one_line(cell: &str) -> String {
    let mut out = String::with_capacity(cell.len());
    for letter in cell.chars() {
        match letter {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            letter if letter.is_control() => out.push('?'),
            letter => out.push(letter),
        }
    }
    out
}

fn array<T>(rows: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(rows.iter().map(one).collect())
}

fn number(oid: Option<Oid>) -> String {
    oid.map(|oid| oid.to_string()).unwrap_or_default()
}

/// `list databases`.
pub fn databases(rows: &[Database]) -> String {
    let columns = [
        ("OID", Right(10)),
        ("Database Name", Right(20)),
        ("On-disk size", Right(20)),
    ];
    let cells = rows.iter().map(|row| {
        vec![
            row.oid.to_string(),
            row.qname.clone(),
            row.bytes.map(pretty_bytes).unwrap_or_default(),
        ]
    });
    grid(&columns, cells)
}

/// `list databases --json`.
pub fn databases_json(rows: &[Database]) -> Value {
    array(rows, |row| {
        object!({
            "oid": row.oid, "name": row.name, "qname": row.qname,
            "bytes": row.bytes, "bytes-pretty": row.bytes.map(pretty_bytes),
        })
    })
}

/// `list extensions`.
pub fn extensions(rows: &[Extension]) -> String {
    let columns = [
        ("OID", Right(10)),
        ("Name", Right(25)),
        ("Schema", Right(20)),
        ("Count", Right(10)),
        ("Config", Rest),
    ];
    let cells = rows.iter().map(|row| {
        let config: Vec<&str> = row.config.iter().map(|one| one.qname.as_str()).collect();
        vec![
            row.oid.to_string(),
            row.name.clone(),
            row.schema.clone(),
            config.len().to_string(),
            config.join(","),
        ]
    });
    grid(&columns, cells)
}

/// `list extensions --json`.
pub fn extensions_json(rows: &[Extension]) -> Value {
    array(rows, |row| {
        object!({
            "oid": row.oid, "name": row.name, "schema": row.schema,
            "config": array(&row.config, |one| object!({ "schema": one.schema, "name": one.name })),
        })
    })
}

/// `list extensions --available-versions`.
pub fn available_versions(rows: &[ExtensionVersions]) -> String {
    let columns = [
        ("Name", Right(20)),
        ("Default", Right(20)),
        ("Available", Rest),
    ];
    let cells = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.default.clone().unwrap_or_default(),
            Value::from(row.versions.clone()).to_string(),
        ]
    });
    grid(&columns, cells)
}

/// `list extensions --available-versions --json`.
pub fn available_versions_json(rows: &[ExtensionVersions]) -> Value {
    array(
        rows,
        |row| object!({ "name": row.name, "default": row.default, "versions": row.versions }),
    )
}

/// `list extensions --requirements`.
pub fn requirements(rows: &[ExtensionVersions]) -> String {
    let columns = [("Name", Right(30)), ("Version", Rest)];
    let cells = rows
        .iter()
        .filter_map(|row| Some(vec![row.name.clone(), row.default.clone()?]));
    grid(&columns, cells)
}

/// `list extensions --requirements --json`, which `clone --requirements` reads.
pub fn requirements_json(rows: &[ExtensionVersions]) -> Value {
    let entries = rows
        .iter()
        .filter_map(|row| Some(object!({ "name": row.name, "version": row.default.as_ref()? })));
    Value::Array(entries.collect())
}

/// `list collations`.
pub fn collations(rows: &[Collation]) -> String {
    let columns = [
        ("OID", Right(10)),
        ("Name", Right(20)),
        ("Object name", Left(20)),
    ];
    let cells = rows
        .iter()
        .map(|row| vec![row.oid.to_string(), row.name.clone(), row.object.clone()]);
    grid(&columns, cells)
}

/// `list collations --json`.
pub fn collations_json(rows: &[Collation]) -> Value {
    array(rows, |row| {
        object!({
            "oid": row.oid, "schema": row.schema, "name": row.name, "qname": row.qname,
            "object": row.object,
        })
    })
}

/// `list tables`.
pub fn tables(rows: &[Table]) -> String {
    let columns = [
        ("OID", Right(8)),
        ("Schema Name", Right(20)),
        ("Table Name", Right(20)),
        ("Est. Row Count", Right(15)),
        ("On-disk size", Right(15)),
    ];
    let cells = rows.iter().map(|row| {
        let (schema, name) = split_qname(&row.qname);
        vec![
            row.oid.to_string(),
            schema.to_owned(),
            name.to_owned(),
            row.reltuples.to_string(),
            pretty_bytes(row.bytes),
        ]
    });
    grid(&columns, cells)
}

/// A table in every document.
fn table(row: &Table) -> Value {
    let mut document = object!({
        "oid": row.oid, "schema": row.schema, "name": row.name, "qname": row.qname,
        "reltuples": row.reltuples, "bytes": row.bytes, "bytes-pretty": pretty_bytes(row.bytes),
        "exclude-data": row.exclude_data,
        "restore-list-name": restore_list_name(&row.schema, &row.name, row.owner.as_deref()),
        "part-key": row.part_key.as_deref().unwrap_or(""),
    });
    if !row.parts.is_empty() {
        document["parts"] = parts(&row.parts);
    }
    document
}

/// `list tables --json`.
pub fn tables_json(rows: &[Table]) -> Value {
    array(rows, |row| {
        let mut document = table(row);
        document["has-primary-key"] = Value::from(row.has_pkey);
        document
    })
}

/// Last page or key of a part.
fn last(part: &Part) -> Option<i64> {
    part.high.map(|high| high.saturating_sub(1))
}

fn parts(rows: &[Part]) -> Value {
    array(rows, |part| {
        object!({
            "number": part.number, "total": rows.len(),
            "kind": if part.is_ctid { "ctid" } else { "key" },
            "min": part.low, "max": last(part), "count": count(part), "with-null": part.with_null,
        })
    })
}

/// Pages or keys between two bounds; with an open end nobody knows.
fn count(part: &Part) -> Option<i64> {
    part.high?.checked_sub(part.low?)
}

/// `list table-parts`; an open end is -1.
pub fn table_parts(rows: &[Part]) -> String {
    let columns = [
        ("Part", Right(12)),
        ("Min", Right(12)),
        ("Max", Right(12)),
        ("Count", Right(12)),
    ];
    let cells = rows.iter().map(|part| {
        let bound = |value: Option<i64>| match value {
            Some(page) if part.is_ctid => format!("({page},0)"),
            value => value.unwrap_or(-1).to_string(),
        };
        vec![
            format!("{}/{}", part.number, rows.len()),
            bound(part.low),
            bound(last(part)),
            count(part).unwrap_or(-1).to_string(),
        ]
    });
    grid(&columns, cells)
}

/// `list table-parts --json`; `reason` is why the table is copied whole.
pub fn table_parts_json(row: &Table, reason: Option<&str>) -> Value {
    let mut document = table(row);
    document["parts"] = parts(&row.parts);
    document["reason"] = Value::from(reason);
    document
}

/// `list sequences`.
pub fn sequences(rows: &[Sequence]) -> String {
    let columns = [
        ("OID", Right(8)),
        ("Schema Name", Right(20)),
        ("Sequence Name", Right(30)),
        ("Owned By", Right(10)),
        ("attrelid", Right(10)),
        ("attroid", Right(10)),
    ];
    let cells = rows.iter().map(|row| {
        let (schema, name) = split_qname(&row.qname);
        vec![
            row.oid.to_string(),
            schema.to_owned(),
            name.to_owned(),
            number(row.owned_by),
            number(row.default_of),
            number(row.default_oid),
        ]
    });
    grid(&columns, cells)
}

/// `list sequences --json`.
pub fn sequences_json(rows: &[Sequence]) -> Value {
    array(rows, |row| {
        object!({
            "oid": row.oid, "schema": row.schema, "name": row.name, "qname": row.qname,
            "owned-by": row.owned_by, "attrelid": row.default_of, "attroid": row.default_oid,
            "restore-list-name": restore_list_name(&row.schema, &row.name, row.owner.as_deref()),
        })
    })
}

/// `list depends`.
pub fn depends(rows: &[Dependent]) -> String {
    let columns = [
        ("Schema Name", Right(20)),
        ("Table Name", Right(30)),
        ("Catalog", Right(8)),
        ("OID", Right(8)),
        ("Type", Right(20)),
        ("Identity", Rest),
    ];
    let cells = rows.iter().map(|row| {
        vec![
            row.schema.clone(),
            row.table.clone(),
            row.catalog.to_string(),
            row.oid.to_string(),
            row.kind.clone(),
            row.identity.clone(),
        ]
    });
    grid(&columns, cells)
}

/// `list depends --json`.
pub fn depends_json(rows: &[Dependent]) -> Value {
    array(rows, |row| {
        object!({
            "schema": row.schema, "name": row.table, "catalog": row.catalog, "oid": row.oid,
            "type": row.kind, "identity": row.identity, "reason": row.reason,
        })
    })
}

/// `list indexes`. That of an exclusion constraint is made by the constraint, and has no statement.
pub fn indexes(rows: &[Index]) -> String {
    let columns = [
        ("OID", Right(8)),
        ("Schema", Right(10)),
        ("Index Name", Right(20)),
        ("Constraint Name", Right(20)),
        ("Constraint", Right(25)),
        ("DDL", Rest),
    ];
    let cells = rows.iter().map(|row| {
        let (schema, name) = split_qname(&row.qname);
        let constraint = row.constraint.as_ref();
        let excludes = constraint.is_some_and(|constraint| constraint.kind == "x");
        let unless_excluding = |text: &str| {
            if excludes {
                String::new()
            } else {
                text.to_owned()
            }
        };
        vec![
            row.oid.to_string(),
            schema.to_owned(),
            unless_excluding(name),
            constraint.map(|one| one.qname.clone()).unwrap_or_default(),
            constraint
                .map(|one| one.definition.clone())
                .unwrap_or_default(),
            unless_excluding(&row.definition),
        ]
    });
    grid(&columns, cells)
}

/// `list indexes --json`.
pub fn indexes_json(rows: &[Index]) -> Value {
    array(rows, index)
}

fn index(row: &Index) -> Value {
    let owner = row.table.owner.as_deref();
    let mut document = object!({
        "oid": row.oid, "schema": row.schema, "name": row.name, "qname": row.qname,
        "isPrimary": row.is_primary, "isUnique": row.is_unique, "columns": row.columns,
        "sql": row.definition,
        "restore-list-name": restore_list_name(&row.schema, &row.name, owner),
        "table": {
            "oid": row.table.oid, "schema": row.table.schema, "name": row.table.name,
            "qname": row.table.qname,
        },
    });
    if let Some(constraint) = &row.constraint {
        let tag = format!("{} {}", row.table.name, constraint.name);
        document["constraint"] = object!({
            "oid": constraint.oid, "name": constraint.name, "qname": constraint.qname,
            "sql": constraint.definition,
            "restore-list-name": restore_list_name(&row.table.schema, &tag, owner),
        });
    }
    document
}

/// What `list schema` knows beside the objects.
#[derive(Clone, Debug, Default)]
pub struct SchemaSetup {
    /// Snapshot of the run that the catalogs were taken from.
    pub snapshot: Option<String>,
    /// Without secrets.
    pub source_uri: String,
    /// Without secrets; `None`: no run says.
    pub target_uri: Option<String>,
    /// Size from which on tables are split, 0: never.
    pub split_bytes: u64,
}

/// Everything that `list schema` prints.
#[derive(Clone, Debug)]
pub struct Schema<'a> {
    /// How and of what.
    pub setup: &'a SchemaSetup,
    /// Tables.
    pub tables: &'a [Table],
    /// Columns by table.
    pub columns: &'a HashMap<Oid, Vec<Column>>,
    /// Indexes.
    pub indexes: &'a [Index],
    /// Sequences with values.
    pub sequences: &'a [Sequence],
}

/// `list schema`.
pub fn schema_json(schema: &Schema<'_>) -> Value {
    let mut setup = serde_json::Map::new();
    let mut put = |key: &str, value: Value| setup.insert(key.to_owned(), value);
    if let Some(snapshot) = &schema.setup.snapshot {
        put("snapshot", Value::from(snapshot.as_str()));
    }
    put(
        "source_pguri",
        Value::from(schema.setup.source_uri.as_str()),
    );
    if let Some(target) = &schema.setup.target_uri {
        put("target_pguri", Value::from(target.as_str()));
    }
    // A list starts no workers.
    put("table-jobs", Value::from(0));
    put("index-jobs", Value::from(0));
    put(
        "split-tables-larger-than",
        Value::from(schema.setup.split_bytes),
    );
    let none = Vec::new();
    object!({
        "format": 1,
        "setup": setup,
        "tables": array(schema.tables, |row| {
            let mut document = table(row);
            document["cols"] = array(schema.columns.get(&row.oid).unwrap_or(&none), column);
            document
        }),
        "indexes": array(schema.indexes, index),
        "sequences": array(schema.sequences, |row| object!({
            "oid": row.oid, "schema": row.schema, "name": row.name, "qname": row.qname,
            "last-value": row.value.map(|(last, _)| last),
            "is-called": row.value.map(|(_, called)| called),
            "restore-list-name": restore_list_name(&row.schema, &row.name, row.owner.as_deref()),
        })),
    })
}

fn column(row: &Column) -> Value {
    object!({
        "attnum": row.attnum, "atttypid": row.type_oid, "attname": row.name,
        "attisprimary": row.is_primary, "attisreplident": row.is_identity,
        "attisgenerated": row.is_generated,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, is_ctid: bool, low: Option<i64>, high: Option<i64>) -> Part {
        Part {
            number,
            is_ctid,
            low,
            high,
            with_null: false,
        }
    }

    #[test]
    fn widths_are_those_that_scripts_know_and_longer_values_overflow() {
        let rows = [Database {
            oid: 16_384,
            name: "a \"very\" long name\nof ü".to_owned(),
            qname: "\"a \"\"very\"\" long name\nof ü\"".to_owned(),
            bytes: Some(9_708 << 10),
        }];
        let expected = "       OID |        Database Name |         On-disk size
-----------+----------------------+---------------------
     16384 | \"a \"\"very\"\" long name\\nof ü\" |              9708 kB

";
        assert_eq!(databases(&rows), expected);
        assert_eq!(databases_json(&rows)[0]["name"], rows[0].name);
    }

    #[test]
    fn parts_show_open_ends_as_minus_one_in_text_and_null_in_json() {
        let keys = [
            part(1, false, None, Some(-5)),
            part(2, false, Some(-5), None),
        ];
        let expected = "        Part |          Min |          Max |        Count
-------------+--------------+--------------+-------------
         1/2 |           -1 |           -6 |           -1
         2/2 |           -5 |           -1 |           -1

";
        assert_eq!(table_parts(&keys), expected);
        let pages = [
            part(1, true, Some(0), Some(128)),
            part(2, true, Some(128), None),
        ];
        assert!(
            table_parts(&pages)
                .contains("\n         1/2 |        (0,0) |      (127,0) |          128\n")
        );
        let document = parts(&pages);
        assert_eq!(
            (&document[0]["count"], &document[1]["max"]),
            (&128.into(), &Value::Null)
        );
    }

    #[test]
    fn requirements_leave_out_what_has_no_default_version() {
        let rows = ["a", "b"].map(|name| ExtensionVersions {
            name: name.to_owned(),
            default: (name == "b").then(|| "1.0".to_owned()),
            versions: vec!["0.9".to_owned(), "1.0".to_owned()],
        });
        assert_eq!(
            requirements_json(&rows).to_string(),
            r#"[{"name":"b","version":"1.0"}]"#
        );
        assert!(available_versions(&rows).ends_with(" | [\"0.9\",\"1.0\"]\n\n"));
    }
}
