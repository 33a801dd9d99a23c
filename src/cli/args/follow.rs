//! Arguments of `follow`, `stream prefetch` and `stream replay`.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::stream::{PlaceArgs, PluginArgs, SourceArgs};
use super::value;
use crate::units::Lsn;
use std::path::PathBuf;

/// Arguments of `follow`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FollowArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: super::ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// File that says which schemas and tables to follow or leave out
    #[arg(long, alias = "filter", short_alias = 'F', value_name = "FILE")]
    pub(in crate::cli) filters: Option<PathBuf>,
    /// The snapshot that the replication slot was made with
    #[arg(long, short_alias = 'N', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) snapshot: Option<String>,
    /// Make the replication slot, as is done in any case
    #[arg(long, short_alias = 't')]
    pub(in crate::cli) create_slot: bool,
    /// Name of the replication origin on the target [default: pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Where to stop: all that is committed up to this LSN is applied
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

/// Where commands of other machines are listened for.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct ListenArgs {
    /// Listen at this address for commands about the sentinel
    #[arg(long, value_name = "HOST", value_parser = value::host)]
    pub(in crate::cli) host: Option<String>,
    /// Listen at this port for commands about the sentinel [default: 5442]
    #[arg(long, value_name = "PORT", value_parser = value::port)]
    pub(in crate::cli) port: Option<u16>,
}

/// Arguments of `stream replay`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplayArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: super::ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// Name of the replication origin [default: that of the work directory, else pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Where to stop: all that is committed up to this LSN is applied
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Apply updates that change nothing, too
    #[arg(long)]
    pub(in crate::cli) replay_no_op_updates: bool,
    /// Pause receiving while the files of changes take so much
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_cdc_size: Option<u64>,
    /// Without effect
    #[arg(long, hide = true, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_replaydb_size: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) listen: ListenArgs,
}

/// Arguments of `stream prefetch`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PrefetchArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// Where to stop: all that is committed up to this LSN is received
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Pause receiving while the files of changes take so much
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_cdc_size: Option<u64>,
    /// Without effect
    #[arg(long, hide = true, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_replaydb_size: Option<u64>,
}
