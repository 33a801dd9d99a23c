//! Rows that share one statement, and how statements stand in an SQL file.
//!
//! Pure but for the output it is given. Memory is bounded by one run.

use super::statement::RowKind;
use super::{statement_hash, write_failed};
use crate::error::Result;
use crate::follow::json_line::write_string;
use std::io::Write;

/// Most parameters of a statement: the protocol counts them in 16 bits.
const PARAMS_MAX: usize = 65_535;
/// Most rows of a statement; longer ones gain nothing and make long texts.
const ROWS_MAX: usize = 1000;
/// Most bytes of values in a statement of several rows.
const BYTES_MAX: usize = 1 << 20;

/// Neighbouring rows of one table, kind and column list.
#[derive(Default)]
pub(super) struct Run {
    head: String,
    kind: Option<RowKind>,
    width: usize,
    rows: usize,
    /// The values as they stand between the brackets.
    arguments: Vec<u8>,
}

impl Run {
    /// Whether a row may join.
    pub(super) fn takes(&self, head: &str, kind: &RowKind, values: &[Option<&str>]) -> bool {
        let size: usize = values.iter().flatten().map(|value| value.len()).sum();
        self.rows > 0
            && self.rows < ROWS_MAX
            && (self.rows + 1) * self.width <= PARAMS_MAX
            && self.arguments.len() + size <= BYTES_MAX
            && self.head == head
            && self.kind.as_ref() == Some(kind)
    }

    /// Adds a row; the first one decides what may follow.
    pub(super) fn add(&mut self, head: String, kind: RowKind, values: &[Option<&str>]) {
        if self.rows == 0 {
            self.head = head;
            self.kind = Some(kind);
            self.width = values.len();
        }
        self.rows += 1;
        push_values(values, &mut self.arguments);
    }

    /// Writes the statement, if there is one, and is empty then.
    pub(super) fn write(&mut self, out: &mut impl Write) -> Result<()> {
        let Some(kind) = self.kind.take() else {
            return Ok(());
        };
        let sql = kind.statement(&self.head, self.rows, self.width);
        write_lines(out, &sql, &self.arguments)?;
        self.rows = 0;
        self.arguments.clear();
        self.arguments.shrink_to(2 * BYTES_MAX);
        Ok(())
    }
}

fn push_values(values: &[Option<&str>], out: &mut Vec<u8>) {
    for value in values {
        if !out.is_empty() {
            out.push(b',');
        }
        match value {
            Some(text) => write_string(text, out),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// Writes a statement of its own.
pub(super) fn write_statement(
    out: &mut impl Write,
    sql: &str,
    values: &[Option<&str>],
) -> Result<()> {
    let mut arguments = Vec::new();
    push_values(values, &mut arguments);
    write_lines(out, sql, &arguments)
}

fn write_lines(out: &mut impl Write, sql: &str, arguments: &[u8]) -> Result<()> {
    let hash = statement_hash(sql);
    let write = |out: &mut dyn Write| -> std::io::Result<()> {
        // A name may hold a newline, a line may not.
        let text = if sql.contains(['\n', '\r']) {
            std::borrow::Cow::Owned(one_line(sql))
        } else {
            std::borrow::Cow::Borrowed(sql)
        };
        writeln!(out, "PREPARE {hash:x} AS {text};")?;
        write!(out, "EXECUTE {hash:x}[")?;
        out.write_all(arguments)?;
        out.write_all(b"];\n")
    };
    write(&mut *out).map_err(|error| write_failed(&error))
}

/// Names with line ends in them become `U&"…"` names, which hold none.
pub(super) fn one_line(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut rest = sql;
    while let Some(start) = rest.find('"') {
        out.push_str(rest.get(..start).unwrap_or(""));
        let quoted = rest.get(start..).unwrap_or("");
        let mut end = 1;
        let bytes = quoted.as_bytes();
        while end < bytes.len() && (bytes[end] != b'"' || bytes.get(end + 1) == Some(&b'"')) {
            end += if bytes[end] == b'"' { 2 } else { 1 };
        }
        end = (end + 1).min(bytes.len());
        let name = quoted.get(..end).unwrap_or("");
        if name.contains(['\n', '\r']) {
            let escaped = name
                .replace('\\', "\\\\")
                .replace('\n', "\\000a")
                .replace('\r', "\\000d");
            out.push_str("U&");
            out.push_str(&escaped);
        } else {
            out.push_str(name);
        }
        rest = quoted.get(end..).unwrap_or("");
    }
    out.push_str(rest);
    out
}
