//! External programs that die with the process that started them.
//!
//! Runs in leaf processes. A tool stands in a process group of its own, so that a terminal's Ctrl-C
//! and our own stop ladder reach it only through us.

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the command run in its own process group and be killed when this process dies.
pub fn prepare(command: &mut Command) {
    command.process_group(0);
    let parent = std::process::id();
    #[allow(
        clippy::multiple_unsafe_ops_per_block,
        reason = "one closure, one argument for it"
    )]
    // SAFETY: between fork and exec only system calls that are safe in a signal handler are made:
    // prctl, getppid and _exit.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if u32::try_from(libc::getppid()) != Ok(parent) {
                libc::_exit(127);
            }
            Ok(())
        });
    }
}

/// Sends a signal to the process group of a tool that was started by [`prepare`].
pub fn signal_group(pid: u32, signal: Signal) {
    let Ok(pid) = i32::try_from(pid) else { return };
    if pid > 1 {
        let _gone = nix::sys::signal::killpg(Pid::from_raw(pid), signal);
    }
}
