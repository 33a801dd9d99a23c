//! What a run has to show: the summary as tables and as JSON, and the progress line.
//!
//! Runs in the main program at the end of a run, and in the progress leaf. Reads the ledger only, and
//! writes nothing but the progress line; the caller prints the texts.

mod json;
mod progress;
mod summary;
mod table;

pub use json::{Outcome, json};
pub use progress::{Figures, ProgressLine, Tracker, draw_loop, render};
pub use summary::{Build, StepFigures, Summary, TableFigures, Workers};
pub use table::text;
