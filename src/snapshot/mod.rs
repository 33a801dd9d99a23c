//! The snapshot that a run reads with: exported, published in the work directory, held.
//!
//! Runs in the snapshot process. Its transaction stays open until the supervisor dismisses it, once
//! nobody reads the source's tables any more, or until the run is stopped. The file `snapshot` goes
//! with it; whoever finds a stale one learns so when it is used.

use crate::error::{Context, Error, Kind, Result};
use crate::pg::{Link, PgSession, Profile, quote};
use crate::supervisor::{Leaf, Report};
use crate::workdir::Layout;
use std::time::{Duration, Instant};

/// How often the session is asked whether it still lives; a lost snapshot must not go unnoticed.
const ALIVE_EVERY: Duration = Duration::from_secs(5);

/// Exports a new snapshot: the session whose transaction holds it, and its id.
pub fn export(leaf: &Leaf<'_>, source: &Link) -> Result<(PgSession, String)> {
    let mut session = begin(leaf, source)?;
    let id = export_from(&mut session)?;
    log::info!("Exported snapshot \"{id}\" from the source database");
    Ok((session, id))
}

/// Exports what a snapshot shows that somebody else holds, under a new id; that one may end then.
pub fn export_again(leaf: &Leaf<'_>, source: &Link, held: &str) -> Result<(PgSession, String)> {
    let mut session = begin(leaf, source)?;
    adopt(&mut session, held)?;
    log::info!("[SNAPSHOT] Using snapshot \"{held}\" on the source database");
    let id = export_from(&mut session)?;
    Ok((session, id))
}

fn begin(leaf: &Leaf<'_>, source: &Link) -> Result<PgSession> {
    let mut session = source.session(leaf.role.label(), &Profile::Snapshot)?;
    session.batch_execute("begin isolation level repeatable read, read only")?;
    Ok(session)
}

fn export_from(session: &mut PgSession) -> Result<String> {
    let row = session
        .query_one("select pg_catalog.pg_export_snapshot()", &[])
        .context(|| "exporting a snapshot".to_owned())?;
    Ok(row.get(0))
}

/// Holds a snapshot until this process is told to stop, and publishes it in the work directory when one
/// is given. Blocks.
pub fn hold(
    leaf: &mut Leaf<'_>,
    mut session: PgSession,
    id: &str,
    place: Option<&Layout>,
) -> Result<()> {
    let text = format!("{id}\n");
    if let Some(layout) = place {
        layout.write_file(&layout.snapshot(), text.as_bytes())?;
    }
    leaf.report(&Report::Snapshot { id: id.to_owned() });
    let mut asked = Instant::now();
    while leaf.nap(Duration::from_millis(50)).is_ok() {
        if asked.elapsed() >= ALIVE_EVERY {
            asked = Instant::now();
            session
                .batch_execute("select 1")
                .map_err(|error| lost(id, &error))?;
        }
    }
    if let Some(layout) = place
        && std::fs::read_to_string(layout.snapshot()).is_ok_and(|there| there == text)
    {
        let _gone = std::fs::remove_file(layout.snapshot());
    }
    session
        .batch_execute("commit")
        .map_err(|error| lost(id, &error))
}

/// Makes a transaction that has just begun read with a snapshot.
pub fn adopt(session: &mut PgSession, id: &str) -> Result<()> {
    session
        .batch_execute(&format!("set transaction snapshot {}", quote::literal(id)))
        .map_err(|error| explain(id, error))
}

/// Explains why a snapshot cannot be used, when that is what happened.
pub fn explain(id: &str, error: Error) -> Error {
    match error.sqlstate() {
        Some("22023" | "55000" | "42704") => Error::new(
            Kind::Source,
            format!("could not use snapshot \"{id}\": the session that exported it has ended"),
        )
        .detail(error.message().to_owned())
        .hint("Use --resume --not-consistent to go on without that snapshot.")
        .snapshot_lost(),
        _ => error,
    }
}

fn lost(id: &str, error: &Error) -> Error {
    Error::new(
        Kind::Source,
        format!("the session that holds snapshot \"{id}\" was lost"),
    )
    .detail(error.message().to_owned())
    .hint("Use --resume --not-consistent to go on without that snapshot.")
    .snapshot_lost()
}
