//! The decision of the filters in the ledger: written once, and taken out of what was fetched.
//!
//! Runs in the process that fetches; read by all that edit the archive's list.

use super::closure::LeftOut;
use super::explain::{Explained, What};
use super::facts::ObjectId;
use crate::catalog::sqlite_error;
use crate::error::Result;
use crate::units::Oid;
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// What is left out of the `s_*` tables.
const PRUNE: &str = "
    delete from s_table where oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    update s_table set exclude_data = 1 where oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what = 'rows');
    update s_table set route_oid = null, route_qname = null where route_oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_index where oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_constraint where oid in
        (select object_oid from s_filter where catalog_oid = 2606 and what in ('object', 'part'));
    delete from s_fkey where oid in
        (select object_oid from s_filter where catalog_oid = 2606 and what in ('object', 'part'));
    delete from s_seq where oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_analyze where oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_analyze where relkind = 'm' and oid in
        (select object_oid from s_filter where catalog_oid = 1259 and what = 'rows');
    delete from s_extension where oid in
        (select object_oid from s_filter where catalog_oid = 3079 and what = 'object');
    delete from s_extension_config where ext_oid in
        (select object_oid from s_filter where catalog_oid = 3079 and what = 'object')
        or oid in (select object_oid from s_filter where catalog_oid = 1259 and what = 'rows')";

/// What is kept, out of the same tables: the complement remains.
const KEEP_LEFT_OUT: &str = "
    delete from s_table where oid not in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_index where oid not in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'));
    delete from s_constraint where oid not in
        (select object_oid from s_filter where catalog_oid = 2606 and what in ('object', 'part'));
    delete from s_seq where oid not in
        (select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part'))";

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Part => "part",
            Self::Rows => "rows",
            Self::Kept => "kept",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "part" => Self::Part,
            "rows" => Self::Rows,
            "kept" => Self::Kept,
            _ => Self::Object,
        }
    }
}

/// Writes down what is left out, in place of what stood there.
pub fn store(connection: &Connection, explained: &[Explained]) -> Result<()> {
    let failed = |error: rusqlite::Error| sqlite_error("write", &error);
    connection
        .execute("delete from s_filter", [])
        .map_err(failed)?;
    let mut insert = connection
        .prepare("insert or ignore into s_filter values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
        .map_err(failed)?;
    for object in explained {
        let (nspname, relname) = match &object.hangs_on {
            Some((nspname, relname)) => (Some(nspname), Some(relname)),
            None => (None, None),
        };
        insert
            .execute(params![
                object.id.0,
                object.id.1,
                object.what.word(),
                object.kind,
                object.name,
                object.reason,
                object.is_hanging,
                nspname,
                relname,
            ])
            .map_err(failed)?;
    }
    Ok(())
}

/// Takes what is left out of the rows that were fetched so far. Can be run again.
pub fn prune(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(PRUNE)
        .map_err(|error| sqlite_error("write", &error))
}

/// Takes everything but what is left out of the rows that were fetched so far, for `--list-skipped`.
pub fn keep_left_out(connection: &Connection) -> Result<()> {
    connection
        .execute_batch(KEEP_LEFT_OUT)
        .map_err(|error| sqlite_error("write", &error))
}

/// All that the filters touch, parts included; empty without filters.
pub fn list(connection: &Connection) -> Result<Vec<Explained>> {
    let read = || -> rusqlite::Result<Vec<Explained>> {
        connection
            .prepare(
                "select catalog_oid, object_oid, what, kind, name, reason, is_hanging,
                        of_nspname, of_relname
                   from s_filter order by kind, name, catalog_oid, object_oid",
            )?
            .query_map([], |row| {
                let (nspname, relname): (Option<String>, Option<String>) =
                    (row.get(7)?, row.get(8)?);
                Ok(Explained {
                    id: (row.get(0)?, row.get(1)?),
                    what: What::of(&row.get::<_, String>(2)?),
                    kind: row.get(3)?,
                    name: row.get(4)?,
                    reason: row.get(5)?,
                    is_hanging: row.get(6)?,
                    hangs_on: nspname.zip(relname),
                })
            })?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

/// What is left out, objects and parts; and relations without rows.
pub fn load(connection: &Connection) -> Result<(BTreeSet<ObjectId>, BTreeSet<Oid>)> {
    let (mut objects, mut rows) = (BTreeSet::new(), BTreeSet::new());
    for object in list(connection)? {
        match object.what {
            What::Object | What::Part => {
                objects.insert(object.id);
            }
            What::Rows => {
                rows.insert(object.id.1);
            }
            What::Kept => {}
        }
    }
    Ok((objects, rows))
}

impl LeftOut {
    /// What the ledger says is left out, for the checks of a resumed run.
    pub fn of_ledger(connection: &Connection) -> Result<Self> {
        let (objects, _) = load(connection)?;
        Ok(Self {
            parts: objects.into_iter().map(|id| (id, id)).collect(),
            ..Self::default()
        })
    }

    /// Adds what another one leaves out.
    pub fn add(&mut self, other: &Self) {
        let objects = other.objects.keys().chain(other.parts.keys());
        self.parts.extend(objects.map(|id| (*id, *id)));
    }
}
