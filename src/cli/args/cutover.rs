//! Arguments of `cutover`.
//!
//! Runs in the main program before any work.

use super::{ConnectionArgs, value};
use crate::units::Lsn;
use std::path::PathBuf;

/// Everything that `cutover` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct CutoverArgs {
    #[command(flatten)]
    pub(in crate::cli) connections: ConnectionArgs,
    /// Work directory of the follow [default: ${TMPDIR:-/tmp}/pgcopydb]
    #[arg(short = 'D', long, value_name = "DIR")]
    pub(in crate::cli) dir: Option<PathBuf>,
    /// The end [default: what the source has committed once its writers are gone]
    #[arg(long, short_alias = 'E', value_name = "LSN", value_parser = value::lsn)]
    pub(in crate::cli) endpos: Option<Lsn>,
    /// Let nobody write on the source any more, and end the sessions there
    #[arg(long)]
    pub(in crate::cli) set_read_only: bool,
    /// Compare the rows of both sides
    #[arg(long)]
    pub(in crate::cli) compare: bool,
}
