//! What the user asked a clone to do, resolved from command line, environment and defaults.
//!
//! Plain data, made by `cli`; crosses forks.

use crate::workdir::Intent;
use std::path::PathBuf;

/// `--copy-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatChoice {
    /// Binary where it is safe and pays.
    Auto,
    /// Never binary.
    Text,
    /// Binary wherever it is safe.
    Binary,
}

/// Switches, off by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "independent switches of the user, no states")]
pub struct Switches {
    /// `--not-consistent`
    pub not_consistent: bool,
    /// `--estimate-table-sizes`
    pub estimate_sizes: bool,
    /// `--skip-analyze`
    pub skip_analyze: bool,
    /// `--skip-split-by-ctid`
    pub skip_ctid_split: bool,
    /// `--drop-if-exists`
    pub drop_if_exists: bool,
    /// `--roles`
    pub roles: bool,
    /// `--no-role-passwords`
    pub no_role_passwords: bool,
    /// `--no-owner`
    pub no_owner: bool,
    /// `--no-acl`
    pub no_acl: bool,
    /// `--no-comments`
    pub no_comments: bool,
    /// `--no-tablespaces`
    pub no_tablespaces: bool,
    /// `--skip-large-objects`
    pub skip_blobs: bool,
    /// `--skip-extensions`
    pub skip_extensions: bool,
    /// `--skip-ext-comments`
    pub skip_ext_comments: bool,
    /// `--skip-collations`
    pub skip_collations: bool,
    /// `--skip-vacuum`
    pub skip_vacuum: bool,
    /// `--skip-db-properties`
    pub skip_db_properties: bool,
    /// `--fail-fast`
    pub fail_fast: bool,
    /// `--json`
    pub json: bool,
    /// `--dry-run`
    pub dry_run: bool,
    /// A terminal shows a progress line.
    pub progress: bool,
}

/// Settings of a clone.
#[derive(Clone)]
pub struct CloneSettings {
    /// Connection string of the source, with its password.
    pub source: String,
    /// Connection string of the target, with its password.
    pub target: String,
    /// Work directory.
    pub dir: PathBuf,
    /// What to do with a used work directory.
    pub intent: Intent,
    /// Snapshot of somebody else.
    pub snapshot: Option<String>,
    /// COPY and VACUUM workers.
    pub table_jobs: u32,
    /// Index workers.
    pub index_jobs: u32,
    /// Connections of `pg_restore`.
    pub restore_jobs: u32,
    /// Large object workers.
    pub blob_jobs: u32,
    /// Size from which on tables are split, 0: never.
    pub split_bytes: u64,
    /// Most parts of a table, 0: no limit.
    pub split_max_parts: u32,
    /// Versions of extensions.
    pub requirements: Option<PathBuf>,
    /// Format of COPY.
    pub copy_format: FormatChoice,
    /// Switches.
    pub switches: Switches,
    /// The command line without secrets, for the ledger.
    pub cmdline: String,
}

impl CloneSettings {
    /// The options that decide what is copied, which a resumed run must repeat; JSON, stable order.
    pub(super) fn lasting_options(&self) -> String {
        let s = &self.switches;
        serde_json::json!({
            "no-owner": s.no_owner, "no-acl": s.no_acl, "no-comments": s.no_comments,
            "no-tablespaces": s.no_tablespaces, "skip-large-objects": s.skip_blobs,
            "skip-extensions": s.skip_extensions, "skip-ext-comments": s.skip_ext_comments,
            "skip-collations": s.skip_collations, "skip-vacuum": s.skip_vacuum,
            "skip-db-properties": s.skip_db_properties,
        })
        .to_string()
    }
}
