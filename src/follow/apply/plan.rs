//! From a group of changes to what is sent: which rows share a statement, and in which order.
//!
//! Pure but for lookups of the target's tables. Changes of one table keep their order, except where
//! all changes of one row are merged (`net`); different tables may be reordered only in replica role
//! and where no trigger or rule fires.

use super::draft::Draft;
use super::group::{Change, Group, Statement, Statements};
use super::origins::Origins;
use super::recognize::Truncate;
use super::registry::Registry;
use super::render::{self, Fitted};
use super::target::{RelKind, TargetTable, Targets};
use crate::error::{Error, Result};
use crate::pg::PgSession;
use crate::wire::Requests;
use std::collections::BTreeMap;
use std::rc::Rc;

/// How freely rows may be put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freedom {
    /// One statement a row, in arrival order: the verdict on each counts.
    Careful,
    /// Neighbours of one table may share a statement; where nothing fires, tables may be reordered
    /// and changes of one row merged.
    Free,
}

/// What one statement must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Rows it must change; none where that is not known.
    pub(super) rows: Option<u64>,
    /// The change it is of, the first one where there are several.
    pub(super) change: usize,
    /// The row within that change.
    pub(super) row: usize,
    /// A TRUNCATE of these tables, by name, which may be refused for a foreign key.
    pub(super) truncates: Vec<String>,
}

/// Statements to send and what is expected of each.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) requests: Requests,
    pub(super) steps: Vec<Step>,
}

/// Why there is no plan.
#[derive(Debug)]
pub(super) enum NoPlan {
    /// This change cannot be applied.
    Change(usize, Error),
    /// The transactions must be applied one by one.
    OneByOne,
    /// Anything else.
    Failed(Error),
}

/// What is to be planned.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) statements: &'a Statements,
    pub(super) group: &'a Group,
    /// Changes from, up to.
    pub(super) range: (usize, usize),
    pub(super) freedom: Freedom,
}

/// What planning needs and keeps.
pub(super) struct Planner {
    pub(super) targets: Targets,
    pub(super) source: Origins,
    pub(super) registry: Registry,
    /// Empty tables with DELETE: their TRUNCATE was refused.
    pub(super) delete_instead: bool,
    /// By number of the statement.
    fitted: Vec<Option<Rc<Fitted>>>,
}

impl Planner {
    pub(super) fn new(source: Origins) -> Self {
        Self {
            targets: Targets::default(),
            source,
            registry: Registry::default(),
            delete_instead: false,
            fitted: Vec::new(),
        }
    }

    /// Forgets what was learned about the target, and the statements prepared there.
    pub(super) fn forget(&mut self) {
        self.targets.forget();
        self.fitted.clear();
        self.registry.forget();
    }

    fn fit(
        &mut self,
        control: &mut PgSession,
        statements: &Statements,
        number: usize,
    ) -> Result<Option<Rc<Fitted>>> {
        if let Some(Some(fitted)) = self.fitted.get(number) {
            return Ok(Some(Rc::clone(fitted)));
        }
        let Some(Statement::Shape(shape)) = statements.get(number) else {
            return Ok(None);
        };
        let table = self.targets.route(control, &self.source, &shape.table)?;
        let fitted = Rc::new(render::fit(
            shape,
            &table,
            self.source.is_full(&shape.table),
        )?);
        if self.fitted.len() < statements.count() {
            self.fitted.resize(statements.count(), None);
        }
        if let Some(place) = self.fitted.get_mut(number) {
            *place = Some(Rc::clone(&fitted));
        }
        Ok(Some(fitted))
    }

    /// Plans changes of a group.
    pub(super) fn plan(
        &mut self,
        control: &mut PgSession,
        work: Work<'_>,
    ) -> std::result::Result<Plan, NoPlan> {
        let mut draft = Draft {
            values: &work.group.values,
            plan: Plan::default(),
            rows: Vec::new(),
            refresh: BTreeMap::new(),
            freedom: work.freedom,
        };
        let (mut at, to) = work.range;
        while at < to {
            at = self.change(control, work, at, &mut draft)?;
        }
        draft.flush(&mut self.registry).map_err(NoPlan::Failed)?;
        if !draft.refresh.is_empty()
            && work.group.txns.len() > 1
            && work.freedom != Freedom::Careful
        {
            // A view must not show what came after it was refreshed on the source.
            return Err(NoPlan::OneByOne);
        }
        draft.refresh_views(&mut self.registry);
        Ok(draft.plan)
    }

    /// Takes one change into the draft, or several TRUNCATEs; gives the number of the next one.
    fn change(
        &mut self,
        control: &mut PgSession,
        work: Work<'_>,
        at: usize,
        draft: &mut Draft<'_>,
    ) -> std::result::Result<usize, NoPlan> {
        let blame = |error| NoPlan::Change(at, error);
        let Some(placed) = work.group.changes.get(at) else {
            return Ok(at + 1);
        };
        match &placed.change {
            Change::Impossible(what) => match self.view_of(control, what) {
                Some(table) if table.kind == RelKind::Newcomer => {}
                Some(table) => drop(draft.refresh.insert(table.quoted.clone(), (table, at))),
                None => return Err(blame(impossible(what))),
            },
            Change::Refresh(name) => {
                let table = self
                    .targets
                    .route(control, &self.source, name)
                    .map_err(blame)?;
                if table.kind != RelKind::Newcomer {
                    draft.refresh.insert(table.quoted.clone(), (table, at));
                }
            }
            Change::Truncate(_) => {
                draft.flush(&mut self.registry).map_err(NoPlan::Failed)?;
                let is_truncate = |at: &usize| {
                    matches!(work.group.changes.get(*at), Some(next)
                        if matches!(next.change, Change::Truncate(_)))
                };
                let end = (at..work.range.1).take_while(is_truncate).last();
                let end = end.unwrap_or(at) + 1;
                let truncate = self.truncate(control, work.group, (at, end));
                let Some((sql, step)) = truncate.map_err(blame)? else {
                    return Ok(end);
                };
                if self.delete_instead {
                    for table in &step.truncates {
                        let sql = format!("DELETE FROM {table}");
                        draft.special(&mut self.registry, &sql, step.clone());
                    }
                } else {
                    draft.special(&mut self.registry, &sql, step);
                }
                return Ok(end);
            }
            Change::Rows {
                statement,
                first,
                rows,
            } => match self
                .fit(control, work.statements, *statement)
                .map_err(blame)?
            {
                None => {
                    draft.flush(&mut self.registry).map_err(NoPlan::Failed)?;
                    if let Some(Statement::Verbatim(sql)) = work.statements.get(*statement) {
                        draft.verbatim(&mut self.registry, sql, at, placed_cells(work.group, at));
                    }
                }
                Some(fitted) => draft.rows_of(&fitted, at, (*statement, *first, *rows)),
            },
        }
        Ok(at + 1)
    }

    /// The materialized view that a change is of which no statement can make: the rows of a view have no
    /// identity, and it is refreshed anyway.
    fn view_of(&mut self, control: &mut PgSession, what: &str) -> Option<Rc<TargetTable>> {
        let name = (text_of(what, "schema"), text_of(what, "table"));
        let table = self.targets.route(control, &self.source, &name).ok()?;
        matches!(table.kind, RelKind::MaterializedView | RelKind::Newcomer).then_some(table)
    }

    /// One TRUNCATE for consecutive ones; none where all are of tables that are passed over.
    fn truncate(
        &mut self,
        control: &mut PgSession,
        group: &Group,
        (from, to): (usize, usize),
    ) -> Result<Option<(String, Step)>> {
        let parts: Vec<&Truncate> = group
            .changes
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .filter_map(|placed| match &placed.change {
                Change::Truncate(truncate) => Some(truncate),
                _ => None,
            })
            .collect();
        let (mut tables, mut missing): (Vec<Rc<TargetTable>>, Vec<Rc<TargetTable>>) =
            (Vec::new(), Vec::new());
        for name in parts.iter().flat_map(|part| &part.tables) {
            let table = self.targets.route(control, &self.source, name)?;
            if table.kind == RelKind::Newcomer {
                continue;
            }
            let own = name.0.is_empty() || table.name == *name;
            let list = if own { &mut tables } else { &mut missing };
            if !list.iter().any(|known| known.oid == table.oid) {
                list.push(table);
            }
        }
        if let Some(root) = missing
            .iter()
            .find(|root| !tables.iter().any(|table| table.oid == root.oid))
        {
            return Err(Error::new(
                crate::error::Kind::Target,
                format!(
                    "a partition was truncated that does not exist on the target, where its rows are in {}",
                    root.quoted
                ),
            )
            .hint("Delete its rows on the target by hand, or give the target the same partitions."));
        }
        if tables.is_empty() {
            return Ok(None);
        }
        let restart = parts.iter().any(|part| part.restart);
        let names: Vec<String> = tables
            .iter()
            .map(|table| format!("{}{}", table.only(), table.quoted))
            .collect();
        let mut sql = format!("TRUNCATE {}", names.join(", "));
        if restart {
            sql.push_str(" RESTART IDENTITY");
        }
        let step = Step {
            rows: None,
            change: from,
            row: 0,
            truncates: names,
        };
        Ok(Some((sql, step)))
    }
}

fn placed_cells(group: &Group, at: usize) -> (usize, usize) {
    let first = |at: usize| match group.changes.get(at).map(|placed| &placed.change) {
        Some(Change::Rows { first, .. }) => Some(*first),
        _ => None,
    };
    let end = (at + 1..group.changes.len()).find_map(first);
    (
        first(at).unwrap_or(0),
        end.unwrap_or_else(|| group.values.count()),
    )
}

/// A text of a JSON object; empty where there is none.
fn text_of(object: &str, key: &str) -> String {
    let object: serde_json::Value = serde_json::from_str(object).unwrap_or_default();
    let text = object.get(key).and_then(|value| value.as_str());
    text.unwrap_or_default().to_owned()
}

fn impossible(what: &str) -> Error {
    let text = |key: &str| text_of(what, key);
    let quoted = crate::pg::quote::qualified(&text("schema"), &text("table"));
    Error::bad_state(format!(
        "a change of table {quoted} cannot be applied: {}",
        text("reason")
    ))
    .hint(format!(
        "Let the source tell its rows with ALTER TABLE {quoted} REPLICA IDENTITY FULL, or by a primary key; \
         what changed before must be copied again."
    ))
}
