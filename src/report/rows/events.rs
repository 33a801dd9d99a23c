//! `--output json`: what happens, as one JSON object a line.
//!
//! The progress leaf sends what it sees in the ledger, the main program begins and ends the stream. What was sent is
//! noted in the ledger after it was printed, so that whoever comes next goes on there: an event may come twice after
//! a crash, and never not at all.

use super::view::{Key, Memory, Part, Reader, Table, View};
use crate::catalog::{DataPlan, Ledger, sqlite_error};
use crate::error::{Error, Result};
use crate::report::copied::{Summary, keys_json, outcome};
use crate::sys::clock;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// The format number of the stream.
const FORMAT: u32 = 1;
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Looks between two `progress` events.
const PROGRESS_EVERY: u32 = 4;

/// A stream: the name that all of its events carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Of this invocation of the program.
    pub name: String,
}

/// Seconds of a day.
const DAY: i64 = 86_400;

/// RFC 3339 in UTC with milliseconds.
fn time(epoch_ms: i64) -> String {
    let (seconds, ms) = (epoch_ms.div_euclid(1000), epoch_ms.rem_euclid(1000));
    let (days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Days since 0000-03-01, in eras of 400 years, so that a leap day is the last one of its year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// SQLSTATE and message of an error as the ledger has it.
pub(super) fn code_and_message(error: Option<&str>) -> (String, String) {
    let parsed: Option<Error> = error.and_then(|text| serde_json::from_str(text).ok());
    parsed.map_or_else(Default::default, |error| {
        let code = error.sqlstate().unwrap_or_default().to_owned();
        let message = error.lines().first().cloned().unwrap_or_default();
        (code, message)
    })
}

impl Stream {
    /// One event as a line.
    fn line(&self, event: &str, fields: Value) -> String {
        let mut all = serde_json::Map::new();
        all.insert("time".to_owned(), json!(time(clock::epoch_ms())));
        all.insert("event".to_owned(), json!(event));
        all.insert("run".to_owned(), json!(self.name));
        if let Value::Object(fields) = fields {
            all.extend(fields);
        }
        format!("{}\n", Value::Object(all))
    }

    fn send(&self, event: &str, fields: Value) {
        print(&self.line(event, fields));
    }

    /// The first line.
    pub fn start(&self, command: &str, source: &str, target: &str) {
        self.send(
            "start",
            json!({
                "format": FORMAT, "command": command, "version": env!("CARGO_PKG_VERSION"),
                "source": source, "target": target,
            }),
        );
    }

    /// The plan, and each of its warnings.
    pub fn plan(&self, plan: &DataPlan) {
        let fields = serde_json::to_value(plan).unwrap_or_default();
        self.send("plan", fields);
        for warning in &plan.warnings {
            self.send("warning", json!({ "message": warning }));
        }
    }

    /// What ended the run.
    pub fn error(&self, error: &Error) {
        let lines = error.lines();
        let part = |word: &str| lines.iter().find_map(|line| line.strip_prefix(word));
        self.send(
            "error",
            json!({
                "kind": error.kind().exit_code(), "message": lines.first(), "sqlstate": error.sqlstate(),
                "detail": part("DETAIL: "), "hint": part("HINT: "),
            }),
        );
    }

    /// The last line.
    pub fn summary(&self, summary: &Summary, error: Option<&Error>, resume: Option<&str>) {
        self.send(
            "summary",
            json!({
                "result": outcome(error), "exit": error.map_or(0, |e| e.kind().exit_code()),
                "tables": summary.tables.iter().filter(|table| table.is_done).count(),
                "rows": summary.rows(), "bytes": summary.bytes(), "ms": summary.elapsed_ms,
                "keys": keys_json(summary),
                "triggers": summary.triggers.1, "resume": resume,
            }),
        );
    }

    /// Sends what happens until `nap` ends it, which is returned.
    pub fn follow(
        &self,
        (ledger, run): (&Path, i64),
        nap: &dyn Fn(Duration) -> Result<()>,
    ) -> Result<()> {
        let mut reader = Reader::new(Ledger::open(ledger)?, run);
        let mut memory = Memory::default();
        let mut looks = 0;
        loop {
            let view = reader.read(clock::epoch_ms())?;
            self.send_new(&reader, &view)?;
            let sums = memory.sum(&view);
            if looks % PROGRESS_EVERY == 0 && !view.tables.is_empty() {
                let running: Vec<String> = view
                    .tables
                    .iter()
                    .filter(|table| table.is_running())
                    .map(Table::shown)
                    .collect();
                self.send(
                    "progress",
                    json!({
                        "phase": view.phase.name(), "percent": sums.percent,
                        "tables": { "done": sums.tables.0, "total": sums.tables.1 },
                        "rows": { "done": sums.rows.0, "total": sums.rows.1 },
                        "bytes": sums.bytes, "rate": sums.rate, "running": running,
                    }),
                );
            }
            looks += 1;
            if let Err(error) = nap(LOOK_EVERY) {
                self.catch_up(&mut reader)?;
                return Err(error);
            }
        }
    }

    /// Sends what nobody has sent, once no process of the run is left.
    pub fn finish(&self, ledger: &Path, run: i64) -> Result<()> {
        self.catch_up(&mut Reader::new(Ledger::open(ledger)?, run))
    }

    fn catch_up(&self, reader: &mut Reader) -> Result<()> {
        let view = reader.read(clock::epoch_ms())?;
        self.send_new(reader, &view)
    }

    fn send_new(&self, reader: &Reader, view: &View) -> Result<()> {
        let failed = |error: rusqlite::Error| sqlite_error("write", &error);
        let sent: HashSet<String> = reader
            .connection()
            .prepare_cached("select what from event_sent where stream = ?1")
            .and_then(|mut statement| {
                statement
                    .query_map([&self.name], |row| row.get(0))?
                    .collect()
            })
            .map_err(failed)?;
        let new: Vec<(String, &str, Value)> = events(view)
            .into_iter()
            .filter(|(what, ..)| !sent.contains(what))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        for (_, event, fields) in &new {
            self.send(event, fields.clone());
        }
        let noted: Vec<&str> = new.iter().map(|(what, ..)| what.as_str()).collect();
        reader
            .connection()
            .execute(
                "insert or ignore into event_sent (stream, what) select ?1, value from json_each(?2)",
                rusqlite::params![self.name, json!(noted).to_string()],
            )
            .map(|_| ())
            .map_err(failed)
    }
}

/// One write; a reader that went away is no reason to fail.
fn print(line: &str) {
    let _ignored = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Everything that a view says has happened, in order: what names it, event, fields.
fn events(view: &View) -> Vec<(String, &'static str, Value)> {
    let mut found = Vec::new();
    let removed = view.keys.len();
    if view.is_ready && (removed > 0 || view.triggers > 0) {
        let fields = json!({ "keys": removed, "triggers": view.triggers });
        found.push(("keys".to_owned(), "keys_removed", fields));
    }
    let mut parts: Vec<(&Table, &Part)> = view
        .tables
        .iter()
        .flat_map(|table| table.parts.iter().map(move |part| (table, part)))
        .filter(|(_, part)| part.started_at > 0)
        .collect();
    parts.sort_by_key(|(_, part)| (part.started_at, part.id));
    for (table, part) in parts {
        part_events(table, part, &mut found);
    }
    if let Some(count) = view.sequences {
        found.push((
            "sequences".to_owned(),
            "sequences",
            json!({ "count": count }),
        ));
    }
    for key in &view.keys {
        found.extend(key_event(key));
    }
    for (id, topic, line) in &view.notices {
        let fields = json!({ "topic": topic, "message": line });
        found.push((format!("notice {id}"), "warning", fields));
    }
    found
}

fn part_events(table: &Table, part: &Part, found: &mut Vec<(String, &'static str, Value)>) {
    let named = || {
        json!({
            "schema": table.schema, "table": table.name,
            "part": part.number.max(1), "parts": table.parts.len(),
        })
    };
    let with = |more: Value| {
        let mut fields = named();
        if let (Value::Object(fields), Value::Object(more)) = (&mut fields, more) {
            fields.extend(more);
        }
        fields
    };
    let id = part.id;
    if matches!(part.state.as_str(), "waiting" | "todo" | "claimed") {
        return;
    }
    found.push((format!("started {id}"), "table_started", named()));
    if part.state == "done" {
        let fields = with(json!({ "rows": part.rows, "bytes": part.bytes, "ms": part.elapsed_ms }));
        found.push((format!("done {id}"), "table_done", fields));
    }
    if part.state == "failed" {
        let (code, message) = code_and_message(part.error.as_deref());
        let fields = with(json!({ "sqlstate": code, "message": message }));
        found.push((format!("failed {id}"), "table_failed", fields));
    }
}

/// What became of a key; `None`: nothing yet.
fn key_event(key: &Key) -> Option<(String, &'static str, Value)> {
    let state = match (key.state.as_str(), &key.offenders) {
        ("added", _) => "added",
        // One that was NOT VALID before is back, and nobody validates it.
        ("valid" | "closed", _) if !key.is_valid => "added",
        ("valid" | "closed", _) => "valid",
        ("failed", Some(_)) => "not_valid",
        ("failed", None) if key.sqlstate.as_deref() != Some("23503") => "missing",
        _ => return None,
    };
    let mut fields =
        json!({ "child": key.child, "name": key.name, "parent": key.parent, "state": state });
    if let (Value::Object(fields), Some((rows, query))) = (&mut fields, &key.offenders) {
        fields.insert("offending_rows".to_owned(), json!(rows));
        fields.insert("query".to_owned(), json!(query));
    }
    Some((format!("key {} {state}", key.id), "key", fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(time(1_795_305_599_999), "2026-11-21T23:59:59.999Z");
        assert_eq!(time(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_table_that_came_and_went_between_two_looks_has_both_events() {
        let part = |state: &str| Part {
            id: 7,
            state: state.to_owned(),
            started_at: 5,
            rows: 3,
            ..Part::default()
        };
        let names = |state: &str| -> Vec<&'static str> {
            let table = Table {
                parts: vec![part(state)],
                ..Table::default()
            };
            let view = View {
                tables: vec![table],
                ..View::default()
            };
            events(&view)
                .into_iter()
                .map(|(_, event, _)| event)
                .collect()
        };
        assert_eq!(names("done"), ["table_started", "table_done"]);
        assert_eq!(names("running"), ["table_started"]);
        assert_eq!(names("failed"), ["table_started", "table_failed"]);
        assert!(names("todo").is_empty());
        assert!(names("claimed").is_empty());
    }
}
