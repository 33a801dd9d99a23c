//! The command line of `pgcopydb`: what was typed, what was meant, what runs.
//!
//! Runs in the main program, which becomes the supervisor once a command begins. Prints results to
//! standard output and the one error that ends the program. Never asks the system for its arguments:
//! they are wiped from memory before, together with secret variables.

mod args;
mod config;
mod environment;
mod log_settings;
mod output;
pub mod pgcopy;
mod pgcopydb;
mod resolve;
mod usage;

pub use crate::clone::{CloneSettings, FollowChoices, FormatChoice, Preview, Switches};
pub use environment::{Environment, SECRET_VARIABLES};

use crate::compare::{CompareSettings, DataReport, SchemaReport};
use crate::error::{Error, Result};
use crate::logging;
use args::{Command, CopyCommand, Globals, Root};
use clap::FromArgMatches;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What the commands run, so that the command line can be tested without servers.
#[derive(Clone, Copy, Debug)]
pub struct Runs {
    /// Clones; the environment is for what connection strings leave open.
    pub clone: fn(&CloneSettings, &Environment) -> Result<()>,
    /// Finds out what a clone would do.
    pub dry_run: fn(&CloneSettings, &Environment) -> Result<Preview>,
    /// Finds out what stands in the way of a clone, and of following.
    pub check: fn(&CloneSettings, Option<&FollowChoices>, &Environment) -> Result<Preview>,
    /// Compares the rows of two databases.
    pub compare_data: fn(&CompareSettings, &Environment) -> Result<DataReport>,
    /// Compares the schemas of two databases.
    pub compare_schema: fn(&CompareSettings, &Environment) -> Result<SchemaReport>,
    /// Connects to both databases, whose connection strings are given.
    pub ping: fn(&str, &str, &Environment) -> Result<()>,
    /// Blanks out the passwords of connection strings in a text.
    pub redact: fn(&str) -> String,
}

/// The runs of the program.
const RUNS: Runs = Runs {
    clone: |settings, environment| {
        crate::clone::run(settings, &|name| environment.get(name), draw_progress)
    },
    dry_run: |settings, environment| crate::clone::dry_run(settings, &|name| environment.get(name)),
    check: |settings, follow, environment| {
        crate::clone::check(settings, follow, &|name| environment.get(name))
    },
    compare_data: |settings, environment| {
        crate::compare::data(settings, &|name| environment.get(name))
    },
    compare_schema: |settings, environment| {
        crate::compare::schema(settings, &|name| environment.get(name))
    },
    ping: |source, target, environment| {
        crate::check::ping(source, target, &|name| environment.get(name))
    },
    redact: crate::conninfo::redact,
};

/// The body of the progress process.
fn draw_progress(ledgers: &[PathBuf], nap: &dyn Fn(Duration) -> Result<()>) -> Result<()> {
    crate::report::draw_loop(ledgers, nap, &crate::sys::terminal::columns)
}

/// What a command needs beside its own arguments.
struct Call<'a> {
    globals: Globals,
    environment: &'a Environment,
    runs: Runs,
    /// The command line without secrets.
    cmdline: String,
    /// The command as it was typed, such as `pgcopydb copy db`.
    path: String,
    /// The configuration file and the options that it set.
    from_file: Option<(PathBuf, Vec<String>)>,
}

/// Runs the program: `arguments` with the program's name first, `secrets` the variables that were
/// taken out of the environment.
pub fn main(arguments: &[OsString], secrets: Vec<(OsString, OsString)>) -> ExitCode {
    main_with(arguments, &Environment::new(secrets), RUNS)
}

fn main_with(arguments: &[OsString], environment: &Environment, runs: Runs) -> ExitCode {
    if let Some(password) = environment.get("PGPASSWORD") {
        logging::register_secret(&password);
    }
    let completed = config::complete(arguments, environment);
    let parsed = match completed.and_then(|all| Ok((parse(&all.arguments)?, all.from_file))) {
        Ok((Parsed::Root(root), from_file)) => (root, from_file),
        Ok((Parsed::Help(text), _)) => return finish_plain(output::to_stdout(&text)),
        Ok((Parsed::NoCommand(text), _)) => {
            output::to_stderr(&text);
            return ExitCode::FAILURE;
        }
        Err(error) => {
            output::to_stderr(&format!("{}\n", (runs.redact)(&error.lines().join("\n"))));
            return ExitCode::from(error.kind().exit_code());
        }
    };
    let (root, from_file) = parsed;
    let Root { globals, command } = *root;
    let call = Call {
        globals,
        environment,
        runs,
        cmdline: cmdline(arguments, runs.redact),
        path: usage::path_of(arguments),
        from_file,
    };
    match command {
        _ if call.globals.version => finish_plain(pgcopydb::version::run(call.globals.json)),
        Some(Command::Version) => finish_plain(pgcopydb::version::run(call.globals.json)),
        Some(Command::Help) => finish_plain(output::to_stdout(&pgcopydb::help::whole_tree())),
        Some(
            Command::Clone(args)
            | Command::Copy {
                command: Some(CopyCommand::Db(args)),
            },
        ) => logged(&call, |call| pgcopydb::clone::run(&args, call)),
        Some(Command::Follow(args)) => logged(&call, |call| pgcopydb::follow::run(&args, call)),
        Some(Command::Check(args)) => logged(&call, |call| pgcopydb::check::run(&args, call)),
        Some(Command::Step(args)) => logged(&call, |call| pgcopydb::steps::run(&args, call)),
        Some(Command::Ping(args)) => logged(&call, |call| pgcopydb::ping::run(&args, call)),
        Some(Command::Completions(args)) => finish_plain(pgcopydb::completions::run(&args)),
        Some(Command::Config {
            command: Some(command),
        }) => finish_plain(pgcopydb::config::run(command, &call)),
        Some(Command::List {
            command: Some(command),
        }) => logged(&call, |call| pgcopydb::list::run(&command, call)),
        Some(Command::Stream {
            command: Some(command),
        }) if !pgcopydb::stream::lacks_command(&command) => {
            logged(&call, |call| pgcopydb::stream::run(&command, call))
        }
        Some(Command::Cutover(args)) => logged(&call, |call| pgcopydb::cutover::run(&args, call)),
        Some(Command::Status(args)) => logged(&call, |call| pgcopydb::status::run(&args, call)),
        Some(Command::Compare {
            command: Some(command),
        }) => logged(&call, |call| pgcopydb::compare::run(&command, call)),
        None
        | Some(
            Command::Copy { command: None }
            | Command::Compare { command: None }
            | Command::Config { command: None }
            | Command::List { command: None }
            | Command::Stream { .. },
        ) => {
            output::to_stderr(&pgcopydb::help::expected_command(&call.path));
            ExitCode::FAILURE
        }
    }
}

/// What the arguments come to before anything runs.
enum Parsed {
    Root(Box<Root>),
    /// A help text that was asked for.
    Help(String),
    /// A command that is missing or unknown, with the list of those that there are.
    NoCommand(String),
}

fn parse(arguments: &[OsString]) -> Result<Parsed> {
    let matches = match args::tree().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            return Ok(Parsed::Help(format!(
                "{}: {error}",
                usage::path_of(arguments)
            )));
        }
        Err(error) if error.kind() == ErrorKind::InvalidSubcommand => {
            let lines = usage::error_of(&error, arguments).lines();
            let list = pgcopydb::help::commands(&usage::path_of(arguments));
            let message = lines.first().cloned().unwrap_or_default();
            return Ok(Parsed::NoCommand(format!("{message}\n\n{list}")));
        }
        Err(error) => return Err(usage::error_of(&error, arguments)),
    };
    refuse_not_yet(&matches)?;
    root_of(&matches)
        .map(|root| Parsed::Root(Box::new(root)))
        .map_err(|error| usage::error_of(&error, arguments))
}

/// What was typed; the commands that do a clone step by step are no part of the parser's own structs.
fn root_of(matches: &clap::ArgMatches) -> std::result::Result<Root, clap::Error> {
    let step = args::steps::typed(matches)?;
    if step.is_none() && !args::steps::is_group_alone(matches) {
        return Root::from_arg_matches(matches);
    }
    Ok(Root {
        globals: Globals::from_arg_matches(matches)?,
        command: step.map(|step| Command::Step(Box::new(step))),
    })
}

/// Refuses commands that are known and not built yet.
fn refuse_not_yet(matches: &clap::ArgMatches) -> Result<()> {
    let refuse = |path: String| {
        Err(Error::bad_args(format!("{path} is not supported yet"))
            .hint("See \"pgcopydb help\" for the commands of this version."))
    };
    let below = |group: &str| match group {
        "list" => &args::LIST_NOT_YET[..],
        "stream" => &args::STREAM_NOT_YET[..],
        _ => &[],
    };
    match matches.subcommand() {
        Some((name, _)) if args::NOT_YET.contains(&name) => refuse(format!("pgcopydb {name}")),
        Some((group, matches)) => match matches.subcommand_name() {
            Some(name) if below(group).contains(&name) => {
                refuse(format!("pgcopydb {group} {name}"))
            }
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

/// Ends a command that does not log.
fn finish_plain(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::plain_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

/// Sets up logging, runs a command and reports its error.
fn logged(call: &Call<'_>, command: impl FnOnce(&Call<'_>) -> Result<()>) -> ExitCode {
    let ready = log_settings::resolve(&call.globals, call.environment)
        .and_then(|settings| logging::init(&settings));
    if let Err(error) = ready {
        return finish_plain(Err(error));
    }
    if let Some((file, options)) = &call.from_file {
        let options = options.join(", ");
        log::debug!("Configuration file \"{}\" sets {options}", file.display());
    }
    match command(call) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report_error(&error, true);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

impl Call<'_> {
    /// Whether a progress line would have a reader: a person at a terminal, who did not ask for
    /// errors only or for JSON lines.
    fn wants_progress(&self) -> bool {
        let settings = log_settings::resolve(&self.globals, self.environment);
        std::io::stderr().is_terminal()
            && settings.is_ok_and(|settings| {
                !settings.json && settings.verbosity < logging::Verbosity::Error
            })
    }
}

/// Logs the first line of real work.
fn announce() {
    let version = env!("CARGO_PKG_VERSION");
    match std::env::current_exe() {
        Ok(path) => log::info!(
            "Running pgcopydb version {version} from \"{}\"",
            path.display()
        ),
        Err(_) => log::info!("Running pgcopydb version {version}"),
    }
}

/// The command line in one line, without secrets; arguments with blanks in them are quoted.
fn cmdline(arguments: &[OsString], redact: fn(&str) -> String) -> String {
    let words: Vec<String> = arguments
        .iter()
        .map(|argument| {
            let text = redact(&argument.to_string_lossy());
            let plain = !text.is_empty() && !text.contains([' ', '\t', '\n', '\'', '"']);
            if plain {
                text
            } else {
                format!("'{}'", text.replace('\'', "'\\''"))
            }
        })
        .collect();
    redact(&words.join(" "))
}

#[cfg(test)]
mod tests;
