//! Server backends of dead workers: ended and awaited before their work is begun again.
//!
//! Runs in leaf processes. A backend is known by pid and start time, and must be of our own role and
//! carry our application name: a recycled pid is never hit.

use crate::catalog::{Activity, Backends, Ledger};
use crate::error::{Context, Error, Result};
use crate::pg::{BackendId, Link, PgSession, Profile};
use crate::supervisor::Leaf;
use postgres::types::ToSql;
use std::time::{Duration, Instant};

/// How long a terminated backend may take to be gone: it may have much to roll back.
const GONE_WITHIN: Duration = Duration::from_secs(600);

const TERMINATE: &str = include_str!("sql/terminate_backend.sql");
const TERMINATE_TOOL: &str = include_str!("sql/terminate_tool.sql");

/// Ends these backends on their servers, source and target, and waits until they are gone; those of a
/// side that the command does without are left alone. Blocks.
pub fn end_backends(
    leaf: &Leaf<'_>,
    (source, target): (Option<&Link>, Option<&Link>),
    backends: &[Backends],
) -> Result<()> {
    let of_source: Vec<&BackendId> = backends.iter().filter_map(|b| b.source.as_ref()).collect();
    let of_target: Vec<&BackendId> = backends.iter().filter_map(|b| b.target.as_ref()).collect();
    end_on(leaf, source, &of_source)?;
    end_on(leaf, target, &of_target)
}

fn end_on(leaf: &Leaf<'_>, link: Option<&Link>, backends: &[&BackendId]) -> Result<()> {
    let Some(link) = link.filter(|_| !backends.is_empty()) else {
        return Ok(());
    };
    let pids: Vec<i32> = backends.iter().map(|backend| backend.pid).collect();
    let starts: Vec<String> = backends
        .iter()
        .map(|backend| backend.start.clone())
        .collect();
    let mut session = link.session(leaf.role.label(), &Profile::Catalog)?;
    end_all(leaf, &mut session, TERMINATE, &[&pids, &starts])
}

/// Ends sessions that tools of this work directory have left on a server: one that lost its client in
/// the middle of a statement goes on until that ends. Blocks.
pub fn end_tools(leaf: &Leaf<'_>, session: &mut PgSession, tag: &str) -> Result<()> {
    end_all(leaf, session, TERMINATE_TOOL, &[&tag])
}

/// Runs a query that ends backends until it finds none.
fn end_all(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<()> {
    // Sessions belong to the role that logged in, whatever role they have become.
    session.batch_execute("set role none")?;
    let ended = end_all_as_login(leaf, session, sql, params);
    session.batch_execute("reset role")?;
    ended
}

fn end_all_as_login(
    leaf: &Leaf<'_>,
    session: &mut PgSession,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<()> {
    let side = session.side;
    let since = Instant::now();
    loop {
        let rows = session
            .query(sql, params)
            .context(|| "ending the server processes of a worker that died".to_owned())?;
        if rows.is_empty() {
            return Ok(());
        }
        if since.elapsed() > GONE_WITHIN {
            let pid: i32 = rows.first().map_or(0, |row| row.get(0));
            return Err(Error::new(
                side.kind(),
                format!("server process {pid} of a worker that died does not end"),
            )
            .hint(format!(
                "Look at it in pg_stat_activity on the {side}, then use --resume."
            )));
        }
        leaf.nap(Duration::from_millis(20))?;
    }
}

/// Writes down which backends now work for a worker, before they do anything.
pub fn register_backends(
    ledger: &Ledger,
    activity: &Activity,
    source: Option<BackendId>,
    target: Option<BackendId>,
) -> Result<()> {
    activity.set_backends(ledger.connection(), &Backends { source, target })
}
