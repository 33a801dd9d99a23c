//! timescaledb: can its hypertables be copied by the way that it gives for a restore?
//!
//! Runs in the prepare process, and in the main program for `check` and `--dry-run`. Reads both servers, writes
//! nothing. All of it is asked only where the source has the extension.

use super::finding::Findings;
use super::preflight::{Choices, shown};
use crate::error::{Error, Kind, Result};
use crate::pg::PgSession;
use crate::schema::hooks::{
    Hypertable, Installed, POST_RESTORE, PRE_RESTORE, TIMESCALEDB, find_extension, list_hypertables,
};
use crate::units::Side;

/// An extension of the source that is told of a restore.
pub(super) struct Hooked<'a> {
    pub(super) version: &'a str,
    /// Filters leave it out.
    pub(super) is_left_out: bool,
}

/// Looks at timescaledb; `target` is nothing where its database is still to be made. Returns what a run calls.
pub(super) fn timescaledb(
    source: &mut PgSession,
    target: Option<&mut PgSession>,
    (one, choices): (&Hooked<'_>, &Choices),
    findings: &mut Findings,
) -> Result<Vec<String>> {
    let all = list_hypertables(&mut source.client, Side::Source)?;
    if one.is_left_out || choices.skip_extensions {
        let (hypertables, chunks) = count(&all);
        if hypertables > 0 {
            findings.fail(needs_extension(hypertables, chunks));
        }
        return Ok(Vec::new());
    }
    findings.take(refuse_torn(&all, choices));
    findings.take(refuse_elsewhere(&all));
    let pinned = choices
        .requirements
        .iter()
        .find(|(name, _)| name == TIMESCALEDB);
    if let Some((_, version)) = pinned.filter(|(_, version)| version != one.version) {
        findings.fail(other_version(version, one.version, "in --requirements"));
    }
    let calls = [PRE_RESTORE, POST_RESTORE];
    let of_source = find_extension(&mut source.client, Side::Source, TIMESCALEDB, &calls)?;
    let installed = match target {
        Some(target) => {
            let found = find_extension(&mut target.client, Side::Target, TIMESCALEDB, &calls)?;
            if found.is_none() {
                findings.take(refuse_unavailable(target, one.version));
            }
            found
        }
        None => None,
    };
    let side = if installed.is_some() {
        Side::Target
    } else {
        Side::Source
    };
    if let Some(there) = &installed
        && there.version != one.version
    {
        findings.fail(other_version(&there.version, one.version, "on the target"));
    }
    // What is not on the target yet will be as it is on the source, version by version.
    let Some(has) = installed.or(of_source) else {
        return Ok(Vec::new());
    };
    let mut lines = Vec::new();
    for (name, when) in calls.into_iter().zip(["before tables", "at the end"]) {
        match callable(&has, (TIMESCALEDB, name), side) {
            Ok(qname) => lines.push(format!("CALL {qname}() on the target, {when}")),
            Err(error) => findings.fail(error),
        }
    }
    Ok(lines)
}

/// Refuses hypertables that the target has already: the numbers of both would meet in one catalog.
pub fn refuse_hypertables(target: &mut PgSession) -> Result<()> {
    let all = list_hypertables(&mut target.client, Side::Target)?;
    let (hypertables, _) = count(&all);
    if hypertables == 0 {
        return Ok(());
    }
    let names: Vec<String> = all.iter().map(|one| one.qname.clone()).collect();
    Err(Error::new(
        Kind::Target,
        format!("the target has {hypertables} hypertables of timescaledb already"),
    )
    .detail(format!("They are: {}.", shown(&names)))
    .hint(
        "Their numbers are those that hypertables of the source have: make the target's database anew, or \
         run there: drop extension timescaledb cascade;",
    ))
}

/// Hypertables and chunks.
fn count(all: &[Hypertable]) -> (usize, usize) {
    let chunks = all.iter().filter(|one| one.is_chunk).count();
    (all.len() - chunks, chunks)
}

fn needs_extension(hypertables: usize, chunks: usize) -> Error {
    Error::new(
        Kind::Source,
        format!(
            "the source has {hypertables} hypertables of timescaledb, which are nothing without the extension"
        ),
    )
    .with_sqlstate("0A000")
    .detail(format!(
        "Their rows are in {chunks} chunks, of which rows of the extension's own tables say what they hold."
    ))
    .hint("Leave out --skip-extensions, and rules of the filters that leave out timescaledb.")
}

/// Refuses filters that leave out some of what belongs together.
fn refuse_torn(all: &[Hypertable], choices: &Choices) -> Result<()> {
    let torn: Vec<String> = all
        .iter()
        .filter(|one| choices.left_out.relation(one.oid))
        .map(|one| one.qname.clone())
        .collect();
    if !torn.is_empty() {
        return Err(Error::new(
            Kind::BadConfig,
            format!("filters leave out {} hypertables and chunks of timescaledb", torn.len()),
        )
        .detail(format!(
            "They are: {}. The extension's own tables, which are copied, would speak of what is not there; \
             a chunk that is left out is rows that are.",
            shown(&torn)
        ))
        .hint(
            "Keep them, schema _timescaledb_internal too; to leave out rows alone, name the chunks in \
             [exclude-table-data].",
        ));
    }
    let has_rows = |table: &Hypertable| {
        let mut chunks = all.iter().filter(|one| one.is_chunk && one.id == table.id);
        chunks.any(|chunk| !choices.left_out.has_no_rows(chunk.oid))
    };
    let full: Vec<String> = all
        .iter()
        .filter(|one| !one.is_chunk && choices.left_out.has_no_rows(one.oid) && has_rows(one))
        .map(|one| one.qname.clone())
        .collect();
    if full.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::BadConfig,
        format!(
            "filters leave out the rows of {} hypertables, which are in chunks that they keep",
            full.len()
        ),
    )
    .detail(format!("They are: {}.", shown(&full)))
    .hint("Name their chunks in [exclude-table-data], as in _timescaledb_internal.~/^_hyper_1_/"))
}

/// Refuses chunks whose rows COPY does not show.
fn refuse_elsewhere(all: &[Hypertable]) -> Result<()> {
    let names: Vec<String> = all
        .iter()
        .filter(|one| one.is_chunk && (one.relkind == "f" || one.amname == "hypercore"))
        .map(|one| one.qname.clone())
        .collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Source,
        format!(
            "rows of {} chunks of timescaledb are in tiered storage or in access method hypercore",
            names.len()
        ),
    )
    .with_sqlstate("0A000")
    .detail(format!("They are: {}.", shown(&names)))
    .hint("Bring them back on the source first: call untier_chunk(...), or decompress_chunk(...)."))
}

fn other_version(there: &str, wanted: &str, place: &str) -> Error {
    Error::new(
        Kind::Target,
        format!("timescaledb has version {wanted} on the source and {there} {place}"),
    )
    .with_sqlstate("0A000")
    .detail("The rows of its own tables are copied, so both must be the same.")
    .hint(format!(
        "Run on the side with the older one, as the first statement of a session: alter extension \
         timescaledb update to '{}'; or install {wanted} on the target.",
        newer(there, wanted)
    ))
}

/// The later of two versions, as far as their numbers tell.
fn newer<'v>(one: &'v str, other: &'v str) -> &'v str {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit())
            .map(|part| part.parse().unwrap_or(0))
            .collect()
    };
    if numbers(one) > numbers(other) {
        one
    } else {
        other
    }
}

/// Refuses a target where the source's version cannot be installed.
fn refuse_unavailable(target: &mut PgSession, version: &str) -> Result<()> {
    let rows = target.query(
        "select version::text from pg_catalog.pg_available_extension_versions where name = $1 order by 1",
        &[&TIMESCALEDB],
    )?;
    let versions: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    // That there is none at all is found by the look at all extensions.
    if versions.is_empty() || versions.iter().any(|one| one == version) {
        return Ok(());
    }
    let last = versions.iter().fold(version, |last, one| newer(last, one));
    Err(Error::new(
        Kind::Target,
        format!("the target has no timescaledb {version}, the version of the source"),
    )
    .with_sqlstate("0A000")
    .detail(format!("It has: {}.", shown(&versions)))
    .hint(format!(
        "Install that version there, or run on the source, as the first statement of a session: alter \
         extension timescaledb update to '{last}';"
    )))
}

/// The quoted name of a function of an extension that the run will call.
pub(super) fn callable(
    has: &Installed,
    (extension, name): (&str, &str),
    side: Side,
) -> Result<String> {
    let Some(function) = has.function(name) else {
        return Err(Error::new(
            side.kind(),
            format!("extension {extension} of the {side} has no function {name}()"),
        )
        .with_sqlstate("42883")
        .hint(format!(
            "Install a release of {extension} that has it on both sides."
        )));
    };
    if function.may_execute || side == Side::Source {
        return Ok(function.qname.clone());
    }
    Err(Error::new(
        side.kind(),
        format!("the role may not call {}() on the target", function.qname),
    )
    .with_sqlstate("42501")
    .hint(format!(
        "Run on the target: grant execute on function {} to the role, which must own the database, too.",
        function.qname
    )))
}

#[cfg(test)]
mod tests {
    use super::newer;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert_eq!(newer("2.9.1", "2.10.0"), "2.10.0");
        assert_eq!(newer("2.17.2", "2.17"), "2.17.2");
    }
}
