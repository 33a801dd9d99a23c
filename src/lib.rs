//! The library behind `pgcopydb` and `pgcopy`.
//!
//! Read `src/README.md` first: processes, layers, invariants.

pub mod blob;
pub mod catalog;
pub mod check;
pub mod cli;
pub mod clone;
pub mod compare;
pub mod conninfo;
pub mod copy;
pub mod cutover;
pub mod datacopy;
pub mod dump;
pub mod error;
pub mod extension;
pub mod filter;
pub mod fkey;
pub mod follow;
pub mod index;
pub mod inspect;
pub mod logging;
pub mod pg;
pub mod queue;
pub mod report;
pub mod schema;
pub mod sequence;
pub mod snapshot;
pub mod supervisor;
pub mod sys;
pub mod units;
pub mod vacuum;
pub mod wire;
pub mod workdir;
pub mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the program `pgcopydb`. First of all its arguments and secret variables leave the memory that
/// `ps` and `/proc` show.
pub fn pgcopydb_main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let secrets = sys::title::take_over(&cli::SECRET_VARIABLES);
    cli::main(&arguments, secrets)
}

/// Runs the program `pgcopy`, with the same care.
pub fn pgcopy_main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let secrets = sys::title::take_over(&cli::SECRET_VARIABLES);
    cli::pgcopy::main(&arguments, secrets)
}
