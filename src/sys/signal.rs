//! Signals as flags: TERM, INT and QUIT are counted, the first one is remembered.
//!
//! Runs in every process; installed once by the supervisor before the first fork, inherited by its
//! children, who start with clean flags.

use crate::error::{Error, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

static FIRST: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Signals that ask a run to stop.
pub const STOP_SIGNALS: [i32; 3] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT];

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Starts counting, once for all. Errors: the system refuses a handler.
pub fn install() -> Result<()> {
    if INSTALLED.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    for signal in STOP_SIGNALS {
        // SAFETY: the handler only touches atomics, which is safe in a signal handler.
        let installed = unsafe {
            signal_hook::low_level::register(signal, move || {
                let _first = FIRST.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
                COUNT.fetch_add(1, Ordering::SeqCst);
            })
        };
        installed.map_err(|error| {
            Error::internal(format!(
                "could not install a handler for signal {signal}: {error}"
            ))
        })?;
    }
    Ok(())
}

/// The first stop signal that came, if one came.
pub fn first() -> Option<i32> {
    match FIRST.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Begins to wait for the next signal, when the run puts things in order after the first one: whatever comes
/// then counts as a second signal.
pub fn rearm() {
    FIRST.store(0, Ordering::SeqCst);
}

/// How many stop signals came.
pub fn count() -> u32 {
    COUNT.load(Ordering::SeqCst)
}

/// Forgets what the parent had received.
pub(super) fn reset_in_child() {
    FIRST.store(0, Ordering::SeqCst);
    COUNT.store(0, Ordering::SeqCst);
}

/// Keeps stop signals waiting in this thread; returns the mask to go back to. Errors: the system
/// refuses it ([`crate::error::Kind::Internal`]).
pub(super) fn block_stops() -> Result<SigSet> {
    let mut stops = SigSet::empty();
    for signal in STOP_SIGNALS {
        if let Ok(signal) = Signal::try_from(signal) {
            stops.add(signal);
        }
    }
    stops
        .thread_swap_mask(SigmaskHow::SIG_BLOCK)
        .map_err(|error| Error::internal(format!("could not block signals: {error}")))
}

/// Sets the signal mask of this thread; what waited is delivered.
pub(super) fn set_mask(mask: &SigSet) {
    // It can only fail for a wrong argument, and this one came from the system.
    let _set = mask.thread_set_mask();
}

/// Name of a signal as `kill -l` prints it.
pub fn name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(
        |_| format!("signal {signal}"),
        |known| known.as_str().to_owned(),
    )
}
