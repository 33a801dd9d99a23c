//! COPY out of one session into another, without a look at the rows.
//!
//! Runs in copy workers. Rows are joined into large frames for the target, which saves it work; a
//! value larger than a frame goes through in pieces, so memory is bounded whatever the rows are.

use crate::error::Result;
use crate::wire::{CopyIn, CopyOut};

/// Bytes in one frame for the target.
const FRAME_BYTES: usize = 256 * 1024;

/// Relays everything that is left of a COPY; returns the bytes. `on_bytes` is told of each frame and
/// may stop the copy. Neither side is finished. Blocks.
pub fn relay(
    out: &mut CopyOut<'_>,
    into: &mut CopyIn<'_>,
    on_bytes: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut frame = Vec::with_capacity(FRAME_BYTES + FRAME_BYTES / 4);
    let mut total = 0;
    loop {
        frame.clear();
        let more = out.read(&mut frame, FRAME_BYTES)?;
        if !frame.is_empty() {
            into.send(&frame)?;
            let bytes = u64::try_from(frame.len()).unwrap_or(0);
            total += bytes;
            on_bytes(bytes)?;
        }
        if !more {
            return Ok(total);
        }
    }
}
