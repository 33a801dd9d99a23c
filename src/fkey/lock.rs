//! Waiting for locks with a limit, and saying who stands in the way.
//!
//! Runs in the guard and in the processes that put back. A statement that waits for a lock makes everybody
//! behind it wait, too: it gives up after a while, lets them go, and tries again.

use crate::error::{Error, Result};
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
