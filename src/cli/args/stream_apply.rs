//! Arguments of `stream transform`, `stream apply` and `stream catchup`.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::stream::{PlaceArgs, PluginArgs};
use super::value;
use crate::units::Lsn;
use std::path::PathBuf;

/// The target alone.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TargetArgs {
    /// Connection string of the target database
    #[arg(short = 'T', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) target: Option<String>,
    /// File that holds the connection string of the target
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub(in crate::cli) target_file: Option<PathBuf>,
}

/// Arguments of `stream transform`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct TransformArgs {
    /// Without effect: transform connects to no server
    #[arg(short = 'S', long, hide = true, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    /// Without effect: transform connects to no server
    #[arg(short = 'T', long, hide = true, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) target: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// Output plugin, which must be the recorded one
    #[arg(long, short_alias = 'p', value_name = "PLUGIN", value_parser = value::plugin)]
    pub(in crate::cli) plugin: Option<crate::follow::files::Plugin>,
    /// Go no further than where receiving ended there
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// File of JSON lines, or - for standard input
    #[arg(value_name = "JSON", required = true)]
    pub(in crate::cli) json_file: PathBuf,
    /// SQL file to make, or - for standard output
    #[arg(value_name = "SQL", required = true)]
    pub(in crate::cli) sql_file: PathBuf,
}

/// Arguments of `stream apply`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ApplyArgs {
    /// Without effect: apply knows the source from the work directory
    #[arg(short = 'S', long, hide = true, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) target: TargetArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// Name of the replication origin [default: that of the work directory, else pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Where to stop: nothing that ends behind this LSN is applied
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Without effect: such updates are left out or kept by transform
    #[arg(long, hide = true)]
    pub(in crate::cli) replay_no_op_updates: bool,
    /// Read standard input, as the file - does
    #[arg(long, short_alias = 'I')]
    pub(in crate::cli) from_stdin: bool,
    /// SQL file to apply, or - for standard input
    #[arg(value_name = "SQL", required_unless_present = "from_stdin")]
    pub(in crate::cli) sql_file: Option<PathBuf>,
}

/// Arguments of `stream catchup`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CatchupArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: super::ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// Name of the replication origin [default: that of the work directory, else pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Where to stop: nothing that ends behind this LSN is applied
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Apply updates that change nothing, too
    #[arg(long)]
    pub(in crate::cli) replay_no_op_updates: bool,
    /// Without effect
    #[arg(long, hide = true, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_replaydb_size: Option<u64>,
}
