//! From what was typed after `pgcopy` to what was meant: command line, then environment, then defaults.
//!
//! Runs in the main program. The target loses its rows, so doubt about it is an error.

use super::super::args::ModeArg;
use super::super::environment::Environment;
use super::args::{CopyArgs, OutputArg, RestoreArgs, SelectArgs, SourceArgs, TargetArgs};
use super::config::ConfigFile;
use crate::conninfo::ConnInfo;
use crate::datacopy::{
    Choice, CopySettings, End, ModeChoice, Pattern, Presentation, Show, Switches,
};
use crate::error::{Context, Error, Result};
use crate::workdir::Intent;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Workers without any setting.
const JOBS_DEFAULT: u32 = 4;
/// Size from which on tables are split without any setting, bytes.
const SPLIT_BYTES_DEFAULT: u64 = 1 << 30;
/// Rows in one INSERT without any setting.
const BATCH_DEFAULT: u32 = 1000;
/// Longest connection file, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What does not stand in the arguments of the command itself.
pub(super) struct Around<'a> {
    pub(super) environment: &'a Environment,
    /// Standard error is a terminal for people.
    pub(super) terminal: bool,
    /// Without secrets.
    pub(super) cmdline: String,
    pub(super) config: Option<&'a ConfigFile>,
}

/// A side as it was given.
struct Given<'a> {
    option: &'static str,
    text: Option<&'a String>,
    file: Option<&'a PathBuf>,
    file_option: &'static str,
    variables: [&'static str; 2],
}

/// Resolves the settings of `copy`. Errors are of kind `BadArgs`.
pub(super) fn copy(args: &CopyArgs, around: &Around<'_>) -> Result<CopySettings> {
    refuse_unsupported(args)?;
    let source = source(&args.source, around)?;
    let target = target(&args.target, around)?;
    let dir = dir(args.dir.as_ref(), &target, around.environment)?;
    let intent = match (args.restart, args.resume) {
        (true, _) => Intent::Restart,
        (false, true) => Intent::Resume,
        (false, false) => Intent::Fresh,
    };
    Ok(CopySettings {
        source,
        target,
        dir,
        neighbourhood: folder_of_dirs(around.environment),
        intent,
        jobs: args.parallel.unwrap_or(JOBS_DEFAULT),
        choice: choice(&args.select)?,
        mode: args.constraints.unwrap_or(ModeArg::Auto).choice(),
        insert: args
            .insert
            .then(|| args.batch_size.unwrap_or(BATCH_DEFAULT)),
        split_bytes: args.split_tables_larger_than.unwrap_or(SPLIT_BYTES_DEFAULT),
        presentation: Presentation {
            show: show(args, around),
            ..Presentation::plain()
        },
        switches: Switches {
            validate: args.validate,
            no_snapshot: args.no_snapshot,
            exact_rows: args.select.exact_rows,
            skip_analyze: args.skip_analyze,
            allow_same_system_id: args.allow_same_system_id,
            no_timeouts: args.no_timeouts,
        },
        cmdline: around.cmdline.clone(),
    })
}

fn refuse_unsupported(args: &CopyArgs) -> Result<()> {
    if args.output == Some(OutputArg::Web) {
        return Err(Error::bad_args("option --output web is not supported yet")
            .hint("Use --output interactive, or --output json for programs."));
    }
    if args.compress {
        return Err(Error::bad_args(
            "option --compress is not supported: the protocol of PostgreSQL has no compression, and one \
             process holds both ends",
        )
        .hint("Where the line is slow, connect through \"ssh -C\"."));
    }
    Ok(())
}

fn show(args: &CopyArgs, around: &Around<'_>) -> Show {
    match args.output {
        _ if args.no_progress => Show::Plain,
        Some(OutputArg::Progress) => Show::Progress,
        Some(OutputArg::Interactive) => Show::Interactive,
        Some(OutputArg::Json) => Show::Json,
        None if around.terminal => Show::Progress,
        Some(OutputArg::Plain | OutputArg::Web) | None => Show::Plain,
    }
}

/// The selection.
pub(super) fn choice(args: &SelectArgs) -> Result<Choice> {
    let patterns = |lists: &[String], option: &str| -> Result<Vec<Pattern>> {
        let mut found = Vec::new();
        for list in lists {
            let more = Pattern::parse_list(list).context(|| format!("option {option}"))?;
            found.extend(more);
        }
        Ok(found)
    };
    Ok(Choice {
        schemas: args.schema.clone(),
        include: patterns(&args.include, "--include")?,
        exclude: patterns(&args.exclude, "--exclude")?,
    })
}

/// Resolves the settings of `restore-constraints`.
pub(super) fn restore(args: &RestoreArgs, around: &Around<'_>) -> Result<CopySettings> {
    let target = target(&args.target, around)?;
    let dir = dir(args.dir.as_ref(), &target, around.environment)?;
    Ok(CopySettings {
        source: End {
            text: String::new(),
            from: String::new(),
        },
        target,
        dir,
        neighbourhood: folder_of_dirs(around.environment),
        intent: Intent::Resume,
        jobs: args.parallel.unwrap_or(JOBS_DEFAULT),
        choice: Choice::default(),
        mode: ModeChoice::Auto,
        insert: None,
        split_bytes: 0,
        presentation: Presentation::plain(),
        switches: Switches {
            no_timeouts: args.no_timeouts,
            ..Switches::default()
        },
        cmdline: around.cmdline.clone(),
    })
}

/// The source's connection string.
pub(super) fn source(args: &SourceArgs, around: &Around<'_>) -> Result<End> {
    one(
        &Given {
            option: "--source",
            text: args.source.as_ref(),
            file: args.source_file.as_ref(),
            file_option: "--source-file",
            variables: ["PGCOPY_SOURCE", "PGCOPYDB_SOURCE_PGURI"],
        },
        around.environment,
    )
}

/// The target's connection string.
fn target(args: &TargetArgs, around: &Around<'_>) -> Result<End> {
    if let (Some(target), Some(dest)) = (&args.target, &args.dest)
        && target != dest
    {
        return Err(
            Error::bad_args("options --target and --dest name different databases")
                .hint("Give only one of them."),
        );
    }
    let (option, text) = match (&args.target, &args.dest) {
        (None, Some(dest)) => ("--dest", Some(dest)),
        (target, _) => ("--target", target.as_ref()),
    };
    let end = one(
        &Given {
            option,
            text,
            file: args.target_file.as_ref(),
            file_option: "--target-file",
            variables: ["PGCOPY_TARGET", "PGCOPYDB_TARGET_PGURI"],
        },
        around.environment,
    )?;
    let explicit = around.config.filter(|config| config.is_explicit);
    if let Some(other) = explicit.and_then(ConfigFile::target)
        && end.from.starts_with("PGC")
        && other != end.text
    {
        return Err(Error::bad_args(format!(
            "variable {} and the file of --config name different targets",
            end.from
        ))
        .hint("Unset the variable, or give --target."));
    }
    Ok(end)
}

fn one(given: &Given<'_>, environment: &Environment) -> Result<End> {
    let Given {
        option,
        file_option,
        variables,
        ..
    } = given;
    if given.text.is_some() && given.file.is_some() {
        return Err(
            Error::bad_args(format!("options {option} and {file_option} are both given"))
                .hint("Give only one of them."),
        );
    }
    if let Some(text) = given.text {
        return Ok(End {
            text: text.clone(),
            from: (*option).to_owned(),
        });
    }
    if let Some(path) = given.file {
        return Ok(End {
            text: read_file(path)?,
            from: format!("{file_option} {}", path.display()),
        });
    }
    for variable in variables {
        let value = environment
            .get_os(variable)
            .filter(|value| !value.is_empty());
        if let Some(value) = value {
            let text = value.into_string().map_err(|_| {
                Error::bad_args(format!("environment variable {variable} is not UTF-8"))
                    .hint("Write other bytes of a URI percent-encoded.")
            })?;
            return Ok(End {
                text,
                from: (*variable).to_owned(),
            });
        }
    }
    Err(Error::bad_args(format!(
        "no connection string: neither {option} nor {file_option} is given, {} and {} are not set",
        variables[0], variables[1]
    ))
    .hint(format!("Give {option}.")))
}

/// Reads a connection file: the one line that is neither blank nor a comment.
fn read_file(path: &Path) -> Result<String> {
    use std::io::Read;
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        Error::bad_args(format!(
            "could not read connection file \"{shown}\": {error}"
        ))
        .hint("Check the path and its permissions.")
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(Error::bad_args(format!(
            "connection file \"{shown}\" does not hold exactly one line that is neither blank nor a comment"
        ))
        .hint("Write one connection string into it."));
    };
    if mode & 0o077 != 0 && crate::conninfo::redact(line) != line {
        super::super::output::to_stderr(&format!(
            "WARN: connection file \"{shown}\" holds a password and can be read by other users; use: chmod 600 {shown}\n"
        ));
    }
    Ok(line.to_owned())
}

/// The work directory: the one given, or one for this target below the state folder of the user.
pub(super) fn dir(
    given: Option<&PathBuf>,
    target: &End,
    environment: &Environment,
) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir.clone());
    }
    let folder = folder_of_dirs(environment).ok_or_else(|| {
        Error::bad_args("there is no place for the work directory: HOME is not set")
            .hint("Give one with --dir; it keeps the record of removed foreign keys.")
    })?;
    let conn = ConnInfo::parse(&target.text, &|name| environment.get(name))
        .context(|| "reading the connection string of the target".to_owned())?;
    Ok(folder.join(dir_name(&conn)))
}

/// Where work directories are made that nobody names.
pub(in crate::cli) fn folder_of_dirs(environment: &Environment) -> Option<PathBuf> {
    let set = |name| environment.get_os(name).filter(|value| !value.is_empty());
    let base = set("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/state")))?;
    Some(base.join("pgcopy"))
}

fn dir_name(conn: &ConnInfo) -> String {
    let host = conn
        .get("host")
        .or_else(|| conn.get("hostaddr"))
        .unwrap_or("local");
    let port = conn.get("port").unwrap_or("5432");
    let plain = format!("{host}_{port}_{}", conn.dbname());
    let safe: String = plain
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || ".-_".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{safe}-{:08x}", hash(&plain))
}

/// FNV-1a: the same for ever, which the hasher of the standard library is not.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_work_directory_belongs_to_the_target_whoever_connects() {
        let name = |text: &str| dir_name(&ConnInfo::parse(text, &|_| None).unwrap());
        let one = name("postgres://app:secret@db.example:5433/shop");
        assert_eq!(
            one,
            name("host=db.example port=5433 dbname=shop user=other")
        );
        assert!(one.starts_with("db.example_5433_shop-"), "{one}");
        assert_ne!(one, name("postgres://app@db.example:5434/shop"));
        assert_eq!(hash(""), 0x811c_9dc5);
        assert_eq!(hash("a"), 0xe40c_292c);
    }
}
