//! The lock that says that a run is alive: `flock`, freed by the kernel however the holder ends.
//!
//! Runs in the supervisor, which holds it for life; children close the descriptor.

use crate::error::{Error, Kind, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A held lock; dropping it, or the end of the process, frees it.
#[derive(Debug)]
pub struct HeldLock {
    _file: Flock<File>,
}

/// Takes the lock of a file, which is made when absent (mode 0600) and never removed.
/// `Ok(None)`: another process holds it.
pub fn try_lock(path: &Path) -> Result<Option<HeldLock>> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|error| {
            Error::new(
                Kind::BadState,
                format!("could not open \"{}\": {error}", path.display()),
            )
            .hint("Check that the work directory is writable, or give another one with --dir.")
        })?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(file) => Ok(Some(HeldLock { _file: file })),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(Error::new(
            Kind::BadState,
            format!("could not lock \"{}\": {error}", path.display()),
        )),
    }
}
