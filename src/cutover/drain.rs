//! Waiting until everything up to the end is on the target, and the proof that it is.
//!
//! Runs in the main program beside those who receive and apply. Believes the transaction index, which
//! proves durable files, and what the target durably says of its progress; nothing else.

use crate::catalog::{CdcStatus, Ledger, Sentinel};
use crate::error::{Error, Result};
use crate::follow::files::CdcDir;
use crate::follow::origin;
use crate::follow::txn_index::TxnIndex;
use crate::pg::PgSession;
use crate::sys::{clock, lock};
use crate::units::{Lsn, pretty_bytes};
use crate::workdir::{Layout, Look};
use std::time::{Duration, Instant};

/// How long nobody may receive or apply before it is over: a service may be starting it again.
const ALONE_MAX: Duration = Duration::from_secs(20);
/// How often it is told what is left.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The facts that prove it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// All that ends up to here is in the files.
    pub received_through: Lsn,
    /// End of the last transaction up to the endpos; unset: there was none.
    pub last_commit: Lsn,
    /// What the target's origin durably says.
    pub progress: Lsn,
}

impl Proof {
    /// Whether everything up to `endpos` is on the target.
    pub fn holds(&self, endpos: Lsn) -> bool {
        self.received_through >= endpos && self.progress >= self.last_commit
    }
}

/// Whose work is waited for.
pub(super) struct Drain<'a> {
    pub(super) layout: &'a Layout,
    pub(super) cdc: &'a CdcDir,
    pub(super) origin: &'a str,
}

impl Drain<'_> {
    /// Whether somebody receives or applies.
    pub(super) fn is_alive(&self, ledger: &Ledger, target: &mut PgSession) -> Result<bool> {
        if Look::at(self.layout.clone())?.run().is_some() {
            return Ok(true);
        }
        let receive = self.cdc.receive_lock();
        if receive.exists() && lock::try_lock(&receive)?.is_none() {
            return Ok(true);
        }
        let backend = CdcStatus::read(ledger.connection())?.apply_backend;
        let row = target.query_one(
            "select exists (select 1 from pg_catalog.pg_stat_activity \
              where pid = $1 and application_name like 'pgcopydb%')",
            &[&backend],
        )?;
        Ok(row.get(0))
    }

    /// What is so now.
    pub(super) fn look(
        &self,
        ledger: &Ledger,
        target: &mut PgSession,
        endpos: Lsn,
    ) -> Result<Proof> {
        let status = CdcStatus::read(ledger.connection())?;
        let progress = origin::read(target, self.origin)?
            .ok_or_else(|| {
                Error::bad_state(format!(
                    "replication origin or progress \"{}\" is gone from the target",
                    self.origin
                ))
            })?
            .progress;
        Ok(Proof {
            // Read before the index: what it promises stands there.
            received_through: status.received_through,
            last_commit: last_commit(self.cdc, endpos)?,
            progress,
        })
    }

    /// Waits until it is proved. Errors: nobody works on it any more, or somebody moved the endpos.
    pub(super) fn wait(
        &self,
        ledger: &Ledger,
        target: &mut PgSession,
        endpos: Lsn,
    ) -> Result<Proof> {
        let (mut alive, mut told) = (Instant::now(), Instant::now());
        loop {
            let proof = self.look(ledger, target, endpos)?;
            if proof.holds(endpos) {
                return Ok(proof);
            }
            super::unless_stopped()?;
            let sentinel = Sentinel::must_read(ledger.connection())?;
            if sentinel.endpos != endpos {
                return Err(Error::bad_state(format!(
                    "somebody changed the endpos, from {endpos} to {}",
                    sentinel.endpos
                )));
            }
            if self.is_alive(ledger, target)? {
                alive = Instant::now();
            } else if alive.elapsed() > ALONE_MAX {
                return Err(nobody(self.layout).detail(format!(
                    "Received up to {}, applied up to {}; the end is {endpos}.",
                    proof.received_through, proof.progress
                )));
            }
            if told.elapsed() > TELL_EVERY {
                told = Instant::now();
                let left = endpos.0.saturating_sub(proof.progress.0);
                log::info!(
                    "Received up to {}, applied up to {}, {} of WAL before endpos {endpos}",
                    proof.received_through,
                    proof.progress,
                    pretty_bytes(left)
                );
            }
            clock::nap(Duration::from_millis(200));
        }
    }
}

/// The error where nobody receives and applies.
pub(super) fn nobody(layout: &Layout) -> Error {
    Error::bad_state("nobody receives and applies changes in this work directory").hint(format!(
        "Start it, wait until it has caught up, and repeat the cutover: pgcopydb follow --resume --dir {} --source \
         ... --target ...",
        layout.top().display()
    ))
}

/// End of the last complete transaction that ends up to `endpos`; unset when there is none.
fn last_commit(cdc: &CdcDir, endpos: Lsn) -> Result<Lsn> {
    let Some(index) = TxnIndex::open(cdc)? else {
        return Ok(Lsn::UNSET);
    };
    let mut at = index.first_after(endpos)?;
    while at > 0 {
        at -= 1;
        match index.get(at)? {
            Some(record) if !record.is_boundary => return Ok(record.end_lsn),
            _ => {}
        }
    }
    Ok(Lsn::UNSET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_received_or_not_applied_is_not_proved() {
        let proof = |received, last, progress| Proof {
            received_through: Lsn(received),
            last_commit: Lsn(last),
            progress: Lsn(progress),
        };
        assert!(proof(100, 90, 90).holds(Lsn(100)));
        assert!(proof(120, 0, 10).holds(Lsn(100)));
        assert!(!proof(99, 90, 90).holds(Lsn(100)));
        assert!(!proof(100, 90, 89).holds(Lsn(100)));
    }
}
