//! The configuration file: options under their long names, for every command that has them.
//!
//! Runs in the main program before a command begins. What the file sets and nobody else did is added to the
//! arguments, so that no command knows of the file: command line, then environment, then file, then defaults.

mod file;
mod variables;

pub(super) use file::{ConfigFile, Entry, Value};
pub(super) use variables::{VARIABLES, ValueKind, check_all};

use super::args;
use super::environment::Environment;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Error, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

/// Options that a file may not set, as they make sense for one command line only.
const NOT_IN_FILE: [&str; 8] = [
    "help",
    "version",
    "config",
    "verbose",
    "debug",
    "trace",
    "quiet",
    "token-file",
];

/// Options under names that mean something else to the commands for which a file is: they say whom to ask.
const TYPED_ONLY: [&str; 2] = ["service_host", "service_port"];

/// Commands that neither read the environment nor a file before they begin.
const WITHOUT_SETTINGS: [&str; 4] = ["version", "help", "completions", "config"];

/// Options of which one makes the other pointless, beside those that the parser knows to conflict.
const EITHER: [(&str, &str); 1] = [("use-copy-binary", "copy-format")];

/// The arguments with what the configuration file adds.
#[derive(Debug, Default)]
pub(super) struct Completed {
    /// All arguments, those of the file last.
    pub(super) arguments: Vec<OsString>,
    /// The file, and the options with their dashes that it set.
    pub(super) from_file: Option<(PathBuf, Vec<String>)>,
}

/// Checks the environment and adds what the configuration file sets. Arguments that cannot be parsed are
/// left to the parser. Errors (`BadArgs`): a bad variable; a file that cannot be read or has a bad line.
pub(super) fn complete(arguments: &[OsString], environment: &Environment) -> Result<Completed> {
    let as_they_are = || Completed {
        arguments: arguments.to_vec(),
        from_file: None,
    };
    let mut tree = args::tree();
    tree.build();
    let Ok(matches) = tree.clone().try_get_matches_from(arguments) else {
        return Ok(as_they_are());
    };
    let (mut command, mut given) = (&tree, &matches);
    while let Some((name, below)) = given.subcommand() {
        let Some(found) = command.find_subcommand(name) else {
            return Ok(as_they_are());
        };
        (command, given) = (found, below);
    }
    let top = matches.subcommand_name().unwrap_or("version");
    let is_plain = WITHOUT_SETTINGS.contains(&top)
        || command.is_hide_set()
        || command.has_subcommands()
        || given.get_flag("version");
    if is_plain {
        return Ok(as_they_are());
    }
    check_all(environment, top == "list")?;
    let Some(file) = ConfigFile::find(given, environment)? else {
        return Ok(as_they_are());
    };
    file.check(&tree)?;
    let options = taken(&file, command, &set_elsewhere(command, given, environment));
    let words = options.iter().map(|(_, word)| OsString::from(word));
    // What stands behind "--" is no option any more.
    let at = arguments.iter().position(|word| word == "--");
    let mut all = arguments.to_vec();
    let at = at.unwrap_or(all.len());
    drop(all.splice(at..at, words));
    if let Err(error) = tree.try_get_matches_from(&all) {
        return Err(super::usage::error_of(&error, &all)
            .context(format!("configuration file \"{}\"", file.path.display())));
    }
    let names = options.into_iter().map(|(name, _)| format!("--{name}"));
    Ok(Completed {
        arguments: all,
        from_file: Some((file.path.clone(), names.collect())),
    })
}

/// Long names of the options that the command line or a variable has set.
fn set_elsewhere(
    command: &Command,
    given: &ArgMatches,
    environment: &Environment,
) -> BTreeSet<String> {
    let typed = given
        .ids()
        .filter(|id| given.value_source(id.as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|id| command.get_arguments().find(|arg| arg.get_id() == id))
        .filter_map(|arg| arg.get_long().map(str::to_owned));
    let variables = VARIABLES
        .iter()
        .filter(|variable| matches!(variable.read(environment), Ok(Some(_))))
        .map(|variable| variable.option.to_owned());
    typed.chain(variables).collect()
}

/// Options of the file that this command has and nothing of higher rank contradicts: name and argument.
fn taken(file: &ConfigFile, command: &Command, set: &BTreeSet<String>) -> Vec<(String, String)> {
    let mut taken = Vec::new();
    for entry in &file.entries {
        let Some(arg) = find_option(command, &entry.key) else {
            continue;
        };
        if TYPED_ONLY.contains(&arg.get_id().as_str()) {
            continue;
        }
        let beaten = set.iter().any(|other| {
            *other == entry.key
                || EITHER.contains(&(other, &entry.key))
                || EITHER.contains(&(&entry.key, other))
                || find_option(command, other).is_some_and(|other| {
                    conflict(command, arg, other) || conflict(command, other, arg)
                })
        });
        if beaten {
            continue;
        }
        if let Some(word) = entry.as_argument(arg) {
            taken.push((entry.key.clone(), word));
        }
    }
    taken
}

fn conflict(command: &Command, one: &Arg, other: &Arg) -> bool {
    command
        .get_arg_conflicts_with(one)
        .iter()
        .any(|arg| arg.get_id() == other.get_id())
}

fn find_option<'a>(command: &'a Command, long: &str) -> Option<&'a Arg> {
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(long))
}

/// Whether an option is a switch, without a value.
fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count)
}

/// Paths of the commands that have an option, without the program's name, and the option in each.
fn commands_with<'a>(tree: &'a Command, long: &str) -> Vec<(Vec<&'a str>, &'a Arg)> {
    let mut found = Vec::new();
    let mut todo = vec![(Vec::new(), tree)];
    while let Some((path, command)) = todo.pop() {
        if !command.has_subcommands()
            && let Some(arg) = find_option(command, long)
        {
            found.push((path.clone(), arg));
        }
        for below in command.get_subcommands() {
            let mut path = path.clone();
            path.push(below.get_name());
            todo.push((path, below));
        }
    }
    found
}

impl ConfigFile {
    /// Checks each entry against the commands that have its option. Errors (`BadArgs`): no command has
    /// it, or none takes its value.
    pub(super) fn check(&self, tree: &Command) -> Result<()> {
        self.entries
            .iter()
            .try_for_each(|entry| self.check_entry(entry, tree))
    }

    /// Parses the connection strings. Errors (`BadArgs`): where one is none; its text is not repeated.
    pub(super) fn check_connections(&self, environment: &Environment) -> Result<()> {
        let is_connection = |key: &str| {
            let mut known = VARIABLES.iter();
            known.any(|one| one.option == key && one.kind == ValueKind::Connection)
        };
        let env = |name: &str| environment.get(name);
        for entry in self.entries.iter().filter(|e| is_connection(&e.key)) {
            if let Value::Text(text) = &entry.value {
                ConnInfo::parse(text, &env).context(|| {
                    format!(
                        "configuration file \"{}\": line {}: option \"{}\"",
                        self.path.display(),
                        entry.line,
                        entry.key
                    )
                })?;
            }
        }
        Ok(())
    }

    fn check_entry(&self, entry: &Entry, tree: &Command) -> Result<()> {
        let key = &entry.key;
        let bad = |why: String| {
            Error::bad_args(format!(
                "configuration file \"{}\": line {}: {why}",
                self.path.display(),
                entry.line
            ))
        };
        if NOT_IN_FILE.contains(&key.as_str()) {
            return Err(bad(format!("option \"{key}\" cannot be set in a file"))
                .hint("Give it on the command line; for more log lines there is log-level, for the token of a follow PGCOPYDB_TOKEN_FILE."));
        }
        let commands = commands_with(tree, key);
        if commands.is_empty() {
            return Err(bad(format!("unknown option \"{key}\""))
                .hint("Keys are long option names without dashes, such as table-jobs."));
        }
        let mut why = None;
        for (path, arg) in commands {
            let Some(word) = entry.as_argument(arg) else {
                // `false` sets a switch to what it is anyway.
                if is_switch(arg) && entry.value == Value::Switch(false) {
                    return Ok(());
                }
                continue;
            };
            let line = ["pgcopydb"]
                .iter()
                .chain(&path)
                .copied()
                .chain([word.as_str()]);
            match tree.clone().try_get_matches_from(line) {
                Err(error) if is_bad_value(&error) => why = Some(error),
                _ => return Ok(()),
            }
        }
        let source = why.and_then(|error| {
            std::error::Error::source(&error).map(|source| format!(": {source}"))
        });
        let source = source.unwrap_or_default();
        Err(bad(format!("option \"{key}\" has a bad value{source}"))
            .detail(format!("It is {}.", entry.value.shown()))
            .hint("See the manual page of the command for what the option takes."))
    }
}

fn is_bad_value(error: &clap::Error) -> bool {
    use clap::error::ErrorKind::{InvalidValue, ValueValidation};
    matches!(error.kind(), InvalidValue | ValueValidation)
}

#[cfg(test)]
mod tests;
