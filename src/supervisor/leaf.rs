//! The frame of every leaf process: its report, its stop flag, its end.
//!
//! Runs in leaves. A body returns a result; here it becomes the last report line and the exit code,
//! and the error is logged, once.

use super::report::Report;
use super::role::Role;
use crate::error::{Error, Kind, Result};
use crate::notice;
use crate::sys::fork::{self, Reporter};
use crate::sys::reap::Child;
use crate::sys::{clock, proc, signal, title};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Longest single nap; after each one flag and parent are looked at.
const NAP_MAX: Duration = Duration::from_millis(50);

/// A leaf process as its body sees it.
pub struct Leaf<'a> {
    /// What it is for.
    pub role: Role,
    /// Number within the role, from 1.
    pub number: u32,
    /// It replaces a worker of the same number that died: look at what that one left.
    pub successor: bool,
    stop: Arc<AtomicBool>,
    parent: i32,
    reporter: &'a mut Reporter,
}

impl Leaf<'_> {
    /// Tells the supervisor something.
    pub fn report(&mut self, report: &Report) {
        self.reporter.send(&report.line());
    }

    /// The flag that says that this process must stop; for threads and sessions.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// True once a stop signal came or the supervisor is gone.
    pub fn stopping(&self) -> bool {
        if signal::first().is_some() || self.is_orphan() {
            self.stop.store(true, Ordering::SeqCst);
        }
        self.stop.load(Ordering::SeqCst)
    }

    /// True once the supervisor is gone: nobody else will put away what the run shares.
    pub fn is_orphan(&self) -> bool {
        proc::parent_pid() != self.parent
    }

    /// Fails with [`Kind::Stopped`] once this process must stop.
    pub fn check(&self) -> Result<()> {
        if self.stopping() {
            Err(stopped())
        } else {
            Ok(())
        }
    }

    /// Waits; fails at once when this process must stop.
    pub fn nap(&self, limit: Duration) -> Result<()> {
        let since = Instant::now();
        loop {
            self.check()?;
            let left = limit.saturating_sub(since.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            clock::nap(left.min(NAP_MAX));
        }
    }

    /// Changes the process title.
    pub fn set_title(&self, text: &str) {
        title::set(text);
    }
}

fn stopped() -> Error {
    let signal = signal::first().unwrap_or(15);
    Error::new(
        Kind::Stopped(signal),
        format!("stopped by {}", signal::name(signal)),
    )
}

/// Starts a leaf with this body.
pub fn spawn(
    role: Role,
    number: u32,
    successor: bool,
    body: impl FnOnce(&mut Leaf<'_>) -> Result<()>,
) -> Result<Child> {
    let parent = i32::try_from(std::process::id()).unwrap_or(0);
    let child = fork::spawn(role.label(), |reporter| {
        let stop = Arc::new(AtomicBool::new(false));
        let mut leaf = Leaf {
            role,
            number,
            successor,
            stop,
            parent,
            reporter,
        };
        let (report, code) = match body(&mut leaf) {
            Ok(()) => (Report::Done, 0),
            Err(error) => {
                // The supervisor prints it: as what ends the run, or as one more error.
                let code = i32::from(error.kind().exit_code());
                (Report::Failed { error }, code)
            }
        };
        leaf.report(&report);
        code
    })?;
    notice!(
        "Started process {} \"{}\" {number}",
        child.pid(),
        role.label()
    );
    Ok(child)
}
