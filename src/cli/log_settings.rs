//! How the program logs: from options and variables to the settings of `logging`.
//!
//! Runs in the main program before logging is set up, so that its errors are printed plainly.

use super::args::{Globals, LogFormat, LogLevel, value};
use super::environment::Environment;
use super::resolve::bad_variable;
use crate::error::Result;
use crate::logging::{LogSettings, Verbosity};
use std::path::PathBuf;

const TIME_FORMAT: &str = "PGCOPYDB_LOG_TIME_FORMAT";

/// Resolves how to log. Errors: a bad value of a variable (`BadArgs`).
pub(super) fn resolve(globals: &Globals, environment: &Environment) -> Result<LogSettings> {
    let json = switch("PGCOPYDB_LOG_JSON", environment)?;
    let file_json = switch("PGCOPYDB_LOG_JSON_FILE", environment)?;
    let set = |name| environment.get_os(name).filter(|value| !value.is_empty());
    Ok(LogSettings {
        verbosity: verbosity(globals),
        json: globals
            .log_format
            .map_or(json, |format| format == LogFormat::Json),
        file: globals
            .log_file
            .clone()
            .or_else(|| set("PGCOPYDB_LOG_FILENAME").map(PathBuf::from)),
        file_json,
        time_format: environment
            .get(TIME_FORMAT)
            .filter(|text| !text.is_empty())
            .map(|text| {
                value::time_format(&text)
                    .map_err(|accepted| bad_variable(TIME_FORMAT, &text, &accepted))
            })
            .transpose()?,
    })
}

fn switch(name: &'static str, environment: &Environment) -> Result<bool> {
    environment.get(name).map_or(Ok(false), |text| {
        value::boolean(&text).map_err(|accepted| bad_variable(name, &text, &accepted))
    })
}

/// The most talkative of what was asked for.
fn verbosity(globals: &Globals) -> Verbosity {
    let counted = match globals.verbose {
        0 => Verbosity::Info,
        1 => Verbosity::Notice,
        2 => Verbosity::Sql,
        3 => Verbosity::Debug,
        _ => Verbosity::Trace,
    };
    let level = globals.log_level.map(|level| match level {
        LogLevel::Trace => Verbosity::Trace,
        LogLevel::Debug => Verbosity::Debug,
        LogLevel::Sql => Verbosity::Sql,
        LogLevel::Notice => Verbosity::Notice,
        LogLevel::Info => Verbosity::Info,
        LogLevel::Error => Verbosity::Error,
    });
    match (globals.quiet, level, globals.trace, globals.debug) {
        (true, ..) => Verbosity::Error,
        (_, Some(level), ..) => level,
        (_, _, true, _) => Verbosity::Trace,
        (_, _, _, true) => counted.min(Verbosity::Debug),
        _ => counted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_v_shows_one_level_more() {
        let shown = [0, 1, 2, 3, 4, 9].map(|verbose| {
            verbosity(&Globals {
                verbose,
                ..Globals::default()
            })
        });
        let expected = [
            Verbosity::Info,
            Verbosity::Notice,
            Verbosity::Sql,
            Verbosity::Debug,
            Verbosity::Trace,
            Verbosity::Trace,
        ];
        assert_eq!(shown, expected);
        let debug = Globals {
            debug: true,
            verbose: 1,
            ..Globals::default()
        };
        assert_eq!(verbosity(&debug), Verbosity::Debug);
    }

    #[test]
    fn variables_of_logging_are_read_and_bad_ones_named() {
        let good = Environment::of(&[
            ("PGCOPYDB_LOG_JSON", "on"),
            ("PGCOPYDB_LOG_JSON_FILE", "yes"),
            ("PGCOPYDB_LOG_FILENAME", "/x/log"),
            ("PGCOPYDB_LOG_TIME_FORMAT", "%H"),
        ]);
        let settings = resolve(&Globals::default(), &good).unwrap();
        assert!(settings.json && settings.file_json);
        assert_eq!(settings.file, Some(PathBuf::from("/x/log")));
        assert_eq!(settings.time_format.as_deref(), Some("%H"));
        let text = Globals {
            log_format: Some(LogFormat::Text),
            ..Globals::default()
        };
        assert!(!resolve(&text, &good).unwrap().json);
        for name in ["PGCOPYDB_LOG_JSON", "PGCOPYDB_LOG_JSON_FILE"] {
            let error =
                resolve(&Globals::default(), &Environment::of(&[(name, "banana")])).unwrap_err();
            assert!(error.message().contains(name) && error.message().contains("banana"));
            assert_eq!(error.kind().exit_code(), 1);
        }
        for bad in ["%Q", "%H:%", "%-"] {
            let bad = Environment::of(&[(TIME_FORMAT, bad)]);
            assert!(resolve(&Globals::default(), &bad).is_err());
        }
        for good in ["%F %T", "%-d %Ex 100%%", "at %s"] {
            let good = Environment::of(&[(TIME_FORMAT, good)]);
            assert!(resolve(&Globals::default(), &good).is_ok());
        }
    }
}
