//! What is known of the target's tables: columns, keys, kind, and where rows of a missing partition go.
//!
//! Runs in the apply process. Reads the target's catalogs over the control session, once for each table
//! and again after an error that says that they changed.

use super::origins::{Origin, Origins};
use super::recognize::TableName;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{PgSession, quote};
use crate::units::Oid;
use std::collections::HashMap;
use std::rc::Rc;

const TABLE: &str = include_str!("sql/target_table.sql");
const COLUMNS: &str = include_str!("sql/target_columns.sql");
const INDEXES: &str = include_str!("sql/target_indexes.sql");

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Its name, in double quotes.
    pub(super) quoted: String,
    pub(super) name: String,
    pub(super) type_oid: Oid,
    /// The array type by which many values can be sent at once, 0 where there is none.
    pub(super) array_oid: Oid,
    pub(super) generated: bool,
    pub(super) identity_always: bool,
    /// Its type has a built-in `=`.
    pub(super) comparable: bool,
    /// The operator of the index that tells rows, ready for SQL.
    pub(super) operator: Option<String>,
}

/// What a relation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelKind {
    Plain,
    Partitioned,
    MaterializedView,
    /// A view or a foreign table.
    Other,
    /// It is not there, and was made on the source after the copy: its changes are passed over.
    Newcomer,
}

/// A table.
#[derive(Debug)]
pub(super) struct TargetTable {
    pub(super) oid: Oid,
    /// The topmost partitioned table above it, or its own oid.
    pub(super) root: Oid,
    pub(super) name: TableName,
    /// `"schema"."name"`.
    pub(super) quoted: String,
    pub(super) kind: RelKind,
    pub(super) columns: Vec<Column>,
    /// Columns of each unique index that tells rows, by position; the primary key first.
    pub(super) keys: Vec<Vec<usize>>,
    /// There is one unique index and nothing else that could refuse a row.
    pub(super) one_key: bool,
    /// Triggers or rules run even in replica role: nothing may be reordered.
    pub(super) fires: bool,
    /// A materialized view that can be refreshed without locking readers out.
    pub(super) concurrently: bool,
}

impl TargetTable {
    /// The position of a column.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// `ONLY` and a blank, where it is allowed.
    pub(super) fn only(&self) -> &'static str {
        match self.kind {
            RelKind::Plain => "ONLY ",
            RelKind::Partitioned
            | RelKind::MaterializedView
            | RelKind::Other
            | RelKind::Newcomer => "",
        }
    }

    /// Whether a row is told by columns `given`, none of them NULL: then by which.
    pub(super) fn key_within(&self, given: &[usize]) -> Option<&[usize]> {
        self.keys
            .iter()
            .find(|key| key.iter().all(|column| given.contains(column)))
            .map(Vec::as_slice)
    }
}

/// The tables looked up so far.
#[derive(Default)]
pub(super) struct Targets {
    routes: HashMap<TableName, Rc<TargetTable>>,
}

impl Targets {
    /// Forgets what was looked up: the catalogs changed.
    pub(super) fn forget(&mut self) {
        self.routes.clear();
    }

    /// Where changes of a table go. Errors: the target has no place for them.
    pub(super) fn route(
        &mut self,
        control: &mut PgSession,
        source: &Origins,
        name: &TableName,
    ) -> Result<Rc<TargetTable>> {
        if let Some(route) = self.routes.get(name) {
            return Ok(Rc::clone(route));
        }
        let route = Self::look_up(control, source, name)?;
        self.routes.insert(name.clone(), Rc::clone(&route));
        Ok(route)
    }

    fn look_up(
        control: &mut PgSession,
        source: &Origins,
        name: &TableName,
    ) -> Result<Rc<TargetTable>> {
        if let Some(table) = read(control, name)? {
            return Ok(Rc::new(table));
        }
        let shown = quote::qualified(&name.0, &name.1);
        let origin = source.of(name)?;
        match &origin {
            Origin::Leaf(root) => {
                if let Some(table) = read(control, root)? {
                    log::info!(
                        "Partition {shown} does not exist on the target: its rows go to {}",
                        quote::qualified(&root.0, &root.1)
                    );
                    return Ok(Rc::new(table));
                }
            }
            Origin::Newcomer => {
                log::warn!(
                    "Table {shown} was made on the source after the copy and is not on the target: its changes are \
                     not applied. To have it there, copy it once nobody writes to it any more"
                );
                return Ok(Rc::new(newcomer(name)));
            }
            Origin::Renamed(before) => {
                let before = quote::qualified(&before.0, &before.1);
                return Err(missing(&shown)
                    .detail(format!(
                        "On the source it is {before} of the copy under another name."
                    ))
                    .hint("Rename the table on the target in the same way, then resume."));
            }
            Origin::Known => {}
        }
        Err(missing(&shown).hint(
            "Make the table on the target as it is on the source, copy what it held, then resume.",
        ))
    }
}

fn missing(shown: &str) -> Error {
    let what = format!("table {shown} does not exist on the target");
    Error::new(Kind::Target, what).with_sqlstate("42P01")
}

/// What stands for a table whose changes are passed over.
fn newcomer(name: &TableName) -> TargetTable {
    TargetTable {
        oid: 0,
        root: 0,
        name: name.clone(),
        quoted: quote::qualified(&name.0, &name.1),
        kind: RelKind::Newcomer,
        columns: Vec::new(),
        keys: Vec::new(),
        one_key: false,
        fires: false,
        concurrently: false,
    }
}

fn read(control: &mut PgSession, name: &TableName) -> Result<Option<TargetTable>> {
    let Some(row) = control
        .query_opt(TABLE, &[&name.0, &name.1])
        .context(|| format!("looking up table \"{}\".\"{}\"", name.0, name.1))?
    else {
        return Ok(None);
    };
    let (oid, schema, relname): (Oid, String, String) = (row.get(0), row.get(1), row.get(2));
    let (relkind, root, fires): (String, Oid, bool) = (row.get(3), row.get(4), row.get(5));
    let (populated, unique_index): (bool, bool) = (row.get(6), row.get(7));
    let (mut columns, mut numbers) = (Vec::new(), Vec::new());
    for row in control.query(COLUMNS, &[&oid])? {
        let name: String = row.get(1);
        numbers.push(row.get::<_, i16>(0));
        columns.push(Column {
            quoted: quote::ident(&name),
            name,
            type_oid: row.get(2),
            array_oid: row.get(3),
            generated: row.get(4),
            identity_always: row.get(5),
            comparable: row.get(6),
            operator: None,
        });
    }
    let (mut keys, mut constraints): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
    for row in control.query(INDEXES, &[&oid])? {
        constraints += 1;
        if !row.get::<_, bool>(1) {
            continue;
        }
        let attnums: Vec<i16> = row.get(2);
        let operators: Vec<Option<String>> = row.get(3);
        let places: Option<Vec<usize>> = attnums
            .iter()
            .map(|attnum| numbers.iter().position(|number| number == attnum))
            .collect();
        if let Some(places) = places {
            for (place, operator) in places.iter().zip(operators) {
                if let Some(column) = columns.get_mut(*place) {
                    column.operator = column.operator.take().or(operator);
                }
            }
            keys.push(places);
        }
    }
    Ok(Some(TargetTable {
        oid,
        root,
        quoted: quote::qualified(&schema, &relname),
        name: (schema, relname),
        kind: match relkind.as_str() {
            "r" => RelKind::Plain,
            "p" => RelKind::Partitioned,
            "m" => RelKind::MaterializedView,
            _ => RelKind::Other,
        },
        columns,
        one_key: keys.len() == 1 && constraints == 1,
        keys,
        fires,
        concurrently: populated && unique_index,
    }))
}
