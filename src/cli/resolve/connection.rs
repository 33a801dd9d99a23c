//! The two connection strings: from options, files or variables.
//!
//! Runs in the main program. Reads the files that `--source-file` and its kin name. No error text ever
//! holds a connection string.

use super::super::args::ConnectionArgs;
use super::super::environment::Environment;
use crate::error::{Error, Result};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Longest file that is taken for a connection string, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Both connection strings, with their secrets.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cli) struct Connections {
    /// Of the source.
    pub(in crate::cli) source: String,
    /// Of the target.
    pub(in crate::cli) target: String,
}

/// One side as it was given.
struct Given<'a> {
    text: Option<&'a String>,
    file: Option<&'a PathBuf>,
    variable: &'static str,
    file_variable: &'static str,
}

/// Finds both connection strings. Errors: one is missing, or its file cannot be used (`BadArgs`).
pub(in crate::cli) fn connections(
    args: &ConnectionArgs,
    environment: &Environment,
) -> Result<Connections> {
    match sides(args, environment, (true, true))? {
        (Some(source), Some(target)) => Ok(Connections { source, target }),
        (source, target) => Err(missing(source.is_none(), target.is_none())),
    }
}

/// Finds the connection strings of the sides that a command takes, source and target.
pub(super) fn sides(
    args: &ConnectionArgs,
    environment: &Environment,
    (with_source, with_target): (bool, bool),
) -> Result<(Option<String>, Option<String>)> {
    let source = Given {
        text: args.source.as_ref(),
        file: args.source_file.as_ref(),
        variable: "PGCOPYDB_SOURCE_PGURI",
        file_variable: "PGCOPYDB_SOURCE_PGURI_FILE",
    };
    let target = Given {
        text: args.target.as_ref(),
        file: args.target_file.as_ref(),
        variable: "PGCOPYDB_TARGET_PGURI",
        file_variable: "PGCOPYDB_TARGET_PGURI_FILE",
    };
    let find = |is_taken: bool, given: &Given<'_>| {
        if is_taken {
            one(given, environment)
        } else {
            Ok(None)
        }
    };
    Ok((find(with_source, &source)?, find(with_target, &target)?))
}

/// The error for one side that a command cannot do without.
pub(super) fn missing_side(option: &str, variable: &str) -> Error {
    Error::bad_args(format!("Option {option} is mandatory"))
        .hint(format!("Give the option, or set {variable}."))
}

/// The connection string of a command that needs the source alone. Errors (`BadArgs`): it is missing, or
/// its file cannot be used.
pub(in crate::cli) fn source_only(
    text: Option<&String>,
    file: Option<&PathBuf>,
    environment: &Environment,
) -> Result<String> {
    let given = Given {
        text,
        file,
        variable: "PGCOPYDB_SOURCE_PGURI",
        file_variable: "PGCOPYDB_SOURCE_PGURI_FILE",
    };
    one(&given, environment)?.ok_or_else(|| {
        Error::bad_args("Option --source is mandatory")
            .hint("Give the option, or set PGCOPYDB_SOURCE_PGURI.")
    })
}

/// The same for the target.
pub(in crate::cli) fn target_only(
    text: Option<&String>,
    file: Option<&PathBuf>,
    environment: &Environment,
) -> Result<String> {
    let given = Given {
        text,
        file,
        variable: "PGCOPYDB_TARGET_PGURI",
        file_variable: "PGCOPYDB_TARGET_PGURI_FILE",
    };
    one(&given, environment)?.ok_or_else(|| {
        Error::bad_args("Option --target is mandatory")
            .hint("Give the option, or set PGCOPYDB_TARGET_PGURI.")
    })
}

fn missing(source: bool, target: bool) -> Error {
    let variables: Vec<&str> = [
        (source, "PGCOPYDB_SOURCE_PGURI"),
        (target, "PGCOPYDB_TARGET_PGURI"),
    ]
    .into_iter()
    .filter_map(|(missing, name)| missing.then_some(name))
    .collect();
    Error::bad_args("Options --source and --target are mandatory").hint(format!(
        "Give the options, or set {}.",
        variables.join(" and ")
    ))
}

fn one(given: &Given<'_>, environment: &Environment) -> Result<Option<String>> {
    if let Some(text) = given.text {
        return Ok(Some(text.clone()));
    }
    if let Some(path) = given.file {
        return read_file(path).map(Some);
    }
    let set = |name| {
        environment
            .get_os(name)
            .filter(|value: &OsString| !value.is_empty())
    };
    if let Some(text) = set(given.variable) {
        return text.into_string().map(Some).map_err(|_| {
            Error::bad_args(format!(
                "environment variable {} is not UTF-8",
                given.variable
            ))
            .hint("Write other bytes of a URI percent-encoded.")
        });
    }
    match set(given.file_variable) {
        Some(path) => read_file(Path::new(&path)).map(Some),
        None => Ok(None),
    }
}

/// Reads a connection string from a file that only its owner can read; blanks around it are left out.
fn read_file(path: &Path) -> Result<String> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Error::bad_args(format!(
            "could not read connection string file \"{shown}\": {error}"
        ))
        .hint("Check the path and its permissions.")
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::bad_args(format!(
            "connection string file \"{shown}\" can be used by other users"
        ))
        .detail(format!("Its mode is {:04o}.", mode & 0o7777))
        .hint(format!("Use: chmod 600 {shown}")));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let text = text.trim();
    if text.is_empty() {
        return Err(
            Error::bad_args(format!("connection string file \"{shown}\" is empty"))
                .hint("Write one connection string into it."),
        );
    }
    Ok(text.to_owned())
}
