//! The library behind `pgcopydb` and `pgcopy`.
//!
//! Read `src/README.md` first: processes, layers, invariants.

pub mod catalog;
pub mod conninfo;
pub mod dump;
pub mod error;
pub mod logging;
pub mod pg;
pub mod queue;
pub mod schema;
pub mod supervisor;
pub mod sys;
pub mod units;
pub mod wire;
pub mod workdir;

use std::process::ExitCode;

/// Runs the program `pgcopydb`.
pub fn pgcopydb_main() -> ExitCode {
    ExitCode::FAILURE
}

/// Runs the program `pgcopy`.
pub fn pgcopy_main() -> ExitCode {
    ExitCode::FAILURE
}
