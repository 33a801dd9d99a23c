//! What becomes ready when something is done.
//!
//! Runs inside the ledger transaction that finishes a unit, and once over all tables when a run
//! starts. The rules stand in [`RULES`], one statement for each kind, in the order of the work.

use super::Kind;
use crate::catalog::open::sqlite_error;
use crate::error::Result;
use crate::units::Oid;
use rusqlite::Connection;

/// `?1` is a table, or 0 for all. A unit that was skipped counts as done, a failed one does not.
const RULES: [&str; 8] = [
    // A table is emptied, or copied anew, once no part of an older plan can still arrive.
    "update unit set state = 'todo'
      where kind = 'truncate' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and u.kind = 'copy' and u.plan < unit.plan
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    "update unit set state = 'todo'
      where kind = 'copy' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and (u.kind = 'truncate' or (u.kind = 'copy' and u.plan < unit.plan))
                           and u.state not in ('done', 'skipped'))
        and not exists (select 1 from copy_after a cross join unit u on u.table_oid = a.parent_oid
                         where a.table_oid = unit.table_oid and u.kind = 'copy'
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    "update unit set state = 'todo'
      where kind = 'index' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and u.kind in ('truncate', 'copy')
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    "update unit set state = 'todo'
      where kind = 'constraint' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and u.kind in ('truncate', 'copy', 'index')
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    "update unit set state = 'todo'
      where kind = 'vacuum' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and u.kind in ('truncate', 'copy', 'index', 'constraint')
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    // A foreign key needs the keys of both tables, and would wait for a VACUUM of either.
    "update unit set state = 'todo'
      where kind = 'fkey' and state = 'waiting'
        and (?1 = 0 or object in (select oid from s_fkey where table_oid = ?1
                                  union select oid from s_fkey where ref_oid = ?1))
        and not exists (select 1 from s_fkey f join unit u on u.table_oid in (f.table_oid, f.ref_oid)
                         where f.oid = unit.object
                           and u.kind in ('truncate', 'copy', 'index', 'constraint', 'vacuum')
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    "update unit set state = 'todo'
      where kind = 'validate' and state = 'waiting' and (?1 = 0 or table_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and u.kind = 'fkey' and u.object = unit.object
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
    // Tables whose rows are checked against those of the table that is complete now.
    "update unit set state = 'todo'
      where kind = 'copy' and state = 'waiting'
        and table_oid in (select table_oid from copy_after where parent_oid = ?1)
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and (u.kind = 'truncate' or (u.kind = 'copy' and u.plan < unit.plan))
                           and u.state not in ('done', 'skipped'))
        and not exists (select 1 from copy_after a cross join unit u on u.table_oid = a.parent_oid
                         where a.table_oid = unit.table_oid and u.kind = 'copy'
                           and u.state not in ('done', 'skipped'))
     returning id, kind",
];

/// Position in [`RULES`] of the one that is about other tables than the one that has made progress.
const OTHER_TABLES: usize = 7;

/// Positions in [`RULES`] of what can become ready when a unit of this kind ends.
fn rules_after(kind: Kind) -> &'static [usize] {
    match kind {
        Kind::Truncate => &[1],
        Kind::Copy => &[0, 1, 2, 3, 4, 5],
        Kind::Index => &[3, 4, 5],
        Kind::Constraint => &[4, 5],
        Kind::Vacuum => &[5],
        Kind::Fkey => &[6],
        Kind::Validate | Kind::Blob | Kind::Extension => &[],
    }
}

/// Makes units of a table ready (of all tables for 0), and returns those that became so.
pub fn advance(connection: &Connection, table: Oid) -> Result<Vec<(Kind, i64)>> {
    let mut ready = Vec::new();
    for rule in RULES {
        ready.extend(apply(connection, rule, table)?);
    }
    Ok(ready)
}

/// Makes units ready that waited for a unit of this kind; returns them.
pub(super) fn advance_after(
    connection: &Connection,
    table: Oid,
    kind: Kind,
) -> Result<Vec<(Kind, i64)>> {
    let mut ready = match kind {
        Kind::Copy => apply(connection, RULES[OTHER_TABLES], table)?,
        _ => Vec::new(),
    };
    for position in rules_after(kind) {
        let own = apply(connection, RULES[*position], table)?;
        // What comes later in the order waits for these.
        if !own.is_empty() {
            ready.extend(own);
            break;
        }
    }
    Ok(ready)
}

fn apply(connection: &Connection, rule: &str, table: Oid) -> Result<Vec<(Kind, i64)>> {
    let run = || -> rusqlite::Result<Vec<(i64, String)>> {
        let mut statement = connection.prepare_cached(rule)?;
        statement
            .query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    let changed = run().map_err(|error| sqlite_error("write", &error))?;
    Ok(changed
        .into_iter()
        .filter_map(|(id, kind)| Some((Kind::parse(&kind)?, id)))
        .collect())
}
