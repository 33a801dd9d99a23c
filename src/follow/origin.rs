//! The replication origin on the target: the one place that says what has been applied.
//!
//! Runs in leaf processes with a session on the target. An origin that another migration left would
//! make every transaction below its position be skipped, so only one that is ours is accepted.

use super::files::CdcDir;
use crate::catalog::{CdcSetup, Ledger};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::PgSession;
use crate::units::Lsn;

/// An origin as it stands on the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its number.
    pub roident: i64,
    /// How far it is; unset: nowhere yet.
    pub progress: Lsn,
}

/// Reads an origin; none when there is none of that name.
pub fn read(session: &mut PgSession, name: &str) -> Result<Option<Origin>> {
    let row = session
        .query_one(include_str!("sql/read_origin.sql"), &[&name])
        .map_err(|error| explain(error, name))?;
    let Some(roident) = row.get::<_, Option<i64>>("roident") else {
        return Ok(None);
    };
    let progress = row.get::<_, Option<String>>("progress");
    Ok(Some(Origin {
        roident,
        progress: progress
            .and_then(|text| text.parse().ok())
            .unwrap_or_default(),
    }))
}

fn explain(error: Error, name: &str) -> Error {
    let what = format!("looking at replication origin \"{name}\" on the target");
    if error.sqlstate() == Some("42501") {
        return error.context(what).hint(
            "Use a superuser on the target, or let one run: GRANT EXECUTE ON FUNCTION \
             pg_replication_origin_create, pg_replication_origin_advance, pg_replication_origin_oid, \
             pg_replication_origin_progress, pg_replication_origin_drop, \
             pg_replication_origin_session_setup, pg_replication_origin_xact_setup, \
             pg_replication_origin_xact_reset TO ... (PostgreSQL 14 and later).",
        );
    }
    error.context(what)
}

/// Makes the origin at the slot's consistent point, or accepts the one that we made.
pub fn set_up(
    session: &mut PgSession,
    ledger: &mut Ledger,
    cdc: &CdcDir,
    name: &str,
    lsn: Lsn,
) -> Result<()> {
    let recorded = cdc.read_origin()?;
    if let Some(recorded) = recorded.filter(|recorded| recorded != name) {
        return Err(Error::bad_state(format!(
            "this work directory was set up with origin \"{recorded}\", not \"{name}\""
        ))
        .hint("Repeat --origin of the first command."));
    }
    if let Some(found) = read(session, name)? {
        let ours = CdcSetup::get(ledger.connection(), "roident")?;
        if ours.as_deref() != Some(&found.roident.to_string()) && found.progress != lsn {
            return Err(Error::bad_state(format!(
                "replication origin \"{name}\" exists on the target, at {}",
                found.progress
            ))
            .detail(
                "It was not made for this work directory: changes up to there would be skipped.",
            )
            .hint(format!(
                "Use another --origin, or drop it with \"pgcopydb stream cleanup --origin {name}\" \
                 when no other migration needs it."
            )));
        }
        note(ledger, cdc, name, found.roident)?;
        log::info!(
            "Using replication origin \"{name}\" at LSN {}",
            found.progress
        );
        return Ok(());
    }
    let text = lsn.to_string();
    let failed = |error: Error| {
        let full = error.sqlstate() == Some("53400");
        let error = explain(error, name);
        if full {
            return error.hint(
                "Raise max_replication_slots (max_active_replication_origins from PostgreSQL 18 on) \
                 of the target.",
            );
        }
        error
    };
    session.batch_execute("begin").map_err(failed)?;
    let made = session
        .query_one(
            "select pg_catalog.pg_replication_origin_create($1)::int8",
            &[&name],
        )
        .and_then(|row| {
            session.query(
                "select pg_catalog.pg_replication_origin_advance($1, $2::text::pg_catalog.pg_lsn)",
                &[&name, &text],
            )?;
            session.batch_execute("commit")?;
            Ok(row.get::<_, i64>(0))
        });
    let roident = match made {
        Ok(roident) => roident,
        Err(error) => {
            let _ended = session.batch_execute("rollback");
            return Err(failed(error)).context(|| "creating a replication origin".to_owned());
        }
    };
    note(ledger, cdc, name, roident)?;
    log::info!("Created logical replication origin \"{name}\" at LSN {lsn}");
    Ok(())
}

fn note(ledger: &mut Ledger, cdc: &CdcDir, name: &str, roident: i64) -> Result<()> {
    CdcSetup::put(ledger, &[("roident", &roident.to_string())])?;
    cdc.write_whole(&cdc.origin(), &format!("{name}\n"))
}

/// Drops an origin and those of parallel workers beside it; waits while a session uses one.
pub fn drop_all(session: &mut PgSession, name: &str) -> Result<u64> {
    let pattern = format!("{name}/w");
    let names: Vec<String> = session
        .query(
            "select roname from pg_catalog.pg_replication_origin where roname = $1 \
             or (pg_catalog.left(roname, pg_catalog.length($2)) = $2 and roname ~ '/w[0-9]+$')",
            &[&name, &pattern],
        )?
        .iter()
        .map(|row| row.get(0))
        .collect();
    for name in &names {
        let since = std::time::Instant::now();
        loop {
            let dropped =
                session.query("select pg_catalog.pg_replication_origin_drop($1)", &[name]);
            match dropped {
                Ok(_) => break,
                // In use: by an apply that is ending.
                Err(error)
                    if error.sqlstate() == Some("55006") && since.elapsed().as_secs() < 10 =>
                {
                    crate::sys::clock::nap(std::time::Duration::from_millis(200));
                }
                Err(error) => {
                    let in_use = error.sqlstate() == Some("55006");
                    let error = error
                        .context(format!(
                            "dropping replication origin \"{name}\" on the target"
                        ))
                        .with_kind(Kind::Target);
                    return Err(if in_use {
                        error
                            .hint("Stop the process that applies changes, then repeat the cleanup.")
                    } else {
                        error
                    });
                }
            }
        }
    }
    Ok(names.len() as u64)
}
