//! Arguments of `check`.
//!
//! Runs in the main program before any work. They are those of `clone` that decide what stands in its way.

use super::{ConnectionArgs, value};
use std::path::PathBuf;

/// Plugins of the source that decode changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum PluginArg {
    /// The one that is built in.
    Pgoutput,
    /// That of contrib.
    #[value(name = "test_decoding")]
    TestDecoding,
    /// JSON.
    Wal2json,
}

/// Everything that `check` takes.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct CheckArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: ConnectionArgs,
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Number of workers that will copy table data
    #[arg(long, alias = "jobs", value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) table_jobs: Option<u32>,
    /// Number of workers that will build indexes
    #[arg(long, value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) index_jobs: Option<u32>,
    /// Number of workers that will copy large objects
    #[arg(long, alias = "large-object-jobs", value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) large_objects_jobs: Option<u32>,
    /// What is on the target may be dropped
    #[arg(long)]
    pub(in crate::cli) drop_if_exists: bool,
    /// Roles will be copied
    #[arg(long)]
    pub(in crate::cli) roles: bool,
    /// Objects will not be given to their owners
    #[arg(long)]
    pub(in crate::cli) no_owner: bool,
    /// Large objects will not be copied
    #[arg(long, alias = "skip-blobs")]
    pub(in crate::cli) skip_large_objects: bool,
    /// Extensions will not be created
    #[arg(long)]
    pub(in crate::cli) skip_extensions: bool,
    /// File that says what will be copied or left out
    #[arg(long, alias = "filter", value_name = "FILE")]
    pub(in crate::cli) filters: Option<PathBuf>,
    /// Changes will be followed after the copy
    #[arg(long)]
    pub(in crate::cli) follow: bool,
    /// Plugin that will decode them [default: pgoutput]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) plugin: Option<PluginArg>,
    /// Replication slot that will keep them [default: pgcopydb]
    #[arg(long, value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) slot_name: Option<String>,
    /// Tables whose rows nothing tells apart will be followed, too
    #[arg(long)]
    pub(in crate::cli) allow_no_identity: bool,
    /// All databases of the source's server will be copied
    #[arg(long)]
    pub(in crate::cli) all_databases: bool,
}
