//! Every variable of the environment that stands for an option: which, of what kind, what holds without.
//!
//! Runs in the main program before a command begins. A bad value is an error in every command, even where
//! an option overrides it, as the next command without the option would get it.

use super::super::args::value;
use super::super::environment::Environment;
use super::super::resolve::bad_variable;
use crate::conninfo::ConnInfo;
use crate::error::{Context, Result};

/// What a value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum ValueKind {
    /// Any text; an empty one counts as not set.
    Text,
    /// A connection string, whose password is not shown.
    Connection,
    /// A number of workers.
    Jobs,
    /// A number of parts.
    Parts,
    /// A size.
    Bytes,
    /// A boolean.
    Switch,
    /// A decoding plugin of the source.
    Plugin,
    /// A TCP port.
    Port,
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Variable {
    /// Its name.
    pub(in crate::cli) name: &'static str,
    /// Long name of the option that it stands for, without dashes.
    pub(in crate::cli) option: &'static str,
    /// What its value looks like.
    pub(in crate::cli) kind: ValueKind,
    /// What holds without it; empty: nothing.
    pub(in crate::cli) default: &'static str,
    /// The `list` commands read it.
    in_list: bool,
}

const fn row(
    name: &'static str,
    option: &'static str,
    kind: ValueKind,
    default: &'static str,
) -> Variable {
    Variable {
        name,
        option,
        kind,
        default,
        in_list: false,
    }
}

const fn listed(variable: Variable) -> Variable {
    Variable {
        in_list: true,
        ..variable
    }
}

/// All of them, in the order in which they are shown.
pub(in crate::cli) const VARIABLES: [Variable; 30] = {
    use ValueKind::{Bytes, Connection, Jobs, Parts, Plugin, Port, Switch, Text};
    [
        listed(row("PGCOPYDB_SOURCE_PGURI", "source", Connection, "")),
        row("PGCOPYDB_TARGET_PGURI", "target", Connection, ""),
        listed(row("PGCOPYDB_SOURCE_PGURI_FILE", "source-file", Text, "")),
        row("PGCOPYDB_TARGET_PGURI_FILE", "target-file", Text, ""),
        row("PGCOPYDB_TABLE_JOBS", "table-jobs", Jobs, "4"),
        row("PGCOPYDB_INDEX_JOBS", "index-jobs", Jobs, "4"),
        row("PGCOPYDB_RESTORE_JOBS", "restore-jobs", Jobs, ""),
        row(
            "PGCOPYDB_LARGE_OBJECTS_JOBS",
            "large-objects-jobs",
            Jobs,
            "4",
        ),
        listed(row(
            "PGCOPYDB_SPLIT_TABLES_LARGER_THAN",
            "split-tables-larger-than",
            Bytes,
            "1 GB",
        )),
        listed(row(
            "PGCOPYDB_SPLIT_MAX_PARTS",
            "split-max-parts",
            Parts,
            "",
        )),
        listed(row(
            "PGCOPYDB_ESTIMATE_TABLE_SIZES",
            "estimate-table-sizes",
            Switch,
            "false",
        )),
        row("PGCOPYDB_SNAPSHOT", "snapshot", Text, ""),
        row("PGCOPYDB_OUTPUT_PLUGIN", "plugin", Plugin, "pgoutput"),
        row(
            "PGCOPYDB_WAL2JSON_NUMERIC_AS_STRING",
            "wal2json-numeric-as-string",
            Switch,
            "false",
        ),
        row("PGCOPYDB_PUBLICATION", "publication", Text, ""),
        row("PGCOPYDB_DROP_IF_EXISTS", "drop-if-exists", Switch, "false"),
        row("PGCOPYDB_FAIL_FAST", "fail-fast", Switch, "false"),
        row("PGCOPYDB_SKIP_VACUUM", "skip-vacuum", Switch, "false"),
        row("PGCOPYDB_SKIP_ANALYZE", "skip-analyze", Switch, "false"),
        row(
            "PGCOPYDB_SKIP_DB_PROPERTIES",
            "skip-db-properties",
            Switch,
            "false",
        ),
        row(
            "PGCOPYDB_SKIP_CTID_SPLIT",
            "skip-split-by-ctid",
            Switch,
            "false",
        ),
        row(
            "PGCOPYDB_SKIP_TABLESPACES",
            "no-tablespaces",
            Switch,
            "false",
        ),
        row(
            "PGCOPYDB_USE_COPY_BINARY",
            "use-copy-binary",
            Switch,
            "false",
        ),
        row(
            "PGCOPYDB_REPLAY_NO_OP_UPDATES",
            "replay-no-op-updates",
            Switch,
            "false",
        ),
        row("PGCOPYDB_HOST", "host", Text, ""),
        row("PGCOPYDB_PORT", "port", Port, "5442"),
        row("PGCOPYDB_TOKEN_FILE", "token-file", Text, ""),
        row("PGCOPYDB_LOG_JSON", "log-format", Switch, "text"),
        row("PGCOPYDB_LOG_FILENAME", "log-file", Text, ""),
        row("PGCOPYDB_CONFIG", "config", Text, ""),
    ]
};

/// Variables that no option has: which, and whether they are booleans.
const WITHOUT_OPTION: [(&str, bool); 2] = [
    ("PGCOPYDB_LOG_JSON_FILE", true),
    ("PGCOPYDB_LOG_TIME_FORMAT", false),
];

impl Variable {
    /// Parses the connection string that is set, if it is one. Errors: its text is not repeated.
    pub(in crate::cli) fn check_connection(&self, environment: &Environment) -> Result<()> {
        let set = self.read(environment)?;
        if let Some(text) = set.filter(|_| self.kind == ValueKind::Connection) {
            let env = |name: &str| environment.get(name);
            ConnInfo::parse(&text, &env).context(|| format!("variable {}", self.name))?;
        }
        Ok(())
    }

    /// The value that is set, if any. Errors: it is none of its kind.
    pub(in crate::cli) fn read(&self, environment: &Environment) -> Result<Option<String>> {
        let Some(text) = environment.get(self.name) else {
            return Ok(None);
        };
        let text_like = matches!(self.kind, ValueKind::Text | ValueKind::Connection);
        if text_like && text.is_empty() {
            return Ok(None);
        }
        self.kind
            .check(&text)
            .map_err(|accepted| bad_variable(self.name, &text, &accepted))?;
        Ok(Some(text))
    }
}

impl ValueKind {
    /// Errors: what would be accepted.
    fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Text | Self::Connection => Ok(()),
            Self::Jobs => value::jobs(text).map(drop),
            Self::Parts => value::parts(text).map(drop),
            Self::Bytes => value::bytes(text).map(drop),
            Self::Switch => value::boolean(text).map(drop),
            Self::Plugin => ["pgoutput", "test_decoding", "wal2json"]
                .contains(&text)
                .then_some(())
                .ok_or_else(|| "expected pgoutput, test_decoding or wal2json".to_owned()),
            Self::Port => value::port(text).map(drop),
        }
    }
}

/// Checks the variables that a command reads; `list` reads a few. Errors: the first bad one, by name.
pub(in crate::cli) fn check_all(environment: &Environment, is_list: bool) -> Result<()> {
    for variable in VARIABLES.iter().filter(|one| one.in_list || !is_list) {
        variable.read(environment)?;
    }
    for (name, _) in WITHOUT_OPTION.iter().filter(|(_, is_switch)| *is_switch) {
        if let Some(text) = environment.get(name) {
            value::boolean(&text).map_err(|accepted| bad_variable(name, &text, &accepted))?;
        }
    }
    for (name, _) in WITHOUT_OPTION.iter().filter(|(_, is_switch)| !*is_switch) {
        if let Some(text) = environment.get(name) {
            value::time_format(&text).map_err(|accepted| bad_variable(name, &text, &accepted))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_with_a_grammar_refuses_nonsense_by_its_name_and_takes_good_values() {
        use ValueKind::{Bytes, Connection, Jobs, Parts, Plugin, Port, Switch, Text};
        for variable in VARIABLES {
            let (good, bad): (&[&str], &[&str]) = match variable.kind {
                Text | Connection => (&["x", ""], &[]),
                Jobs => (&["1", "128"], &["0", "129", "x", ""]),
                Parts => (&["1"], &["0", "-1"]),
                Bytes => (&["10 GB", "0", "200"], &["10Gb", "x", ""]),
                Switch => (&["on", "off", "T", "0"], &["banana", "o", ""]),
                Plugin => (
                    &["pgoutput", "test_decoding", "wal2json"],
                    &["x", "PGOUTPUT"],
                ),
                Port => (&["1", "65535"], &["0", "65536", "x"]),
            };
            for value in good {
                let environment = Environment::of(&[(variable.name, value)]);
                check_all(&environment, false).unwrap();
                let read = variable.read(&environment).unwrap();
                assert_eq!(read.is_none(), value.is_empty(), "{}", variable.name);
            }
            for value in bad {
                let environment = Environment::of(&[(variable.name, value)]);
                let error = check_all(&environment, false).unwrap_err();
                assert!(error.message().contains(variable.name), "{error}");
                assert!(error.message().contains(&format!("\"{value}\"")), "{error}");
                assert_eq!(error.kind().exit_code(), 1);
                assert_eq!(check_all(&environment, true).is_err(), variable.in_list);
            }
        }
        let json_file = Environment::of(&[("PGCOPYDB_LOG_JSON_FILE", "banana")]);
        assert!(check_all(&json_file, false).is_err());
    }

    #[test]
    fn every_option_of_a_variable_is_one_of_the_program() {
        let mut tree = crate::cli::args::tree();
        tree.build();
        for variable in VARIABLES {
            let known = super::super::commands_with(&tree, variable.option);
            assert!(!known.is_empty(), "{}", variable.option);
        }
    }
}
