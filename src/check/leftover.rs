//! What an earlier run has left on either side, and what following does not bring along.
//!
//! Runs in the prepare process, and in the main program for `check --follow`. Reads both servers, writes nothing.

use super::finding::Findings;
use super::preflight::shown;
use super::stream::FollowChoices;
use crate::error::{Error, Kind, Result};
use crate::pg::{PgSession, quote};
use crate::units::Side;

/// Looks for publications on the source and an origin on the target of the names that this run would use; an old
/// slot is looked for with the others. Errors: a query that failed.
pub(super) fn look(
    source: &mut PgSession,
    target: &mut PgSession,
    choices: &FollowChoices,
    findings: &mut Findings,
) -> Result<()> {
    let slot = &choices.slot;
    let names = ["", "_noid", "_gen"].map(|end| format!("{slot}{end}"));
    let found = by_kind(
        source,
        include_str!("sql/read_leftovers.sql"),
        &[&names.as_slice()],
    )?;
    let of = |wanted: &str| -> Vec<String> {
        let of_kind = found.iter().filter(|(kind, _)| kind == wanted);
        of_kind.map(|(_, name)| name.clone()).collect()
    };
    for name in of("publication") {
        findings.warn(
            Side::Source,
            format!("publication {name} is there already"),
            format!("If no run uses it any more, run on the source: drop publication {name};"),
        );
    }
    let subscriptions = of("subscription");
    if let Some(first) = subscriptions.first() {
        let what = format!(
            "{} subscriptions are made on the target, disabled",
            subscriptions.len()
        );
        let error = Error::new(Kind::Source, what)
            .detail(format!("They are: {}.", shown(&subscriptions)))
            .hint(format!(
                "They name the slots of those on the source. After the switch run on the source: drop \
                 subscription {first}; and on the target: alter subscription {first} enable;"
            ));
        findings.warning(error);
    }
    origin(target, &choices.origin, findings)
}

fn origin(target: &mut PgSession, name: &str, findings: &mut Findings) -> Result<()> {
    let sql = "select exists (select 1 from pg_catalog.pg_replication_origin where roname = $1)";
    let there = match target.query_one(sql, &[&name]) {
        Ok(row) => row.get::<_, bool>(0),
        // Who may not look there finds out with the other rights.
        Err(error) if error.sqlstate() == Some("42501") => false,
        Err(error) => return Err(error),
    };
    if there {
        let quoted = quote::literal(name);
        findings.warn(
            Side::Target,
            format!("replication origin {quoted} is there already"),
            format!(
                "If no run uses it any more, run on the target: select pg_replication_origin_drop({quoted});"
            ),
        );
    }
    Ok(())
}

/// Warns of what a follow does not bring along. Errors: a query that failed.
pub(super) fn limits(source: &mut PgSession, findings: &mut Findings) -> Result<()> {
    let found = by_kind(source, include_str!("sql/list_stream_limits.sql"), &[])?;
    let mut tell = |wanted: &str, what: &str, hint: &str| {
        let of_kind = found.iter().filter(|(kind, _)| kind == wanted);
        let names: Vec<String> = of_kind.map(|(_, name)| name.clone()).collect();
        if !names.is_empty() {
            let error = Error::new(Kind::Source, format!("{} {what}", names.len()))
                .detail(format!("They are: {}.", shown(&names)));
            findings.warning(error.hint(hint));
        }
    };
    tell(
        "partitioned table",
        "partitioned tables may get partitions while they are followed, which nobody makes on the target",
        "Make partitions that come due on the target, too, before rows go there.",
    );
    tell(
        "event trigger",
        "event triggers act on the source, and on the target only from the end of the copy on",
        "Let none of them write rows that the follow brings along anyway.",
    );
    Ok(())
}

fn by_kind(
    session: &mut PgSession,
    sql: &str,
    parameters: &[&(dyn postgres::types::ToSql + Sync)],
) -> Result<Vec<(String, String)>> {
    let rows = session.query(sql, parameters)?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
