//! Values of sequences: read from the source now, set on the target.
//!
//! Runs in the sequence process. Values are no part of a snapshot, so they are read anew in every run:
//! later values are never behind the rows that were copied. Identity sequences are sequences, too.
//! `reset` does the same at a cutover, from what the source has by then.

mod reset;

pub use reset::{Reset, reset};

use crate::catalog::{Ledger, Step, sqlite_error};
use crate::error::{Context, Result};
use crate::pg::{PgSession, Profile, Token, quote};
use crate::schema;
use crate::supervisor::Leaf;
use crate::units::{Oid, Side};
use crate::worker::{self, Means};
use std::collections::HashMap;
use std::time::Instant;

/// Sequences in one statement on either side.
const BATCH: usize = 300;

/// Sets all sequences of the ledger on the target. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means) -> Result<()> {
    let since = Instant::now();
    let canceller = worker::enter(leaf)?;
    let ledger = Ledger::open(&means.layout.ledger())?;
    let sequences = sequences(&ledger)?;
    let targets = renamed(&ledger)?;
    if !sequences.is_empty() {
        let title = leaf.role.label();
        let mut source = means.source()?.session(title, &Profile::Catalog)?;
        let mut target = means.target()?.session(title, &Profile::TargetPlain)?;
        let _source = canceller.register(Token::from_session(&source));
        let _target = canceller.register(Token::from_session(&target));
        source.batch_execute("begin isolation level read committed, read only")?;
        target.batch_execute("begin")?;
        for batch in sequences.chunks(BATCH) {
            leaf.check()?;
            copy_values(&mut source, &mut target, batch, &targets)?;
        }
        target.batch_execute("commit")?;
        source.batch_execute("commit")?;
    }
    log::info!("Set {} sequences on the target database", sequences.len());
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    Step::Sequence.add(ledger.connection(), elapsed_ms, 0)?;
    means.run.mark(ledger.connection(), "sequences", "")
}

/// Reads a batch of sequences on the source, given by oid and quoted name, and sets them on the target.
/// Both sessions are inside of a transaction.
fn copy_values(
    source: &mut PgSession,
    target: &mut PgSession,
    batch: &[(Oid, String)],
    targets: &HashMap<Oid, String>,
) -> Result<()> {
    let values = schema::read_sequence_values(&mut source.client, Side::Source, batch)
        .context(|| "reading sequences on the source".to_owned())?;
    let names: HashMap<Oid, &str> = batch
        .iter()
        .map(|(oid, qname)| (*oid, targets.get(oid).unwrap_or(qname).as_str()))
        .collect();
    let calls: Vec<String> = values
        .iter()
        .filter_map(|value| {
            Some(format!(
                "pg_catalog.setval({}::pg_catalog.regclass, {}, {})",
                quote::literal(names.get(&value.oid)?),
                value.last_value,
                value.is_called
            ))
        })
        .collect();
    if calls.is_empty() {
        return Ok(());
    }
    // One row with a column for each would meet the limit on columns.
    let statement = format!("select v from (values ({})) as t (v)", calls.join("), ("));
    target
        .batch_execute(&statement)
        .context(|| "setting sequences on the target".to_owned())
}

/// Sequences that have another name on the target.
fn renamed(ledger: &Ledger) -> Result<HashMap<Oid, String>> {
    let read = || -> rusqlite::Result<HashMap<Oid, String>> {
        ledger
            .connection()
            .prepare("select oid, target_qname from s_seq where target_qname is not null")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}

fn sequences(ledger: &Ledger) -> Result<Vec<(Oid, String)>> {
    let read = || -> rusqlite::Result<Vec<(Oid, String)>> {
        ledger
            .connection()
            .prepare("select oid, qname from s_seq order by oid")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    };
    read().map_err(|error| sqlite_error("read", &error))
}
