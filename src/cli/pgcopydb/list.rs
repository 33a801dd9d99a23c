//! `pgcopydb list ...`: what there is on the source, and how far a run is.
//!
//! Runs in the main program, beside any run. Read-only: no lock, nothing written anywhere.

use super::super::Call;
use super::super::args::ListCommand;
use super::list_progress;
use crate::error::Result;

/// Runs one of the commands.
pub(in crate::cli) fn run(command: &ListCommand, call: &Call<'_>) -> Result<()> {
    match command {
        ListCommand::Progress(args) => list_progress::run(args, call),
    }
}
