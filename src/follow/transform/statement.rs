//! From a change to the parts of its statement: text of the SQL file and values.
//!
//! Pure. Knows the source only: what depends on the target is decided where the files are applied.

use super::ident;
use super::run::one_line;
use crate::follow::change::{Change, Field, Old, Table, Value};
use crate::follow::source_table::{Identity, SourceTable};
use std::fmt::Write as _;

/// What becomes of a change.
pub(super) enum Made<'a> {
    /// A row for INSERT or DELETE, which may share a statement with its neighbours.
    Row {
        /// Text in front of the rows; the same for rows that may share a statement.
        head: String,
        /// The kind and what its text needs more.
        kind: RowKind,
        /// One value for each parameter.
        values: Vec<Option<&'a str>>,
    },
    /// A statement of its own, with its values.
    Alone(String, Vec<Option<&'a str>>),
    /// A line of its own.
    Line(String),
    /// Nothing to do: nothing was changed, or the table is left out.
    Nothing,
    /// It cannot be said in SQL, for this reason.
    Impossible(&'static str),
}

/// How rows of one statement are written.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum RowKind {
    /// Behind VALUES.
    Insert,
    /// Behind IN, by these columns, already quoted.
    Delete(Vec<String>),
}

fn push_table(table: &Table<'_>, out: &mut String) {
    ident::push(&table.schema, out);
    out.push('.');
    ident::push(&table.name, out);
}

fn text<'a>(value: &'a Value<'_>) -> Option<&'a str> {
    match value {
        Value::Text(text) => Some(text),
        Value::Null | Value::Unchanged => None,
    }
}

fn is_generated(source: Option<&SourceTable>, name: &str) -> bool {
    source.is_some_and(|table| {
        table
            .columns
            .iter()
            .any(|column| column.generated && column.name == name)
    })
}

/// Makes the statement of a change. `source` is what is known of its table.
pub(super) fn make<'a>(
    change: &'a Change<'_>,
    source: Option<&'a SourceTable>,
    keep_no_op: bool,
) -> Made<'a> {
    match change {
        Change::Insert { table, new } => insert(table, new, source),
        Change::Update { table, new, old } => {
            let Some(key) = key_columns(old, new, source) else {
                return Made::Impossible("the table has no replica identity");
            };
            if key.iter().any(|field| field.unknown) {
                return Made::Impossible("a value of the replica identity was not sent");
            }
            update(table, new, &key, source, keep_no_op)
        }
        Change::Delete { table, old } => match key_columns(old, &[], source) {
            Some(key) if !key.is_empty() => delete(table, &key, source),
            _ => Made::Impossible("the table has no replica identity"),
        },
        Change::Truncate {
            tables,
            cascade,
            restart,
        } => Made::Line(truncate(tables, *cascade, *restart)),
    }
}

fn insert<'a>(table: &Table<'_>, new: &'a [Field<'_>], source: Option<&SourceTable>) -> Made<'a> {
    let mut head = String::with_capacity(64);
    head.push_str("INSERT INTO ");
    push_table(table, &mut head);
    let mut values = Vec::with_capacity(new.len());
    for field in new {
        if is_generated(source, &field.name) {
            continue;
        }
        head.push_str(if values.is_empty() { " (" } else { ", " });
        ident::push(&field.name, &mut head);
        values.push(text(&field.value));
    }
    if values.is_empty() {
        head.push_str(" DEFAULT VALUES");
        return Made::Alone(head, values);
    }
    head.push_str(") overriding system value VALUES ");
    Made::Row {
        head,
        kind: RowKind::Insert,
        values,
    }
}

/// A column of the WHERE clause.
struct Key<'a> {
    name: &'a str,
    value: Option<&'a str>,
    /// Its value was not sent.
    unknown: bool,
}

/// The columns that tell the row, with their values before the change.
fn key_columns<'a>(
    old: &'a Old<'_>,
    new: &'a [Field<'_>],
    source: Option<&'a SourceTable>,
) -> Option<Vec<Key<'a>>> {
    let of_new = |name: &'a str| {
        let field = new.iter().find(|field| field.name == name);
        Key {
            name,
            value: field.and_then(|field| text(&field.value)),
            unknown: field.is_none_or(|field| field.value == Value::Unchanged),
        }
    };
    let keys: Vec<Key<'a>> = match old {
        Old::Nothing => return None,
        Old::Unchanged(names) => names.iter().map(|name| of_new(name)).collect(),
        Old::Untold => match &source?.identity {
            Identity::Key(names) => names.iter().map(|name| of_new(name)).collect(),
            // FULL always sends the old row: this table had another identity then.
            Identity::Full | Identity::Nothing => return None,
        },
        Old::Fields { fields, sparse, .. } => {
            let mut keys: Vec<Key<'a>> = fields
                .iter()
                .map(|field| Key {
                    name: &field.name,
                    value: text(&field.value),
                    unknown: field.value == Value::Unchanged,
                })
                .collect();
            if let (true, Some(source)) = (*sparse, source)
                && source.identity == Identity::Full
            {
                // The new row has all columns that there are by then; of a DELETE only those on record are known.
                let recorded = source.columns.iter().filter(|column| !column.generated);
                let all: Vec<&str> = if new.is_empty() {
                    recorded.map(|column| column.name.as_str()).collect()
                } else {
                    new.iter().map(|field| &*field.name).collect()
                };
                keys.extend(
                    all.into_iter()
                        .filter(|name| !fields.iter().any(|field| field.name == *name))
                        .map(|name| Key {
                            name,
                            value: None,
                            unknown: false,
                        }),
                );
            }
            keys
        }
    };
    (!keys.is_empty()).then_some(keys)
}

/// Appends `a = $3 and b IS NULL`; adds the values of its parameters.
fn push_where<'a>(
    keys: &[Key<'a>],
    source: Option<&SourceTable>,
    sql: &mut String,
    values: &mut Vec<Option<&'a str>>,
) {
    let mut word = " WHERE ";
    for key in keys.iter().filter(|key| !is_generated(source, key.name)) {
        sql.push_str(word);
        word = " and ";
        ident::push(key.name, sql);
        if key.value.is_some() {
            values.push(key.value);
            // Writing into a string cannot fail.
            let _infallible = write!(sql, " = ${}", values.len());
        } else {
            sql.push_str(" IS NULL");
        }
    }
}

fn update<'a>(
    table: &Table<'_>,
    new: &'a [Field<'_>],
    keys: &[Key<'a>],
    source: Option<&SourceTable>,
    keep_no_op: bool,
) -> Made<'a> {
    let mut sql = String::with_capacity(96);
    sql.push_str("UPDATE ");
    push_table(table, &mut sql);
    let head = sql.len();
    let mut values = Vec::with_capacity(new.len() + keys.len());
    for all in [false, true] {
        for field in new {
            if field.value == Value::Unchanged || is_generated(source, &field.name) {
                continue;
            }
            let known = keys.iter().find(|key| key.name == field.name);
            if !all && known.is_some_and(|key| key.value == text(&field.value)) {
                continue;
            }
            sql.push_str(if values.is_empty() { " SET " } else { ", " });
            ident::push(&field.name, &mut sql);
            values.push(text(&field.value));
            let _infallible = write!(sql, " = ${}", values.len());
        }
        if !values.is_empty() {
            break;
        }
        if !keep_no_op {
            return Made::Nothing;
        }
        sql.truncate(head);
    }
    if values.is_empty() {
        return Made::Nothing;
    }
    push_where(keys, source, &mut sql, &mut values);
    Made::Alone(sql, values)
}

fn delete<'a>(table: &Table<'_>, keys: &[Key<'a>], source: Option<&SourceTable>) -> Made<'a> {
    let mut head = String::with_capacity(64);
    head.push_str("DELETE FROM ");
    push_table(table, &mut head);
    let full = source.is_some_and(|source| source.identity == Identity::Full);
    if full || keys.iter().any(|key| key.value.is_none()) {
        let mut values = Vec::with_capacity(keys.len());
        push_where(keys, source, &mut head, &mut values);
        return Made::Alone(head, values);
    }
    let mut columns = Vec::with_capacity(keys.len());
    let mut values = Vec::with_capacity(keys.len());
    for key in keys.iter().filter(|key| !is_generated(source, key.name)) {
        let mut name = String::new();
        ident::push(key.name, &mut name);
        columns.push(name);
        values.push(key.value);
    }
    Made::Row {
        head,
        kind: RowKind::Delete(columns),
        values,
    }
}

fn truncate(tables: &[Table<'_>], cascade: bool, restart: bool) -> String {
    let mut sql = String::from("TRUNCATE ONLY ");
    for (at, table) in tables.iter().enumerate() {
        if at > 0 {
            sql.push_str(", ");
        }
        push_table(table, &mut sql);
    }
    if restart {
        sql.push_str(" RESTART IDENTITY");
    }
    if cascade {
        sql.push_str(" CASCADE");
    }
    // A name may hold a newline, a line may not.
    one_line(&sql)
}

impl RowKind {
    /// The statement for so many rows.
    pub(super) fn statement(&self, head: &str, rows: usize, width: usize) -> String {
        let mut sql = String::with_capacity(head.len() + rows * width * 6 + 32);
        sql.push_str(head);
        let (single, columns) = match self {
            Self::Insert => (false, &[][..]),
            Self::Delete(columns) => (rows == 1, columns.as_slice()),
        };
        if single {
            let mut word = " WHERE ";
            for (at, column) in columns.iter().enumerate() {
                let _infallible = write!(sql, "{word}{column} = ${}", at + 1);
                word = " and ";
            }
            return sql;
        }
        let bare = columns.len() == 1;
        if bare {
            let _infallible = write!(sql, " WHERE {} IN (", columns.concat());
        } else if !columns.is_empty() {
            let _infallible = write!(sql, " WHERE ({}) IN (", columns.join(", "));
        }
        let mut number = 0;
        for row in 0..rows {
            if row > 0 {
                sql.push_str(", ");
            }
            if !bare {
                sql.push('(');
            }
            for column in 0..width {
                number += 1;
                let comma = if column > 0 { ", " } else { "" };
                let _infallible = write!(sql, "{comma}${number}");
            }
            if !bare {
                sql.push(')');
            }
        }
        if !columns.is_empty() {
            sql.push(')');
        }
        sql
    }
}
