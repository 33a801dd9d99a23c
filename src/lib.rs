//! The library behind `pgcopydb` and `pgcopy`.
//!
//! Read `src/README.md` first: processes, layers, invariants.

pub mod blob;
pub mod catalog;
pub mod check;
pub mod clone;
pub mod conninfo;
pub mod copy;
pub mod dump;
pub mod error;
pub mod extension;
pub mod index;
pub mod logging;
pub mod pg;
pub mod queue;
pub mod schema;
pub mod sequence;
pub mod snapshot;
pub mod supervisor;
pub mod sys;
pub mod units;
pub mod vacuum;
pub mod wire;
pub mod worker;
pub mod workdir;

use std::process::ExitCode;

/// Runs the program `pgcopydb`.
pub fn pgcopydb_main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    sys::title::take_over(&["PGPASSWORD"]);
    let get = |name: &str| args.iter().position(|a| a == name).and_then(|i| args.get(i + 1)).cloned();
    let has = |name: &str| args.iter().any(|a| a == name);
    let _ = logging::init(&logging::LogSettings { verbosity: if has("-v") { logging::Verbosity::Notice } else if has("-z") { logging::Verbosity::Trace } else { logging::Verbosity::Info }, json: false, file: None, file_json: false, time_format: None });
    let settings = clone::CloneSettings {
        source: get("--source").unwrap_or_default(), target: get("--target").unwrap_or_default(),
        dir: get("--dir").unwrap_or("/tmp/pgcopydb".to_owned()).into(),
        intent: if has("--resume") { workdir::Intent::Resume } else if has("--restart") { workdir::Intent::Restart } else { workdir::Intent::Fresh },
        snapshot: None, table_jobs: 4, index_jobs: 4, restore_jobs: 4, blob_jobs: 4,
        split_bytes: get("--split-tables-larger-than").map_or(1 << 30, |v| units::parse_bytes(&v).unwrap_or(0)), split_max_parts: 0, requirements: None,
        copy_format: clone::FormatChoice::Auto,
        switches: clone::Switches { roles: has("--roles"), not_consistent: has("--not-consistent"), skip_vacuum: has("--skip-vacuum"), drop_if_exists: has("--drop-if-exists"), ..Default::default() },
        cmdline: String::new(),
    };
    match clone::run(&settings, &|name| std::env::var(name).ok(), |_, _| Ok(())) {
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => { logging::report_error(&e, true); ExitCode::from(e.kind().exit_code()) }
    }
}

/// Runs the program `pgcopy`.
pub fn pgcopy_main() -> ExitCode {
    ExitCode::FAILURE
}
