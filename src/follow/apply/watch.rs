//! What apply tells and is told through the sentinel: how far it is, where to stop, whether to go on.
//!
//! Runs in the apply process. Reads and writes the ledger at most once a second; what it publishes is
//! durable on the target. Without a ledger, as in `stream apply`, there is nothing to tell.

use super::session::Sessions;
use crate::catalog::sentinel::{Position, advance};
use crate::catalog::{CdcStatus, Ledger, Sentinel, TableStarts};
use crate::error::Result;
use crate::sys::clock::nap;
use crate::units::Lsn;
use crate::wire::stop_requested;
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Time between two looks while nothing may be applied.
const WAIT: Duration = Duration::from_millis(500);

/// What is to be done once changes may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Go {
    /// Apply.
    On,
    /// Nothing: a signal came.
    Stop,
    /// Nothing: this endpos was reached before, as the ledger says.
    Reached(Lsn),
}

/// The sentinel, if there is one.
pub(super) struct Watch {
    ledger: Option<Ledger>,
    last: Instant,
    published: Lsn,
    mode: &'static str,
}

impl Watch {
    /// Opens the ledger, which must have a sentinel then.
    pub(super) fn open(ledger: Option<&Path>) -> Result<Self> {
        let ledger = ledger.map(Ledger::open).transpose()?;
        if let Some(ledger) = &ledger {
            Sentinel::must_read(ledger.connection())?;
        }
        Ok(Self {
            ledger,
            last: Instant::now(),
            published: Lsn::UNSET,
            mode: "",
        })
    }

    fn sentinel(&self) -> Result<Option<Sentinel>> {
        match &self.ledger {
            None => Ok(None),
            Some(ledger) => Sentinel::must_read(ledger.connection()).map(Some),
        }
    }

    /// Where to stop, as the sentinel says; unset without one.
    pub(super) fn endpos(&self) -> Result<Lsn> {
        Ok(self.sentinel()?.map_or(Lsn::UNSET, |one| one.endpos))
    }

    /// Writes the endpos of the command line down.
    pub(super) fn set_endpos(&mut self, endpos: Lsn) -> Result<()> {
        let Some(ledger) = &mut self.ledger else {
            return Ok(());
        };
        let before = Sentinel::set_endpos(ledger, endpos)?;
        if before != endpos && before.is_set() {
            log::warn!(
                "Sentinel endpos was {before} and is now updated to --endpos option {endpos}"
            );
        }
        Ok(())
    }

    /// What an earlier run told of its session, and up to where files may be gone.
    pub(super) fn status(&self) -> Result<CdcStatus> {
        match &self.ledger {
            None => Ok(CdcStatus::default()),
            Some(ledger) => CdcStatus::read(ledger.connection()),
        }
    }

    /// Where the copies of tables end.
    pub(super) fn starts(&self) -> Result<TableStarts> {
        match &self.ledger {
            None => Ok(TableStarts::default()),
            Some(ledger) => TableStarts::read(ledger.connection()),
        }
    }

    /// Tells which backend applies.
    pub(super) fn note_backend(&mut self, pid: i32) -> Result<()> {
        match &mut self.ledger {
            None => Ok(()),
            Some(ledger) => CdcStatus::set_apply_backend(ledger, pid),
        }
    }

    /// Tells what is going on: `catchup` from files, `replay` at the end of what is received.
    pub(super) fn set_mode(&mut self, mode: &'static str) -> Result<()> {
        self.mode = mode;
        match &mut self.ledger {
            None => Ok(()),
            Some(ledger) => CdcStatus::set_mode(ledger, mode),
        }
    }

    /// The end of what is received was reached.
    pub(super) fn caught_up(&mut self) -> Result<()> {
        if self.mode != "catchup" {
            return Ok(());
        }
        log::info!("Restarting logical decoding follower in replay mode");
        self.set_mode("replay")
    }

    /// Waits until changes may be applied, a signal comes, or nothing is left to do.
    pub(super) fn wait_for_apply(&self) -> Result<Go> {
        let mut said = false;
        loop {
            let Some(sentinel) = self.sentinel()? else {
                return Ok(Go::On);
            };
            if sentinel.endpos.is_set() && sentinel.endpos <= sentinel.replay_lsn {
                log::info!(
                    "Current endpos {} was previously reached at {}",
                    sentinel.endpos,
                    sentinel.replay_lsn
                );
                return Ok(Go::Reached(sentinel.endpos));
            }
            if sentinel.apply {
                if said {
                    log::info!("The pgcopydb sentinel has enabled applying changes");
                }
                return Ok(Go::On);
            }
            if !said {
                said = true;
                log::info!("Waiting until the pgcopydb sentinel apply is enabled");
            }
            if stop_requested() {
                log::info!(
                    "Apply process received a shutdown signal while waiting for apply mode, quitting now"
                );
                return Ok(Go::Stop);
            }
            nap(WAIT);
        }
    }

    /// Whether it is time for another look.
    pub(super) fn is_due(&self) -> bool {
        self.ledger.is_some() && self.last.elapsed() >= EVERY
    }

    /// Publishes what is durable, and reads what is wanted: the endpos, and whether to apply.
    pub(super) fn look(&mut self, sessions: &mut Sessions, origin: &str) -> Result<(Lsn, bool)> {
        self.last = Instant::now();
        if self.ledger.is_some() {
            let reached = sessions.durable_progress(origin)?;
            self.publish(reached)?;
        }
        Ok(self
            .sentinel()?
            .map_or((Lsn::UNSET, true), |one| (one.endpos, one.apply)))
    }

    /// Publishes a position that is durable on the target.
    pub(super) fn publish(&mut self, reached: Lsn) -> Result<()> {
        if let Some(ledger) = &mut self.ledger
            && reached > self.published
        {
            match advance(ledger, &[(Position::Replay, reached)]) {
                Ok(()) => self.published = reached,
                // The target knows it; that files can go is told once there is room to write it down.
                Err(error) if error.is_out_of_room() => log::debug!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Notes that all up to the endpos has been applied.
    pub(super) fn drained(&mut self, endpos: Lsn, progress: Lsn) -> Result<()> {
        if let Some(ledger) = &mut self.ledger {
            CdcStatus::set_drained(ledger, endpos)?;
        }
        // Scripts compare it with the endpos, which need not be the end of a transaction.
        self.publish(progress.max(endpos))
    }
}
