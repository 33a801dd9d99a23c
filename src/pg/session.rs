//! Sessions of the `postgres` crate on a pinned endpoint, with our settings and our errors.
//!
//! Runs in leaf workers, after the fork. The endpoint was found by `wire` ([`super::endpoint`]), so a
//! session connects to one numeric address or socket and never looks up a name, which would make a
//! thread. It must not retry anything. It is used for queries; COPY goes through `wire`.
//!
//! The crate does not know `require_auth` and cannot refuse by it: the first connection of the side,
//! made by `wire`, has.

use super::cancel::Token;
use super::link::{AS_LOGIN, BackendId, WHO_AM_I};
use super::profile::{FIRST, Profile};
use super::retry::lift_statement_timeout;
use crate::conninfo::{ConnInfo, Pin};
use crate::error::{Error, Result};
use crate::units::{PgVersion, Side};
use crate::wire::tls::TlsPlan;
use crate::wire::{ServerMessage, application_name, prefix};
use postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use postgres::error::DbError;
use postgres::types::{BorrowToSql, ToSql};
use postgres::{Client, Config, Row, RowIter};
use postgres_openssl::MakeTlsConnector;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

/// Limit of connecting when `connect_timeout` is not set.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Keepalives when not set: seconds of silence, seconds between probes, probes.
const KEEPALIVES: (u64, u64, u32) = (10, 10, 60);

/// A session for queries.
pub struct PgSession {
    /// The crate's own handle, for what this type does not wrap; its errors are
    /// mapped by [`PgSession::error`].
    pub client: Client,
    /// Which server this is.
    pub side: Side,
    /// Process id of the server's backend.
    pub backend_pid: i32,
    /// The server's version.
    pub server_version: PgVersion,
    backend: BackendId,
    tls: Option<MakeTlsConnector>,
}

/// Connects to the endpoint that `pin` names and makes the settings of `profile`.
///
/// `conn` is the connection string pinned to it. Blocks up to `connect_timeout` (10 s unless set).
pub fn connect(
    conn: &ConnInfo,
    pin: &Pin,
    side: Side,
    app_name: &str,
    profile: &Profile,
) -> Result<PgSession> {
    // Certificates are only read where they are needed: that costs more than the connection.
    let tls = if pin.tls {
        Some(connector(conn, side)?)
    } else {
        None
    };
    let backend_pid = Arc::new(AtomicI32::new(0));
    let mut config = config_for(conn, pin, app_name)?;
    let known_pid = Arc::clone(&backend_pid);
    config.notice_callback(move |notice| {
        message_of(&notice).log(side, known_pid.load(Ordering::Relaxed));
    });
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that connects"
    )]
    let connected = match &tls {
        Some(tls) => config.connect(tls.clone()),
        None => config.connect(postgres::NoTls),
    };
    let client = connected.map_err(|error| {
        map_error(&error, side, 0, None).context(format!("connecting to the {side} server"))
    })?;
    let zero = PgVersion(0);
    let mut session = PgSession {
        client,
        side,
        backend_pid: 0,
        server_version: zero,
        backend: BackendId {
            pid: 0,
            start: String::new(),
        },
        tls,
    };
    lift_statement_timeout(|sql| session.batch_execute(sql))?;
    session.batch_execute(FIRST)?;
    let row = session.query_one(
        "select pg_catalog.pg_backend_pid(), \
                pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
                pg_catalog.current_setting('server_encoding'), \
                (select pg_catalog.date_part('epoch', a.backend_start)::text \
                   from pg_catalog.pg_stat_activity a \
                  where a.pid = pg_catalog.pg_backend_pid())",
        &[],
    )?;
    let unreadable = |error: postgres::Error| map_error(&error, side, 0, None);
    session.backend_pid = row.try_get(0).map_err(unreadable)?;
    backend_pid.store(session.backend_pid, Ordering::Relaxed);
    let version: i32 = row.try_get(1).map_err(unreadable)?;
    session.server_version = PgVersion(u32::try_from(version).unwrap_or(0));
    let encoding: String = row.try_get(2).map_err(unreadable)?;
    let mut start: Option<String> = row.try_get(3).map_err(unreadable)?;
    if start.is_none() {
        session.batch_execute(AS_LOGIN)?;
        start = session.query_one(WHO_AM_I, &[])?.get(0);
        session.batch_execute("rollback")?;
    }
    session.backend = BackendId {
        pid: session.backend_pid,
        start: start.unwrap_or_default(),
    };
    session.batch_execute(&profile.statements(session.server_version, &encoding))?;
    Ok(session)
}

fn connector(conn: &ConnInfo, side: Side) -> Result<MakeTlsConnector> {
    let plan = TlsPlan::new(conn, side)?;
    let mut tls = MakeTlsConnector::new(plan.connector.clone());
    tls.set_callback(move |config, _name| {
        plan.apply(config);
        Ok(())
    });
    Ok(tls)
}

/// The crate's form of a pinned connection string.
fn config_for(conn: &ConnInfo, pin: &Pin, app_name: &str) -> Result<Config> {
    let mut config = Config::new();
    config
        .user(conn.user())
        .dbname(conn.dbname())
        .port(pin.port)
        .application_name(application_name(app_name))
        .connect_timeout(conn.connect_timeout().unwrap_or(CONNECT_TIMEOUT));
    // A pinned connection string has one host, and its password with it.
    if let Some(password) = conn
        .password_for(0)
        .or_else(|| conn.password_for(pin.position))
    {
        config.password(password);
    }
    match (&pin.addr, &pin.name) {
        (Some(addr), name) => {
            let address = addr.parse().map_err(|_| {
                Error::internal(format!("a pinned address \"{addr}\" is not numeric"))
            })?;
            config
                .hostaddr(address)
                .host(name.as_deref().unwrap_or(addr));
        }
        (None, Some(folder)) => {
            config.host(folder);
        }
        (None, None) => {
            config.host(crate::wire::socket_folder());
        }
    }
    config.ssl_mode(if pin.tls {
        SslMode::Require
    } else {
        SslMode::Disable
    });
    if pin.tls && conn.get("sslnegotiation") == Some("direct") {
        config.ssl_negotiation(SslNegotiation::Direct);
    }
    config.channel_binding(match conn.get("channel_binding") {
        Some("require") => ChannelBinding::Require,
        Some("disable") => ChannelBinding::Disable,
        _ => ChannelBinding::Prefer,
    });
    if let Some(options) = conn.get("options").filter(|options| !options.is_empty()) {
        config.options(options);
    }
    let number = |keyword: &str| conn.get(keyword).and_then(|text| text.parse::<u64>().ok());
    let seconds = |keyword: &str, default: u64| {
        Duration::from_secs(
            number(keyword)
                .filter(|seconds| *seconds > 0)
                .unwrap_or(default),
        )
    };
    let probes = number("keepalives_count").and_then(|count| u32::try_from(count).ok());
    config
        .keepalives(number("keepalives") != Some(0))
        .keepalives_idle(seconds("keepalives_idle", KEEPALIVES.0))
        .keepalives_interval(seconds("keepalives_interval", KEEPALIVES.1))
        .keepalives_retries(probes.filter(|count| *count > 0).unwrap_or(KEEPALIVES.2));
    if let Some(limit_ms) = number("tcp_user_timeout").filter(|limit_ms| *limit_ms > 0) {
        config.tcp_user_timeout(Duration::from_millis(limit_ms));
    }
    Ok(config)
}

/// What the server said, in our own type.
fn message_of(error: &DbError) -> ServerMessage {
    ServerMessage {
        severity: error
            .parsed_severity()
            .map_or(error.severity().to_owned(), |severity| severity.to_string()),
        code: error.code().code().to_owned(),
        text: error.message().to_owned(),
        detail: error.detail().map(str::to_owned),
        hint: error.hint().map(str::to_owned),
        place: error.where_().map(str::to_owned),
        constraint: error.constraint().map(str::to_owned),
    }
}

/// Our error for one of the crate's.
fn map_error(error: &postgres::Error, side: Side, backend_pid: i32, sql: Option<&str>) -> Error {
    if let Some(said) = error.as_db_error() {
        return message_of(said).to_error(side, backend_pid, sql);
    }
    let mut text = format!("{} {error}", prefix(side, backend_pid));
    let mut cause = std::error::Error::source(error);
    let mut connection = error.is_closed();
    while let Some(inner) = cause {
        connection |= inner.downcast_ref::<std::io::Error>().is_some();
        if !text.ends_with(&inner.to_string()) {
            text.push_str(": ");
            text.push_str(&inner.to_string());
        }
        cause = inner.source();
    }
    let mut mapped = Error::new(side.kind(), text.replace('\n', " "));
    if connection {
        mapped = mapped.transient();
    }
    match sql {
        Some(sql) => mapped.with_query(sql),
        None => mapped,
    }
}

impl PgSession {
    /// The backend that serves it.
    pub fn backend_id(&self) -> &BackendId {
        &self.backend
    }

    /// Our error for one that [`PgSession::client`] gave.
    pub fn error(&self, error: &postgres::Error, sql: &str) -> Error {
        map_error(error, self.side, self.backend_pid, Some(sql))
    }

    fn log(&self, sql: &str) {
        crate::sql!("{} {sql}", prefix(self.side, self.backend_pid));
    }

    /// Runs one or more statements without parameters; results are thrown away.
    pub fn batch_execute(&mut self, sql: &str) -> Result<()> {
        self.log(sql);
        self.client
            .batch_execute(sql)
            .map_err(|error| self.error(&error, sql))
    }

    /// Runs a query and gives all its rows.
    pub fn query(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        self.log(sql);
        self.client
            .query(sql, params)
            .map_err(|error| self.error(&error, sql))
    }

    /// Runs a query that gives exactly one row.
    pub fn query_one(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Row> {
        self.log(sql);
        self.client
            .query_one(sql, params)
            .map_err(|error| self.error(&error, sql))
    }

    /// Runs a query that gives one row or none.
    pub fn query_opt(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>> {
        self.log(sql);
        self.client
            .query_opt(sql, params)
            .map_err(|error| self.error(&error, sql))
    }

    /// Runs a statement and gives the number of rows it changed.
    pub fn execute(&mut self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        self.log(sql);
        self.client
            .execute(sql, params)
            .map_err(|error| self.error(&error, sql))
    }

    /// Runs a query whose rows are taken one by one; errors on the way are the crate's, to be
    /// mapped by [`PgSession::error`] once the iterator is gone.
    pub fn query_raw<P, I>(&mut self, sql: &str, params: I) -> Result<RowIter<'_>>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        self.log(sql);
        let (side, backend_pid) = (self.side, self.backend_pid);
        self.client
            .query_raw(sql, params)
            .map_err(|error| map_error(&error, side, backend_pid, Some(sql)))
    }

    /// What cancels the statement that runs here, from any thread.
    pub fn cancel_token(&self) -> Token {
        Token::Postgres {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
            side: self.side,
            backend_pid: self.backend_pid,
        }
    }
}

/// Our error for a failed cancel request.
pub(super) fn cancel_error(error: &postgres::Error, side: Side, backend_pid: i32) -> Error {
    map_error(error, side, backend_pid, None).context("sending a cancel request")
}
