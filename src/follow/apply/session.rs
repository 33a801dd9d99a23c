//! The two sessions of applying: one that writes and holds the replication origin, one that asks.
//!
//! Runs in the apply process. The origin is the fence between two of them: it is taken before its
//! progress is read, since the backend of a broken connection may still commit. Where a table keeps the
//! progress, a lock of the session is that fence.

use crate::error::{Context, Error, Kind, Result};
use crate::follow::applied;
use crate::follow::origin::Keeper;
use crate::follow::source::watching;
use crate::pg::retry::{RECONNECT_BUDGET, with_backoff};
use crate::pg::{BackendId, Link, PgSession, Profile, quote};
use crate::sys::clock::nap;
use crate::units::Lsn;
use crate::wire::{Pipeline, Session, stop_requested};
use std::time::{Duration, Instant};

/// How long the session of an earlier run may take to let the origin go.
const ORIGIN_WAIT: Duration = Duration::from_secs(30);

/// How long what is sent to the target may go unacknowledged: taking up again takes a second, and nothing is lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// Both sessions.
pub(super) struct Sessions {
    pub(super) pipe: Pipeline,
    pub(super) control: PgSession,
    pub(super) backend: BackendId,
    /// What keeps the progress.
    pub(super) keeper: Keeper,
    /// The name of the progress.
    pub(super) name: String,
    /// Up to where a table's progress was brought to the disk.
    flushed: Lsn,
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
        let mut control = watching(link).session("apply control", &Profile::TargetPlain)?;
        let wire = link.wire("apply", &Profile::TargetApply)?;
        let backend = wire.backend_id().clone();
        let mut session = wire.session;
        session.give_up_after(SILENCE_MAX);
        replica_role(&mut session)?;
        let keeper = Keeper::find(&mut control, origin)?;
        if keeper == Keeper::Origin {
            check_origin(&mut session, origin)?;
        }
        let mut sessions = Self {
            pipe: Pipeline::new(session),
            control,
            backend,
            keeper,
            name: origin.to_owned(),
            flushed: Lsn::UNSET,
        };
        match keeper {
            Keeper::Origin => sessions.take_origin(origin, former)?,
            Keeper::Table => sessions.take_row(origin, former)?,
        }
        let progress = sessions.progress(origin)?;
        Ok((sessions, progress))
    }

    /// Takes the lock of a row.
    fn take_row(&mut self, name: &str, former: Option<i32>) -> Result<()> {
        let since = Instant::now();
        let mut said = false;
        let take = applied::take(name);
        while one(self.pipe.session(), &take)?.as_deref() != Some("t") {
            let holder = applied::holder(&mut self.control, name)?.unwrap_or_default();
            let busy = format!(
                "server process {holder} of the target applies changes with progress \"{name}\""
            );
            if since.elapsed() > ORIGIN_WAIT || stop_requested() {
                return Err(Error::new(Kind::Target, busy).hint(
                    "Another process applies changes with it; stop that, or wait for its end.",
                ));
            }
            if !said {
                said = true;
                log::warn!("{busy}; waiting");
            }
            if former == Some(holder) {
                self.end_former(holder)?;
            }
            nap(Duration::from_millis(200));
        }
        Ok(())
    }

    fn end_former(&mut self, pid: i32) -> Result<()> {
        log::warn!("Ending server process {pid}, which an earlier run of this work directory left");
        let sql = "select pg_catalog.pg_terminate_backend($1)";
        self.control.execute(sql, &[&pid]).map(drop)
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
                self.end_former(pid)?;
            }
            nap(Duration::from_millis(200));
        }
    }

    /// What the origin durably says. Only what a session that holds the origin reads is final.
    pub(super) fn progress(&mut self, origin: &str) -> Result<Lsn> {
        if self.keeper == Keeper::Table {
            // Holding the lock, nobody but this session could move it on.
            return self.durable_progress(origin);
        }
        let sql = format!(
            "select pg_catalog.pg_replication_origin_progress({}, true)",
            quote::literal(origin)
        );
        lsn(one(self.pipe.session(), &sql)?)
    }

    /// The same over the control session, while changes are under way.
    pub(super) fn durable_progress(&mut self, origin: &str) -> Result<Lsn> {
        if self.keeper == Keeper::Table {
            let row = applied::find(&mut self.control, origin)?.ok_or_else(|| gone(origin))?;
            if row.end != self.flushed {
                applied::flush(&mut self.control)?;
                self.flushed = row.end;
            }
            return Ok(row.end);
        }
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

/// What keeps the progress is not there, or was moved by another.
pub(super) fn gone(name: &str) -> Error {
    Error::bad_state(format!(
        "table pgcopydb.cdc_applied of the target has no row \"{name}\" any more, or another process moved it"
    ))
    .detail("It says what was applied; without it changes would be applied twice.")
    .hint("Stop the other process and use --resume; where the row was removed, begin anew with a new copy.")
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
