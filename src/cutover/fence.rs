//! The fence: new sessions of the source read only, and those that are there ended.
//!
//! Runs in the main program, over its own session on the source. What the database's setting was is in
//! the ledger, on disk, before it changes; so it is put back as it was, by an abort or by a later run.

use crate::catalog::{CdcSetup, Ledger};
use crate::error::{Context, Error, Result};
use crate::pg::{PgSession, quote};
use crate::sys::clock;
use std::time::{Duration, Instant};

/// Where the ledger remembers the setting before: `none`, or `=` and the value.
const FACT: &str = "read_only_before";
/// How long ended sessions may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// The fence of one database.
#[derive(Debug)]
pub(super) struct Fence {
    database: String,
    /// The setting before, none: there was none.
    former: Option<String>,
}

impl Fence {
    /// The fence that an earlier cutover left.
    pub(super) fn left(session: &mut PgSession, ledger: &Ledger) -> Result<Option<Self>> {
        let Some(text) = CdcSetup::get(ledger.connection(), FACT)?.filter(|text| !text.is_empty())
        else {
            return Ok(None);
        };
        let (database, _, _) = look(session)?;
        Ok(Some(Self {
            database,
            former: text.strip_prefix('=').map(str::to_owned),
        }))
    }

    /// Sets the source read only. Gives the fence, and the roles that have a setting of their own.
    pub(super) fn set(session: &mut PgSession, ledger: &mut Ledger) -> Result<(Self, Vec<String>)> {
        let (database, former, roles) = look(session)?;
        let fence = match Self::left(session, ledger)? {
            Some(left) => left,
            None => Self { database, former },
        };
        let text = match &fence.former {
            None => "none".to_owned(),
            Some(value) => format!("={value}"),
        };
        CdcSetup::put(ledger, &[(FACT, &text)])?;
        let sql = format!(
            "alter database {} set default_transaction_read_only to on",
            quote::ident(&fence.database)
        );
        session.batch_execute(&sql).map_err(|error| {
            let error = error.context("setting the source read only");
            if error.sqlstate() == Some("42501") {
                return error.hint(
                    "Only the owner of the database or a superuser may do that: use such a role, or stop the \
                     writers yourself and leave --set-read-only out.",
                );
            }
            error
        })?;
        Ok((fence, roles))
    }

    /// The statements that take it away, also in a session that is read only by now.
    pub(super) fn undo_statement(&self) -> String {
        let database = quote::ident(&self.database);
        let change = match &self.former {
            None => "reset default_transaction_read_only".to_owned(),
            Some(value) => format!(
                "set default_transaction_read_only to {}",
                quote::literal(value).trim_start()
            ),
        };
        format!("begin read write; alter database {database} {change}; commit")
    }

    /// Takes it away.
    pub(super) fn undo(&self, session: &mut PgSession, ledger: &mut Ledger) -> Result<()> {
        session
            .batch_execute(&self.undo_statement())
            .context(|| "letting sessions of the source write again".to_owned())?;
        CdcSetup::put(ledger, &[(FACT, "")])
    }
}

/// Database, its own setting, and the roles with a setting of their own.
fn look(session: &mut PgSession) -> Result<(String, Option<String>, Vec<String>)> {
    let row = session.query_one(include_str!("sql/read_read_only.sql"), &[])?;
    Ok((row.get("database"), row.get("former"), row.get("roles")))
}

/// Ends the sessions of others in the database and sees them gone. Gives how many there were.
pub(super) fn end_sessions(session: &mut PgSession) -> Result<usize> {
    let sessions = list(session)?;
    for (pid, who) in &sessions {
        session
            .query("select pg_catalog.pg_terminate_backend($1)", &[pid])
            .map_err(|error| {
                let error = error.context(format!("ending {who} on the source"));
                if error.sqlstate() == Some("42501") {
                    return error.hint(
                        "Use a role that is a superuser or a member of pg_signal_backend, or end these sessions \
                         first: what they write after the endpos does not reach the target.",
                    );
                }
                error
            })?;
    }
    let since = Instant::now();
    loop {
        let there = list(session)?;
        let left: Vec<&str> = there
            .iter()
            .filter(|(pid, _)| sessions.iter().any(|(ended, _)| ended == pid))
            .map(|(_, who)| who.as_str())
            .collect();
        if left.is_empty() {
            return Ok(sessions.len());
        }
        super::unless_stopped()?;
        if since.elapsed() > GONE_WITHIN {
            return Err(Error::bad_state(format!(
                "{} sessions of the source do not end",
                left.len()
            ))
            .detail(left.join("; "))
            .hint("End them, and begin the cutover again."));
        }
        clock::nap(Duration::from_millis(100));
    }
}

fn list(session: &mut PgSession) -> Result<Vec<(i32, String)>> {
    let rows = session.query(include_str!("sql/list_sessions.sql"), &[])?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
