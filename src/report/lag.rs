//! How far a follow is behind: lines for `status` and `list progress`, one line for the log, and JSON.
//!
//! Pure: figures in, text out.

use super::progress::about;
use crate::catalog::Lag;
use crate::units::{Lsn, pretty_bytes, pretty_rate};
use serde_json::{Value, json as object};

/// Name and value of each line.
pub fn lines(lag: &Lag, now: i64) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let row = &lag.sentinel;
    let mode = match (row.apply, lag.is_drained()) {
        (_, true) => "at its end: everything up to the endpos is applied".to_owned(),
        (true, _) => "changes are applied".to_owned(),
        (false, _) => "changes are received, and not applied yet".to_owned(),
    };
    lines.push(("Follow", mode));
    if row.endpos.is_set() {
        lines.push(("Endpos", row.endpos.to_string()));
    }
    let (received, applied) = match lag.bytes_behind() {
        Some((received, applied)) => (
            format!(", {} behind the source", pretty_bytes(received)),
            format!(", {} behind{}", pretty_bytes(applied), seconds(lag)),
        ),
        None => (String::new(), String::new()),
    };
    lines.push(("Received", format!("{}{received}", row.flush_lsn)));
    lines.push(("Applied", format!("{}{applied}", shown(row.replay_lsn))));
    if let Some([written, received, applied]) = lag.rates() {
        let rate = |bytes| pretty_rate(bytes, 1000);
        let end = match lag.left_ms() {
            Some(0) | None => String::new(),
            Some(left) if row.endpos.is_set() => {
                format!("; at the endpos in about {}", about(left))
            }
            Some(left) => format!("; caught up in about {}", about(left)),
        };
        lines.push((
            "Rates",
            format!(
                "source {}, received {}, applied {}{end}",
                rate(written),
                rate(received),
                rate(applied)
            ),
        ));
    }
    if let Some((seen_at, look)) = &lag.source {
        let age = (now - seen_at).max(0) / 1000;
        let kept = lag.retained().map_or_else(
            || "nothing is known".to_owned(),
            |bytes| format!("keeps {} of WAL", pretty_bytes(bytes)),
        );
        let status = look
            .wal_status
            .as_ref()
            .map(|status| format!(" ({status})"))
            .unwrap_or_default();
        let safe = look
            .safe_wal_size
            .and_then(|bytes| u64::try_from(bytes).ok())
            .map(|bytes| format!(", is lost after {} more", pretty_bytes(bytes)))
            .unwrap_or_default();
        lines.push(("Slot", format!("{kept}{status}{safe}, seen {age} s ago")));
    }
    lines.extend(lag.drift.iter().map(|line| ("Changed", line.clone())));
    lines
}

fn shown(lsn: Lsn) -> String {
    if lsn.is_set() {
        lsn.to_string()
    } else {
        "nothing yet".to_owned()
    }
}

fn seconds(lag: &Lag) -> String {
    match lag.ms_behind() {
        None | Some(0) => String::new(),
        Some(ms) => format!(" and {} s", ms / 1000),
    }
}

/// The document.
pub fn document(lag: &Lag, now: i64) -> Value {
    let row = &lag.sentinel;
    let lsn = |lsn: Lsn| lsn.is_set().then(|| lsn.to_string());
    let rates = lag.rates();
    let rate = |at: usize| rates.and_then(|rates| rates.get(at).copied());
    let look = lag.source.as_ref();
    object!({
        "apply": row.apply,
        "endpos": lsn(row.endpos),
        "drained": lag.is_drained(),
        "mode": lag.status.mode,
        "startpos": lsn(row.startpos),
        "received_lsn": lsn(row.flush_lsn),
        "received_through": lsn(lag.status.received_through),
        "transformed_lsn": lsn(lag.status.transform_lsn),
        "applied_lsn": lsn(row.replay_lsn),
        "source_lsn": look.and_then(|(_, look)| lsn(look.lsn)),
        "source_seen": look.map(|(at, _)| (now - at).max(0) / 1000),
        "bytes_not_received": lag.bytes_behind().map(|(received, _)| received),
        "bytes_behind": lag.bytes_behind().map(|(_, applied)| applied),
        "seconds_behind": lag.ms_behind().map(|ms| ms / 1000),
        "rates": { "source": rate(0), "received": rate(1), "applied": rate(2) },
        "seconds_left": lag.left_ms().map(|ms| ms / 1000),
        "changed": lag.drift,
        "slot": look.map(|(_, look)| object!({
            "restart_lsn": lsn(look.restart_lsn),
            "retained_bytes": lag.retained(),
            "wal_status": look.wal_status,
            "safe_wal_size": look.safe_wal_size,
        })),
    })
}
