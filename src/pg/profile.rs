//! The settings of a session, by what it is for: one list for sessions of either kind.
//!
//! Pure. Settings are made with SET after connecting, never as startup options, which connection
//! poolers refuse. None needs special rights. What is absent is absent on purpose: the database's own
//! `default_tablespace`, `check_function_bodies`, `session_replication_role` and limits on parallel
//! workers are kept.

use super::quote::literal;
use crate::units::PgVersion;

/// What a session is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Reads the catalogs of either server.
    Catalog,
    /// Exports or holds the snapshot on the source.
    Snapshot,
    /// Reads rows of the source.
    SourceCopy {
        /// Encoding of the rows: the source's `server_encoding`.
        encoding: String,
    },
    /// Writes rows to the target.
    TargetCopy {
        /// Encoding of the rows: the source's `server_encoding`.
        encoding: String,
    },
    /// Builds indexes and constraints, runs VACUUM.
    TargetBuild {
        /// `maintenance_work_mem`, the server's own when `None`.
        maintenance_work_mem: Option<String>,
    },
    /// Applies changes to the target. What is lost in a crash is applied again, so commits need not
    /// wait for the disk.
    TargetApply,
    /// Anything else on the target.
    TargetPlain,
}

/// Settings of all sessions. What the ledger marks as done must be on the target's disk, as a commit
/// that is not is lost when the server crashes; standbys of the target are not waited for.
///  Output of values as `pg_dump` fixes it, no limits, no surprises by
/// settings of the role or the database.
const ALL: &str = "\
set statement_timeout to 0;
set extra_float_digits to 3;
set lock_timeout to 0;
set default_transaction_read_only to off;
set default_transaction_isolation to 'read committed';
set default_transaction_deferrable to off;
set DateStyle to 'ISO';
set IntervalStyle to 'postgres';
set TimeZone to 'UTC';
set bytea_output to 'hex';
set standard_conforming_strings to on;
set array_nulls to on;
set lc_monetary to 'C';
set xmloption to 'content';
set quote_all_identifiers to off;
set enable_tidscan to on;
set synchronous_commit to local;
";

/// Settings of sessions that read: all rows or an error, in the order of the file.
const READING: &str = "\
set row_security to off;
set synchronize_seqscans to off;
set search_path to '';
";

/// Settings for applying changes: the statements are prepared once, their rows are told by keys, and
/// a plan that reads whole tables for a batch would be made for every one of them.
const APPLYING: &str = "\
set synchronous_commit to off;
set row_security to off;
set check_function_bodies to off;
set plan_cache_mode to force_generic_plan;
set enable_hashjoin to off;
set enable_mergejoin to off;
set enable_seqscan to off;
set jit to off;
";

/// Notices a client that is gone; the setting is refused where the platform cannot tell.
const CHECK_CLIENT: &str = "\
select pg_catalog.set_config('client_connection_check_interval', '5s', false) \
where pg_catalog.version() ~* 'linux';
";

/// Run before anything is asked: names and operators are the server's own, whatever path the database
/// has, and the start of a backend is told with all its digits.
pub const FIRST: &str = "set search_path to pg_catalog; set extra_float_digits to 3";

/// The database's own path is what expressions of indexes and constraints were written for, but
/// `pg_catalog` comes first: definitions leave it out, and another function of that name would be taken.
const CATALOG_FIRST: &str = "\
reset search_path;
select pg_catalog.set_config('search_path', pg_catalog.concat('pg_catalog', \
case when pg_catalog.btrim(path, ' \"') operator(pg_catalog.=) '' then '' else ', ' end, path), false) \
from pg_catalog.current_setting('search_path') as path;
";

/// Settings that say how values are printed, not how what we send is read. Index expressions and generated
/// columns are to be computed as they will be looked up, so these stay as the database has them.
const AS_LOOKED_UP: &str = "\
reset DateStyle;
reset IntervalStyle;
reset TimeZone;
reset bytea_output;
";

impl Profile {
    /// The statements to run once after connecting, in one simple query.
    ///
    /// `server_encoding` is that of the server connected to: an `SQL_ASCII` database converts
    /// nothing, so its bytes are taken as they are.
    pub fn statements(&self, version: PgVersion, server_encoding: &str) -> String {
        let encoding = match self {
            Self::SourceCopy { encoding } | Self::TargetCopy { encoding } => encoding.as_str(),
            _ if server_encoding == "SQL_ASCII" => "SQL_ASCII",
            _ => "UTF8",
        };
        let mut sql = format!("set client_encoding to {};\n", literal(encoding));
        sql.push_str(ALL);
        for (since, setting) in [
            (90_600, "idle_in_transaction_session_timeout"),
            (140_000, "idle_session_timeout"),
            (170_000, "transaction_timeout"),
        ] {
            if version >= PgVersion(since) {
                sql.push_str("set ");
                sql.push_str(setting);
                sql.push_str(" to 0;\n");
            }
        }
        if matches!(
            self,
            Self::Catalog | Self::Snapshot | Self::SourceCopy { .. }
        ) {
            sql.push_str(READING);
            if !matches!(self, Self::SourceCopy { .. }) && version >= PgVersion(110_000) {
                // Catalogs are read in milliseconds; compiling a query for them took 58.
                sql.push_str("set jit to off;\n");
            }
            return sql;
        }
        if version >= PgVersion(140_000) {
            sql.push_str(CHECK_CLIENT);
        }
        sql.push_str(CATALOG_FIRST);
        if *self != Self::TargetPlain {
            sql.push_str(AS_LOOKED_UP);
        }
        if *self == Self::TargetApply {
            sql.push_str(APPLYING);
        }
        if let Self::TargetBuild {
            maintenance_work_mem: Some(memory),
        } = self
        {
            sql.push_str("set maintenance_work_mem to ");
            sql.push_str(&literal(memory));
            sql.push_str(";\n");
        }
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_fit_the_version_and_the_purpose() {
        let old = Profile::Catalog.statements(PgVersion(90_500), "SQL_ASCII");
        assert!(old.starts_with("set client_encoding to 'SQL_ASCII'"));
        for absent in [
            "idle_in",
            "idle_session",
            "transaction_timeout",
            "check_int",
        ] {
            assert!(!old.contains(absent), "{absent}");
        }
        let copy = Profile::SourceCopy {
            encoding: "EUC_JP".to_owned(),
        };
        let copy = copy.statements(PgVersion(170_000), "UTF8");
        for present in [
            "'EUC_JP'",
            "transaction_timeout to 0",
            "row_security to off",
            "path to ''",
        ] {
            assert!(copy.contains(present), "{present}");
        }
        let build = Profile::TargetBuild {
            maintenance_work_mem: Some("1GB".to_owned()),
        };
        let build = build.statements(PgVersion(150_000), "UTF8");
        for present in [
            "maintenance_work_mem to '1GB'",
            "synchronous_commit to local",
            "'5s'",
        ] {
            assert!(build.contains(present), "{present}");
        }
        assert!(!build.contains("row_security"));
        assert!(build.contains("reset TimeZone"));
    }
}
