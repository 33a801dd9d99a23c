//! Planning batches of large objects.
//!
//! Runs in the process that plans, in the run's snapshot. Reads oids only, as the size of a large
//! object is not to be had cheaply.

use crate::catalog::sqlite_error;
use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use fallible_iterator::FallibleIterator;
use rusqlite::{Connection, params};

/// Large objects in one batch, and so in one transaction: each one takes a lock on the target.
const BATCH: usize = 200;

/// Writes a unit for each batch of large objects of the source; returns how many batches there are.
/// Blocks.
pub fn plan(source: &mut PgSession, connection: &Connection) -> Result<u64> {
    let mut batches = Batches::new(connection);
    each_oid(source, |oid| batches.add(oid))?;
    batches.end()?;
    Ok(batches.count)
}

/// Plans what has changed on the source since: a batch that is done and has lost or won objects is to
/// be done again, and objects that are in no batch get batches of their own. Returns how many there
/// are of both. Blocks.
pub fn plan_again(source: &mut PgSession, connection: &Connection) -> Result<u64> {
    let planned = planned(connection)?;
    let mut sizes = vec![0_i64; planned.len()];
    let mut at = 0;
    let mut batches = Batches::new(connection);
    each_oid(source, |oid| {
        while planned.get(at).is_some_and(|batch| batch.last < oid) {
            // a new batch must not reach over one that is there
            batches.end()?;
            at += 1;
        }
        if planned.get(at).is_some_and(|batch| batch.first <= oid) {
            sizes[at] += 1;
            return Ok(());
        }
        batches.add(oid)
    })?;
    batches.end()?;
    let mut again = 0;
    for (batch, size) in planned.iter().zip(sizes) {
        if batch.done && batch.rows != size {
            connection
                .prepare_cached("update unit set state = 'todo', error = null where id = ?1")
                .and_then(|mut statement| statement.execute([batch.id]))
                .map_err(|error| sqlite_error("write", &error))?;
            again += 1;
        }
    }
    Ok(batches.count + again)
}

/// Gives the oid of each large object of the source to `visit`, in order.
fn each_oid(source: &mut PgSession, mut visit: impl FnMut(u32) -> Result<()>) -> Result<()> {
    let none: [&(dyn postgres::types::ToSql + Sync); 0] = [];
    let failed = |error: postgres::Error| {
        Error::new(
            Kind::Source,
            format!("could not list the large objects: {error}"),
        )
        .transient()
    };
    let rows = source.query_raw(include_str!("sql/list_large_objects.sql"), none)?;
    let mut oids = rows.map(|row| row.try_get::<_, u32>(0));
    while let Some(oid) = oids.next().map_err(failed)? {
        visit(oid)?;
    }
    Ok(())
}

/// A batch that an earlier plan wrote.
struct Planned {
    id: i64,
    first: u32,
    last: u32,
    done: bool,
    rows: i64,
}

fn planned(connection: &Connection) -> Result<Vec<Planned>> {
    let read = || -> rusqlite::Result<Vec<Planned>> {
        connection
            .prepare(
                "select id, object, object_end, state = 'done', rows from unit
                  where kind = 'blob' order by object",
            )?
            .query_map([], |row| {
                Ok(Planned {
                    id: row.get(0)?,
                    first: row.get(1)?,
                    last: row.get(2)?,
                    done: row.get(3)?,
                    rows: row.get(4)?,
                })
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// Cuts ascending oids into batches, and writes a unit for each.
struct Batches<'c> {
    connection: &'c Connection,
    /// First oid, last oid and size of the batch that is being filled.
    open: Option<(u32, u32, usize)>,
    /// Batches written.
    count: u64,
}

impl<'c> Batches<'c> {
    fn new(connection: &'c Connection) -> Self {
        Self {
            connection,
            open: None,
            count: 0,
        }
    }

    fn add(&mut self, oid: u32) -> Result<()> {
        if self.open.is_some_and(|(_, _, size)| size >= BATCH) {
            self.end()?;
        }
        self.open = match self.open {
            Some((first, _, size)) => Some((first, oid, size + 1)),
            None => Some((oid, oid, 1)),
        };
        Ok(())
    }

    /// Writes the batch that is being filled; the next oid begins another one.
    fn end(&mut self) -> Result<()> {
        if let Some((first, last, _)) = self.open.take() {
            insert(self.connection, first, last)?;
            self.count += 1;
        }
        Ok(())
    }
}

fn insert(connection: &Connection, first: u32, last: u32) -> Result<()> {
    connection
        .prepare_cached(
            "insert or ignore into unit (kind, state, object, object_end) values ('blob', 'todo', ?1, ?2)",
        )
        .and_then(|mut statement| statement.execute(params![first, last]))
        .map(|_| ())
        .map_err(|error| sqlite_error("write", &error))
}
