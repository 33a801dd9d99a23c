//! The command line of `pgcopy`: what was typed, what was meant, what runs.
//!
//! Runs in the main program, which becomes the supervisor once a command begins. Prints results to standard
//! output and the one error that ends the program.

mod args;
mod completions;
mod config;
mod copy;
mod face;
mod list;
mod question;
mod resolve;
mod restore;

use super::args::Globals as LogGlobals;
use super::environment::Environment;
use super::{cmdline, log_settings, output, usage};
use crate::error::{Error, Result};
use crate::logging;
pub(super) use copy::{print_summary, write_summary};
pub(super) use face::{FACE, present};
pub(super) use resolve::folder_of_dirs;

use args::{Command, Root};
use clap::FromArgMatches;
use clap::error::ErrorKind;
use config::ConfigFile;
use resolve::Around;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What a command needs beside its own arguments.
struct Call<'a> {
    globals: args::Globals,
    environment: &'a Environment,
    cmdline: String,
    config: Option<ConfigFile>,
}

/// Runs the program: `arguments` with the program's name first, `secrets` the variables that were taken out of
/// the environment.
pub fn main(arguments: &[OsString], secrets: Vec<(OsString, OsString)>) -> ExitCode {
    let environment = Environment::new(secrets);
    if let Some(password) = environment.get("PGPASSWORD") {
        logging::register_secret(&password);
    }
    match run(arguments, &environment) {
        Ok(code) => code,
        Err(error) => {
            let text = crate::conninfo::redact(&error.lines().join("\n"));
            output::to_stderr(&format!("{}\n", logging::scrub(&text)));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn run(arguments: &[OsString], environment: &Environment) -> Result<ExitCode> {
    let path = path_of(arguments);
    let matches = match args::tree().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) if error.kind() == ErrorKind::DisplayHelp => {
            output::to_stdout(&format!("{path}: {error}"))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(usage::error_at(&error, &path, &args::tree())),
    };
    let (all, config) = with_config(arguments, &matches, environment)?;
    let failed = |error: &clap::Error| usage::error_at(error, &path, &args::tree());
    let matches = args::tree()
        .try_get_matches_from(&all)
        .map_err(|error| failed(&error))?;
    let Root { globals, command } =
        Root::from_arg_matches(&matches).map_err(|error| failed(&error))?;
    let call = Call {
        globals,
        environment,
        cmdline: cmdline(arguments, crate::conninfo::redact),
        config,
    };
    if call.globals.version {
        return version(call.globals.json);
    }
    match command {
        Some(Command::Copy(args)) => copy::run(&args, &call),
        Some(Command::List(args)) => list::run(&args, &call),
        Some(Command::RestoreConstraints(args)) => restore::run(&args, &call),
        Some(Command::Completions(args)) => {
            output::to_stdout(&completions::script(args.shell)).map(|()| ExitCode::SUCCESS)
        }
        Some(Command::Version) => version(call.globals.json),
        Some(Command::Help) => output::to_stdout(&help()).map(|()| ExitCode::SUCCESS),
        None => Err(Error::bad_args("pgcopy: expected a command")
            .hint("Try \"pgcopy help\"; the command that copies is \"pgcopy copy\".")),
    }
}

/// The arguments with what the configuration file adds.
fn with_config(
    arguments: &[OsString],
    matches: &clap::ArgMatches,
    environment: &Environment,
) -> Result<(Vec<OsString>, Option<ConfigFile>)> {
    let reads = ["copy", "list", "restore-constraints"];
    let below = matches
        .subcommand()
        .filter(|(name, _)| reads.contains(name));
    let Some((name, given)) = below else {
        return Ok((arguments.to_vec(), None));
    };
    let file = given.get_one::<PathBuf>("config");
    let Some(config) = config::find(file, environment)? else {
        return Ok((arguments.to_vec(), None));
    };
    let mut tree = args::tree();
    tree.build();
    let set = |variables: [&str; 2]| {
        variables.iter().any(|name| {
            environment
                .get_os(name)
                .is_some_and(|value| !value.is_empty())
        })
    };
    let is_set = |option: &str| match option {
        "source" | "source-file" => set(["PGCOPY_SOURCE", "PGCOPYDB_SOURCE_PGURI"]),
        "target" | "dest" | "target-file" | "dest-file" => {
            set(["PGCOPY_TARGET", "PGCOPYDB_TARGET_PGURI"])
        }
        _ => false,
    };
    let mut all = arguments.to_vec();
    if let Some(command) = tree.find_subcommand(name) {
        all.extend(config.words_for(command, given, &is_set));
    }
    Ok((all, Some(config)))
}

/// The command that arguments name, such as `pgcopy copy`.
fn path_of(arguments: &[OsString]) -> String {
    let tree = args::tree();
    let named = arguments
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .take_while(|word| *word != "--help")
        .find_map(|word| tree.find_subcommand(word));
    named.map_or("pgcopy".to_owned(), |command| {
        format!("pgcopy {}", command.get_name())
    })
}

fn version(json: bool) -> Result<ExitCode> {
    let number = env!("CARGO_PKG_VERSION");
    let text = if json {
        format!("{:#}\n", serde_json::json!({ "pgcopy": number }))
    } else {
        format!("pgcopy version {number}\n")
    };
    output::to_stdout(&text).map(|()| ExitCode::SUCCESS)
}

fn help() -> String {
    let tree = args::tree();
    let rows: Vec<String> = tree
        .get_subcommands()
        .map(|command| {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("    {:<20}  {about}\n", command.get_name())
        })
        .collect();
    format!("pgcopy: available commands\n{}", rows.concat())
}

impl Call<'_> {
    fn around(&self) -> Around<'_> {
        Around {
            environment: self.environment,
            terminal: std::io::stderr().is_terminal() && !self.globals.quiet,
            cmdline: self.cmdline.clone(),
            config: self.config.as_ref(),
        }
    }

    fn env(&self) -> impl Fn(&str) -> Option<String> + '_ {
        |name| self.environment.get(name)
    }

    /// Sets up logging; with a work directory also into its log file.
    fn log_into(&self, dir: Option<&Path>) -> Result<Option<PathBuf>> {
        let globals = LogGlobals {
            verbose: self.globals.verbose,
            quiet: self.globals.quiet,
            ..LogGlobals::default()
        };
        let mut settings = log_settings::resolve(&globals, self.environment)?;
        if settings.file.is_none() {
            settings.file = dir.and_then(log_file);
        }
        logging::init(&settings)?;
        Ok(settings.file)
    }
}

/// The log file in a work directory that is ours, or new; made here, so that nobody else can read it.
fn log_file(dir: &Path) -> Option<PathBuf> {
    let layout = crate::workdir::Layout::new(dir.to_path_buf());
    let is_ours = layout.marker().exists();
    let is_new = std::fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_ours && !is_new {
        return None;
    }
    std::os::unix::fs::DirBuilderExt::mode(std::fs::DirBuilder::new().recursive(true), 0o700)
        .create(dir)
        .ok()?;
    let path = layout.log();
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .ok()
        .map(|_| path)
}

/// Reports the end of a command that logs.
fn ended(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            logging::report_error(&error, true);
            ExitCode::from(error.kind().exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_visible_option_stands_in_the_man_page() {
        let page = include_str!("../../../man/pgcopy.1");
        let mut tree = args::tree();
        tree.build();
        let options = tree
            .get_subcommands()
            .flat_map(clap::Command::get_arguments);
        for option in options.filter(|option| !option.is_hide_set()) {
            let aliases = option.get_all_aliases().unwrap_or_default();
            for long in option.get_long().into_iter().chain(aliases) {
                let name = format!("Fl Fl {long}");
                let there = page.lines().filter(|line| line.starts_with(".It "));
                assert!(
                    there.into_iter().any(|line| line.contains(&name)),
                    "--{long}"
                );
            }
        }
    }

    #[test]
    fn a_bad_command_line_is_one_error_that_names_the_command() {
        let call = |words: &[&str]| -> String {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            run(&words, &Environment::of(&[])).unwrap_err().to_string()
        };
        assert!(call(&["pgcopy"]).contains("expected a command"));
        assert!(call(&["pgcopy", "copy", "--parallel", "0"]).contains("--parallel"));
        assert!(call(&["pgcopy", "list", "--no-such"]).starts_with("pgcopy list"));
        assert!(call(&["pgcopy", "copy"]).contains("PGCOPY_SOURCE"));
    }
}
