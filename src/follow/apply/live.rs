//! SQL files that transform is writing: which one counts, what to do at its end.
//!
//! Runs in the apply process of a follow. A file that transform begins anew is another file than the one
//! that is being read. Reading then begins again where the first transaction begins that is not applied:
//! what was applied is skipped, as after every start.

use super::assemble::Assembler;
use super::engine::{Engine, Verdict};
use super::files::SqlFiles;
use super::group::Statements;
use super::{Ended, Run};
use crate::error::Result;
use crate::follow::files::CdcDir;
use crate::sys::clock;
use crate::wire::stop_requested;
use std::time::Duration;

/// How long the end of a file is left alone: at first, and at most.
pub(super) const NAP_LEAST: Duration = Duration::from_millis(2);
const NAP_MOST: Duration = Duration::from_millis(20);
/// How long a file is waited for that is not there.
const NAP_WITHOUT: Duration = Duration::from_millis(50);

impl Run<'_> {
    /// Applies until the endpos or a stop.
    pub(super) fn live(&mut self, engine: &mut Engine, cdc: &CdcDir) -> Result<Ended> {
        log::info!("Catching-up from existing on-disk files");
        self.watch.set_mode("catchup")?;
        // What the engine has prepared goes by the numbers of statements: a file that is read again must not
        // give them to others.
        let mut statements = Statements::default();
        loop {
            let mut files = SqlFiles::new(cdc, true);
            match files.first(engine.progress)? {
                Some(input) => {
                    let endpos = self.endpos()?;
                    let mut assembler =
                        Assembler::new(input, (engine.progress, endpos), self.seam(engine)?);
                    assembler.statements = std::mem::take(&mut statements);
                    if let Some(ended) = self.read(engine, &mut assembler, &mut files)? {
                        return Ok(ended);
                    }
                    statements = assembler.statements;
                    self.keepalive = None;
                    log::debug!("An SQL file was made anew, it is read again");
                }
                None => {
                    if let Some(ended) = self.without_file(engine)? {
                        return Ok(ended);
                    }
                }
            }
        }
    }

    /// Nothing is there to be applied yet.
    fn without_file(&mut self, engine: &mut Engine) -> Result<Option<Ended>> {
        if stop_requested() {
            return Ok(Some(Ended::Stopped));
        }
        if self.watch.is_due() {
            let (endpos, apply) = self
                .watch
                .look(&mut engine.sessions, &self.settings.origin)?;
            if endpos.is_set() && engine.progress >= endpos {
                return Ok(Some(Ended::Drained(endpos)));
            }
            if !apply {
                self.watch.wait_for_apply()?;
            }
        }
        clock::nap(NAP_WITHOUT);
        Ok(None)
    }

    /// At the end of what there is: goes on with the next file, or waits. False: the file is not the one
    /// any more that counts.
    pub(super) fn at_the_end(
        &mut self,
        engine: &mut Engine,
        assembler: &mut Assembler,
        files: &mut SqlFiles<'_>,
    ) -> std::result::Result<bool, Verdict> {
        if files.is_replaced(assembler.input()) {
            engine.void(&assembler.statements)?;
            return Ok(false);
        }
        if let Some(lsn) = assembler.switch() {
            if files.has_next(lsn)?
                && let Some(input) = files.next(lsn)?
            {
                assembler.open_next(input);
                return Ok(true);
            }
        } else {
            self.watch.caught_up()?;
        }
        clock::nap(self.nap);
        self.nap = (self.nap * 2).min(NAP_MOST);
        Ok(true)
    }
}
