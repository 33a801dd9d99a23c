//! What on the target says what has been applied: a replication origin, or a row of a table where the role
//! may not use origins.
//!
//! Runs in leaf processes with a session on the target. One that another migration left would make every
//! transaction below its position be skipped, so only one that is ours is accepted. Which of both it is
//! stands on the target alone: where there is a row of that name, it counts.

use super::applied;
use super::files::CdcDir;
use crate::catalog::{CdcSetup, CdcStatus, Ledger, Sentinel};
use crate::error::{Context, Error, Kind, Result};
use crate::pg::PgSession;
use crate::sys::proc;
use crate::units::Lsn;

/// The fact in the ledger that tells which progress is ours.
pub const ID: &str = "roident";
/// The fact that schema `pgcopydb` of the target was made by us.
const SCHEMA_IS_OURS: &str = "applied_schema";

/// What keeps the progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// A replication origin.
    Origin,
    /// A row of `pgcopydb.cdc_applied`.
    Table,
}

impl Keeper {
    /// What keeps the progress of that name; an origin where there is no row, be it there or not.
    pub fn find(session: &mut PgSession, name: &str) -> Result<Self> {
        Ok(match applied::find(session, name)? {
            Some(_) => Self::Table,
            None => Self::Origin,
        })
    }

    /// For people.
    pub fn shown(self, name: &str) -> String {
        match self {
            Self::Origin => format!("replication origin \"{name}\""),
            Self::Table => format!("table pgcopydb.cdc_applied, row \"{name}\""),
        }
    }
}

/// Progress as it stands on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What tells it from another one of the same name.
    pub id: String,
    /// What keeps it.
    pub keeper: Keeper,
    /// How far it durably is; unset: nowhere yet.
    pub progress: Lsn,
}

/// Reads the progress of a name; none when there is none.
pub fn read(session: &mut PgSession, name: &str) -> Result<Option<Origin>> {
    if let Some(row) = applied::find(session, name)? {
        applied::flush(session)?;
        return Ok(Some(Origin {
            id: row.owner,
            keeper: Keeper::Table,
            progress: row.end,
        }));
    }
    let row = session
        .query_one(include_str!("sql/read_origin.sql"), &[&name])
        .map_err(|error| explain(error, name))?;
    let Some(roident) = row.get::<_, Option<i64>>("roident") else {
        return Ok(None);
    };
    let progress = row.get::<_, Option<String>>("progress");
    Ok(Some(Origin {
        id: roident.to_string(),
        keeper: Keeper::Origin,
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

/// Reads the progress of a name where it has to be made yet: a role that may not use origins has none, unless
/// the ledger knows of one.
fn read_before(session: &mut PgSession, ledger: &Ledger, name: &str) -> Result<Option<Origin>> {
    let ours = CdcSetup::get(ledger.connection(), ID)?;
    let is_origin = ours.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()));
    if is_origin || applied::find(session, name)?.is_some() || applied::may_use_origins(session)? {
        return read(session, name);
    }
    Ok(None)
}

/// Refuses a target that could not keep the progress of that name.
pub fn check(session: &mut PgSession, ledger: &Ledger, name: &str) -> Result<()> {
    if read_before(session, ledger, name)?.is_none() && !applied::may_use_origins(session)? {
        applied::check(session)?;
    }
    Ok(())
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
    if let Some(found) = read_before(session, ledger, name)? {
        let ours = CdcSetup::get(ledger.connection(), ID)?;
        if ours.as_ref() != Some(&found.id) && found.progress != lsn {
            return Err(Error::bad_state(format!(
                "{} exists on the target, at {}",
                found.keeper.shown(name),
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
        note(ledger, cdc, name, &found.id)?;
        log::info!(
            "Using {} at LSN {}",
            found.keeper.shown(name),
            found.progress
        );
        return Ok(());
    }
    refuse_lost(ledger, name, lsn)?;
    if !applied::may_use_origins(session)? {
        return make_row(session, ledger, (cdc, name, lsn));
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
    note(ledger, cdc, name, &roident.to_string())?;
    log::info!("Created logical replication origin \"{name}\" at LSN {lsn}");
    Ok(())
}

/// What says how far the target is must not be made anew at the beginning once changes were applied.
fn refuse_lost(ledger: &Ledger, name: &str, start: Lsn) -> Result<()> {
    let applied = Sentinel::read(ledger.connection())?.map(|row| row.replay_lsn);
    let backend = CdcStatus::read(ledger.connection())?.apply_backend;
    match applied.filter(|applied| *applied > start || backend != 0) {
        None => Ok(()),
        Some(_) => Err(Error::bad_state(format!(
            "the target has no progress \"{name}\" any more, and changes were applied to it before"
        ))
        .detail("Applied from the beginning again, changes would be there twice.")
        .hint("Give the target that was followed into before, or begin anew with --restart and a new copy.")),
    }
}

/// Makes the row of the table. Whose it is stands in the ledger before.
fn make_row(
    session: &mut PgSession,
    ledger: &mut Ledger,
    (cdc, name, lsn): (&CdcDir, &str, Lsn),
) -> Result<()> {
    let taken = session.query_one(
        "select exists (select 1 from pg_catalog.pg_replication_origin where roname = $1)",
        &[&name],
    )?;
    if taken.get(0) {
        return Err(Error::bad_state(format!(
            "replication origin \"{name}\" exists on the target, and this role may not use it"
        ))
        .hint("Another migration may need it: use another --origin."));
    }
    let owner = proc::random_uuid();
    CdcSetup::put(ledger, &[(ID, &owner)])?;
    let schema_is_ours = applied::make(session, name, (&owner, lsn))?;
    if schema_is_ours {
        CdcSetup::put(ledger, &[(SCHEMA_IS_OURS, "true")])?;
    }
    note(ledger, cdc, name, &owner)?;
    log::info!(
        "The role may not use replication origins on the target: made table pgcopydb.cdc_applied there, with row \
         \"{name}\" at LSN {lsn}"
    );
    Ok(())
}

fn note(ledger: &mut Ledger, cdc: &CdcDir, name: &str, id: &str) -> Result<()> {
    CdcSetup::put(ledger, &[(ID, id)])?;
    cdc.write_whole(&cdc.origin(), &format!("{name}\n"))
}

/// Removes a row of the table, as far as there is one.
pub fn drop_row(session: &mut PgSession, ledger: Option<&Ledger>, name: &str) -> Result<bool> {
    let fact = match ledger {
        Some(ledger) => CdcSetup::get(ledger.connection(), SCHEMA_IS_OURS)?,
        None => None,
    };
    applied::remove(session, name, fact.is_some())
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
