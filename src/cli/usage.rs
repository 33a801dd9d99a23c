//! Usage errors in two lines: what is wrong in which command, and what to do.
//!
//! Runs in the main program before logging is set up. Pure.

use super::args;
use crate::error::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// Options that take a value and may stand before the command.
const VALUED_GLOBALS: [&str; 4] = ["--log-level", "--log-format", "--log-file", "--config"];

/// The command that arguments name, such as `pgcopydb copy db`; without a known one, the program.
pub(super) fn path_of(arguments: &[OsString]) -> String {
    let mut command = args::tree();
    let mut path = "pgcopydb".to_owned();
    let mut skip = false;
    for argument in arguments
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str())
    {
        if std::mem::take(&mut skip) {
            continue;
        }
        if matches!(argument, "-h" | "--help") {
            break;
        }
        if argument.starts_with('-') {
            skip = VALUED_GLOBALS.contains(&argument);
            continue;
        }
        let Some(found) = command.find_subcommand(argument).cloned() else {
            break;
        };
        path.push(' ');
        path.push_str(found.get_name());
        command = found;
    }
    path
}

/// Turns an error of the argument parser into one of ours.
pub(super) fn error_of(error: &clap::Error, arguments: &[OsString]) -> Error {
    error_at(error, &path_of(arguments), &args::tree())
}

/// The same for a command of this tree.
pub(super) fn error_at(error: &clap::Error, path: &str, tree: &clap::Command) -> Error {
    let part = |kind| context(error, kind);
    let option = part(ContextKind::InvalidArg);
    let message = match error.kind() {
        ErrorKind::UnknownArgument => unknown(path, tree, option.as_deref().unwrap_or("")),
        ErrorKind::InvalidSubcommand => {
            format!(
                "unknown command \"{}\"",
                part(ContextKind::InvalidSubcommand).unwrap_or_default()
            )
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => bad_value(error),
        ErrorKind::ArgumentConflict => format!(
            "option {} cannot be used with {}",
            bare(option.as_deref().unwrap_or("")),
            bare(
                part(ContextKind::PriorArg)
                    .as_deref()
                    .unwrap_or("another option")
            )
        ),
        ErrorKind::MissingRequiredArgument => format!("missing: {}", option.unwrap_or_default()),
        _ => first_line(error),
    };
    let suggestion = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find_map(part);
    let message = match suggestion {
        // The one that is most alike says little where several fit.
        Some(_) if message.contains("is ambiguous") => message,
        Some(suggestion) => format!("{message}, did you mean \"{suggestion}\"?"),
        None => message,
    };
    Error::bad_args(message)
        .context(path.to_owned())
        .hint(format!("Try \"{path} --help\"."))
}

fn unknown(path: &str, tree: &clap::Command, argument: &str) -> String {
    if !argument.starts_with('-') {
        return format!("unexpected argument \"{argument}\"");
    }
    let long = argument.trim_start_matches('-');
    let known_elsewhere = has_option(&args::tree(), long);
    if known_elsewhere {
        format!("option {argument} is not used by \"{path}\"")
    } else if is_ambiguous(path, tree, long) {
        format!("option \"{argument}\" is ambiguous, several options begin like that")
    } else {
        format!("unknown option \"{argument}\"")
    }
}

/// Whether a command, or one below it, has that option.
fn has_option(command: &clap::Command, long: &str) -> bool {
    command
        .get_arguments()
        .any(|known| known.get_long() == Some(long))
        || command
            .get_subcommands()
            .any(|command| has_option(command, long))
}

fn is_ambiguous(path: &str, tree: &clap::Command, long: &str) -> bool {
    let mut command = tree.clone();
    for word in path.split(' ').skip(1) {
        match command.find_subcommand(word).cloned() {
            Some(found) => command = found,
            None => return false,
        }
    }
    let begins = |known: &&clap::Arg| known.get_long().is_some_and(|name| name.starts_with(long));
    command.get_arguments().filter(begins).count() > 1
}

fn bad_value(error: &clap::Error) -> String {
    let part = |kind| context(error, kind).unwrap_or_default();
    let option = part(ContextKind::InvalidArg);
    let option = bare(&option);
    let value = part(ContextKind::InvalidValue);
    let source = std::error::Error::source(error).map(ToString::to_string);
    match (source, context(error, ContextKind::ValidValue)) {
        (Some(why), _) => format!("option {option}: value \"{value}\": {why}"),
        (None, _) if value.is_empty() => format!("option {option} needs a value"),
        (None, Some(valid)) => {
            format!("option {option}: value \"{value}\": expected one of {valid}")
        }
        (None, None) => format!("option {option}: bad value \"{value}\""),
    }
}

/// `--table-jobs <N>` without its placeholder, `--verbose...` without its dots.
fn bare(option: &str) -> &str {
    option
        .split(' ')
        .next()
        .unwrap_or(option)
        .trim_end_matches("...")
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    }
}

/// The first line of the parser's own text, for errors that need no words of ours.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or("");
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
