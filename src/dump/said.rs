//! What PostgreSQL's client tools say on standard error: lines sorted, secrets blanked out, failures
//! turned into errors.
//!
//! Runs wherever a tool does. Writes log lines; the rest is pure.

use super::run::ToolOutcome;
use crate::error::{Error, Kind, Result};
use crate::notice;
use crate::units::Side;

/// Lines of standard error that are kept; `pg_restore` says one for each entry.
const STDERR_LINES_MAX: usize = 10_000;
/// Lines of a tool's complaint that an error shows.
const ERROR_LINES_SHOWN: usize = 12;

/// What kind of line a tool printed on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineClass {
    /// It complains.
    Error,
    /// It warns.
    Warning,
    /// It says what it does.
    Progress,
    /// It talks to developers.
    Debug,
    /// It goes on with what the line before it began.
    Continued,
}

/// Says what a line of standard error is; tools run with `LC_MESSAGES=C`.
pub fn classify(line: &str) -> LineClass {
    let said = match line.split_once(": ") {
        Some((tool, said)) if tool.starts_with("pg_") && !tool.contains(' ') => said,
        _ => return classify_server_line(line),
    };
    let complaint = ["error: ", "fatal: "]
        .iter()
        .any(|prefix| said.starts_with(prefix));
    if complaint {
        LineClass::Error
    } else if said.starts_with("warning: ") {
        LineClass::Warning
    } else if said.starts_with("detail: ") || said.starts_with("hint: ") {
        LineClass::Continued
    } else {
        LineClass::Progress
    }
}

fn classify_server_line(line: &str) -> LineClass {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| line.starts_with(prefix));
    if starts(&["WARNING:", "warning:"]) {
        LineClass::Warning
    } else if starts(&["DEBUG:"]) {
        LineClass::Debug
    } else if starts(&["NOTICE:", "INFO:", "LOG:"]) {
        LineClass::Progress
    } else if starts(&["ERROR:", "FATAL:", "PANIC:"]) {
        LineClass::Error
    } else {
        LineClass::Continued
    }
}

/// Logs standard error line by line, and sorts out complaints.
#[derive(Default)]
pub(super) struct Relay {
    in_error: bool,
}

impl Relay {
    pub(super) fn take(&mut self, line: &str, outcome: &mut ToolOutcome) {
        let line = mask_passwords(line);
        let class = match classify(&line) {
            LineClass::Continued if self.in_error => LineClass::Error,
            class => class,
        };
        self.in_error = class == LineClass::Error;
        match class {
            LineClass::Error => {
                log::error!("{line}");
                if outcome.errors.len() < STDERR_LINES_MAX {
                    outcome.errors.push(line.clone());
                }
            }
            LineClass::Warning => log::warn!("{line}"),
            LineClass::Progress => notice!("{line}"),
            LineClass::Continued => log::info!("{line}"),
            LineClass::Debug => log::debug!("{line}"),
        }
        if outcome.stderr.len() < STDERR_LINES_MAX {
            outcome.stderr.push(line);
        }
    }
}

/// Blanks out what stands behind the word "password" in SQL or in a connection string: tools show the
/// statements that fail, and these may make roles, user mappings and subscriptions.
pub fn mask_passwords(text: &str) -> String {
    const WORD: &str = "password";
    let lower = text.to_ascii_lowercase();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(offset) = lower.get(at..).and_then(|rest| rest.find(WORD)) {
        let word_end = at + offset + WORD.len();
        let rest = text.get(word_end..).unwrap_or_default();
        let value = rest.trim_start_matches([' ', '=', '"']);
        let gap = rest.len() - value.len();
        masked.push_str(text.get(at..word_end + gap).unwrap_or_default());
        at = word_end + gap;
        let hidden = secret_length(value, rest.get(..gap).unwrap_or_default().contains('='));
        if hidden > 0 {
            masked.push_str(if value.starts_with('\'') {
                "'***'"
            } else {
                "***"
            });
            at += hidden;
        }
    }
    masked.push_str(text.get(at..).unwrap_or_default());
    masked
}

/// How much of a text is a secret: a quoted string, or after an equals sign what goes to the next space
/// or quote.
fn secret_length(value: &str, after_equals: bool) -> usize {
    if let Some(inner) = value.strip_prefix('\'') {
        let mut characters = inner.char_indices().peekable();
        while let Some((offset, c)) = characters.next() {
            if c == '\\' {
                characters.next();
            } else if c == '\'' && characters.next_if(|(_, next)| *next == '\'').is_none() {
                return 1 + offset + 1;
            }
        }
        return value.len();
    }
    if !after_equals {
        return 0;
    }
    value.find([' ', '\'', '"', '&']).unwrap_or(value.len())
}

/// Whether libpq, which speaks English here, complains about a connection that is gone or that a server
/// on its way up or down refuses: the same may succeed later.
fn is_lost_connection(line: &str) -> bool {
    [
        "server closed the connection unexpectedly",
        "connection to server was lost",
        "no connection to the server",
        "SSL connection has been closed unexpectedly",
        "could not receive data from server",
        "could not send data to server",
        "Connection refused",
        "the database system is ",
        // The entry that lost may be restored now that the other one is there.
        "deadlock detected",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

/// Turns a failure of a tool into an error: of `side` when a server refused, else of kind `Tool`.
pub fn check(outcome: ToolOutcome, tool: &str, side: Side) -> Result<ToolOutcome> {
    if outcome.exit_code == 0 {
        return Ok(outcome);
    }
    let lines = if outcome.errors.is_empty() {
        &outcome.stderr
    } else {
        &outcome.errors
    };
    let first = lines
        .first()
        .map(|line| line.strip_prefix(&format!("{tool}: ")).unwrap_or(line));
    let first = first.map(|line| line.strip_prefix("error: ").unwrap_or(line));
    let from_server = |line: &String| {
        [
            "connection to server",
            "query failed",
            "could not execute query",
            "ERROR:",
            "FATAL:",
        ]
        .iter()
        .any(|sign| line.contains(sign))
    };
    let kind = if lines.iter().any(from_server) {
        side.kind()
    } else {
        Kind::Tool
    };
    let message = match first {
        Some(first) => format!("{tool} failed: {}", first.trim_end_matches('.')),
        None => format!("{tool} failed with exit code {}", outcome.exit_code),
    };
    let mut error = Error::new(kind, message);
    if lines.iter().any(|line| is_lost_connection(line)) {
        error = error.transient();
    }
    let entries = failed_entries(&outcome.stderr);
    let entries = entries
        .iter()
        .map(|failed| format!("Entry {} is {}", failed.dump_id, failed.what));
    let others = lines
        .iter()
        .skip(1)
        .filter(|line| !line.trim().is_empty())
        .cloned();
    let shown: Vec<String> = entries
        .take(ERROR_LINES_SHOWN)
        .chain(others.take(ERROR_LINES_SHOWN))
        .collect();
    if !shown.is_empty() {
        error = error.detail(shown.join("\n"));
    }
    Err(error)
}

/// An entry of an archive that `pg_restore --verbose` could not restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedEntry {
    /// Number within the archive.
    pub dump_id: i32,
    /// What it is, as `pg_restore` says: `1259 17496 INDEX customer_email_key postgres`.
    pub what: String,
    /// The server's complaint.
    pub error: String,
}

/// Reads from standard error which entries failed; only `--verbose` names them.
pub fn failed_entries(stderr: &[String]) -> Vec<FailedEntry> {
    let mut failed = Vec::new();
    let mut current: Option<(i32, String)> = None;
    for line in stderr {
        if let Some((_, entry)) = line.split_once("from TOC entry ")
            && line.starts_with("pg_restore: ")
        {
            current = entry
                .split_once("; ")
                .and_then(|(id, what)| Some((id.parse().ok()?, what.to_owned())));
        } else if let Some(said) = line.strip_prefix("pg_restore: error: ")
            && let Some((dump_id, what)) = &current
        {
            let error = said
                .strip_prefix("could not execute query: ")
                .unwrap_or(said);
            let (dump_id, what) = (*dump_id, what.clone());
            failed.push(FailedEntry {
                dump_id,
                what,
                error: error.to_owned(),
            });
        }
    }
    failed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_by_who_speaks_and_how() {
        let cases = [
            (
                "pg_dump: warning: there are circular foreign-key constraints",
                LineClass::Warning,
            ),
            (
                "pg_restore: error: could not execute query: ERROR:  x",
                LineClass::Error,
            ),
            (
                "pg_restore: creating TABLE \"public.error: x\"",
                LineClass::Progress,
            ),
            ("pg_dump: detail: x", LineClass::Continued),
            ("Command was: CREATE TABLE x ();", LineClass::Continued),
            ("DEBUG:  x", LineClass::Debug),
            ("WARNING:  x", LineClass::Warning),
            ("", LineClass::Continued),
        ];
        for (line, class) in cases {
            assert_eq!(classify(line), class, "{line}");
        }
    }

    #[test]
    fn a_refusal_of_the_server_is_the_error_of_its_side() {
        let line = "pg_dump: error: connection to server at \"h\", port 1 failed: refused";
        let outcome = ToolOutcome {
            exit_code: 1,
            errors: vec![line.to_owned()],
            ..ToolOutcome::default()
        };
        assert_eq!(
            check(outcome, "pg_dump", Side::Source).unwrap_err().kind(),
            Kind::Source
        );
    }

    #[test]
    fn a_tool_whose_connection_was_lost_may_be_run_again() {
        let failure = |lines: &[&str]| {
            let outcome = ToolOutcome {
                exit_code: 1,
                errors: lines.iter().map(|line| (*line).to_owned()).collect(),
                ..ToolOutcome::default()
            };
            check(outcome, "pg_restore", Side::Target).unwrap_err()
        };
        let lost = failure(&[
            "pg_restore: error: could not execute query: FATAL:  terminating connection",
            "server closed the connection unexpectedly",
        ]);
        assert!(lost.is_transient() && lost.kind() == Kind::Target);
        for lasting in [
            "pg_restore: error: could not execute query: ERROR:  relation \"x\" already exists",
            "pg_restore: error: connection to server at \"h\" failed: FATAL:  password \
             authentication failed for user \"u\"",
        ] {
            assert!(!failure(&[lasting]).is_transient(), "{lasting}");
        }
    }

    #[test]
    fn passwords_are_blanked_out_of_what_tools_say() {
        let cases = [
            (
                "ALTER ROLE x WITH PASSWORD 'a''b';",
                "ALTER ROLE x WITH PASSWORD '***';",
            ),
            (
                "OPTIONS (password 'x', a 'b')",
                "OPTIONS (password '***', a 'b')",
            ),
            (
                "CONNECTION 'host=h password=s3c user=u'",
                "CONNECTION 'host=h password=*** user=u'",
            ),
            (
                "password authentication failed",
                "password authentication failed",
            ),
            (
                "pass\u{e9}word password 'unfinished",
                "pass\u{e9}word password '***'",
            ),
            ("password", "password"),
        ];
        for (text, masked) in cases {
            assert_eq!(mask_passwords(text), masked);
        }
    }

    #[test]
    fn failed_entries_are_read_from_what_pg_restore_says() {
        let said = [
            "pg_restore: creating INDEX \"a\"",
            "pg_restore: while PROCESSING TOC:",
            "pg_restore: from TOC entry 3959; 1259 17496 INDEX customer_email_key postgres",
            "pg_restore: error: could not execute query: ERROR:  relation \"x\" already exists",
            "Command was: CREATE INDEX;",
        ]
        .map(str::to_owned);
        let failed = failed_entries(&said);
        assert_eq!(failed.len(), 1);
        assert_eq!(
            (failed[0].dump_id, failed[0].what.as_str()),
            (3959, "1259 17496 INDEX customer_email_key postgres")
        );
        assert!(failed[0].error.starts_with("ERROR:"));
    }
}
