//! Waiting for locks with a limit, and saying who stands in the way.
//!
//! Runs in the guard and in the processes that put back. A statement that waits for a lock makes everybody
//! behind it wait, too: it gives up after a while, lets them go, and tries again.

use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use crate::supervisor::Leaf;
use std::time::Duration;

/// SQLSTATE of a lock that was not had in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Tries before a lock is given up.
const TRIES_MAX: u32 = 5;
/// Time between two tries.
const PAUSE: Duration = Duration::from_secs(1);
/// Time that a lock is waited for in one try, milliseconds.
const LOCK_WAIT_MS: u64 = 60_000;
/// Time that a look at tables waits before it says for whom, and between two such lines, milliseconds.
const SAY_AFTER_MS: (u64, u64) = (3_000, 10_000);

/// How long locks are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds in one try; 0: for ever.
    pub lock_wait_ms: u64,
}

impl Limits {
    /// The limits of a run; without them, locks are waited for until a signal comes.
    pub fn new(no_timeouts: bool) -> Self {
        Self {
            lock_wait_ms: if no_timeouts { 0 } else { LOCK_WAIT_MS },
        }
    }

    /// The limit of the next try of somebody who says what is waited for, after so many milliseconds of waiting;
    /// `None`: these were enough.
    fn next(self, waited_ms: u64) -> Option<Self> {
        let least = if waited_ms == 0 {
            SAY_AFTER_MS.0
        } else {
            SAY_AFTER_MS.1
        };
        let left = match self.lock_wait_ms {
            0 => least,
            all => all.saturating_sub(waited_ms).min(least),
        };
        (left > 0).then_some(Self { lock_wait_ms: left })
    }

    /// The setting for a session.
    pub fn statement(self) -> String {
        format!("set lock_timeout = {}", self.lock_wait_ms)
    }
}

/// Does something that needs locks on tables, given by quoted names, a few times if it must. The body has to
/// leave nothing behind when it fails; an open transaction is rolled back here.
pub fn patiently<T>(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    tables: &[String],
    mut body: impl FnMut(&mut PgSession) -> Result<T>,
) -> Result<T> {
    let mut tries = 1;
    loop {
        let error = match body(session) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // The error is what counts; a session that is gone says so at its next statement.
        let _rolled_back = session.batch_execute("rollback");
        leaf.check()?;
        if error.sqlstate() != Some(LOCK_NOT_AVAILABLE) && error.sqlstate() != Some("40P01") {
            return Err(error);
        }
        let holders = holders(session, tables);
        if tries >= TRIES_MAX {
            return Err(error
                .detail(format!("Locks are held by: {holders}."))
                .hint("Stop them, or wait for as long as it takes with --no-timeouts."));
        }
        log::warn!(
            "Could not lock tables of the target, trying again ({tries} of {TRIES_MAX}): locks are held by {holders}"
        );
        tries += 1;
        leaf.nap(PAUSE)?;
    }
}

/// Looks at tables with a limit in all, a few times if somebody has locked them: who that is, is said after a few
/// seconds. The body is given the limit for its sessions, and leaves nothing behind when it fails; `session` gives
/// the side's session to ask, with no transaction open.
pub fn look_patiently<S, T>(
    leaf: &Leaf<'_>,
    (state, limits): (&mut S, Limits),
    mut body: impl FnMut(&mut S, Limits) -> Result<T>,
    mut session: impl FnMut(&mut S, Kind) -> Option<&mut PgSession>,
) -> Result<T> {
    let (mut waited_ms, mut said) = (0, String::new());
    let mut limit = limits.next(0).unwrap_or(limits);
    loop {
        let error = match body(state, limit) {
            Err(error) if error.sqlstate() == Some(LOCK_NOT_AVAILABLE) => error,
            other => return other,
        };
        leaf.check()?;
        waited_ms += limit.lock_wait_ms;
        let side = match error.kind() {
            Kind::Source => "source",
            _ => "target",
        };
        let asked = session(state, error.kind());
        let holders = asked.map_or_else(String::new, exclusive_holders);
        let Some(next) = limits.next(waited_ms) else {
            return Err(error
                .context(format!("looking at tables of the {side}"))
                .detail(format!("Locks are held by: {holders}."))
                .hint("Stop them, or wait for as long as it takes with --no-timeouts."));
        };
        if holders != said {
            log::warn!("The look at tables of the {side} waits for locks: {holders}");
            said = holders;
        }
        limit = next;
    }
}

/// Who has tables for itself alone, or waits to.
fn exclusive_holders(session: &mut PgSession) -> String {
    let rows = session.query(include_str!("sql/list_exclusive_locks.sql"), &[]);
    let lines: Vec<String> = rows
        .unwrap_or_default()
        .iter()
        .map(|row| {
            format!(
                "process {} \"{}\" of role \"{}\" {} {}",
                row.get::<_, i32>("pid"),
                row.get::<_, &str>("application"),
                row.get::<_, &str>("role"),
                if row.get("granted") {
                    "has locked"
                } else {
                    "waits to lock"
                },
                row.get::<_, &str>("names")
            )
        })
        .collect();
    if lines.is_empty() {
        "a process that is gone by now".to_owned()
    } else {
        lines.join("; ")
    }
}

fn holders(session: &mut PgSession, tables: &[String]) -> String {
    let rows = session.query(include_str!("sql/list_blockers.sql"), &[&tables]);
    let lines: Vec<String> = rows
        .unwrap_or_default()
        .iter()
        .map(|row| {
            format!(
                "process {} \"{}\" on {}",
                row.get::<_, i32>("pid"),
                row.get::<_, &str>("application"),
                row.get::<_, &str>("names")
            )
        })
        .collect();
    if lines.is_empty() {
        "a process that is gone by now".to_owned()
    } else {
        lines.join("; ")
    }
}

/// The error of a thing that is not what the plan was made of.
pub(super) fn changed(what: &str, before: &str, now: &str) -> Error {
    Error::bad_state(format!(
        "{what} was changed on the target after the plan was made"
    ))
    .detail(format!("Before: {before}; now: {now}."))
    .hint("Run the command again: it makes a new plan. What had been removed is put back.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_said_soon_and_the_whole_wait_is_the_limit() {
        let tries = |limits: Limits| -> Vec<u64> {
            let mut waited = 0;
            let next = || {
                let limit = limits.next(waited)?.lock_wait_ms;
                waited += limit;
                Some(limit)
            };
            std::iter::from_fn(next).take(20).collect()
        };
        let with_limit = tries(Limits::new(false));
        assert_eq!((with_limit[0], with_limit[1]), (3_000, 10_000));
        assert_eq!(with_limit.iter().sum::<u64>(), LOCK_WAIT_MS);
        assert_eq!(tries(Limits::new(true)).len(), 20);
        assert_eq!(tries(Limits { lock_wait_ms: 500 }), [500]);
    }
}
