//! What becomes ready when something is done.
//!
//! Runs inside the ledger transaction that finishes a unit, and once over all tables when a run
//! starts. The rules stand in [`RULES`], one statement for each kind, in the order of the work.

use super::Kind;
use crate::catalog::open::sqlite_error;
use crate::error::Result;
use crate::units::Oid;
use rusqlite::Connection;

/// `{of}` is replaced by what narrows a rule to one table, `?1`, so that its plan begins there: a
/// condition such as `?1 = 0 or …` would read every waiting unit, each time that one is done. A unit
/// that was skipped counts as done, a failed one does not.
const RULES: [(&str, &str); 8] = [
    // A table is emptied, or copied anew, once no part of an older plan can still arrive.
    (
        "update unit set state = 'todo'
          where kind = 'truncate' and state = 'waiting' and {of}
            and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                               and u.kind = 'copy' and u.plan < unit.plan
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        OF_TABLE,
    ),
    (
        COPY,
        OF_TABLE,
    ),
    (
        "update unit set state = 'todo'
          where kind = 'index' and state = 'waiting' and {of}
            and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                               and u.kind in ('truncate', 'copy')
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        OF_TABLE,
    ),
    (
        "update unit set state = 'todo'
          where kind = 'constraint' and state = 'waiting' and {of}
            and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                               and u.kind in ('truncate', 'copy', 'index')
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        OF_TABLE,
    ),
    (
        "update unit set state = 'todo'
          where kind = 'vacuum' and state = 'waiting' and {of}
            and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                               and u.kind in ('truncate', 'copy', 'index', 'constraint')
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        OF_TABLE,
    ),
    // A foreign key needs the keys of both tables, and would wait for a VACUUM of either.
    (
        "update unit set state = 'todo'
          where +kind = 'fkey' and +state = 'waiting' and {of}
            and not exists (select 1 from s_fkey f cross join unit u on u.table_oid in (f.table_oid, f.ref_oid)
                             where f.oid = unit.object
                               and u.kind in ('truncate', 'copy', 'index', 'constraint', 'vacuum')
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        "id in (select k.id from s_fkey f cross join unit k on k.kind = 'fkey'
                   and k.table_oid = f.table_oid and k.object = f.oid where f.table_oid = ?1
                union all
                select k.id from s_fkey f cross join unit k on k.kind = 'fkey'
                   and k.table_oid = f.table_oid and k.object = f.oid where f.ref_oid = ?1)",
    ),
    (
        "update unit set state = 'todo'
          where kind = 'validate' and state = 'waiting' and {of}
            and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                               and u.kind = 'fkey' and u.object = unit.object
                               and u.state not in ('done', 'skipped'))
         returning id, kind",
        OF_TABLE,
    ),
    // Tables whose rows are checked against those of the table that is complete now.
    (
        COPY,
        "table_oid in (select a.table_oid from copy_after a where a.parent_oid = ?1)",
    ),
];

/// A table is copied once it is emptied, and once the tables are complete that its rows are checked
/// against on arrival.
const COPY: &str = "update unit set state = 'todo'
       where kind = 'copy' and state = 'waiting' and {of}
        and not exists (select 1 from unit u where u.table_oid = unit.table_oid
                           and (u.kind = 'truncate' or (u.kind = 'copy' and u.plan < unit.plan))
                           and u.state not in ('done', 'skipped'))
        and not exists (select 1 from copy_after a cross join unit u on u.table_oid = a.parent_oid
                         where a.table_oid = unit.table_oid and u.kind = 'copy'
                           and u.state not in ('done', 'skipped'))
     returning id, kind";

const OF_TABLE: &str = "table_oid = ?1";
/// All tables: `?1` is 0.
const OF_ALL: &str = "?1 = 0";

fn rule_sql(position: usize, table: Oid) -> String {
    let (rule, of) = RULES[position];
    rule.replace("{of}", if table == 0 { OF_ALL } else { of })
}

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
    for position in 0..RULES.len() {
        ready.extend(apply(connection, position, table)?);
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
        Kind::Copy => apply(connection, OTHER_TABLES, table)?,
        _ => Vec::new(),
    };
    for position in rules_after(kind) {
        let own = apply(connection, *position, table)?;
        // What comes later in the order waits for these.
        if !own.is_empty() {
            ready.extend(own);
            break;
        }
    }
    Ok(ready)
}

fn apply(connection: &Connection, position: usize, table: Oid) -> Result<Vec<(Kind, i64)>> {
    let run = || -> rusqlite::Result<Vec<(i64, String)>> {
        let mut statement = connection.prepare_cached(&rule_sql(position, table))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Ledger;

    /// With 100,000 tables, a rule that reads every waiting unit each time that one is done takes
    /// hours: each begins at the table that has made progress.
    #[test]
    fn a_finished_unit_never_reads_those_of_all_tables() {
        let ledger = Ledger::in_memory().unwrap();
        for position in 0..RULES.len() {
            let sql = format!("explain query plan {}", rule_sql(position, 1));
            let mut statement = ledger.connection().prepare(&sql).unwrap();
            let plan: Vec<String> = statement
                .query_map([1], |row| row.get(3))
                .unwrap()
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            assert!(!plan.is_empty());
            for line in &plan {
                assert!(
                    !line.starts_with("SCAN")
                        && !line.contains("INDEX unit_claim")
                        && (!line.contains("INDEX unit_identity") || line.contains("table_oid=?")),
                    "rule {position}: {plan:#?}"
                );
            }
        }
    }
}
