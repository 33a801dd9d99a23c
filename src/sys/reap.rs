//! The supervisor's side of its children: report pipes, ends, signals by pid.
//!
//! Runs in the supervisor. Never waits for a child that has not closed its report pipe, and never
//! signals a pid that it has already reaped.

use crate::error::{Error, Result};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By `_exit` with this code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// A running child.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    label: String,
    report: std::fs::File,
    pending: Vec<u8>,
}

/// What a look at a child's pipe brought.
#[derive(Debug)]
pub struct News {
    /// Whole lines, oldest first.
    pub lines: Vec<String>,
    /// The child closed its pipe and has been reaped.
    pub ended: Option<Ended>,
}

impl Child {
    pub(super) fn new(pid: Pid, label: String, report: OwnedFd) -> Self {
        Self {
            pid,
            label,
            report: std::fs::File::from(report),
            pending: Vec::new(),
        }
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// The title it was started with.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Sends a signal to this one process.
    pub fn signal(&self, signal: Signal) {
        // The child is not reaped yet, so its pid cannot belong to another process.
        let _gone = kill(self.pid, signal);
    }

    /// Reads what there is in the report pipe; reaps the child at its end. Call it after [`poll_all`]
    /// said that there is something to read, otherwise it blocks.
    pub fn read(&mut self) -> Result<News> {
        let mut buffer = [0_u8; 8192];
        let count = match self.report.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                return Ok(News {
                    lines: Vec::new(),
                    ended: None,
                });
            }
            Err(error) => {
                return Err(Error::internal(format!(
                    "could not read the reports of process {} \"{}\": {error}",
                    self.pid, self.label
                )));
            }
        };
        self.pending.extend_from_slice(&buffer[..count]);
        let mut lines = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line[..end]).into_owned());
        }
        let ended = if count == 0 { Some(self.wait()?) } else { None };
        Ok(News { lines, ended })
    }

    /// Reaps a child that has closed its pipe; it is in `_exit`, or about to be killed.
    fn wait(&self) -> Result<Ended> {
        /// Time a process may take from closing its pipe to its end.
        const GRACE: Duration = Duration::from_secs(5);
        let since = Instant::now();
        loop {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(Ended::Exit(code)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Ended::Signal(signal as i32)),
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(error) => {
                    return Err(Error::internal(format!(
                        "could not wait for process {} \"{}\": {error}",
                        self.pid, self.label
                    )));
                }
            }
            if since.elapsed() > GRACE {
                self.signal(Signal::SIGKILL);
            }
            super::clock::nap(Duration::from_millis(1));
        }
    }
}

/// Waits until a child has something to say, a signal comes, or `limit` is over; returns the
/// positions of those that can be read.
pub fn poll_all(children: &[&Child], limit: Duration) -> Vec<usize> {
    let mut fds: Vec<PollFd<'_>> = children
        .iter()
        .map(|child| PollFd::new(child.report.as_fd(), PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::from(u16::try_from(limit.as_millis()).unwrap_or(u16::MAX));
    if poll(&mut fds, timeout).is_err() {
        return Vec::new();
    }
    (0..fds.len())
        .filter(|position| fds[*position].any().unwrap_or(false))
        .collect()
}

/// From now on, processes whose parents die become children of this one instead of the system's: tools
/// start processes of their own, which would live on when the leaf that ran the tool is killed.
pub fn adopt_strays() -> Result<()> {
    nix::sys::prctl::set_child_subreaper(true).map_err(|error| {
        Error::internal(format!("could not become the parent of orphans: {error}"))
    })
}

/// Kills and reaps all children but the `known` ones, and their children in turn. Call it after a leaf
/// that died has been reaped: its own children are ours by then. Waits milliseconds.
pub fn end_strays(known: &BTreeSet<i32>) {
    /// A tool's processes are two deep; more rounds than that mean that one resists for a moment.
    const ROUNDS_MAX: u32 = 200;
    for _ in 0..ROUNDS_MAX {
        let strays = strays(known);
        if strays.is_empty() {
            return;
        }
        for pid in strays {
            // It is our child and not reaped yet, so the pid is still its own.
            let _gone = kill(pid, Signal::SIGKILL);
            let _reaped = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
        super::clock::nap(Duration::from_millis(5));
    }
}

fn strays(known: &BTreeSet<i32>) -> Vec<Pid> {
    let Ok(listing) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = std::process::id().to_string();
    listing
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !known.contains(pid) && parent_of(*pid).is_some_and(|parent| parent == own))
        .map(Pid::from_raw)
        .collect()
}

/// The parent of a process: the second field behind its name, which may hold anything.
fn parent_of(pid: i32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1).map(str::to_owned)
}
