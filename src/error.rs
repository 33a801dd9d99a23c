//! The one error type of both programs: what was attempted, why it failed, and who must act.
//!
//! Runs in every process. Reads and writes nothing. A function that returns an [`Error`] must not
//! log it too: the end of a worker and `main` are the only two places that print one.

use std::fmt;

/// Shorthand for a result with our [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who must act on an error; decides the exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Command line, environment variable, connection string (exit code 1).
    BadArgs,
    /// Content of a filter or requirements file (2).
    BadConfig,
    /// The work directory, or the state of a run, refuses this (3).
    BadState,
    /// An SQL error whose side is not known (4).
    Postgres,
    /// A client tool is missing, too old or fails for its own reasons (5).
    Tool,
    /// The source is unreachable, refuses or fails (6).
    Source,
    /// The target is unreachable, refuses or fails (7).
    Target,
    /// A comparison found differences (10).
    Differences,
    /// A bug of ours, or a worker that dies again and again without a report (12).
    Internal,
    /// Stopped by this signal (128 + signal).
    Stopped(i32),
}

impl Kind {
    /// The exit code of a program that ends with this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::BadArgs => 1,
            Self::BadConfig => 2,
            Self::BadState => 3,
            Self::Postgres => 4,
            Self::Tool => 5,
            Self::Source => 6,
            Self::Target => 7,
            Self::Differences => 10,
            Self::Internal => 12,
            Self::Stopped(signal) => u8::try_from(128 + signal).unwrap_or(255),
        }
    }
}

/// An error with all that a person needs: message, facts, advice, and the trail of contexts.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Error(Box<Facts>);

/// What an error holds, boxed so that results stay small.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each says another thing that callers act upon"
)]
struct Facts {
    kind: Kind,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
    sqlstate: Option<String>,
    query: Option<String>,
    context: Vec<String>,
    #[serde(default)]
    snapshot_lost: bool,
    #[serde(default)]
    transient: bool,
    #[serde(default)]
    waited_out: bool,
    #[serde(default)]
    out_of_room: bool,
}

/// Longest part of a statement that an error shows, in bytes.
const QUERY_SHOWN_MAX: usize = 200;

impl Error {
    /// Makes an error. `message` is one line without a final stop, names in double quotes.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            kind,
            message: message.into(),
            detail: None,
            hint: None,
            sqlstate: None,
            query: None,
            context: Vec::new(),
            snapshot_lost: false,
            transient: false,
            waited_out: false,
            out_of_room: false,
        }))
    }

    /// Says that the same may succeed later: a connection was refused or lost.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.0.transient = true;
        self
    }

    /// True when a connection was refused or lost, so that the same may succeed later.
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }

    /// Says that a server was waited for as long as anybody should: nobody else of the run waits for it again.
    #[must_use]
    pub fn waited_out(mut self) -> Self {
        self.0.waited_out = true;
        self
    }

    /// True when a server was waited for as long as anybody should.
    pub fn is_waited_out(&self) -> bool {
        self.0.waited_out
    }

    /// Says that a volume or a quota was full, so that the same may succeed once there is room.
    #[must_use]
    pub fn out_of_room(mut self) -> Self {
        self.0.out_of_room = true;
        self
    }

    /// The same if that is what the system says.
    #[must_use]
    pub fn room_as_of(self, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                self.out_of_room()
            }
            _ => self,
        }
    }

    /// True when a volume or a quota was full.
    pub fn is_out_of_room(&self) -> bool {
        self.0.out_of_room
    }

    /// Says that the snapshot of the run is gone, which no other unit of work can escape.
    #[must_use]
    pub fn snapshot_lost(mut self) -> Self {
        self.0.snapshot_lost = true;
        self
    }

    /// True when the snapshot of the run is gone.
    pub fn is_snapshot_lost(&self) -> bool {
        self.0.snapshot_lost
    }

    /// A bug of ours: an invariant that does not hold.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// A mistake on the command line, in the environment or in a connection string.
    pub fn bad_args(message: impl Into<String>) -> Self {
        Self::new(Kind::BadArgs, message)
    }

    /// The work directory or the state of a run refuses this.
    pub fn bad_state(message: impl Into<String>) -> Self {
        Self::new(Kind::BadState, message)
    }

    /// Adds facts, shown on a line of their own.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Adds a full sentence that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the server's SQLSTATE, five characters.
    #[must_use]
    pub fn with_sqlstate(mut self, code: impl Into<String>) -> Self {
        self.0.sqlstate = Some(code.into());
        self
    }

    /// Adds the statement that failed, cut to 200 bytes.
    #[must_use]
    pub fn with_query(mut self, sql: &str) -> Self {
        let mut end = sql.len().min(QUERY_SHOWN_MAX);
        while !sql.is_char_boundary(end) {
            end -= 1;
        }
        self.0.query = Some(sql[..end].to_owned());
        self
    }

    /// Changes who must act, when the caller knows better than the place that failed.
    #[must_use]
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Adds what was being done, outermost last.
    #[must_use]
    pub fn context(mut self, what: impl Into<String>) -> Self {
        self.0.context.push(what.into());
        self
    }

    /// Who must act.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The server's SQLSTATE, when a server refused.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// The advice, when there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The facts, when there are some.
    pub fn detail_text(&self) -> Option<&str> {
        self.0.detail.as_deref()
    }

    /// The lines to log, most important first: message with contexts, then DETAIL, QUERY, HINT.
    pub fn lines(&self) -> Vec<String> {
        let mut first = String::new();
        for context in self.0.context.iter().rev() {
            first.push_str(context);
            first.push_str(": ");
        }
        first.push_str(&self.0.message);
        if let Some(code) = &self.0.sqlstate {
            first.push_str(" [");
            first.push_str(code);
            first.push(']');
        }
        let mut lines = vec![first];
        if let Some(detail) = &self.0.detail {
            lines.extend(detail.lines().map(|line| format!("DETAIL: {line}")));
        }
        if let Some(query) = &self.0.query {
            lines.push(format!("QUERY: {}", query.replace(['\n', '\r'], " ")));
        }
        if let Some(hint) = &self.0.hint {
            lines.push(format!("HINT: {hint}"));
        }
        lines
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("; "))
    }
}

impl std::error::Error for Error {}

/// Adds a context to the error of a result.
pub trait Context<T> {
    /// Says what was being done when it failed; the closure only runs on failure.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for Result<T> {
    fn context(self, what: impl FnOnce() -> String) -> Self {
        self.map_err(|error| error.context(what()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_stand_before_the_message_outermost_first() {
        let error = Error::new(Kind::Target, "could not create index \"a\"")
            .with_sqlstate("53100")
            .context("building index \"a\"")
            .context("table \"t\"")
            .hint("Make room.");
        assert_eq!(
            error.lines(),
            [
                "table \"t\": building index \"a\": could not create index \"a\" [53100]",
                "HINT: Make room."
            ]
        );
    }

    #[test]
    fn exit_codes_are_the_published_ones() {
        let codes: Vec<u8> = [
            Kind::BadArgs,
            Kind::BadConfig,
            Kind::BadState,
            Kind::Postgres,
            Kind::Tool,
            Kind::Source,
            Kind::Target,
            Kind::Differences,
            Kind::Internal,
            Kind::Stopped(15),
        ]
        .iter()
        .map(|kind| kind.exit_code())
        .collect();
        assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7, 10, 12, 143]);
    }

    #[test]
    fn a_long_statement_is_cut_between_characters() {
        let error = Error::internal("x").with_query(&"é".repeat(150));
        assert_eq!(error.lines()[1].len(), "QUERY: ".len() + 200);
    }
}
