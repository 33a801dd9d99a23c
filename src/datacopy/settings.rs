//! What the user asked a copy of rows to do: plain data without any trace of how it was given.
//!
//! Made by `cli`, read by the supervisor and copied into its leaves. `Debug` shows no connection string.

use super::pattern::Pattern;
use crate::fkey::discover::Mode;
use crate::workdir::Intent;
use std::fmt;
use std::path::PathBuf;

/// `--constraints`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeChoice {
    /// The first mode that works.
    Auto,
    /// This one, or none at all.
    Only(Mode),
}

/// How progress and results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Log lines only.
    Plain,
    /// Two lines at the top, the log below.
    Progress,
    /// The whole screen.
    Interactive,
    /// One JSON object a line.
    Json,
}

/// How a run presents itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Presentation {
    /// What is shown.
    pub show: Show,
    /// The log file, and where this run begins in it.
    pub log: Option<(PathBuf, u64)>,
    /// Name that events of this invocation carry.
    pub stream: String,
    /// Marks may be coloured.
    pub colour: bool,
}

impl Presentation {
    /// Log lines alone.
    pub fn plain() -> Self {
        Self {
            show: Show::Plain,
            log: None,
            stream: String::new(),
            colour: false,
        }
    }
}

/// A connection string, and where it was given.
#[derive(Clone, PartialEq, Eq)]
pub struct End {
    /// Connection string, with its secrets.
    pub text: String,
    /// Such as `--source-file prod.conn`.
    pub from: String,
}

/// Which tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// `--schema`, raw names.
    pub schemas: Vec<String>,
    /// `--include`.
    pub include: Vec<Pattern>,
    /// `--exclude`.
    pub exclude: Vec<Pattern>,
}

/// The switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of the user, no states"
)]
pub struct Switches {
    /// `--validate`.
    pub validate: bool,
    /// `--no-snapshot`.
    pub no_snapshot: bool,
    /// `--exact-rows`.
    pub exact_rows: bool,
    /// `--skip-analyze`.
    pub skip_analyze: bool,
    /// `--allow-same-system-id`.
    pub allow_same_system_id: bool,
    /// `--no-timeouts`.
    pub no_timeouts: bool,
}

/// Everything that a copy of rows is told.
#[derive(Clone, PartialEq, Eq)]
pub struct CopySettings {
    /// The side that is read.
    pub source: End,
    /// The side that is written.
    pub target: End,
    /// The work directory.
    pub dir: PathBuf,
    /// The folder where other work directories of the user are.
    pub neighbourhood: Option<PathBuf>,
    /// `--resume`, `--restart` or neither.
    pub intent: Intent,
    /// Copy workers.
    pub jobs: u32,
    /// Which tables.
    pub choice: Choice,
    /// `--constraints`.
    pub mode: ModeChoice,
    /// `--insert`: rows in one statement.
    pub insert: Option<u32>,
    /// Size from which on a table is split, bytes; 0: never.
    pub split_bytes: u64,
    /// How progress is shown.
    pub presentation: Presentation,
    /// The switches.
    pub switches: Switches,
    /// The command line without secrets.
    pub cmdline: String,
}

impl fmt::Debug for CopySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopySettings")
            .field("dir", &self.dir)
            .field("intent", &self.intent)
            .field("jobs", &self.jobs)
            .field("choice", &self.choice)
            .field("mode", &self.mode)
            .field("insert", &self.insert)
            .field("switches", &self.switches)
            .finish_non_exhaustive()
    }
}

impl CopySettings {
    /// What a resumed run must repeat; JSON, stable order.
    pub(super) fn lasting_options(&self) -> String {
        let texts = |patterns: &[Pattern]| -> Vec<String> {
            patterns.iter().map(|p| p.text().to_owned()).collect()
        };
        serde_json::json!({
            "schema": self.choice.schemas,
            "include": texts(&self.choice.include),
            "exclude": texts(&self.choice.exclude),
            "constraints": self.mode.name(),
        })
        .to_string()
    }
}

impl ModeChoice {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Only(mode) => mode.name(),
        }
    }
}
