//! Options that every command takes.
//!
//! Runs in the main program before any work.

use std::path::PathBuf;

/// How log lines look on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum LogLevel {
    /// Bytes and frames.
    Trace,
    /// Decisions.
    Debug,
    /// Statements.
    Sql,
    /// Starts and ends of processes, details of objects.
    Notice,
    /// What an operator follows.
    Info,
    /// Errors only.
    Error,
}

/// Options that every command takes, and that may also stand before the command.
#[derive(Clone, Debug, Default, clap::Args)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "one field for each switch that can be typed"
)]
pub(in crate::cli) struct Globals {
    /// Print the version and exit
    #[arg(short = 'V', long, global = true, display_order = 900)]
    pub(in crate::cli) version: bool,
    /// More log lines: once NOTICE, twice SQL, then DEBUG, then TRACE
    #[arg(short, long, alias = "notice", global = true, action = clap::ArgAction::Count,
        display_order = 901)]
    pub(in crate::cli) verbose: u8,
    /// Log lines of level DEBUG, too
    #[arg(short, long, global = true, display_order = 902)]
    pub(in crate::cli) debug: bool,
    /// Log lines of all levels
    #[arg(short = 'z', long, global = true, display_order = 903)]
    pub(in crate::cli) trace: bool,
    /// Log errors only
    #[arg(short, long, global = true, display_order = 904,
        conflicts_with_all = ["verbose", "debug", "trace", "log_level"])]
    pub(in crate::cli) quiet: bool,
    /// Log lines from this level on
    #[arg(long, global = true, value_name = "LEVEL", display_order = 905,
        conflicts_with_all = ["verbose", "debug", "trace"])]
    pub(in crate::cli) log_level: Option<LogLevel>,
    /// Look of log lines on standard error
    #[arg(long, global = true, value_name = "FORMAT", display_order = 906)]
    pub(in crate::cli) log_format: Option<LogFormat>,
    /// Append log lines to this file, too
    #[arg(long, global = true, value_name = "FILE", display_order = 907)]
    pub(in crate::cli) log_file: Option<PathBuf>,
    /// Configuration file [default: config.toml of the work directory]
    #[arg(long, global = true, value_name = "FILE", display_order = 908)]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Print results as JSON
    #[arg(short = 'J', long, global = true, display_order = 909)]
    pub(in crate::cli) json: bool,
}
