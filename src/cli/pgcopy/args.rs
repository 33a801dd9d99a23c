//! What may be typed after `pgcopy`: the command tree, as clap structs.
//!
//! Runs in the main program before any work. Reads nothing but the arguments it is given.

use super::super::args::{ModeArg, value};
use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;

/// Layout of every help text, in front of which the command's path is put.
const HELP_TEMPLATE: &str = "{about}\nusage: {usage}\n\n{all-args}\n";

/// The program.
#[derive(Debug, Parser)]
#[command(
    name = "pgcopy",
    bin_name = "pgcopy",
    about = "Copy rows between PostgreSQL databases that have the same tables",
    help_template = HELP_TEMPLATE,
    infer_long_args = true,
    args_override_self = true,
    disable_help_subcommand = true,
    disable_version_flag = true
)]
pub(super) struct Root {
    #[command(flatten)]
    pub(super) globals: Globals,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// Options that every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Globals {
    /// Log more: once NOTICE, twice statements, then DEBUG and TRACE
    #[arg(short = 'v', long, global = true, action = clap::ArgAction::Count, display_order = 910)]
    pub(super) verbose: u8,
    /// Log errors only
    #[arg(short = 'q', long, global = true, display_order = 911)]
    pub(super) quiet: bool,
    /// Read options from this file
    #[arg(long, value_name = "FILE", global = true, display_order = 912)]
    pub(super) config: Option<PathBuf>,
    /// Print the version and exit
    #[arg(long, global = true, display_order = 913)]
    pub(super) version: bool,
    /// Print results as JSON
    #[arg(long, global = true, display_order = 914)]
    pub(super) json: bool,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Replace the rows of tables on the target by those of the source
    #[command(help_template = HELP_TEMPLATE)]
    Copy(Box<CopyArgs>),
    /// List the tables that copy would take
    #[command(help_template = HELP_TEMPLATE)]
    List(ListArgs),
    /// Put back foreign keys and triggers that an interrupted copy took away
    #[command(help_template = HELP_TEMPLATE)]
    RestoreConstraints(RestoreArgs),
    /// Print a script with which a shell completes commands and options
    #[command(help_template = HELP_TEMPLATE)]
    Completions(CompletionsArgs),
    /// Print the version
    #[command(help_template = HELP_TEMPLATE)]
    Version,
    /// Print all commands
    #[command(help_template = HELP_TEMPLATE)]
    Help,
}

/// The source.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SourceArgs {
    /// Database to read, URI or keyword=value
    #[arg(short = 's', long, value_name = "URI")]
    pub(super) source: Option<String>,
    /// File that holds the connection string of the source
    #[arg(long, value_name = "FILE")]
    pub(super) source_file: Option<PathBuf>,
}

/// The target.
#[derive(Debug, Default, clap::Args)]
pub(super) struct TargetArgs {
    /// Database whose rows are replaced, URI or keyword=value
    #[arg(short = 't', long, value_name = "URI")]
    pub(super) target: Option<String>,
    /// Older name of --target
    #[arg(short = 'd', long, value_name = "URI")]
    pub(super) dest: Option<String>,
    /// File that holds the connection string of the target
    #[arg(long, alias = "dest-file", value_name = "FILE")]
    pub(super) target_file: Option<PathBuf>,
}

/// Which tables.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SelectArgs {
    /// Only tables of this schema; repeatable
    #[arg(long, value_name = "NAME")]
    pub(super) schema: Vec<String>,
    /// Only tables that match, such as public.*,orders
    #[arg(long, alias = "include-tables", value_name = "LIST")]
    pub(super) include: Vec<String>,
    /// No tables that match, such as temp_*,*_logs
    #[arg(long, alias = "exclude-tables", value_name = "LIST")]
    pub(super) exclude: Vec<String>,
    /// Count rows on the source instead of estimating them
    #[arg(long)]
    pub(super) exact_rows: bool,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum OutputArg {
    /// Log lines only.
    Plain,
    /// Two lines above the log.
    Progress,
    /// The whole screen.
    Interactive,
    /// One JSON object a line.
    Json,
    /// Not supported yet.
    #[value(hide = true)]
    Web,
}

/// Arguments of `copy`.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(super) struct CopyArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) target: TargetArgs,
    #[command(flatten)]
    pub(super) select: SelectArgs,
    /// Workers that copy, and that validate keys
    #[arg(short = 'p', long, value_name = "N", value_parser = value::jobs)]
    pub(super) parallel: Option<u32>,
    /// How foreign keys and triggers are handled
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) constraints: Option<ModeArg>,
    /// After a copy in mode replica, check every key
    #[arg(long)]
    pub(super) validate: bool,
    /// Write with INSERT of many rows instead of COPY
    #[arg(long, alias = "legacy-bulk")]
    pub(super) insert: bool,
    /// Rows in one INSERT
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) batch_size: Option<u32>,
    /// Read all tables in one snapshot (the default)
    #[arg(long, overrides_with = "no_snapshot")]
    pub(super) snapshot: bool,
    /// Read each table at a moment of its own
    #[arg(long, overrides_with = "snapshot")]
    pub(super) no_snapshot: bool,
    /// Copy larger tables in parts; 0: never
    #[arg(long, value_name = "SIZE", value_parser = value::bytes)]
    pub(super) split_tables_larger_than: Option<u64>,
    /// Go on where an unfinished run stopped
    #[arg(long, conflicts_with = "restart")]
    pub(super) resume: bool,
    /// Copy all tables again after an unfinished run
    #[arg(long)]
    pub(super) restart: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long, alias = "skip-backup")]
    pub(super) yes: bool,
    /// How progress is shown
    #[arg(short = 'o', long, value_enum, value_name = "MODE")]
    pub(super) output: Option<OutputArg>,
    /// Same as --output plain
    #[arg(long)]
    pub(super) no_progress: bool,
    /// Do not analyze tables after the copy
    #[arg(long)]
    pub(super) skip_analyze: bool,
    /// Source and target may be copies of one cluster
    #[arg(long)]
    pub(super) allow_same_system_id: bool,
    /// Not supported: the protocol has no compression
    #[arg(long, hide = true)]
    pub(super) compress: bool,
    /// Wait for locks for as long as it takes
    #[arg(long)]
    pub(super) no_timeouts: bool,
    /// Work directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Arguments of `list`.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) source: SourceArgs,
    #[command(flatten)]
    pub(super) select: SelectArgs,
}

/// Arguments of `restore-constraints`.
#[derive(Debug, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Print the statements and run none
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Empty the tables of the unfinished run first, so that keys among them hold
    #[arg(long)]
    pub(super) empty: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    pub(super) yes: bool,
    /// Workers that validate keys
    #[arg(short = 'p', long, value_name = "N", value_parser = value::jobs)]
    pub(super) parallel: Option<u32>,
    /// Wait for locks for as long as it takes
    #[arg(long)]
    pub(super) no_timeouts: bool,
    /// Work directory
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", required = true)]
    pub(super) shell: super::super::args::ShellArg,
}

/// The whole tree.
pub(super) fn tree() -> clap::Command {
    Root::command()
}
