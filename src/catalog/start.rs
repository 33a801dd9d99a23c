//! Where the copy of each table ends: what its snapshot showed is not applied again.
//!
//! A base copy that was resumed has tables of several snapshots. Each run that took a later one than that
//! of the slot notes its position before it copies; the table's units say which run copied it.

use super::open::{Ledger, sqlite_error};
use super::sentinel::{DDL, lsn};
use crate::error::{Error, Result};
use crate::units::Lsn;
use rusqlite::{Connection, params};
use std::collections::HashMap;

/// The tables that were copied, by schema and name on the source; unset: with the slot's snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStarts {
    by_table: HashMap<(String, String), Lsn>,
    last: Lsn,
}

impl TableStarts {
    /// Notes where the snapshot of a run ends; on disk when it returns.
    pub fn note(ledger: &mut Ledger, run_id: i64, start: Lsn) -> Result<()> {
        ledger.write_durably(|transaction| {
            transaction
                .execute_batch(DDL)
                .and_then(|()| {
                    transaction.execute(
                        "insert or replace into cdc_start (run_id, lsn) values (?1, ?2)",
                        params![run_id, start.to_string()],
                    )
                })
                .map(drop)
                .map_err(|error| sqlite_error("write", &error))
        })
    }

    /// Reads them; none where all tables are of the slot's snapshot. A table whose parts are of several
    /// snapshots is an error: no rule fits it.
    pub fn read(connection: &Connection) -> Result<Self> {
        let failed = |error: rusqlite::Error| sqlite_error("read", &error);
        let there: bool = connection
            .query_row(
                "select exists (select 1 from sqlite_master where name = 'cdc_start')",
                [],
                |row| row.get(0),
            )
            .map_err(failed)?;
        if !there {
            return Ok(Self::default());
        }
        let rows = connection
            .prepare(
                "select t.nspname, t.relname, max(coalesce(c.lsn, '0/0')), count(distinct coalesce(c.lsn, '0/0'))
                   from unit u
                        join s_table t on t.oid = u.table_oid
                        left join cdc_start c on c.run_id = u.run_id
                  where u.kind = 'copy' and u.state = 'done'
                    and u.plan = (select max(plan) from unit x where x.kind = 'copy' and x.table_oid = u.table_oid)
                  group by t.oid",
            )
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| {
                        let name: (String, String) = (row.get(0)?, row.get(1)?);
                        Ok((name, lsn(row, 2)?, row.get::<_, i64>(3)?))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()
            })
            .map_err(failed)?;
        let mut all = Self::default();
        for ((schema, name), start, kinds) in rows {
            if kinds > 1 {
                return Err(Error::bad_state(format!(
                    "parts of table \"{schema}\".\"{name}\" were copied from several snapshots"
                ))
                .hint("Changes cannot be applied to it: begin anew with --restart."));
            }
            all.last = all.last.max(start);
            all.by_table.insert((schema, name), start);
        }
        Ok(all)
    }

    /// Those of a list, for tests and for what is put together elsewhere.
    pub fn of_list(tables: impl IntoIterator<Item = ((String, String), Lsn)>) -> Self {
        let by_table: HashMap<_, _> = tables.into_iter().collect();
        let last = by_table.values().copied().max().unwrap_or_default();
        Self { by_table, last }
    }

    /// The latest of them: from there on the target is a state that the source had. Unset: from the
    /// beginning.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// Whether rows of that table were copied.
    pub fn knows(&self, schema: &str, name: &str) -> bool {
        let key = (schema.to_owned(), name.to_owned());
        self.by_table.contains_key(&key)
    }

    /// Where the copy of a table ends; unset: with the slot's snapshot.
    pub fn of(&self, schema: &str, name: &str) -> Lsn {
        let key = (schema.to_owned(), name.to_owned());
        self.by_table.get(&key).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_starts_where_the_run_that_copied_it_began() {
        let mut ledger = Ledger::in_memory().unwrap();
        let connection = ledger.connection();
        assert_eq!(
            TableStarts::read(connection).unwrap(),
            TableStarts::default()
        );
        connection
            .execute_batch(
                "insert into s_table (oid, nspname, relname, qname, relkind, amname, persistence, filenode, relpages, bytes,
                                      main_bytes, reltuples)
                 select column1, 's', column2, column2, 'r', 'heap', 'p', 0, 0, 0, 0, 0
                   from (values (1, 'old'), (2, 'new'), (3, 'both'));
                 insert into unit (kind, state, table_oid, object, plan, rank, run_id) values
                     ('copy', 'done', 1, 0, 0, 1, 1), ('copy', 'skipped', 2, 1, 0, 1, 1),
                     ('copy', 'done', 2, 1, 1, 1, 2), ('copy', 'done', 2, 2, 1, 1, 2)",
            )
            .unwrap();
        TableStarts::note(&mut ledger, 2, Lsn(0x500)).unwrap();
        let starts = TableStarts::read(ledger.connection()).unwrap();
        assert_eq!(starts.last(), Lsn(0x500));
        assert_eq!(starts.of("s", "new"), Lsn(0x500));
        assert_eq!(starts.of("s", "old"), Lsn::UNSET);
        ledger
            .connection()
            .execute_batch(
                "insert into unit (kind, state, table_oid, object, plan, rank, run_id) values
                     ('copy', 'done', 3, 1, 0, 1, 1), ('copy', 'done', 3, 2, 0, 1, 2)",
            )
            .unwrap();
        let error = TableStarts::read(ledger.connection()).unwrap_err();
        assert!(error.message().contains("several snapshots"), "{error}");
    }
}
