//! Finding and reading the configuration file.
//!
//! Runs in the main program. Reads one file, writes nothing. No error text holds a value that may be a
//! connection string.

use super::super::environment::Environment;
use super::super::resolve::default_dir;
use super::is_switch;
use crate::error::{Error, Result};
use crate::workdir::Layout;
use clap::{Arg, ArgMatches};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Longest configuration file, bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration file that was read.
#[derive(Debug)]
pub(in crate::cli) struct ConfigFile {
    /// Where it is.
    pub(in crate::cli) path: PathBuf,
    /// Its entries in their order.
    pub(in crate::cli) entries: Vec<Entry>,
}

/// One line.
#[derive(Debug, PartialEq)]
pub(in crate::cli) struct Entry {
    /// The option's long name without dashes.
    pub(in crate::cli) key: String,
    /// Its value.
    pub(in crate::cli) value: Value,
    /// Where it stands, from 1.
    pub(in crate::cli) line: usize,
}

/// A value of TOML, as far as options have such.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Value {
    /// A string.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A boolean.
    Switch(bool),
}

impl Value {
    /// As it can be shown: without passwords.
    pub(in crate::cli) fn shown(&self) -> String {
        match self {
            Self::Text(text) => format!("\"{}\"", crate::conninfo::redact(text)),
            Self::Number(number) => number.to_string(),
            Self::Switch(switch) => switch.to_string(),
        }
    }
}

impl Entry {
    /// The entry as an argument of this option; `None`: it is not one, or a switch that stays off.
    pub(super) fn as_argument(&self, arg: &Arg) -> Option<String> {
        let key = &self.key;
        let optional = arg
            .get_num_args()
            .is_some_and(|count| count.min_values() == 0);
        match &self.value {
            Value::Switch(true) if is_switch(arg) || optional => Some(format!("--{key}")),
            Value::Text(text) if !is_switch(arg) => Some(format!("--{key}={text}")),
            Value::Number(number) if !is_switch(arg) => Some(format!("--{key}={number}")),
            _ => None,
        }
    }
}

impl ConfigFile {
    /// Reads the file of `--config`, else that of `PGCOPYDB_CONFIG`, else `config.toml` of the work
    /// directory if there is one.
    pub(in crate::cli) fn find(
        given: &ArgMatches,
        environment: &Environment,
    ) -> Result<Option<Self>> {
        let option = |id| given.try_get_one::<PathBuf>(id).ok().flatten().cloned();
        Self::find_at(option("config"), option("dir"), environment)
    }

    /// The same, with the values of `--config` and `--dir`.
    pub(in crate::cli) fn find_at(
        config: Option<PathBuf>,
        dir: Option<PathBuf>,
        environment: &Environment,
    ) -> Result<Option<Self>> {
        let variable = environment
            .get_os("PGCOPYDB_CONFIG")
            .filter(|value| !value.is_empty());
        if let Some(path) = config.or_else(|| variable.map(PathBuf::from)) {
            let (file, _) = open(&path)?.ok_or_else(|| {
                Error::bad_args(format!(
                    "configuration file \"{}\" does not exist",
                    path.display()
                ))
                .hint("Check the value of --config or PGCOPYDB_CONFIG.")
            })?;
            return Self::read(&path, file, environment).map(Some);
        }
        let dir = dir.unwrap_or_else(|| default_dir(environment));
        let path = Layout::new(dir).config();
        let Some((file, owner)) = open(&path)? else {
            return Ok(None);
        };
        // The default directory lies where everybody can make one.
        if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
            return Err(Error::bad_args(format!(
                "configuration file \"{}\" belongs to another user",
                path.display()
            ))
            .hint("Give another work directory with --dir, or name the file with --config."));
        }
        Self::read(&path, file, environment).map(Some)
    }

    fn read(path: &Path, mut file: File, environment: &Environment) -> Result<Self> {
        let shown = path.display();
        let unreadable = |error: std::io::Error| {
            Error::bad_args(format!(
                "could not read configuration file \"{shown}\": {error}"
            ))
            .hint("Check the path and its permissions.")
        };
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        let mut text = String::new();
        std::io::Read::by_ref(&mut file)
            .take(FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        if mode & 0o002 != 0 {
            return Err(Error::bad_args(format!(
                "configuration file \"{shown}\" can be written by every user"
            ))
            .hint(format!("Use: chmod o-w {shown}")));
        }
        let entries = parse(&text).map_err(|why| {
            Error::bad_args(format!("configuration file \"{shown}\": {why}"))
                .hint("Each line is an option and its value, such as table-jobs = 8.")
        })?;
        let read = Self {
            path: path.to_path_buf(),
            entries,
        };
        // Of a string that cannot be read nobody knows what in it is a password.
        read.check_connections(environment)?;
        let holds_password = read.entries.iter().any(|entry| match &entry.value {
            Value::Text(text) => crate::conninfo::redact(text) != *text,
            _ => false,
        });
        if holds_password && mode & 0o077 != 0 {
            return Err(Error::bad_args(format!(
                "configuration file \"{shown}\" holds a password and can be read by other users"
            ))
            .detail(format!("Its mode is {:04o}.", mode & 0o7777))
            .hint(format!("Use: chmod 600 {shown}")));
        }
        Ok(read)
    }
}

/// The line of a position in a text.
fn line_at(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or("").matches('\n').count() + 1
}

/// The line of each key of a text that is TOML.
fn lines_of_keys(text: &str) -> BTreeMap<String, usize> {
    let table = toml::de::DeTable::parse(text).map(toml::Spanned::into_inner);
    table
        .unwrap_or_default()
        .keys()
        .map(|key| {
            let line = line_at(text, key.span().start);
            (key.get_ref().to_string(), line)
        })
        .collect()
}

/// Opens a file; its owner comes along. `None`: there is none.
fn open(path: &Path) -> Result<Option<(File, u32)>> {
    let opened = File::open(path).and_then(|file| {
        let owner = file.metadata()?.uid();
        Ok((file, owner))
    });
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(Error::bad_args(format!(
            "could not open configuration file \"{}\": {error}",
            path.display()
        ))
        .hint("Check the path and its permissions.")),
    }
}

/// Reads the text of a file. Errors: where it is not TOML, or not of the kind that options have.
pub(super) fn parse(text: &str) -> std::result::Result<Vec<Entry>, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        // The message alone: the parser's own text shows the line, which may hold a password.
        let at = error.span().map_or(0, |span| span.start);
        let line = line_at(text, at);
        format!("line {line}: {}", error.message().replace('\n', ", "))
    })?;
    let lines = lines_of_keys(text);
    let mut entries = Vec::new();
    for (key, value) in table {
        let value = match value {
            toml::Value::String(text) => Value::Text(text),
            toml::Value::Integer(number) => Value::Number(number),
            toml::Value::Boolean(switch) => Value::Switch(switch),
            _ => {
                return Err(format!(
                    "option \"{key}\": expected a string, a whole number, true or false"
                ));
            }
        };
        let line = lines.get(&key).copied().unwrap_or(1);
        entries.push(Entry { key, value, line });
    }
    Ok(entries)
}
