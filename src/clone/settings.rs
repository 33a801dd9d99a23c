//! What the user asked a clone to do: plain data without any trace of how it was given.
//!
//! Made by `cli`, read by the supervisor and copied into its leaves. `Debug`
//! shows no connection string.

use crate::filter::Rules;
use crate::workdir::Intent;
use std::fmt;
use std::path::PathBuf;

/// Format that rows are copied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// Binary where the types of a table allow it and it pays.
    Auto,
    /// Always text.
    Text,
    /// Binary wherever possible.
    Binary,
}

/// The switches of a clone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "independent switches of the user, no states"
)]
pub struct Switches {
    /// `--not-consistent`.
    pub not_consistent: bool,
    /// `--estimate-table-sizes`.
    pub estimate_sizes: bool,
    /// `--skip-analyze`.
    pub skip_analyze: bool,
    /// `--skip-split-by-ctid`.
    pub skip_ctid_split: bool,
    /// `--drop-if-exists`.
    pub drop_if_exists: bool,
    /// `--roles`.
    pub roles: bool,
    /// `--no-role-passwords`.
    pub no_role_passwords: bool,
    /// `--no-owner`.
    pub no_owner: bool,
    /// `--no-acl`.
    pub no_acl: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--skip-large-objects`.
    pub skip_blobs: bool,
    /// `--skip-extensions`.
    pub skip_extensions: bool,
    /// `--skip-ext-comments`; also set by `--skip-extensions`.
    pub skip_ext_comments: bool,
    /// `--skip-collations`.
    pub skip_collations: bool,
    /// `--skip-vacuum`.
    pub skip_vacuum: bool,
    /// `--skip-db-properties`.
    pub skip_db_properties: bool,
    /// `--all-databases`.
    pub all_databases: bool,
    /// `--fail-fast`.
    pub fail_fast: bool,
    /// `--json`.
    pub json: bool,
    /// `--dry-run`.
    pub dry_run: bool,
    /// A progress line is wanted: standard error is a terminal for people.
    pub progress: bool,
}

/// Everything that a clone is told.
#[derive(Clone, PartialEq, Eq)]
pub struct CloneSettings {
    /// Connection string, with its secrets.
    pub source: String,
    /// Connection string, with its secrets.
    pub target: String,
    /// The work directory.
    pub dir: PathBuf,
    /// `--resume`, `--restart` or neither.
    pub intent: Intent,
    /// Snapshot that somebody else holds.
    pub snapshot: Option<String>,
    /// Workers that copy tables, and those that vacuum.
    pub table_jobs: u32,
    /// Workers that build indexes and constraints.
    pub index_jobs: u32,
    /// Jobs of `pg_restore`.
    pub restore_jobs: u32,
    /// Workers that copy large objects.
    pub blob_jobs: u32,
    /// Size from which on a table is split, bytes; 0: never.
    pub split_bytes: u64,
    /// Most parts of one table, 0: no limit.
    pub split_max_parts: u32,
    /// Extension versions to install, a JSON file.
    pub requirements: Option<PathBuf>,
    /// What is left out, of `--filters`.
    pub filters: Option<Rules>,
    /// Format that rows are copied in.
    pub copy_format: FormatChoice,
    /// The switches.
    pub switches: Switches,
    /// The command line without secrets, for the ledger's `command_log`.
    pub cmdline: String,
}

impl fmt::Debug for CloneSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloneSettings")
            .field("dir", &self.dir)
            .field("intent", &self.intent)
            .field("table_jobs", &self.table_jobs)
            .field("index_jobs", &self.index_jobs)
            .field("restore_jobs", &self.restore_jobs)
            .field("blob_jobs", &self.blob_jobs)
            .field("split_bytes", &self.split_bytes)
            .field("split_max_parts", &self.split_max_parts)
            .field("copy_format", &self.copy_format)
            .field("switches", &self.switches)
            .finish_non_exhaustive()
    }
}

impl CloneSettings {
    /// The options that decide what is copied, which a resumed run must repeat; JSON, stable order.
    pub(super) fn lasting_options(&self) -> String {
        let s = &self.switches;
        let mut options = serde_json::json!({
            "no-owner": s.no_owner, "no-acl": s.no_acl, "no-comments": s.no_comments,
            "no-tablespaces": s.no_tablespaces, "skip-large-objects": s.skip_blobs,
            "skip-extensions": s.skip_extensions, "skip-ext-comments": s.skip_ext_comments,
            "skip-collations": s.skip_collations, "skip-vacuum": s.skip_vacuum,
            "skip-db-properties": s.skip_db_properties,
        });
        if s.all_databases {
            options["all-databases"] = true.into();
        }
        options.to_string()
    }

    /// The filters in one spelling; empty without.
    pub(super) fn canonical_filters(&self) -> String {
        self.filters
            .as_ref()
            .map(Rules::canonical)
            .unwrap_or_default()
    }
}
