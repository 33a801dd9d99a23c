//! The two sessions of applying: one that writes and holds the replication origin, one that asks.
//!
//! Runs in the apply process. The origin is the fence between two of them: it is taken before its
//! progress is read, since the backend of a broken connection may still commit.

use crate::error::{Context, Error, Kind, Result};
use crate::pg::retry::{RECONNECT_BUDGET, with_backoff};
use crate::pg::{BackendId, Link, PgSession, Profile, quote};
use crate::sys::clock::nap;
use crate::units::Lsn;
use crate::wire::{Pipeline, Session, stop_requested};
use std::time::{Duration, Instant};

/// How long the session of an earlier run may take to let the origin go.
const ORIGIN_WAIT: Duration = Duration::from_secs(30);

/// Both sessions.
pub(super) struct Sessions {
    pub(super) pipe: Pipeline,
    pub(super) control: PgSession,
    pub(super) backend: BackendId,
}

fn one(session: &mut Session, sql: &str) -> Result<Option<String>> {
    let results = session.simple(sql)?;
    Ok(results
        .last()
        .and_then(|result| result.rows.first()?.first()?.clone()))
}

impl Sessions {
    /// Opens both, takes the origin, and reads how far it has got. `former` is the backend that this
    /// run's work directory knows as its last one. A server that is away is waited for.
    pub(super) fn open(link: &Link, origin: &str, former: Option<i32>) -> Result<(Self, Lsn)> {
        let control = link.session("apply control", &Profile::TargetPlain)?;
        let wire = link.wire("apply", &Profile::TargetApply)?;
        let backend = wire.backend_id().clone();
        let mut session = wire.session;
        replica_role(&mut session)?;
        check_origin(&mut session, origin)?;
        let mut sessions = Self {
            pipe: Pipeline::new(session),
            control,
            backend,
        };
        sessions.take_origin(origin, former)?;
        let progress = sessions.progress(origin)?;
        Ok((sessions, progress))
    }

    fn take_origin(&mut self, origin: &str, former: Option<i32>) -> Result<()> {
        let setup = format!(
            "select pg_catalog.pg_replication_origin_session_setup({})",
            quote::literal(origin)
        );
        let since = Instant::now();
        let mut said = false;
        loop {
            let Err(error) = self.pipe.session().simple(&setup) else {
                return Ok(());
            };
            let busy = error.sqlstate() == Some("55006");
            if !busy || since.elapsed() > ORIGIN_WAIT || stop_requested() {
                let context = format!("taking the replication origin \"{origin}\"");
                return Err(if busy {
                    error.context(context).hint(
                        "Another process applies changes with it; stop that, or wait for its end.",
                    )
                } else {
                    error.context(context)
                });
            }
            if !said {
                said = true;
                log::warn!("{}; waiting", error.message());
            }
            if let Some(pid) = former.filter(|pid| error.message().ends_with(&format!(" {pid}"))) {
                log::warn!(
                    "Ending server process {pid}, which an earlier run of this work directory left"
                );
                self.control
                    .execute("select pg_catalog.pg_terminate_backend($1)", &[&pid])?;
            }
            nap(Duration::from_millis(200));
        }
    }

    /// What the origin durably says. Only what a session that holds the origin reads is final.
    pub(super) fn progress(&mut self, origin: &str) -> Result<Lsn> {
        let sql = format!(
            "select pg_catalog.pg_replication_origin_progress({}, true)",
            quote::literal(origin)
        );
        lsn(one(self.pipe.session(), &sql)?)
    }

    /// The same over the control session, while changes are under way.
    pub(super) fn durable_progress(&mut self, origin: &str) -> Result<Lsn> {
        let sql = "select pg_catalog.pg_replication_origin_progress($1, true)::text";
        let row = self.control.query_one(sql, &[&origin])?;
        lsn(row.get(0))
    }
}

fn lsn(text: Option<String>) -> Result<Lsn> {
    match text {
        None => Ok(Lsn::UNSET),
        Some(text) => text
            .parse()
            .map_err(|why| Error::internal(format!("the server says \"{text}\": {why}"))),
    }
}

fn replica_role(session: &mut Session) -> Result<()> {
    let Err(error) = session.simple("set session_replication_role to replica") else {
        return Ok(());
    };
    if error.sqlstate() != Some("42501") {
        return Err(error);
    }
    Err(error.context("setting session_replication_role to replica").hint(
        "Triggers and foreign keys must not fire a second time for changes that come from the source. Apply as a \
         superuser, or from PostgreSQL 15 on: GRANT SET ON PARAMETER session_replication_role TO the role.",
    ))
}

fn check_origin(session: &mut Session, origin: &str) -> Result<()> {
    let sql = format!(
        "select pg_catalog.pg_replication_origin_oid({})",
        quote::literal(origin)
    );
    let found = one(session, &sql).map_err(|error| {
        if error.sqlstate() != Some("42501") {
            return error;
        }
        error.context("reading replication origins").hint(
            "The role may not use them. Apply as a superuser, or from PostgreSQL 14 on grant EXECUTE on the functions \
             pg_replication_origin_oid, _progress, _session_setup, _xact_setup, _xact_reset to it.",
        )
    })?;
    if found.is_some() {
        return Ok(());
    }
    Err(Error::new(
        Kind::BadState,
        format!("replication origin \"{origin}\" does not exist on the target"),
    )
    .hint("Run pgcopydb stream setup first, or name another one with --origin."))
}

/// Opens the sessions again after a connection was lost.
pub(super) fn reopen(link: &Link, origin: &str, former: i32) -> Result<(Sessions, Lsn)> {
    with_backoff(
        RECONNECT_BUDGET,
        "take up applying again",
        &stop_requested,
        || Sessions::open(link, origin, Some(former)),
    )
    .context(|| "after the connection to the target was lost".to_owned())
}
