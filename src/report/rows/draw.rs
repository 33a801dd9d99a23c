//! Drawing on a terminal, and the lines of the plain log: loops of the progress leaf.
//!
//! Each drawing is one write, with the cursor put back where the log stands: log lines of all processes need not
//! know of it. What was set is put back when the loop ends; the main program does the same once more, for a leaf
//! that was killed.

use super::last_line::last_warning;
use super::lines::{plain, two_lines};
use super::screen::{Frame, screen};
use super::view::{Memory, Reader, Sums, View};
use crate::catalog::Ledger;
use crate::error::Result;
use crate::sys::{clock, terminal};
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Time between two lines of the plain log.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Time between two drawings of two lines.
const LINES_EVERY: Duration = Duration::from_millis(500);
/// Time between two drawings of the screen.
const SCREEN_EVERY: Duration = Duration::from_millis(250);

/// What a loop needs.
#[derive(Clone, Debug)]
pub struct Canvas {
    /// The ledger.
    pub ledger: PathBuf,
    /// Number of the run there.
    pub run: i64,
    /// The log file, and where this run began in it.
    pub log: Option<(PathBuf, u64)>,
    /// Marks are coloured.
    pub colour: bool,
}

/// Waits, and fails when the loop has to end.
type Nap<'n> = &'n dyn Fn(Duration) -> Result<()>;

impl Canvas {
    /// Looks again and again until a nap fails, and once more then.
    fn watch(
        &self,
        every: Duration,
        nap: Nap<'_>,
        show: &mut dyn FnMut(&View, &Sums),
    ) -> Result<()> {
        let mut reader = Reader::new(Ledger::open_read_only(&self.ledger)?, self.run);
        let mut memory = Memory::default();
        loop {
            let napped = nap(every);
            let view = reader.read(clock::epoch_ms())?;
            let sums = memory.sum(&view);
            show(&view, &sums);
            napped?;
        }
    }
}

/// One write; a terminal that went away is no reason to fail.
fn put(text: &str) {
    let _ignored = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Logs a line every ten seconds.
pub fn plain_loop(canvas: &Canvas, nap: Nap<'_>) -> Result<()> {
    let mut reader = Reader::new(Ledger::open_read_only(&canvas.ledger)?, canvas.run);
    let mut memory = Memory::default();
    loop {
        let view = reader.read(clock::epoch_ms())?;
        let sums = memory.sum(&view);
        if memory.is_ripe() && !view.tables.is_empty() {
            log::info!("{}", plain(&view, &sums));
        }
        nap(PLAIN_EVERY)?;
    }
}

/// Two lines at the top; what is logged scrolls below them.
pub fn two_lines_loop(canvas: &Canvas, nap: Nap<'_>) -> Result<()> {
    let mut size = (0, 0);
    let result = canvas.watch(LINES_EVERY, nap, &mut |view, sums| {
        let (width, height) = terminal::size();
        let mut text = String::new();
        if size != (width, height) {
            if size == (0, 0) {
                // The cursor must stand below the two lines before they are fenced off.
                text.push_str("\n\n\n");
            }
            size = (width, height);
            let _never = write!(text, "\x1b7\x1b[3;{height}r\x1b8");
        }
        let [first, second] = two_lines(view, sums, width.saturating_sub(1));
        let _never = write!(
            text,
            "\x1b7\x1b[1;1H{first}\x1b[K\x1b[2;1H{second}\x1b[K\x1b8"
        );
        put(&text);
    });
    leave_region();
    result
}

/// Gives the whole terminal back to the log.
pub fn leave_region() {
    put("\x1b7\x1b[r\x1b8");
}

/// The whole screen.
pub fn screen_loop(canvas: &Canvas, nap: Nap<'_>) -> Result<()> {
    put("\x1b[?1049h\x1b[?25l");
    let result = canvas.watch(SCREEN_EVERY, nap, &mut |view, sums| {
        let (width, height) = terminal::size();
        let last = canvas
            .log
            .as_ref()
            .and_then(|(path, from)| last_warning(path, *from));
        let frame = Frame {
            width: width.saturating_sub(1),
            height,
            colour: canvas.colour,
        };
        let lines = screen(view, sums, last.as_deref(), frame);
        let drawn: Vec<String> = lines.iter().map(|line| format!("{line}\x1b[K")).collect();
        put(&format!("\x1b[H{}\x1b[J", drawn.join("\r\n")));
    });
    leave_screen();
    result
}

/// Shows the normal screen again.
pub fn leave_screen() {
    put("\x1b[?25h\x1b[?1049l");
}
