//! A change that the target refuses: what is said about it, and where it is written down.
//!
//! Runs in the apply process. Appends to `conflicts.jsonl` of the folder of change data. Values of rows
//! are not shown, but for the key that the server itself names.

use super::group::{Change, Group, Statement, Statements, Txn};
use super::recognize::Verb;
use crate::error::{Error, Kind, Result};
use crate::follow::files::{CdcDir, trouble};
use crate::sys::clock::local_time;
use crate::wire::ServerMessage;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

/// Why a change cannot be applied.
#[derive(Debug)]
pub(super) enum Why {
    /// The server refused.
    Refused(Box<ServerMessage>),
    /// It changed another number of rows than it should have.
    Rows { expected: u64, got: u64 },
    /// We refuse.
    Ours(Error),
}

/// The change and its transaction.
pub(super) struct Conflict {
    pub(super) why: Why,
    /// The transaction, where its end is known.
    pub(super) txn: Option<Txn>,
    pub(super) xid: u32,
    pub(super) file: String,
    pub(super) line: u64,
    pub(super) action: &'static str,
    pub(super) table: String,
    /// Columns and values that tell the row.
    pub(super) key: String,
    pub(super) statement: String,
}

fn action_of(verb: Verb) -> &'static str {
    match verb {
        Verb::Insert => "INSERT",
        Verb::Update => "UPDATE",
        Verb::Delete => "DELETE",
    }
}

/// `(a, b) = (1, 2)`, from the WHERE clause of a change's row.
fn key_of(group: &Group, statements: &Statements, change: usize, row: usize) -> String {
    let Some(Change::Rows {
        statement, first, ..
    }) = group.changes.get(change).map(|placed| &placed.change)
    else {
        return String::new();
    };
    let Some(Statement::Shape(shape)) = statements.get(*statement) else {
        return String::new();
    };
    let mut at = first + row * shape.width() + shape.set.len();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for key in &shape.keys {
        names.push(key.name.as_str());
        if key.is_null {
            values.push("null".to_owned());
            continue;
        }
        let text = group.values.text(group.values.cell(at)).unwrap_or_default();
        let short: String = String::from_utf8_lossy(text).chars().take(64).collect();
        values.push(short);
        at += 1;
    }
    if names.is_empty() {
        return String::new();
    }
    format!("({}) = ({})", names.join(", "), values.join(", "))
}

impl Conflict {
    /// Describes a change of a group.
    pub(super) fn new(
        why: Why,
        group: &Group,
        statements: &Statements,
        (change, row): (usize, usize),
        txn: Option<Txn>,
    ) -> Self {
        let placed = group.changes.get(change);
        let (action, table, statement) = match placed.map(|placed| &placed.change) {
            Some(Change::Rows { statement, .. }) => match statements.get(*statement) {
                Some(Statement::Shape(shape)) => (
                    action_of(shape.verb),
                    format!("\"{}\".\"{}\"", shape.table.0, shape.table.1),
                    format!("{} {}", action_of(shape.verb), shape.table.1),
                ),
                Some(Statement::Verbatim(sql)) => ("statement", String::new(), sql.clone()),
                None => ("statement", String::new(), String::new()),
            },
            Some(Change::Truncate(truncate)) => {
                let names: Vec<String> = truncate
                    .tables
                    .iter()
                    .map(|name| format!("\"{}\".\"{}\"", name.0, name.1))
                    .collect();
                ("TRUNCATE", names.join(", "), "TRUNCATE".to_owned())
            }
            Some(Change::Refresh(name)) => (
                "REFRESH",
                format!("\"{}\".\"{}\"", name.0, name.1),
                "REFRESH".to_owned(),
            ),
            Some(Change::Impossible(what)) => ("change", String::new(), what.clone()),
            None => ("COMMIT", String::new(), "COMMIT".to_owned()),
        };
        Self {
            why,
            xid: txn.as_ref().map_or(group.open_xid, |txn| txn.xid),
            txn,
            file: group.file.clone(),
            line: placed.map_or(0, |placed| placed.line),
            action,
            table,
            key: key_of(group, statements, change, row),
            statement,
        }
    }

    /// The error that ends applying.
    pub(super) fn error(&self) -> Error {
        let place = match &self.txn {
            Some(txn) => format!("transaction {} that ends at {}", self.xid, txn.end),
            None => format!("transaction {}", self.xid),
        };
        let what = if self.table.is_empty() {
            format!("{} of {place}", self.action)
        } else {
            format!("{} of table {} of {place}", self.action, self.table)
        };
        let mut facts = Vec::new();
        if self.line > 0 {
            facts.push(format!(
                "It stands in line {} of \"{}\".",
                self.line, self.file
            ));
        }
        if !self.key.is_empty() {
            facts.push(format!("The row is {}.", self.key));
        }
        let (mut error, hint) = match &self.why {
            Why::Ours(error) => {
                if let Some(detail) = error.detail_text() {
                    facts.push(detail.to_owned());
                }
                let own = error.hint_text().unwrap_or("Mend the cause, then resume.").to_owned();
                let message = format!("could not apply a {what}: {}", error.message());
                let mut made = Error::new(Kind::Target, message);
                if let Some(code) = error.sqlstate() {
                    made = made.with_sqlstate(code);
                }
                (made, own)
            }
            Why::Rows { expected, got } => (
                Error::new(
                    Kind::Target,
                    format!("could not apply a {what}: it changed {got} rows instead of {expected}"),
                ),
                "The target differs from what the source had there: somebody else wrote to it, or it was not copied \
                 whole. Put the row right on the target, then resume."
                    .to_owned(),
            ),
            Why::Refused(message) => {
                facts.extend(message.detail.clone());
                let text = format!("could not apply a {what}: {}: {}", message.severity, message.text);
                let error = Error::new(Kind::Target, text).with_sqlstate(message.code.clone());
                (error, hint_of(&message.code).to_owned())
            }
        };
        facts.push("All transactions before it are applied; nothing of it is.".to_owned());
        error = error.detail(facts.join("\n"));
        error.hint(hint)
    }

    /// Appends it to the list of conflicts, where there is one.
    pub(super) fn write_down(&self, cdc: Option<&CdcDir>) -> Result<()> {
        let Some(path) = cdc.filter(|cdc| cdc.top().is_dir()).map(CdcDir::conflicts) else {
            return Ok(());
        };
        let (sqlstate, message, detail, constraint) = match &self.why {
            Why::Refused(message) => (
                Some(message.code.clone()),
                message.text.clone(),
                message.detail.clone(),
                message.constraint.clone(),
            ),
            Why::Rows { expected, got } => (
                None,
                format!("{got} rows instead of {expected}"),
                None,
                None,
            ),
            Why::Ours(error) => (
                error.sqlstate().map(str::to_owned),
                error.message().to_owned(),
                None,
                None,
            ),
        };
        let line = serde_json::json!({
            "time": local_time("%Y-%m-%d %H:%M:%S"),
            "policy": "stop",
            "xid": self.xid,
            "end_lsn": self.txn.as_ref().map(|txn| txn.end.to_string()),
            "timestamp": self.txn.as_ref().map(|txn| txn.timestamp.clone()),
            "sql_file": self.file, "sql_line": self.line,
            "action": self.action, "table": self.table, "key": self.key,
            "sqlstate": sqlstate, "message": message, "detail": detail, "constraint": constraint,
            "statement": self.statement,
        });
        let write = || -> std::io::Result<()> {
            let mut file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .mode(0o600)
                .open(&path)?;
            file.write_all(format!("{line}\n").as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| trouble("write", &path, &error))
    }
}

fn hint_of(code: &str) -> &'static str {
    match code.get(..2) {
        Some("23") => {
            "The target has a row that the source had not at that point: somebody else wrote to it, or a table was \
             copied later. Put the row right on the target, then resume."
        }
        Some("42") => {
            "The target's tables differ from the source's. Change them in the same way, then resume."
        }
        Some("53") => "Make room on the target, then resume.",
        _ => "Mend the cause on the target, then resume.",
    }
}
