//! What every worker is given, and the loop that all of them share: claim, work, finish, or give back.
//!
//! Runs in leaf processes. A worker claims units in the ledger; its bell only saves it the look. It
//! ends when the ledger says that its stage is over.

mod backend;
mod turn;

pub use backend::{end_backends, end_tools, register_backends};
pub use turn::Worker;

use crate::catalog::Run;
use crate::catalog::unit::Kind;
use crate::error::{Error, Result};
use crate::pg::{Canceller, Link};
use crate::queue::{Bell, Message};
use crate::supervisor::Leaf;
use crate::workdir::Layout;

/// What every leaf with sessions does first: its sessions learn of a stop by the flag, and statements
/// that run are cancelled by a thread.
pub fn enter(leaf: &Leaf<'_>) -> Result<Canceller> {
    crate::wire::set_stop_flag(leaf.stop_flag());
    Canceller::start(leaf.stop_flag())
}

/// The bells of a run.
#[derive(Clone, Copy, Debug)]
pub struct Bells {
    /// Wakes copy workers.
    pub copy: Bell,
    /// Wakes index workers.
    pub index: Bell,
    /// Wakes vacuum workers.
    pub vacuum: Bell,
}

impl Bells {
    /// Removes all queues.
    pub fn remove(self) {
        for bell in [self.copy, self.index, self.vacuum] {
            bell.remove();
        }
    }

    /// The bell of those who do this kind of work.
    fn of(self, kind: Kind) -> Bell {
        match kind {
            Kind::Truncate | Kind::Copy => self.copy,
            Kind::Index | Kind::Constraint | Kind::Fkey | Kind::Validate => self.index,
            Kind::Vacuum => self.vacuum,
            Kind::Blob | Kind::Extension => Bell::silent(),
        }
    }

    /// Tells workers of units that became ready.
    pub fn ring(self, ready: &[(Kind, i64)]) {
        for (kind, unit) in ready {
            // A bell that does not ring costs a worker's half second, no more.
            let _lost = self.of(*kind).ring(Message::Ready(*unit));
        }
    }

    /// Tells workers of all kinds that stages may be over.
    pub fn ring_all(self) {
        /// As many as workers may wait; messages for nobody go with the queue.
        const WAITING_MAX: usize = 8;
        for bell in [self.copy, self.index, self.vacuum] {
            for _ in 0..WAITING_MAX {
                let _lost = bell.ring(Message::Look);
            }
        }
    }
}

/// Plain data that a worker gets from the supervisor; it may cross a fork.
#[derive(Clone, Debug)]
pub struct Means {
    /// How to connect to the source; `None`: the command does without it.
    pub source: Option<Link>,
    /// How to connect to the target; `None`: the command does without it.
    pub target: Option<Link>,
    /// The work directory.
    pub layout: Layout,
    /// This run.
    pub run: Run,
    /// Names this work directory on the target.
    pub uuid: String,
    /// The snapshot to read with, when there is one.
    pub snapshot: Option<String>,
    /// Whole tables, too, are read with the snapshot.
    pub consistent: bool,
    /// Encoding of the source database, the client encoding of both sides of a COPY.
    pub encoding: String,
    /// The first unit that is given up ends the run.
    pub fail_fast: bool,
    /// The place of this worker is one of a number that several databases share.
    pub shared: bool,
    /// Bells.
    pub bells: Bells,
}

impl Means {
    /// How to connect to the source. Errors: a command that does without it ([`Error::internal`]).
    pub fn source(&self) -> Result<&Link> {
        let missing = || Error::internal("this command has no source");
        self.source.as_ref().ok_or_else(missing)
    }

    /// How to connect to the target. Errors: a command that does without it ([`Error::internal`]).
    pub fn target(&self) -> Result<&Link> {
        let missing = || Error::internal("this command has no target");
        self.target.as_ref().ok_or_else(missing)
    }
}
