//! Who writes on the source when the end is set: prepared transactions are refused, others waited for.
//!
//! Runs in the main program, over its own session on the source.

use crate::error::{Error, Result};
use crate::pg::PgSession;
use crate::sys::clock;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// How long transactions that are under way are waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// When those who wait are told for whom.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// Transactions that a message names.
const NAMED_MAX: usize = 5;

/// Refuses while a prepared transaction of the database is open: its commit would come after the end.
pub(super) fn refuse_prepared(session: &mut PgSession) -> Result<()> {
    let rows = session.query(include_str!("sql/list_prepared.sql"), &[])?;
    if rows.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    Err(Error::bad_state(format!(
        "{} prepared transactions are open on the source",
        names.len()
    ))
    .detail(names.join("; "))
    .hint(
        "What they did would be lost when they are committed after the cutover: COMMIT PREPARED or ROLLBACK \
         PREPARED them first.",
    ))
}

/// Waits until all transactions that have written something by now are over; with `all` those that
/// began meanwhile, too. Gives how many there were.
pub(super) fn wait(session: &mut PgSession, all: bool) -> Result<usize> {
    let first = list(session)?;
    let wanted: HashSet<String> = first.iter().map(|(xid, _)| xid.clone()).collect();
    let since = Instant::now();
    let mut left = first;
    let mut told = false;
    loop {
        left.retain(|(xid, _)| all || wanted.contains(xid));
        if left.is_empty() {
            return Ok(wanted.len());
        }
        super::unless_stopped()?;
        let names: Vec<&str> = left
            .iter()
            .take(NAMED_MAX)
            .map(|(_, who)| who.as_str())
            .collect();
        if since.elapsed() > LIMIT {
            return Err(Error::bad_state(format!(
                "{} transactions of the source are not over after {} s",
                left.len(),
                LIMIT.as_secs()
            ))
            .detail(names.join("; "))
            .hint("Stop the applications that write there, or use --set-read-only, which ends their sessions."));
        }
        if !told && since.elapsed() > TELL_AFTER {
            told = true;
            log::warn!(
                "Waiting for {} transactions on the source: {}",
                left.len(),
                names.join("; ")
            );
        }
        clock::nap(Duration::from_millis(100));
        left = list(session)?;
    }
}

fn list(session: &mut PgSession) -> Result<Vec<(String, String)>> {
    let rows = session.query(include_str!("sql/list_writers.sql"), &[])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(2))).collect())
}
