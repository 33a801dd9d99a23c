//! Arguments of `stream` and its commands.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::value;
use crate::units::Lsn;
use std::path::PathBuf;

/// Commands below `stream` that can be used.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum StreamCommand {
    /// Make replication slot, publications, sentinel and origin
    #[command(help_template = super::HELP_TEMPLATE)]
    Setup(Box<SetupArgs>),
    /// Remove replication slot, publications and origin
    #[command(help_template = super::HELP_TEMPLATE)]
    Cleanup(Box<CleanupArgs>),
    /// Receive the changes of the source into files
    #[command(help_template = super::HELP_TEMPLATE)]
    Receive(Box<ReceiveArgs>),
    /// Make SQL of received changes
    #[command(help_template = super::HELP_TEMPLATE)]
    Transform(Box<super::stream_apply::TransformArgs>),
    /// Apply an SQL file of changes to the target
    #[command(help_template = super::HELP_TEMPLATE)]
    Apply(Box<super::stream_apply::ApplyArgs>),
    /// Apply all received changes to the target
    #[command(help_template = super::HELP_TEMPLATE)]
    Catchup(Box<super::stream_apply::CatchupArgs>),
    /// Receive the changes of the source and make SQL of them, apply nothing
    #[command(help_template = super::HELP_TEMPLATE)]
    Prefetch(Box<super::follow::PrefetchArgs>),
    /// Receive the changes of the source and apply them to the target
    #[command(help_template = super::HELP_TEMPLATE)]
    Replay(Box<super::follow::ReplayArgs>),
    /// Remove files of changes that are applied
    #[command(help_template = super::HELP_TEMPLATE)]
    Prune(PruneArgs),
    /// Where a follow has to stop, whether it may apply, how far it is
    #[command(help_template = super::HELP_TEMPLATE)]
    Sentinel {
        #[command(subcommand)]
        command: Option<SentinelCommand>,
    },
}

/// Commands below `stream sentinel`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum SentinelCommand {
    /// Make the sentinel, or overwrite it
    #[command(help_template = super::HELP_TEMPLATE)]
    Setup(SentinelSetupArgs),
    /// Print the sentinel
    #[command(help_template = super::HELP_TEMPLATE)]
    Get(Box<SentinelGetArgs>),
    /// Change the sentinel
    #[command(help_template = super::HELP_TEMPLATE)]
    Set {
        #[command(subcommand)]
        command: Option<SentinelSetCommand>,
    },
}

/// Commands below `stream sentinel set`.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum SentinelSetCommand {
    /// Set where receiving began
    #[command(help_template = super::HELP_TEMPLATE)]
    Startpos(SetStartposArgs),
    /// Set where to stop
    #[command(help_template = super::HELP_TEMPLATE)]
    Endpos(SetEndposArgs),
    /// Let changes be applied
    #[command(help_template = super::HELP_TEMPLATE)]
    Apply(SentinelWayArgs),
    /// Let changes be received only
    #[command(help_template = super::HELP_TEMPLATE)]
    Prefetch(SentinelWayArgs),
}

/// The source alone.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SourceArgs {
    /// Connection string of the source database
    #[arg(short = 'S', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    /// File that holds the connection string of the source
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(in crate::cli) source_file: Option<PathBuf>,
}

/// The work directory, and what an earlier command left there.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PlaceArgs {
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Forget what an earlier command left in the work directory and begin anew
    #[arg(long, short_alias = 'r', conflicts_with = "resume")]
    pub(in crate::cli) restart: bool,
    /// Go on with what an earlier command left in the work directory
    #[arg(long, short_alias = 'R')]
    pub(in crate::cli) resume: bool,
    /// Accepted, as following is always consistent
    #[arg(long, short_alias = 'C')]
    pub(in crate::cli) not_consistent: bool,
}

/// How changes are decoded.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct PluginArgs {
    /// Output plugin: `pgoutput`, `test_decoding` or `wal2json`
    #[arg(long, short_alias = 'p', value_name = "PLUGIN", value_parser = value::plugin)]
    pub(in crate::cli) plugin: Option<crate::follow::files::Plugin>,
    /// Have wal2json send numbers as strings
    #[arg(long, short_alias = 'w')]
    pub(in crate::cli) wal2json_numeric_as_string: bool,
    /// Use this existing publication
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub(in crate::cli) publication: Option<String>,
    /// Name of the replication slot [default: pgcopydb]
    #[arg(long, short_alias = 's', value_name = "NAME", value_parser = value::slot)]
    pub(in crate::cli) slot_name: Option<String>,
}

/// Arguments of `stream setup`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SetupArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: super::ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// The snapshot that the replication slot was made with
    #[arg(long, short_alias = 'N', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) snapshot: Option<String>,
    /// Make the replication slot, as is done in any case
    #[arg(long, short_alias = 't')]
    pub(in crate::cli) create_slot: bool,
    /// Name of the replication origin on the target [default: pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
    /// Apply updates that change nothing, too
    #[arg(long)]
    pub(in crate::cli) replay_no_op_updates: bool,
    /// Follow tables without replica identity; their updates and deletes are lost
    #[arg(long)]
    pub(in crate::cli) allow_no_identity: bool,
}

/// Arguments of `stream cleanup`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CleanupArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: super::ConnectionArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    /// The snapshot of the replication slot; it makes no difference
    #[arg(long, short_alias = 'N', value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) snapshot: Option<String>,
    /// The publication that was given at setup; it is kept
    #[arg(long, value_name = "NAME", value_parser = value::name)]
    pub(in crate::cli) publication: Option<String>,
    /// Name of the replication slot [default: that of the work directory, else pgcopydb]
    #[arg(long, short_alias = 's', value_name = "NAME", value_parser = value::slot)]
    pub(in crate::cli) slot_name: Option<String>,
    /// Name of the replication origin [default: that of the work directory, else pgcopydb]
    #[arg(long, short_alias = 'o', value_name = "NAME", value_parser = value::origin)]
    pub(in crate::cli) origin: Option<String>,
}

/// Arguments of `stream receive`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReceiveArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    #[command(flatten)]
    pub(in crate::cli) place: PlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) plugin: PluginArgs,
    /// Where to stop: all that is committed up to this LSN is received
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Print the received lines, too
    #[arg(long, short_alias = 'O')]
    pub(in crate::cli) to_stdout: bool,
    /// Pause while the files of changes take so much
    #[arg(long, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_cdc_size: Option<u64>,
    /// Without effect
    #[arg(long, hide = true, value_name = "SIZE", value_parser = value::size)]
    pub(in crate::cli) max_replaydb_size: Option<u64>,
}

/// Arguments of `stream prune`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PruneArgs {
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceArgs,
}

/// Which follow is asked; none: that of the work directory. A configuration file is for the follow itself, as
/// the environment is: it sets none of these.
#[derive(Debug, Default, clap::Args)]
pub(in crate::cli) struct ServiceArgs {
    /// Ask the follow that listens there
    #[arg(id = "service_host", long = "host", short_alias = 'H', value_name = "HOST",
        value_parser = value::host)]
    pub(in crate::cli) host: Option<String>,
    /// Port that it listens at [default: 5442]
    #[arg(id = "service_port", long = "port", short_alias = 'P', value_name = "PORT",
        value_parser = value::port)]
    pub(in crate::cli) port: Option<u16>,
    /// File with its token [default: pgcopydb.token in the work directory]
    #[arg(id = "service_token_file", long = "token-file", value_name = "FILE")]
    pub(in crate::cli) token_file: Option<PathBuf>,
}

/// Which sentinel, and how it is reached.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SentinelWayArgs {
    #[command(flatten)]
    pub(in crate::cli) place: SentinelPlaceArgs,
    #[command(flatten)]
    pub(in crate::cli) service: ServiceArgs,
}

/// Where the sentinel is.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SentinelPlaceArgs {
    #[command(flatten)]
    pub(in crate::cli) source: SourceArgs,
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}

/// Arguments of `stream sentinel setup`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SentinelSetupArgs {
    #[command(flatten)]
    pub(in crate::cli) place: SentinelPlaceArgs,
    /// Where receiving begins
    #[arg(value_name = "STARTPOS", value_parser = value::lsn)]
    pub(in crate::cli) startpos: Option<Lsn>,
    /// Where to stop; 0/0 for never
    #[arg(value_name = "ENDPOS", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
}

/// Arguments of `stream sentinel get`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("field").multiple(false))]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct SentinelGetArgs {
    #[command(flatten)]
    pub(in crate::cli) way: SentinelWayArgs,
    /// Print where receiving began
    #[arg(long, short_alias = 's', group = "field")]
    pub(in crate::cli) startpos: bool,
    /// Print where to stop
    #[arg(long, short_alias = 'e', group = "field")]
    pub(in crate::cli) endpos: bool,
    /// Print whether changes may be applied
    #[arg(long, short_alias = 'a', group = "field")]
    pub(in crate::cli) apply: bool,
    /// Print what is received
    #[arg(long, short_alias = 'w', group = "field")]
    pub(in crate::cli) write_lsn: bool,
    /// Print what is transformed
    #[arg(long, short_alias = 't', group = "field")]
    pub(in crate::cli) transform_lsn: bool,
    /// Print what is received and on disk
    #[arg(long, short_alias = 'f', group = "field")]
    pub(in crate::cli) flush_lsn: bool,
    /// Print what is applied
    #[arg(long, short_alias = 'r', group = "field")]
    pub(in crate::cli) replay_lsn: bool,
}

/// Arguments of `stream sentinel set startpos`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SetStartposArgs {
    #[command(flatten)]
    pub(in crate::cli) way: SentinelWayArgs,
    /// Where receiving began
    #[arg(value_name = "LSN", required = true, value_parser = value::lsn)]
    pub(in crate::cli) lsn: Lsn,
}

/// Arguments of `stream sentinel set endpos`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SetEndposArgs {
    #[command(flatten)]
    pub(in crate::cli) way: SentinelWayArgs,
    /// Stop where the source is now
    #[arg(long, short_alias = 'C', conflicts_with = "lsn")]
    pub(in crate::cli) current: bool,
    /// Where to stop; 0/0 for never
    #[arg(value_name = "LSN", required_unless_present = "current", value_parser = value::lsn)]
    pub(in crate::cli) lsn: Option<Lsn>,
}
