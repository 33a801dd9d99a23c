//! A statement as the target needs it: which columns are set, what tells the row, and the SQL.
//!
//! Pure. Values are parameters of the columns' own types; names come quoted from the catalogs.

use super::recognize::{Shape, Verb};
use super::target::{Column, RelKind, TargetTable};
use crate::error::{Error, Kind, Result};
use crate::units::Oid;
use std::fmt::Write as _;
use std::rc::Rc;

/// How one row is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By plain columns.
    Plain,
    /// The row is deleted and inserted: UPDATE refuses columns GENERATED ALWAYS AS IDENTITY.
    Reinsert,
    /// A materialized view: it is refreshed instead.
    Refresh,
    /// Nothing is left to set.
    Nothing,
}

/// A column of WHERE: its position in the table, and which parameter of the file's row it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) column: usize,
    /// None: compared with NULL.
    pub(super) parameter: Option<usize>,
}

/// A shape made fit for a table of the target.
#[derive(Debug)]
pub(super) struct Fitted {
    pub(super) verb: Verb,
    pub(super) table: Rc<TargetTable>,
    pub(super) how: How,
    /// Column and the parameter of the file's row that it gets.
    pub(super) set: Vec<(usize, usize)>,
    pub(super) keys: Vec<Key>,
    /// Only all columns tell the row: it is one of those that are the same, by its place.
    pub(super) whole: bool,
    /// A unique index tells the row by `keys`, none of them NULL, and `set` leaves them alone.
    pub(super) by_key: bool,
    /// Parameters that hold the one key of the table, where rows can be told by its text.
    pub(super) net_key: Option<Vec<usize>>,
    /// Parameters of a row in the file.
    pub(super) width: usize,
}

fn no_column(table: &TargetTable, name: &str) -> Error {
    Error::new(
        Kind::Target,
        format!(
            "column \"{name}\" of table {} does not exist on the target",
            table.quoted
        ),
    )
    .with_sqlstate("42703")
    .hint("The source's table was changed; change the target's in the same way, then resume.")
}

/// Fits a shape to a table. `is_full`: on the source, all columns together tell a row. Errors: the table lacks
/// a column.
pub(super) fn fit(shape: &Shape, table: &Rc<TargetTable>, is_full: bool) -> Result<Fitted> {
    let place = |name: &str| table.column(name).ok_or_else(|| no_column(table, name));
    let mut fitted = Fitted {
        verb: shape.verb,
        table: Rc::clone(table),
        how: How::Plain,
        set: Vec::new(),
        keys: Vec::new(),
        whole: false,
        by_key: false,
        net_key: None,
        width: shape.width(),
    };
    if table.kind == RelKind::MaterializedView {
        fitted.how = How::Refresh;
        return Ok(fitted);
    }
    if table.kind == RelKind::Newcomer {
        fitted.how = How::Nothing;
        return Ok(fitted);
    }
    for (parameter, name) in shape.set.iter().enumerate() {
        let column = place(name)?;
        if table
            .columns
            .get(column)
            .is_some_and(|column| !column.generated)
        {
            fitted.set.push((column, parameter));
        }
    }
    let mut parameter = shape.set.len();
    for key in &shape.keys {
        if is_full && key.is_null && table.column(&key.name).is_none() {
            // Dropped on both sides: rows that it told apart are the same now.
            continue;
        }
        let column = place(&key.name)?;
        let own = (!key.is_null).then_some(parameter);
        parameter += usize::from(!key.is_null);
        if table
            .columns
            .get(column)
            .is_some_and(|column| !column.generated)
        {
            fitted.keys.push(Key {
                column,
                parameter: own,
            });
        }
    }
    if shape.verb != Verb::Insert {
        choose_key(&mut fitted, is_full)?;
        choose_way(&mut fitted);
    }
    fitted.net_key = net_key(&fitted);
    Ok(fitted)
}

/// The parameters of the table's only key, where all changes of one row can be merged by it.
fn net_key(fitted: &Fitted) -> Option<Vec<usize>> {
    let table = &fitted.table;
    let key = table
        .keys
        .first()
        .filter(|_| table.one_key && !table.fires)?;
    if !fitted.is_batchable() || table.kind != RelKind::Plain {
        return None;
    }
    if fitted.verb != Verb::Insert && fitted.keys.len() != key.len() {
        return None;
    }
    key.iter()
        .map(|column| match fitted.verb {
            Verb::Insert => fitted
                .set
                .iter()
                .find(|(set, _)| set == column)
                .map(|(_, parameter)| *parameter),
            Verb::Update | Verb::Delete => fitted
                .keys
                .iter()
                .find(|one| one.column == *column)
                .and_then(|one| one.parameter),
        })
        .collect()
}

/// Decides by which columns the row is told.
fn choose_key(fitted: &mut Fitted, is_full: bool) -> Result<()> {
    let table = Rc::clone(&fitted.table);
    if fitted.keys.is_empty() {
        return Err(Error::new(
            Kind::Target,
            format!(
                "no column of table {} tells which row is meant",
                table.quoted
            ),
        ));
    }
    let given: Vec<usize> = fitted
        .keys
        .iter()
        .filter(|key| key.parameter.is_some())
        .map(|key| key.column)
        .collect();
    let all = table
        .columns
        .iter()
        .enumerate()
        .filter(|(_, column)| !column.generated)
        .all(|(at, _)| fitted.keys.iter().any(|key| key.column == at));
    match table.key_within(&given) {
        Some(key) => {
            if all || is_full {
                fitted.keys.retain(|one| key.contains(&one.column));
            }
            fitted.by_key = !fitted
                .set
                .iter()
                .any(|(column, _)| fitted.keys.iter().any(|key| key.column == *column))
                && fitted.keys.iter().all(|key| key.parameter.is_some());
        }
        None if all || is_full => fitted.whole = true,
        None => {}
    }
    Ok(())
}

fn choose_way(fitted: &mut Fitted) {
    if fitted.verb != Verb::Update {
        return;
    }
    let always = |column: &usize| {
        fitted
            .table
            .columns
            .get(*column)
            .is_some_and(|column| column.identity_always)
    };
    if fitted.set.is_empty() {
        fitted.how = How::Nothing;
    } else if fitted.set.iter().any(|(column, _)| always(column)) {
        fitted.how = How::Reinsert;
        fitted.by_key = false;
    }
}

/// SQL with the types of its parameters, and which parameter of the file's row each of them is.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub(super) sql: String,
    pub(super) types: Vec<Oid>,
    pub(super) parameters: Vec<usize>,
}

impl Rendered {
    fn parameter(&mut self, column: &Column, parameter: usize) -> usize {
        self.types.push(column.type_oid);
        self.parameters.push(parameter);
        self.types.len()
    }
}

impl Fitted {
    fn column(&self, at: usize) -> Result<&Column> {
        self.table
            .columns
            .get(at)
            .ok_or_else(|| Error::internal("a column lies outside of its table"))
    }

    /// The statement for one row.
    pub(super) fn row(&self) -> Result<Rendered> {
        let mut out = Rendered::default();
        match (self.verb, self.how) {
            (Verb::Insert, _) => self.insert_row(&mut out)?,
            (Verb::Update, How::Reinsert) => self.reinsert(&mut out)?,
            (Verb::Update, _) => {
                let _infallible =
                    write!(out.sql, "UPDATE {}{}", self.table.only(), self.table.quoted);
                for (at, (column, parameter)) in self.set.iter().enumerate() {
                    let column = self.column(*column)?;
                    let number = out.parameter(column, *parameter);
                    let word = if at == 0 { " SET" } else { "," };
                    let _infallible = write!(out.sql, "{word} {} = ${number}", column.quoted);
                }
                self.conditions(&mut out)?;
            }
            (Verb::Delete, _) => {
                let _infallible = write!(
                    out.sql,
                    "DELETE FROM {}{}",
                    self.table.only(),
                    self.table.quoted
                );
                self.conditions(&mut out)?;
            }
        }
        Ok(out)
    }

    fn insert_row(&self, out: &mut Rendered) -> Result<()> {
        let _infallible = write!(out.sql, "INSERT INTO {}", self.table.quoted);
        if self.set.is_empty() {
            out.sql.push_str(" DEFAULT VALUES");
            return Ok(());
        }
        let mut values = String::new();
        for (at, (column, parameter)) in self.set.iter().enumerate() {
            let column = self.column(*column)?;
            let number = out.parameter(column, *parameter);
            let (open, comma) = if at == 0 { (" (", "") } else { (", ", ", ") };
            let _infallible = write!(out.sql, "{open}{}", column.quoted);
            let _infallible = write!(values, "{comma}${number}");
        }
        let _infallible = write!(out.sql, ") OVERRIDING SYSTEM VALUE VALUES ({values})");
        Ok(())
    }

    fn reinsert(&self, out: &mut Rendered) -> Result<()> {
        let table = &self.table;
        let (mut names, mut values) = (String::new(), String::new());
        for (at, column) in table.columns.iter().enumerate() {
            if column.generated {
                continue;
            }
            let comma = if names.is_empty() { "" } else { ", " };
            let _infallible = write!(names, "{comma}{}", column.quoted);
            match self.set.iter().find(|(set, _)| *set == at) {
                Some((_, parameter)) => {
                    let number = out.parameter(column, *parameter);
                    let _infallible = write!(values, "{comma}${number}");
                }
                None => {
                    let _infallible = write!(values, "{comma}d.{}", column.quoted);
                }
            }
        }
        let _infallible = write!(
            out.sql,
            "WITH d AS (DELETE FROM {}{}",
            table.only(),
            table.quoted
        );
        self.conditions(out)?;
        let _infallible = write!(
            out.sql,
            " RETURNING *) INSERT INTO {} ({names}) OVERRIDING SYSTEM VALUE SELECT {values} FROM d",
            table.quoted
        );
        Ok(())
    }

    /// Appends the WHERE clause.
    fn conditions(&self, out: &mut Rendered) -> Result<()> {
        // A row that only all its columns tell: one of them, where several are the same.
        if self.whole {
            let (place, from) = match self.table.kind {
                RelKind::Partitioned => ("(tableoid, ctid)", "x.tableoid, x.ctid"),
                _ => ("ctid", "x.ctid"),
            };
            let _infallible = write!(
                out.sql,
                " WHERE {place} = (SELECT {from} FROM {}{} x",
                self.table.only(),
                self.table.quoted
            );
        }
        let mut word = " WHERE";
        for key in &self.keys {
            let column = self.column(key.column)?;
            let Some(parameter) = key.parameter else {
                // Of a composite value whose columns are null, IS NULL is true, too.
                let name = &column.quoted;
                let _infallible = write!(out.sql, "{word} {name} IS NOT DISTINCT FROM NULL");
                word = " AND";
                continue;
            };
            let number = out.parameter(column, parameter);
            let name = &column.quoted;
            if self.whole {
                if column.comparable {
                    let _infallible =
                        write!(out.sql, "{word} {name} OPERATOR(pg_catalog.=) ${number}");
                    word = " AND";
                }
                // Equal is not identical: 1.0 and 1.00, or text without case.
                let _infallible = write!(
                    out.sql,
                    "{word} {name}::pg_catalog.text OPERATOR(pg_catalog.=) ${number}::pg_catalog.text"
                );
            } else {
                let operator = operator(column);
                let _infallible = write!(out.sql, "{word} {name} {operator} ${number}");
            }
            word = " AND";
        }
        if self.whole {
            // A column that is not named was added since: to the target alone, where rows that are the same may
            // differ in it, or to both sides, and then the old row has NULL there.
            let mut word = " ORDER BY";
            for (at, column) in self.table.columns.iter().enumerate() {
                if column.generated || self.keys.iter().any(|key| key.column == at) {
                    continue;
                }
                let name = &column.quoted;
                let _infallible = write!(out.sql, "{word} x.{name} IS NOT DISTINCT FROM NULL DESC");
                word = ",";
            }
            out.sql.push_str(" LIMIT 1)");
        }
        Ok(())
    }

    /// Whether many rows can be sent as one array for each column.
    pub(super) fn is_batchable(&self) -> bool {
        let arrays = |at: usize| {
            self.table
                .columns
                .get(at)
                .is_some_and(|column| column.array_oid != 0)
        };
        let columns = self.set.iter().all(|(column, _)| arrays(*column))
            && self.keys.iter().all(|key| arrays(key.column));
        let way = match self.verb {
            Verb::Insert => !self.set.is_empty(),
            Verb::Update | Verb::Delete => self.by_key,
        };
        columns && way && self.how == How::Plain
    }
}

fn operator(column: &Column) -> String {
    match &column.operator {
        Some(operator) => format!("OPERATOR({operator})"),
        None => "=".to_owned(),
    }
}

/// The statement for many rows, one array for each column: `set`, then `keys`. The columns are
/// positions in the table.
pub(super) fn batch(
    table: &TargetTable,
    verb: Verb,
    set: &[usize],
    keys: &[usize],
) -> Result<(String, Vec<Oid>)> {
    let columns: Option<Vec<&Column>> = set
        .iter()
        .chain(keys)
        .map(|at| table.columns.get(*at))
        .collect();
    let columns = columns.ok_or_else(|| Error::internal("a column lies outside of its table"))?;
    let (mut arrays, mut names, mut list) = (String::new(), String::new(), String::new());
    for (at, column) in columns.iter().enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _infallible = write!(arrays, "{comma}pg_catalog.unnest(${})", at + 1);
        let _infallible = write!(names, "{comma}c{}", at + 1);
        let _infallible = write!(list, "{comma}{}", column.quoted);
    }
    let rows = format!("ROWS FROM ({arrays}) AS u({names})");
    let mut sql = match verb {
        Verb::Insert => format!(
            "INSERT INTO {} ({list}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {rows}",
            table.quoted
        ),
        Verb::Update => format!("UPDATE {}{} AS t", table.only(), table.quoted),
        Verb::Delete => format!(
            "DELETE FROM {}{} AS t USING {rows}",
            table.only(),
            table.quoted
        ),
    };
    if verb == Verb::Update {
        for (at, column) in columns.iter().take(set.len()).enumerate() {
            let word = if at == 0 { " SET" } else { "," };
            let _infallible = write!(sql, "{word} {} = u.c{}", column.quoted, at + 1);
        }
        let _infallible = write!(sql, " FROM {rows}");
    }
    let mut word = " WHERE";
    for (at, column) in columns.iter().enumerate().skip(set.len()) {
        let operator = operator(column);
        let _infallible = write!(sql, "{word} t.{} {operator} u.c{}", column.quoted, at + 1);
        word = " AND";
    }
    Ok((sql, columns.iter().map(|column| column.array_oid).collect()))
}
