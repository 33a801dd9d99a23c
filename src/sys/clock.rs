//! Waiting that a signal can end, and the time of day.
//!
//! Runs in every process. `thread::sleep` resumes after a signal, so nothing here uses it.

use nix::poll::{PollFd, PollTimeout, poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Waits up to `limit`, less when a signal arrives. Blocks.
pub fn nap(limit: Duration) {
    let mut none: [PollFd<'_>; 0] = [];
    // Rounded up: a wait of less than a millisecond would come back at once, again and again.
    let millis = u16::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(u16::MAX);
    // EINTR is the point of it; with no descriptors no other error can matter.
    let _woken = poll(&mut none, PollTimeout::from(millis));
}

/// Milliseconds since the Unix epoch.
pub fn epoch_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The local time in a strftime format, milliseconds appended as `.NNN`. An unusable format gives
/// only the milliseconds.
pub fn local_time(format: &str) -> String {
    let now = epoch_ms();
    format!("{}.{:03}", local_time_at(now, format), now % 1000)
}

/// The local time of a moment, epoch milliseconds, in a strftime format; an unusable one gives nothing.
pub fn local_time_at(epoch_ms: i64, format: &str) -> String {
    let seconds: libc::time_t = epoch_ms / 1000;
    let mut broken_down = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call, which fills the struct or returns null.
    let filled = unsafe { libc::localtime_r(&raw const seconds, broken_down.as_mut_ptr()) };
    let mut buffer = [0_u8; 128];
    let mut length = 0;
    if !filled.is_null()
        && let Ok(format) = std::ffi::CString::new(format)
    {
        // SAFETY: the buffer's length is passed with it, the format is NUL-terminated, and
        // `broken_down` was filled by `localtime_r`.
        length = unsafe {
            libc::strftime(
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                format.as_ptr(),
                broken_down.as_ptr(),
            )
        };
    }
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_has_the_format_asked_for_and_milliseconds() {
        let shown = local_time("%Y-%m-%d %H:%M:%S");
        assert_eq!(shown.len(), "2026-01-02 03:04:05.678".len(), "{shown}");
    }
}
