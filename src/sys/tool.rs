//! Preparing an external program, so that it ends with the process that started it.
//!
//! Runs in leaf processes, just before `exec`. Writes nothing. It must not allocate or take locks in
//! the child, as the parent may have had threads.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Gives the program its own process group, and has the kernel kill it when the caller dies.
pub fn prepare(command: &mut Command) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: setpgid takes two numbers and is async-signal-safe.
        if unsafe { libc::setpgid(0, 0) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: PR_SET_PDEATHSIG takes one number and touches no memory.
        if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } != 0 {
            return Err(std::io::Error::last_os_error());
        }
        if std::os::unix::process::parent_id() != parent {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only; it neither allocates nor takes a lock.
    unsafe { command.pre_exec(before_exec) };
}
