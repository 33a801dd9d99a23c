//! The fork discipline: the one place where a process is made.
//!
//! Runs in the supervisor. A child gets plain data (what its body captured), standard input, output
//! and error, and the write end of its report pipe; every other descriptor is closed. It never
//! returns: its body's result is written to the report pipe and the process ends by `_exit`, so that
//! no destructor of the parent runs in it. It is sent SIGTERM when the supervisor dies.

use crate::error::{Error, Result};
use crate::sys::{reap::Child, signal, title};
use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, Pid};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::AssertUnwindSafe;

/// Longest report line, bytes with the line feed: a pipe keeps writes up to this size whole.
pub const REPORT_LINE_MAX: usize = 4096;

/// Exit code of a child whose body panicked.
pub const PANIC_EXIT_CODE: i32 = 12;

/// The child's end of its report pipe: one line a message, newest last.
pub struct Reporter {
    pipe: std::fs::File,
}

impl Reporter {
    /// Sends one line, cut to what a pipe keeps whole. A supervisor that is gone is no error here:
    /// the death signal ends this process.
    pub fn send(&mut self, line: &str) {
        debug_assert!(
            !line.contains('\n') && line.len() < REPORT_LINE_MAX,
            "report too long"
        );
        let mut bytes = line.as_bytes().to_vec();
        bytes.truncate(REPORT_LINE_MAX - 1);
        bytes.push(b'\n');
        let _gone = self.pipe.write_all(&bytes);
    }
}

/// Ends this process at once: no destructors, no `atexit`, no flushing.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` takes any value and has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Forks a child that runs `body` and ends with the code that it returns.
///
/// `label` becomes the child's title (`pgcopydb: label`). Errors ([`crate::error::Kind::Internal`]):
/// this process has more than one thread, or the system refuses a pipe or a process.
pub fn spawn(label: &str, body: impl FnOnce(&mut Reporter) -> i32) -> Result<Child> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads != 1 {
        return Err(Error::internal(format!(
            "could not start process \"{label}\": the supervisor has {threads} threads"
        )));
    }
    let failed = |what: &str, error: nix::Error| {
        Error::internal(format!("could not {what} for process \"{label}\": {error}"))
            .hint("Look at the limits of the system: ulimit -u, ulimit -n.")
    };
    let (read_end, write_end) =
        nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| failed("open a pipe", error))?;
    let _flushed = (std::io::stdout().flush(), std::io::stderr().flush());
    let supervisor = nix::unistd::getpid();
    // A stop that reaches the child before it has forgotten its parent's signals would be forgotten
    // with them: until then it is kept waiting.
    let unblocked = signal::block_stops()?;
    #[allow(clippy::disallowed_methods, reason = "this is the one fork site")]
    // SAFETY: there is one thread, so no lock can be held by a thread that the child lacks.
    let forked = unsafe { nix::unistd::fork() };
    let forked = forked.map_err(|error| failed("fork", error));
    if !matches!(forked, Ok(ForkResult::Child)) {
        signal::set_mask(&unblocked);
    }
    match forked? {
        ForkResult::Parent { child } => {
            drop(write_end);
            Ok(Child::new(child, label.to_owned(), read_end))
        }
        ForkResult::Child => {
            drop(read_end);
            let code = std::panic::catch_unwind(AssertUnwindSafe(|| {
                enter_child(label, supervisor, &write_end);
                signal::set_mask(&unblocked);
                let mut reporter = Reporter {
                    pipe: std::fs::File::from(write_end),
                };
                body(&mut reporter)
            }));
            exit_now(code.unwrap_or(PANIC_EXIT_CODE));
        }
    }
}

/// Makes a fresh child independent of its parent's descriptors and tied to its parent's life.
fn enter_child(label: &str, supervisor: Pid, report: &OwnedFd) {
    close_descriptors_above_two_but([report.as_raw_fd(), crate::logging::file_descriptor()]);
    // The signal is sent when the parent's thread ends, and the parent has one thread.
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
    if nix::unistd::getppid() != supervisor {
        exit_now(128 + libc::SIGTERM);
    }
    signal::reset_in_child();
    title::set(label);
}

/// Closes what the parent had open; `close_range` is there since Linux 5.9.
fn close_descriptors_above_two_but(kept: [i32; 2]) {
    let mut kept: Vec<u32> = kept
        .into_iter()
        .filter_map(|fd| u32::try_from(fd).ok())
        .collect();
    kept.sort_unstable();
    let mut ranges = Vec::with_capacity(3);
    let mut next = 3;
    for fd in kept {
        ranges.push((next, fd.saturating_sub(1)));
        next = fd.saturating_add(1);
    }
    ranges.push((next, u32::MAX));
    for (first, last) in ranges.into_iter().filter(|(first, last)| first <= last) {
        // SAFETY: plain numbers; descriptors of Rust objects in this range are never used again,
        // as the child leaves by `_exit` and its body captured plain data.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            close_listed(first, last);
        }
    }
}

/// Fallback for systems without `close_range`: closes the descriptors that `/proc` lists.
fn close_listed(first: u32, last: u32) {
    let Ok(listed) = std::fs::read_dir("/proc/self/fd") else {
        return;
    };
    let open: Vec<u32> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| (first..=last).contains(fd))
        .collect();
    for fd in open {
        let fd = i32::try_from(fd).unwrap_or(-1);
        // SAFETY: as above; closing a descriptor that is closed already only gives an error.
        let _closed = unsafe { libc::close(fd) };
    }
}
