//! Putting back, as processes: one adds keys NOT VALID and sets triggers, one proves at the end; between them
//! workers of `fkey` validate.

use crate::catalog::{Ledger, sqlite_error};
use crate::error::Result;
use crate::fkey::{self, Limits};
use crate::pg::{PgSession, Profile, Registration, Token};
use crate::supervisor::{Leaf, Report};
use crate::worker::{self, Means};

/// A ledger and a session of this process, which the canceller knows.
fn open(leaf: &Leaf<'_>, means: &Means) -> Result<(Ledger, PgSession, Registration)> {
    let canceller = worker::enter(leaf)?;
    let ledger = Ledger::open(&means.layout.ledger())?;
    let target = means
        .target()?
        .session(leaf.role.label(), &Profile::Catalog)?;
    let registered = canceller.register(Token::from_session(&target));
    let activity = crate::catalog::Activity {
        role: leaf.role.key(),
        worker: leaf.number,
    };
    activity.begin(ledger.connection(), means.run, leaf.role.label(), None)?;
    worker::register_backends(&ledger, &activity, None, Some(target.backend_id().clone()))?;
    Ok((ledger, target, registered))
}

/// Adds what is quick. Blocks.
pub(super) fn add(leaf: &mut Leaf<'_>, means: &Means, limits: Limits) -> Result<()> {
    let (mut ledger, mut target, _registered) = open(leaf, means)?;
    let builds = fkey::add(leaf, &mut target, (&mut ledger, means.run), limits)?;
    leaf.report(&Report::Planned {
        copies: 0,
        parts: 0,
        builds,
        vacuums: 0,
        blobs: 0,
        extensions: 0,
        fresh: false,
    });
    Ok(())
}

/// Adds the rest and proves all of it. Blocks.
pub(super) fn prove(leaf: &mut Leaf<'_>, means: &Means, limits: Limits) -> Result<()> {
    let (mut ledger, mut target, _registered) = open(leaf, means)?;
    ledger
        .connection()
        .execute("delete from notice where topic = 'foreign key'", [])
        .map_err(|error| sqlite_error("write", &error))?;
    let (back, flaw) = fkey::finish(
        leaf,
        &mut target,
        (&mut ledger, means.run),
        (&means.layout, limits),
    )?;
    leaf.report(&Report::PutBack {
        keys: back.keys,
        proven: back.proven,
    });
    if let Some(error) = flaw {
        leaf.report(&Report::Flawed { error });
    }
    Ok(())
}
