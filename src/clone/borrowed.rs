//! The snapshot that somebody else holds: given by name, or by `pgcopydb snapshot` in the same work
//! directory.
//!
//! Runs in the supervisor before it forks. Reads files and locks only: whether the snapshot can be read
//! with is seen by the prepare process.

use super::settings::CloneSettings;
use crate::error::{Error, Result};
use crate::sys::clock;
use crate::workdir::{Intent, Layout, is_service_alive};
use std::time::{Duration, Instant};

/// The service that holds a snapshot for others.
pub(super) const SERVICE: &str = "snapshot";
/// How long a holder that has just begun may take to say which snapshot it holds.
const ID_WAIT: Duration = Duration::from_secs(15);

/// Finds the snapshot to read with; `None`: the run takes its own, or does without. Errors: a resume
/// that could not read consistently, a snapshot that is not the one of the directory (`BadArgs`).
pub(super) fn find(settings: &CloneSettings, layout: &Layout) -> Result<Option<String>> {
    if settings.switches.not_consistent || settings.goal.is_roles() || settings.goal.is_restore() {
        return Ok(None);
    }
    let held = held(layout)?;
    if let Some(given) = &settings.snapshot {
        return match held {
            Some(id) if id != *given => Err(Error::bad_args(format!(
                "snapshot \"{given}\" is not the one of the work directory, \"{id}\""
            ))
            .hint("Leave --snapshot out, or use --not-consistent.")),
            _ => Ok(Some(given.clone())),
        };
    }
    if let Some(id) = held {
        log::info!("Using snapshot \"{id}\", which \"pgcopydb snapshot\" holds");
        return Ok(Some(id));
    }
    if settings.intent == Intent::Resume && settings.goal.wants_snapshot() {
        return Err(Error::bad_args(
            "option --resume needs a snapshot that is still held, or --not-consistent",
        )
        .hint(
            "Use --resume --not-consistent: tables that are still to be copied are then read as \
             they are now.",
        ));
    }
    Ok(None)
}

/// The snapshot in the work directory, while its holder lives. What a dead one left is taken away.
pub(super) fn held(layout: &Layout) -> Result<Option<String>> {
    let since = Instant::now();
    loop {
        let is_alive = is_service_alive(layout, SERVICE)?;
        let id = id_in_file(layout);
        if !is_alive {
            if let Some(id) = id {
                log::info!("Snapshot \"{id}\" of the work directory is gone with its holder");
                let _gone = std::fs::remove_file(layout.snapshot());
            }
            return Ok(None);
        }
        if id.is_some() {
            return Ok(id);
        }
        if since.elapsed() > ID_WAIT {
            return Err(Error::bad_state(
                "\"pgcopydb snapshot\" runs in this work directory and holds no snapshot yet",
            )
            .hint("Wait until it has printed one, then try again."));
        }
        clock::nap(Duration::from_millis(20));
    }
}

/// The snapshot that the file names.
pub(super) fn id_in_file(layout: &Layout) -> Option<String> {
    let text = std::fs::read_to_string(layout.snapshot()).ok()?;
    let id = text.lines().next()?.trim();
    (!id.is_empty()).then(|| id.to_owned())
}
