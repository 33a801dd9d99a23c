//! The terminal behind standard error.
//!
//! Runs in the progress process, and in the main program before it.

use std::io::IsTerminal;

/// Fewest columns and rows in which more than a line can be drawn.
const SMALLEST: (usize, usize) = (60, 10);

/// Its width in columns, 80 when it has none.
pub fn columns() -> usize {
    size().0
}

/// Columns and rows, 80 and 24 when it has none.
pub fn size() -> (usize, usize) {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ fills the struct that the pointer is valid for.
    let filled = unsafe { libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if filled == 0 && size.ws_col > 0 && size.ws_row > 0 {
        (usize::from(size.ws_col), usize::from(size.ws_row))
    } else {
        (80, 24)
    }
}

/// Why nothing but lines can be shown on it; `term`: the variable TERM. `None`: everything can.
pub fn obstacle(term: &str) -> Option<&'static str> {
    let (width, height) = size();
    if !std::io::stderr().is_terminal() {
        Some("standard error is no terminal")
    } else if matches!(term, "" | "dumb") {
        Some("the terminal cannot move its cursor")
    } else if width < SMALLEST.0 || height < SMALLEST.1 {
        Some("the terminal is smaller than 60 columns and 10 rows")
    } else {
        None
    }
}
