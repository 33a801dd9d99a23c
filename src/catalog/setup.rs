//! What a work directory was set up for: both databases, tools, options that must stay.
//!
//! Written by the prepare process, which on a later run compares; read by everybody. A command that
//! works step by step may not know all of it: what it leaves open is empty.

use super::open::{Ledger, sqlite_error};
use crate::error::{Error, Result};
use rusqlite::{Connection, OptionalExtension, params};

/// The row of `setup`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Names this work directory on the target.
    pub uuid: String,
    /// Without secrets.
    pub source_uri: String,
    /// Without secrets.
    pub target_uri: String,
    /// system identifier/database oid; empty: not known yet.
    pub source_identity: String,
    /// system identifier/database oid; empty: not known yet.
    pub target_identity: String,
    /// server version number.
    pub source_version: u32,
    /// server version number.
    pub target_version: u32,
    /// Bytes from which on a table is split, 0: never; `None`: no table was copied yet.
    pub split_bytes: Option<u64>,
    /// Most parts of one table, 0: no limit.
    pub split_max_parts: u32,
    /// JSON of the options that decide what is copied; those that no command had yet are missing.
    pub options: String,
    /// The filters in one spelling, one rule a line; empty: none.
    pub filters: String,
}

impl Setup {
    /// The setup, when there is one.
    pub fn read(ledger: &Ledger) -> Result<Option<Self>> {
        let u = |value: i64| u32::try_from(value).unwrap_or(0);
        ledger
            .connection()
            .query_row(
                "select uuid, source_uri, target_uri, source_identity, target_identity,
                        source_version, target_version, split_bytes, split_max_parts, options,
                        filters
                   from setup",
                [],
                |row| {
                    Ok(Self {
                        uuid: row.get(0)?,
                        source_uri: row.get(1)?,
                        target_uri: row.get(2)?,
                        source_identity: row.get(3)?,
                        target_identity: row.get(4)?,
                        source_version: u(row.get(5)?),
                        target_version: u(row.get(6)?),
                        split_bytes: u64::try_from(row.get::<_, i64>(7)?).ok(),
                        split_max_parts: u(row.get(8)?),
                        options: row.get(9)?,
                        filters: row.get(10)?,
                    })
                },
            )
            .optional()
            .map_err(|error| sqlite_error("read", &error))
    }

    /// Writes the setup of a fresh directory.
    pub fn write(&self, connection: &Connection) -> Result<()> {
        connection
            .execute(
                "insert or replace into setup (id, uuid, source_uri, target_uri, source_identity,
                    target_identity, source_version, target_version, split_bytes,
                    split_max_parts, options, filters)
                 values (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    self.uuid,
                    self.source_uri,
                    self.target_uri,
                    self.source_identity,
                    self.target_identity,
                    self.source_version,
                    self.target_version,
                    self.split_bytes
                        .map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
                    self.split_max_parts,
                    self.options,
                    self.filters,
                ],
            )
            .map_err(|error| sqlite_error("write", &error))?;
        Ok(())
    }

    /// Refuses a resumed run that would not continue what the directory was set up for.
    pub fn check_resumed(&self, now: &Self) -> Result<()> {
        let pairs = [
            (
                "source",
                &self.source_identity,
                &now.source_identity,
                &self.source_uri,
            ),
            (
                "target",
                &self.target_identity,
                &now.target_identity,
                &self.target_uri,
            ),
        ];
        for (side, before, after, uri) in pairs {
            if before != after && !before.is_empty() && !after.is_empty() {
                return Err(Error::bad_state(format!(
                    "the work directory was set up for another {side} database"
                ))
                .detail(format!(
                    "It was {uri}; the one given now is another database."
                ))
                .hint("Give the same database, or another work directory with --dir."));
            }
        }
        if let (Some(before), Some(after)) = (self.split_bytes, now.split_bytes)
            && (before, self.split_max_parts) != (after, now.split_max_parts)
        {
            return Err(Error::bad_state("the tables were split with other settings")
                .detail(format!(
                    "Before: --split-tables-larger-than {before} --split-max-parts {}; now: {after} \
                     and {}.",
                    self.split_max_parts, now.split_max_parts
                ))
                .hint("Repeat the options of the first run, or begin anew with --restart."));
        }
        if options_differ(&self.options, &now.options) {
            return Err(Error::bad_state("the first run had other options")
                .detail(format!("Before: {}; now: {}.", self.options, now.options))
                .hint("Repeat the options of the first run, or begin anew with --restart."));
        }
        self.check_filters(now)
    }

    /// Refuses a run that selects other objects than the directory was set up for.
    fn check_filters(&self, now: &Self) -> Result<()> {
        if self.filters == now.filters {
            return Ok(());
        }
        let only = |one: &str, other: &str| {
            let lines: Vec<&str> = one
                .lines()
                .filter(|line| !other.lines().any(|known| known == *line))
                .collect();
            if lines.is_empty() {
                "nothing".to_owned()
            } else {
                lines.join("; ")
            }
        };
        Err(Error::bad_state("the first run had other filters")
            .detail(format!(
                "Only then: {}. Only now: {}.",
                only(&self.filters, &now.filters),
                only(&now.filters, &self.filters)
            ))
            .hint("Repeat --filters of the first run, or begin anew with --restart."))
    }
}

/// True when two JSON objects of options differ in one that both name.
pub fn options_differ(before: &str, now: &str) -> bool {
    let parse = |text: &str| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).unwrap_or_default()
    };
    let now = parse(now);
    parse(before)
        .iter()
        .any(|(key, value)| now.get(key).is_some_and(|other| other != value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_differ_only_where_both_name_them() {
        let one = r#"{"a": true, "b": 1}"#;
        assert!(!options_differ(one, r#"{"a": true, "c": 2}"#));
        assert!(options_differ(one, r#"{"a": false}"#));
        assert!(!options_differ("", r#"{"a": false}"#));
    }
}
