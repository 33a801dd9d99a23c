//! Arguments of `list` and its commands, and of `status`.
//!
//! Runs in the main program before any work. Hidden spellings are those of the existing program.

use super::value;
use std::path::PathBuf;

/// Longest time between two looks of `--watch`, seconds.
const WATCH_MAX: u64 = 86_400;

/// Commands below `list` that can be used.
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum ListCommand {
    /// Print the state of the run in a work directory
    #[command(help_template = super::HELP_TEMPLATE)]
    Progress(ProgressArgs),
}

/// Arguments of `list progress`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ProgressArgs {
    /// Connection string of the source that the work directory should be of; it is not connected to
    #[arg(short = 'S', long, value_name = "URI", value_parser = value::text)]
    pub(in crate::cli) source: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) dir: DirArgs,
    /// Print how long each step took
    #[arg(long, short_alias = 'y')]
    pub(in crate::cli) summary: bool,
    /// Print again every so many seconds, 2 without a number, until the run has ended
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=WATCH_MAX), conflicts_with = "summary")]
    pub(in crate::cli) watch: Option<u64>,
}

/// Which work directory is looked at.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct DirArgs {
    /// Work directory [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
}
