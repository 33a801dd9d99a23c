//! Arguments of `compare schema` and `compare data`.
//!
//! Runs in the main program before any work.

use super::clone::ConnectionArgs;
use super::value;
use clap::Subcommand;
use std::path::PathBuf;

/// Commands below `compare`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum CompareCommand {
    /// Compare the schemas of source and target
    #[command(help_template = super::HELP_TEMPLATE)]
    Schema(SchemaArgs),
    /// Compare the rows of source and target
    #[command(help_template = super::HELP_TEMPLATE)]
    Data(DataArgs),
}

/// What both take.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CompareArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: ConnectionArgs,
    /// Directory to write the result to, as a JSON file below compare
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// Number of sessions that read, on each side
    #[arg(long, alias = "jobs", short_alias = 'j', value_name = "N", value_parser = value::jobs)]
    pub(in crate::cli) table_jobs: Option<u32>,
    /// File that says what is left out of the comparison, on both sides
    #[arg(long, alias = "filter", short_alias = 'F', value_name = "FILE")]
    pub(in crate::cli) filters: Option<PathBuf>,
    /// Compare all databases of both clusters, by their names
    #[arg(long, short_alias = 'a')]
    pub(in crate::cli) all_databases: bool,
}

/// Arguments of `compare schema`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct SchemaArgs {
    #[command(flatten)]
    pub(in crate::cli) both: CompareArgs,
    /// What only the target has is no difference
    #[arg(long)]
    pub(in crate::cli) ignore_extra: bool,
}

/// Arguments of `compare data`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DataArgs {
    #[command(flatten)]
    pub(in crate::cli) both: CompareArgs,
    /// Read the source with this snapshot, which somebody else holds
    #[arg(long, value_name = "NAME", value_parser = value::text)]
    pub(in crate::cli) snapshot: Option<String>,
}
