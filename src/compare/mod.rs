//! Are two databases the same? `data` compares rows, `schema` compares what the catalogs say.
//!
//! Runs in the main program, which forks nothing for it: threads read both servers side by side, each
//! on a session of its own. Reads the catalogs, the tables and the large objects of both sides, each
//! side in one snapshot, with settings that make text the same everywhere. Writes nothing, on neither
//! server. What could not be read is an error, never equal.

mod chunk;
mod couple;
mod data;
mod database;
mod facts;
mod filters;
mod pool;
mod rows;
mod schema;
mod server;
mod table;

pub use data::{DataReport, TableReport, Verdict, data};
pub use rows::RowSum;
pub use schema::{Difference, SchemaReport, What, schema};

use crate::error::{Error, Kind, Result};
use crate::filter::Rules;
use crate::sys::signal;
use std::fmt;

/// What the user asked for.
#[derive(Clone, PartialEq, Eq)]
pub struct CompareSettings {
    /// Connection string, with its secrets.
    pub source: String,
    /// Connection string, with its secrets.
    pub target: String,
    /// Sessions that read rows, on each side.
    pub table_jobs: u32,
    /// Snapshot of the source that somebody else holds.
    pub snapshot: Option<String>,
    /// What only the target has is no difference.
    pub ignore_extra: bool,
    /// All databases of both clusters, by their names.
    pub all_databases: bool,
    /// What is left out.
    pub filters: Option<Rules>,
}

impl fmt::Debug for CompareSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompareSettings")
            .field("table_jobs", &self.table_jobs)
            .field("snapshot", &self.snapshot)
            .field("ignore_extra", &self.ignore_extra)
            .field("all_databases", &self.all_databases)
            .finish_non_exhaustive()
    }
}

/// The result of a comparison, unless a signal cut it short.
fn unless_stopped<T>(result: Result<T>) -> Result<T> {
    match signal::first() {
        Some(signal) => Err(Error::new(
            Kind::Stopped(signal),
            format!("stopped by {}", signal::name(signal)),
        )),
        None => result,
    }
}
