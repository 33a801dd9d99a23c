//! The source's side of a COPY: a transaction in the snapshot, locks, and a second look at what the
//! names mean now.
//!
//! Runs in copy workers. A snapshot protects rows, not tables: names resolve in the current catalogs,
//! and a table that was rewritten shows no rows to an older snapshot.

use super::task::Task;
use crate::error::{Error, Kind, Result};
use crate::pg::{application_name, quote};
use crate::wire;

/// What became of a table since the catalogs were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it was.
    Same,
    /// Same table, other file: rewritten or truncated.
    Rewritten,
    /// It is gone.
    Dropped,
}

/// Begins a read-only transaction, in the snapshot when there is one.
pub(super) fn begin(
    session: &mut wire::Session,
    snapshot: Option<&str>,
    title: &str,
) -> Result<()> {
    let name = quote::literal(crate::wire::application_name(&application_name(title)));
    let begin =
        format!("set application_name to {name}; begin isolation level repeatable read, read only");
    let Some(snapshot) = snapshot else {
        session.simple(&begin)?;
        return Ok(());
    };
    session.simple(&begin)?;
    session
        .simple(&format!(
            "set transaction snapshot {}",
            quote::literal(snapshot)
        ))
        .map(|_| ())
        .map_err(|error| crate::snapshot::explain(snapshot, error))
}

/// Locks the tables of these tasks against DDL until the transaction ends, and says how each stands.
/// Errors (`Source`): a name that now belongs to another table, or a lock that is refused.
pub(super) fn lock(session: &mut wire::Session, tasks: &[Task]) -> Result<Vec<Standing>> {
    let before = look(session, tasks)?;
    if before.contains(&Standing::Dropped) {
        return Ok(before);
    }
    let names: Vec<String> = tasks
        .iter()
        .map(|task| format!("only {}", task.qname))
        .collect();
    session.simple(&format!(
        "lock table {} in access share mode",
        names.join(", ")
    ))?;
    let standings = look(session, tasks)?;
    check_columns(session, tasks)?;
    Ok(standings)
}

/// Refuses tables whose column names now mean other columns. Only the description of a result shows
/// the current columns: `pg_attribute` shows those of the snapshot.
fn check_columns(session: &mut wire::Session, tasks: &[Task]) -> Result<()> {
    let with_columns: Vec<&Task> = tasks
        .iter()
        .filter(|task| !task.columns.is_empty())
        .collect();
    let selects: Vec<String> = with_columns
        .iter()
        .map(|task| format!("select {} from {} limit 0", task.columns, task.read_from()))
        .collect();
    if selects.is_empty() {
        return Ok(());
    }
    let results = session.simple(&selects.join("; "))?;
    for (task, result) in with_columns.iter().zip(&results) {
        // The result of a query that citus sends on may not say of which column it is.
        let is_unknown = task.is_spread() && result.attnums.iter().all(|number| *number == 0);
        if result.attnums != task.attnums && !is_unknown {
            return Err(Error::new(
                Kind::Source,
                format!(
                    "columns of table {} were changed after the run began",
                    task.qname
                ),
            )
            .detail(format!(
                "The names {} meant columns {:?}, and now mean {:?}.",
                task.columns, task.attnums, result.attnums
            ))
            .hint(
                "Do not change tables on the source during the copy; begin anew with --restart.",
            ));
        }
    }
    Ok(())
}

fn look(session: &mut wire::Session, tasks: &[Task]) -> Result<Vec<Standing>> {
    let values: Vec<String> = tasks
        .iter()
        .map(|task| {
            format!(
                "({}::oid, {})",
                task.unit.table_oid,
                quote::literal(&task.qname)
            )
        })
        .collect();
    let results = session.simple(&format!(
        "select coalesce(pg_catalog.pg_relation_filenode(v.oid), 0),
                coalesce(pg_catalog.to_regclass(v.name)::pg_catalog.oid, 0)
           from (values {}) as v (oid, name)",
        values.join(", ")
    ))?;
    let rows = results
        .first()
        .map(|result| result.rows.as_slice())
        .unwrap_or_default();
    if rows.len() != tasks.len() {
        return Err(Error::internal(
            "the source answered with another number of tables than asked",
        ));
    }
    tasks
        .iter()
        .zip(rows)
        .map(|(task, row)| standing(task, row))
        .collect()
}

fn standing(task: &Task, row: &[Option<String>]) -> Result<Standing> {
    let number = |position: usize| -> i64 {
        row.get(position)
            .and_then(Option::as_deref)
            .and_then(|v| v.parse().ok())
            .unwrap_or(0)
    };
    let (filenode, named) = (number(0), number(1));
    if filenode == 0 && named == 0 {
        return Ok(Standing::Dropped);
    }
    if named != i64::from(task.unit.table_oid) {
        return Err(Error::new(
            Kind::Source,
            format!(
                "the name {} no longer means the table that was to be copied",
                task.qname
            ),
        )
        .detail(format!(
            "The table had oid {}, the name now means oid {named}: it was renamed or replaced \
             after the run began.",
            task.unit.table_oid
        ))
        .hint("Do not change tables on the source during the copy; begin anew with --restart."));
    }
    if task.filenode != 0 && filenode != task.filenode {
        return Ok(Standing::Rewritten);
    }
    Ok(Standing::Same)
}

/// The error for a table whose rows an older snapshot can no longer see.
pub(super) fn rewritten_error(task: &Task) -> Error {
    Error::new(
        Kind::Source,
        format!(
            "table {} was truncated or rewritten after the snapshot",
            task.qname
        ),
    )
    .detail("The snapshot of this run sees no rows in it any more, although there were some.")
    .hint(
        "Use --resume --not-consistent to copy it as it is now, or begin anew with --restart; \
         do not run DDL or TRUNCATE on the source during the copy.",
    )
}
