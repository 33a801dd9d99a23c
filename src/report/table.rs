//! The summary as text: one table of tables, one of steps, then what a person must be told.
//!
//! Runs in the main program. Pure: figures in, text out. Layouts are those that people's scripts know.

use super::summary::{StepFigures, Summary, TableFigures};
use crate::units::{pretty_bytes, pretty_ms};

/// Headings of the table of tables.
const HEADINGS: [&str; 8] = [
    "OID",
    "Schema",
    "Name",
    "Parts",
    "copy duration",
    "transmitted bytes",
    "indexes",
    "create index",
];

/// The whole text.
pub fn text(summary: &Summary) -> String {
    let mut out = tables(&summary.tables);
    out.push_str(&steps(&summary.steps));
    out.push_str(&notices(&summary.notices));
    out
}

/// Splits a quoted, schema-qualified name between its two identifiers.
pub(super) fn split_qname(qname: &str) -> (&str, &str) {
    let mut quoted = false;
    for (position, letter) in qname.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '.' if !quoted => return (&qname[..position], &qname[position + 1..]),
            _ => {}
        }
    }
    ("", qname)
}

fn cells(table: &TableFigures) -> [String; 8] {
    let (schema, name) = split_qname(&table.qname);
    [
        table.oid.to_string(),
        schema.to_owned(),
        name.to_owned(),
        table.parts.to_string(),
        pretty_ms(table.copy_ms),
        pretty_bytes(table.bytes),
        table.indexes.len().to_string(),
        pretty_ms(table.build_ms),
    ]
}

/// The table of tables; nothing when there is none.
fn tables(tables: &[TableFigures]) -> String {
    grid(&HEADINGS, tables, |table| cells(table).to_vec())
}

/// The same for tables of several databases, whose names stand first.
pub(super) fn tables_of_all(tables: &[(&str, &TableFigures)]) -> String {
    let headings = [&["Database"][..], &HEADINGS[..]].concat();
    grid(&headings, tables, |(database, table)| {
        [vec![(*database).to_owned()], cells(table).to_vec()].concat()
    })
}

/// Rows under headings, right-aligned; nothing when there is none. Cells are made as they are needed: first
/// for the widths of columns.
fn grid<T>(headings: &[&str], rows: &[T], cells: impl Fn(&T) -> Vec<String>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut widths: Vec<usize> = headings.iter().map(|heading| heading.len()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(cells(row)) {
            *width = cell.chars().count().max(*width);
        }
    }
    let line = |cells: &[&str]| -> String {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:>width$}"))
            .collect();
        padded.join(" | ")
    };
    let dashes: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut out = format!("\n{} \n{}\n", line(headings), dashes.join("-+-"));
    for row in rows {
        let cells = cells(row);
        let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
        out.push_str(&line(&cells));
        out.push('\n');
    }
    out.push('\n');
    out
}

/// The table of steps, with the total below a second rule.
pub fn steps(steps: &[StepFigures]) -> String {
    let line = |cells: [&str; 5]| {
        let [label, connection, duration, transfer, concurrency] = cells;
        format!(
            " {label:>50}   {connection:>10}  {duration:>10}  {transfer:>10}  {concurrency:>12}\n"
        )
    };
    let (rule, short, last) = ("-".repeat(50), "-".repeat(10), "-".repeat(12));
    let rule = line([&rule, &short, &short, &short, &last]);
    let mut out = format!(
        "\n{}{rule}",
        line(["Step", "Connection", "Duration", "Transfer", "Concurrency"])
    );
    for (position, step) in steps.iter().enumerate() {
        if position + 1 == steps.len() {
            out.push_str(&rule);
        }
        let transfer = if step.bytes == 0 {
            String::new()
        } else {
            pretty_bytes(step.bytes)
        };
        let (duration, concurrency) = (pretty_ms(step.duration_ms), step.concurrency.to_string());
        out.push_str(&line([
            step.label,
            step.connection,
            &duration,
            &transfer,
            &concurrency,
        ]));
    }
    out.push('\n');
    out
}

/// What a person must be told; nothing when there is nothing.
pub(super) fn notices(notices: &[(String, String)]) -> String {
    if notices.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = notices
        .iter()
        .map(|(topic, line)| format!("  {topic}: {line}\n"))
        .collect();
    format!("Not done, or to be looked at:\n{}\n", lines.concat())
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::{WORKERS, ledger};
    use super::*;

    const EXPECTED: &str = r#"
  OID | Schema |       Name | Parts | copy duration | transmitted bytes | indexes | create index 
------+--------+------------+-------+---------------+-------------------+---------+-------------
16563 |   shop |     orders |     2 |         645ms |           5566 kB |       1 |         62ms
16570 |   shop | "Odd Name" |     1 |           7ms |             120 B |       0 |          0ms


                                               Step   Connection    Duration    Transfer   Concurrency
 --------------------------------------------------   ----------  ----------  ----------  ------------
   Catalog Queries (table ordering, filtering, etc)       source       119ms                         1
                                        Dump Schema       source        66ms                         1
                                     Prepare Schema       target        92ms                         1
      COPY, INDEX, CONSTRAINTS, VACUUM (wall clock)         both       8s000                        12
                                  COPY (cumulative)         both       652ms     5566 kB             4
                          CREATE INDEX (cumulative)       target        40ms                         4
                           CONSTRAINTS (cumulative)       target        22ms                         4
                                VACUUM (cumulative)       target        61ms                         4
                                    Reset Sequences         both         0ms                         1
                         Large Objects (cumulative)         both         0ms                         4
                                    Finalize Schema         both        31ms                         4
 --------------------------------------------------   ----------  ----------  ----------  ------------
                          Total Wall Clock Duration         both       9s352                        20

"#;

    #[test]
    fn both_tables_look_as_scripts_know_them() {
        let summary = Summary::read(&ledger(), WORKERS).unwrap();
        assert_eq!(text(&summary), EXPECTED);
    }

    #[test]
    fn notices_follow_and_no_table_is_printed_without_tables() {
        let mut summary = Summary::read(&ledger(), WORKERS).unwrap();
        summary.tables.clear();
        summary.notices = vec![(
            "comments".to_owned(),
            "extension \"postgis\": not allowed".to_owned(),
        )];
        let text = text(&summary);
        assert!(!text.contains("OID"));
        let end =
            "\nNot done, or to be looked at:\n  comments: extension \"postgis\": not allowed\n\n";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn names_are_split_at_the_dot_between_them() {
        assert_eq!(split_qname("a.b"), ("a", "b"));
        assert_eq!(
            split_qname(r#""a.b"."c""d.e""#),
            (r#""a.b""#, r#""c""d.e""#)
        );
    }
}
