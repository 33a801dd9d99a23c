//! The summary as JSON, for `summary.json` and `clone --json`.
//!
//! Runs in the main program. Pure: figures in, text out. Keys are those of the existing program, which
//! people's scripts read; new ones are only added.

use super::all::Together;
use super::summary::{Build, Summary, TableFigures};
use crate::error::{Error, Result};
use crate::units::{pretty_bytes, pretty_ms, pretty_rate};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json as object};

/// Version of the document's layout.
const FORMAT: u32 = 1;

/// How the run ended, as far as there is something to sum up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything is done.
    Done,
    /// It went to its end, and left something undone.
    Flawed,
}

/// The document, indented, with a final newline.
pub fn json(summary: &Summary, outcome: Outcome) -> Result<String> {
    pretty(&Document { summary, outcome })
}

/// The same, written as it is made: that of many tables is larger than all that is known of them.
pub fn write_json(
    out: &mut dyn std::io::Write,
    summary: &Summary,
    outcome: Outcome,
) -> std::io::Result<()> {
    write_pretty(out, &Document { summary, outcome })
}

/// The document of all databases of a cluster: sums at the top, each database with its tables below.
pub fn json_of_all(all: &Together, outcome: Outcome) -> Result<String> {
    let mut whole = head(&all.sums, outcome);
    whole["notices"] = notices(&all.sums);
    whole["databases"] = all
        .databases
        .iter()
        .map(|(name, summary)| {
            let one = head(summary, outcome);
            object!({
                "database": name,
                "duration": one["duration"],
                "steps": one["steps"],
                "tables": summary.tables.iter().map(table).collect::<Vec<Value>>(),
                "notices": notices(summary),
            })
        })
        .collect();
    pretty(&whole)
}

/// The document of a run. Its tables become JSON one after the other.
struct Document<'a> {
    summary: &'a Summary,
    outcome: Outcome,
}

/// The tables of a document.
struct Tables<'a>(&'a [TableFigures]);

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut keys = serializer.serialize_map(None)?;
        let head = head(self.summary, self.outcome);
        for (key, value) in head.as_object().into_iter().flatten() {
            keys.serialize_entry(key, value)?;
        }
        keys.serialize_entry("tables", &Tables(&self.summary.tables))?;
        keys.serialize_entry("notices", &notices(self.summary))?;
        keys.end()
    }
}

impl Serialize for Tables<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(table))
    }
}

/// What stands before the tables.
fn head(summary: &Summary, outcome: Outcome) -> Value {
    let workers = summary.workers;
    object!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "result": match outcome { Outcome::Done => "done", Outcome::Flawed => "flawed" },
        "started": summary.started_at / 1000,
        "finished": summary.finished_at / 1000,
        "duration": summary.total_ms(),
        "setup": {
            "table-jobs": workers.table,
            "index-jobs": workers.index,
            "restore-jobs": workers.restore,
            "large-objects-jobs": workers.blob,
        },
        "steps": summary.steps.iter().map(|step| object!({
            "label": step.label,
            "conn": step.connection,
            "duration": step.duration_ms,
            "duration_pretty": pretty_ms(step.duration_ms),
            "bytes": step.bytes,
            "concurrency": step.concurrency,
        })).collect::<Vec<Value>>(),
    })
}

/// What stands behind the tables.
fn notices(summary: &Summary) -> Value {
    let one = |(topic, line): &(String, String)| object!({ "topic": topic, "line": line });
    summary.notices.iter().map(one).collect()
}

/// A document, indented as people's scripts know it, with a final newline.
pub fn pretty(document: &impl Serialize) -> Result<String> {
    let mut out = Vec::new();
    write_pretty(&mut out, document)
        .map_err(|error| Error::internal(format!("could not print a document: {error}")))?;
    String::from_utf8(out).map_err(|_| Error::internal("a document is not UTF-8"))
}

fn write_pretty(out: &mut dyn std::io::Write, document: &impl Serialize) -> std::io::Result<()> {
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, formatter);
    document.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

fn table(table: &TableFigures) -> Value {
    object!({
        "oid": table.oid,
        "schema": table.schema,
        "name": table.name,
        "qname": table.qname,
        "parts": table.parts,
        "duration": table.copy_ms,
        "network": {
            "bytes": table.bytes,
            "bytes-pretty": pretty_bytes(table.bytes),
            "transmit-rate": pretty_rate(table.bytes, table.copy_ms),
        },
        "index": { "count": table.indexes.len(), "duration": table.build_ms },
        "indexes": table.indexes.iter().map(build).collect::<Vec<Value>>(),
        "constraints": table.constraints.iter().map(build).collect::<Vec<Value>>(),
    })
}

fn build(build: &Build) -> Value {
    object!({
        "oid": build.oid,
        "schema": build.schema,
        "name": build.name,
        "qname": build.qname,
        "sql": build.sql,
        "ms": build.elapsed_ms,
    })
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::{WORKERS, ledger};
    use super::*;

    #[test]
    fn the_document_keeps_the_known_keys_and_has_raw_names() {
        let mut summary = Summary::read(&ledger(), WORKERS).unwrap();
        summary.notices = vec![("owner".to_owned(), "no such role".to_owned())];
        let text = json(&summary, Outcome::Done).unwrap();
        assert!(text.starts_with("{\n    \"format\": 1,\n") && text.ends_with("}\n"));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["setup"]["table-jobs"], 4);
        assert_eq!(document["steps"][0]["label"], summary.steps[0].label);
        assert_eq!(document["steps"][1]["duration_pretty"], " 66ms");
        assert_eq!(
            (&document["started"], &document["result"]),
            (&1.into(), &"done".into())
        );
        let odd = &document["tables"][1];
        assert_eq!(odd["name"], "Odd Name");
        assert_eq!(odd["qname"], "shop.\"Odd Name\"");
        let orders = &document["tables"][0];
        assert_eq!(orders["network"]["bytes-pretty"], "5566 kB");
        assert_eq!(orders["network"]["transmit-rate"], "70 MBit/s");
        assert_eq!(orders["index"], object!({ "count": 1, "duration": 62 }));
        assert_eq!(orders["indexes"][0]["name"], "orders_pkey");
        assert_eq!(orders["constraints"][0]["ms"], 22);
        assert_eq!(document["notices"][0]["topic"], "owner");
    }
}
