//! Remote control of a follow: the sentinel and pruning over TCP, for those who cannot reach the work directory.
//!
//! A follow that was told an address has one leaf more, which listens there and does what clients ask for with the
//! work directory's files, as the same commands do without an address. Nothing else of the follow knows of it: no
//! client can do more than end that leaf, and another one takes its place. Who may ask is told by a token, which
//! stands in a file of the work directory. What is sent is not encrypted.

mod act;
mod attend;
mod client;
mod message;
mod serve;
mod token;

pub use attend::Attended;
pub use client::Client;
pub use message::{Answer, EndposSet, Request};
pub use serve::{ServeSettings, refuse_taken, run};

use super::endpos::Followed;
use super::files::CdcDir;
use super::prune::Pruned;
use crate::catalog::Sentinel;
use crate::error::{Error, Result};
use crate::units::Lsn;
use crate::workdir::Layout;

/// Port where none is given.
pub const PORT_DEFAULT: u16 = 5442;

/// How a command reaches the follow.
pub enum Way {
    /// Its files are here.
    Files {
        /// The work directory.
        layout: Layout,
        /// The folder of change data.
        cdc: CdcDir,
    },
    /// It listens somewhere.
    Tcp(Client),
}

impl Way {
    fn ask(&self, request: Request) -> Result<Answer> {
        match self {
            Self::Files { layout, cdc } => act::act(layout, cdc, request),
            Self::Tcp(client) => client.ask(request),
        }
    }

    /// What log lines end with.
    pub fn via(&self) -> &'static str {
        match self {
            Self::Files { .. } => "",
            Self::Tcp(_) => " via service",
        }
    }

    /// The sentinel, and what is transformed. Errors: there is none yet.
    pub fn sentinel(&self) -> Result<(Sentinel, Lsn)> {
        match self.ask(Request::Sentinel)? {
            Answer::Sentinel(row, transformed) => Ok((row, transformed)),
            other => Err(unexpected(&other)),
        }
    }

    /// What is followed. Errors: there is no sentinel yet.
    pub fn followed(&self) -> Result<Followed> {
        match self.ask(Request::Source)? {
            Answer::Source(followed) => Ok(followed),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets where to stop, unset: never. Errors: parts of the copy lie behind it.
    pub fn set_endpos(&self, lsn: Lsn) -> Result<EndposSet> {
        match self.ask(Request::SetEndpos(lsn))? {
            Answer::EndposSet(set) => Ok(set),
            other => Err(unexpected(&other)),
        }
    }

    /// Sets where receiving began.
    pub fn set_startpos(&self, lsn: Lsn) -> Result<()> {
        match self.ask(Request::SetStartpos(lsn))? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Allows or forbids applying.
    pub fn set_apply(&self, apply: bool) -> Result<()> {
        match self.ask(Request::SetApply(apply))? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes files of applied changes, or says which.
    pub fn prune(&self, dry_run: bool) -> Result<Pruned> {
        match self.ask(Request::Prune { dry_run })? {
            Answer::Pruned(pruned) => Ok(pruned),
            other => Err(unexpected(&other)),
        }
    }
}

/// The error for an answer to another question.
fn unexpected(answer: &Answer) -> Error {
    Error::internal("the follow gave an answer to another question")
        .detail(format!("It is of type {}.", answer.kind()))
        .hint("Use the same version of pgcopydb on both sides.")
}
