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
    let none: [&(dyn postgres::types::ToSql + Sync); 0] = [];
    let rows = source.query_raw(include_str!("sql/list_large_objects.sql"), none)?;
    let mut oids = rows.map(|row| row.try_get::<_, u32>(0));
    let mut count = 0;
    let mut batch: Option<(u32, u32, usize)> = None;
    let failed = |error: postgres::Error| {
        Error::new(Kind::Source, format!("could not list the large objects: {error}")).transient()
    };
    while let Some(oid) = oids.next().map_err(failed)? {
        batch = match batch {
            Some((first, _, size)) if size < BATCH => Some((first, oid, size + 1)),
            full => {
                if let Some((first, last, _)) = full {
                    insert(connection, first, last)?;
                    count += 1;
                }
                Some((oid, oid, 1))
            }
        };
    }
    if let Some((first, last, _)) = batch {
        insert(connection, first, last)?;
        count += 1;
    }
    Ok(count)
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
