//! From JSON lines to SQL lines, in arrival order, with bounded memory.
//!
//! Runs in the transform process, and in the main program for `stream transform`. Reads JSON lines of
//! a file or a pipe, writes SQL lines; opens no connection. What it writes is a cache that can be made
//! again. Lines of an SQL file:
//!
//! ```text
//! BEGIN; -- {"xid":493,"lsn":L,"timestamp":T[,"commit_lsn":L]}     commit_lsn: the end LSN, where known
//! PREPARE d003ca15 AS INSERT INTO public.t (a, b) overriding system value VALUES ($1, $2);
//! EXECUTE d003ca15["1",null];
//! TRUNCATE ONLY public.t
//! COMMIT; -- {"xid":493,"lsn":END,"timestamp":T}     ROLLBACK; -- {…}
//! -- KEEPALIVE {"lsn":L,"timestamp":T}     -- SWITCH WAL {"lsn":L}     -- ENDPOS {"lsn":L}     -- JOIN {"lsn":L}
//! -- CONFLICT {"action":A,"schema":S,"table":T,"reason":R}     a change that no statement can make
//! ```

mod file;
mod ident;
mod live;
mod lookup3;
mod run;
mod statement;

pub use file::{Options, transform_file, transform_folder, transform_stream};
pub use live::Live;
use lookup3::statement_hash;

use super::change::{Change, Decoded, Table, decode};
use super::json_line::{Action, JsonLine, write_string};
use super::source_table::SourceTables;
use crate::error::{Error, Result};
use crate::units::Lsn;
use run::Run;
use statement::Made;
use std::collections::VecDeque;
use std::io::Write;

/// What is known of a transaction's end before its end is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The end LSN.
    lsn: String,
    /// When it was committed.
    timestamp: String,
}

/// The transaction whose lines are being read.
#[derive(Debug, PartialEq, Eq)]
enum Open {
    /// None.
    No,
    /// Begun, and nothing of it written yet: the text of its BEGIN line.
    Held(String),
    /// Begun, here or in an earlier file.
    Written,
}

/// Figures of a transformation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines read.
    pub messages: u64,
    /// Transactions whose end was read.
    pub transactions: u64,
    /// The last end of a transaction or keepalive that was read.
    pub reached: Lsn,
}

/// The transaction that was continued from an earlier file and ended in this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Continued {
    xid: u32,
    end: End,
}

/// Turns lines into lines.
pub(super) struct Transform<'a, W: Write> {
    out: W,
    tables: &'a SourceTables,
    keep_no_op: bool,
    /// Ends of the transactions that begin, in order; empty where nothing is known.
    ends: VecDeque<Option<End>>,
    open: Open,
    /// Whether the open transaction began before the first line.
    from_before: bool,
    run: Run,
    counts: Counts,
    continued: Vec<Continued>,
    /// Flush the output at the end of a transaction: somebody waits for it.
    eager: bool,
}

impl<'a, W: Write> Transform<'a, W> {
    pub(super) fn new(out: W, tables: &'a SourceTables, keep_no_op: bool) -> Self {
        Self {
            out,
            tables,
            keep_no_op,
            ends: VecDeque::new(),
            open: Open::No,
            from_before: true,
            run: Run::default(),
            counts: Counts::default(),
            continued: Vec::new(),
            eager: false,
        }
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.out
            .write_all(text.as_bytes())
            .map_err(|error| write_failed(&error))
    }

    /// Takes one line, without its newline.
    pub(super) fn line(&mut self, text: &str) -> Result<()> {
        let line = JsonLine::parse(text)?;
        self.counts.messages += 1;
        match line.action {
            Action::Begin => self.begin(&line),
            Action::Commit => self.commit(&line),
            Action::Rollback => self.rollback(&line),
            Action::Message => Ok(()),
            Action::Keepalive => {
                self.counts.reached = line.lsn;
                self.mark("KEEPALIVE", &line)
            }
            Action::Switch => self.mark("SWITCH WAL", &line),
            Action::End => self.mark("ENDPOS", &line),
            Action::Join => self.mark("JOIN", &line),
            Action::Insert | Action::Update | Action::Delete | Action::Truncate => {
                match decode(&line)? {
                    Decoded::Change(change) => self.change(&change),
                    Decoded::Nothing => Ok(()),
                }
            }
        }
    }

    fn begin(&mut self, line: &JsonLine<'_>) -> Result<()> {
        if self.open == Open::Written {
            // The copy of a transaction that was not received whole: it is sent again.
            self.end_run()?;
            self.write("ROLLBACK; -- {\"lsn\":\"0/0\"}\n")?;
        }
        let end = self.ends.pop_front().flatten();
        let lsn = match &end {
            Some(end) => Some(end.lsn.clone()),
            None => line.end_lsn.map(|lsn| lsn.to_string()),
        };
        let timestamp = match &end {
            Some(end) => end.timestamp.as_str(),
            None => line.timestamp.as_deref().unwrap_or(""),
        };
        let mut text = format!(
            "BEGIN; -- {{\"xid\":{},\"lsn\":\"{}\",\"timestamp\":\"{timestamp}\"",
            line.xid, line.lsn
        );
        if let Some(lsn) = lsn {
            text.push_str(",\"commit_lsn\":\"");
            text.push_str(&lsn);
            text.push('"');
        }
        text.push_str("}\n");
        self.open = Open::Held(text);
        self.from_before = false;
        Ok(())
    }

    /// Writes the BEGIN line that was held back, if there is one.
    fn show_begin(&mut self) -> Result<()> {
        if let Open::Held(text) = std::mem::replace(&mut self.open, Open::Written) {
            self.write(&text)?;
        }
        Ok(())
    }

    fn commit(&mut self, line: &JsonLine<'_>) -> Result<()> {
        self.end_run()?;
        self.counts.transactions += 1;
        let timestamp = line.timestamp.as_deref().unwrap_or("");
        let (xid, lsn) = (line.xid, line.lsn);
        self.counts.reached = lsn;
        match std::mem::replace(&mut self.open, Open::No) {
            // Nothing of it is applied.
            Open::Held(_) => self.write(&format!(
                "-- KEEPALIVE {{\"lsn\":\"{lsn}\",\"timestamp\":\"{timestamp}\"}}\n"
            ))?,
            Open::Written | Open::No => {
                if self.from_before {
                    self.continued.push(Continued {
                        xid,
                        end: End {
                            lsn: lsn.to_string(),
                            timestamp: timestamp.to_owned(),
                        },
                    });
                }
                self.write(&format!(
                    "COMMIT; -- {{\"xid\":{xid},\"lsn\":\"{lsn}\",\"timestamp\":\"{timestamp}\"}}\n"
                ))?;
            }
        }
        self.from_before = false;
        self.flush_if_eager()
    }

    fn rollback(&mut self, line: &JsonLine<'_>) -> Result<()> {
        self.end_run()?;
        if let Open::Written | Open::No = std::mem::replace(&mut self.open, Open::No) {
            self.write(&format!(
                "ROLLBACK; -- {{\"xid\":{},\"lsn\":\"{}\"}}\n",
                line.xid, line.lsn
            ))?;
        }
        self.from_before = false;
        self.flush_if_eager()
    }

    /// Writes a line that stands between statements.
    fn mark(&mut self, word: &str, line: &JsonLine<'_>) -> Result<()> {
        self.end_run()?;
        if matches!(self.open, Open::Held(_)) {
            self.show_begin()?;
        }
        match &line.timestamp {
            Some(timestamp) => self.write(&format!(
                "-- {word} {{\"lsn\":\"{}\",\"timestamp\":\"{timestamp}\"}}\n",
                line.lsn
            ))?,
            None => self.write(&format!("-- {word} {{\"lsn\":\"{}\"}}\n", line.lsn))?,
        }
        self.flush_if_eager()
    }

    fn flush_if_eager(&mut self) -> Result<()> {
        if self.eager {
            self.out.flush().map_err(|error| write_failed(&error))?;
        }
        Ok(())
    }

    fn change(&mut self, change: &Change<'_>) -> Result<()> {
        let table = match change {
            Change::Insert { table, .. }
            | Change::Update { table, .. }
            | Change::Delete { table, .. } => table,
            Change::Truncate {
                tables,
                cascade,
                restart,
            } => return self.truncate(tables, *cascade, *restart),
        };
        if self.is_left_out(table) {
            return Ok(());
        }
        let source = self.tables.get(&table.schema, &table.name);
        match statement::make(change, source, self.keep_no_op) {
            Made::Nothing => Ok(()),
            Made::Row { head, kind, values } => {
                if !self.run.takes(&head, &kind, &values) {
                    self.end_run()?;
                }
                self.show_begin()?;
                self.run.add(head, kind, &values);
                Ok(())
            }
            Made::Alone(sql, values) => {
                self.end_run()?;
                self.show_begin()?;
                run::write_statement(&mut self.out, &sql, &values)
            }
            Made::Line(text) => self.single(&text),
            Made::Impossible(reason) => {
                let line = conflict(change, table, reason);
                self.single(&line)
            }
        }
    }

    fn truncate(&mut self, tables: &[Table<'_>], cascade: bool, restart: bool) -> Result<()> {
        let followed: Vec<Table<'_>> = tables
            .iter()
            .filter(|table| !self.is_left_out(table))
            .cloned()
            .collect();
        if followed.is_empty() {
            return Ok(());
        }
        let change = Change::Truncate {
            tables: followed,
            cascade,
            restart,
        };
        match statement::make(&change, None, true) {
            Made::Line(text) => self.single(&text),
            _ => Ok(()),
        }
    }

    fn single(&mut self, line: &str) -> Result<()> {
        self.end_run()?;
        self.show_begin()?;
        self.write(line)?;
        self.write("\n")
    }

    fn end_run(&mut self) -> Result<()> {
        self.run.write(&mut self.out)
    }

    /// Whether changes of the table are not applied: our own tables, relations of rewrites, and what
    /// filters leave out.
    fn is_left_out(&self, table: &Table<'_>) -> bool {
        let rewrite = table.name.strip_prefix("pg_temp_").is_some_and(|digits| {
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        });
        rewrite
            || table.schema == "pgcopydb"
            || self
                .tables
                .get(&table.schema, &table.name)
                .is_some_and(|known| known.excluded)
    }

    /// Writes what is held back at the end of the input, and gives the figures.
    pub(super) fn finish(&mut self) -> Result<(Counts, Vec<Continued>)> {
        self.end_run()?;
        if matches!(self.open, Open::Held(_)) {
            self.show_begin()?;
        }
        self.out.flush().map_err(|error| write_failed(&error))?;
        Ok((self.counts, std::mem::take(&mut self.continued)))
    }
}

/// The line of a change that cannot be applied.
fn conflict(change: &Change<'_>, table: &Table<'_>, reason: &str) -> String {
    let action = match change {
        Change::Insert { .. } => "I",
        Change::Update { .. } => "U",
        Change::Delete { .. } => "D",
        Change::Truncate { .. } => "T",
    };
    let mut line = format!("-- CONFLICT {{\"action\":\"{action}\",\"schema\":").into_bytes();
    write_string(&table.schema, &mut line);
    line.extend_from_slice(b",\"table\":");
    write_string(&table.name, &mut line);
    line.extend_from_slice(b",\"reason\":");
    write_string(reason, &mut line);
    line.push(b'}');
    String::from_utf8_lossy(&line).into_owned()
}

fn write_failed(error: &std::io::Error) -> Error {
    Error::bad_state(format!("could not write SQL lines: {error}"))
        .hint("Check the space of the work directory, or that the reader of the pipe still runs.")
        .room_as_of(error)
}

#[cfg(test)]
mod tests;
