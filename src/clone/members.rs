//! `--all-databases`: starts the leaf processes of several databases, each with its own work directory.
//!
//! Runs in the supervisor. A database's directory is claimed before anything begins, its queues are made with its
//! first leaf. Its ledger is touched here only to write down its end, when all its leaves are reaped, and is closed
//! again before the next fork.

use super::host::CloneHost;
use super::lookout;
use super::pool::STRIDE;
use super::{DrawProgress, bells_of, close, elapsed_ms};
use crate::catalog::Run;
use crate::error::{Error, Kind, Result};
use crate::supervisor::{self, Host, Report, Role};
use crate::sys::reap::Child;
use crate::sys::signal;
use crate::workdir::{Claim, Remains};
use std::path::PathBuf;
use std::time::Instant;

/// One database.
pub(super) struct Member {
    pub(super) host: CloneHost,
    pub(super) claim: Claim,
    /// Since its first leaf.
    since: Option<Instant>,
    is_settled: bool,
}

impl Member {
    pub(super) fn new(host: CloneHost, claim: Claim) -> Self {
        Self {
            host,
            claim,
            since: None,
            is_settled: false,
        }
    }

    /// Makes its queues.
    fn begin(&mut self) -> Result<()> {
        self.since = Some(Instant::now());
        self.host.bells = bells_of(&Remains::of(&self.claim.layout))?;
        Ok(())
    }

    /// Removes its queues, and writes down what came of it.
    fn settle(&mut self, result: &Result<()>) -> Result<()> {
        let Some(since) = self.since.filter(|_| !self.is_settled) else {
            return Ok(());
        };
        self.is_settled = true;
        self.host.bells.remove();
        Remains::of(&self.claim.layout).sweep();
        match &self.host.prepared {
            Some(prepared) => {
                let run = Run {
                    id: prepared.run_id,
                };
                close(&self.claim.layout, run, elapsed_ms(since), result)
            }
            None => Ok(()),
        }
    }
}

/// All of them.
pub(super) struct Members {
    pub(super) all: Vec<Member>,
    pub(super) draw: DrawProgress,
    /// Before any of them began, epoch milliseconds: runs from then on are ours.
    pub(super) since: i64,
}

impl Members {
    fn ledgers(&self) -> Vec<PathBuf> {
        let layouts = self.all.iter().map(|member| &member.claim.layout);
        layouts.map(crate::workdir::Layout::ledger).collect()
    }

    fn member(&mut self, number: u32) -> Result<&mut Member> {
        usize::try_from(number / STRIDE)
            .ok()
            .and_then(|part| self.all.get_mut(part.checked_sub(1)?))
            .ok_or_else(|| Error::internal("a process of a database that is not there"))
    }

    /// Writes down the end of those that the end of the whole has interrupted.
    pub(super) fn settle_all(&mut self, result: &Result<()>) -> Result<()> {
        let interrupted = match result {
            Ok(()) => Err(Error::internal("its end was not noticed")),
            Err(error) => Err(error.clone()),
        };
        let settled = self
            .all
            .iter_mut()
            .map(|member| member.settle(&interrupted));
        settled.collect::<Vec<Result<()>>>().into_iter().collect()
    }
}

impl Host for Members {
    fn spawn(&mut self, role: Role, number: u32, successor: bool) -> Result<Child> {
        let (ledgers, draw, since) = (self.ledgers(), self.draw, self.since);
        match role {
            Role::Lookout => supervisor::spawn(role, number, successor, move |leaf| {
                lookout::run(leaf, &ledgers, since)
            }),
            Role::Progress => supervisor::spawn(role, number, successor, move |leaf| {
                draw(&ledgers, &|limit| leaf.nap(limit))
            }),
            _ => {
                let member = self.member(number)?;
                if member.since.is_none() {
                    member.begin()?;
                }
                member.host.spawn(role, number % STRIDE, successor)
            }
        }
    }

    fn note(&mut self, role: Role, number: u32, report: &Report) -> Result<()> {
        if number < STRIDE {
            return Ok(());
        }
        self.member(number)?
            .host
            .note(role, number % STRIDE, report)
    }

    fn settle(&mut self, part: u32, good: bool) -> Result<()> {
        // The error itself is told by the machine.
        let result = match signal::first() {
            _ if good => Ok(()),
            Some(signal) => Err(Error::new(Kind::Stopped(signal), "it was stopped")),
            None => Err(Error::internal("it failed")),
        };
        self.member((part + 1) * STRIDE)?.settle(&result)
    }

    fn stopping(&mut self) {
        for member in &mut self.all {
            if member.since.is_some() && !member.is_settled {
                member.host.bells.remove();
            }
        }
    }
}
