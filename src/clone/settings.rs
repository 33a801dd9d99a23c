//! What the user asked a clone to do: plain data without any trace of how it was given.
//!
//! Made by `cli`, read by the supervisor and copied into its leaves. `Debug`
//! shows no connection string.

use super::goal::{Goal, Part};
use super::requirements::Requirement;
use crate::filter::Rules;
use crate::follow::files::CdcDir;
use crate::follow::slot::SlotSettings;
use crate::units::Lsn;
use crate::workdir::Intent;
use std::fmt;
use std::net::SocketAddr;
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

/// How the changes of the source are followed beside and after its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowAlong {
    /// The folder of change data.
    pub cdc: CdcDir,
    /// The replication slot.
    pub slot: SlotSettings,
    /// Name of the replication origin on the target.
    pub origin: String,
    /// Where to stop.
    pub endpos: Option<Lsn>,
    /// Updates that change nothing are applied, too.
    pub keep_no_op: bool,
    /// Most bytes of change data.
    pub max_cdc_size: Option<u64>,
    /// Where to listen for sentinel commands of other machines.
    pub listen: Option<SocketAddr>,
}

/// Everything that a clone, or a command for some of its parts, is told.
#[derive(Clone, PartialEq, Eq)]
pub struct CloneSettings {
    /// What is to be reached.
    pub goal: Goal,
    /// Connection string, with its secrets; empty where the command does without.
    pub source: String,
    /// Connection string, with its secrets; empty where the command does without.
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
    /// Extension versions to install, of `--requirements`.
    pub requirements: Option<Vec<Requirement>>,
    /// What is left out, of `--filters`.
    pub filters: Option<Rules>,
    /// Format that rows are copied in.
    pub copy_format: FormatChoice,
    /// The switches.
    pub switches: Switches,
    /// What `--follow` is told; `None`: changes are not followed.
    pub follow: Option<FollowAlong>,
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
    /// The options that decide what is copied, by name.
    fn options(&mut self) -> [(&'static str, &mut bool); 10] {
        let s = &mut self.switches;
        [
            ("no-owner", &mut s.no_owner),
            ("no-acl", &mut s.no_acl),
            ("no-comments", &mut s.no_comments),
            ("no-tablespaces", &mut s.no_tablespaces),
            ("skip-large-objects", &mut s.skip_blobs),
            ("skip-extensions", &mut s.skip_extensions),
            ("skip-ext-comments", &mut s.skip_ext_comments),
            ("skip-collations", &mut s.skip_collations),
            ("skip-vacuum", &mut s.skip_vacuum),
            ("skip-db-properties", &mut s.skip_db_properties),
        ]
    }

    /// The options that decide what is copied, of those that this command takes: a later run of the
    /// same must repeat them. JSON, stable order.
    pub(super) fn lasting_options(&self) -> String {
        let goal = self.goal;
        let schema = goal.has(Part::PreData) || goal.has(Part::PostData);
        let is_taken = |name: &str| match name {
            _ if goal == Goal::Clone => true,
            "skip-large-objects" | "skip-vacuum" => goal == Goal::CopyData,
            "skip-collations" => goal == Goal::CopySchema,
            "skip-db-properties" => goal.has(Part::PreData),
            "skip-extensions" => schema || goal == Goal::DumpSchema,
            _ => schema,
        };
        let all = self.clone().options().map(|(name, is_on)| (name, *is_on));
        let taken = all.into_iter().filter(|(name, _)| is_taken(name));
        let mut map: serde_json::Map<String, serde_json::Value> = taken
            .map(|(name, is_on)| (name.to_owned(), is_on.into()))
            .collect();
        // One database of a server is never gone on with as all of them.
        map.insert(
            "all-databases".to_owned(),
            self.switches.all_databases.into(),
        );
        serde_json::Value::Object(map).to_string()
    }

    /// The filters in one spelling; empty without.
    pub(super) fn canonical_filters(&self) -> String {
        self.filters
            .as_ref()
            .map(Rules::canonical)
            .unwrap_or_default()
    }

    /// The options in force in the work directory: those of this command over the stored ones.
    pub(super) fn merged_options(&self, stored: &str) -> String {
        let parse = |text: &str| {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
                .unwrap_or_default()
        };
        let mut merged = parse(stored);
        merged.extend(parse(&self.lasting_options()));
        serde_json::Value::Object(merged).to_string()
    }

    /// Turns on what earlier commands in the same work directory were told: `copy blobs` gives no
    /// owners after `restore pre-data --no-owner`. Returns the names of what it turned on.
    pub(super) fn adopt(&mut self, stored: &str) -> Vec<&'static str> {
        let stored: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(stored).unwrap_or_default();
        let schema = self.goal.has(Part::PreData) || self.goal.has(Part::PostData);
        // A command that was typed does what it is for, whatever another one left out.
        let is_adopted = |name: &str| match name {
            "skip-large-objects" | "skip-vacuum" => false,
            _ => schema || !name.starts_with("skip-"),
        };
        let mut adopted = Vec::new();
        for (name, is_on) in self.options() {
            if !*is_on && is_adopted(name) && stored.get(name) == Some(&true.into()) {
                *is_on = true;
                adopted.push(name);
            }
        }
        self.switches.skip_ext_comments |= self.switches.skip_extensions;
        adopted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(goal: Goal) -> CloneSettings {
        CloneSettings {
            goal,
            source: String::new(),
            target: String::new(),
            dir: PathBuf::new(),
            intent: Intent::Fresh,
            snapshot: None,
            table_jobs: 1,
            index_jobs: 1,
            restore_jobs: 1,
            blob_jobs: 1,
            split_bytes: 0,
            split_max_parts: 0,
            requirements: None,
            filters: None,
            copy_format: FormatChoice::Auto,
            switches: Switches::default(),
            follow: None,
            cmdline: String::new(),
        }
    }

    #[test]
    fn a_later_command_adopts_what_an_earlier_one_was_told() {
        let mut pre_data = settings(Goal::RestorePreData);
        pre_data.switches.no_owner = true;
        let mut blobs = settings(Goal::CopyBlobs);
        assert_eq!(blobs.lasting_options(), "{\"all-databases\":false}");
        assert_eq!(blobs.adopt(&pre_data.lasting_options()), ["no-owner"]);
        assert!(blobs.switches.no_owner && !blobs.switches.no_acl);
        assert!(blobs.adopt(&pre_data.lasting_options()).is_empty());
        assert!(blobs.adopt("").is_empty());
    }
}
