//! Sequences at a cutover: what the live source has by then, whether a clone knew it or not.
//!
//! Runs in the main program, over sessions of its caller. Values of sequences are not decoded as changes,
//! so they are read once more when nobody draws any.

use super::{BATCH, copy_values, renamed, sequences};
use crate::catalog::{Ledger, sqlite_error};
use crate::error::Result;
use crate::pg::PgSession;
use crate::schema;
use crate::units::Oid;
use std::collections::{HashMap, HashSet};

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reset {
    /// Sequences that were set.
    pub set: usize,
    /// Those that the target does not have, quoted.
    pub missing: Vec<String>,
    /// Those that are there since the clone, quoted; the target has none of them either.
    pub created_since: Vec<String>,
}

/// Sets the sequences of the target to what the source has now. Sequences that filters left out are
/// left alone. Blocks.
pub fn reset(source: &mut PgSession, target: &mut PgSession, ledger: &Ledger) -> Result<Reset> {
    let live = schema::list_sequences(&mut source.client)?;
    let known: HashSet<Oid> = sequences(ledger)?.into_iter().map(|(oid, _)| oid).collect();
    let excluded = left_out(ledger)?;
    let targets = renamed(ledger)?;
    let mut done = Reset::default();
    let wanted: Vec<(Oid, String)> = live
        .into_iter()
        .filter(|(oid, _)| !excluded.contains(oid))
        .collect();
    let there = on_target(target, &wanted, &targets)?;
    let mut to_set = Vec::new();
    for (oid, qname) in wanted {
        if there.contains(&oid) {
            to_set.push((oid, qname));
        } else if known.is_empty() || known.contains(&oid) {
            done.missing.push(qname);
        } else {
            done.created_since.push(qname);
        }
    }
    source.batch_execute("begin isolation level read committed, read only")?;
    target.batch_execute("begin")?;
    for batch in to_set.chunks(BATCH) {
        copy_values(source, target, batch, &targets)?;
    }
    target.batch_execute("commit")?;
    source.batch_execute("commit")?;
    done.set = to_set.len();
    Ok(done)
}

/// Those that the target has.
fn on_target(
    target: &mut PgSession,
    wanted: &[(Oid, String)],
    targets: &HashMap<Oid, String>,
) -> Result<HashSet<Oid>> {
    let names: Vec<&str> = wanted
        .iter()
        .map(|(oid, qname)| targets.get(oid).unwrap_or(qname).as_str())
        .collect();
    let rows = target.query(
        "select pg_catalog.to_regclass(name) is not null \
           from unnest($1::text[]) with ordinality as t (name, at) order by at",
        &[&names],
    )?;
    Ok(wanted
        .iter()
        .zip(rows)
        .filter(|(_, row)| row.get(0))
        .map(|((oid, _), _)| *oid)
        .collect())
}

/// Relations that filters leave out.
fn left_out(ledger: &Ledger) -> Result<HashSet<Oid>> {
    let read = || -> rusqlite::Result<HashSet<Oid>> {
        ledger
            .connection()
            .prepare(
                "select object_oid from s_filter where catalog_oid = 1259 and what in ('object', 'part')",
            )?
            .query_map([], |row| row.get(0))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}
