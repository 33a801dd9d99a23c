//! Running one of PostgreSQL's client tools: start it, relay what it says, stop it when told to.
//!
//! Runs in leaf processes that have the right to run tools; one tool at a time. Reads the tool's pipes,
//! writes log lines. The tool lives in its own process group and dies with its caller. It must not
//! show secrets: they travel in the tool's environment, never on its command line.

use super::said::Relay;
use crate::conninfo::ToolSettings;
use crate::error::{Error, Kind, Result};
use crate::sys::{clock, tool};
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
/// Most that is kept of standard output.
const STDOUT_MAX: usize = 16 * 1024 * 1024;

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
        self.start()?.wait(stop)
    }

    /// Starts the tool, which then waits for a reader whenever a pipe of its is full. A tool that
    /// cannot run fails with kind `Tool`.
    pub fn start(&self) -> Result<Running<'_>> {
        if self.announce {
            let line = crate::logging::scrub(&self.command_line());
            let shown = line.floor_char_boundary_at(COMMAND_SHOWN_MAX);
            log::info!(" {shown}");
        }
        let child = self.command().spawn().map_err(|error| {
            Error::new(
                Kind::Tool,
                format!("could not run \"{}\": {error}", self.program.display()),
            )
        })?;
        Ok(Running {
            tool: self,
            child: Some(child),
        })
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

/// A tool that was started. Dropped before its end is seen, it is ended.
pub struct Running<'a> {
    tool: &'a ToolRun,
    child: Option<Child>,
}

impl Running<'_> {
    /// Waits for the tool's end and gives what it said. Blocks as [`ToolRun::run`] does.
    pub fn wait(mut self, stop: &dyn Fn() -> bool) -> Result<ToolOutcome> {
        let Some(child) = self.child.as_mut() else {
            return Err(Error::internal("a tool was waited for twice"));
        };
        let (status, outcome) = self.tool.watch(child, stop)?;
        self.child = None;
        Ok(ToolOutcome {
            exit_code: exit_code(status),
            ..outcome
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            end(child);
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

#[cfg(test)]
mod tests {
    use super::super::said::check;
    use super::*;
    use crate::units::Side;

    fn shell(script: &str) -> ToolRun {
        ToolRun::new(
            Path::new("/bin/sh"),
            vec!["-c".to_owned(), script.to_owned()],
        )
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
}
