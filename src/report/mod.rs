//! What a run has to show: the summary as tables and as JSON, its progress, the state of a work
//! directory.
//!
//! Runs in the main program, and in the progress leaf. Reads the ledger only, and
//! writes nothing but the progress line; the caller prints the texts.

mod all;
pub mod copied;
mod figures;
mod json;
pub mod lag;
pub mod list;
pub mod list_progress;
mod progress;
pub mod rows;
pub mod status;
mod summary;
mod table;

pub use all::{Together, text_of_all};
pub use figures::{AtWork, Figures, IndexAtWork, Progress, TableAtWork};
pub use json::{Outcome, json, json_of_all, pretty, write_json};
pub use progress::{Tracker, draw_loop, render};
pub use summary::{Build, StepFigures, Summary, TableFigures, Workers};
pub use table::{steps, text};
