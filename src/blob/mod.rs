//! Large objects with owner, privileges and comment, in batches.
//!
//! Runs in large object workers. A unit is a range of oids of the source, read in the run's snapshot;
//! its transaction on the target creates what is missing, empties what is there, and writes. Doing a
//! batch twice ends the same, so no record on the target is needed.

mod copy;
mod metadata;

pub use metadata::{plan, plan_again};

use crate::catalog::Step;
use crate::catalog::unit::{Done, Kind, Unit};
use crate::error::{Context, Error, Result};
use crate::pg::{PgSession, Profile, Registration, Token};
use crate::supervisor::Leaf;
use crate::worker::{self, Means, Worker};
use std::time::Instant;

/// What a large object worker does, and what makes such work.
pub const KINDS: (&[Kind], &[Kind]) = (&[Kind::Blob], &[]);

/// What belongs to a large object beside its bytes, as the user wants it.
#[derive(Clone, Copy, Debug)]
pub struct BlobFacts {
    /// Owners are kept.
    pub with_owner: bool,
    /// Privileges are kept.
    pub with_acl: bool,
    /// Comments are kept.
    pub with_comments: bool,
}

struct Sessions {
    source: PgSession,
    target: PgSession,
    _registered: (Registration, Registration),
}

/// Runs a large object worker until its stage is over. Blocks.
pub fn run(leaf: &mut Leaf<'_>, means: &Means, facts: BlobFacts) -> Result<()> {
    let mut worker = Worker::start(leaf, means, KINDS.0, KINDS.1)?;
    let mut sessions: Option<Sessions> = None;
    while let Some(unit) = worker.next_unit()? {
        if let Err(error) = one(&mut worker, &mut sessions, facts, &unit) {
            sessions = None;
            worker.failed(&[unit], error)?;
        }
    }
    Ok(())
}

fn one(
    worker: &mut Worker<'_, '_>,
    sessions: &mut Option<Sessions>,
    facts: BlobFacts,
    unit: &Unit,
) -> Result<()> {
    let since = Instant::now();
    worker.begin("copy large objects", Some(unit.id))?;
    let snapshot = worker
        .means
        .snapshot
        .clone()
        .filter(|_| worker.means.consistent);
    let open = connect(worker, sessions)?;
    begin(&mut open.source, snapshot.as_deref())?;
    open.target.batch_execute("begin")?;
    let (objects, bytes) = copy::copy_batch(open_pair(open), facts, (unit.object, unit.object_end))
        .context(|| {
            format!(
                "copying large objects {} to {}",
                unit.object, unit.object_end
            )
        })?;
    open.target.batch_execute("commit")?;
    open.source.batch_execute("commit")?;
    let elapsed_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(0);
    let done = Done {
        bytes,
        rows: objects,
        elapsed_ms,
        snapshot,
    };
    worker.finish(Step::Blob, &[(unit, done)])
}

fn open_pair(open: &mut Sessions) -> (&mut PgSession, &mut PgSession) {
    (&mut open.source, &mut open.target)
}

fn connect<'s>(
    worker: &mut Worker<'_, '_>,
    sessions: &'s mut Option<Sessions>,
) -> Result<&'s mut Sessions> {
    if sessions.is_none() {
        let title = worker.leaf.role.label();
        let source = worker.means.source()?.session(title, &Profile::Catalog)?;
        let target = worker
            .means
            .target()?
            .session(title, &Profile::TargetPlain)?;
        worker::register_backends(
            &worker.ledger,
            &worker.activity,
            Some(source.backend_id().clone()),
            Some(target.backend_id().clone()),
        )?;
        let registered = (
            worker.canceller.register(Token::from_session(&source)),
            worker.canceller.register(Token::from_session(&target)),
        );
        *sessions = Some(Sessions {
            source,
            target,
            _registered: registered,
        });
    }
    sessions
        .as_mut()
        .ok_or_else(|| Error::internal("sessions vanished"))
}

fn begin(source: &mut PgSession, snapshot: Option<&str>) -> Result<()> {
    source.batch_execute("begin isolation level repeatable read, read only")?;
    match snapshot {
        Some(id) => crate::snapshot::adopt(source, id),
        None => Ok(()),
    }
}
