//! The target's side of a COPY: emptying, COPY, and the row that says that a part is there.
//!
//! Runs in copy workers. The progress row stands in the transaction of the rows it speaks of, so that
//! whoever finds it knows that they are there, however the worker ended.

use super::task::Task;
use crate::error::{Context, Error, Kind, Result};
use crate::pg::{quote, relay};
use crate::wire;

/// Rows and bytes that went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// Condition that picks the progress row of a unit.
fn progress_key(uuid: &str, task: &Task) -> String {
    format!(
        "work = {} and kind = 'copy' and object = {} and part = {} and plan = {}",
        quote::literal(uuid),
        task.unit.table_oid,
        task.unit.object,
        task.unit.plan
    )
}

/// Rows of a unit that the target already has from an earlier try, by its own record.
pub(super) fn already_there(
    session: &mut wire::Session,
    uuid: &str,
    task: &Task,
) -> Result<Option<u64>> {
    let results = session.simple(&format!(
        "select rows from pgcopydb.progress where {}",
        progress_key(uuid, task)
    ))?;
    let row = results
        .first()
        .and_then(|result| result.rows.first())
        .and_then(|row| row.first());
    Ok(row
        .and_then(Option::as_deref)
        .and_then(|rows| rows.parse().ok()))
}

/// Empties the target's table where this unit has to.
pub(super) fn empty(target: &mut wire::Session, task: &Task, fresh: bool) -> Result<()> {
    if task.must_truncate(fresh) || task.freezes(fresh) {
        target.simple(&task.truncate_sql())?;
    }
    Ok(())
}

/// Copies one unit inside transactions that are open on both sides. Errors: the side that failed;
/// row counts that differ are a failure of the target.
pub(super) fn copy(
    source: &mut wire::Session,
    target: &mut wire::Session,
    task: &Task,
    fresh: bool,
    on_bytes: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Moved> {
    let mut out = source.copy_out(&task.copy_out_sql())?;
    let mut into = target.copy_in(&task.copy_in_sql(fresh))?;
    let bytes = relay::relay(&mut out, &mut into, on_bytes)?;
    let read = out.finish()?;
    let written = into.finish()?;
    if read != written {
        return Err(Error::new(
            Kind::Target,
            format!(
                "the source sent {read} rows of {}, the target took {written}",
                task.qname
            ),
        )
        .hint("Look for triggers or rules on the target table."));
    }
    Ok(Moved { rows: read, bytes })
}

/// Copies several small units, each as a whole, in one query on either side; the target's transaction
/// is begun by it and stays open. Errors: the side that failed, without the table's name.
pub(super) fn copy_many(
    source: &mut wire::Session,
    target: &mut wire::Session,
    tasks: &[Task],
    fresh: bool,
    on_bytes: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<Vec<Moved>> {
    let outs: Vec<String> = tasks.iter().map(Task::copy_out_sql).collect();
    let mut ins = vec!["begin".to_owned()];
    for task in tasks {
        if task.must_truncate(fresh) || task.freezes(fresh) {
            ins.push(task.truncate_sql());
        }
        ins.push(task.copy_in_sql(fresh));
    }
    let mut out = source.copy_out(&outs.join(";\n"))?;
    let mut into = target.copy_in_many(&ins.join(";\n"))?;
    let mut moved = Vec::with_capacity(tasks.len());
    for position in 1..=tasks.len() {
        let bytes = relay::relay(&mut out, &mut into, on_bytes)?;
        if position < tasks.len() {
            moved.push(Moved {
                rows: out.next_statement()?,
                bytes,
            });
            into.next_statement()?;
        } else {
            moved.push(Moved { rows: 0, bytes });
        }
    }
    if let Some(last) = moved.last_mut() {
        last.rows = out.finish()?;
    }
    let written = into.finish_many()?;
    let read: Vec<u64> = moved.iter().map(|moved| moved.rows).collect();
    if read == written {
        return Ok(moved);
    }
    Err(Error::new(
        Kind::Target,
        format!(
            "the source sent {read:?} rows of {} tables, the target took {written:?}",
            tasks.len()
        ),
    )
    .hint("Look for triggers or rules on the target tables."))
}

/// Leaves the row that proves a unit, in the transaction of its rows.
pub(super) fn leave_progress(
    session: &mut wire::Session,
    uuid: &str,
    task: &Task,
    moved: Moved,
) -> Result<()> {
    session
        .simple(&format!(
            "insert into pgcopydb.progress (work, kind, object, part, plan, rows) \
             values ({}, 'copy', {}, {}, {}, {})",
            quote::literal(uuid),
            task.unit.table_oid,
            task.unit.object,
            task.unit.plan,
            moved.rows
        ))
        .map(|_| ())
        .context(|| "noting on the target that a part is there".to_owned())
}
