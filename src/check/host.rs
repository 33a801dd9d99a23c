//! The machine that this program runs on: room and rights in the work directory.
//!
//! Runs in the main program, for `check` and `--dry-run`. Looks only; makes nothing.

use super::finding::Findings;
use crate::error::{Error, Kind};
use crate::units::pretty_bytes;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Room that the schema and the ledger of most databases need, bytes.
const ROOM_BYTES: u64 = 256 << 20;

/// A durable write that takes longer is felt.
const SLOW_WRITE: Duration = Duration::from_millis(100);
/// Writes that are tried; the fastest counts.
const WRITES: u32 = 3;

/// Time that a small write needs to be on the disk. The file has no name, so nothing is left; `None`: the
/// file system cannot do that.
fn durable_write(folder: &Path) -> Option<Duration> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .custom_flags(nix::fcntl::OFlag::O_TMPFILE.bits())
        .mode(0o600)
        .open(folder)
        .ok()?;
    let write = |_| -> Option<Duration> {
        let since = Instant::now();
        file.write_all(&[0; 512]).ok()?;
        file.sync_data().ok()?;
        Some(since.elapsed())
    };
    (0..WRITES).filter_map(write).min()
}

/// Looks at the work directory, or at the folder that it would be made in.
pub fn look_at_host(dir: &Path, findings: &mut Findings) {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf());
    let Some(there) = absolute.ancestors().find(|folder| folder.exists()) else {
        return;
    };
    let shown = there.display();
    if !there.is_dir() || access(there, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        findings.fail(
            Error::new(
                Kind::BadState,
                format!("nothing can be written into \"{shown}\""),
            )
            .hint("Give another work directory with --dir."),
        );
        return;
    }
    if let Some(took) = durable_write(there).filter(|took| *took > SLOW_WRITE) {
        findings.warning(
            Error::new(
                Kind::BadState,
                format!(
                    "a durable write into \"{shown}\" takes {} ms",
                    took.as_millis()
                ),
            )
            .hint("Each step of the run waits for one: give a work directory on a faster disk with --dir."),
        );
    }
    let Ok(room) = statvfs(there) else {
        return;
    };
    let free = room.blocks_available() * room.fragment_size();
    if free < ROOM_BYTES {
        findings.warning(
            Error::new(
                Kind::BadState,
                format!("\"{shown}\" has {} of free room", pretty_bytes(free)),
            )
            .hint("Make room, or give another work directory with --dir."),
        );
    }
}
