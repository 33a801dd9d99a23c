//! What may be typed: the command tree, as clap structs.
//!
//! Runs in the main program before any work. Reads nothing but the arguments it is given; defaults and
//! environment are the business of `settings`. Options that are known but not built yet are declared
//! here, too, so that they are refused by name.

pub(super) mod check;
pub(super) mod clone;
pub(super) mod compare;
pub(super) mod cutover;
pub(super) mod follow;
mod globals;
pub(super) mod list;
pub(super) mod steps;
pub(super) mod stream;
pub(super) mod stream_apply;
pub(super) mod value;

pub(super) use check::{CheckArgs, PluginArg};
pub(super) use clone::{CloneArgs, ConnectionArgs};
pub(super) use globals::{Globals, LogFormat, LogLevel};
pub(super) use list::{DirArgs, ListCommand};
pub(super) use steps::{StepArgs, StepCommand, StepRun};

use crate::datacopy::ModeChoice;
use crate::fkey::discover::Mode;
use clap::{CommandFactory, Parser, Subcommand};

/// Top commands that exist and cannot be used yet.
pub(super) const NOT_YET: [&str; 0] = [];

/// Commands below `list` that exist and cannot be used yet.
pub(super) const LIST_NOT_YET: [&str; 0] = [];

/// Commands below `stream` that exist and cannot be used yet.
pub(super) const STREAM_NOT_YET: [&str; 0] = [];

/// Layout of every help text, in front of which the command's path is put: two lines, then options.
const HELP_TEMPLATE: &str = "{about}\nusage: {usage}\n\n{all-args}\n";

/// The program.
#[derive(Debug, Parser)]
#[command(
    name = "pgcopydb",
    bin_name = "pgcopydb",
    about = "Copy a PostgreSQL database to another server",
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

/// Commands that can be used.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Clone an entire database from source to target
    #[command(visible_alias = "fork", alias = "copy-db", help_template = HELP_TEMPLATE)]
    Clone(Box<CloneArgs>),
    /// Apply the changes of the source to the target, until an endpos or a signal
    #[command(help_template = HELP_TEMPLATE)]
    Follow(Box<follow::FollowArgs>),
    /// Parts of a clone, one by one
    #[command(help_template = HELP_TEMPLATE)]
    Copy {
        #[command(subcommand)]
        command: Option<CopyCommand>,
    },
    /// Are source and target the same?
    #[command(help_template = HELP_TEMPLATE)]
    Compare {
        #[command(subcommand)]
        command: Option<compare::CompareCommand>,
    },
    /// Attempt to connect to the source and the target
    #[command(help_template = HELP_TEMPLATE)]
    Ping(PingArgs),
    /// Look for what stands in the way of a clone, and change nothing
    #[command(help_template = HELP_TEMPLATE)]
    Check(Box<CheckArgs>),
    /// Look at the configuration file and the environment
    #[command(help_template = HELP_TEMPLATE)]
    Config {
        #[command(subcommand)]
        command: Option<ConfigCommand>,
    },
    /// Print a script with which a shell completes commands and options
    #[command(help_template = HELP_TEMPLATE)]
    Completions(CompletionsArgs),
    /// What there is on the source, and how far a run is
    #[command(help_template = HELP_TEMPLATE)]
    List {
        #[command(subcommand)]
        command: Option<ListCommand>,
    },
    /// Follow the changes of the source, step by step
    #[command(help_template = HELP_TEMPLATE)]
    Stream {
        #[command(subcommand)]
        command: Option<stream::StreamCommand>,
    },
    /// Bring a follow to its end, prove that all is on the target, and report
    #[command(help_template = HELP_TEMPLATE)]
    Cutover(Box<cutover::CutoverArgs>),
    /// Print what a work directory holds, and how to go on
    #[command(help_template = HELP_TEMPLATE)]
    Status(DirArgs),
    /// One of the commands that do a clone step by step.
    #[command(skip)]
    Step(Box<StepArgs>),
    /// Print the version
    #[command(help_template = HELP_TEMPLATE)]
    Version,
    /// Print all commands
    #[command(help_template = HELP_TEMPLATE)]
    Help,
}

/// Commands below `copy` that can be used.
#[derive(Debug, Subcommand)]
pub(super) enum CopyCommand {
    /// Copy an entire database from source to target, as clone does
    #[command(help_template = HELP_TEMPLATE)]
    Db(Box<CloneArgs>),
}

/// Commands below `config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the options in effect, and where each of them comes from
    #[command(help_template = HELP_TEMPLATE)]
    Show,
    /// Say whether the configuration file and the environment can be used
    #[command(help_template = HELP_TEMPLATE)]
    Check,
}

/// Shells that completions can be printed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ShellArg {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// Fish.
    Fish,
}

/// How keys and triggers are handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ModeArg {
    /// The first that works.
    Auto,
    /// The server is told not to check them.
    Replica,
    /// Removed and put back.
    Drop,
    /// They stay and check each row.
    Keep,
}

impl ModeArg {
    /// What was meant.
    pub(super) fn choice(self) -> ModeChoice {
        match self {
            Self::Auto => ModeChoice::Auto,
            Self::Replica => ModeChoice::Only(Mode::Replica),
            Self::Drop => ModeChoice::Only(Mode::Drop),
            Self::Keep => ModeChoice::Only(Mode::Keep),
        }
    }
}

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL", required = true)]
    pub(super) shell: ShellArg,
}

/// Arguments of `ping`.
#[derive(Debug, clap::Args)]
pub(super) struct PingArgs {
    #[command(flatten)]
    pub(super) connections: ConnectionArgs,
}

/// The whole tree, with the commands that cannot be used yet as hidden ones.
pub(super) fn tree() -> clap::Command {
    steps::add_to(Root::command())
        .subcommands(NOT_YET.map(refused))
        .mut_subcommand("list", |list| list.subcommands(LIST_NOT_YET.map(refused)))
        .mut_subcommand("stream", |stream| {
            stream.subcommands(STREAM_NOT_YET.map(refused))
        })
}

/// A command whose arguments do not matter, as it is refused with any.
fn refused(name: &'static str) -> clap::Command {
    let rest = clap::Arg::new("rest")
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true)
        .value_parser(clap::value_parser!(std::ffi::OsString));
    clap::Command::new(name)
        .hide(true)
        .disable_help_flag(true)
        .arg(rest)
}
