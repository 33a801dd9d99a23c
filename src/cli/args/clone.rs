//! Arguments of `clone`, grouped by what they are about.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::follow::ListenArgs;
use super::stream::PluginArgs;
use super::value;
use crate::units::Lsn;
use std::path::PathBuf;

/// Which databases.
#[derive(Clone, Debug, Default, clap::Args)]
pub(in crate::cli) struct ConnectionArgs {
    /// Connection string of the source database
    #[arg(short = 'S', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    /// Connection string of the target database
    #[arg(short = 'T', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) target: Option<String>,
    /// File that holds the connection string of the source
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(in crate::cli) source_file: Option<PathBuf>,
    /// File that holds the connection string of the target
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub(in crate::cli) target_file: Option<PathBuf>,
}

/// Formats that rows can be copied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum FormatArg {
    /// Binary where types allow it.
    Auto,
    /// Always text.
    Text,
    /// Binary wherever possible.
    Binary,
}

/// How many workers, and what each of them gets.
#[derive(Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct WorkArgs {
    /// Number of workers that copy table data, and of those that vacuum
    #[arg(long, alias = "jobs", value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) table_jobs: Option<u32>,
    /// Number of workers that build indexes and constraints
    #[arg(long, short_alias = 'I', value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) index_jobs: Option<u32>,
    /// Number of restore jobs [default: --index-jobs]
    #[arg(long, short_alias = 'j', value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) restore_jobs: Option<u32>,
    /// Number of workers that copy large objects
    #[arg(long, alias = "large-object-jobs", short_alias = 'b', value_name = "N",
        value_parser = value::jobs)]
    pub(in crate::cli) large_objects_jobs: Option<u32>,
    /// Copy tables from this size on with several workers; 0 for never
    #[arg(long, alias = "split-at", short_alias = 'L', value_name = "SIZE",
        value_parser = value::bytes)]
    pub(in crate::cli) split_tables_larger_than: Option<u64>,
    /// Most parts of one table
    #[arg(long, short_alias = 'u', value_name = "N", value_parser = value::parts)]
    pub(in crate::cli) split_max_parts: Option<u32>,
    /// Take table sizes from statistics instead of asking for each
    #[arg(long, short_alias = 'm')]
    pub(in crate::cli) estimate_table_sizes: bool,
    /// Do not analyze the source before estimating
    #[arg(long, short_alias = 'a')]
    pub(in crate::cli) skip_analyze: bool,
    /// Split tables by a key only, never by the place of rows
    #[arg(long, short_alias = 'k')]
    pub(in crate::cli) skip_split_by_ctid: bool,
    /// Format that rows are copied in
    #[arg(long, value_name = "FORMAT")]
    pub(in crate::cli) copy_format: Option<FormatArg>,
    /// Same as --copy-format binary
    #[arg(long, alias = "with-copy-binary", short_alias = 'n')]
    pub(in crate::cli) use_copy_binary: bool,
    /// Stop at the first failure
    #[arg(long, short_alias = 'i')]
    pub(in crate::cli) fail_fast: bool,
}

/// What is copied and what is left out.
#[derive(Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct WhatArgs {
    /// Clone every database of the cluster, and its roles
    #[arg(long, conflicts_with = "follow")]
    pub(in crate::cli) all_databases: bool,
    /// Drop the objects on the target first, when they exist
    #[arg(long, short_alias = 'c')]
    pub(in crate::cli) drop_if_exists: bool,
    /// Copy roles, too
    #[arg(long, short_alias = 'A')]
    pub(in crate::cli) roles: bool,
    /// Copy roles without their passwords
    #[arg(long, short_alias = 'P')]
    pub(in crate::cli) no_role_passwords: bool,
    /// Do not set owners of objects
    #[arg(long, short_alias = 'O')]
    pub(in crate::cli) no_owner: bool,
    /// Do not copy privileges (GRANT and REVOKE)
    #[arg(long, short_alias = 'x')]
    pub(in crate::cli) no_acl: bool,
    /// Do not copy comments
    #[arg(long, short_alias = 'X')]
    pub(in crate::cli) no_comments: bool,
    /// Do not choose tablespaces
    #[arg(long, alias = "skip-tablespaces", short_alias = 'y')]
    pub(in crate::cli) no_tablespaces: bool,
    /// Do not copy large objects
    #[arg(long, alias = "skip-blobs", short_alias = 'B')]
    pub(in crate::cli) skip_large_objects: bool,
    /// Do not create extensions
    #[arg(long, short_alias = 'e')]
    pub(in crate::cli) skip_extensions: bool,
    /// Do not copy comments on extensions
    #[arg(long, alias = "skip-ext-comment", short_alias = 'M')]
    pub(in crate::cli) skip_ext_comments: bool,
    /// Do not create collations
    #[arg(long, short_alias = 'l')]
    pub(in crate::cli) skip_collations: bool,
    /// Do not run VACUUM ANALYZE on the target
    #[arg(long, short_alias = 'U')]
    pub(in crate::cli) skip_vacuum: bool,
    /// Do not copy settings of the database (ALTER DATABASE ... SET)
    #[arg(long, short_alias = 'g')]
    pub(in crate::cli) skip_db_properties: bool,
    /// JSON file with the extension versions to install
    #[arg(long, short_alias = 'Q', value_name = "FILE")]
    pub(in crate::cli) requirements: Option<PathBuf>,
    /// File that says which schemas, tables, indexes and extensions to copy or leave out
    #[arg(long, alias = "filter", short_alias = 'F', value_name = "FILE")]
    pub(in crate::cli) filters: Option<PathBuf>,
}

/// How this run relates to others.
#[derive(Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct RunArgs {
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Forget the earlier run of the work directory and begin anew
    #[arg(long, short_alias = 'r', conflicts_with = "resume")]
    pub(in crate::cli) restart: bool,
    /// Go on with the earlier run of the work directory
    #[arg(long, short_alias = 'R')]
    pub(in crate::cli) resume: bool,
    /// Do without a snapshot shared by all workers
    #[arg(long, short_alias = 'C')]
    pub(in crate::cli) not_consistent: bool,
    /// Read with this snapshot, which somebody else holds
    #[arg(long, short_alias = 'N', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) snapshot: Option<String>,
    /// Show what would be copied, and change nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

/// What is followed, and how far.
#[derive(Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct AlongArgs {
    /// Receive the changes that are made meanwhile, and apply them after the copy
    #[arg(long, short_alias = 'f')]
    pub(in crate::cli) follow: bool,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// Make the replication slot, as is done in any case
    #[arg(long, short_alias = 't')]
    pub(in crate::cli) create_slot: bool,
    /// Name of the replication origin on the target [default: pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Where following stops: all that is committed up to this LSN is applied
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Apply updates that change nothing, too
    #[arg(long)]
    pub(in crate::cli) replay_no_op_updates: bool,
    /// Follow tables without replica identity; their updates and deletes are lost
    #[arg(long)]
    pub(in crate::cli) allow_no_identity: bool,
    /// Pause receiving while the files of changes take so much
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_cdc_size: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) listen: ListenArgs,
}

/// Everything that `clone` takes.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct CloneArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) run: RunArgs,
    #[command(flatten)]
    pub(in crate::cli) work: WorkArgs,
    #[command(flatten)]
    pub(in crate::cli) what: WhatArgs,
    #[command(flatten)]
    pub(in crate::cli) along: AlongArgs,
}
