//! VACUUM ANALYZE of tables whose rows, indexes and constraints are there.
//!
//! Runs in vacuum workers, one session on the target each. Doing it twice is harmless; failing to do
//! it is told at the end and stops nothing.

use crate::catalog::unit::{self, Done, Kind, Unit};
use crate::catalog::{Step, sqlite_error};
use crate::error::{Error, Result};
use crate::pg::{PgSession, Profile, Registration, Retry, Token, retry};
use crate::supervisor::Leaf;
use crate::worker::{self, Means, Worker};
use crate::{notice, sql};
use std::time::Instant;

/// What a vacuum worker does, and what makes such work.
pub const KINDS: (&[Kind], &[Kind]) = (
    &[Kind::Vacuum],
    &[Kind::Truncate, Kind::Copy, Kind::Index, Kind::Constraint],
);
/// Small tables in one statement. At the end of each, the server looks through all of `pg_class` for the
/// age of the database, one statement at a time: of 100,000 tables, that is most of the work.
const GROUP: std::ops::RangeInclusive<u32> = 20..=1000;
/// A statement takes one of so many shares of what is ready, so that there is enough for every worker.
const SHARES: u32 = 8;

/// What is done with tables that are complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// VACUUM ANALYZE.
    Vacuum,
    /// ANALYZE alone.
    Analyze,
}

/// Runs a vacuum worker until its stage is over. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means, care: Care) -> Result<()> {
    let mut worker = Worker::start(leaf, means, KINDS.0, KINDS.1)?;
    let mut target: Option<(PgSession, Registration)> = None;
    while let Some(unit) = worker.next_unit()? {
        let ready = unit::count_ready(&worker.ledger, unit.kind)?;
        let share = (ready / SHARES).clamp(*GROUP.start(), *GROUP.end());
        let group = worker.group(unit, share)?;
        let Err(error) = vacuum(&mut worker, &mut target, care, &group) else {
            continue;
        };
        target = None;
        let passing = matches!(retry::policy(&error), Retry::Soon | Retry::Backoff);
        match group.as_slice() {
            [unit] if unit.claims > 1 && !passing && !worker.leaf.stopping() => {
                let why = format!("Could not vacuum: {}", error.lines().join("; "));
                worker.skip(unit, "not vacuumed", &why)?;
            }
            units => worker.failed(units, error)?,
        }
    }
    Ok(())
}

/// Vacuums one table, or several small ones in one statement, which still is a transaction for each.
fn vacuum(
    worker: &mut Worker<'_, '_>,
    target: &mut Option<(PgSession, Registration)>,
    care: Care,
    group: &[Unit],
) -> Result<()> {
    let since = Instant::now();
    let mut names = Vec::with_capacity(group.len());
    let mut is_split = false;
    for unit in group {
        let (qname, split) = table_of(worker, unit)?;
        names.push(qname);
        is_split |= split;
    }
    let verb = match care {
        Care::Vacuum => "VACUUM ANALYZE",
        Care::Analyze => "ANALYZE",
    };
    let title = format!("{verb} {}", names.first().map_or("", String::as_str));
    worker.begin(&title, group.first().map(|unit| unit.id))?;
    if target.is_none() {
        let profile = Profile::TargetBuild {
            maintenance_work_mem: None,
        };
        let session = worker
            .means
            .target()?
            .session(worker.leaf.role.label(), &profile)?;
        let backend = session.backend_id().clone();
        worker::register_backends(&worker.ledger, &worker.activity, None, Some(backend))?;
        let registered = worker.canceller.register(Token::from_session(&session));
        *target = Some((session, registered));
    }
    let (session, _) = target
        .as_mut()
        .ok_or_else(|| Error::internal("a session vanished"))?;
    // Parts arrive unfrozen, as freezing on arrival needs the TRUNCATE in the same transaction.
    let options = if is_split {
        "freeze, analyze"
    } else {
        "analyze"
    };
    let statement = match care {
        Care::Vacuum => format!("vacuum ({options}) {}", names.join(", ")),
        Care::Analyze => format!("analyze {}", names.join(", ")),
    };
    sql!("{statement}");
    session.batch_execute(&statement)?;
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    notice!("{verb} {}: {elapsed_ms} ms", names.join(", "));
    let each = elapsed_ms / u64::try_from(group.len()).unwrap_or(1).max(1);
    let done: Vec<(&Unit, Done)> = group
        .iter()
        .map(|unit| {
            (
                unit,
                Done {
                    elapsed_ms: each,
                    ..Done::default()
                },
            )
        })
        .collect();
    worker.finish(Step::Vacuum, &done)
}

/// Name of a unit's table, and whether it was copied in parts.
fn table_of(worker: &Worker<'_, '_>, unit: &Unit) -> Result<(String, bool)> {
    worker
        .ledger
        .connection()
        .prepare_cached(
            "select qname, exists (select 1 from unit u where u.table_oid = t.oid
                                      and u.kind = 'copy' and u.object <> 0 and u.state = 'done')
               from s_table t where oid = ?1",
        )
        .and_then(|mut statement| {
            statement.query_row([unit.table_oid], |row| Ok((row.get(0)?, row.get(1)?)))
        })
        .map_err(|error| sqlite_error("read", &error))
}
