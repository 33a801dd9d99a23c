//! Which databases these are: versions that work together, and not the same one twice.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`.

use super::finding::Findings;
use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use crate::schema::server::ServerFacts;
use crate::units::{PgVersion, Side};

/// Oldest source that is read.
const SOURCE_MIN: PgVersion = PgVersion(90_600);
/// Oldest target that is written.
const TARGET_MIN: PgVersion = PgVersion(120_000);
/// Newest major that was tried.
const NEWEST_MAJOR: u32 = 18;

/// Names a database for ever: cluster and oid; a role that may not know the cluster's number gets a
/// weaker name.
pub fn identity(facts: &ServerFacts) -> String {
    let system = facts.system_identifier.as_deref().unwrap_or("unknown");
    format!("{system}/{}/{}", facts.database.oid, facts.database.datname)
}

/// Refuses versions that cannot work together. Errors: `Source` or `Target`.
pub fn versions(source: &ServerFacts, target: &ServerFacts, findings: &mut Findings) -> Result<()> {
    if source.version < SOURCE_MIN {
        return Err(Error::new(
            Kind::Source,
            format!(
                "the source is PostgreSQL {}, which is too old",
                source.version
            ),
        )
        .hint("Upgrade it to 9.6 or newer first."));
    }
    if target.version < TARGET_MIN {
        return Err(Error::new(
            Kind::Target,
            format!(
                "the target is PostgreSQL {}, which is too old",
                target.version
            ),
        )
        .hint("Use a target of PostgreSQL 12 or newer."));
    }
    if target.version.major() < source.version.major() {
        return Err(Error::new(
            Kind::Target,
            format!(
                "the target, PostgreSQL {}, is older than the source, {}",
                target.version, source.version
            ),
        )
        .hint("Use a target of the same major version or a newer one."));
    }
    for (side, facts) in [(Side::Source, source), (Side::Target, target)] {
        if facts.version.major() > NEWEST_MAJOR {
            findings.warn(
                side,
                format!(
                    "The {side} is PostgreSQL {}, which is newer than this program knows",
                    facts.version
                ),
                "Look for a newer version of this program, and compare the result.",
            );
        }
    }
    Ok(())
}

/// A key that nobody else is likely to lock.
fn random_key() -> i64 {
    i64::from_ne_bytes(crate::sys::proc::random_bytes())
}

/// Refuses to copy a database onto itself. Equal names of clusters are not enough, as a copied
/// cluster keeps its number: a lock taken on one side must be seen on the other.
pub fn not_the_same_database(
    (source, source_facts): (&mut PgSession, &ServerFacts),
    (target, target_facts): (&mut PgSession, &ServerFacts),
) -> Result<()> {
    let same_system = source_facts.system_identifier == target_facts.system_identifier
        || source_facts.system_identifier.is_none()
        || target_facts.system_identifier.is_none();
    if !same_system {
        return Ok(());
    }
    let is_standby = source_facts.in_recovery
        && source_facts.system_identifier.is_some()
        && source_facts.database.oid == target_facts.database.oid
        && !target_facts.in_recovery;
    if is_standby {
        return Err(Error::bad_state("the source is a standby of the target")
            .hint("Give another source or another target."));
    }
    if source_facts.database.oid != target_facts.database.oid {
        return Ok(());
    }
    let key = random_key();
    target.query("select pg_catalog.pg_advisory_lock($1)", &[&key])?;
    let free: bool = source
        .query_one("select pg_catalog.pg_try_advisory_lock($1)", &[&key])?
        .get(0);
    if free {
        source.query("select pg_catalog.pg_advisory_unlock($1)", &[&key])?;
    }
    target.query("select pg_catalog.pg_advisory_unlock($1)", &[&key])?;
    if free {
        return Ok(());
    }
    Err(Error::bad_state(format!(
        "source and target are the same database, \"{}\"",
        source_facts.database.datname
    ))
    .hint("Check --source and --target; nothing was changed."))
}
