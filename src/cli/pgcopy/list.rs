//! `pgcopy list`: the tables that `pgcopy copy` would take, with rows and sizes.
//!
//! Runs in the main program. Reads the source; no lock, no work directory.

use super::super::output;
use super::args::ListArgs;
use super::{Call, ended, resolve};
use crate::datacopy::{self, ListedTable};
use crate::error::Result;
use crate::units::{pretty_bytes, pretty_count};
use std::process::ExitCode;

/// Runs the command.
pub(super) fn run(args: &ListArgs, call: &Call<'_>) -> Result<ExitCode> {
    let source = resolve::source(&args.source, &call.around())?;
    let choice = resolve::choice(&args.select)?;
    call.log_into(None)?;
    let listed = datacopy::list(&source, &call.env(), &choice, args.select.exact_rows);
    let printed = listed.and_then(|tables| {
        output::to_stdout(&if call.globals.json {
            json(&tables)
        } else {
            text(&tables)
        })
    });
    Ok(ended(printed))
}

fn totals(tables: &[ListedTable]) -> (u64, u64, bool) {
    let rows = tables.iter().filter_map(|table| table.rows).sum();
    let bytes = tables.iter().map(|table| table.bytes).sum();
    let is_known = tables.iter().all(|table| table.rows.is_some());
    (rows, bytes, is_known)
}

fn text(tables: &[ListedTable]) -> String {
    if tables.is_empty() {
        return "No tables found\n".to_owned();
    }
    let (rows, bytes, is_known) = totals(tables);
    let more = if is_known { "" } else { "+" };
    let mut lines: Vec<[String; 4]> = vec![
        ["SCHEMA", "TABLE", "ROW COUNT", "SIZE"].map(str::to_owned),
        ["------", "-----", "---------", "----"].map(str::to_owned),
    ];
    lines.extend(tables.iter().map(|table| {
        [
            table.schema.clone(),
            table.name.clone(),
            table.rows.map_or("?".to_owned(), pretty_count),
            pretty_bytes(table.bytes),
        ]
    }));
    lines.push(["------", "-----", "---------", "----"].map(str::to_owned));
    let count = match tables.len() {
        1 => "1 table".to_owned(),
        count => format!("{count} tables"),
    };
    lines.push([
        "TOTAL".to_owned(),
        count,
        format!("{}{more}", pretty_count(rows)),
        pretty_bytes(bytes),
    ]);
    let width = |column: usize| {
        lines
            .iter()
            .map(|line| line[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let shown: Vec<String> = lines
        .iter()
        .map(|line| {
            format!(
                "{:<a$}  {:<b$}  {:<c$}  {}\n",
                line[0],
                line[1],
                line[2],
                line[3],
                a = widths[0],
                b = widths[1],
                c = widths[2]
            )
        })
        .collect();
    shown.concat()
}

fn json(tables: &[ListedTable]) -> String {
    let (rows, bytes, _) = totals(tables);
    let all: Vec<serde_json::Value> = tables
        .iter()
        .map(|table| {
            serde_json::json!({
                "schema": table.schema, "name": table.name, "rows": table.rows,
                "rows_exact": table.rows_exact, "bytes": table.bytes,
            })
        })
        .collect();
    let document = serde_json::json!({
        "format": 1, "tables": all,
        "total": { "tables": tables.len(), "rows": rows, "bytes": bytes },
    });
    format!("{document:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_counts_are_question_marks_and_make_the_total_a_lower_bound() {
        let table = |name: &str, rows: Option<u64>, bytes: u64| ListedTable {
            schema: "public".to_owned(),
            name: name.to_owned(),
            rows,
            rows_exact: false,
            bytes,
        };
        let tables = [
            table("customers", Some(500_000), 88 << 20),
            table("fresh", None, 56 << 10),
        ];
        let expected = "\
SCHEMA  TABLE      ROW COUNT  SIZE
------  -----      ---------  ----
public  customers  500 000    88 MB
public  fresh      ?          56 kB
------  -----      ---------  ----
TOTAL   2 tables   500 000+   88 MB
";
        assert_eq!(text(&tables), expected);
        assert_eq!(text(&[]), "No tables found\n");
        let document: serde_json::Value = serde_json::from_str(&json(&tables)).unwrap();
        assert_eq!(document["tables"][1]["rows"], serde_json::Value::Null);
        assert_eq!(document["total"]["tables"], 2);
    }
}
