//! What a setup that was killed leaves on the source: a slot that nobody has on record, or a server process
//! that is still about to make one.
//!
//! Runs in leaf processes. What is about to be made is in the ledger first; what is found is taken for ours
//! only where that says so.

use super::{drop_own_publications, drop_slot};
use crate::catalog::{CdcSetup, Ledger};
use crate::error::{Error, Kind, Result};
use crate::follow::files::Plugin;
use crate::follow::source::{self, SourceFacts};
use crate::pg::PgSession;
use crate::sys::clock;
use crate::units::Lsn;
use std::time::{Duration, Instant};

/// The fact in the ledger that a slot is about to be made, until its file is written: its name, and a
/// position that its own lies behind.
pub(super) const INTENT: &str = "slot_intent";
/// The fact in the ledger that tells which server process makes the slot: its number and when it began.
const MAKING: &str = "slot_maker";
/// The fact in the ledger that tells a slot which was made and has no file yet: its name and its position, which
/// nobody moves, as nobody knows of it. Empty while one is about to be made.
const MADE: &str = "slot_made";
/// How long a server process that makes a slot for nobody may take to end.
const MAKER_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Writes down that a slot of this name is about to be made, behind that position.
pub(super) fn note_intent(ledger: &mut Ledger, slot: &str, at: &str) -> Result<()> {
    CdcSetup::put(ledger, &[(INTENT, &format!("{slot} {at}")), (MADE, "")])
}

/// Writes down that it is made.
pub(super) fn note_made(ledger: &mut Ledger, slot: &str, lsn: Lsn) -> Result<()> {
    CdcSetup::put(ledger, &[(MADE, &format!("{slot} {lsn}"))])
}

/// Whether a slot at this position can be the one that the ledger speaks of, whose intent was noted at `at`.
fn can_be_ours(ledger: &Ledger, (slot, at): (&str, Lsn), found: Lsn) -> Result<bool> {
    let made = CdcSetup::get(ledger.connection(), MADE)?.unwrap_or_default();
    let made = made.split_once(' ').filter(|(name, _)| *name == slot);
    Ok(match made.and_then(|(_, lsn)| lsn.parse::<Lsn>().ok()) {
        Some(made) => found == made,
        // Killed while the server was making it.
        None => found >= at,
    })
}

/// Writes down which server process is about to make the slot.
pub(super) fn note_maker(beside: &mut PgSession, ledger: &mut Ledger, pid: i32) -> Result<()> {
    let sql = "select extract(epoch from backend_start)::text from pg_catalog.pg_stat_activity where pid = $1";
    let start: Option<String> = beside.query_opt(sql, &[&pid])?.and_then(|row| row.get(0));
    let start = start.unwrap_or_default();
    CdcSetup::put(ledger, &[(MAKING, &format!("{pid} {start}"))])
}

/// Ends the server process of a setup that was killed, whatever it does: it may still wait for transactions
/// to make its slot, or not even have read that it is to make one.
pub fn end_maker(beside: &mut PgSession, ledger: &Ledger) -> Result<()> {
    let is_half_made =
        CdcSetup::get(ledger.connection(), INTENT)?.is_some_and(|intent| !intent.is_empty());
    let fact = CdcSetup::get(ledger.connection(), MAKING)?.unwrap_or_default();
    let Some((pid, start)) = fact.split_once(' ').filter(|_| is_half_made) else {
        return Ok(());
    };
    let pid: i32 = pid.parse().unwrap_or_default();
    let sql = "select pg_catalog.pg_terminate_backend(pid) from pg_catalog.pg_stat_activity \
               where pid = $1 and extract(epoch from backend_start)::text = $2 \
                 and application_name like 'pgcopydb%'";
    let since = Instant::now();
    while !beside.query(sql, &[&pid, &start])?.is_empty() {
        if since.elapsed() >= MAKER_ENDS_WITHIN {
            return Err(Error::new(
                Kind::Source,
                format!("process {pid} of the source, which makes a replication slot for an earlier run, does not end"),
            )
            .with_sqlstate("55006")
            .hint("Try again in a while: it ends once it has noticed that it was asked to."));
        }
        clock::nap(Duration::from_millis(100));
    }
    Ok(())
}

/// Removes what a setup that crashed left: its slot cannot be used, as the snapshot is gone.
pub(super) fn remove_half_made(
    beside: &mut PgSession,
    ledger: &mut Ledger,
    slot: &str,
    plugin: Plugin,
    facts: &SourceFacts,
) -> Result<()> {
    let intent = CdcSetup::get(ledger.connection(), INTENT)?;
    let Some((name, at)) = intent.as_deref().and_then(|intent| intent.split_once(' ')) else {
        return Ok(());
    };
    let at: Lsn = at.parse().unwrap_or_default();
    end_maker(beside, ledger)?;
    if name == slot
        && let Some(found) = source::read_slot(beside, slot)?
        && found.active_pid.is_none()
        && found.plugin == plugin.name()
        && found.database == facts.database
        && can_be_ours(ledger, (slot, at), found.confirmed)?
    {
        log::info!("Dropping replication slot \"{slot}\" of a setup that did not come to its end");
        drop_slot(beside, slot)?;
    }
    drop_own_publications(beside, ledger)
}
