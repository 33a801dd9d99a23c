//! What a work directory is on record for: two databases, how tables are split, what is copied.
//!
//! Runs in the process that prepares a run. Reads the ledger; compares nothing itself, as
//! `Setup::check_resumed` does that.

use super::goal::{Goal, Part};
use super::prepare::{Connected, PrepareInput};
use super::settings::CloneSettings;
use crate::catalog::{Ledger, Run, Setup};
use crate::check;
use crate::conninfo::ConnInfo;
use crate::error::{Error, Result};
use crate::follow::slot;
use crate::schema::server::ServerFacts;
use crate::workdir::Intent;

/// What of an earlier setup this run must agree with.
pub(super) fn comparable(
    ledger: &Ledger,
    before: &Setup,
    (settings, now): (&CloneSettings, &Setup),
) -> Result<Setup> {
    let mut before = before.clone();
    if settings.goal == Goal::Clone {
        return Ok(before);
    }
    // Each command has options of its own; those of the same command are compared elsewhere.
    before.options = if before.options.contains("\"all-databases\":true") {
        // Each database has a directory of its own below this one.
        "{\"all-databases\":true}".to_owned()
    } else {
        String::new()
    };
    let restarts = settings.intent == Intent::Restart;
    if restarts {
        before.split_bytes = None;
    }
    // Filters hold from the fetch on.
    let is_fetched = Run::marked(ledger.connection(), "fetched")?.is_some();
    if !is_fetched || (restarts && settings.goal.has(Part::Dump)) {
        before.filters.clone_from(&now.filters);
    }
    Ok(before)
}

/// Refuses a copy with other filters than those by which the tables were chosen that are followed: rows
/// that are copied and not followed would stay as they are.
pub(super) fn check_followed(ledger: &Ledger, now: &Setup) -> Result<()> {
    match slot::recorded_filters(ledger)? {
        Some(followed) if followed != now.filters => {
            let shown = if now.filters.is_empty() {
                "none".to_owned()
            } else {
                now.filters.replace('\n', "; ")
            };
            Err(Error::bad_state(
                "the replication slot of this work directory was made with other filters",
            )
            .detail(format!(
                "Followed: {}. Copied: {shown}.",
                followed.trim_end().replace('\n', "; ")
            ))
            .hint("Give the filters that the slot was made with, or begin anew with --restart."))
        }
        _ => Ok(()),
    }
}

/// What a work directory of a clone is set up for.
pub(super) fn setup_of_clone(
    input: &PrepareInput,
    source: &ServerFacts,
    target: &ServerFacts,
) -> Setup {
    let uri = |conn: &Option<ConnInfo>| conn.as_ref().map(ConnInfo::safe_uri).unwrap_or_default();
    let settings = &input.settings;
    Setup {
        uuid: input.uuid.clone(),
        source_uri: uri(&input.source),
        target_uri: uri(&input.target),
        source_identity: check::identity(source),
        target_identity: check::identity(target),
        source_version: source.version.0,
        target_version: target.version.0,
        split_bytes: Some(settings.split_bytes),
        split_max_parts: settings.split_max_parts,
        options: settings.lasting_options(),
        filters: settings.canonical_filters(),
    }
}

/// What the directory is set up for by this command; what it does not look at stays as it was.
pub(super) fn setup_of(
    settings: &CloneSettings,
    input: &PrepareInput,
    stored: Option<&Setup>,
    (source, target): (&Option<Connected>, &Option<Connected>),
) -> Setup {
    let identity = |side: &Option<Connected>, before: Option<&String>| match side {
        Some(side) => check::identity(&side.facts),
        None => before.cloned().unwrap_or_default(),
    };
    let uri = |conn: &Option<ConnInfo>, before: Option<&String>| match conn {
        Some(conn) => conn.safe_uri(),
        None => before.cloned().unwrap_or_default(),
    };
    let version = |side: &Option<Connected>, before: Option<u32>| match side {
        Some(side) => side.facts.version.0,
        None => before.unwrap_or(0),
    };
    // A restart may split otherwise.
    let splits = settings.goal.has(Part::TableData);
    let (split_bytes, split_max_parts) = match stored {
        Some(before) if !splits => (before.split_bytes, before.split_max_parts),
        _ if splits => (Some(settings.split_bytes), settings.split_max_parts),
        _ => (None, 0),
    };
    Setup {
        uuid: input.uuid.clone(),
        source_uri: uri(&input.source, stored.map(|s| &s.source_uri)),
        target_uri: uri(&input.target, stored.map(|s| &s.target_uri)),
        source_identity: identity(source, stored.map(|s| &s.source_identity)),
        target_identity: identity(target, stored.map(|s| &s.target_identity)),
        source_version: version(source, stored.map(|s| s.source_version)),
        target_version: version(target, stored.map(|s| s.target_version)),
        split_bytes,
        split_max_parts,
        options: settings.merged_options(stored.map_or("", |stored| stored.options.as_str())),
        // Once given, they hold for later commands that do not repeat them.
        filters: match (stored, &settings.filters) {
            (Some(before), None) if settings.goal != Goal::Clone => before.filters.clone(),
            _ => settings.canonical_filters(),
        },
    }
}
