//! The configuration file of `pgcopy`: flat TOML, long option names as keys, lists as arrays of strings.
//!
//! Runs in the main program before a command begins. What the file sets and nobody else did is added to the
//! arguments: command line, then environment, then file. No error text holds a value that may be a secret.

use super::super::environment::Environment;
use super::args;
use crate::error::{Error, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Longest file, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Consent never comes from a file, nor does what makes sense for one command line only.
const NOT_IN_FILE: [&str; 10] = [
    "config",
    "yes",
    "skip-backup",
    "resume",
    "restart",
    "dry-run",
    "empty",
    "help",
    "version",
    "json",
];
/// Options of which the command line's one makes that of the file pointless.
const EITHER: [&[&str]; 4] = [
    &["source", "source-file"],
    &["target", "dest", "target-file", "dest-file"],
    &["snapshot", "no-snapshot"],
    &["output", "no-progress"],
];

/// A file, and what it sets.
#[derive(Debug)]
pub(super) struct ConfigFile {
    /// `--config` was given.
    pub(super) is_explicit: bool,
    /// Keys and their values as words of a command line; switches that are off have none.
    pub(super) entries: Vec<(String, Vec<String>)>,
}

/// Finds and reads the file: `--config`, else `PGCOPY_CONFIG`, else the default one if it exists.
pub(super) fn find(
    given: Option<&PathBuf>,
    environment: &Environment,
) -> Result<Option<ConfigFile>> {
    let set = |name| environment.get_os(name).filter(|value| !value.is_empty());
    let named = given
        .cloned()
        .or_else(|| set("PGCOPY_CONFIG").map(PathBuf::from));
    if let Some(path) = named {
        return read(&path, given.is_some()).map(Some);
    }
    let base = set("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".config")));
    match base.map(|base| base.join("pgcopy/config.toml")) {
        Some(path) if path.exists() => read(&path, false).map(Some),
        _ => Ok(None),
    }
}

fn read(path: &Path, is_explicit: bool) -> Result<ConfigFile> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Error::bad_args(format!(
            "could not read configuration file \"{shown}\": {error}"
        ))
        .hint("Check the path and its permissions.")
    };
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if facts.len() > FILE_BYTES_MAX {
        return Err(Error::bad_args(format!(
            "configuration file \"{shown}\" is larger than {FILE_BYTES_MAX} bytes"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    if facts.permissions().mode() & 0o002 != 0 {
        return Err(Error::bad_args(format!(
            "configuration file \"{shown}\" can be written by every user"
        ))
        .hint(format!("Use: chmod o-w {shown}")));
    }
    let entries = parse(&text).map_err(|why| {
        Error::bad_args(format!("configuration file \"{shown}\": {why}"))
            .hint("Each line is an option and its value, such as parallel = 8.")
    })?;
    Ok(ConfigFile {
        is_explicit,
        entries,
    })
}

fn line_of(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or("").matches('\n').count() + 1
}

/// Line of a key at the beginning of a line.
fn line_of_key(text: &str, key: &str) -> usize {
    let begins = |line: &str| line.trim_start().trim_start_matches('"').starts_with(key);
    text.lines().position(begins).map_or(1, |at| at + 1)
}

/// Reads the text. Errors: where it is not what options have.
fn parse(text: &str) -> std::result::Result<Vec<(String, Vec<String>)>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        format!("line {line}: {}", error.message().replace('\n', ", "))
    })?;
    let tree = args::tree();
    let mut entries = Vec::new();
    for (key, value) in table {
        let bad = |why: &str| format!("line {}: option \"{key}\" {why}", line_of_key(text, &key));
        if NOT_IN_FILE.contains(&key.as_str()) {
            return Err(bad("cannot be set in a file, give it on the command line"));
        }
        let arg = option_of_any(&tree, &key).ok_or_else(|| {
            let near = nearest(&tree, &key);
            bad(&format!("is unknown, did you mean \"{near}\"?"))
        })?;
        let words = words(&key, &value, arg).ok_or_else(|| bad("has a value of the wrong type"))?;
        entries.push((key, words));
    }
    Ok(entries)
}

/// The option of this long name in any command.
fn option_of_any<'t>(tree: &'t Command, key: &str) -> Option<&'t Arg> {
    tree.get_subcommands()
        .flat_map(Command::get_arguments)
        .chain(tree.get_arguments())
        .find(|arg| has_name(arg, key))
}

fn has_name(arg: &Arg, key: &str) -> bool {
    arg.get_long() == Some(key) || arg.get_all_aliases().is_some_and(|all| all.contains(&key))
}

/// The known name with the longest common beginning.
fn nearest(tree: &Command, key: &str) -> String {
    let common = |name: &str| {
        name.chars()
            .zip(key.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };
    tree.get_subcommands()
        .flat_map(Command::get_arguments)
        .filter_map(Arg::get_long)
        .filter(|name| !NOT_IN_FILE.contains(name))
        .max_by_key(|name| (common(name), std::cmp::Reverse(name.len())))
        .unwrap_or("parallel")
        .to_owned()
}

/// A value as words; `None`: not of the option's type.
fn words(key: &str, value: &toml::Value, arg: &Arg) -> Option<Vec<String>> {
    let is_switch = matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::Count);
    let is_list = matches!(arg.get_action(), ArgAction::Append);
    match value {
        toml::Value::Boolean(on) if is_switch => {
            Some(on.then(|| format!("--{key}")).into_iter().collect())
        }
        toml::Value::String(text) if !is_switch => Some(vec![format!("--{key}={text}")]),
        toml::Value::Integer(number) if !is_switch && !is_list => {
            Some(vec![format!("--{key}={number}")])
        }
        toml::Value::Array(items) if is_list => items
            .iter()
            .map(|item| item.as_str().map(|text| format!("--{key}={text}")))
            .collect(),
        _ => None,
    }
}

impl ConfigFile {
    /// The connection strings of the target that the file gives, for a look at contradictions.
    pub(super) fn target(&self) -> Option<&str> {
        let names = ["--target=", "--dest="];
        self.entries
            .iter()
            .flat_map(|(_, words)| words)
            .find_map(|word| names.iter().find_map(|name| word.strip_prefix(name)))
    }

    /// Words to add to the command line: of options that this command has, and that neither the command line
    /// nor a variable sets.
    pub(super) fn words_for(
        &self,
        command: &Command,
        given: &ArgMatches,
        is_set: &dyn Fn(&str) -> bool,
    ) -> Vec<OsString> {
        let is_given = |long: &str| {
            let arg = command.get_arguments().find(|arg| has_name(arg, long));
            arg.is_some_and(|arg| {
                given.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
            })
        };
        let mut found = Vec::new();
        for (key, words) in &self.entries {
            let known = command.get_arguments().any(|arg| has_name(arg, key));
            let rivals = EITHER.iter().find(|group| group.contains(&key.as_str()));
            let rivalled = rivals
                .is_some_and(|group| group.iter().any(|other| is_given(other) || is_set(other)));
            if known && !is_given(key) && !is_set(key) && !rivalled {
                found.extend(words.iter().map(OsString::from));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_options_and_consent_is_none_of_them() {
        let good =
            parse("parallel = 8\ninclude = ['a', 'b.*']\nexact-rows = true\ninsert = false\n")
                .unwrap();
        let mut words: Vec<String> = good.into_iter().flat_map(|(_, words)| words).collect();
        // The order of keys means nothing, and the parser need not keep it.
        words.sort();
        assert_eq!(
            words,
            [
                "--exact-rows",
                "--include=a",
                "--include=b.*",
                "--parallel=8"
            ]
        );
        for (text, why) in [
            ("yes = true", "line 1: option \"yes\" cannot be set"),
            (
                "parallel = 1\nparalel = 2",
                "line 2: option \"paralel\" is unknown, did you mean \"parallel\"?",
            ),
            ("parallel = 1\nparallel = 2", "line 2"),
            ("[copy]\nparallel = 1", "line 1: option \"copy\" is unknown"),
            (
                "parallel = true",
                "line 1: option \"parallel\" has a value of the wrong type",
            ),
            ("exact-rows = 'yes'", "has a value of the wrong type"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
