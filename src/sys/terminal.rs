//! The terminal behind standard error.
//!
//! Runs in the progress process.

/// Its width in columns, 80 when it has none.
pub fn columns() -> usize {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the struct that the pointer is valid for.
    let filled = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if filled == 0 && size.ws_col > 0 { usize::from(size.ws_col) } else { 80 }
}
