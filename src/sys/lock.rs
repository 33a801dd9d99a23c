//! The lock that says that a run is alive: `flock`, freed by the kernel however the holder ends.
//!
//! Runs in the supervisor, which holds it for life; children close the descriptor.

use super::clock;
use crate::error::{Error, Kind, Result};
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

/// How often a lock is tried for: whoever only asks whether it is held ([`is_held`]) holds it himself
/// for some microseconds.
const TRIES: u32 = 5;
/// Time between two tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// A held lock; dropping it, or the end of the process, frees it.
#[derive(Debug)]
pub struct HeldLock {
    _file: Flock<File>,
}

/// Takes the lock of a file, which is made when absent (mode 0600) and never removed.
/// `Ok(None)`: another process holds it. Waits a tenth of a second for it.
pub fn try_lock(path: &Path) -> Result<Option<HeldLock>> {
    let mut file = OpenOptions::new()
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
    for attempt in 1..=TRIES {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => return Ok(Some(HeldLock { _file: file })),
            Err((unlocked, nix::Error::EWOULDBLOCK)) if attempt < TRIES => {
                file = unlocked;
                clock::nap(BETWEEN_TRIES);
            }
            Err((_, nix::Error::EWOULDBLOCK)) => break,
            Err((_, error)) => return Err(not_locked(path, error)),
        }
    }
    Ok(None)
}

/// Whether another process holds the lock of a file; one that is not there is held by nobody. Neither
/// makes nor changes the file.
pub fn is_held(path: &Path) -> Result<bool> {
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NOFOLLOW)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => {
            return Err(Error::new(
                Kind::BadState,
                format!("could not open \"{}\": {error}", path.display()),
            )
            .hint("Ask as the user who runs pgcopydb."));
        }
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_freed_at_once) => Ok(false),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(true),
        Err((_, error)) => Err(not_locked(path, error)),
    }
}

fn not_locked(path: &Path, error: nix::Error) -> Error {
    Error::new(
        Kind::BadState,
        format!("could not lock \"{}\": {error}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_whether_a_lock_is_held_makes_no_file_and_keeps_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        assert!(!is_held(&path).unwrap() && !path.exists());
        let held = try_lock(&path).unwrap();
        assert!(held.is_some() && is_held(&path).unwrap());
        assert!(try_lock(&path).unwrap().is_none());
        drop(held);
        assert!(!is_held(&path).unwrap());
        assert!(try_lock(&path).unwrap().is_some());
    }
}
