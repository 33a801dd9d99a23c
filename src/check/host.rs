//! The machine that this program runs on: room and rights in the work directory.
//!
//! Runs in the main program, for `check` and `--dry-run`. Looks only; makes nothing.

use super::finding::Findings;
use crate::error::{Error, Kind};
use crate::units::pretty_bytes;
use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};
use std::path::Path;

/// Room that the schema and the ledger of most databases need, bytes.
const ROOM_BYTES: u64 = 256 << 20;

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
