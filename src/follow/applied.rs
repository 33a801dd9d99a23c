//! The progress of applying in a table of the target, where the role may not use replication origins.
//!
//! Runs in leaf processes with a session on the target. A row of `pgcopydb.cdc_applied` is moved on by the
//! transaction that brings the changes, so both are there or neither. Who applies holds a lock of its
//! session for as long as that lives, and a row only moves forward: a transaction that is there already
//! cannot be committed a second time.

use crate::error::{Context, Error, Kind, Result};
use crate::pg::PgSession;
use crate::pg::quote::literal;
use crate::sys::clock::nap;
use crate::units::Lsn;
use std::time::{Duration, Instant};

/// Moves a row on, in the transaction of the changes: `$1` `pg_lsn`, `$2` timestamptz, `$3` the name. Fails
/// with 22012 where the row is gone, or that far already.
pub const MOVE: &str = "with moved as (update pgcopydb.cdc_applied set end_lsn = $1, committed_at = $2 \
     where name = $3 and end_lsn < $1 returning 1) select 1 / count(*) from moved";
/// Commits a record of the log, which brings all before it to the disk.
const FLUSH: &str = "begin; set local synchronous_commit to local; \
     select pg_catalog.pg_logical_emit_message(true, 'pgcopydb', 'applied'); commit";
/// How long an apply that is ending is waited for.
const BUSY_LIMIT: Duration = Duration::from_secs(10);

/// What helps where a role has no rights.
const GRANT: &str = "Let a superuser of the target run GRANT CREATE ON DATABASE ... TO the role, or from PostgreSQL \
     14 on grant it the functions of replication origins, as \"pgcopydb check --follow\" prints it.";

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Who made it.
    pub owner: String,
    /// Up to where changes are applied.
    pub end: Lsn,
}

/// Whether the role may use replication origins.
pub fn may_use_origins(session: &mut PgSession) -> Result<bool> {
    let row = session.query_one(include_str!("sql/may_use_origins.sql"), &[])?;
    Ok(row.get(0))
}

/// The row of that name; none where there is none, or where this role cannot have made it.
pub fn find(session: &mut PgSession, name: &str) -> Result<Option<Applied>> {
    let table = session.query_opt(include_str!("sql/find_applied.sql"), &[])?;
    if !table.is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let row = session.query_opt(
        "select owner, end_lsn::text from pgcopydb.cdc_applied where name = $1",
        &[&name],
    )?;
    let Some(row) = row else {
        return Ok(None);
    };
    let end: String = row.get(1);
    let end = end.parse().map_err(|why| {
        Error::internal(format!("table pgcopydb.cdc_applied says \"{end}\": {why}"))
    })?;
    let owner = row.get(0);
    Ok(Some(Applied { owner, end }))
}

/// Brings to the disk of the target what was committed without waiting for that.
pub fn flush(session: &mut PgSession) -> Result<()> {
    session.batch_execute(FLUSH)
}

/// Refuses a target where the role can neither use replication origins nor make the table.
pub fn check(session: &mut PgSession) -> Result<()> {
    let row = session.query_one(
        "select case when n.oid is null \
                     then pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') \
                     else pg_catalog.has_schema_privilege(n.oid, 'create') \
                          or exists (select 1 from pg_catalog.pg_class c where c.relnamespace = n.oid \
                                       and c.relname = 'cdc_applied' \
                                       and pg_catalog.has_table_privilege(c.oid, 'insert')) end \
           from (select 1) one left join pg_catalog.pg_namespace n on n.nspname = 'pgcopydb'",
        &[],
    )?;
    if row.get(0) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Target,
        "this role of the target may not use replication origins, nor make table pgcopydb.cdc_applied",
    )
    .with_sqlstate("42501")
    .detail("One of both keeps what was applied, so that each transaction is applied once.")
    .hint(GRANT))
}

/// Makes the row; gives whether the schema was made, too.
pub fn make(session: &mut PgSession, name: &str, (owner, start): (&str, Lsn)) -> Result<bool> {
    let what = || "making table pgcopydb.cdc_applied on the target".to_owned();
    let made = make_row(session, name, (owner, start));
    made.map_err(|error| {
        let _ended = session.batch_execute("rollback");
        if error.sqlstate() != Some("42501") {
            return error;
        }
        error.hint(GRANT)
    })
    .context(what)
}

fn make_row(session: &mut PgSession, name: &str, (owner, start): (&str, Lsn)) -> Result<bool> {
    session.batch_execute("begin")?;
    let schema = session.query_one("select pg_catalog.to_regnamespace('pgcopydb') is null", &[])?;
    let table = session.query_one(
        "select exists (select 1 from pg_catalog.pg_class c where c.relname = 'cdc_applied' \
           and c.relnamespace = pg_catalog.to_regnamespace('pgcopydb'))",
        &[],
    )?;
    if !table.get::<_, bool>(0) {
        session.batch_execute(include_str!("sql/make_applied.sql"))?;
    }
    session.execute(
        "insert into pgcopydb.cdc_applied (name, owner, end_lsn) values ($1, $2, $3::text::pg_catalog.pg_lsn)",
        &[&name, &owner, &start.to_string()],
    )?;
    session.batch_execute("commit")?;
    Ok(schema.get(0))
}

/// The statement that takes the lock of a name, if it is free.
pub fn take(name: &str) -> String {
    format!(
        "select pg_catalog.pg_try_advisory_lock(pg_catalog.hashtextextended('pgcopydb.cdc_applied ' || {}::text, 0))",
        literal(name)
    )
}

/// The server process that holds the lock of a name.
pub fn holder(session: &mut PgSession, name: &str) -> Result<Option<i32>> {
    let row = session.query_opt(include_str!("sql/find_applied_lock.sql"), &[&name])?;
    Ok(row.map(|row| row.get(0)))
}

/// Removes the row, the table with its last row, and the schema where it is ours and empty then. Waits while
/// a session applies. Gives whether there was one.
pub fn remove(session: &mut PgSession, name: &str, schema_is_ours: bool) -> Result<bool> {
    if find(session, name)?.is_none() {
        return Ok(false);
    }
    let since = Instant::now();
    while !session.query_one(&take(name), &[])?.get::<_, bool>(0) {
        if since.elapsed() >= BUSY_LIMIT {
            let pid = holder(session, name)?.unwrap_or_default();
            return Err(Error::new(
                Kind::Target,
                format!(
                    "server process {pid} of the target applies changes with progress \"{name}\""
                ),
            )
            .hint("Stop the process that applies changes, then repeat the cleanup."));
        }
        nap(Duration::from_millis(200));
    }
    let what =
        || format!("removing progress \"{name}\" from table pgcopydb.cdc_applied on the target");
    session
        .execute("delete from pgcopydb.cdc_applied where name = $1", &[&name])
        .context(what)?;
    let left: bool = session
        .query_one("select exists (select 1 from pgcopydb.cdc_applied)", &[])?
        .get(0);
    if left {
        return Ok(true);
    }
    session
        .batch_execute("drop table pgcopydb.cdc_applied")
        .context(what)?;
    if schema_is_ours {
        // Without CASCADE: what others have put into it stays, and so does the schema.
        match session.batch_execute("drop schema if exists pgcopydb") {
            Err(error) if error.sqlstate() != Some("2BP01") => return Err(error).context(what),
            _ => {}
        }
    }
    Ok(true)
}
