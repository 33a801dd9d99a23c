//! Claiming units, taking back those of dead workers, and the end of a stage.
//!
//! Runs in workers. A claim is one `UPDATE` whose condition still holds when it is made.

use super::{COLUMNS, Kind, Unit, from_row};
use crate::catalog::open::{Ledger, sqlite_error};
use crate::catalog::run::Run;
use crate::error::{Error, Result};
use crate::sys::clock;
use rusqlite::{OptionalExtension, params};

/// Claims of one unit after which a unit whose workers keep dying is given up.
pub(super) const CRASHES_MAX: u32 = 4;
/// Tables up to this size are copied many in a transaction, bytes.
pub const SMALL_TABLE_BYTES: i64 = 64 * 1024;

/// Of two foreign keys of one table, one waits for the other's lock: they are not run side by side.
const NOT_BESIDE_ITSELF: &str =
    "and not exists (select 1 from unit o where o.table_oid = u.table_oid
    and o.kind in ('fkey', 'validate') and o.state = 'running')";

/// Adding a foreign key locks both its tables: two that share a table wait for each other, or for
/// ever, when they form a cycle.
const NOT_BESIDE_A_NEIGHBOUR: &str = "and not exists (select 1 from unit o
    join s_fkey a on a.oid = o.object join s_fkey b on b.oid = u.object
    where o.kind = 'fkey' and o.state = 'running'
      and (a.table_oid in (b.table_oid, b.ref_oid) or a.ref_oid in (b.table_oid, b.ref_oid)))
    and not exists (select 1 from unit o where o.table_oid = u.table_oid
    and o.kind = 'validate' and o.state = 'running')";

/// Claims the unit with the highest rank, kinds tried in the order given; `None` when there is
/// nothing ready.
pub fn claim(ledger: &mut Ledger, run: Run, worker: u32, kinds: &[Kind]) -> Result<Option<Unit>> {
    for kind in kinds {
        if !is_any_ready(ledger, *kind)? {
            continue;
        }
        let extra = match kind {
            Kind::Fkey => NOT_BESIDE_A_NEIGHBOUR,
            Kind::Validate => NOT_BESIDE_ITSELF,
            _ => "",
        };
        let sql = format!(
            "update unit set state = 'running', attempts = attempts + 1, claims = claims + 1,
                    run_id = ?2, worker = ?3, started_at = ?4
              where id = (select id from unit u where u.kind = ?1 and u.state = 'todo' {extra}
                           order by u.rank desc limit 1)
             returning {COLUMNS}"
        );
        let claimed = ledger.write(|tx| {
            tx.prepare_cached(&sql)
                .and_then(|mut statement| {
                    statement
                        .query_row(
                            params![kind.name(), run.id, worker, clock::epoch_ms()],
                            from_row,
                        )
                        .optional()
                })
                .map_err(|error| sqlite_error("write", &error))
        })?;
        if claimed.is_some() {
            return Ok(claimed);
        }
    }
    Ok(None)
}

/// A look without a lock: most looks of a waiting worker find nothing.
fn is_any_ready(ledger: &Ledger, kind: Kind) -> Result<bool> {
    ledger
        .connection()
        .prepare_cached("select exists (select 1 from unit where kind = ?1 and state = 'todo')")
        .and_then(|mut statement| statement.query_row([kind.name()], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

/// Units of a kind that are ready to be taken.
pub fn count_ready(ledger: &Ledger, kind: Kind) -> Result<u32> {
    ledger
        .connection()
        .prepare_cached("select count(*) from unit where kind = ?1 and state = 'todo'")
        .and_then(|mut statement| statement.query_row([kind.name()], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

/// Claims up to `count` more units of a kind that belong to small tables as a whole and were never
/// tried, to be done in one go with the first.
pub fn claim_small_tables(
    ledger: &mut Ledger,
    run: Run,
    worker: u32,
    (kind, count): (Kind, u32),
) -> Result<Vec<Unit>> {
    let sql = format!(
        "update unit set state = 'running', attempts = attempts + 1, claims = claims + 1,
                run_id = ?1, worker = ?2, started_at = ?3
          where id in (select id from unit where kind = ?5 and state = 'todo' and object = 0
                          and rank <= {SMALL_TABLE_BYTES} and attempts = 0
                        order by rank desc limit ?4)
         returning {COLUMNS}"
    );
    ledger.write(|tx| {
        let claim = || -> rusqlite::Result<Vec<Unit>> {
            let mut statement = tx.prepare_cached(&sql)?;
            statement
                .query_map(
                    params![run.id, worker, clock::epoch_ms(), count, kind.name()],
                    from_row,
                )?
                .collect()
        };
        claim().map_err(|error| sqlite_error("write", &error))
    })
}

/// True when no unit of these kinds, nor of those that make such units ready, is ready or in progress:
/// what still waits, waits for something that was given up.
///
/// One statement looks at all of them: between two looks, a unit of the second kind may end and make
/// one of the first kind ready, which nobody would take any more.
pub fn stage_is_over(ledger: &Ledger, kinds: &[Kind], upstream: &[Kind]) -> Result<bool> {
    let sql = format!(
        "select not exists (select 1 from unit
                             where kind in ({}) and state in ('todo', 'running'))",
        names_of(&[kinds, upstream].concat())
    );
    ledger
        .connection()
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

/// Ranks of the units of these kinds that are ready, highest first; `count` at most.
pub fn ready_ranks(ledger: &Ledger, kinds: &[Kind], count: usize) -> Result<Vec<i64>> {
    let sql = format!(
        "select rank from unit where kind in ({}) and state = 'todo' order by rank desc limit ?1",
        names_of(kinds)
    );
    ledger
        .connection()
        .prepare_cached(&sql)
        .and_then(|mut statement| {
            statement
                .query_map([i64::try_from(count).unwrap_or(i64::MAX)], |row| row.get(0))?
                .collect()
        })
        .map_err(|error| sqlite_error("read", &error))
}

/// How many units of these kinds are being worked on.
pub fn running_count(ledger: &Ledger, kinds: &[Kind]) -> Result<u32> {
    let sql = format!(
        "select count(*) from unit where kind in ({}) and state = 'running'",
        names_of(kinds)
    );
    ledger
        .connection()
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
        .map_err(|error| sqlite_error("read", &error))
}

fn names_of(kinds: &[Kind]) -> String {
    let names: Vec<String> = kinds
        .iter()
        .map(|kind| format!("'{}'", kind.name()))
        .collect();
    names.join(", ")
}

/// Takes back what a dead worker of this run had claimed, once its backends are gone; a unit that
/// has killed its workers too often is given up. Returns the errors of the latter.
pub fn take_back(ledger: &mut Ledger, run: Run, worker: u32, kinds: &[Kind]) -> Result<Vec<Error>> {
    let mut given_up = Vec::new();
    for kind in kinds {
        let units: Vec<Unit> = ledger.write(|tx| {
            let take = || -> rusqlite::Result<Vec<Unit>> {
                let mut statement = tx.prepare(&format!(
                    "update unit set state = case when claims >= {CRASHES_MAX} then 'failed' else 'todo' end,
                            error = '{{\"message\":\"its worker died\"}}'
                      where kind = ?1 and state = 'running' and run_id = ?2 and worker = ?3
                     returning {COLUMNS}"
                ))?;
                statement.query_map(params![kind.name(), run.id, worker], from_row)?.collect()
            };
            take().map_err(|error| sqlite_error("write", &error))
        })?;
        given_up.extend(
            units
                .into_iter()
                .filter(|unit| unit.claims >= CRASHES_MAX)
                .map(|unit| {
                    Error::internal(format!(
                        "gave up {} {} of table {} after {} workers died over it",
                        unit.kind.name(),
                        unit.object,
                        unit.table_oid,
                        unit.claims
                    ))
                }),
        );
    }
    Ok(given_up)
}

/// The start of a run: claims of earlier runs are void, what was given up is tried again.
pub fn reset_for_run(connection: &rusqlite::Connection) -> Result<()> {
    connection
        .execute_batch(
            "update unit set state = 'todo' where state in ('running', 'failed');
             update unit set claims = 0 where claims <> 0",
        )
        .map_err(|error| sqlite_error("write", &error))
}
