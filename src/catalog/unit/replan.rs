//! New plans for tables whose old one is void.
//!
//! Runs in workers and in the process that plans. Parts of an older plan never count as finished
//! work: the table is emptied before the first row of the new plan, and not before the last part of
//! the old one can no longer arrive.

use super::{Kind, Unit, advance};
use crate::catalog::open::sqlite_error;
use crate::error::Result;
use crate::units::Oid;
use rusqlite::{Connection, params};

/// Voids the plan that `unit`, a part in progress, belongs to, and plans its table as a whole.
/// Several parts may find out at the same time: the first one plans. Returns what became ready.
pub fn replan_as_whole(connection: &Connection, unit: &Unit) -> Result<Vec<(Kind, i64)>> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    let planned: bool = connection
        .query_row(
            "select exists (select 1 from unit where kind = 'copy' and table_oid = ?1 and plan > ?2)",
            params![unit.table_oid, unit.plan],
            |row| row.get(0),
        )
        .map_err(failed)?;
    if !planned {
        connection
            .execute(
                "insert into unit (kind, state, table_oid, object, plan, rank)
                 select 'copy', 'waiting', ?1, 0, ?2 + 1, coalesce(max(bytes), 0)
                   from s_table where oid = ?1",
                params![unit.table_oid, unit.plan],
            )
            .map_err(failed)?;
    }
    connection
        .execute(
            "update unit set state = 'skipped'
              where kind = 'copy' and table_oid = ?1 and plan <= ?2
                and (state <> 'running' or id = ?3)",
            params![unit.table_oid, unit.plan, unit.id],
        )
        .map_err(failed)?;
    advance(connection, unit.table_oid)
}

/// Split tables of which some units are not done: name and oid. With a snapshot, only those of which
/// some part was read with another one.
pub fn unfinished_split_tables(
    connection: &Connection,
    snapshot: Option<&str>,
) -> Result<Vec<(Oid, String)>> {
    let read = || -> rusqlite::Result<Vec<(Oid, String)>> {
        connection
            .prepare(
                "select oid, qname from s_table t
                  where exists (select 1 from unit u where u.table_oid = t.oid and u.kind = 'copy'
                                   and u.object <> 0 and u.state not in ('done', 'skipped'))
                    and (?1 is null or exists
                         (select 1 from unit u left join run r on r.id = u.run_id
                           where u.table_oid = t.oid and u.kind = 'copy' and u.object <> 0
                             and u.state = 'done'
                             and coalesce(u.snapshot, r.snapshot, '') <> ?1))",
            )?
            .query_map([snapshot], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Gives a split table the same parts under a new plan, to be copied after it was emptied. All older
/// plans are void, a plan of the table as a whole among them.
pub fn replan_parts(connection: &Connection, table: Oid) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    let (parts, newest): (i64, i64) = connection
        .query_row(
            "select (select max(plan) from s_part where table_oid = ?1),
                    (select max(plan) from unit
                      where table_oid = ?1 and kind in ('copy', 'truncate'))",
            [table],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .map_err(failed)?;
    let plan = newest.max(parts) + 1;
    let statements = [
        "insert into s_part (table_oid, plan, part, kind, low, high, with_null)
         select table_oid, ?3, part, kind, low, high, with_null from s_part
          where table_oid = ?1 and plan = ?2",
        "insert into unit (kind, state, table_oid, object, plan, rank)
         select kind, 'waiting', table_oid, object, ?3, rank from unit
          where kind = 'copy' and table_oid = ?1 and plan = ?2 and object <> 0
         union all
         select 'truncate', 'waiting', ?1, 0, ?3, max(rank) from unit
          where kind = 'copy' and table_oid = ?1 and plan = ?2",
        "update unit set state = 'skipped'
          where kind in ('copy', 'truncate') and table_oid = ?1 and plan < ?3 and ?2 is not null",
    ];
    for statement in statements {
        connection
            .execute(statement, params![table, parts, plan])
            .map_err(failed)?;
    }
    Ok(())
}
