//! What is applied in one transaction of the target: changes of one source transaction or of several,
//! in arrival order, and what is known of each.
//!
//! Pure. Statement texts are kept once: changes name them by number.

use super::line::Meta;
use super::recognize::{self, Shape, TableName, Truncate};
use super::values::Values;
use crate::error::{Error, Result};
use crate::units::Lsn;
use std::collections::HashMap;

/// Most bytes of statement texts that are kept.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// What a statement text says.
#[derive(Debug)]
pub(super) enum Statement {
    /// It is of the grammar; its row count is left out.
    Shape(Shape),
    /// It is run as it stands.
    Verbatim(String),
}

/// Texts of statements by their number in the file.
#[derive(Default)]
pub(super) struct Statements {
    /// Number in the file to text, statement and rows.
    texts: HashMap<u32, (String, usize, usize)>,
    text_bytes: usize,
    all: Vec<Statement>,
    /// Texts without row counts, to the statement.
    known: HashMap<String, usize>,
}

impl Statements {
    /// Takes a PREPARE line.
    pub(super) fn prepare(&mut self, hash: u32, text: &str) {
        if self
            .texts
            .get(&hash)
            .is_some_and(|(known, ..)| known == text)
        {
            return;
        }
        if self.text_bytes + text.len() > TEXT_BYTES_MAX {
            self.texts.clear();
            self.text_bytes = 0;
        }
        let (statement, rows) = match recognize::statement(text) {
            None => (Statement::Verbatim(text.to_owned()), 1),
            Some(mut shape) => {
                let rows = std::mem::replace(&mut shape.rows, 1);
                (Statement::Shape(shape), rows)
            }
        };
        let key = format!("{statement:?}");
        let number = *self.known.entry(key).or_insert_with(|| {
            self.all.push(statement);
            self.all.len() - 1
        });
        self.text_bytes += text.len();
        self.texts.insert(hash, (text.to_owned(), number, rows));
    }

    /// The statement that an EXECUTE line names, and its rows.
    pub(super) fn named(&self, hash: u32) -> Result<(usize, usize)> {
        let found = self.texts.get(&hash);
        found
            .map(|(_, number, rows)| (*number, *rows))
            .ok_or_else(|| {
                Error::bad_state(format!(
                    "EXECUTE names statement {hash:x}, which was not prepared"
                ))
                .hint("Transform can make the SQL file again from its JSON file.")
            })
    }

    /// A statement by its number.
    pub(super) fn get(&self, number: usize) -> Option<&Statement> {
        self.all.get(number)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

/// A change of rows or tables.
#[derive(Debug)]
pub(super) enum Change {
    /// Rows of one statement, by its number; values from that number on.
    Rows {
        statement: usize,
        first: usize,
        rows: usize,
    },
    Truncate(Truncate),
    Refresh(TableName),
    /// Transform could not say it in SQL: the JSON object of its line.
    Impossible(String),
}

/// A change and the line it stands in.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) change: Change,
    pub(super) line: u64,
}

/// A source transaction whose end was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Txn {
    pub(super) xid: u32,
    /// Its end LSN, which the origin gets.
    pub(super) end: Lsn,
    pub(super) timestamp: String,
    /// Number of the change behind its last one, in the group.
    pub(super) changes_end: usize,
}

impl Txn {
    pub(super) fn new(meta: Meta, changes_end: usize) -> Self {
        Self {
            xid: meta.xid,
            end: meta.lsn,
            timestamp: meta.timestamp,
            changes_end,
        }
    }
}

/// How a group lies in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Part {
    /// It goes on with a transaction that an earlier group began.
    pub(super) continued: bool,
    /// A later group goes on with it.
    pub(super) open: bool,
}

/// Changes that are sent together.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) values: Values,
    pub(super) changes: Vec<Placed>,
    /// Transactions that end in here.
    pub(super) txns: Vec<Txn>,
    pub(super) rows: usize,
    pub(super) part: Part,
    /// The transaction that is not complete in here.
    pub(super) open_xid: u32,
    /// The file or pipe that the lines are of.
    pub(super) file: String,
}

impl Group {
    /// Drops changes from number `changes` on.
    pub(super) fn truncate(&mut self, changes: usize) {
        let first = self.changes.get(changes..).unwrap_or_default().iter();
        let first = first.filter_map(|placed| match placed.change {
            Change::Rows { first, .. } => Some(first),
            _ => None,
        });
        if let Some(first) = first.min() {
            self.values.truncate(first);
        }
        for placed in self.changes.drain(changes..) {
            if let Change::Rows { rows, .. } = placed.change {
                self.rows -= rows;
            }
        }
    }

    /// Moves changes from number `changes` on into a group of their own.
    pub(super) fn split_off(&mut self, changes: usize) -> Self {
        let mut moved = Self {
            file: self.file.clone(),
            ..Self::default()
        };
        moved.changes = self.changes.split_off(changes);
        let base = moved
            .changes
            .iter()
            .filter_map(|placed| match placed.change {
                Change::Rows { first, .. } => Some(first),
                _ => None,
            })
            .min();
        if let Some(base) = base {
            moved.values = self.values.split_off(base);
            for placed in &mut moved.changes {
                if let Change::Rows { first, rows, .. } = &mut placed.change {
                    *first -= base;
                    moved.rows += *rows;
                    self.rows -= *rows;
                }
            }
        }
        moved
    }
}
