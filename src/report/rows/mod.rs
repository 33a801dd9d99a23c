//! A copy of rows while it runs, for people and programs: log lines, two lines above the log, the whole screen, one
//! JSON object a line.
//!
//! Runs in the progress leaf, which reads the ledger and writes nothing else than what it shows; `events` also notes
//! there what it has sent. `view` reads, the others turn a view into text.

mod draw;
pub mod events;
mod last_line;
mod lines;
mod screen;
mod view;

pub use draw::{Canvas, plain_loop, screen_loop, two_lines_loop};
pub use draw::{leave_region, leave_screen};
pub use last_line::{errors_since, size_of};
