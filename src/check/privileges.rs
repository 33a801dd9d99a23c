//! Privileges that objects get on the target because they are made there, and that the source does not give.
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads the target, writes
//! nothing.

use super::finding::Findings;
use super::preflight::Choices;
use super::rights::Known;
use crate::error::{Error, Kind, Result};

/// Warns of default privileges of the target's role: `pg_dump` names the privileges of an object only where it has
/// any, and takes none away. Errors: a query that failed.
pub(super) fn look(
    _: Known<'_>,
    (target, _): Known<'_>,
    choices: &Choices,
    findings: &mut Findings,
) -> Result<()> {
    if choices.no_acl || choices.skip_definitions {
        return Ok(());
    }
    let rows = target.query(include_str!("sql/list_default_privileges.sql"), &[])?;
    let statements: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if statements.is_empty() {
        return Ok(());
    }
    let what = "default privileges of the target give others rights on what is made there, beside those of the source";
    findings.warning(Error::new(Kind::Target, what).hint(format!(
        "Unless that is meant, run on the target before the copy: {}",
        statements.join(" ")
    )));
    Ok(())
}
