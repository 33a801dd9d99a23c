//! `list progress`: the figures of a run as a small table, and as JSON.
//!
//! Runs in the main program. Pure: figures in, text out. Table and keys are those that people's scripts
//! know; new keys are only added.

use super::figures::{AtWork, IndexAtWork, Progress, TableAtWork};
use super::progress::about;
use crate::sys::clock;
use crate::units::{pretty_bytes, pretty_rate};
use serde_json::{Value, json as object};

/// Version of the document's layout.
const FORMAT: u32 = 1;
/// Times as the document shows them.
const TIME: &str = "%Y-%m-%d %H:%M:%S %Z";

/// The table, and a line on rate and end while there are such.
pub fn text(progress: &Progress) -> String {
    let f = &progress.figures;
    let line = |cells: [&str; 4]| {
        let [name, total, running, done] = cells;
        format!("{name:>12} | {total:>12} | {running:>12} | {done:>12}\n")
    };
    let dashes = "-".repeat(12);
    let counts = |name, total: u64, running: u64, done: u64| {
        line([
            name,
            &total.to_string(),
            &running.to_string(),
            &done.to_string(),
        ])
    };
    let mut out = line(["", "Total Count", "In Progress", "Done"]);
    out.push_str(&line([&dashes; 4]).replace(" | ", "-+-"));
    out.push_str(&counts(
        "Tables",
        f.tables_total,
        f.tables_running,
        f.tables_done,
    ));
    out.push_str(&counts(
        "Indexes",
        f.indexes_total,
        f.indexes_running,
        f.indexes_done,
    ));
    out.push_str(&line([
        "Bytes",
        &pretty_bytes(f.bytes_total),
        &pretty_bytes(f.bytes_of_open_tables),
        &pretty_bytes(f.bytes_done.saturating_sub(f.bytes_of_open_tables)),
    ]));
    out.push('\n');
    if f.rate > 0 {
        let end = progress
            .left_ms
            .map(|left| format!(", copy ends in about {}", about(left)))
            .unwrap_or_default();
        out.push_str(&pretty_rate(f.rate, 1000));
        out.push_str(&end);
        out.push('\n');
    }
    out
}

/// The document.
pub fn document(progress: &Progress) -> Value {
    let f = &progress.figures;
    let of_done_tables = f.bytes_done.saturating_sub(f.bytes_of_open_tables);
    object!({
        "format": FORMAT,
        "tables": {
            "total": f.tables_total,
            "done": f.tables_done,
            "in-progress": progress.tables.iter().map(|table| a_table(table, progress.at))
                .collect::<Vec<Value>>(),
        },
        "indexes": {
            "total": f.indexes_total,
            "done": f.indexes_done,
            "in-progress": progress.indexes.iter().map(an_index).collect::<Vec<Value>>(),
        },
        "bytes": {
            "total": f.bytes_total,
            "done": of_done_tables,
            "in-progress": f.bytes_of_open_tables,
            "copied": f.bytes_done,
            "total-pretty": pretty_bytes(f.bytes_total),
            "done-pretty": pretty_bytes(of_done_tables),
            "in-progress-pretty": pretty_bytes(f.bytes_of_open_tables),
            "copied-pretty": pretty_bytes(f.bytes_done),
        },
        "rate": f.rate,
        "rate-pretty": pretty_rate(f.rate, 1000),
        "copy-ends-in": progress.left_ms.map(|left| left / 1000),
    })
}

fn a_table(table: &TableAtWork, now: i64) -> Value {
    let mut process = a_process(&table.process);
    let elapsed_ms = u64::try_from(now - table.process.started_at).unwrap_or(0);
    process["network"] = object!({
        "bytes": table.process.bytes,
        "bytes-pretty": pretty_bytes(table.process.bytes),
        "transmit-rate": pretty_rate(table.process.bytes, elapsed_ms),
    });
    object!({
        "oid": table.oid,
        "schema": table.schema,
        "name": table.name,
        "qname": table.qname,
        "reltuples": table.reltuples,
        "bytes": table.bytes,
        "bytes-pretty": pretty_bytes(table.bytes),
        "exclude-data": table.exclude_data,
        "restore-list-name":
            restore_list_name(&table.schema, &table.name, table.owner.as_deref()),
        "part": table.part.map(|(number, total)| object!({ "number": number, "total": total })),
        "process": process,
    })
}

fn an_index(index: &IndexAtWork) -> Value {
    object!({
        "oid": index.oid,
        "schema": index.schema,
        "name": index.name,
        "qname": index.qname,
        "sql": index.definition,
        "table": index.table,
        "process": a_process(&index.process),
    })
}

fn a_process(process: &AtWork) -> Value {
    object!({
        "pid": process.pid,
        "start-time-epoch": process.started_at / 1000,
        "start-time-string": clock::local_time_at(process.started_at, TIME),
    })
}

/// How a relation is named in the list of an archive: raw names, in one line.
pub(super) fn restore_list_name(schema: &str, name: &str, owner: Option<&str>) -> String {
    [schema, name, owner.unwrap_or("")]
        .join(" ")
        .replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::LEDGER;
    use super::*;
    use crate::catalog::Ledger;

    fn progress() -> Progress {
        let ledger = Ledger::in_memory().unwrap();
        ledger.connection().execute_batch(LEDGER).unwrap();
        Progress::read(&ledger, 90_000, true).unwrap()
    }

    const EXPECTED: &str = "             |  Total Count |  In Progress |         Done
-------------+--------------+--------------+-------------
      Tables |            2 |            1 |            1
     Indexes |            2 |            0 |            1
       Bytes |       1244 B |        400 B |        444 B

";

    #[test]
    fn the_table_looks_as_scripts_know_it_and_the_rate_stands_below() {
        let mut progress = progress();
        assert_eq!(text(&progress), EXPECTED);
        progress.figures.rate = 45_750_000;
        progress.left_ms = Some(352_000);
        let below = "\n\n366 MBit/s, copy ends in about 5m52s\n";
        assert!(text(&progress).ends_with(below), "{}", text(&progress));
    }

    #[test]
    fn the_document_keeps_the_known_keys() {
        let document = document(&progress());
        assert_eq!(document["tables"]["total"], 2);
        let table = &document["tables"]["in-progress"][0];
        assert_eq!(table["qname"], "s.a");
        assert_eq!(table["process"]["pid"], 7);
        assert_eq!(table["process"]["network"]["bytes-pretty"], "100 B");
        assert_eq!(document["indexes"]["done"], 1);
        let bytes = &document["bytes"];
        assert_eq!(
            (&bytes["done"], &bytes["in-progress"]),
            (&444.into(), &400.into())
        );
        assert_eq!(bytes["copied"], 844);
        assert_eq!(document["copy-ends-in"], Value::Null);
    }

    #[test]
    fn a_name_in_an_archive_list_takes_one_line() {
        assert_eq!(restore_list_name("s", "a\r\nb", None), "s a  b ");
    }
}
