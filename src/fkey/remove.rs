//! Removing keys and switching triggers off, in transactions of a few hundred.
//!
//! Runs in the guard, once the journal is on disk. What is not there any more was removed by a run that was
//! killed; what is there in another form was changed by somebody else, and then nothing more is removed.

use super::journal::{self, Entry, Thing};
use super::lock::{Limits, changed, patiently};
use super::{Presence, find, look};
use crate::catalog::Ledger;
use crate::error::{Context, Result};
use crate::pg::{PgSession, quote};
use crate::supervisor::Leaf;

/// Most entries in one transaction.
const BATCH: usize = 200;

/// How much was taken away by this call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Keys, those of partitions not counted.
    pub keys: u64,
    /// Triggers.
    pub triggers: u64,
}

/// Removes every key of the open journal and switches its triggers off. Blocks.
pub fn remove(
    leaf: &mut Leaf<'_>,
    session: &mut PgSession,
    ledger: &mut Ledger,
    limits: Limits,
) -> Result<Removed> {
    let mut entries = journal::open_entries(ledger.connection())?;
    // Keys of partitions go with their root; the order of tables is the same for everybody.
    entries.sort_by_key(|entry| (entry.child.oid, entry.id));
    session.batch_execute(&limits.statement())?;
    let tops = tops(session, &entries)?;
    let mut removed = Removed::default();
    for batch in tops.chunks(BATCH) {
        leaf.check()?;
        let mut tables: Vec<String> = batch.iter().map(|entry| entry.child.qname()).collect();
        tables.dedup();
        let gone = patiently(leaf, session, &tables, |session| {
            remove_batch(session, batch, &tables)
        })
        .context(|| "removing foreign keys and switching triggers off".to_owned())?;
        let ids: Vec<i64> = batch.iter().map(|entry| entry.id).collect();
        ledger.write(|tx| {
            entries
                .iter()
                .filter(|entry| ids.contains(&entry.id) || ids.contains(&entry.above))
                .try_for_each(|entry| journal::set_state(tx, entry.id, "removed"))
        })?;
        removed.keys += gone.keys;
        removed.triggers += gone.triggers;
    }
    Ok(removed)
}

/// What has to be removed by name. The key of a partition goes with the one above it, unless that one is not
/// there: rows that broke the key of one partition have kept it from coming back.
fn tops<'e>(session: &mut PgSession, entries: &'e [Entry]) -> Result<Vec<&'e Entry>> {
    let all: Vec<&Entry> = entries.iter().collect();
    let presence = look(session, &all)?;
    let is_there = |id: i64| {
        let above = entries.iter().find(|entry| entry.id == id);
        above.is_some_and(|entry| find(&presence, entry).is_some())
    };
    Ok(all
        .into_iter()
        .filter(|entry| entry.above == 0 || !is_there(entry.above))
        .collect())
}

fn remove_batch(session: &mut PgSession, batch: &[&Entry], tables: &[String]) -> Result<Removed> {
    session.batch_execute("begin")?;
    let only: Vec<String> = tables.iter().map(|table| format!("only {table}")).collect();
    session.batch_execute(&format!(
        "lock table {} in access exclusive mode",
        only.join(", ")
    ))?;
    let presence = look(session, batch)?;
    let mut removed = Removed::default();
    for entry in batch {
        match entry.thing {
            Thing::Key => removed.keys += u64::from(drop_key(session, &presence, entry)?),
            Thing::Trigger => removed.triggers += u64::from(switch_off(session, &presence, entry)?),
        }
    }
    session.batch_execute("commit")?;
    Ok(removed)
}

/// Drops a key; false when it was gone already.
fn drop_key(session: &mut PgSession, presence: &Presence, entry: &Entry) -> Result<bool> {
    let Some(present) = find(presence, entry) else {
        return Ok(false);
    };
    if super::bare(&present.definition) != super::bare(&entry.definition) {
        let what = format!("foreign key {}", entry.shown());
        return Err(changed(&what, &entry.definition, &present.definition));
    }
    session
        .batch_execute(&format!(
            "alter table {} drop constraint {}",
            entry.child.qname(),
            quote::ident(&entry.name)
        ))
        .context(|| format!("removing foreign key {}", entry.shown()))?;
    log::info!(
        "Removed foreign key {} -> {}",
        entry.shown(),
        entry.parent.shown()
    );
    Ok(true)
}

/// Disables a trigger; false when it was so already.
fn switch_off(session: &mut PgSession, presence: &Presence, entry: &Entry) -> Result<bool> {
    let what = || format!("trigger {}", entry.shown());
    let Some(present) = find(presence, entry) else {
        return Err(changed(&what(), &entry.definition, "it is gone"));
    };
    if present.state == "D" {
        return Ok(false);
    }
    if present.definition != entry.definition || present.state != entry.trigger_state {
        return Err(changed(&what(), &entry.definition, &present.definition));
    }
    // Without ONLY the state would spread over all partitions, whose own states are lost then.
    session
        .batch_execute(&format!(
            "alter table only {} disable trigger {}",
            entry.child.qname(),
            quote::ident(&entry.name)
        ))
        .context(|| format!("switching off {}", what()))?;
    log::info!("Switched off trigger {}", entry.shown());
    Ok(true)
}
