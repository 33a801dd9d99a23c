//! A plan that is being made: rows gathered, put together, and written as requests.
//!
//! Pure. Changes of one table keep their order, except where all changes of one row are merged (`net`);
//! different tables are reordered only where no trigger or rule fires.

use super::net::{self, NetRow};
use super::plan::{Freedom, Plan, Step};
use super::recognize::Verb;
use super::registry::{Batch, Registry};
use super::render::{Fitted, How};
use super::target::{RelKind, TargetTable};
use super::values::{Cell, Values, push_element};
use crate::error::Result;
use crate::units::Oid;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

/// The session's plans are made for rows told by their key; the query of a view wants others.
const FOR_QUERIES: [&str; 3] = [
    "SET LOCAL enable_hashjoin TO on",
    "SET LOCAL enable_mergejoin TO on",
    "SET LOCAL enable_seqscan TO on",
];

/// A row with more bytes is sent by itself, without the detour over an array.
const ROW_BYTES_MAX: usize = 128 * 1024;

/// Values of many rows, an array for each column.
struct Arrays {
    texts: Vec<Vec<u8>>,
    rows: usize,
}

/// One row of a change.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) fitted: Rc<Fitted>,
    pub(super) statement: usize,
    /// Number of its first value.
    pub(super) first: usize,
    pub(super) change: usize,
    /// Its number within the change.
    pub(super) within: usize,
}

impl Row {
    /// Its values, as the parameters of the file's row.
    pub(super) fn cell(&self, values: &Values, parameter: usize) -> Cell {
        values.cell(self.first + parameter)
    }

    fn bytes(&self, values: &Values) -> usize {
        (0..self.fitted.width)
            .map(|at| match self.cell(values, at) {
                Cell::Null => 0,
                Cell::At { start, end } => end - start,
            })
            .sum()
    }

    /// The text of its key, for comparison.
    pub(super) fn key(&self, values: &Values, parameters: &[usize], out: &mut Vec<u8>) -> bool {
        out.clear();
        for parameter in parameters {
            let Some(text) = values.text(self.cell(values, *parameter)) else {
                return false;
            };
            out.extend_from_slice(&text.len().to_ne_bytes());
            out.extend_from_slice(text);
        }
        true
    }
}

/// A plan that is being made.
pub(super) struct Draft<'a> {
    pub(super) values: &'a Values,
    pub(super) plan: Plan,
    pub(super) rows: Vec<Row>,
    /// Materialized views to refresh, by name, with the change that asks for it.
    pub(super) refresh: BTreeMap<String, (Rc<TargetTable>, usize)>,
    pub(super) freedom: Freedom,
}

impl Draft<'_> {
    /// Adds the rows of a change: its statement, first value and row count.
    pub(super) fn rows_of(
        &mut self,
        fitted: &Rc<Fitted>,
        change: usize,
        (statement, first, rows): (usize, usize, usize),
    ) {
        match fitted.how {
            How::Nothing => {}
            How::Refresh => {
                let table = Rc::clone(&fitted.table);
                self.refresh.insert(table.quoted.clone(), (table, change));
            }
            How::Plain | How::Reinsert => self.rows.extend((0..rows).map(|within| Row {
                fitted: Rc::clone(fitted),
                statement,
                first: first + within * fitted.width,
                change,
                within,
            })),
        }
    }

    /// Refreshes the views whose rows were changed.
    pub(super) fn refresh_views(&mut self, registry: &mut Registry) {
        for (quoted, (table, change)) in std::mem::take(&mut self.refresh) {
            let way = if table.concurrently {
                "CONCURRENTLY "
            } else {
                ""
            };
            let sql = format!("REFRESH MATERIALIZED VIEW {way}{quoted}");
            for sql in FOR_QUERIES.into_iter().chain([sql.as_str()]) {
                let step = Step {
                    rows: None,
                    change,
                    row: 0,
                    truncates: Vec::new(),
                };
                self.special(registry, sql, step);
            }
        }
    }

    /// Adds a statement that is not of rows.
    pub(super) fn special(&mut self, registry: &mut Registry, sql: &str, step: Step) {
        let name = registry.text(&mut self.plan.requests, sql, &[]);
        self.plan.requests.bind(&name, std::iter::empty());
        self.plan.requests.execute();
        self.plan.steps.push(step);
    }

    /// Adds a statement that is run as it stands, with its values.
    pub(super) fn verbatim(
        &mut self,
        registry: &mut Registry,
        sql: &str,
        change: usize,
        (from, to): (usize, usize),
    ) {
        let name = registry.text(&mut self.plan.requests, sql, &[]);
        let values: Vec<Option<&[u8]>> = (from..to)
            .map(|at| self.values.text(self.values.cell(at)))
            .collect();
        self.plan.requests.bind(&name, values.into_iter());
        self.plan.requests.execute();
        self.plan.steps.push(Step {
            rows: None,
            change,
            row: 0,
            truncates: Vec::new(),
        });
    }

    /// Turns the rows gathered so far into statements.
    pub(super) fn flush(&mut self, registry: &mut Registry) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let free = !rows.iter().any(|row| row.fitted.table.fires);
        if self.freedom == Freedom::Careful {
            for row in &rows {
                self.single(registry, row)?;
            }
            return Ok(());
        }
        if !free {
            return self.runs(registry, &rows);
        }
        let mut order: Vec<Oid> = Vec::new();
        let mut by_root: BTreeMap<Oid, Vec<Row>> = BTreeMap::new();
        for row in rows {
            let root = row.fitted.table.root;
            by_root
                .entry(root)
                .or_insert_with(|| {
                    order.push(root);
                    Vec::new()
                })
                .push(row);
        }
        for root in order {
            let rows = by_root.remove(&root).unwrap_or_default();
            let one = rows.first().map(|row| row.fitted.table.oid);
            if rows.iter().all(|row| Some(row.fitted.table.oid) == one) {
                self.merged(registry, &rows)?;
            } else {
                self.runs(registry, &rows)?;
            }
        }
        Ok(())
    }

    /// Rows of one table, changes of one row merged where that is possible.
    fn merged(&mut self, registry: &mut Registry, rows: &[Row]) -> Result<()> {
        let can =
            |row: &Row| row.fitted.net_key.is_some() && row.bytes(self.values) <= ROW_BYTES_MAX;
        let parts: Vec<&[Row]> = rows.chunk_by(|one, next| can(one) == can(next)).collect();
        for part in parts {
            let merged = part
                .first()
                .filter(|row| can(row))
                .and_then(|_| net::merge(part, self.values));
            match merged {
                None => self.runs(registry, part)?,
                Some(merged) => {
                    for verb in [Verb::Delete, Verb::Update, Verb::Insert] {
                        self.net(registry, part, verb, &merged)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// All merged rows of one kind, those with the same columns in one statement.
    fn net(
        &mut self,
        registry: &mut Registry,
        part: &[Row],
        verb: Verb,
        merged: &[NetRow],
    ) -> Result<()> {
        let Some(table) = part.first().map(|row| Rc::clone(&row.fitted.table)) else {
            return Ok(());
        };
        let Some(key) = table.keys.first() else {
            return Ok(());
        };
        let mut by_columns: BTreeMap<Vec<usize>, Vec<&NetRow>> = BTreeMap::new();
        for row in merged.iter().filter(|row| row.has(verb)) {
            let columns = if verb == Verb::Delete {
                Vec::new()
            } else {
                row.columns()
            };
            by_columns.entry(columns).or_default().push(row);
        }
        for (set, rows) in by_columns {
            let keys: &[usize] = if verb == Verb::Insert { &[] } else { key };
            let mut arrays = vec![Vec::new(); set.len() + keys.len()];
            for row in &rows {
                let own = set.iter().map(|column| row.value(*column));
                for (array, cell) in arrays.iter_mut().zip(own.chain(row.key.iter().copied())) {
                    push_element(self.values.text(cell), array);
                }
            }
            let batch = Batch {
                table: &table,
                verb,
                set: &set,
                keys,
            };
            let first = rows.first().and_then(|row| part.get(row.source));
            let arrays = Arrays {
                texts: arrays,
                rows: rows.len(),
            };
            self.batch(registry, &batch, arrays, first)?;
        }
        Ok(())
    }

    /// Rows in their order; neighbours of one statement share it.
    fn runs(&mut self, registry: &mut Registry, rows: &[Row]) -> Result<()> {
        let mut at = 0;
        while let Some(row) = rows.get(at) {
            let end = at + self.run_length(rows.get(at..).unwrap_or_default());
            let run = rows.get(at..end).unwrap_or_default();
            if run.len() == 1 {
                self.single(registry, row)?;
            } else {
                self.run(registry, run)?;
            }
            at = end;
        }
        Ok(())
    }

    /// How many rows from the first one on may share a statement, 1 at least.
    fn run_length(&self, rows: &[Row]) -> usize {
        let Some(first) = rows.first() else {
            return 1;
        };
        if !first.fitted.is_batchable() {
            return 1;
        }
        let parameters: Vec<usize> = first
            .fitted
            .keys
            .iter()
            .filter_map(|key| key.parameter)
            .collect();
        let mut seen: HashSet<Vec<u8>> = HashSet::new();
        let mut key = Vec::new();
        let mut length = 0;
        for row in rows {
            if row.statement != first.statement || row.bytes(self.values) > ROW_BYTES_MAX {
                break;
            }
            if !parameters.is_empty()
                && (!row.key(self.values, &parameters, &mut key) || !seen.insert(key.clone()))
            {
                break;
            }
            length += 1;
        }
        length.max(1)
    }

    fn run(&mut self, registry: &mut Registry, run: &[Row]) -> Result<()> {
        let Some(first) = run.first() else {
            return Ok(());
        };
        let fitted = &first.fitted;
        let set: Vec<usize> = fitted.set.iter().map(|(column, _)| *column).collect();
        let keys: Vec<usize> = fitted.keys.iter().map(|key| key.column).collect();
        let parameters: Vec<usize> = fitted
            .set
            .iter()
            .map(|(_, parameter)| *parameter)
            .chain(fitted.keys.iter().filter_map(|key| key.parameter))
            .collect();
        let mut arrays = vec![Vec::new(); parameters.len()];
        for row in run {
            for (array, parameter) in arrays.iter_mut().zip(&parameters) {
                push_element(self.values.text(row.cell(self.values, *parameter)), array);
            }
        }
        let batch = Batch {
            table: &fitted.table,
            verb: fitted.verb,
            set: &set,
            keys: &keys,
        };
        let arrays = Arrays {
            texts: arrays,
            rows: run.len(),
        };
        self.batch(registry, &batch, arrays, Some(first))
    }

    fn batch(
        &mut self,
        registry: &mut Registry,
        batch: &Batch<'_>,
        mut arrays: Arrays,
        first: Option<&Row>,
    ) -> Result<()> {
        for array in &mut arrays.texts {
            array.push(b'}');
        }
        let name = registry.batch(&mut self.plan.requests, batch)?;
        let values = arrays.texts.iter().map(|array| Some(array.as_slice()));
        self.plan.requests.bind(&name, values);
        self.plan.requests.execute();
        self.plan.steps.push(Step {
            rows: Some(arrays.rows as u64),
            change: first.map_or(0, |row| row.change),
            row: first.map_or(0, |row| row.within),
            truncates: Vec::new(),
        });
        Ok(())
    }

    fn single(&mut self, registry: &mut Registry, row: &Row) -> Result<()> {
        let (name, parameters) =
            registry.row(&mut self.plan.requests, row.statement, &row.fitted)?;
        let values = parameters
            .iter()
            .map(|parameter| self.values.text(row.cell(self.values, *parameter)));
        self.plan.requests.bind(&name, values);
        self.plan.requests.execute();
        self.plan.steps.push(Step {
            // What a view's rules or a foreign server do is theirs.
            rows: (row.fitted.table.kind != RelKind::Other).then_some(1),
            change: row.change,
            row: row.within,
            truncates: Vec::new(),
        });
        Ok(())
    }
}
