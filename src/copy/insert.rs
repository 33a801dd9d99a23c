//! Rows as INSERT of many at a time, for targets that refuse COPY.
//!
//! Runs in copy workers. Reads COPY in text format, which has one line a row, and writes each value as a constant
//! without a type: the server takes it for the column's. Both sessions talk UTF8.

use super::task::Task;
use super::write::Moved;
use crate::error::{Error, Kind, Result};
use crate::pg::quote;
use crate::wire;

/// Bytes read at once.
const FRAME_BYTES: usize = 256 * 1024;
/// A statement is sent when it is this long, whatever the number of its rows, bytes.
const STATEMENT_MAX: usize = 4 * 1024 * 1024;

/// A statement in the making.
struct Batch {
    head: String,
    sql: String,
    rows: u64,
    /// A table without columns takes one row a statement.
    is_bare: bool,
}

impl Batch {
    fn new(task: &Task) -> Self {
        let (table, columns) = (task.target_qname.as_str(), task.columns.as_str());
        Self {
            head: format!("insert into {table} ({columns}) overriding system value values "),
            sql: String::new(),
            rows: 0,
            is_bare: columns.is_empty(),
        }
    }

    fn add(&mut self, line: &str, task: &Task) -> Result<()> {
        self.rows += 1;
        if self.is_bare {
            self.sql
                .push_str(&["insert into ", &task.target_qname, " default values;"].concat());
            return Ok(());
        }
        if self.sql.is_empty() {
            self.sql.push_str(&self.head);
        } else {
            self.sql.push(',');
        }
        let mut separator = '(';
        for field in line.split('\t') {
            self.sql.push(separator);
            match value(field)? {
                Some(text) => self.sql.push_str(&quote::literal(&text)),
                None => self.sql.push_str("null"),
            }
            separator = ',';
        }
        self.sql.push(')');
        Ok(())
    }

    /// Sends what there is; returns the rows that the target took.
    fn send(&mut self, target: &mut wire::Session) -> Result<u64> {
        if self.rows == 0 {
            return Ok(0);
        }
        // Statements with values of rows are neither logged nor shown.
        let results = target.simple_as(&self.sql, &self.head)?;
        let taken = results
            .iter()
            .filter_map(|result| result.tag.strip_prefix("INSERT 0 ")?.parse::<u64>().ok())
            .sum();
        self.sql.clear();
        self.rows = 0;
        Ok(taken)
    }
}

/// A field of a line; `None`: null. Errors: an escape that no server writes.
fn value(field: &str) -> Result<Option<String>> {
    if field == "\\N" {
        return Ok(None);
    }
    if !field.contains('\\') {
        return Ok(Some(field.to_owned()));
    }
    let mut text = String::with_capacity(field.len());
    let mut letters = field.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            text.push(letter);
            continue;
        }
        text.push(match letters.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some('\\') => '\\',
            _ => {
                return Err(Error::new(
                    Kind::Source,
                    "a row of COPY has an escape that is not known",
                ));
            }
        });
    }
    Ok(Some(text))
}

/// Copies one unit inside transactions that are open on both sides. Errors: the side that failed; row counts
/// that differ are a failure of the target.
pub(super) fn copy(
    source: &mut wire::Session,
    target: &mut wire::Session,
    (task, rows_max): (&Task, u32),
    on_bytes: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Moved> {
    let mut out = source.copy_out(&task.copy_out_sql())?;
    let mut batch = Batch::new(task);
    let (mut pending, mut bytes, mut taken) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let before = pending.len();
        let more = out.read(&mut pending, FRAME_BYTES)?;
        let read = u64::try_from(pending.len() - before).unwrap_or(0);
        bytes += read;
        on_bytes(read)?;
        let whole = pending
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let rest = pending.split_off(whole);
        for line in pending.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let text = std::str::from_utf8(line).map_err(|_| {
                Error::new(Kind::Source, "a row of COPY is not UTF8").hint("Leave --insert out.")
            })?;
            batch.add(text, task)?;
            if batch.rows >= u64::from(rows_max) || batch.sql.len() >= STATEMENT_MAX {
                taken += batch.send(target)?;
            }
        }
        pending = rest;
        if !more {
            break;
        }
    }
    taken += batch.send(target)?;
    let read = out.finish()?;
    if read != taken {
        return Err(Error::new(
            Kind::Target,
            format!(
                "the source sent {read} rows of {}, the target took {taken}",
                task.qname
            ),
        )
        .hint("Look for triggers or rules on the target table."));
    }
    Ok(Moved { rows: read, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_the_server_writes_them() {
        assert_eq!(value("\\N").unwrap(), None);
        assert_eq!(value("").unwrap().as_deref(), Some(""));
        assert_eq!(
            value("a\\tb\\\\N\\n").unwrap().as_deref(),
            Some("a\tb\\N\n")
        );
        for bad in ["\\", "a\\x41", "\\q"] {
            assert!(value(bad).is_err(), "{bad}");
        }
    }
}
