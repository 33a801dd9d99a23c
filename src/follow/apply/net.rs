//! All changes of one row merged into what they come to.
//!
//! Pure. Only for tables whose single unique index tells the row, and in which nothing else could
//! notice that the changes in between are left out. Rows are told by the exact text of their key: two
//! texts of one value make a wrong row count, and then the group is applied as it came.
//!
//! ```text
//! I, U -> I     I, D -> nothing     U, U -> U column by column     U, D -> D     D, I -> D and I
//! ```

use super::draft::Row;
use super::recognize::Verb;
use super::values::{Cell, Values};
use std::collections::HashMap;

/// What is left to do for one row, beside deleting it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Nothing,
    Update,
    Insert,
}

/// One row.
#[derive(Debug)]
pub(super) struct NetRow {
    /// Its key, in the order of the index.
    pub(super) key: Vec<Cell>,
    /// Position of its first change, for reports.
    pub(super) source: usize,
    delete: bool,
    rest: Rest,
    /// By position of the column; none where it is not set.
    values: Vec<Option<Cell>>,
}

impl NetRow {
    /// Whether a statement of that kind is needed.
    pub(super) fn has(&self, verb: Verb) -> bool {
        match verb {
            Verb::Delete => self.delete,
            Verb::Update => self.rest == Rest::Update,
            Verb::Insert => self.rest == Rest::Insert,
        }
    }

    /// The columns that are set.
    pub(super) fn columns(&self) -> Vec<usize> {
        let set = self.values.iter().enumerate();
        set.filter_map(|(at, value)| value.map(|_| at)).collect()
    }

    /// The value of a column that is set.
    pub(super) fn value(&self, column: usize) -> Cell {
        self.values
            .get(column)
            .copied()
            .flatten()
            .unwrap_or(Cell::Null)
    }

    /// Takes one more change; false where the changes do not fit each other.
    fn take(&mut self, row: &Row, values: &Values) -> bool {
        let verb = row.fitted.verb;
        self.rest = match (verb, self.rest) {
            (Verb::Insert, Rest::Nothing) => Rest::Insert,
            (Verb::Update, Rest::Nothing) if !self.delete => Rest::Update,
            (Verb::Update, rest @ (Rest::Update | Rest::Insert)) => rest,
            (Verb::Delete, Rest::Nothing) if !self.delete => {
                self.delete = true;
                Rest::Nothing
            }
            (Verb::Delete, Rest::Update) => {
                self.delete = true;
                Rest::Nothing
            }
            (Verb::Delete, Rest::Insert) => Rest::Nothing,
            _ => return false,
        };
        if verb == Verb::Delete {
            self.values.fill(None);
        }
        for (column, parameter) in &row.fitted.set {
            if let Some(place) = self.values.get_mut(*column) {
                *place = Some(row.cell(values, *parameter));
            }
        }
        true
    }
}

/// Merges changes of one table, all of which have a `net_key`. None: they must be applied as they came.
pub(super) fn merge(rows: &[Row], values: &Values) -> Option<Vec<NetRow>> {
    let mut merged: Vec<NetRow> = Vec::new();
    let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(rows.len());
    let mut text = Vec::new();
    for (source, row) in rows.iter().enumerate() {
        let parameters = row.fitted.net_key.as_ref()?;
        if !row.key(values, parameters, &mut text) {
            return None;
        }
        let known = places.get(&text).copied();
        let place = if let Some(place) = known {
            place
        } else {
            merged.push(NetRow {
                key: parameters.iter().map(|at| row.cell(values, *at)).collect(),
                source,
                delete: false,
                rest: Rest::Nothing,
                values: vec![None; row.fitted.table.columns.len()],
            });
            places.insert(text.clone(), merged.len() - 1);
            merged.len() - 1
        };
        if !merged.get_mut(place)?.take(row, values) {
            return None;
        }
    }
    Some(merged)
}
