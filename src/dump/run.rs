//! Running one of PostgreSQL's client tools: start it, relay what it says, stop it when told to.
//!
//! Runs in leaf processes that have the right to run tools; one tool at a time. Reads the tool's pipes,
//! writes log lines. The tool lives in its own process group and dies with its caller. It must not
//! show secrets: they travel in the tool's environment, never on its command line.

use crate::conninfo::ToolSettings;
use crate::error::{Error, Kind, Result};
use crate::notice;
use crate::sys::{clock, tool};
use crate::units::Side;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longest wait between two looks at whether to stop.
const LOOK_EVERY_MS: u16 = 100;
/// How long a tool may take to end after SIGTERM before it is killed.
const TERM_PATIENCE: Duration = Duration::from_secs(2);
/// How long output of a tool's own children is waited for once the tool has ended.
const DRAIN_PATIENCE: Duration = Duration::from_secs(2);
/// Longest part of a command line that is logged, in bytes.
const COMMAND_SHOWN_MAX: usize = 1024;
/// Longest line of a tool that is kept in one piece, in bytes.
const LINE_MAX: usize = 64 * 1024;
/// Lines of standard error that are kept; `pg_restore` says one for each entry.
const STDERR_LINES_MAX: usize = 10_000;
/// Most that is kept of standard output.
const STDOUT_MAX: usize = 16 * 1024 * 1024;
/// Lines of a tool's complaint that an error shows.
const ERROR_LINES_SHOWN: usize = 12;

/// What becomes of a tool's standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdoutTo {
    /// Each line is logged.
    Log,
    /// It is given back.
    Capture,
}

/// A tool, ready to run.
pub struct ToolRun {
    /// Path of the program.
    pub program: PathBuf,
    /// Its arguments, all fit to be logged.
    pub args: Vec<String>,
    /// The environment.
    pub settings: ToolSettings,
    /// Where its standard output goes.
    pub stdout: StdoutTo,
    /// Whether the command line is logged.
    pub announce: bool,
    /// Longest run allowed; `None` for any.
    pub limit: Option<Duration>,
}

/// How a tool ended.
#[derive(Clone, Debug, Default)]
pub struct ToolOutcome {
    /// Exit code; 128 + signal when it was killed.
    pub exit_code: i32,
    /// Lines of standard error, the first 10,000.
    pub stderr: Vec<String>,
    /// Those of them that complain.
    pub errors: Vec<String>,
    /// Standard output, when captured.
    pub stdout: Vec<u8>,
}

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

impl ToolRun {
    /// A run of `program` with these arguments, no environment of its own, output to the log.
    pub fn new(program: &Path, args: Vec<String>) -> Self {
        Self {
            program: program.to_path_buf(),
            args,
            settings: ToolSettings::default(),
            stdout: StdoutTo::Log,
            announce: true,
            limit: None,
        }
    }

    /// The command line as a shell would take it.
    pub fn command_line(&self) -> String {
        let program = self.program.to_string_lossy();
        let words = std::iter::once(program.as_ref()).chain(self.args.iter().map(String::as_str));
        words.map(shell_quoted).collect::<Vec<String>>().join(" ")
    }

    /// Runs the tool to its end, whatever its exit code. Blocks; looks at `stop` ten times a second,
    /// then ends the tool and fails with `Stopped`. A tool that cannot run fails with kind `Tool`.
    pub fn run(&self, stop: &dyn Fn() -> bool) -> Result<ToolOutcome> {
        if self.announce {
            let line = crate::logging::scrub(&self.command_line());
            let shown = line.floor_char_boundary_at(COMMAND_SHOWN_MAX);
            log::info!(" {shown}");
        }
        let mut child = self.command().spawn().map_err(|error| {
            Error::new(
                Kind::Tool,
                format!("could not run \"{}\": {error}", self.program.display()),
            )
        })?;
        let watched = self.watch(&mut child, stop);
        match watched {
            Ok((status, outcome)) => Ok(ToolOutcome {
                exit_code: exit_code(status),
                ..outcome
            }),
            Err(error) => {
                end(&mut child);
                Err(error)
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in &self.settings.env_remove {
            command.env_remove(name);
        }
        command.envs(self.settings.env.iter().map(|(name, value)| (name, value)));
        // LC_ALL would win over LC_MESSAGES, LANGUAGE over both.
        command
            .env_remove("LC_ALL")
            .env_remove("LANGUAGE")
            .env("LC_MESSAGES", "C");
        // A terminal must not be asked for a password.
        command.env("PG_COLOR", "never");
        tool::prepare(&mut command);
        command
    }

    fn watch(
        &self,
        child: &mut Child,
        stop: &dyn Fn() -> bool,
    ) -> Result<(ExitStatus, ToolOutcome)> {
        let missing = || Error::internal("a tool was started without pipes");
        let mut stdout = Stream::new(child.stdout.take().ok_or_else(missing)?);
        let mut stderr = Stream::new(child.stderr.take().ok_or_else(missing)?);
        let mut outcome = ToolOutcome::default();
        let mut relay = Relay::default();
        let started = Instant::now();
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            if stop() {
                return Err(Error::new(
                    Kind::Stopped(15),
                    format!("stopped while running \"{}\"", self.program.display()),
                ));
            }
            if self.limit.is_some_and(|limit| started.elapsed() > limit) {
                return Err(Error::new(
                    Kind::Tool,
                    format!("\"{}\" did not end in time", self.program.display()),
                ));
            }
            wait_for_output(&stdout, &stderr)?;
            for line in stdout.read_lines(self.stdout == StdoutTo::Capture, &mut outcome.stdout)? {
                log::info!("{line}");
            }
            let mut unused = Vec::new();
            for line in stderr.read_lines(false, &mut unused)? {
                relay.take(&line, &mut outcome);
            }
            if ended.is_none() {
                let status = child.try_wait().map_err(|error| {
                    Error::internal(format!("could not wait for a tool: {error}"))
                })?;
                ended = status.map(|status| (status, Instant::now()));
            }
            if let Some((status, at)) = ended
                && ((stdout.closed && stderr.closed) || at.elapsed() > DRAIN_PATIENCE)
            {
                return Ok((status, outcome));
            }
        }
    }
}

/// Cutting text between characters.
trait FloorCharBoundary {
    fn floor_char_boundary_at(&self, limit: usize) -> &str;
}

impl FloorCharBoundary for str {
    fn floor_char_boundary_at(&self, limit: usize) -> &str {
        let mut end = self.len().min(limit);
        while !self.is_char_boundary(end) {
            end -= 1;
        }
        &self[..end]
    }
}

/// Waits for output of the tool, at most until the next look at `stop`. Ended streams are left out,
/// since a closed pipe is always ready.
fn wait_for_output<A: Read + AsFd, B: Read + AsFd>(a: &Stream<A>, b: &Stream<B>) -> Result<()> {
    let mut descriptors = Vec::new();
    if !a.closed {
        descriptors.push(PollFd::new(a.pipe.as_fd(), PollFlags::POLLIN));
    }
    if !b.closed {
        descriptors.push(PollFd::new(b.pipe.as_fd(), PollFlags::POLLIN));
    }
    if descriptors.is_empty() {
        clock::nap(Duration::from_millis(u64::from(LOOK_EVERY_MS) / 10));
        return Ok(());
    }
    match poll(&mut descriptors, PollTimeout::from(LOOK_EVERY_MS)) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::internal(format!(
            "could not wait for a tool's output: {error}"
        ))),
    }
}

/// One of a tool's pipes.
struct Stream<P> {
    pipe: P,
    pending: Vec<u8>,
    closed: bool,
}

impl<P: Read + AsFd> Stream<P> {
    fn new(pipe: P) -> Self {
        Self {
            pipe,
            pending: Vec::new(),
            closed: false,
        }
    }

    fn is_readable(&self) -> bool {
        let mut descriptor = [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        poll(&mut descriptor, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Reads what is there, once, and gives the lines that are complete. When `raw`, the bytes go to
    /// `captured` instead.
    fn read_lines(&mut self, raw: bool, captured: &mut Vec<u8>) -> Result<Vec<String>> {
        if self.closed || !self.is_readable() {
            return Ok(Vec::new());
        }
        let mut buffer = [0_u8; 16 * 1024];
        let count = match self.pipe.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(Vec::new()),
            Err(error) => {
                return Err(Error::internal(format!(
                    "could not read a tool's output: {error}"
                )));
            }
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        self.closed = count == 0;
        if raw {
            if captured.len() + count > STDOUT_MAX {
                return Err(Error::new(Kind::Tool, "a tool printed more than expected"));
            }
            captured.extend_from_slice(bytes);
            return Ok(Vec::new());
        }
        self.pending.extend_from_slice(bytes);
        Ok(self.complete_lines())
    }

    fn complete_lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = self.pending.iter().position(|c| *c == b'\n') {
            let rest = self.pending.split_off(end + 1);
            lines.push(printable(&self.pending));
            self.pending = rest;
        }
        if !self.pending.is_empty() && (self.closed || self.pending.len() > LINE_MAX) {
            lines.push(printable(&self.pending));
            self.pending.clear();
        }
        lines
    }
}

fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .trim_end_matches(['\n', '\r'])
        .to_owned()
}

/// Logs standard error line by line, and sorts out complaints.
#[derive(Default)]
struct Relay {
    in_error: bool,
}

impl Relay {
    fn take(&mut self, line: &str, outcome: &mut ToolOutcome) {
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

/// Ends a tool and its children: SIGTERM, then SIGKILL. Failures mean that it has ended already.
fn end(child: &mut Child) {
    tool::signal_group(child.id(), Signal::SIGTERM);
    let started = Instant::now();
    while started.elapsed() < TERM_PATIENCE && matches!(child.try_wait(), Ok(None)) {
        clock::nap(Duration::from_millis(u64::from(LOOK_EVERY_MS) / 2));
    }
    // To the tool's children, too, which may be left when it has ended.
    tool::signal_group(child.id(), Signal::SIGKILL);
    let started = Instant::now();
    while started.elapsed() < TERM_PATIENCE && matches!(child.try_wait(), Ok(None)) {
        clock::nap(Duration::from_millis(u64::from(LOOK_EVERY_MS) / 2));
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
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

    fn shell(script: &str) -> ToolRun {
        ToolRun::new(
            Path::new("/bin/sh"),
            vec!["-c".to_owned(), script.to_owned()],
        )
    }

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
    fn a_tool_gives_its_output_its_complaints_and_its_exit_code() {
        let mut run = shell("echo out; echo 'pg_x: error: bad' >&2; echo more >&2; exit 3");
        run.stdout = StdoutTo::Capture;
        let outcome = run.run(&|| false).unwrap();
        assert_eq!(
            (outcome.exit_code, outcome.stdout.as_slice()),
            (3, &b"out\n"[..])
        );
        assert_eq!(outcome.errors, ["pg_x: error: bad", "more"]);
        let error = check(outcome, "pg_x", Side::Target).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::Tool, "pg_x failed: bad")
        );
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
    fn a_stopped_tool_ends_with_its_children() {
        let started = Instant::now();
        let looks = std::cell::Cell::new(0);
        let error = shell("trap '' TERM; sleep 600 & wait; sleep 600")
            .run(&|| {
                looks.set(looks.get() + 1);
                looks.get() > 3
            })
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Stopped(15));
        assert!(started.elapsed() < Duration::from_secs(6));
    }

    #[test]
    fn a_tool_that_is_not_there_or_never_ends_is_an_error() {
        let run = ToolRun::new(Path::new("/nonexistent/pg_dump"), Vec::new());
        assert_eq!(run.run(&|| false).unwrap_err().kind(), Kind::Tool);
        let mut run = shell("sleep 600");
        run.limit = Some(Duration::from_millis(200));
        assert_eq!(run.run(&|| false).unwrap_err().kind(), Kind::Tool);
    }

    #[test]
    fn command_lines_are_quoted_for_a_shell() {
        let run = ToolRun::new(
            Path::new("/b/pg_dump"),
            vec!["it's".to_owned(), String::new()],
        );
        assert_eq!(run.command_line(), "/b/pg_dump 'it'\\''s' ''");
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
