//! How to reach a server from any leaf process: the pinned endpoint, with retries, settings and the
//! identity of the backend.
//!
//! Plain data that crosses forks; sessions are opened in leaves only. Blocks while it connects.

use super::profile::{FIRST, Profile};
use super::retry::{RECONNECT_BUDGET, lift_statement_timeout, with_backoff};
use super::session::{PgSession, connect};
use crate::conninfo::{ConnInfo, Pin, ToolSettings};
use crate::error::{Error, Result};
use crate::units::Side;
use crate::wire;
use std::time::Duration;

/// A server backend by its pid and start time, so that a recycled pid is never mistaken for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendId {
    /// Process id of the backend on its server.
    pub pid: i32,
    /// Start, epoch seconds as the server prints them.
    pub start: String,
}

/// A query that any session can run about itself.
pub(super) const WHO_AM_I: &str = "select pg_catalog.date_part('epoch', backend_start)::text \
    from pg_catalog.pg_stat_activity where pid = pg_catalog.pg_backend_pid()";

/// Who has become another role by an option of its connection does not see its own start: that belongs to the
/// role that logged in. To be followed by a ROLLBACK.
pub(super) const AS_LOGIN: &str = "begin; set local role none";

fn ask_start(session: &mut wire::Session) -> Result<Option<String>> {
    let results = session.simple(WHO_AM_I)?;
    let row = results.first().and_then(|result| result.rows.first());
    Ok(row.and_then(|row| row.first().cloned().flatten()))
}

/// One side's server, as every process of the run reaches it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Connection parameters with the pinned host.
    pub conn: ConnInfo,
    /// The endpoint that answered first.
    pub pin: Pin,
    /// Which side it is.
    pub side: Side,
}

/// A streaming session with its backend.
pub struct WireSession {
    /// The session.
    pub session: wire::Session,
    backend: BackendId,
}

impl WireSession {
    /// The backend that serves it.
    pub fn backend_id(&self) -> &BackendId {
        &self.backend
    }
}

impl Link {
    fn what(&self) -> String {
        format!("connect to the {} at {}", self.side, self.conn.safe_uri())
    }

    /// Opens a session for ordinary queries. A server that is away is waited for.
    pub fn session(&self, title: &str, profile: &Profile) -> Result<PgSession> {
        self.session_within(RECONNECT_BUDGET, title, profile)
    }

    /// The same, trying for so long; zero: once.
    pub fn session_within(
        &self,
        budget: Duration,
        title: &str,
        profile: &Profile,
    ) -> Result<PgSession> {
        let name = application_name(title);
        with_backoff(budget, &self.what(), &wire::stop_requested, || {
            connect(&self.conn, &self.pin, self.side, &name, profile)
        })
    }

    /// Opens a session for streaming. A server that is away is waited for.
    pub fn wire(&self, title: &str, profile: &Profile) -> Result<WireSession> {
        let name = application_name(title);
        with_backoff(
            RECONNECT_BUDGET,
            &self.what(),
            &wire::stop_requested,
            || {
                let (mut session, _) = wire::Session::connect(&self.conn, self.side, &name, &[])?;
                let encoding = session
                    .parameter("server_encoding")
                    .unwrap_or("")
                    .to_owned();
                lift_statement_timeout(|sql| session.simple(sql).map(|_| ()))?;
                session.simple(FIRST)?;
                session.simple(&profile.statements(session.server_version(), &encoding))?;
                let mut start = ask_start(&mut session)?;
                if start.is_none() {
                    session.simple(AS_LOGIN)?;
                    start = ask_start(&mut session)?;
                    session.simple("rollback")?;
                }
                let start = start.ok_or_else(|| {
                    Error::new(
                        self.side.kind(),
                        "a session does not find itself in pg_stat_activity",
                    )
                })?;
                let backend = BackendId {
                    pid: session.backend_pid(),
                    start,
                };
                Ok(WireSession { session, backend })
            },
        )
    }

    /// What PostgreSQL's own tools are given to reach this server.
    ///
    /// Their sessions carry `tag`, so that those of a killed tool can be found and ended.
    pub fn tool_settings(&self, tag: &str) -> Result<ToolSettings> {
        let mut settings = self.conn.tool_settings()?;
        settings.env_remove.retain(|name| name != "PGAPPNAME");
        settings.env.retain(|(name, _)| name != "PGAPPNAME");
        settings.env.push((
            "PGAPPNAME".to_owned(),
            application_name(&format!("tool {tag}")),
        ));
        Ok(settings)
    }
}

/// The name that a session of this process shows in `pg_stat_activity`.
pub fn application_name(title: &str) -> String {
    format!("pgcopydb[{}] {title}", std::process::id())
}
