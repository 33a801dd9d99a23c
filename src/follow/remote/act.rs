//! Does what is asked for, with the files of the work directory.
//!
//! Runs in the main program of a command that has these files, and in the process that listens for others. Takes no
//! lock and makes no work directory.

use super::message::{Answer, EndposSet, Request};
use crate::catalog::sentinel::no_sentinel;
use crate::catalog::{CdcStatus, Ledger, Sentinel, TableStarts};
use crate::error::Result;
use crate::follow::apply::early_endpos;
use crate::follow::endpos::Followed;
use crate::follow::files::CdcDir;
use crate::follow::prune;
use crate::units::Lsn;
use crate::workdir::Layout;

/// Carries a request out. Errors (`BadState`): there is no sentinel yet, or an endpos that cannot be.
pub(super) fn act(layout: &Layout, cdc: &CdcDir, request: Request) -> Result<Answer> {
    match request {
        Request::Sentinel => seen(layout),
        Request::Source => {
            let read = |ledger: &Ledger| Followed::read(ledger, cdc);
            let followed = Ledger::view(&layout.ledger(), read)?;
            followed.map(Answer::Source).ok_or_else(no_sentinel)
        }
        Request::SetStartpos(lsn) => {
            Sentinel::set_startpos(&mut open(layout)?, lsn)?;
            Ok(Answer::Done)
        }
        Request::SetApply(apply) => {
            Sentinel::set_apply(&mut open(layout)?, apply)?;
            Ok(Answer::Done)
        }
        Request::SetEndpos(lsn) => set_endpos(&mut open(layout)?, lsn),
        Request::Prune { dry_run } => {
            prune::run(cdc, &mut open(layout)?, dry_run).map(Answer::Pruned)
        }
    }
}

fn open(layout: &Layout) -> Result<Ledger> {
    let path = layout.ledger();
    if !path.exists() {
        return Err(no_sentinel());
    }
    Ledger::open(&path)
}

fn seen(layout: &Layout) -> Result<Answer> {
    let read = Ledger::view(&layout.ledger(), |ledger| {
        let status = CdcStatus::read(ledger.connection())?;
        Ok(Sentinel::read(ledger.connection())?.map(|row| (row, status)))
    })?;
    let (row, status) = read.flatten().ok_or_else(no_sentinel)?;
    Ok(Answer::Sentinel(row, status.transform_lsn))
}

fn set_endpos(ledger: &mut Ledger, lsn: Lsn) -> Result<Answer> {
    let row = Sentinel::must_read(ledger.connection())?;
    let copied = TableStarts::read(ledger.connection())?.last();
    if lsn.is_set() && lsn < copied {
        return Err(early_endpos(lsn, copied));
    }
    let before = Sentinel::set_endpos(ledger, lsn)?;
    Ok(Answer::EndposSet(EndposSet {
        before,
        replay_lsn: row.replay_lsn,
    }))
}
