//! Log lines: their format, their levels, the log file, and the scrubbing of secrets.
//!
//! Runs in every process; [`init`] once in the supervisor before the first fork, children inherit it.
//! Writes standard error and, when asked, a log file opened for append. One line is one `write`, so
//! lines of several processes never mix. Row values are never logged.
//!
//! Levels beyond those of the `log` crate are targets: `notice!`, `sql!` and `fatal!`.

use crate::error::{Error, Kind, Result};
use crate::sys::clock;
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Longest line on standard error, bytes: pipes keep writes up to this size whole.
const STDERR_LINE_MAX: usize = 4096;

/// Target of records with level NOTICE.
pub const NOTICE: &str = "pgcopydb::notice";
/// Target of records with level SQL.
pub const SQL: &str = "pgcopydb::sql";
/// Target of records with level FATAL.
pub const FATAL: &str = "pgcopydb::fatal";

/// Logs starts and ends of processes, statements of the server, object details.
#[macro_export]
macro_rules! notice {
    ($($arg:tt)+) => { log::log!(target: $crate::logging::NOTICE, log::Level::Debug, $($arg)+) };
}

/// Logs a statement sent to a server.
#[macro_export]
macro_rules! sql {
    ($($arg:tt)+) => { log::log!(target: $crate::logging::SQL, log::Level::Debug, $($arg)+) };
}

/// Logs the error that ends the program.
#[macro_export]
macro_rules! fatal {
    ($($arg:tt)+) => { log::log!(target: $crate::logging::FATAL, log::Level::Error, $($arg)+) };
}

/// How much is logged, with the numbers that JSON lines carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Bytes and frames.
    Trace = 0,
    /// Decisions.
    Debug = 2,
    /// Statements.
    Sql = 3,
    /// Starts and ends of processes, details of objects.
    Notice = 4,
    /// What an operator follows.
    Info = 5,
    /// Errors only.
    Error = 7,
}

/// What [`init`] sets up.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// How much is logged.
    pub verbosity: Verbosity,
    /// JSON objects on standard error.
    pub json: bool,
    /// Also log to this file.
    pub file: Option<PathBuf>,
    /// JSON objects in that file.
    pub file_json: bool,
    /// strftime format of the time, `None` for the default of the place.
    pub time_format: Option<String>,
}

static SECRETS: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
static LOG_FILE: AtomicI32 = AtomicI32::new(-1);
static SCOPE: OnceLock<String> = OnceLock::new();
static WARNINGS: AtomicU64 = AtomicU64::new(0);
static PROGRESS_SHOWN: AtomicBool = AtomicBool::new(false);
static TERMINAL_MUTED: AtomicBool = AtomicBool::new(false);

/// Remembers a secret that no log line may show; short ones (under 4 bytes) would blank out
/// ordinary words and are kept out of logs by never being formatted at all.
pub fn register_secret(secret: &str) {
    if secret.len() < 4 {
        return;
    }
    let secrets = SECRETS.get_or_init(Mutex::default);
    let mut secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner);
    if !secrets.iter().any(|known| known == secret) {
        secrets.push(secret.to_owned());
        secrets.sort_by_key(|known| std::cmp::Reverse(known.len()));
    }
}

/// Replaces every registered secret by `***`.
pub fn scrub(text: &str) -> String {
    let Some(secrets) = SECRETS.get() else {
        return text.to_owned();
    };
    let secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner);
    let mut clean = text.to_owned();
    for secret in secrets
        .iter()
        .filter(|secret| text.contains(secret.as_str()))
    {
        clean = clean.replace(secret.as_str(), "***");
    }
    clean
}

/// What all lines of this process begin with, once for a process: the database that it works for, where
/// several are worked on side by side.
pub fn set_scope(scope: &str) {
    let _once = SCOPE.set(scope.to_owned());
}

/// Says that a progress line stands on the terminal, so that log lines wipe it first.
pub fn set_progress_shown(shown: bool) {
    PROGRESS_SHOWN.store(shown, Ordering::Relaxed);
}

/// Says that the whole terminal is taken: log lines go into the file alone. Children inherit it.
pub fn set_terminal_muted(muted: bool) {
    TERMINAL_MUTED.store(muted, Ordering::Relaxed);
}

/// Descriptor of the log file, -1 without one: a child must keep it, as it goes on writing there.
pub fn file_descriptor() -> i32 {
    LOG_FILE.load(Ordering::Relaxed)
}

/// Warnings that this process has logged.
pub fn warning_count() -> u64 {
    WARNINGS.load(Ordering::Relaxed)
}

/// Name and JSON number of a record's level.
fn level_of(record: &Metadata<'_>) -> (&'static str, u8) {
    match record.target() {
        NOTICE => ("NOTICE", 4),
        SQL => ("SQL", 3),
        FATAL => ("FATAL", 8),
        _ => match record.level() {
            Level::Error => ("ERROR", 7),
            Level::Warn => ("WARN", 6),
            Level::Info => ("INFO", 5),
            Level::Debug => ("DEBUG", 2),
            Level::Trace => ("TRACE", 0),
        },
    }
}

/// Where one copy of each line goes.
struct Outlet {
    file: Option<File>,
    json: bool,
    colour: bool,
    time_format: String,
}

impl Outlet {
    fn write(&self, record: &Record<'_>, message: &str) {
        if self.file.is_none() && TERMINAL_MUTED.load(Ordering::Relaxed) {
            return;
        }
        let now = clock::local_time(&self.time_format);
        let pid = std::process::id();
        let (name, number) = level_of(record.metadata());
        let mut out = String::new();
        if self.file.is_none() && PROGRESS_SHOWN.load(Ordering::Relaxed) {
            out.push_str("\r\x1b[K");
        }
        if self.json {
            let line = serde_json::json!({
                "timestamp": now, "pid": pid, "error_level": number, "error_severity": name,
                "file_name": record.file().unwrap_or(""),
                "file_line_num": record.line().unwrap_or(0), "message": message,
            });
            out.push_str(&line.to_string());
            out.push('\n');
        } else {
            for line in message.lines() {
                let colour = if self.colour {
                    level_colour(name)
                } else {
                    ("", "")
                };
                let mut text = format!("{now} {pid} {}{name:<6}{} {line}", colour.0, colour.1);
                if self.file.is_none() && text.len() >= STDERR_LINE_MAX {
                    let mut end = STDERR_LINE_MAX - 8;
                    while !text.is_char_boundary(end) {
                        end -= 1;
                    }
                    text.truncate(end);
                    text.push_str(" ...");
                }
                out.push_str(&text);
                out.push('\n');
            }
        }
        // A log line that cannot be written has nowhere to be reported.
        let _ignored = match &self.file {
            Some(file) => {
                let mut file = file;
                file.write_all(out.as_bytes())
            }
            None => std::io::stderr().lock().write_all(out.as_bytes()),
        };
    }
}

/// Colours of level names on a terminal, as operators know them.
fn level_colour(name: &str) -> (&'static str, &'static str) {
    match name {
        "FATAL" => ("\x1b[35m", "\x1b[0m"),
        "ERROR" => ("\x1b[31m", "\x1b[0m"),
        "WARN" => ("\x1b[33m", "\x1b[0m"),
        "INFO" => ("\x1b[32m", "\x1b[0m"),
        "NOTICE" => ("\x1b[36m", "\x1b[0m"),
        _ => ("", ""),
    }
}

/// The filter of `env_logger` in front of our own outlets.
struct Logger {
    filter: env_logger::Logger,
    outlets: Vec<Outlet>,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.filter.matches(record) {
            return;
        }
        if record.level() == Level::Warn {
            WARNINGS.fetch_add(1, Ordering::Relaxed);
        }
        let mut message = scrub(&record.args().to_string());
        if let Some(scope) = SCOPE.get() {
            message = format!("{scope}: {message}");
        }
        for outlet in &self.outlets {
            outlet.write(record, &message);
        }
    }

    fn flush(&self) {}
}

/// Sets up logging for this process and all its children. Errors: the log file cannot be opened
/// ([`Kind::BadArgs`]), or logging is already set up ([`Kind::Internal`]).
pub fn init(settings: &LogSettings) -> Result<()> {
    let mut filter = env_logger::Builder::new();
    let base = match settings.verbosity {
        Verbosity::Error => LevelFilter::Error,
        Verbosity::Info | Verbosity::Notice | Verbosity::Sql => LevelFilter::Info,
        Verbosity::Debug => LevelFilter::Debug,
        Verbosity::Trace => LevelFilter::Trace,
    };
    // Other crates' chatter (tokio_postgres, mio) is never ours to show.
    filter
        .filter_level(LevelFilter::Off)
        .filter_module("pgcopydb", base);
    if settings.verbosity <= Verbosity::Notice {
        filter.filter_module(NOTICE, LevelFilter::Debug);
    }
    if settings.verbosity <= Verbosity::Sql {
        filter.filter_module(SQL, LevelFilter::Debug);
    }
    let terminal = std::io::stderr().is_terminal();
    let default_format = if terminal && !settings.json {
        "%H:%M:%S"
    } else {
        "%Y-%m-%d %H:%M:%S"
    };
    let time_format = |default: &str| settings.time_format.clone().unwrap_or(default.to_owned());
    let mut outlets = vec![Outlet {
        file: None,
        json: settings.json,
        colour: terminal && !settings.json,
        time_format: time_format(default_format),
    }];
    if let Some(path) = &settings.file {
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| {
                Error::new(
                    Kind::BadArgs,
                    format!("could not open log file \"{}\": {error}", path.display()),
                )
                .hint("Check PGCOPYDB_LOG_FILENAME.")
            })?;
        LOG_FILE.store(file.as_raw_fd(), Ordering::Relaxed);
        outlets.push(Outlet {
            file: Some(file),
            json: settings.file_json,
            colour: false,
            time_format: time_format("%Y-%m-%d %H:%M:%S"),
        });
    }
    let max_level = match settings.verbosity {
        Verbosity::Error => LevelFilter::Error,
        Verbosity::Info => LevelFilter::Info,
        Verbosity::Notice | Verbosity::Sql | Verbosity::Debug => LevelFilter::Debug,
        Verbosity::Trace => LevelFilter::Trace,
    };
    log::set_boxed_logger(Box::new(Logger {
        filter: filter.build(),
        outlets,
    }))
    .map_err(|_| Error::internal("logging was set up twice"))?;
    log::set_max_level(max_level);
    Ok(())
}

/// Prints the one error that ends a process: message as `FATAL` or `ERROR`, then its other lines.
pub fn report_error(error: &Error, fatal: bool) {
    for line in error.lines() {
        if fatal {
            fatal!("{line}");
        } else {
            log::error!("{line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_secrets_are_blanked_out() {
        register_secret("s3cr3t-word");
        assert_eq!(scrub("a s3cr3t-word b"), "a *** b");
    }
}
