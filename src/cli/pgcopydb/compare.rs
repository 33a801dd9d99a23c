//! `pgcopydb compare schema` and `compare data`: resolve, compare, print what differs.
//!
//! Runs in the main program, which forks nothing meanwhile. Writes a file only where `--dir` is given.

use super::super::args::compare::{CompareArgs, CompareCommand};
use super::super::{Call, announce, output, resolve};
use crate::compare::{DataReport, RowSum, SchemaReport, TableReport, Verdict, What};
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::units::Side;
use crate::workdir::Layout;
use serde_json::json;

/// Least width of the column of names, which people's scripts know.
const NAME_WIDTH: usize = 30;
/// Width of a checksum.
const CHECKSUM_WIDTH: usize = 32;

/// Runs the command. Errors: those of the settings, of a server, and `Differences`.
pub(in crate::cli) fn run(command: &CompareCommand, call: &Call<'_>) -> Result<()> {
    let (args, name, text, document, result) = match command {
        CompareCommand::Schema(args) => {
            let settings = resolve::compare_schema(args, call.environment)?;
            announce();
            let report = (call.runs.compare_schema)(&settings, call.environment)?;
            let result = report.result();
            let document = schema_json(&report, &result);
            (&args.both, "schema", schema_text(&report), document, result)
        }
        CompareCommand::Data(args) => {
            let settings = resolve::compare_data(args, call.environment)?;
            announce();
            let report = (call.runs.compare_data)(&settings, call.environment)?;
            let result = report.result();
            let document = data_json(&report, &result);
            (&args.both, "data", data_text(&report), document, result)
        }
    };
    let document = format!("{document:#}\n");
    let written = write(args, name, &document);
    let printed = output::to_stdout(if call.globals.json { &document } else { &text });
    if result.is_ok() {
        log::info!("Source and target are the same: {name}");
    }
    if result.is_err()
        && let Err(error) = &written
    {
        // What differs is the command's result, and decides its exit code.
        crate::logging::report_error(error, false);
    }
    result.and(written).and(printed)
}

/// Writes the document into the directory that was given, if one was.
fn write(args: &CompareArgs, name: &str, document: &str) -> Result<()> {
    let Some(dir) = &args.dir else {
        return Ok(());
    };
    let layout = Layout::new(dir.clone());
    let path = layout.comparison(name)?;
    layout.write_file(&path, document.as_bytes())?;
    log::info!("Wrote the comparison to \"{}\"", path.display());
    Ok(())
}

fn word_of(result: &Result<()>) -> &'static str {
    match result.as_ref().map_err(Error::kind) {
        Ok(()) => "equal",
        Err(Kind::Differences) => "different",
        Err(_) => "failed",
    }
}

fn schema_text(report: &SchemaReport) -> String {
    let lines: Vec<String> = report
        .differences
        .iter()
        .map(|difference| format!("{}\n", difference.words()))
        .collect();
    lines.concat()
}

fn schema_json(report: &SchemaReport, result: &Result<()>) -> serde_json::Value {
    let counts: serde_json::Map<String, serde_json::Value> = report
        .counts
        .iter()
        .map(|(class, (source, target))| {
            (class.clone(), json!({"source": source, "target": target}))
        })
        .collect();
    let differences: Vec<serde_json::Value> = report
        .differences
        .iter()
        .map(|difference| {
            let (kind, fact, source, target) = match &difference.what {
                What::Only(Side::Source) => ("missing", None, None, None),
                What::Only(Side::Target) => ("extra", None, None, None),
                What::Fact {
                    fact,
                    source,
                    target,
                } => ("different", Some(fact), source.as_ref(), target.as_ref()),
            };
            json!({
                "database": difference.database, "class": difference.class, "name": difference.name, "detail": difference.detail,
                "object": difference.object(), "kind": kind, "fact": fact,
                "source": source, "target": target,
            })
        })
        .collect();
    json!({
        "format": 1, "result": word_of(result), "counts": counts, "differences": differences,
    })
}

/// Why a table is not equal, in words.
fn why(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Equal => None,
        Verdict::Only(side) => Some(format!("only on the {side}")),
        Verdict::Columns(words) => Some(words.clone()),
        Verdict::Rows => Some("other rows".to_owned()),
        Verdict::Failed(error) => Some(crate::logging::scrub(error.message())),
    }
}

fn data_json(report: &DataReport, result: &Result<()>) -> serde_json::Value {
    let side = |sum: &Option<RowSum>| {
        sum.map(|sum| json!({"rowcount": sum.rows, "checksum": sum.checksum()}))
    };
    let tables: Vec<serde_json::Value> = report
        .tables
        .iter()
        .map(|table| {
            json!({
                "database": table.database, "schema": table.schema, "name": table.name,
                "qname": quote::qualified(&table.schema, &table.name),
                "equal": matches!(table.verdict, Verdict::Equal), "why": why(&table.verdict),
                "source": side(&table.source), "target": side(&table.target),
            })
        })
        .collect();
    json!({
        "format": 1, "result": word_of(result), "differing": report.differing(), "tables": tables,
    })
}

fn data_text(report: &DataReport) -> String {
    let names: Vec<String> = report
        .tables
        .iter()
        .map(|table| match &table.database {
            None => format!("{}.{}", table.schema, table.name),
            Some(database) if table.name.is_empty() => format!("database {database}"),
            Some(database) => format!("{database}.{}.{}", table.schema, table.name),
        })
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).max(NAME_WIDTH);
    let mut text = format!(
        "\n{:>width$} | ! | {:>11} | {:>11} | {:>CHECKSUM_WIDTH$} | {:>CHECKSUM_WIDTH$}\n",
        "Table Name", "Source Rows", "Target Rows", "Source Checksum", "Target Checksum"
    );
    let rules = [width, 1, 11, 11, CHECKSUM_WIDTH, CHECKSUM_WIDTH].map(|width| "-".repeat(width));
    text.push_str(&rules.join("-+-"));
    text.push('\n');
    for (table, name) in report.tables.iter().zip(&names) {
        text.push_str(&line(table, name, width));
    }
    text.push('\n');
    text
}

fn line(table: &TableReport, name: &str, width: usize) -> String {
    let instead = |side| match &table.verdict {
        Verdict::Only(only) if *only == side => "there",
        Verdict::Only(_) => "missing",
        Verdict::Columns(_) => "other columns",
        Verdict::Failed(_) => "not compared",
        Verdict::Equal | Verdict::Rows => "",
    };
    let rows = |sum: &Option<RowSum>| sum.map_or(String::new(), |sum| sum.rows.to_string());
    let checksum = |sum: &Option<RowSum>, side| {
        sum.map_or_else(|| instead(side).to_owned(), |sum| sum.checksum())
    };
    format!(
        "{name:>width$} | {} | {:>11} | {:>11} | {:>CHECKSUM_WIDTH$} | {:>CHECKSUM_WIDTH$}\n",
        if matches!(table.verdict, Verdict::Equal) {
            ' '
        } else {
            '!'
        },
        rows(&table.source),
        rows(&table.target),
        checksum(&table.source, Side::Source),
        checksum(&table.target, Side::Target),
    )
}
