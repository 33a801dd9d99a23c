//! What may be tried again after an error, in one table, and how long to wait in between.
//!
//! Runs in leaf workers. Logs a warning while it waits. Callers say only what is safe to repeat; it
//! must not be used around anything that might have taken place.

use crate::error::{Error, Kind, Result};
use crate::sys::clock::nap;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// How long the first connection of a run is tried.
pub const FIRST_CONNECT_BUDGET: Duration = Duration::from_secs(60);
/// How long a connection that was lost later is tried.
pub const RECONNECT_BUDGET: Duration = Duration::from_secs(30 * 60);
/// Shortest and longest wait between two tries.
const WAIT_MIN: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Time between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// When an attempt may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// At once: another transaction or a limit of this one was in the way.
    Soon,
    /// With growing waits, on a new connection: the server is not there or too busy.
    Backoff,
    /// Not at all: it would fail again.
    Never,
}

/// Decides by SQLSTATE; without one by whether the connection failed.
pub fn policy(error: &Error) -> Retry {
    // Who has waited for a server that does not come back waits in the name of the whole run.
    if matches!(error.kind(), Kind::Stopped(_)) || error.is_waited_out() {
        return Retry::Never;
    }
    let Some(code) = error.sqlstate() else {
        return if error.is_transient() {
            Retry::Backoff
        } else {
            Retry::Never
        };
    };
    match code {
        // Serialization failure, deadlock, lock not available, limits on idle and on transactions.
        "40001" | "40P01" | "55P03" | "25P03" | "25P04" | "57P05" => Retry::Soon,
        // A standby cancels what stands in the way of its recovery; people cancel, too.
        "57014" if error.message().contains("conflict with recovery") => Retry::Soon,
        "57P01" | "57P02" | "57P03" | "53300" => Retry::Backoff,
        _ if code.starts_with("08") => Retry::Backoff,
        _ => Retry::Never,
    }
}

/// How often lifting the limit is tried; each try is one round trip.
const LIFTS_MAX: u32 = 200;

/// Turns `statement_timeout` off, which `run` does with the statement it is given. The limit of a role
/// or a database may be shorter than a busy server takes for this statement alone, so it is tried again
/// until it gets through; it comes by itself and before any other.
pub fn lift_statement_timeout(mut run: impl FnMut(&str) -> Result<()>) -> Result<()> {
    let mut tries = 1;
    loop {
        match run("set statement_timeout to 0") {
            Err(error) if error.sqlstate() == Some("57014") && tries < LIFTS_MAX => tries += 1,
            other => return other,
        }
    }
}

/// A wait between `WAIT_MIN` and three times the last one: workers that failed together do not come
/// back together ("decorrelated jitter").
fn next_wait(last: Duration, random: u64) -> Duration {
    let low = u64::try_from(WAIT_MIN.as_micros()).unwrap_or(u64::MAX);
    let high = u64::try_from(last.as_micros())
        .unwrap_or(u64::MAX)
        .saturating_mul(3)
        .max(low + 1);
    Duration::from_micros(low + random % (high - low)).min(WAIT_MAX)
}

/// Waits for `limit` unless `stop` says so; looked at ten times a second.
fn wait(limit: Duration, stop: &dyn Fn() -> bool) {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || stop() {
            return;
        }
        // Never zero, which would not wait at all.
        nap(left
            .min(Duration::from_millis(100))
            .max(Duration::from_millis(1)));
    }
}

/// Calls `attempt` until it succeeds, fails for good, `budget` is spent, or `stop` says so.
///
/// `what` completes "Failed to …", such as `connect to the source`. Blocks. The last error is
/// returned and says how many attempts there were.
pub fn with_backoff<T>(
    budget: Duration,
    what: &str,
    stop: &dyn Fn() -> bool,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let started = Instant::now();
    let mut warned: Option<Instant> = None;
    let mut last_wait = WAIT_MIN;
    let mut attempts: u32 = 0;
    loop {
        attempts = attempts.saturating_add(1);
        let error = match attempt() {
            Ok(value) => {
                if attempts > 1 {
                    let elapsed = started.elapsed().as_secs_f32();
                    log::info!("Managed to {what} after {attempts} attempts in {elapsed:.1} s");
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        let elapsed = started.elapsed();
        if policy(&error) == Retry::Never || stop() || elapsed >= budget {
            let is_spent = policy(&error) != Retry::Never && elapsed >= budget;
            let error = if is_spent { error.waited_out() } else { error };
            return Err(if attempts == 1 {
                error
            } else {
                error.context(format!(
                    "failed to {what} after {attempts} attempts in {:.1} s",
                    elapsed.as_secs_f32()
                ))
            });
        }
        if warned.is_none_or(|last| last.elapsed() >= WARN_EVERY) {
            warned = Some(Instant::now());
            log::warn!(
                "Failed to {what}, will try for {} s ({attempts} attempts, {:.1} s so far): {error}",
                budget.as_secs(),
                elapsed.as_secs_f32()
            );
        }
        let random = std::hash::RandomState::new().build_hasher().finish();
        last_wait = match policy(&error) {
            Retry::Soon => WAIT_MIN,
            Retry::Backoff | Retry::Never => next_wait(last_wait, random),
        };
        wait(last_wait.min(budget.saturating_sub(elapsed)), stop);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_code(code: &str) -> Error {
        Error::new(Kind::Source, "ERROR: x").with_sqlstate(code)
    }

    #[test]
    fn the_table_decides_by_sqlstate_then_by_the_connection() {
        for code in ["08006", "08P01", "57P01", "57P02", "57P03", "53300"] {
            assert_eq!(policy(&with_code(code)), Retry::Backoff, "{code}");
        }
        for code in ["40001", "40P01", "55P03", "25P03", "25P04"] {
            assert_eq!(policy(&with_code(code)), Retry::Soon, "{code}");
        }
        for code in ["28P01", "28000", "3D000", "57014", "42P01", "53100"] {
            assert_eq!(policy(&with_code(code).transient()), Retry::Never, "{code}");
        }
        let conflict = "canceling statement due to conflict with recovery";
        let conflict = Error::new(Kind::Source, conflict).with_sqlstate("57014");
        assert_eq!(policy(&conflict), Retry::Soon);
        assert_eq!(
            policy(&Error::new(Kind::Target, "refused").transient()),
            Retry::Backoff
        );
        assert_eq!(
            policy(&Error::new(Kind::Target, "unknown host")),
            Retry::Never
        );
        assert_eq!(
            policy(&Error::new(Kind::Stopped(15), "x").transient()),
            Retry::Never
        );
    }

    #[test]
    fn attempts_end_with_success_a_lasting_error_the_budget_or_a_stop() {
        let lost = || Error::new(Kind::Target, "refused").transient();
        let budget = Duration::from_secs(5);
        let mut left = 3;
        let result = with_backoff(budget, "connect", &|| false, || {
            left -= 1;
            if left == 0 { Ok(7) } else { Err(lost()) }
        });
        assert_eq!(result.unwrap(), 7);

        let mut calls = 0;
        let result: Result<()> = with_backoff(budget, "connect", &|| false, || {
            calls += 1;
            Err(with_code("28P01"))
        });
        assert!(result.is_err() && calls == 1);

        let short = Duration::from_millis(30);
        let result: Result<()> = with_backoff(short, "connect", &|| false, || Err(lost()));
        let error = result.unwrap_err();
        assert!(error.lines()[0].starts_with("failed to connect after "));
        // Nobody waits for the same server again.
        assert!(error.is_waited_out() && policy(&error) == Retry::Never);
        assert_eq!(policy(&with_code("57P03").waited_out()), Retry::Never);

        let result: Result<()> = with_backoff(budget, "connect", &|| true, || Err(lost()));
        assert!(result.is_err());
    }

    #[test]
    fn waits_stay_between_their_bounds() {
        let mut last = WAIT_MIN;
        for random in [
            0,
            1,
            u64::MAX,
            u64::MAX / 2,
            12_345_678_901,
            u64::MAX,
            u64::MAX,
        ] {
            last = next_wait(last, random);
            assert!((WAIT_MIN..=WAIT_MAX).contains(&last), "{last:?}");
        }
        assert!(next_wait(WAIT_MAX, 5_999_000) <= WAIT_MAX);
    }
}
