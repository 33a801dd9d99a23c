//! Pruning: removes files all of whose transactions are applied and durable on the target.
//!
//! Runs in the main program, in the transform process every few minutes, and in the receive process
//! while it waits for room. A file goes only when everything that begins,
//! goes on or ends in it is behind the target's durable progress; how far is written down first.

use super::files::{CdcDir, trouble};
use super::txn_index::TxnIndex;
use crate::catalog::sentinel::{self, Position};
use crate::catalog::{CdcStatus, Ledger, Sentinel};
use crate::error::Result;
use crate::units::{Lsn, pretty_bytes};
use std::path::PathBuf;

/// What was removed, or would be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// JSON files with their SQL files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
    /// The target's progress.
    pub replayed: Lsn,
}

/// Removes what is not needed any more and says so; what cannot be removed now can be later.
pub fn clear_away(cdc: &CdcDir, ledger: &mut Ledger) {
    match run(cdc, ledger, false) {
        Ok(pruned) if pruned.files > 0 => log::info!(
            "Removed {} CDC file pair(s), freed {} (replay_lsn {})",
            pruned.files,
            pretty_bytes(pruned.bytes),
            pruned.replayed
        ),
        Ok(_) => {}
        Err(error) => log::warn!("Could not remove files of applied changes: {error}"),
    }
}

/// Removes what is not needed any more. `replayed`: the target's durable progress.
pub fn run(cdc: &CdcDir, ledger: &mut Ledger, dry_run: bool) -> Result<Pruned> {
    let row = Sentinel::must_read(ledger.connection())?;
    let status = CdcStatus::read(ledger.connection())?;
    // A drained sentinel may hold a raw endpos; what is received up to there is applied all the same.
    let replayed = row
        .replay_lsn
        .min(status.received_through.max(status.pruned_through));
    let mut pruned = Pruned {
        replayed,
        ..Pruned::default()
    };
    let Some(index) = TxnIndex::open(cdc)? else {
        return Ok(pruned);
    };
    let at = index.first_after(replayed)?;
    // The first file that is still needed: where the first transaction begins that is not applied,
    // or, when all are, the newest one.
    let segments = cdc.segments()?;
    let newest = segments.last().map(|segment| segment.name);
    let needed = match index.get(at)? {
        Some(record) => Some(record.begin.segment),
        None => index.last()?.map(|record| record.end.segment),
    };
    let Some(first_kept) = needed
        .zip(newest)
        .map(|(needed, newest)| needed.min(newest))
    else {
        return Ok(pruned);
    };
    let old: Vec<_> = segments
        .iter()
        .filter(|segment| segment.name < first_kept && segment.partial.is_none())
        .collect();
    if old.is_empty() {
        return Ok(pruned);
    }
    if !dry_run {
        // Not further than transactions go: the target's origin need not have reached a raw endpos.
        let mut last_gone = Lsn::UNSET;
        for before in (0..at).rev() {
            if let Some(record) = index.get(before)?.filter(|record| !record.is_boundary) {
                last_gone = record.end_lsn;
                break;
            }
        }
        sentinel::advance(ledger, &[(Position::PrunedThrough, last_gone)])?;
    }
    for segment in old {
        pruned.files += 1;
        let paths: [PathBuf; 3] = [
            cdc.sql(segment.name),
            cdc.sql_partial(segment.name),
            cdc.json(segment.name),
        ];
        for path in paths {
            let Ok(metadata) = std::fs::metadata(&path) else {
                continue;
            };
            pruned.bytes += metadata.len();
            if dry_run {
                continue;
            }
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(trouble("remove", &path, &error));
                }
                _ => {}
            }
        }
    }
    if !dry_run {
        remove_notes(cdc, replayed);
    }
    Ok(pruned)
}

/// Removes the notes on transactions that went on in a later file, once these are applied. Nothing is
/// decided by them, so one that stays does no harm.
fn remove_notes(cdc: &CdcDir, replayed: Lsn) {
    let entries = std::fs::read_dir(cdc.top()).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let stem = name.to_str().and_then(|name| name.strip_suffix(".json"));
        // The name of a segment is longer.
        if !stem.is_some_and(|stem| stem.len() <= 10 && stem.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        let note: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let lsn = note
            .get("commit_lsn")
            .and_then(|lsn| lsn.as_str()?.parse::<Lsn>().ok());
        if lsn.is_some_and(|lsn| lsn <= replayed) {
            let _best = std::fs::remove_file(entry.path());
        }
    }
}
